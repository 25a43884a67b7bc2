//! Cases: what somebody expects a policy to decide about made-up images, in YAML (grammar in `policy/README.md`).

use serde::Serialize;
use serde_json::Value;

use super::attached::nothing;
use super::{Fault, Given, Trial};
use crate::attest::PredicateType;
use crate::failure::{Failure, Place};
use crate::policy::{Policy, Signer, Signers};
use crate::reference::Reference;
use crate::time::Time;
use crate::verify::Pins;
use crate::verify::image::{Identity, check_profile};
use crate::yaml::{Document, Fields, Item, YamlError};

/// The version of the grammar.
const VERSION: u32 = 1;

/// A file of cases.
#[derive(Clone, Debug)]
pub struct Cases {
    /// The policy's path, relative to this file.
    pub policy: String,
    /// The environment that is in force, where the policy has any.
    pub environment: Option<String>,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// `admitted`, or the reason code of a refusal.
    pub expect: String,
    about: About,
}

#[derive(Clone, Debug)]
enum About {
    Component {
        reference: Reference,
        signed: Vec<(Signed, Option<u32>)>,
        attested: Vec<Attested>,
        given: Box<Given>,
    },
    Image {
        name: Option<String>,
        arch: Option<String>,
        form: Option<String>,
        profile: Option<String>,
        epoch: u64,
        age: i64,
    },
}

/// Who signed: one of the policy's named signers, or a role of one of its roots.
#[derive(Clone, Debug)]
enum Signed {
    Name(String, Place),
    Role(String, String),
}

/// An attestation of a made-up image.
#[derive(Clone, Debug)]
struct Attested {
    by: String,
    place: Place,
    kind: PredicateType,
    predicate: Value,
}

/// How a case came out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What was expected.
    pub expected: String,
    /// `admitted`, reason codes, or why it could not be found out.
    pub found: String,
    /// The verdict in words, where it is a refusal.
    pub reasons: Vec<crate::failure::Refusal>,
    /// Whether it came out as expected.
    pub good: bool,
}

impl Cases {
    /// Reads a file of cases; `file` is how errors name it.
    ///
    /// # Errors
    /// [`YamlError`] at the place of the first mistake.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlError> {
        let document = Document::parse(file, bytes)?;
        document.root().fields("a file of cases", |fields| {
            let version = fields.required("version")?;
            if version.integer::<u32>()? != VERSION {
                return Err(version.invalid("this imgkit knows version 1 of the grammar of cases; use a newer imgkit"));
            }
            Ok(Self {
                policy: fields.required("policy")?.word()?.to_owned(),
                environment: fields.maybe("environment", |item| item.word().map(str::to_owned))?,
                cases: fields.required("cases")?.list_of(case)?,
            })
        })
    }

    /// Judges each case by the policy, at `at`; `known` is as [`Trial::new`] takes it.
    ///
    /// # Errors
    /// [`Failure`] when a case names somebody whom the policy does not know, or the trial cannot be made.
    pub fn run(&self, policy: &Policy, at: Time, known: &Pins) -> Result<Vec<Outcome>, Failure> {
        let trial = Trial::new(policy, at, known)?;
        self.cases.iter().map(|case| case.run(&trial)).collect()
    }
}

impl Case {
    fn run(&self, trial: &Trial<'_>) -> Result<Outcome, Failure> {
        let verdict = match &self.about {
            About::Component {
                reference,
                signed,
                attested,
                given,
            } => {
                let mut given = Given::clone(given);
                for (by, number) in signed {
                    match trial.signer(by)? {
                        Signer::Role(by) => given.signed.push(trial.of_role(&by, *number)),
                        Signer::Sigstore(by) => given.attached.push(by),
                    }
                }
                for Attested {
                    by,
                    place,
                    kind,
                    predicate,
                } in attested
                {
                    let Signer::Sigstore(by) = trial.named(by, place)? else {
                        let problem = format!("`{by}` is a role of a root, and signs no attestations");
                        return Err(Failure::malformed(place, problem));
                    };
                    given.attested.push((by, kind.clone(), predicate.clone()));
                }
                trial.component(reference, &given)?
            }
            About::Image {
                name,
                arch,
                form,
                profile,
                epoch,
                age,
            } => {
                let image = trial.policy.image();
                let forms: Vec<&str> = form.iter().map(String::as_str).collect();
                let identity = Identity {
                    name: name.as_deref().or(image.name.as_deref()).unwrap_or("node"),
                    arch: arch.as_deref().or(image.arch.as_deref()).unwrap_or("amd64"),
                    epoch: *epoch,
                    evaluated_at: trial.at.plus(-*age),
                    forms: &forms,
                };
                let subject = "a made-up image";
                let mut refusals = identity.check(subject, trial.policy, trial.at, 0);
                let profile = profile.as_deref().or(image.profile.as_deref());
                refusals.extend(check_profile(subject, trial.policy, profile));
                match refusals.is_empty() {
                    true => Ok(()),
                    false => Err(Failure::Refused(refusals)),
                }
            }
        };
        let (found, good, reasons) = match verdict {
            Ok(()) => ("admitted".to_owned(), self.expect == "admitted", Vec::new()),
            Err(Failure::Refused(refusals)) => {
                let codes: Vec<String> = refusals.iter().map(|refusal| refusal.code.to_string()).collect();
                let good = codes.contains(&self.expect);
                (codes.join(" "), good, refusals)
            }
            Err(failure) => (failure.to_string(), false, Vec::new()),
        };
        Ok(Outcome {
            name: self.name.clone(),
            place: self.place.clone(),
            expected: self.expect.clone(),
            found,
            reasons,
            good,
        })
    }
}

