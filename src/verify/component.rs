//! Components: is this image what its signer signed, and does the policy admit that signer?

use super::Verified;
use super::anchors::{Admitted, Anchors, check_digest};
use crate::config::label::ImageDefaults;
use crate::config::privilege::asked_by_label;
use crate::config::spec::{Container, ImageName};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::oci::{Image, Platform};
use crate::policy::{Policy, Requirement, Rule};
use crate::reference::Reference;
use crate::seal::statement::Admission;
use crate::time::Time;
use crate::tree::{Entry, Tree, TreePath, list};
use crate::trust::Bundle;

/// The directory whose bundles a node's init runs.
const CONTAINERS: &str = "containers";

/// A component with the evidence for it.
#[derive(Clone, Debug)]
pub struct Component {
    reference: Reference,
    image: Image,
    defaults: ImageDefaults,
    tree: Tree,
    tree_digest: Digest,
    admission: Admission,
    metadata: Option<(String, Bundle)>,
    rule: Option<Rule>,
}

impl Component {
    /// Returns the normalised reference that the specification names.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the image's documents.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Returns what the image says of itself.
    pub fn defaults(&self) -> &ImageDefaults {
        &self.defaults
    }

    /// Returns the image's flattened tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the SHA-256 of the tree's canonical list.
    pub fn tree_digest(&self) -> &Digest {
        &self.tree_digest
    }

    /// Returns what admitted the component.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns the policy's name of the trust root and the metadata from which the look-up can be repeated.
    pub fn metadata(&self) -> Option<(&str, &Bundle)> {
        self.metadata.as_ref().map(|(root, bundle)| (root.as_str(), bundle))
    }

    /// Returns the rule that admitted it.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }
}

/// Where the bytes of components come from: the store at build, the seal's evidence at verification.
///
/// Nothing that it gives is trusted; everything is hashed and compared here. Components are asked for by several threads.
pub trait Supply: Sync {
    /// Gives the image that a reference names.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be found or is not in its form.
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure>;

    /// Gives an image's tree; `signed` is the digest that its list should have, when somebody signed one.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read.
    fn tree(&self, subject: &str, image: &Image, signed: Option<&Digest>) -> Result<Tree, Failure>;
}

/// What components are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its trust roots.
    pub anchors: &'a Anchors,
    /// The one time of judgement.
    pub at: Time,
    /// The image's platform.
    pub platform: &'a Platform,
}

impl Gate<'_> {
    /// Judges one component.
    ///
    /// # Errors
    /// A refusal at the place where the specification names it, or why it could not be found out.
    pub fn component(&self, name: &ImageName, supply: &dyn Supply) -> Result<Verified<Component>, Failure> {
        self.judge(&name.reference, supply)
            .map_err(|failure| failure.at(Some(&name.place)))
            .map(Verified)
    }

    fn judge(&self, reference: &Reference, supply: &dyn Supply) -> Result<Component, Failure> {
        let subject = reference.to_string();
        let rule = self.rule(reference)?;
        let admitted = match &rule.requirement {
            Requirement::Denied { reason } => {
                let advice = "leave it out, or use a component that the policy admits";
                let refusal = Refusal::new(
                    Code::Denied,
                    &subject,
                    "a component that no rule denies",
                    reason,
                    advice,
                );
                return Err(refusal.into());
            }
            Requirement::Unsigned => {
                self.check_provable(&subject, rule)?;
                None
            }
            Requirement::Signed(demand) => Some(self.anchors.image(reference, demand, self.at)?),
        };
        let image = supply.image(reference, self.platform)?;
        if let Some(named) = reference.digest() {
            check_digest(&subject, named, image.digest())?;
        }
        let signed = match &admitted {
            Some(admitted) => Some(self.check_image(&subject, admitted, &image)?),
            None => None,
        };
        let tree = supply.tree(&subject, &image, signed.as_ref())?;
        let tree_digest = list::digest(&tree);
        if let Some(signed) = signed
            && signed != tree_digest
        {
            return Err(tree_mismatch(&subject, &signed, &tree));
        }
        let admission = match &admitted {
            Some(Admitted { target, demand }) => {
                let evidence = target.evidence();
                Admission::Rule {
                    rule: rule.pattern.to_string(),
                    root: demand.root.clone(),
                    role: evidence.role.clone(),
                    threshold: evidence.threshold.max(demand.threshold),
                    keys: evidence.keys.iter().map(ToString::to_string).collect(),
                    versions: [
                        evidence.root.version,
                        evidence.timestamp.version,
                        evidence.snapshot.version,
                        evidence.role_mark().version,
                    ],
                    expires: evidence.expires(),
                }
            }
            None => Admission::UnsignedRule {
                rule: rule.pattern.to_string(),
            },
        };
        let defaults = defaults(&subject, &image)?;
        Ok(Component {
            reference: reference.clone(),
            image,
            defaults,
            tree,
            tree_digest,
            admission,
            metadata: admitted.map(|admitted| (admitted.demand.root, admitted.target.bundle().clone())),
            rule: Some(rule.clone()),
        })
    }

    fn rule(&self, reference: &Reference) -> Result<&Rule, Failure> {
        self.policy.rule_for(reference).ok_or_else(|| {
            let patterns: Vec<String> = self
                .policy
                .rules()
                .iter()
                .map(|rule| rule.pattern.to_string())
                .collect();
            let expected = format!("a rule that matches, one of: {}", patterns.join(", "));
            let advice = "use a component that the policy knows, or ask the policy's owner for a rule";
            Refusal::new(Code::NoRule, reference, expected, "none matches", advice).into()
        })
    }

    /// Refuses a component that nobody signed where proof is demanded: there is nothing that it could be proved against.
    fn check_provable(&self, subject: &str, rule: &Rule) -> Result<(), Failure> {
        if !rule.proved && !self.policy.image().proved {
            return Ok(());
        }
        let expected = "a component that is proved against its own signer";
        let found = format!(
            "only the sealer would vouch for it: rule {} ({}) asks for no signature",
            rule.pattern, rule.place
        );
        let advice = "have the component signed, and a rule that says by whom";
        Err(Refusal::new(Code::NotProved, subject, expected, found, advice).into())
    }

    /// Compares the image's documents with what was signed; returns the signed tree digest of the platform.
    fn check_image(&self, subject: &str, admitted: &Admitted, image: &Image) -> Result<Digest, Failure> {
        let signed = admitted.target.image().map_err(|error| error.about(subject))?;
        check_digest(subject, &signed.document, image.digest())?;
        let platform = self.platform.to_string();
        let platform = signed.platform(&platform).ok_or_else(|| {
            let known: Vec<&str> = signed
                .platforms
                .iter()
                .map(|platform| platform.platform.as_str())
                .collect();
            let advice = "have the image signed for this platform as well";
            let found = known.join(", ");
            Refusal::new(
                Code::Unsigned,
                subject,
                format!("a signed tree for {}", self.platform),
                found,
                advice,
            )
        })?;
        check_digest(subject, &platform.manifest, image.manifest_digest())?;
        Ok(platform.tree)
    }
}

