//! Trust anchors: for each root that the policy names, the pinned root.json and the metadata that extend it.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::policy::Signers;
use crate::reference::Reference;
use crate::store::TrustPlace;
use crate::time::Time;
use crate::trust::metadata::TargetFile;
use crate::trust::{Bundle, Client, Evidence, Known, RoleKeys, Source, Target, TrustError};

/// What the names of signed inputs begin with.
const SPEC: &str = "spec/";

/// Where a collection's metadata come from.
#[derive(Clone, Debug)]
pub enum Metadata {
    /// The evidence of a seal.
    Bundle(Bundle),
    /// The collection's own place.
    Place(TrustPlace),
    /// Nowhere: what needs them cannot be found out.
    Nowhere,
}

impl Source for &Metadata {
    fn file(&mut self, name: &str, max: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Metadata::Bundle(bundle) => Source::file(&mut &*bundle, name, max),
            Metadata::Place(place) => Source::file(&mut &*place, name, max),
            Metadata::Nowhere => Ok(None),
        }
    }
}

/// One root: what the user pinned, and what was found to extend it.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The pinned root.json.
    pub pin: Vec<u8>,
    /// The collection's metadata: from its repository at build, from the seal at verification.
    pub metadata: Metadata,
    /// What was trusted before, to notice rollback.
    pub known: Known,
}

/// The anchors by the policy's names.
#[derive(Clone, Debug, Default)]
pub struct Anchors(BTreeMap<String, Anchor>);

impl FromIterator<(String, Anchor)> for Anchors {
    fn from_iter<I: IntoIterator<Item = (String, Anchor)>>(anchors: I) -> Self {
        Self(anchors.into_iter().collect())
    }
}

/// A target whose role and signers satisfy a policy's demand.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) target: Target,
    pub(super) demand: Signers,
}

impl Anchors {
    /// Iterates over the anchors.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.0.values()
    }

    /// Tells whether metadata of a root are at hand.
    pub(super) fn has_metadata(&self, root: &str) -> bool {
        let anchor = self.0.get(root);
        anchor.is_some_and(|anchor| !matches!(anchor.metadata, Metadata::Nowhere))
    }

    /// Looks `name` up under the root that `demand` names, and checks role and count of signers.
    pub(super) fn target(&self, subject: &str, demand: &Signers, name: &str, at: Time) -> Result<Admitted, Failure> {
        let target = self
            .client(subject, demand, at)?
            .target(name)
            .map_err(|error| error.about(subject))?;
        check_signers(subject, demand, target.evidence())?;
        Ok(Admitted {
            target,
            demand: demand.clone(),
        })
    }

    /// Finds the signed name of a reference: its own, or for a bare digest the name in its repository that stands for the digest
    /// now (law of the gate 3).
    pub(super) fn target_name(&self, reference: &Reference, demand: &Signers, at: Time) -> Result<String, Failure> {
        if let Some(name) = reference.target_name() {
            return Ok(name);
        }
        let subject = reference.to_string();
        let client = self.client(&subject, demand, at)?;
        let prefix = format!("{}:", reference.repository());
        let wanted = reference.digest();
        let targets = &client.chain().targets().body().targets;
        let named = targets.iter().find(|(name, file)| {
            name.starts_with(&prefix) && file.hashes.digests().any(|digest| Some(&digest) == wanted)
        });
        match named {
            Some((name, _)) => Ok(name.clone()),
            None => Err(TrustError::Absent {
                target: subject.clone(),
            }
            .about(&subject)),
        }
    }

    /// Finds the signed target `spec/…` that has the digest of an input, and returns its name.
    pub(super) fn input(&self, name: &str, demand: &Signers, digest: &Digest, at: Time) -> Result<String, Failure> {
        let client = self.client(name, demand, at)?;
        let targets = &client.chain().targets().body().targets;
        let is_it = |file: &TargetFile| file.hashes.digests().any(|other| other == *digest);
        let signed = targets
            .iter()
            .find(|(target, file)| target.starts_with(SPEC) && is_it(file));
        let Some((target, _)) = signed else {
            let expected = format!(
                "a target `{SPEC}…` with its digest, signed by role `{}` of root `{}`",
                demand.role, demand.root
            );
            let advice = "have it signed: `imgkit trust sign --file FILE --name spec/NAME`";
            return Err(Refusal::new(Code::UnsignedInput, name, expected, digest, advice).into());
        };
        self.target(name, demand, target, at)?;
        Ok(target.clone())
    }

    /// Returns the metadata that say whose signatures count under `demand`, for the evidence of an image.
    ///
    /// # Errors
    /// [`Failure`] when they do not prove themselves from the pin at `at`.
    pub fn metadata(&self, subject: &str, demand: &Signers, at: Time) -> Result<Bundle, Failure> {
        Ok(self.client(subject, demand, at)?.bundle().clone())
    }

    /// Returns the keys of the role that `demand` names.
    pub(super) fn role_keys(&self, subject: &str, demand: &Signers, at: Time) -> Result<(RoleKeys, Evidence), Failure> {
        let client = self.client(subject, demand, at)?;
        let keys = client.role_keys(&demand.role).map_err(|error| error.about(subject))?;
        Ok((keys, client.evidence()))
    }

    fn client<'a>(&'a self, subject: &str, demand: &Signers, at: Time) -> Result<Client<&'a Metadata>, Failure> {
        let anchor = self
            .0
            .get(&demand.root)
            .ok_or_else(|| Failure::malformed(subject, format!("trust root `{}` was not read", demand.root)))?;
        if matches!(anchor.metadata, Metadata::Nowhere) {
            let problem = format!(
                "no metadata of trust root `{}` are at hand; name its place with --collection or --trust-dir",
                demand.root
            );
            return Err(Failure::unavailable(subject, problem));
        }
        Client::refresh(&anchor.pin, &anchor.known, &anchor.metadata, at).map_err(|error| error.about(subject))
    }
}

/// Compares who signed with who had to.
fn check_signers(subject: &str, demand: &Signers, evidence: &Evidence) -> Result<(), Failure> {
    if evidence.role != demand.role {
        let expected = format!("role `{}` of root `{}` to sign it", demand.role, demand.root);
        let found = format!("role `{}` did", evidence.role);
        let advice = "have it signed by the role that the policy names";
        return Err(Refusal::new(Code::WrongKey, subject, expected, found, advice).into());
    }
    let signed = u32::try_from(evidence.keys.len()).unwrap_or(u32::MAX);
    if signed < demand.threshold {
        let expected = format!("{} distinct keys of role `{}`", demand.threshold, demand.role);
        let advice = "have more of the role's keys sign it";
        return Err(Refusal::new(Code::Threshold, subject, expected, format!("{signed} signed"), advice).into());
    }
    Ok(())
}

/// Compares a document's digest with the one that was signed.
pub(super) fn check_digest(subject: &str, expected: &Digest, found: &Digest) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let advice = "get the bytes that were signed; if the new ones are meant, have them signed";
    Err(Refusal::new(
        Code::DigestMismatch,
        subject,
        format!("{expected}, as signed"),
        found,
        advice,
    )
    .into())
}
