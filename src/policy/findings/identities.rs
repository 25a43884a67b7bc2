//! Expressions for identities and issuers that match more than their author may have meant.
//!
//! - An expression that matches several made-up strangers matches anybody: what it says of them is tried, as the gate would, and not read.
//! - A `.` in a host stands for any character: `sub.example.com` is `subXexample.com` as well, which somebody else may own.

use super::{Finding, FindingKind};
use crate::failure::Place;
use crate::sigstore::certificate::{Matcher, Signer};

/// What all later strangers are as well.
const ANY_URI: &str = "any URI";

/// Identities of strangers, and what they are.
const STRANGERS: [(&str, [&str; 3]); 3] = [
    (
        "any e-mail address",
        ["someone@madeup.example", "nobody@other.test", "another@third.invalid"],
    ),
    (
        ANY_URI,
        [
            "https://madeup.example/some/thing",
            "https://other.test/nobody",
            "https://third.invalid/a/b/c",
        ],
    ),
    (
        "a pipeline of anybody on gitlab.com",
        [
            "https://gitlab.com/madeup/thing//.gitlab-ci.yml@refs/heads/main",
            "https://gitlab.com/nobody/other//build.yml@refs/tags/v2",
            "https://gitlab.com/another/group/third//.gitlab-ci.yml@refs/heads/trial",
        ],
    ),
];

/// Owners on GitHub that nobody knows, each with a repository.
const OWNERS: [(&str, &str); 3] = [("madeup", "thing"), ("nobody", "other"), ("another", "third")];

/// Issuers that nobody knows.
const ISSUERS: [&str; 3] = [
    "https://madeup.example",
    "https://login.other.test/realms/x",
    "https://third.invalid/oauth2",
];

/// Finds what an identity's expressions match beyond what was meant, as far as that can be told.
pub(super) fn of(name: &str, signer: &Signer, place: &Place) -> Vec<Finding> {
    let all = |matcher: &Matcher, strangers: &[&str; 3]| strangers.iter().all(|text| matcher.matches(text));
    let mut findings = Vec::new();
    let mut add = |kind, text| {
        findings.push(Finding {
            kind,
            place: Some(place.clone()),
            text: format!("signer `{name}`: {text}"),
        });
    };
    let known = STRANGERS
        .iter()
        .map(|(what, strangers)| (*what, all(signer.identity(), strangers)));
    let owners = ("a workflow of anybody on GitHub", takes_any_owner(signer.identity()));
    let mut matched: Vec<&str> = Vec::new();
    for (what, is_matched) in known.chain([owners]) {
        if is_matched && !matched.contains(&ANY_URI) {
            matched.push(what);
        }
    }
    if !matched.is_empty() {
        let text = format!(
            "its identity {} matches {}, so whomever the issuer knows can sign; write who may",
            signer.identity(),
            matched.join(" and ")
        );
        add(FindingKind::AdmitsEverything, text);
    }
    if all(signer.issuer(), &ISSUERS) {
        let text = format!(
            "its issuer {} matches any, so whatever issuer the authority takes can vouch for the identity; write which may",
            signer.issuer()
        );
        add(FindingKind::AdmitsEverything, text);
    }
    for (key, matcher) in [("identityRegExp", signer.identity()), ("issuerRegExp", signer.issuer())] {
        if let Some(host) = matcher.expression().and_then(loose_host) {
            let text = format!(
                "`{key}` names the host {host}, where each `.` stands for any character; write {}",
                host.replace('.', "\\.")
            );
            add(FindingKind::LooseHost, text);
        }
    }
    findings
}

/// Tells whether workflows on GitHub match whoever owns them: those of the repository, the file and the ref that an expression names,
/// if it names any, as anybody may give his own the same names.
fn takes_any_owner(identity: &Matcher) -> bool {
    let text = identity.expression().unwrap_or_default().replace('\\', "");
    let (before, after) = text.split_once("/.github/workflows/").unwrap_or_default();
    let (file, at) = after.split_once('@').unwrap_or((after, ""));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let plain = |text: &str| (!text.is_empty() && text.chars().all(is_plain)).then(|| text.to_owned());
    let named = before.rsplit('/').next().and_then(plain);
    let stem = file
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .next();
    let stem = stem.and_then(plain).unwrap_or_else(|| "build".to_owned());
    let file = plain(file.trim_end_matches('$')).unwrap_or_else(|| format!("{stem}.yml"));
    let prefix = at.split(|c| !is_plain(c)).next().unwrap_or_default();
    let refs = [
        "refs/heads/main".to_owned(),
        "refs/tags/v1.2.3".to_owned(),
        prefix.to_owned(),
        format!("{prefix}1"),
    ];
    refs.iter().any(|at| {
        OWNERS.iter().all(|(owner, repository)| {
            let repository = named.as_deref().unwrap_or(repository);
            identity.matches(&format!(
                "https://github.com/{owner}/{repository}/.github/workflows/{file}@{at}"
            ))
        })
    })
}

