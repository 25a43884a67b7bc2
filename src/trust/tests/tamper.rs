//! Whatever single byte of a valid collection is changed: refused, or without effect on what is found.

use super::*;
use proptest::prelude::*;

/// Returns what matters of an answer: what was signed, by whom.
fn answer(repository: &Repository, pin: &[u8], name: &str) -> Option<Value> {
    let found = lookup(pin, &repository.files, &Known::default(), name, start()).ok()?;
    let digests: Vec<_> = found.digests().collect();
    let evidence = found.evidence();
    Some(json!([
        digests,
        found.length(),
        found.custom(),
        evidence.role,
        evidence.keys
    ]))
}

fn two_roots() -> Repository {
    let mut repository = Repository::new();
    repository.change(days(1), |collection| collection.renew("root").unwrap());
    repository
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_byte_never_changes_what_is_found(file in 0..6_usize, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = two_roots();
        let pin = good.pin();
        let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
        let name = &names[file % names.len()];
        let mut bytes = good.files.get(name).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let mut bad = good.clone();
        bad.files.add(name.clone(), bytes);
        for target in ["a", "team/b"] {
            let expected = answer(&good, &pin, target);
            prop_assert!(expected.is_some());
            let found = answer(&bad, &pin, target);
            prop_assert!(found.is_none() || found == expected, "{name} at {at}: {found:?}");
        }
        // A name that nobody signed stays unsigned.
        prop_assert!(answer(&bad, &pin, "team/c").is_none());
    }

    #[test]
    fn a_removed_or_doubled_byte_never_changes_what_is_found(file in 0..6_usize, at in any::<prop::sample::Index>(), double in any::<bool>()) {
        let good = two_roots();
        let pin = good.pin();
        let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
        let name = &names[file % names.len()];
        let mut bytes = good.files.get(name).unwrap().to_vec();
        let at = at.index(bytes.len());
        match double {
            true => bytes.insert(at, bytes[at]),
            false => drop(bytes.remove(at)),
        }
        let mut bad = good.clone();
        bad.files.add(name.clone(), bytes);
        let found = answer(&bad, &pin, "team/b");
        prop_assert!(found.is_none() || found == answer(&good, &pin, "team/b"), "{name} at {at}: {found:?}");
    }
}

#[test]
fn every_cut_of_every_file_is_refused() {
    let good = two_roots();
    let pin = good.pin();
    let names: Vec<String> = good.files.files().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| *name != "1.root.json") {
        let bytes = good.files.get(name).unwrap();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = good.clone();
            bad.files.add(name.clone(), &bytes[..length]);
            assert!(answer(&bad, &pin, "team/b").is_none(), "{name} cut to {length}");
        }
    }
}
