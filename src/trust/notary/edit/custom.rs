//! What may stand in a target's `custom`, so that every Notary client verifies it, and can sign it again.
//!
//! The real client signs `custom` as its text is and verifies its canonical form (docs/notary.md, "Custom data"): members
//! are sorted here, as in all metadata; what Go writes otherwise than it signs is refused.

use serde_json::Value;

use crate::limit;
use crate::trust::TrustError;

/// Largest integer that Go's reader keeps, as it reads numbers into floats.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Refuses custom data of the target `name` that Notary's own client could not verify or sign again.
///
/// # Errors
/// [`TrustError::Malformed`].
pub fn check_custom(name: &str, custom: &Value) -> Result<(), TrustError> {
    match problem(custom, limit::JSON_DEPTH / 2) {
        None => Ok(()),
        Some(problem) => Err(TrustError::malformed(
            format!("the custom data of `{name}`"),
            format!("{problem}, which Notary's own client cannot sign again; write it otherwise"),
        )),
    }
}

fn problem(value: &Value, depth: usize) -> Option<String> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Some("they are nested too deeply".to_owned());
    };
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            let fits = size.is_some_and(|size| size <= MAX_INTEGER);
            (!fits).then(|| format!("they hold the number {number}, no integer between -2^53 and 2^53"))
        }
        Value::String(text) => text_problem(text),
        Value::Array(items) => items.iter().find_map(|item| problem(item, deeper)),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, member)| text_problem(name).or_else(|| problem(member, deeper))),
    }
}

fn text_problem(text: &str) -> Option<String> {
    let bad = |c: &char| c.is_control() || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    let found = text.chars().find(bad)?;
    Some(format!("they hold the character `{}`", found.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_go_writes_otherwise_than_it_signs_is_refused() {
        assert_eq!(
            check_custom("n", &json!({"z": {"a": [1, true, null], "b": "x"}, "note": "é"})),
            Ok(())
        );
        for bad in [
            json!({"a": "<"}),
            json!({"a&": 1}),
            json!({"a": "line\nend"}),
            json!([1.5]),
            json!(1_u64 << 53),
            json!(-(1_i64 << 60)),
            json!("\u{2028}"),
        ] {
            assert!(check_custom("n", &bad).is_err(), "{bad}");
        }
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        assert!(check_custom("n", &deep).is_err());
    }
}
