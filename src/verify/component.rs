//! Components: is this image what its signer signed, and does the policy admit that signer?

use serde_json::{Value, json};

use super::Verified;
use super::anchors::{Admitted, Anchors, check_digest};
use super::requirement::{Answer, Facts, Outcome, Piece, Support, Weighed};
use crate::config::label::ImageDefaults;
use crate::config::privilege::asked_by_label;
use crate::config::spec::{Container, ImageName};
use crate::digest::Digest;
use crate::failure::{Code, Demanded, Failure, Place, Refusal};
use crate::oci::{Image, Platform, malformed};
use crate::policy::{Decision, Demand, Policy, Requirement, Rule};
use crate::reference::Reference;
use crate::seal::statement::{Admission, AttachedBy, SignedBy};
use crate::sigstore::attachment::Attachment;
use crate::store::attached::Ask;
use crate::time::Time;
use crate::tree::{Entry, Tree, TreePath, list};
use crate::trust::{Bundle, ImageTarget};

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
    signed: Vec<Value>,
    metadata: Vec<(String, Bundle)>,
    attached: Vec<Attachment>,
    has_signed_tree: bool,
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

    /// Iterates over the metadata from which the look-ups can be repeated, each with the policy's name of its trust root.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Bundle)> {
        self.metadata.iter().map(|(root, bundle)| (root.as_str(), bundle))
    }

    /// Returns the signatures and attestations beside the image that admitted it.
    pub fn attached(&self) -> &[Attachment] {
        &self.attached
    }

    /// Tells whether a signer vouches for the tree, so that the component can be proved on a finished disk.
    pub fn has_signed_tree(&self) -> bool {
        self.has_signed_tree
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
    /// Gives the digest of the document that a reference stands for, without the image.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be found out.
    fn document(&self, reference: &Reference) -> Result<Digest, Failure>;

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

    /// Gives what lies beside an image, of the kind that is wanted: from the first place that has `enough`, else from the last.
    ///
    /// # Errors
    /// [`Failure`] when it could not be found out.
    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure>;
}

/// Why the gate decides as it does.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it decides about.
    pub subject: String,
    /// The rule that decides; none where none matches, or what it matches is forbidden.
    pub rule: Option<Rule>,
    /// What was found of the rule's requirements, where it has any.
    pub answer: Option<Answer>,
    /// The verdict.
    pub verdict: Result<(), Failure>,
    /// What the verdict rests on, where it is yes.
    pub standing: Option<Standing>,
}

/// What admits an image, and how long.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The document that was judged.
    pub document: Digest,
    /// What admitted it.
    pub admitted: Admission,
    /// What its signers signed, for machines: one object each.
    pub signed: Vec<Value>,
    /// From when on it may no longer be admitted; `None` where nothing in it expires.
    pub until: Option<Time>,
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

