//! A policy of ours as containers-policy.json(5), for podman, skopeo, buildah and CRI-O: one that admits no more, but
//! for the last two of these.
//!
//! - There the most specific scope decides, here the first rule that matches. So each scope gets what holds for all names that it
//!   decides about; where that is several things, the strictest of them, or it rejects.
//! - What policy.json cannot demand rejects, and is told: [`Loss`].
//! - A scope is about a repository and all below it. A rule about a repository alone takes signatures of that very repository
//!   (`exactRepository`): of what lies below, none has them but an image that was signed as one of the repository.
//! - There the manifest of an index that is pulled has to be signed, and not the index.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::without_tag;
use crate::failure::Place;
use crate::policy::{Binding, Decision, Demand, Pattern, Plain, Policy, Requirement, Rule, Signer, SigstoreSigner};

/// A policy in another tool's form.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// policy.json.
    pub policy: Value,
    /// A file of registries.d, which has signatures looked for beside images; JSON, and so YAML.
    pub registries: Value,
    /// What could not be carried over.
    pub losses: Vec<Loss>,
}

/// What could not be carried over: what it admits here is rejected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The pattern of the rule.
    pub rule: String,
    /// Where it stands.
    pub place: Place,
    /// What is lost, and why.
    pub reason: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule, self.place, self.reason)
    }
}

/// What is wanted of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    /// Nothing admits it.
    Reject,
    /// Nothing is needed.
    Accept,
    /// Signatures: each of these.
    Signed(BTreeSet<Signed>),
}

/// A signature by one of several keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Signed {
    /// The keys in PEM.
    keys: BTreeSet<String>,
    /// Whether it has to name the image's tag as well as its repository.
    tag: bool,
}

impl Signed {
    /// Tells whether one that counts as this counts as `other` as well.
    fn implies(&self, other: &Self) -> bool {
        self.keys.is_subset(&other.keys) && (self.tag || !other.tag)
    }

    /// Writes the requirements; one that says a name's own, in place of the image's, where `repository` is given.
    fn to_json(&self, repository: Option<&str>) -> Vec<Value> {
        let mut keys: Vec<String> = self.keys.iter().map(|pem| STANDARD.encode(pem)).collect();
        // Older readers know the one key alone.
        let (name, keys) = match keys.pop() {
            Some(only) if keys.is_empty() => ("keyData", json!(only)),
            last => ("keyDatas", json!(keys.into_iter().chain(last).collect::<Vec<_>>())),
        };
        let own = match self.tag {
            true => json!({ "type": "matchRepoDigestOrExact" }),
            false => json!({ "type": "matchRepository" }),
        };
        let identities = match repository {
            None => vec![own],
            Some(name) => {
                let exact = json!({ "type": "exactRepository", "dockerRepository": name });
                std::iter::once(exact).chain(self.tag.then_some(own)).collect()
            }
        };
        let one = |identity| json!({ "type": "sigstoreSigned", name: keys, "signedIdentity": identity });
        identities.into_iter().map(one).collect()
    }
}

impl Want {
    /// Tells whether all that this admits is admitted by `other` as well.
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reject, _) | (_, Self::Accept) => true,
            (Self::Signed(own), Self::Signed(other)) => {
                let met = |other: &Signed| own.iter().any(|own| own.implies(other));
                other.iter().all(met)
            }
            (Self::Accept, _) | (_, Self::Reject) => false,
        }
    }

    /// Writes the requirements; signatures are taken of `repository` alone, where one is given, else of the image's own.
    fn to_json(&self, repository: Option<&str>) -> Value {
        match self {
            Self::Reject => json!([{ "type": "reject" }]),
            Self::Accept => json!([{ "type": "insecureAcceptAnything" }]),
            Self::Signed(all) => all.iter().flat_map(|signed| signed.to_json(repository)).collect(),
        }
    }
}

/// A rule, or an entry of `forbid:`.
struct Entry<'p> {
    pattern: &'p Pattern,
    place: &'p Place,
    want: Want,
}

/// What part of the names that a scope decides about comes to.
enum Part {
    /// The same for all of them, or something at least as strict.
    Is(Want),
    /// Several things, of which none is the strictest.
    Mixed,
}