impl Verified<Component> {
    /// Checks that a container's label asks for nothing that neither the rule nor the YAML grants (law of the gate 9).
    ///
    /// # Errors
    /// A refusal (PRIVILEGE) that names what is asked for.
    pub fn check_privileges(&self, container: &Container) -> Result<(), Failure> {
        let Some(rule) = &self.rule else { return Ok(()) };
        let asked = asked_by_label(&self.defaults.settings, &container.overlay);
        let mut wanting = asked.iter().map(ToString::to_string).collect::<Vec<_>>();
        wanting.retain(|privilege| !rule.allow.iter().any(|allow| allow.covers(privilege)));
        if wanting.is_empty() {
            return Ok(());
        }
        let expected = format!(
            "what the label asks for to be allowed by rule {} ({}) or written in the YAML",
            rule.pattern, rule.place
        );
        let advice = "write what the container needs in the YAML, or ask the policy's owner for `allow:`";
        let refusal = Refusal::new(Code::Privilege, &self.reference, expected, wanting.join(", "), advice);
        Err(refusal.at(container.image.place.clone()).into())
    }

    /// Checks that a component of `init` brings no containers: which run, and with what leave, the YAML alone says (law of the
    /// gate 9). The empty directories in which they are put may be there.
    ///
    /// # Errors
    /// A refusal (PRIVILEGE) that names the first path of one.
    pub fn check_init(&self, name: &ImageName) -> Result<(), Failure> {
        let brings = |(path, entry): &(&TreePath, &Entry)| {
            let mut parts = path.as_bytes().split(|b| *b == b'/');
            let below = parts.next() == Some(CONTAINERS.as_bytes());
            below && !(entry.is_directory() && parts.count() < 2)
        };
        let Some((path, _)) = self.tree.iter().find(brings) else {
            return Ok(());
        };
        let expected = format!("a component of `init` without anything in {CONTAINERS}/");
        let advice = "write the container in the YAML, under onboot, onshutdown or services";
        let refusal = Refusal::new(Code::Privilege, &self.reference, expected, format!("`{path}`"), advice);
        Err(refusal.at(name.place.clone()).into())
    }
}

/// Lets a component in that nobody vouches for. What is built with it is sealed as such, and every policy refuses it.
///
/// # Errors
/// [`Failure`] when the image cannot be found, or is not in its form: that is not a matter of trust.
pub fn unsafe_accept_unsigned(
    name: &ImageName,
    platform: &Platform,
    supply: &dyn Supply,
) -> Result<Verified<Component>, Failure> {
    let subject = name.reference.to_string();
    let image = supply
        .image(&name.reference, platform)
        .map_err(|failure| failure.at(Some(&name.place)))?;
    let tree = supply
        .tree(&subject, &image, None)
        .map_err(|failure| failure.at(Some(&name.place)))?;
    Ok(Verified(Component {
        reference: name.reference.clone(),
        defaults: defaults(&subject, &image)?,
        image,
        tree_digest: list::digest(&tree),
        tree,
        admission: Admission::Nothing,
        metadata: None,
        rule: None,
    }))
}

/// Refuses a tree that is not the signed one.
pub fn tree_mismatch(subject: &str, signed: &Digest, found: &Tree) -> Failure {
    let expected = format!("a tree whose list is {signed}, as signed");
    let advice = "get the image that was signed; its layers unpack to something else";
    Refusal::new(Code::TreeMismatch, subject, expected, list::digest(found), advice).into()
}

fn defaults(subject: &str, image: &Image) -> Result<ImageDefaults, Failure> {
    ImageDefaults::new(subject, image.config()).map_err(Failure::from)
}