impl Standing {
    fn of(component: Component) -> Self {
        let Component {
            image,
            admission,
            rule,
            signed,
            ..
        } = component;
        let created = image.config().created;
        let requirement = rule.as_ref().and_then(|rule| match &rule.decision {
            Decision::Required(requirement) => Some(requirement),
            Decision::Denied { .. } | Decision::Unsigned => None,
        });
        let leaves = requirement.into_iter().flat_map(Requirement::leaves);
        // An alternative that did not have to hold counts as well: then it is judged anew earlier than it would have to be.
        let ages = leaves.filter_map(|leaf| match leaf.demand {
            Demand::MaxAge(most) => created.map(|created| created.plus(most)),
            _ => None,
        });
        Self {
            document: *image.digest(),
            until: ages.chain(admission.expires()).min(),
            admitted: admission,
            signed,
        }
    }
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
        let mut facts = Facts::new(self, reference, supply);
        let requirement = match &rule.decision {
            Decision::Denied { reason } => {
                let expected = "a component that no rule denies";
                return Err(denied(
                    &subject,
                    expected,
                    reason,
                    rule.pattern.to_string(),
                    &rule.place,
                ));
            }
            Decision::Required(requirement) => Some(requirement),
            Decision::Unsigned => {
                self.check_provable(&subject, rule)?;
                None
            }
        };
        let check = |facts: &Facts<'_>| match requirement {
            Some(requirement) => facts.judge(requirement)?.verdict(&subject, rule),
            None => Ok(()),
        };
        // What no signature admits is not fetched: first what needs nothing of the image, then what needs its digest alone.
        check(&facts)?;
        if requirement.is_some() {
            facts.has_document(supply.document(reference)?);
            check(&facts)?;
        }
        let image = supply.image(reference, self.platform)?;
        if let Some(named) = reference.digest() {
            check_digest(&subject, named, image.digest())?;
        }
        facts.has_image(&image);
        check(&facts)?;
        let support = |facts: &Facts<'_>| requirement.map(|some| facts.support(some)).unwrap_or_default();
        let tree = supply.tree(&subject, &image, support(&facts).tree.as_ref())?;
        let tree_digest = list::digest(&tree);
        facts.tree = Some((&tree, tree_digest));
        check(&facts)?;
        let support = support(&facts);
        if support.tree.is_none() {
            self.check_provable(&subject, rule)?;
        }
        let admission = admission(rule, &support);
        let signed = support.roles.iter().map(signed_by_role);
        let signed = signed.chain(support.pieces.iter().map(signed_beside)).collect();
        let defaults = defaults(&subject, &image)?;
        let metadata = support.roles.into_iter();
        let metadata = metadata.map(|admitted| (admitted.demand.root, admitted.target.bundle().clone()));
        Ok(Component {
            reference: reference.clone(),
            metadata: metadata.collect(),
            attached: support.pieces.into_iter().map(|piece| piece.attachment).collect(),
            has_signed_tree: support.tree.is_some(),
            defaults,
            tree_digest,
            admission,
            signed,
            rule: Some(rule.clone()),
            image,
            tree,
        })
    }

    /// Says which rule decides about a reference, and what was found of each of its requirements.
    ///
    /// # Errors
    /// [`Failure::Malformed`] where something of the user's is not what it should be; refusals are in the explanation.
    pub fn explain(&self, reference: &Reference, supply: &dyn Supply) -> Result<Explanation, Failure> {
        let mut explanation = self.verdict(reference, supply)?;
        if let Some(Decision::Required(requirement)) = explanation.rule.as_ref().map(|rule| &rule.decision) {
            explanation.answer = Some(self.answer(&explanation.subject, reference, requirement, supply)?);
        }
        Ok(explanation)
    }

    /// Gives the verdict about a reference alone.
    ///
    /// # Errors
    /// As [`Gate::explain`].
    pub fn verdict(&self, reference: &Reference, supply: &dyn Supply) -> Result<Explanation, Failure> {
        let (verdict, component) = match self.judge(reference, supply) {
            Err(failure @ Failure::Malformed { .. }) => return Err(failure),
            Err(failure) => (Err(failure), None),
            Ok(component) => (Ok(()), Some(component)),
        };
        Ok(Explanation {
            subject: reference.to_string(),
            rule: self.rule(reference).ok().cloned(),
            answer: None,
            verdict,
            standing: component.map(Standing::of),
        })
    }

    /// Says what the rule that decides about a reference makes of each of `pieces`, which lie beside the image.
    ///
    /// # Errors
    /// [`Failure`] when the image, or its tree where a signer signed one, cannot be had or is not in its form.
    pub fn weigh(&self, reference: &Reference, supply: &dyn Supply, pieces: &[Attachment]) -> Result<Weighed, Failure> {
        let none = |rule| Weighed {
            rule,
            pieces: vec![Vec::new(); pieces.len()],
        };
        let rule = match self.rule(reference) {
            Ok(rule) => rule,
            Err(Failure::Refused(refusals)) => return Ok(none(Err(refusals))),
            Err(failure) => return Err(failure),
        };
        let Decision::Required(requirement) = &rule.decision else {
            return Ok(none(Ok(rule.clone())));
        };
        let mut facts = Facts::new(self, reference, supply);
        let image = supply.image(reference, self.platform)?;
        facts.has_image(&image);
        // What nobody signed a tree of is judged by its digest alone: its layers are not read.
        let signed = facts.support(requirement).tree;
        let subject = reference.to_string();
        let tree = signed
            .map(|signed| supply.tree(&subject, &image, Some(&signed)))
            .transpose()?;
        facts.tree = tree.as_ref().map(|tree| (tree, list::digest(tree)));
        Ok(Weighed {
            pieces: facts.weigh(requirement, pieces)?,
            rule: Ok(rule.clone()),
        })
    }

    /// Judges a requirement by as much of the image as can be had.
    fn answer(
        &self,
        subject: &str,
        reference: &Reference,
        requirement: &Requirement,
        supply: &dyn Supply,
    ) -> Result<Answer, Failure> {
        let mut facts = Facts::new(self, reference, supply);
        if let Ok(document) = supply.document(reference) {
            facts.has_document(document);
            let answer = facts.judge(requirement)?;
            // What its digest refuses is fetched only where something else is asked of it.
            if answer.outcome == Outcome::Unmet && !requirement.looks_into_image() {
                return Ok(answer);
            }
        }
        let image = supply.image(reference, self.platform).ok();
        if let Some(image) = &image {
            facts.has_image(image);
        }
        let signed = facts.support(requirement).tree;
        let tree = image
            .as_ref()
            .and_then(|image| supply.tree(subject, image, signed.as_ref()).ok());
        facts.tree = tree.as_ref().map(|tree| (tree, list::digest(tree)));
        facts.judge(requirement)
    }

    /// Finds the rule that decides; what is forbidden has none.
    fn rule(&self, reference: &Reference) -> Result<&Rule, Failure> {
        if let Some(forbidden) = self.policy.forbids(reference) {
            let by = format!("forbid {}", forbidden.pattern);
            let expected = "a component that is not forbidden";
            let subject = reference.to_string();
            return Err(denied(&subject, expected, &forbidden.reason, by, &forbidden.place));
        }
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
            "only the sealer would vouch for it: by rule {} ({}) nobody signs its tree",
            rule.pattern, rule.place
        );
        let advice = "have the component signed with its tree (`imgkit trust sign`, `imgkit sigstore sign`), and a rule that says by whom";
        let mut refusal = Refusal::new(Code::NotProved, subject, expected, found, advice);
        refusal.demanded = Some(Demanded {
            rule: rule.pattern.to_string(),
            requirement: "proved".to_owned(),
            place: rule.place.clone(),
        });
        Err(refusal.into())
    }
}

