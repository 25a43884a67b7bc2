//! Reading a file in one pass and reading it as a tree come to the same.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::limit;
use crate::trust::Unverified;
use crate::trust::metadata::{Body, Root, Snapshot, Targets, Timestamp};

/// Reads a file both ways; says whether one pass was enough.
fn read_both<T: Body + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let (bytes, max) = (Bytes::copy_from_slice(bytes), limit::TARGETS_BYTES);
    let Some(plain) = Unverified::<T>::read_plain("f", &bytes, max) else {
        return false;
    };
    let any = Unverified::<T>::read_any("f", bytes, max).unwrap();
    assert!(plain.message() == any.message() && plain.signatures() == any.signatures());
    assert_eq!(plain.unverified_body(), any.unverified_body());
    true
}

fn read_both_by_name(name: &str, bytes: &[u8]) -> bool {
    match name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "root.json" => read_both::<Root>(bytes),
        "snapshot.json" => read_both::<Snapshot>(bytes),
        "timestamp.json" => read_both::<Timestamp>(bytes),
        _ => read_both::<Targets>(bytes),
    }
}

#[test]
fn what_is_published_with_keys_in_hexadecimal_needs_one_pass() {
    for (name, bytes) in Repository::new().files.files() {
        assert!(read_both_by_name(name, bytes), "{name}");
    }
}

proptest! {
    #[test]
    fn one_pass_takes_nothing_that_the_tree_would_not(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..3) {
        for (name, bytes) in Repository::new().files.files() {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
            read_both_by_name(name, &bytes);
        }
    }
}
