//! Reading a file in one pass and reading it as a tree come to the same.

use crate::trust::document::Content as _;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::simulator::{Repository, delegated, put, signed};
use super::*;
use crate::trust::Table;

/// Reads a file both ways; says whether one pass was enough.
fn read_both<T: Body + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let (bytes, max) = (Bytes::copy_from_slice(bytes), limit::TARGETS_BYTES);
    let Some(plain) = Unverified::<T>::read_plain("r", &bytes, max) else {
        return false;
    };
    let any = Unverified::<T>::read_any("r", bytes, max).unwrap();
    assert!(plain.message() == any.message());
    assert_eq!(plain.signatures(), any.signatures());
    assert_eq!(plain.unverified_body(), any.unverified_body());
    let canonical = |document: &Unverified<T>| document.unverified_body().canonical().unwrap();
    assert!(canonical(&plain) == canonical(&any));
    true
}

fn targets() -> Targets {
    let mut targets = Targets::new(now().plus(DAY));
    for name in ["a", "b", "dir/c", "\u{e9}"] {
        put(&mut targets, name, name.as_bytes());
    }
    let mut file = FileMeta::describe(b"custom");
    file.custom = Some(json!({ "a": [1, { "b": null }], "text": "\"\\" }));
    file.extra.insert("more".into(), json!([true]));
    targets.targets.insert("custom".into(), file);
    targets.delegations.roles.push(delegated("targets/x", 1, &["x"]));
    targets.extra.insert("zebra".into(), json!({ "unknown": -1 }));
    targets
}

#[test]
fn what_we_and_the_real_server_write_needs_one_pass() {
    assert!(read_both::<Root>(ROOT) && read_both::<Timestamp>(TIMESTAMP));
    assert!(read_both::<Targets>(&signed(&targets(), 1)));
    assert!(read_both::<Targets>(&signed(&Targets::new(now()), 1)));
    let repository = Repository::new();
    for (name, bytes) in &repository.served.0 {
        let read = match name.rsplit_once('.').unwrap().0 {
            "snapshot" => read_both::<Snapshot>(bytes),
            "timestamp" => read_both::<Timestamp>(bytes),
            name if name.ends_with("root") => read_both::<Root>(bytes),
            _ => read_both::<Targets>(bytes),
        };
        assert!(read, "{name}");
    }
}

#[test]
fn what_is_not_canonical_is_read_as_a_tree_and_says_the_same() {
    let plain = String::from_utf8(signed(&targets(), 1)).unwrap();
    for other in [
        plain.replace("\":", "\": "),
        plain.replace("\"a\":", "\"\\u0061\":"),
        format!("{plain}\n"),
        plain
            .replace("{\"_type\":\"Targets\",", "{")
            .replace("\"version\":1,", "\"version\":1,\"_type\":\"Targets\","),
    ] {
        assert_ne!(other, plain);
        assert!(!read_both::<Targets>(other.as_bytes()));
        let read = Unverified::<Targets>::parse("r", other.as_bytes(), usize::MAX).unwrap();
        assert_eq!(read.unverified_body(), &targets());
        assert_eq!(read.message(), targets().canonical().unwrap());
    }
}

#[test]
fn a_table_says_what_was_read_and_what_was_changed_since() {
    let read = Unverified::<Targets>::parse("r", &signed(&targets(), 1), usize::MAX).unwrap();
    let mut table = read.unverified_body().targets.clone();
    let file = FileMeta::describe(b"new");
    assert!(table.remove("b") && !table.remove("b") && !table.remove("nothing"));
    for name in ["0", "b2", "a", "zz"] {
        table.insert(name.into(), file.clone());
    }
    assert_eq!(
        table.keys().collect::<Vec<_>>(),
        ["0", "a", "b2", "custom", "dir/c", "zz", "\u{e9}"]
    );
    assert_eq!((table.get("a"), table.get("b"), table.len()), (Some(file), None, 7));
    assert_eq!(table.get("custom"), targets().targets.get("custom"));
    let mut written = Vec::new();
    table.write_canonical(&mut written).unwrap();
    assert_eq!(written, crate::json::canonical(&json!(table)).unwrap());
    assert_eq!(serde_json::from_slice::<Table<FileMeta>>(&written).unwrap(), table);
}

proptest! {
    #[test]
    fn one_pass_takes_nothing_that_the_tree_would_not(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..3) {
        let mut bytes = signed(&targets(), 1);
        let at = at.index(bytes.len());
        bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
        read_both::<Targets>(&bytes);
        let mut bytes = ROOT.to_vec();
        let at = at.min(bytes.len() - 1);
        bytes.splice(at..(at + cut).min(bytes.len()), [byte]);
        read_both::<Root>(&bytes);
    }
}