impl Trial<'_> {
    /// Finds whom a case names.
    fn signer(&self, by: &Signed) -> Result<Signer, Failure> {
        match by {
            Signed::Name(name, place) => self.named(name, place),
            Signed::Role(root, role) => Ok(Signer::Role(Signers {
                root: root.clone(),
                role: role.clone(),
                threshold: 1,
            })),
        }
    }

    fn named(&self, name: &str, place: &Place) -> Result<Signer, Failure> {
        let found = self.policy.signers().find(|(known, _)| *known == name);
        let found = found.map(|(_, by)| by.clone());
        found.ok_or_else(|| {
            let known: Vec<&str> = self.policy.signers().map(|(name, _)| name).collect();
            let problem = format!("no signer is named `{name}`; the policy names: {}", known.join(", "));
            Failure::malformed(place, problem)
        })
    }

    /// Takes as many keys of a role as a case says, else all of them.
    fn of_role(&self, by: &Signers, number: Option<u32>) -> (String, String, u32) {
        let (root, role, all) = self.with_all_keys(by);
        (root, role, number.unwrap_or(all).min(all))
    }
}

fn case(item: Item<'_>) -> Result<Case, YamlError> {
    item.fields("a case", |fields| {
        let name = fields.required("name")?.word()?.to_owned();
        let expect = fields.required("expect")?;
        let image = fields.optional("image");
        let component = fields.optional("component");
        let about = match (component, image) {
            (Some(item), None) => component_of(item, fields)?,
            (None, Some(item)) => image_of(item)?,
            _ => return Err(item.invalid("a case is about exactly one of `component:` and `image:`")),
        };
        Ok(Case {
            name,
            place: item.place(),
            expect: expectation(expect)?,
            about,
        })
    })
}

fn expectation(item: Item<'_>) -> Result<String, YamlError> {
    let word = item.word()?;
    let is_code = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    match word == "admitted" || is_code {
        true => Ok(word.to_owned()),
        false => Err(item.invalid("expected `admitted` or the code of a refusal, for example WRONG_KEY")),
    }
}

fn component_of(item: Item<'_>, fields: &mut Fields<'_>) -> Result<About, YamlError> {
    let reference = item.parse()?;
    let signed = fields.maybe("signed", |item| item.list_of(signed))?.unwrap_or_default();
    let fault = fields.maybe("fault", |item| {
        let word = item.word()?;
        let found = Fault::ALL.iter().find(|(name, _)| *name == word);
        let known = Fault::ALL.map(|(name, _)| name).join(", ");
        let found = found.map(|(_, fault)| *fault);
        found.ok_or_else(|| item.invalid(format!("`{word}` is no fault; expected one of {known}")))
    })?;
    let given = Given {
        fault,
        created: fields.maybe("created", |item| item.parse())?,
        version: fields.maybe("imageVersion", |item| item.word().map(str::to_owned))?,
        ..Given::default()
    };
    let attested = fields.maybe("attested", |item| item.list_of(attested))?;
    Ok(About::Component {
        reference,
        signed,
        attested: attested.unwrap_or_default(),
        given: Box::new(given),
    })
}

fn attested(item: Item<'_>) -> Result<Attested, YamlError> {
    item.fields("an attestation", |fields| {
        let by = fields.required("by")?;
        Ok(Attested {
            by: by.word()?.to_owned(),
            place: by.place(),
            kind: fields.required("type")?.parse()?,
            predicate: fields
                .maybe("predicate", |item| item.to_json())?
                .unwrap_or_else(nothing),
        })
    })
}

fn signed(item: Item<'_>) -> Result<(Signed, Option<u32>), YamlError> {
    if !item.is_mapping() {
        return Ok((Signed::Name(item.word()?.to_owned(), item.place()), None));
    }
    item.fields("who signed", |fields| {
        let keys = fields.maybe("keys", |item| item.integer())?;
        let by = fields.optional("by");
        let root = fields.optional("root");
        let role = fields.maybe("role", |item| item.word().map(str::to_owned))?;
        let signed = match (by, root) {
            (Some(by), None) if role.is_none() => Signed::Name(by.word()?.to_owned(), by.place()),
            (None, Some(root)) => Signed::Role(root.word()?.to_owned(), role.unwrap_or_else(|| "targets".to_owned())),
            _ => return Err(item.invalid("expected `by:` with a signer's name, or `root:` and `role:`")),
        };
        Ok((signed, keys))
    })
}

fn image_of(item: Item<'_>) -> Result<About, YamlError> {
    item.fields("an image", |fields| {
        let word = |item: Item<'_>| item.word().map(str::to_owned);
        Ok(About::Image {
            name: fields.maybe("name", word)?,
            arch: fields.maybe("arch", word)?,
            form: fields.maybe("form", word)?,
            profile: fields.maybe("profile", word)?,
            epoch: fields.maybe("epoch", |item| item.integer())?.unwrap_or(u64::MAX),
            age: fields.maybe("age", crate::policy::age)?.unwrap_or(0),
        })
    })
}