/// Writes `policy` as policy.json; `key` returns the key in a file that the policy names, in PEM.
pub fn export(policy: &Policy, key: &dyn Fn(&str) -> Option<String>) -> Exported {
    let mut export = Export {
        entries: Vec::new(),
        losses: Vec::new(),
    };
    for forbidden in policy.forbidden() {
        export.entries.push(Entry {
            pattern: &forbidden.pattern,
            place: &forbidden.place,
            want: Want::Reject,
        });
    }
    for rule in policy.rules() {
        // As the gate takes it: what is demanded of every part of an image is demanded of this one.
        export.add(rule, rule.proved || policy.image().proved, key);
    }
    let scopes = export.scopes();
    let signed = scopes
        .iter()
        .filter(|(_, wanted)| wanted.to_string().contains("sigstoreSigned"));
    let attached: Map<String, Value> = signed
        .map(|(scope, _)| {
            (
                without_tag(scope).to_owned(),
                json!({ "use-sigstore-attachments": true }),
            )
        })
        .collect();
    Exported {
        policy: json!({ "default": [{ "type": "reject" }], "transports": { "docker": scopes } }),
        registries: json!({ "docker": attached }),
        losses: export.losses,
    }
}

struct Export<'p> {
    /// In the order in which they are tried.
    entries: Vec<Entry<'p>>,
    losses: Vec<Loss>,
}

impl<'p> Export<'p> {
    fn add(&mut self, rule: &'p Rule, proved: bool, key: &dyn Fn(&str) -> Option<String>) {
        let want = match &rule.decision {
            Decision::Denied { .. } => Ok(Want::Reject),
            Decision::Required(_) | Decision::Unsigned if proved => {
                Err("proved: policy.json cannot demand that an image's signer signed its tree".to_owned())
            }
            Decision::Unsigned => Ok(Want::Accept),
            Decision::Required(requirement) => self.wanted(rule, requirement, key).map(Want::Signed),
        };
        let want = want.unwrap_or_else(|reason| {
            self.lose(&rule.pattern, &rule.place, reason);
            Want::Reject
        });
        if rule.pattern.plain().is_none() && want != Want::Reject {
            let reason = "policy.json has no wildcards inside names, nor in tags";
            self.lose(&rule.pattern, &rule.place, reason.to_owned());
        }
        self.entries.push(Entry {
            pattern: &rule.pattern,
            place: &rule.place,
            want,
        });
    }

    fn lose(&mut self, rule: &Pattern, place: &Place, reason: String) {
        self.losses.push(Loss {
            rule: rule.to_string(),
            place: place.clone(),
            reason,
        });
    }

