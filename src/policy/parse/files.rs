//! The files of a policy: the one that is named, and what it includes.

use super::member;
use crate::digest::{Digest, Hasher};
use crate::failure::Failure;
use crate::limit;
use crate::yaml::{Document, Item, YamlError};

/// Which overlay is put over a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment<'a> {
    /// The named one; none only where the policy has no environments.
    Named(Option<&'a str>),
    /// None, for those who look at the policy itself.
    Base,
}

/// One file of a policy, not yet decoded.
pub(super) struct PolicyFile {
    /// Its path inside the policy's directory.
    inner: String,
    digest: Digest,
    pub(super) document: Document,
}

impl PolicyFile {
    /// Returns a path that this file names, relative to the policy's directory.
    pub(super) fn beside(&self, path: &str) -> String {
        match self.inner.rsplit_once('/') {
            Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
            _ => path.to_owned(),
        }
    }
}

/// Reads the policy `name` and what it includes: each file once, before what it includes itself.
pub(super) fn read_all(
    dir: &str,
    name: &str,
    read: &mut dyn FnMut(&str) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<PolicyFile>, Failure> {
    let mut reader = Reader {
        dir,
        read,
        files: Vec::new(),
        within: Vec::new(),
    };
    reader.file(name.to_owned())?;
    Ok(reader.files)
}

/// Computes the digest of a policy: its file's own where that is all of it.
pub(super) fn digest(files: &[PolicyFile], environment: Option<&str>) -> Digest {
    if let ([only], None) = (files, environment) {
        return only.digest;
    }
    let mut hasher = Hasher::sha256();
    hasher.update(b"imgkit-policy-1\n");
    if let Some(environment) = environment {
        hasher.update(format!("environment {environment}\n").as_bytes());
    }
    for file in files {
        hasher.update(format!("{} {}\n", file.digest, file.inner).as_bytes());
    }
    hasher.finish()
}

struct Reader<'r> {
    dir: &'r str,
    read: &'r mut dyn FnMut(&str) -> Result<Vec<u8>, Failure>,
    files: Vec<PolicyFile>,
    /// The files that lead here, each including the next.
    within: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, inner: String) -> Result<(), Failure> {
        let bytes = (self.read)(&inner)?;
        let shown = match self.dir {
            "" => inner.clone(),
            "/" => format!("/{inner}"),
            dir => format!("{dir}/{inner}"),
        };
        let document = Document::parse(&shown, &bytes)?;
        let at = self.files.len();
        self.files.push(PolicyFile {
            inner: inner.clone(),
            digest: Digest::sha256(&bytes),
            document,
        });
        self.within.push(inner);
        for (path, error) in self.included(at)? {
            if self.within.contains(&path) {
                let circle = [self.within.as_slice(), &[path]].concat().join(" -> ");
                return Err(error(format!("this file includes itself: {circle}")).into());
            }
            if self.files.iter().any(|file| file.inner == path) {
                continue;
            }
            if self.within.len() >= limit::POLICY_INCLUDE_DEPTH {
                let most = limit::POLICY_INCLUDE_DEPTH;
                return Err(error(format!("files include each other more than {most} deep")).into());
            }
            if self.files.len() >= limit::POLICY_FILES {
                let most = limit::POLICY_FILES;
                return Err(error(format!("a policy has at most {most} files")).into());
            }
            self.file(path)?;
        }
        self.within.pop();
        Ok(())
    }

    /// Lists what a file includes: paths inside the policy's directory, and how to complain about each.
    fn included(&self, at: usize) -> Result<Vec<(String, impl Fn(String) -> YamlError + use<>)>, YamlError> {
        let Some(file) = self.files.get(at) else {
            return Ok(Vec::new());
        };
        let Some(list) = member(file.document.root(), "include")? else {
            return Ok(Vec::new());
        };
        let path = |item: Item<'_>| {
            let path = inside(&file.beside(item.word()?)).ok_or_else(|| {
                item.invalid("expected a path, relative to this file, that stays within the policy's own directory")
            })?;
            let place = item.place();
            let error = move |problem: String| YamlError {
                place: place.clone(),
                problem: crate::yaml::Problem::Invalid(problem),
            };
            Ok((path, error))
        };
        list.list_of(path)
    }
}

