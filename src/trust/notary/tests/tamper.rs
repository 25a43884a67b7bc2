//! Whatever single value of a valid collection is changed, signed or not: refused, or without effect on what is trusted.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::simulator::*;
use super::*;

static GOOD: LazyLock<(Served, NotaryPin, Value)> = LazyLock::new(|| {
    let mut repository = Repository::new();
    let pin = NotaryPin::Root(repository.served.0["1.root.json"].clone());
    repository.rotate_root(RootKey::good());
    repository.publish();
    let all = listed(&repository.served, &pin).unwrap();
    (repository.served, pin, all)
});

/// Returns what matters of a whole collection: what was signed, by whom; nothing when any of it is refused.
fn listed(served: &Served, pin: &NotaryPin) -> Option<Value> {
    let client = NotaryClient::refresh(GUN, pin, NotaryKnown::default(), served.clone(), now());
    let mut client = client.ok()?;
    if client.fetch_roles().is_ok_and(|bad| !bad.is_empty()) {
        return None;
    }
    serde_json::to_value(client.chain().list().ok()?).ok()
}

/// Every place in a document, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{at}/{name}"), out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_changed_value_never_changes_what_is_trusted(
        file in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        kind in 0..8_u8,
    ) {
        let (served, pin, good) = &*GOOD;
        let names: Vec<_> = served.0.keys().cloned().collect();
        let name = file.get(&names);
        let mut document: Value = serde_json::from_slice(&served.0[name]).unwrap();
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let place = place.get(&all).clone();
        let value = document.pointer_mut(&place).unwrap();
        *value = match (kind, &*value) {
            (0, _) => Value::Null,
            (1, Value::Number(number)) => json!(number.as_u64().unwrap() + 1),
            (2, Value::Number(number)) => json!(number.as_u64().unwrap() - 1),
            (3, Value::String(text)) => json!(format!("{text}x")),
            (4, Value::String(text)) => json!(text.chars().rev().collect::<String>()),
            (5, Value::Array(items)) => Value::Array(items.iter().chain(items).cloned().collect()),
            (6, Value::Object(members)) => Value::Object(members.iter().skip(1).map(|(n, v)| (n.clone(), v.clone())).collect()),
            (7, Value::Object(members)) => {
                let mut more = members.clone();
                more.insert("x".into(), json!(1));
                Value::Object(more)
            }
            _ => json!({}),
        };
        let mut bad = served.clone();
        bad.0.insert(name.clone(), document.to_string().into_bytes());
        let found = listed(&bad, pin);
        prop_assert!(found.is_none() || found.as_ref() == Some(good), "{name} at {place}: {found:?}");
    }

    #[test]
    fn a_changed_byte_never_changes_what_is_trusted(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        how in 0..3_u8,
    ) {
        let (served, pin, good) = &*GOOD;
        let names: Vec<_> = served.0.keys().cloned().collect();
        let name = file.get(&names);
        let mut bad = served.clone();
        let bytes = bad.0.get_mut(name).unwrap();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = to,
            1 => bytes.insert(at, to),
            _ => drop(bytes.remove(at)),
        }
        let found = listed(&bad, pin);
        prop_assert!(found.is_none() || found.as_ref() == Some(good), "{name} at {at}: {found:?}");
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Unverified::<Root>::parse("root", &bytes, 1000);
        let _ = Certificate::from_pem(&bytes);
    }
}