    /// Says which signatures a requirement comes to, or why it cannot be demanded.
    fn wanted(
        &mut self,
        rule: &Rule,
        requirement: &Requirement,
        key: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeSet<Signed>, String> {
        let lost = |why: &str| Err(format!("{requirement}: {why}"));
        match &requirement.demand {
            Demand::AllOf(parts) => {
                let mut all = BTreeSet::new();
                for part in parts {
                    all.extend(self.wanted(rule, part, key)?);
                }
                Ok(all)
            }
            Demand::AtLeast { of, among } if *of == among.len() => {
                let (mut all, mut known) = (BTreeSet::new(), BTreeSet::new());
                for part in among {
                    let more = self.wanted(rule, part, key)?;
                    let keys: BTreeSet<String> = more.iter().flat_map(|signed| signed.keys.clone()).collect();
                    // There each demand is looked at alone: one signature would do for two.
                    if !known.is_disjoint(&keys) {
                        return lost(
                            "policy.json does not count distinct keys, and a key of one of them is another's as well",
                        );
                    }
                    known.extend(keys);
                    all.extend(more);
                }
                Ok(all)
            }
            Demand::AtLeast { of: 1, among } => {
                let mut any: Option<Signed> = None;
                let mut lost = Vec::new();
                for part in among {
                    let wanted = self.wanted(rule, part, key);
                    let one = wanted.and_then(|wanted| match wanted {
                        all if all.len() == 1 => Ok(all),
                        _ => Err(format!(
                            "{part}: policy.json takes one of several keys, and nothing else"
                        )),
                    });
                    match one {
                        Ok(all) => {
                            for Signed { keys, tag } in all {
                                let any = any.get_or_insert_with(|| Signed {
                                    keys: BTreeSet::new(),
                                    tag,
                                });
                                any.keys.extend(keys);
                                if any.tag != tag {
                                    any.tag = true;
                                    lost.push(format!("{requirement}: whoever of them signs has to name the tag"));
                                }
                            }
                        }
                        Err(reason) => lost.push(reason),
                    }
                }
                let any = any.ok_or_else(|| lost.join("; "))?;
                for reason in lost {
                    self.lose(&rule.pattern, &rule.place, format!("{reason}; the other ways remain"));
                }
                Ok(BTreeSet::from([any]))
            }
            Demand::AtLeast { .. } => lost("policy.json cannot demand some of several signatures, only all or one"),
            Demand::Signed {
                by: Signer::Role(_), ..
            } => lost("policy.json knows neither TUF roots nor Notary collections"),
            Demand::Signed {
                by: Signer::Sigstore(SigstoreSigner::Key { file, names }),
                ..
            } => match key(file) {
                Some(pem) => Ok(BTreeSet::from([Signed {
                    keys: BTreeSet::from([pem]),
                    tag: *names == Binding::Tag,
                }])),
                None => lost("its key was not read"),
            },
            Demand::Signed {
                by: Signer::Sigstore(SigstoreSigner::Identity { .. }),
                ..
            } => lost("policy.json demands neither a certificate's SCT nor that a log can prove the signature"),
            Demand::Attested { .. } | Demand::DigestIn(_) | Demand::MaxAge(_) | Demand::MinVersion(_) => {
                lost("policy.json demands nothing of an image but signatures")
            }
        }
    }

    /// Makes all scopes: one for each name that a rule is about, so that each has its own where another's would reach it.
    fn scopes(&mut self) -> BTreeMap<String, Value> {
        let names: BTreeMap<String, (&Pattern, &Place)> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let scope = match entry.pattern.plain()? {
                    Plain::Below(name) | Plain::Repository(name) => name,
                    Plain::Tag(name, tag) => format!("{name}:{tag}"),
                };
                Some((scope, (entry.pattern, entry.place)))
            })
            .collect();
        let mut scopes = BTreeMap::new();
        for (scope, (pattern, place)) in names {
            let (wanted, lost) = self.scope(&scope);
            if let Some(reason) = lost {
                self.lose(pattern, place, format!("policy.json's scope `{scope}` {reason}"));
            }
            scopes.insert(scope, wanted);
        }
        scopes
    }

    /// Says what a scope wants, and what of it is stricter than the rules.
    fn scope(&self, scope: &str) -> (Value, Option<&'static str>) {
        let rejected = |reason| (Want::Reject.to_json(None), Some(reason));
        const MIXED: &str = "is about names that rules with wildcards decide differently about; it rejects";
        let part = |pattern: &str| match Pattern::parse(pattern).map(|pattern| self.part(&pattern)) {
            Ok(Part::Is(want)) => Some(want),
            Ok(Part::Mixed) | Err(_) => None,
        };
        if without_tag(scope) != scope {
            return match part(scope) {
                Some(want) => (want.to_json(None), None),
                None => rejected(MIXED),
            };
        }
        let Some(below) = part(&format!("{scope}/**")) else {
            return rejected(MIXED);
        };
        // No repository is called like a host, nor like a user of Docker's.
        let path = scope.split_once('/').map(|(_, path)| path);
        if path.is_none_or(|path| scope.starts_with("docker.io/") && !path.contains('/')) {
            return (below.to_json(None), None);
        }
        let Some(itself) = part(scope) else {
            return rejected(MIXED);
        };
        if itself == below {
            return (itself.to_json(None), None);
        }
        match (&itself, &below) {
            (Want::Reject, _) => {
                rejected("is about the repository of that name as well, which no rule admits; it rejects")
            }
            (_, Want::Reject) => match &itself {
                Want::Signed(_) => (itself.to_json(Some(scope)), None),
                _ => rejected("is about everything below that repository as well, which no rule admits; it rejects"),
            },
            _ if below.implies(&itself) => (
                below.to_json(None),
                Some("demands of the repository what is demanded of those below it"),
            ),
            _ if itself.implies(&below) => (
                itself.to_json(None),
                Some("demands of all below the repository what is demanded of it"),
            ),
            (Want::Signed(_), _) => (
                itself.to_json(Some(scope)),
                Some("takes nothing below the repository but what was signed as an image of it"),
            ),
            (Want::Accept, _) => rejected("is about everything below that repository as well; it rejects"),
        }
    }

    /// Says what the names that `region` matches come to, but for those that have scopes of their own.
    fn part(&self, region: &Pattern) -> Part {
        let mut met: Vec<&Want> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.pattern.may_meet(region)) {
            if entry.pattern.covers(region) {
                return match met.iter().all(|met| entry.want.implies(met)) {
                    true => Part::Is(entry.want.clone()),
                    false => Part::Mixed,
                };
            }
            if entry.pattern.plain().is_none() {
                met.push(&entry.want);
            }
        }
        Part::Is(Want::Reject)
    }
}

#[cfg(test)]
mod tests;
