//! containers-policy.json(5), by which podman, skopeo, buildah and CRI-O decide.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Beside, Imported, Rules, Verdict, parse, sigstore, without_tag};
use crate::failure::Failure;
use crate::policy::Pattern;

/// The transport whose scopes are names of images in registries.
const DOCKER: &str = "docker";

/// Reads a policy.json; `source` is how messages name it.
///
/// # Errors
/// [`Failure::Malformed`] when it is not in the form that containers-policy.json(5) demands.
pub fn containers(source: &str, bytes: &[u8], beside: &Beside<'_>) -> Result<Imported, Failure> {
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
    match wanted(default, beside).map_err(&bad)?.verdict {
        Verdict::Accept => {
            rules.note("default: it accepts what nothing is said about; here that is refused (NO_RULE)".to_owned());
        }
        Verdict::Signed(_) => {
            rules.note(
                "default: it accepts what is signed; a host has no wildcards here, so that is refused (NO_RULE)"
                    .to_owned(),
            );
        }
        Verdict::Deny(_) => {}
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
        // What denies a repository for a digest's sake comes last: nothing is decided about it after that.
        let (digests, names): (Vec<_>, Vec<_>) = scopes.iter().partition(|(scope, _)| scope.contains('@'));
        for (scope, requirements) in names.into_iter().chain(digests) {
            let wanted = wanted(requirements, beside).map_err(|problem| bad(format!("scope `{scope}`: {problem}")))?;
            add(&mut rules, scope, wanted);
        }
    }
    rules.finish(source)
}

/// Adds the rules for one scope: a name, a namespace, a host, or `*.domain`.
fn add(rules: &mut Rules, scope: &str, wanted: Wanted) {
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
        if !matches!(wanted.verdict, Verdict::Deny(_)) {
            rules.note(format!(
                "{what}: a host has no wildcards here, so nothing is said about it, and it is refused (NO_RULE)"
            ));
        }
        return;
    }
    let repository = without_tag(name);
    let has_tag = repository != name;
    let is_name = |pattern: &str| Pattern::parse(pattern).is_ok() && !name.contains('*');
    if digest && is_name(repository) {
        rules.note(format!(
            "{scope}: patterns name no digests; the whole repository is denied"
        ));
        let reason = match wanted.verdict {
            Verdict::Deny(reason) => format!("one digest of it: {reason}; patterns name no digests"),
            Verdict::Accept | Verdict::Signed(_) => {
                "policy.json speaks of one digest of it; list that under `digestIn:`".to_owned()
            }
        };
        rules.deny_repository(repository, &reason);
        return;
    }
    let verdict = match (wanted.verdict, &wanted.only) {
        (Verdict::Deny(reason), _) => {
            if reason != REJECT {
                rules.note(format!("{scope}: {reason}; it is denied"));
            }
            Verdict::Deny(reason)
        }
        (_, Some(only)) if only != repository => {
            let reason = format!("policy.json wants a signature that names {only}, which is another repository");
            rules.note(format!("{scope}: {reason}; it is denied"));
            Verdict::Deny(reason)
        }
        (verdict, _) => verdict,
    };
    if let Verdict::Signed(all) = &verdict
        && all.iter().flatten().any(|key| key.identity.is_some())
    {
        rules.note(format!(
            "{scope}: an identity's signatures in the older form; here they have to be bundles that name the image, with a log's proof \
             (`imgkit sigstore sign --identity-token TOKEN --identity NAME`)"
        ));
    }
    // Each pattern of the scope, and what is decided about it.
    let mut decided = Vec::new();
    // No repository is called like a user of Docker's.
    let is_user = !has_tag && name.strip_prefix("docker.io/").is_some_and(|user| !user.contains('/'));
    if name.contains('/') && !is_user {
        decided.push((name.to_owned(), verdict.clone()));
    }
    if !has_tag {
        let below = match (&verdict, &wanted.only) {
            (Verdict::Signed(_), Some(only)) => {
                Verdict::Deny(format!("policy.json wants a signature that names {only}"))
            }
            _ => verdict,
        };
        decided.push((format!("{name}/**"), below));
    }
    match !digest && decided.iter().all(|(pattern, _)| is_name(pattern)) {
        true => decided
            .into_iter()
            .for_each(|(pattern, verdict)| rules.add(pattern, verdict)),
        false => rules.note(format!(
            "{scope}: is no name that a rule can match; nothing is said about it, and it is refused (NO_RULE)"
        )),
    }
}