/// Finds the host of a URI or e-mail address in an expression, if it is written out with a `.` that is not escaped.
fn loose_host(expression: &str) -> Option<&str> {
    let (_, rest) = expression.split_once("://").or_else(|| expression.split_once('@'))?;
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let end = rest.find(|c| !is_of_host(c)).unwrap_or(rest.len());
    let (host, after) = rest.split_at_checked(end)?;
    // Before a quantifier or an escape the last part is not all of it, and a `.` at the end may mean what it says.
    let is_whole = !after.starts_with(['*', '+', '?', '{', '\\', '[', '(']);
    let parts: Vec<&str> = host.split('.').collect();
    (is_whole && parts.len() > 1 && parts.iter().all(|part| !part.is_empty())).then_some(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(identity: Matcher, issuer: Matcher) -> Vec<String> {
        let place = Place {
            file: "p.yml".to_owned(),
            line: 1,
            column: 1,
        };
        let found = of("ci", &Signer::new(identity, issuer), &place);
        found.into_iter().map(|finding| finding.text).collect()
    }

    fn exact(text: &str) -> Matcher {
        Matcher::Exact(text.to_owned())
    }

    fn pattern(text: &str) -> Matcher {
        Matcher::pattern(text).unwrap()
    }

    #[test]
    fn however_it_is_written_an_expression_for_everybody_is_found() {
        for everybody in [
            ".*",
            ".+",
            "^.*$",
            "[\\s\\S]*",
            "(?s).*",
            ".{3,}",
            "(.*)",
            "x|.*",
            "\\S+",
            "[^ ]*",
            "(?:)|.+?",
        ] {
            let found = texts(pattern(everybody), exact("https://issuer.example"));
            assert_eq!(found.len(), 1, "{everybody}: {found:?}");
            assert!(
                found.concat().contains("matches any e-mail address and any URI, so"),
                "{found:?}"
            );
            let found = texts(exact("a@example.com"), pattern(everybody));
            assert!(found.concat().contains("its issuer"), "{everybody}: {found:?}");
        }
        for (one_kind, what) in [
            (".*@.*", "any e-mail address"),
            ("\\w+@\\w+\\.\\w+", "any e-mail address"),
            ("https?://.+", "any URI"),
            (
                "https://github\\.com/.*/\\.github/workflows/.*",
                "a workflow of anybody on GitHub",
            ),
            ("https://github\\.com/[^@]+@.*", "a workflow of anybody on GitHub"),
            (
                "https://github\\.com/.*/\\.github/workflows/release\\.yml@.*",
                "a workflow of anybody on GitHub",
            ),
            (
                "https://github.com/[^/]+/app/.github/workflows/release.ya?ml@refs/tags/v[0-9.]+$",
                "a workflow of anybody on GitHub",
            ),
            (
                "^https://github\\.com/[^/]+/app/\\.github/workflows/release\\.yml@refs/heads/stable$",
                "a workflow of anybody on GitHub",
            ),
            ("https://gitlab\\.com/.*", "a pipeline of anybody on gitlab.com"),
        ] {
            let found = texts(pattern(one_kind), exact("https://issuer.example"));
            assert!(found.concat().contains(what), "{one_kind}: {found:?}");
        }
        assert_eq!(texts(exact("a@example.com"), pattern("https://.*")).len(), 1);
    }

    #[test]
    fn an_expression_for_somebody_is_not() {
        for somebody in [
            "https://github\\.com/acme/.*",
            "https://github\\.com/acme/app/\\.github/workflows/release\\.yml@refs/tags/v[0-9.]+",
            "https://github\\.com/(acme|acme-labs)/[^/]+/\\.github/workflows/.*",
            ".*@example\\.com",
            "(alice|bob)@example\\.com",
            "spiffe://acme\\.example/.*",
            "",
        ] {
            let found = texts(pattern(somebody), pattern("https://(a|b)\\.issuer\\.example/?"));
            assert_eq!(found, Vec::<String>::new(), "{somebody}");
        }
        assert_eq!(texts(exact(".*"), exact(".*")), Vec::<String>::new());
    }

    #[test]
    fn a_host_with_a_point_for_any_character_is_told() {
        for (loose, host) in [
            ("https://github.com/acme/.*", "github.com"),
            ("^https://git.acme.example/x$", "git.acme.example"),
            ("(alice|bob)@mail.acme.example", "mail.acme.example"),
        ] {
            let found = texts(pattern(loose), exact("https://issuer.example"));
            assert_eq!(found.len(), 1, "{loose}: {found:?}");
            assert!(found.concat().contains(&format!("the host {host},")), "{found:?}");
        }
        for strict in [
            "https://github\\.com/acme/.*",
            "https://[a-z]+\\.acme\\.example/.*",
            "https://git[.]acme[.]example/x",
            "alice@localhost",
        ] {
            let found = texts(pattern(strict), exact("https://issuer.example"));
            assert_eq!(found, Vec::<String>::new(), "{strict}");
        }
    }
}