/// Takes `.` and `..` out of a path; none if it leads out of where it begins, or is no plain relative path.
fn inside(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    if path.starts_with('/') || path.contains(['\\', '\0']) {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" => return None,
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::Policy;
    use super::*;

    const TOP: &str = "version: 1\nroots: {platform: root.json}\n";

    /// Loads a policy of these files, `p.yml` first.
    fn load(files: &[(&str, &str)]) -> Result<Policy, Failure> {
        Policy::load("dir", "p.yml", Environment::Named(None), &mut |path| {
            let found = files.iter().find(|(name, _)| *name == path);
            let (_, text) = found.ok_or_else(|| Failure::unavailable(path, "is not there"))?;
            Ok(text.as_bytes().to_vec())
        })
    }

    fn rule(name: &str) -> String {
        format!("rules:\n  - {{match: r.example/{name}, deny: {name}}}\n")
    }

    #[test]
    fn own_rules_come_first_and_a_file_that_is_included_twice_counts_once() {
        let top = format!("{TOP}include: [a.yml, sub/b.yml]\n{}", rule("top"));
        let a = format!("version: 1\ninclude: [sub/b.yml]\n{}", rule("a"));
        let b = format!("version: 1\n{}", rule("b"));
        let policy = load(&[("p.yml", &top), ("a.yml", &a), ("sub/b.yml", &b)]).unwrap();
        let order: Vec<String> = policy.rules().iter().map(|rule| rule.place.to_string()).collect();
        assert_eq!(order, ["dir/p.yml:5:5", "dir/a.yml:4:5", "dir/sub/b.yml:3:5"]);
    }

    #[test]
    fn the_digest_covers_every_file() {
        let top = format!("{TOP}include: [a.yml]\nrules: []\n");
        let digest = |a: &str| load(&[("p.yml", &top), ("a.yml", a)]).unwrap().digest();
        let a = format!("version: 1\n{}", rule("a"));
        assert_eq!(digest(&a), digest(&a));
        assert_ne!(digest(&a), digest(&format!("{a}# other\n")));
        let alone = format!("{TOP}rules: []\n");
        assert_eq!(
            load(&[("p.yml", &alone)]).unwrap().digest(),
            Digest::sha256(alone.as_bytes())
        );
    }

    #[test]
    fn roots_of_included_files_are_found_beside_them_and_names_are_shared() {
        let top = "version: 1\ninclude: [sub/signers.yml]\nrules:\n  - {match: r.example/a, signed: team}\n";
        let signers = "version: 1\nroots: {platform: keys/root.json}\nsigners:\n  team: {root: platform}\n";
        let policy = load(&[("p.yml", top), ("sub/signers.yml", signers)]).unwrap();
        let files: Vec<_> = policy.roots().map(|(name, root)| (name, &*root.file)).collect();
        assert_eq!(files, [("platform", "sub/keys/root.json")]);
    }

    #[test]
    fn includes_that_lead_in_a_circle_or_away_are_named_with_their_place() {
        let mut errors = Vec::new();
        let top = |include: &str| format!("{TOP}rules: []\ninclude:\n  - {include}\n");
        for path in ["../q.yml", "/etc/q.yml", "a/../../q.yml", "''", "p.yml", "missing.yml"] {
            errors.push(load(&[("p.yml", &top(path))]).unwrap_err().to_string());
        }
        let circle = [
            ("p.yml", &*top("a/b.yml")),
            ("a/b.yml", "version: 1\ninclude: [c.yml]\n"),
            ("a/c.yml", "version: 1\ninclude: [../p.yml]\n"),
        ];
        errors.push(load(&circle).unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn depth_and_number_of_files_are_bounded() {
        let chain = |path: &str| {
            let number: usize = path
                .trim_end_matches(".yml")
                .trim_start_matches('p')
                .parse()
                .unwrap_or(0);
            Ok(format!("{TOP}rules: []\ninclude: [p{}.yml]\n", number + 1).into_bytes())
        };
        let error = Policy::load("", "p.yml", Environment::Base, &mut { chain }).unwrap_err();
        assert!(error.to_string().contains("8 deep"), "{error}");
        let many: Vec<String> = (0..limit::POLICY_FILES).map(|n| format!("q{n}.yml")).collect();
        let top = format!("{TOP}rules: []\ninclude: [{}]\n", many.join(", "));
        let wide = |path: &str| {
            Ok(match path {
                "p.yml" => top.clone().into_bytes(),
                _ => b"version: 1\n".to_vec(),
            })
        };
        let error = Policy::load("", "p.yml", Environment::Base, &mut { wide }).unwrap_err();
        assert!(error.to_string().contains("at most 64 files"), "{error}");
    }
}
