//! Notation's trust policies: trustpolicy.oci.json, and trustpolicy.json before it (notaryproject specifications, trust store and
//! trust policy).
//!
//! - A scope is one repository, without wildcards; or `*` alone, which is all that no other policy is about.
//! - No scope stands in two policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Imported, Rules, Verdict, parse};
use crate::failure::Failure;
use crate::policy::{Pattern, Plain};

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
    let mut known = BTreeSet::new();
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
        let scopes = scopes.ok_or_else(|| bad("a trust policy has no `registryScopes`"))?;
        if scopes.is_empty() {
            return Err(bad(&format!("{name}: `registryScopes` has at least one scope")));
        }
        for scope in scopes {
            let scope = scope.as_str().ok_or_else(|| bad("a scope is a text"))?;
            if !known.insert(scope) {
                return Err(bad(&format!(
                    "{name}: scope `{scope}` stands twice; a scope belongs to one trust policy"
                )));
            }
            if scope == "*" && scopes.len() > 1 {
                return Err(bad(&format!("{name}: scope `*` stands alone, without other scopes")));
            }
            if scope == "*" {
                rules.note(format!(
                    "{name}: scope `*`: a host has no wildcards here, so it is refused (NO_RULE)"
                ));
                continue;
            }
            let is_repository =
                |pattern: Pattern| matches!(pattern.plain(), Some(Plain::Repository(name)) if name == scope);
            if !Pattern::parse(scope).is_ok_and(is_repository) {
                return Err(bad(&format!(
                    "{name}: scope `{scope}` is no repository; expected HOST/PATH without wildcards and tag, or `*`"
                )));
            }
            if let Verdict::Deny(reason) = &verdict {
                rules.note(format!("{name}: {scope}: {reason}; it is denied"));
            }
            rules.add(scope.to_owned(), verdict.clone());
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

    #[test]
    fn refuses_scopes_that_are_no_repositories_of_one_policy() {
        let policy = |name: &str, scopes: &str| {
            format!(
                r#"{{"name": "{name}", "registryScopes": [{scopes}], "signatureVerification": {{"level": "skip"}}}}"#
            )
        };
        let read = |one: &str, two: &str| {
            let (one, two) = (policy("one", one), policy("two", two));
            let text = format!(r#"{{"version": "1.0", "trustPolicies": [{one}, {two}]}}"#);
            notation("t", text.as_bytes()).map_err(|failure| failure.to_string())
        };
        assert!(read(r#""r.example:5000/app", "r.example/b""#, r#""*""#).is_ok());
        for (one, two, why) in [
            (r#""r.example/*""#, r#""*""#, "scope `r.example/*`"),
            (r#""r.example/**""#, r#""*""#, "scope `r.example/**`"),
            (r#""r.example/team-*/app""#, r#""*""#, "scope `r.example/team-*/app`"),
            (r#""r.example/app:v1""#, r#""*""#, "scope `r.example/app:v1`"),
            (r#""r.example""#, r#""*""#, "scope `r.example`"),
            (
                r#""r.example/app""#,
                r#""r.example/app""#,
                "`r.example/app` stands twice",
            ),
            (
                r#""r.example/app", "r.example/app""#,
                r#""*""#,
                "`r.example/app` stands twice",
            ),
            (r#""*""#, r#""*""#, "`*` stands twice"),
            (r#""*", "r.example/app""#, r#""r.example/b""#, "alone"),
            ("", r#""*""#, "at least one"),
        ] {
            let found = read(one, two);
            assert!(
                found.as_ref().is_err_and(|text| text.contains(why)),
                "{one} {two}: {found:?}"
            );
        }
    }
}
