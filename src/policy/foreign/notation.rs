//! Notation's trust policies: trustpolicy.oci.json, and trustpolicy.json before it (notaryproject specifications, trust store and
//! trust policy).

use serde_json::Value;

use super::{Imported, Rules, Verdict, parse};
use crate::failure::Failure;

/// Reads a trust policy; `source` is how messages name it.
///
/// # Errors
/// [`Failure::Malformed`] when it is not in its form.
pub fn notation(source: &str, bytes: &[u8]) -> Result<Imported, Failure> {
    let bad = |problem: &str| Failure::malformed(source, problem);
    let value = parse(source, bytes)?;
    if value.get("version").and_then(Value::as_str) != Some("1.0") {
        return Err(bad("expected a trust policy of version 1.0"));
    }
    let policies = value.get("trustPolicies").and_then(Value::as_array);
    let mut rules = Rules::default();
    for policy in policies.ok_or_else(|| bad("it has no `trustPolicies`"))? {
        let name = policy.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| bad("a trust policy has no `name`"))?;
        let level = policy.pointer("/signatureVerification/level").and_then(Value::as_str);
        let verdict = match level {
            Some("skip") => Verdict::Accept,
            Some("strict" | "permissive" | "audit") => Verdict::Deny(
                "the trust policy wants a Notary Project signature, which policies cannot demand yet".to_owned(),
            ),
            _ => return Err(bad("a level is strict, permissive, audit or skip")),
        };
        let scopes = policy.get("registryScopes").and_then(Value::as_array);
        for scope in scopes.ok_or_else(|| bad("a trust policy has no `registryScopes`"))? {
            let scope = scope.as_str().ok_or_else(|| bad("a scope is a text"))?;
            if scope == "*" {
                rules.note(format!(
                    "{name}: scope `*`: a host has no wildcards here, so it is refused (NO_RULE)"
                ));
                continue;
            }
            if let Verdict::Deny(reason) = &verdict {
                rules.note(format!("{name}: {scope}: {reason}; it is denied"));
            }
            rules.add(&[scope.to_owned()], verdict.clone());
        }
    }
    rules.finish(source)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_to_be_signed_is_denied_and_what_is_skipped_is_accepted() {
        let text = r#"{"version": "1.0", "trustPolicies": [
            {"name": "prod", "registryScopes": ["r.example/app"], "signatureVerification": {"level": "strict"},
             "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, O=acme"]},
            {"name": "open", "registryScopes": ["r.example/open"], "signatureVerification": {"level": "skip"}},
            {"name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "skip"}}]}"#;
        let imported = notation("trustpolicy.json", text.as_bytes()).unwrap();
        insta::assert_snapshot!(format!("{}\n{}", imported.yaml, imported.notes.join("\n")));
        for (from, to) in [("strict", "lax"), ("1.0", "2.0"), ("r.example/app", "app")] {
            assert!(notation("t", text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