/// Why something is denied that policy.json rejects.
const REJECT: &str = "policy.json rejects it";

/// What a scope's requirements come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// For the repository or image that the scope names, and all below it.
    verdict: Verdict,
    /// Whether they hold only for images that were signed as ones of this repository.
    only: Option<String>,
}

/// Says what a list of requirements, which must all hold, comes to here.
fn wanted(requirements: &Value, beside: &Beside<'_>) -> Result<Wanted, String> {
    let requirements = requirements.as_array().ok_or("expected a list of requirements")?;
    if requirements.is_empty() {
        return Err("a list of requirements has at least one".to_owned());
    }
    let (mut signed, mut repositories, mut denied) = (Vec::new(), BTreeSet::new(), None);
    for requirement in requirements {
        let kind = requirement
            .get("type")
            .and_then(Value::as_str)
            .ok_or("a requirement has no `type`")?;
        match kind {
            "insecureAcceptAnything" => {}
            "reject" => {
                denied = Some(REJECT.to_owned());
                break;
            }
            "signedBy" => {
                let why = "policy.json wants a signature by a GPG key, which imgkit does not check";
                denied = denied.or_else(|| Some(why.to_owned()));
            }
            "sigstoreSigned" => match sigstore::read(requirement, beside)? {
                Ok(by) => {
                    repositories.extend(by.repository);
                    signed.push(by.keys);
                }
                Err(why) => denied = denied.or(Some(format!("policy.json wants a sigstore signature {why}"))),
            },
            other => return Err(format!("unknown requirement `{other}`")),
        }
    }
    if repositories.len() > 1 {
        let names: Vec<&str> = repositories.iter().map(String::as_str).collect();
        let why = format!(
            "policy.json wants signatures that name different repositories, {}",
            names.join(" and ")
        );
        denied = denied.or(Some(why));
    }
    let verdict = match denied {
        Some(reason) => Verdict::Deny(reason),
        None if signed.is_empty() => Verdict::Accept,
        None => Verdict::Signed(signed),
    };
    let only = repositories.pop_first();
    Ok(Wanted { verdict, only })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
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

    fn nothing() -> Beside<'static> {
        Beside {
            file: &|path| Err(Failure::unavailable(path, "no such file")),
            certificate_logs: &[],
        }
    }

    fn admits(policy: &Policy, name: &str) -> bool {
        let rule = policy.rule_for(&name.parse().unwrap());
        rule.is_some_and(|rule| rule.decision == Decision::Unsigned)
    }

    #[test]
    fn the_most_specific_scope_decides_and_nothing_is_widened() {
        let imported = containers("policy.json", POLICY.as_bytes(), &nothing()).unwrap();
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

    fn one(requirements: &str) -> Imported {
        let text = format!(
            r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"r.example/a": {requirements}, "r.example/a/b:v1": {requirements}}}}}}}"#
        );
        containers("policy.json", text.as_bytes(), &nothing()).unwrap()
    }

    #[test]
    fn signatures_come_over_where_here_the_same_is_asked() {
        let (a, b) = ("/etc/a.pub", "/etc/b.pub");
        let named = |kind: &str| format!(r#""signedIdentity": {{"type": "{kind}"}}"#);
        let repository = named("matchRepository");
        let all = [
            format!(r#"[{{"type": "sigstoreSigned", "keyPath": "{a}"}}]"#),
            format!(r#"[{{"type": "sigstoreSigned", "keyPath": "{a}", {repository}}}]"#),
            format!(r#"[{{"type": "sigstoreSigned", "keyPaths": ["{a}", "{b}"], {repository}}}]"#),
            format!(
                r#"[{{"type": "sigstoreSigned", "keyPath": "{a}", {repository}}}, {{"type": "sigstoreSigned", "keyPath": "{b}"}}]"#
            ),
            format!(
                r#"[{{"type": "sigstoreSigned", "keyPath": "{a}", "signedIdentity": {{"type": "exactRepository", "dockerRepository": "r.example/a"}}}}]"#
            ),
        ];
        let imported: Vec<String> = all
            .iter()
            .map(|requirements| one(requirements))
            .map(|one| one.yaml + &one.notes.join("\n"))
            .collect();
        insta::assert_snapshot!(imported.join("\n"));
    }

    #[test]
    fn signatures_of_which_more_is_asked_are_denied() {
        for (members, why) in [
            (r#""keyPath": "k.pub""#, "whole path"),
            (
                r#""keyPath": "/k.pub", "rekorPublicKeyPath": "/r.pub""#,
                "that a log has",
            ),
            (
                r#""keyPath": "/k.pub", "signedIdentity": {"type": "matchExact"}"#,
                "matchExact",
            ),
            (
                r#""keyPath": "/k.pub", "signedIdentity": {"type": "remapIdentity", "prefix": "a", "signedPrefix": "b"}"#,
                "remapIdentity",
            ),
            (
                r#""keyPath": "/k.pub", "signedIdentity": {"type": "exactRepository", "dockerRepository": "s.example/x"}"#,
                "another repository",
            ),
            (r#""keyData": "LS0tLS0=""#, "does not read"),
            (
                r#""fulcio": {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r""#,
                "--ct-log-key",
            ),
            (r#""pki": {"caRootsPath": "/ca"}"#, "none of sigstore's"),
        ] {
            let imported = one(&format!(r#"[{{"type": "sigstoreSigned", {members}}}]"#));
            let policy = Policy::parse("p.yml", imported.yaml.as_bytes()).unwrap();
            for rule in policy.rules() {
                assert!(matches!(rule.decision, Decision::Denied { .. }), "{members}: {rule}");
            }
            assert!(
                imported.notes.iter().all(|note| note.contains(why)),
                "{members}: {:?}",
                imported.notes
            );
            assert_eq!(imported.notes.len(), 2);
        }
        for bad in [
            r#""keyPath": "/k", "keyData": "YQ==""#,
            r#""keyPath": ["/k"]"#,
            r#""keyPaths": "/k""#,
            r#""keyPaths": []"#,
            r#""keyPaths": [1]"#,
            r#""keyData": "!""#,
            r#""keyPath": "/k", "signedIdentity": {"type": "any"}"#,
            r#""keyPath": "/k", "more": 1"#,
            r#""signedIdentity": {"type": "matchExact"}"#,
            r#""fulcio": {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b"}"#,
            r#""fulcio": {"caPath": "/ca", "caData": "YQ==", "oidcIssuer": "https://i", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r""#,
            r#""fulcio": {"caPath": "/ca", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r""#,
            r#""fulcio": {"caPath": "/ca", "oidcIssuer": "", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r""#,
            r#""fulcio": {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b", "x": 1}, "rekorPublicKeyPath": "/r""#,
            r#""fulcio": {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/r", "rekorPublicKeyData": "YQ==""#,
        ] {
            let text = format!(r#"{{"default": [{{"type": "sigstoreSigned", {bad}}}]}}"#);
            assert!(containers("p", text.as_bytes(), &nothing()).is_err(), "{bad}");
        }
    }

    /// Imports scopes of images in registries; everything else is rejected.
    fn scopes(scopes: &str) -> (Policy, Imported) {
        let text = format!(r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{{scopes}}}}}}}"#);
        let imported = containers("policy.json", text.as_bytes(), &nothing()).unwrap();
        (Policy::parse("p.yml", imported.yaml.as_bytes()).unwrap(), imported)
    }

    #[test]
    fn a_hosts_port_makes_its_scope_no_more_specific() {
        for host in ["r.example", "r.example:5999", "[::1]:5999"] {
            let (policy, imported) = scopes(&format!(
                r#""{host}": [{{"type": "insecureAcceptAnything"}}], "{host}/app": [{{"type": "reject"}}],
                   "{host}/app:v1": [{{"type": "insecureAcceptAnything"}}]"#
            ));
            for (name, admitted) in [
                ("other:v1", true),
                ("app:v1", true),
                ("app:v2", false),
                ("app/x:v1", false),
            ] {
                let name = format!("{host}/{name}");
                assert_eq!(admits(&policy, &name), admitted, "{name}\n{}", imported.yaml);
            }
        }
    }

    #[test]
    fn where_one_digest_is_rejected_the_whole_repository_is() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
        let above = format!(r#""r.example/app": {accept}"#);
        let of_one = |wanted: &str| format!(r#""r.example/app/a@{digest}": {wanted}"#);
        let whole = format!(r#""r.example/app/a": {accept}, "r.example/app/a:v1": {accept}"#);
        let reject = of_one(r#"[{"type": "reject"}]"#);
        let signed = of_one(r#"[{"type": "sigstoreSigned", "keyPath": "/k.pub"}]"#);
        let named = format!("r.example/app/a:v1@{digest}");
        let (policy, _) = scopes(&format!("{above}, {whole}"));
        assert!(admits(&policy, &named));
        for parts in [
            [&above, &whole, &reject],
            [&reject, &whole, &above],
            [&above, &signed, &whole],
        ] {
            let (policy, imported) = scopes(&parts.map(String::as_str).join(", "));
            for (name, admitted) in [
                (&*named, false),
                ("r.example/app/a:v1", false),
                ("r.example/app/a:v2", false),
                ("r.example/app/a/x:v1", true),
                ("r.example/app/b:v1", true),
            ] {
                assert_eq!(admits(&policy, name), admitted, "{name}\n{}", imported.yaml);
            }
            assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
            assert!(imported.notes[0].contains("the whole repository is denied"));
            // One rule for each name, and each can be reached.
            let patterns: BTreeSet<String> = policy.rules().iter().map(|rule| rule.pattern.to_string()).collect();
            assert_eq!(patterns.len(), policy.rules().len(), "{}", imported.yaml);
        }
    }

    #[test]
    fn signatures_that_name_different_repositories_are_denied() {
        let exact = |repository: &str, key: &str| {
            format!(
                r#"{{"type": "sigstoreSigned", "keyPath": "{key}",
                     "signedIdentity": {{"type": "exactRepository", "dockerRepository": "{repository}"}}}}"#
            )
        };
        let own = r#"{"type": "sigstoreSigned", "keyPath": "/b.pub"}"#;
        let (this, other) = (exact("r.example/a", "/a.pub"), exact("s.example/x", "/b.pub"));
        let denied = |requirements: &[&str]| {
            let (policy, imported) = scopes(&format!(r#""r.example/a": [{}]"#, requirements.join(", ")));
            let rule = policy.rule_for(&"r.example/a:v1".parse().unwrap()).unwrap();
            (
                matches!(rule.decision, Decision::Denied { .. }),
                imported.notes.join("\n"),
            )
        };
        for both in [[&*this, &*other], [&*other, &*this]] {
            let (denied, notes) = denied(&both);
            assert!(
                denied && notes.contains("r.example/a and s.example/x"),
                "{both:?}: {notes}"
            );
        }
        // What names the image's own repository names this one.
        for both in [[&*this, own], [own, &*this], [&*this, &*this]] {
            assert_eq!(denied(&both), (false, String::new()), "{both:?}");
        }
        assert!(denied(&[&*other, own]).0);
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
                containers("p", POLICY.replacen(from, to, 1).as_bytes(), &nothing()).is_err(),
                "{to}"
            );
        }
    }
}
