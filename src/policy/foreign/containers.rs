//! containers-policy.json(5), by which podman, skopeo, buildah and CRI-O decide.

use serde_json::{Map, Value};

use super::{Imported, Rules, Verdict, parse};
use crate::failure::Failure;
use crate::policy::Pattern;

/// The transport whose scopes are names of images in registries.
const DOCKER: &str = "docker";

/// Reads a policy.json; `source` is how messages name it.
///
/// # Errors
/// [`Failure::Malformed`] when it is not in the form that containers-policy.json(5) demands.
pub fn containers(source: &str, bytes: &[u8]) -> Result<Imported, Failure> {
    let bad = |problem: String| Failure::malformed(source, problem);
    let value = parse(source, bytes)?;
    let policy = value.as_object().ok_or_else(|| bad("expected an object".to_owned()))?;
    if let Some(unknown) = policy
        .keys()
        .find(|key| !["default", "transports"].contains(&key.as_str()))
    {
        return Err(bad(format!(
            "unknown member `{unknown}`; expected default and transports"
        )));
    }
    let mut rules = Rules::default();
    let default = policy
        .get("default")
        .ok_or_else(|| bad("it has no `default`".to_owned()))?;
    if verdict(default).map_err(&bad)? == Verdict::Accept {
        rules.note("default: it accepts what nothing is said about; here that is refused (NO_RULE)".to_owned());
    }
    let none = Map::new();
    let transports = policy.get("transports").map_or(Some(&none), Value::as_object);
    for (transport, scopes) in transports.ok_or_else(|| bad("`transports` is no object".to_owned()))? {
        let scopes = scopes
            .as_object()
            .ok_or_else(|| bad(format!("transport `{transport}` is no object")))?;
        if transport != DOCKER {
            rules.note(format!(
                "transports: {transport}: left out, as rules are about names of images in registries, not about places"
            ));
            continue;
        }
        for (scope, requirements) in scopes {
            let verdict = verdict(requirements).map_err(|problem| bad(format!("scope `{scope}`: {problem}")))?;
            add(&mut rules, scope, verdict);
        }
    }
    rules.finish(source)
}

/// Adds the rules for one scope: a name, a namespace, a host, or `*.domain`.
fn add(rules: &mut Rules, scope: &str, verdict: Verdict) {
    let (name, digest) = match scope.split_once('@') {
        Some((name, _)) => (name, true),
        None => (scope, false),
    };
    if scope.is_empty() || scope.starts_with('*') {
        let what = if scope.is_empty() {
            "the transport's default"
        } else {
            scope
        };
        if verdict == Verdict::Accept {
            rules.note(format!(
                "{what}: a host has no wildcards here, so nothing is said about it, and it is refused (NO_RULE)"
            ));
        }
        return;
    }
    let verdict = match verdict {
        Verdict::Deny(reason) => {
            if reason != REJECT {
                rules.note(format!("{scope}: {reason}; it is denied"));
            }
            Verdict::Deny(reason)
        }
        Verdict::Accept if digest => {
            rules.note(format!(
                "{scope}: patterns name no digests; the whole repository is denied"
            ));
            Verdict::Deny("policy.json speaks of one digest of it; list that under `digestIn:`".to_owned())
        }
        accept => accept,
    };
    let has_tag = name.rfind(':') > name.rfind('/') && name.contains('/');
    let mut patterns = Vec::new();
    if name.contains('/') {
        patterns.push(name.to_owned());
    }
    if !has_tag && !digest {
        patterns.push(format!("{name}/**"));
    }
    let good = |pattern: &String| Pattern::parse(pattern).is_ok() && !name.contains('*');
    match patterns.iter().all(good) {
        true => rules.add(&patterns, verdict),
        false => rules.note(format!(
            "{scope}: is no name that a rule can match; nothing is said about it, and it is refused (NO_RULE)"
        )),
    }
}

/// Why something is denied that policy.json rejects.
const REJECT: &str = "policy.json rejects it";

/// Says what a list of requirements, which must all hold, comes to here.
fn verdict(requirements: &Value) -> Result<Verdict, String> {
    let requirements = requirements.as_array().ok_or("expected a list of requirements")?;
    if requirements.is_empty() {
        return Err("a list of requirements has at least one".to_owned());
    }
    let mut accepted = Verdict::Accept;
    for requirement in requirements {
        let kind = requirement
            .get("type")
            .and_then(Value::as_str)
            .ok_or("a requirement has no `type`")?;
        let denied = match kind {
            "insecureAcceptAnything" => continue,
            "reject" => return Ok(Verdict::Deny(REJECT.to_owned())),
            "signedBy" => "policy.json wants a signature by a GPG key, which imgkit does not check",
            "sigstoreSigned" => "policy.json wants a sigstore signature, which policies cannot demand yet",
            other => return Err(format!("unknown requirement `{other}`")),
        };
        if accepted == Verdict::Accept {
            accepted = Verdict::Deny(denied.to_owned());
        }
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::{Decision, Policy};
    use super::*;

    const POLICY: &str = r#"{
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {
            "docker": {
                "r.example/team": [{"type": "insecureAcceptAnything"}],
                "r.example/team/secret": [{"type": "reject"}],
                "r.example/team/secret/open:v1": [{"type": "insecureAcceptAnything"}],
                "r.example/signed": [{"type": "sigstoreSigned", "keyPath": "/k.pub"}],
                "r.example/gpg": [{"type": "insecureAcceptAnything"}, {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}],
                "s.example": [{"type": "reject"}],
                "*.wild.example": [{"type": "insecureAcceptAnything"}],
                "": [{"type": "insecureAcceptAnything"}]
            },
            "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]}
        }
    }"#;

    fn admits(policy: &Policy, name: &str) -> bool {
        let rule = policy.rule_for(&name.parse().unwrap());
        rule.is_some_and(|rule| !matches!(rule.decision, Decision::Denied { .. }))
    }

    #[test]
    fn the_most_specific_scope_decides_and_nothing_is_widened() {
        let imported = containers("policy.json", POLICY.as_bytes()).unwrap();
        let policy = Policy::parse("p.yml", imported.yaml.as_bytes()).unwrap();
        for (name, admitted) in [
            ("r.example/team:v1", true),
            ("r.example/team/a:v1", true),
            ("r.example/teamx:v1", false),
            ("r.example/team/secret:v1", false),
            ("r.example/team/secret/x:v1", false),
            ("r.example/team/secret/open:v1", true),
            ("r.example/team/secret/open:v2", false),
            ("r.example/signed:v1", false),
            ("r.example/gpg:v1", false),
            ("s.example/a:v1", false),
            ("a.wild.example/a:v1", false),
            ("docker.io/library/alpine:3", false),
        ] {
            assert_eq!(admits(&policy, name), admitted, "{name}\n{}", imported.yaml);
        }
        insta::assert_snapshot!(format!("{}\n{}", imported.yaml, imported.notes.join("\n")));
    }

    #[test]
    fn refuses_what_containers_would_refuse() {
        for (from, to) in [
            ("\"default\"", "\"defualt\""),
            ("\"reject\"", "\"rejected\""),
            ("[{\"type\": \"reject\"}]", "[]"),
            ("\"s.example\": ", "\"r.example/team\": [], \"s.example\": "),
        ] {
            assert!(POLICY.contains(from), "{from}");
            assert!(
                containers("p", POLICY.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
        }
    }
}
