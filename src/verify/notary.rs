//! Anchors of Notary's dialect: for each collection that the policy pins by its GUN, the pinned root.json and the metadata that
//! extend it.
//!
//! - The GUN is the full name of a repository, and the collection speaks of that repository alone: of another one's images
//!   nothing is looked up in it.
//! - The target is the tag. A bare digest is looked up by a present tag that stands for it.
//! - There is no trust on first use: what is not pinned verifies nothing.

use super::anchors::{Metadata, check_signers};
use super::pins::NotaryPin;
use crate::failure::{Code, Failure, Refusal};
use crate::policy::Signers;
use crate::reference::Reference;
use crate::store::NotaryPlace;
use crate::time::Time;
use crate::trust::notary::{self, NotaryClient, NotaryKnown};
use crate::trust::{Target, TrustError};

/// One Notary collection: what the user pinned, and what was found to extend it.
#[derive(Clone, Debug)]
pub struct NotaryAnchor {
    /// The collection and its pinned root.json.
    pub pin: NotaryPin,
    /// The collection's metadata: from its server at build, from the seal at verification.
    pub metadata: Metadata<NotaryPlace>,
    /// What was trusted before, to notice rollback.
    pub known: NotaryKnown,
}

impl NotaryAnchor {
    /// Looks up what is signed of an image; where the word of another role prevails than `demand` names, that role's if it signs
    /// the very same. Whether these are the signers that are demanded is not said by it.
    pub(super) fn image(&self, reference: &Reference, demand: &Signers, at: Time) -> Result<Target, Failure> {
        let subject = reference.to_string();
        let gun = &self.pin.gun;
        let about = |error: TrustError| match error {
            TrustError::Absent { .. } => {
                let expected = format!("a tag that the Notary collection {gun} signs");
                let advice = "have it signed by who publishes the repository (`docker trust sign`, `imgkit trust sign --server`), or use a tag that is";
                let found = "none of its roles signs it";
                Refusal::new(Code::Unsigned, &subject, expected, found, advice).into()
            }
            error => error.about(&subject),
        };
        let repository = reference.repository().to_string();
        if repository != *gun {
            let expected = format!(
                "an image of {gun}, of which alone the Notary collection `{}` speaks",
                demand.root
            );
            let advice = "demand the signature of those who sign this repository, or use the image of the other one";
            return Err(Refusal::new(Code::Unsigned, &subject, expected, repository, advice).into());
        }
        let tag = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => {
                let is_tag = |name: &str| {
                    let named = format!("{gun}:{name}").parse::<Reference>();
                    named.is_ok_and(|named| named.tag() == Some(name) && named.digest().is_none())
                };
                let admitted = |target: &Target| check_signers(&subject, demand, target.evidence()).is_ok();
                let mut client = self.client(&subject, &demand.root, &self.known, at)?;
                let name = client.name_of(digest, is_tag, &demand.role, admitted);
                name.map_err(about)?
            }
            (None, None) => {
                let problem = "it has neither a tag nor a digest";
                return Err(Failure::malformed(subject, problem));
            }
        };
        // Anew after all roles were gone through for a digest: what is found carries the metadata of this look-up alone.
        let mut client = self.client(&subject, &demand.root, &self.known, at)?;
        client.by_role(&tag, &demand.role).map_err(about)
    }

    /// Refuses metadata that are older than those of `sealed`, which were good at `then`, or than what was trusted before.
    pub(super) fn check_not_older(&self, root: &str, sealed: &Self, then: Time, now: Time) -> Result<(), Failure> {
        // Metadata of a root that nothing rests on need not be good.
        let Ok(mut before) = sealed.client("", root, &NotaryKnown::default(), then) else {
            return Ok(());
        };
        // Roles that are not in the seal are those that nothing rests on.
        let fetched = before.fetch_roles();
        fetched.map_err(|error| error.about(root))?;
        let in_seal = before.chain().as_known();
        let subject = format!("today's metadata of trust root `{root}`");
        for known in [&self.known, &in_seal] {
            let mut client = self.client(&subject, root, known, now)?;
            let bad = client.fetch_roles().map_err(|error| error.about(&subject))?;
            let rested_on = |role: &str| known.targets.contains_key(role);
            if let Some((_, error)) = bad.into_iter().find(|(role, _)| rested_on(role)) {
                return Err(error.about(&subject));
            }
        }
        Ok(())
    }

    /// Hands out what tells what was trusted before from anything else.
    pub(super) fn identify_known(&self, add: &mut dyn FnMut(&[u8])) {
        let NotaryKnown {
            root,
            timestamp,
            snapshot,
            targets,
        } = &self.known;
        for part in [root, timestamp, snapshot] {
            add(part.as_deref().unwrap_or_default());
        }
        add(&(targets.len() as u64).to_le_bytes());
        for (role, bytes) in targets {
            add(role.as_bytes());
            add(bytes);
        }
    }

    /// Hands out what tells the collection as it is now from what it was and will be: the timestamp speaks for all of it.
    pub(super) fn identify_today(&self, add: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        add(self.pin.gun.as_bytes());
        add(&self.pin.root);
        let timestamp = self.metadata.timestamp()?;
        add(&timestamp.unwrap_or_default());
        Ok(())
    }

    fn client(
        &self,
        subject: &str,
        root: &str,
        known: &NotaryKnown,
        at: Time,
    ) -> Result<NotaryClient<&Metadata<NotaryPlace>>, Failure> {
        let NotaryPin { gun, root: pinned } = &self.pin;
        if matches!(self.metadata, Metadata::Nowhere) {
            let problem = format!(
                "no metadata of the Notary collection {gun} (trust root `{root}`) are at hand; name its server with --notary"
            );
            return Err(Failure::unavailable(subject, problem));
        }
        let pin = notary::NotaryPin::Root(pinned.clone());
        let client = NotaryClient::refresh(gun, &pin, known.clone(), &self.metadata, at);
        client.map_err(|error| error.about(subject))
    }
}