/// Compares the document that a reference stands for with what was signed; returns what was signed of the image.
///
/// Docker signs the document alone, and nothing of the image: what the document leads to is that.
pub(super) fn check_signed_document(
    subject: &str,
    admitted: &Admitted,
    document: &Digest,
) -> Result<Option<ImageTarget>, Failure> {
    let target = &admitted.target;
    if admitted.is_notary && !target.describes_image() {
        let mut digests = target.digests();
        if let Some(signed) = digests.find(|digest| digest.algorithm() == document.algorithm()) {
            check_digest(subject, &signed, document)?;
        }
        return Ok(None);
    }
    let signed = target.image().map_err(|error| error.about(subject))?;
    check_digest(subject, &signed.document, document)?;
    Ok(Some(signed))
}

/// Compares an image's documents with what was signed; returns the signed tree digest of the platform, where one was signed.
pub(super) fn check_signed_image(
    subject: &str,
    admitted: &Admitted,
    image: &Image,
    platform: &Platform,
) -> Result<Option<Digest>, Failure> {
    let signed = check_signed_document(subject, admitted, image.digest())?;
    if admitted.is_notary {
        // Length and every digest that was signed, of whatever algorithm.
        let document = image.index().unwrap_or_else(|| image.manifest());
        let checked = admitted.target.check(document);
        checked.map_err(|error| error.about(subject))?;
    }
    let Some(signed) = signed else { return Ok(None) };
    let signed_platform = signed.platform(&platform.to_string()).ok_or_else(|| {
        let known: Vec<&str> = signed
            .platforms
            .iter()
            .map(|platform| platform.platform.as_str())
            .collect();
        let advice = "have the image signed for this platform as well";
        let expected = format!("a signed tree for {platform}");
        Refusal::new(Code::Unsigned, subject, expected, known.join(", "), advice)
    })?;
    check_digest(subject, &signed_platform.manifest, image.manifest_digest())?;
    Ok(Some(signed_platform.tree))
}

fn denied(subject: &str, expected: &str, reason: &str, rule: String, place: &Place) -> Failure {
    let advice = "leave it out, or use a component that the policy admits";
    let mut refusal = Refusal::new(Code::Denied, subject, expected, reason, advice);
    refusal.demanded = Some(Demanded {
        rule,
        requirement: "nothing admits it".to_owned(),
        place: place.clone(),
    });
    refusal.into()
}

/// Records what admitted a component.
fn admission(rule: &Rule, support: &Support) -> Admission {
    let rule_text = rule.pattern.to_string();
    let record = |Admitted { target, demand, .. }: &Admitted| {
        let evidence = target.evidence();
        SignedBy {
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
    };
    let attached: Vec<AttachedBy> = support.pieces.iter().map(attached_by).collect();
    match (support.roles.split_first(), &rule.decision) {
        (Some((first, others)), _) => {
            let SignedBy {
                root,
                role,
                threshold,
                keys,
                versions,
                expires,
            } = record(first);
            Admission::Rule {
                rule: rule_text,
                root,
                role,
                threshold,
                keys,
                versions,
                expires,
                also: others.iter().map(record).collect(),
                attached,
            }
        }
        (None, Decision::Required(_)) if !attached.is_empty() => Admission::Attached {
            rule: rule_text,
            attached,
        },
        (None, Decision::Unsigned) => Admission::UnsignedRule { rule: rule_text },
        (None, _) => Admission::ListedDigest { rule: rule_text },
    }
}

/// Says for machines what a role signed of a component.
fn signed_by_role(Admitted { target, demand, .. }: &Admitted) -> Value {
    json!({
        "by": demand.to_string(), "name": target.name(), "digests": target.digests().collect::<Vec<_>>(), "length": target.length(),
        "custom": target.custom(), "expires": target.evidence().expires(),
    })
}

/// Says the same of a piece that lies beside the image.
fn signed_beside(Piece { evidence, .. }: &Piece) -> Value {
    let mut signed = evidence.signed();
    if let Some(members) = signed.as_object_mut() {
        members.insert("by".to_owned(), json!(evidence.author.to_string()));
        members.insert("layer".to_owned(), json!(evidence.layer));
    }
    signed
}

fn attached_by(Piece { evidence, .. }: &Piece) -> AttachedBy {
    AttachedBy {
        by: evidence.author.to_string(),
        form: evidence.form.name().to_owned(),
        layer: evidence.layer,
        predicate_type: evidence
            .statement()
            .map(|statement| statement.predicate_type().to_owned()),
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
        signed: Vec::new(),
        metadata: Vec::new(),
        attached: Vec::new(),
        has_signed_tree: false,
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
    // The image's own words, and no fault of whoever asks about it.
    let expected = "a label org.mobyproject.config that LinuxKit reads, or none";
    ImageDefaults::new(subject, image.config()).map_err(|error| malformed(subject, expected, error))
}
