//! What every image must be, whatever its format: name, age, epoch, command line, components, inputs.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Verified;
use super::anchors::Anchors;
use super::attested::{check_asked_for, check_documents};
use super::component::{Component, Explanation, Gate, Supply};
use super::input::{InputVerdict, admit_inputs};
use super::pins::Pins;
use super::records::check_records;
use super::seal::{Opened, nonsense};
use crate::assemble;
use crate::config::rootfs;
use crate::config::spec::{ImageName, Role, Spec};
use crate::digest::Digest;
use crate::failure::{Code, Failure, Refusal};
use crate::oci::{Image, Platform, walk};
use crate::policy::Policy;
use crate::reference::Reference;
use crate::seal::statement::{ComponentRecord, Layout, Predicate, Statement};
use crate::seal::{Evidence, Sealed};
use crate::sigstore::attachment::Attachment;
use crate::sigstore::kept;
use crate::store::attached::Ask;
use crate::time::Time;
use crate::tree::{Tree, list};
use crate::trust::Lineage;

/// What an image is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// How messages call the image.
    pub subject: &'a str,
    /// The policy.
    pub policy: &'a Policy,
    /// The files that the policy names.
    pub pins: &'a Pins,
    /// The present.
    pub now: Time,
    /// Whether to unpack segments and prove every component, even where the policy does not demand it.
    pub files: bool,
    /// The collections' metadata of today, where they are asked as well (law of the gate 5).
    pub fresh: Option<&'a Anchors>,
    /// What was seen before, if anything is remembered.
    pub memory: Option<&'a dyn Memory>,
}

/// What a verifier remembers of images that it found good (law of the gate 7).
pub trait Memory: std::fmt::Debug {
    /// Returns the highest epoch seen of images of `name` that were sealed under this collection, whatever the policy calls it.
    ///
    /// # Errors
    /// [`Failure`] when the memory cannot be read.
    fn epoch(&self, collection: &Lineage, name: &str) -> Result<Option<u64>, Failure>;
}

/// The statement about an image, found good, and the image made again from its evidence.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) opened: Opened,
    pub(super) spec: Spec,
    pub(super) inputs: Vec<InputVerdict>,
    pub(super) components: BTreeMap<Reference, Verified<Component>>,
    pub(super) image: assemble::Image,
}

impl Judged {
    pub(super) fn predicate(&self) -> &Predicate {
        &self.opened.statement.predicate
    }

    /// Tells whether the policy demands that some component be proved.
    pub(super) fn needs_proof(&self, policy: &Policy) -> bool {
        let by_rule = |component: &Verified<Component>| component.rule().is_some_and(|rule| rule.proved);
        policy.image().proved || self.components.values().any(by_rule)
    }

    /// Tells whether the image is one archive.
    pub(super) fn is_archive(&self) -> bool {
        matches!(&self.predicate().layout, Layout::Files { format, .. } if format == "tar")
    }

    /// Finds the component that plays a part in the specification.
    pub(super) fn component(&self, role: Role) -> Option<&Verified<Component>> {
        let named = self.spec.images().into_iter().find(|(other, _)| *other == role)?;
        self.components.get(&named.1.reference)
    }
}

/// Judges everything about an image but its bytes, and makes it again.
pub(super) fn judge(question: &Question<'_>, sealed: &Sealed) -> Result<Judged, Failure> {
    let Question {
        subject,
        policy,
        pins,
        now,
        ..
    } = *question;
    let opened = super::seal::open(subject, sealed, policy, pins, now)?;
    let predicate = &opened.statement.predicate;
    let seen = question
        .memory
        .map(|memory| memory.epoch(&opened.signers.collection, &predicate.name));
    let seen = seen.transpose()?.flatten().unwrap_or(0);
    let identity = Identity {
        name: &predicate.name,
        arch: &predicate.arch,
        epoch: predicate.epoch,
        evaluated_at: predicate.evaluated_at,
        forms: &[form(&predicate.layout)],
    };
    let mut refusals = Vec::new();
    refusals.extend(predicate.unsafe_accept_unsigned.then(|| {
        let advice = "build it again without --unsafe-accept-unsigned";
        let expected = "an image of components that somebody signed";
        Refusal::new(
            Code::Unsafe,
            subject,
            expected,
            "it was built with --unsafe-accept-unsigned",
            advice,
        )
    }));
    refusals.extend(identity.check(subject, policy, now, seen));
    if predicate.unsafe_accept_unsigned {
        // Nothing judged its inputs, so nothing about them is in its evidence.
        return Err(Failure::Refused(refusals));
    }
    let document = opened.evidence.document(SPEC).unwrap_or_default();
    if Digest::sha256(document) != predicate.spec.digest {
        let error = format!("its evidence has no specification {}", predicate.spec.digest);
        return Err(super::seal::malformed(subject, error));
    }
    let spec = Spec::parse(&predicate.spec.name, document).map_err(|error| nonsense(error.into()))?;
    refusals.extend(check_profile(subject, policy, spec.profile.as_deref()));
    let platform = Platform::new("linux", &*predicate.arch);
    let gate = Gate {
        policy,
        anchors: &opened.anchors,
        at: predicate.evaluated_at,
        platform: &platform,
    };
    let inputs = std::iter::once(&predicate.spec).chain(&predicate.sources);
    let inputs = admit_inputs(&gate, &spec, inputs, &mut refusals).map_err(nonsense)?;
    let components = components(
        &gate,
        &spec,
        &Offline(&opened.statement, &opened.evidence),
        &mut refusals,
    )
    .map_err(nonsense)?;
    if let Some(kernel) = &spec.kernel {
        refusals.extend(
            kernel
                .cmdline
                .refusals(&policy.image().cmdline, Some(&kernel.cmdline_place)),
        );
    }
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    if let Some(fresh) = question.fresh {
        super::fresh::check(question, fresh, sealed, &opened, &spec)?;
    }
    let sources = predicate.sources.iter().map(|source| {
        let file = rootfs::Source {
            size: source.size,
            digest: source.digest,
        };
        (source.name.clone(), file)
    });
    check_records(subject, predicate, &spec, &components)?;
    check_documents(subject, predicate, &opened.evidence, &components)?;
    check_asked_for(subject, predicate, &opened.evidence, &components)?;
    let image = make(&spec, &components, sources.collect()).map_err(nonsense)?;
    check_overrides(&components, &spec, &image)?;
    if image.cmdline != predicate.cmdline {
        let expected = format!("the command line of its specification: {}", image.cmdline);
        let advice = "get the image again; its statement contradicts its specification";
        let refusal = Refusal::new(Code::Cmdline, subject, expected, &predicate.cmdline, advice);
        return Err(refusal.into());
    }
    Ok(Judged {
        opened,
        spec,
        inputs,
        components,
        image,
    })
}

/// Says of a sealed image which rule decides about each of its components, and of the image itself whether the policy takes it;
/// by what its seal holds, without looking at its other bytes.
///
/// # Errors
/// [`Failure`] when the seal is none that the policy takes: what it holds is not read then.
pub fn explain_seal(question: &Question<'_>, sealed: &Sealed) -> Result<Vec<Explanation>, Failure> {
    let Question {
        subject,
        policy,
        pins,
        now,
        ..
    } = *question;
    let opened = super::seal::open(subject, sealed, policy, pins, now)?;
    let predicate = &opened.statement.predicate;
    let platform = Platform::new("linux", &*predicate.arch);
    let gate = Gate {
        policy,
        anchors: &opened.anchors,
        at: predicate.evaluated_at,
        platform: &platform,
    };
    let supply = Offline(&opened.statement, &opened.evidence);
    let mut explanations = vec![Explanation {
        subject: subject.to_owned(),
        rule: None,
        answer: None,
        verdict: judge(question, sealed).map(drop),
        standing: None,
    }];
    for component in &predicate.components {
        explanations.push(gate.explain(&component.reference, &supply).map_err(nonsense)?);
    }
    Ok(explanations)
}

/// Returns what a policy calls an image of this layout.
fn form(layout: &Layout) -> &str {
    match layout {
        Layout::Bios { .. } => "disk",
        Layout::Files { format, .. } => format,
    }
}

/// Name of node.yml in the evidence.
pub const SPEC: &str = "spec";

/// Judges every component that a specification names, and the privileges that they ask for; refusals are collected.
///
/// # Errors
/// The first failure that is not a refusal, unless something is refused.
pub fn components(
    gate: &Gate<'_>,
    spec: &Spec,
    supply: &dyn Supply,
    refusals: &mut Vec<Refusal>,
) -> Result<BTreeMap<Reference, Verified<Component>>, Failure> {
    let images = spec.images();
    // Each once, by the first line that names it.
    let mut named: BTreeMap<&Reference, &ImageName> = BTreeMap::new();
    for (_, name) in &images {
        named.entry(&name.reference).or_insert(name);
    }
    let judge = |(reference, name): (&Reference, &ImageName)| (reference.clone(), gate.component(name, supply));
    let judged: BTreeMap<Reference, Result<Verified<Component>, Failure>> =
        named.into_iter().par_bridge().map(judge).collect();
    let mut unknown = None;
    for (role, name) in images {
        match judged.get(&name.reference) {
            None => {}
            Some(Ok(component)) if matches!(role, Role::Init(_)) => collect(refusals, component.check_init(name))?,
            Some(Ok(_)) => {}
            // It was judged once, and is refused on every line that names it.
            Some(Err(Failure::Refused(found))) => {
                refusals.extend(found.iter().cloned().map(|refusal| refusal.at(name.place.clone())));
            }
            Some(Err(failure)) => unknown = unknown.or(Some(failure.clone())),
        }
    }
    let components: BTreeMap<_, _> = judged
        .into_iter()
        .filter_map(|(reference, outcome)| Some((reference, outcome.ok()?)))
        .collect();
    for (_, container) in spec.containers() {
        if let Some(component) = components.get(&container.image.reference) {
            collect(refusals, component.check_privileges(container))?;
        }
    }
    // What is refused stays refused, whatever could not be found out beside it.
    match unknown {
        Some(failure) if refusals.is_empty() => Err(failure),
        _ => Ok(components),
    }
}

/// Keeps refusals for one report of all of them; other failures end the work.
pub(super) fn collect(refusals: &mut Vec<Refusal>, result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Refused(more)) => {
            refusals.extend(more);
            Ok(())
        }
        other => other,
    }
}

/// Makes the image of verified components.
///
/// # Errors
/// [`Failure`] when the components do not make a root file system.
pub fn make(
    spec: &Spec,
    components: &BTreeMap<Reference, Verified<Component>>,
    sources: BTreeMap<String, rootfs::Source>,
) -> Result<assemble::Image, Failure> {
    let mut given = BTreeMap::new();
    for (reference, component) in components {
        let component = rootfs::Component {
            config: component.image().config(),
            tree: component.tree(),
        };
        given.insert(reference.clone(), component);
    }
    let inputs = rootfs::Inputs {
        components: given,
        sources,
    };
    assemble::Image::new(spec, &inputs)
}

/// What an image is, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its architecture, as OCI names it.
    pub arch: &'a str,
    /// Its epoch.
    pub epoch: u64,
    /// When its inputs were judged.
    pub evaluated_at: Time,
    /// Its forms, of the policy's [`FORMATS`](crate::policy::FORMATS).
    pub forms: &'a [&'a str],
}

impl Identity<'_> {
    /// Compares name, architecture, form, epoch and age with what the policy demands, and the epoch with the highest one `seen`.
    ///
    /// Each refusal stands where the policy demands it.
    pub fn check(&self, subject: &str, policy: &Policy, now: Time, seen: u64) -> Vec<Refusal> {
        let image = policy.image();
        let mut refusals = Vec::new();
        let mut refuse = |code, key: &str, expected: String, found: String, advice: &str| {
            let mut refusal = Refusal::new(code, subject, expected, found, advice);
            refusal.place = image.place(key).cloned();
            refusals.push(refusal);
        };
        if let Some(name) = image.name.as_ref().filter(|name| *name != self.name) {
            let (expected, found) = (format!("an image named `{name}`"), format!("`{}`", self.name));
            refuse(Code::Name, "name", expected, found, "use the right image");
        }
        if let Some(arch) = image.arch.as_ref().filter(|arch| *arch != self.arch) {
            let expected = format!("an image for {arch}");
            refuse(
                Code::Arch,
                "arch",
                expected,
                self.arch.to_owned(),
                "use the right image",
            );
        }
        let allowed = image.formats.as_deref();
        let allowed = allowed.map(|allowed| {
            (
                allowed,
                self.forms.iter().find(|form| !allowed.iter().any(|is| is == *form)),
            )
        });
        if let Some((allowed, Some(form))) = allowed {
            let expected = format!("an image that is one of: {}", allowed.join(", "));
            refuse(
                Code::Format,
                "formats",
                expected,
                (*form).to_owned(),
                "use, or build, a form that the policy admits",
            );
        }
        let lowest = image.min_epoch.max(seen);
        if self.epoch < lowest {
            let (expected, found) = (format!("epoch {lowest} or later"), format!("epoch {}", self.epoch));
            refuse(Code::Epoch, "minEpoch", expected, found, "use a newer image");
        }
        if let Some(max) = image.max_age.filter(|max| now.unix() - self.evaluated_at.unix() > *max) {
            let expected = format!("an image that was evaluated at most {} hours ago", max / 3600);
            let found = format!("{}; it is {now}", self.evaluated_at);
            refuse(Code::Expired, "maxAge", expected, found, "build the image again");
        }
        refusals
    }
}

/// Compares what the specification says that an image is for with what the policy demands.
pub fn check_profile(subject: &str, policy: &Policy, profile: Option<&str>) -> Option<Refusal> {
    let demanded = policy.image().profile.as_deref()?;
    if profile == Some(demanded) {
        return None;
    }
    let found = profile.map_or("its specification names none".to_owned(), |profile| {
        format!("`{profile}`")
    });
    let advice = "use the image that is made for this, or name the profile in its specification and have it signed";
    let mut refusal = Refusal::new(
        Code::Profile,
        subject,
        format!("an image of profile `{demanded}`"),
        found,
        advice,
    );
    refusal.place = policy.image().place("profile").cloned();
    Some(refusal)
}

/// Refuses overrides of components whose rule forbids them.
///
/// # Errors
/// Refusals (OVERRIDE), one for each path.
pub fn check_overrides(
    components: &BTreeMap<Reference, Verified<Component>>,
    spec: &Spec,
    image: &assemble::Image,
) -> Result<(), Failure> {
    let images = spec.images();
    let refusal = |replaced: &assemble::Override| {
        let (_, name) = images.iter().find(|(role, _)| Some(*role) == replaced.role)?;
        let rule = components.get(&name.reference)?.rule()?;
        let advice = "take the file out of the later part, or have the component made without it";
        let expected = format!(
            "no file of it to be replaced, as rule {} ({}) says",
            rule.pattern, rule.place
        );
        let found = format!("`{}` is replaced by {}", replaced.path, replaced.by);
        let refusal = Refusal::new(Code::Override, &name.reference, expected, found, advice);
        (!rule.overrides).then(|| refusal.at(name.place.clone()))
    };
    let refusals: Vec<Refusal> = image.plan.overrides.iter().filter_map(refusal).collect();
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused(refusals)),
    }
}

/// Components out of a seal's evidence.
pub(super) struct Offline<'a>(pub(super) &'a Statement, pub(super) &'a Evidence);

impl Offline<'_> {
    fn record(&self, reference: &Reference) -> Result<&ComponentRecord, Failure> {
        let mut records = self.0.predicate.components.iter();
        let record = records.find(|record| record.reference == *reference);
        let problem = "the statement has no record of this component of its specification";
        record.ok_or_else(|| super::seal::malformed(&reference.to_string(), problem))
    }

    fn bytes(&self, subject: &str, name: String) -> Result<Vec<u8>, Failure> {
        let document = self.1.document(&name).map(<[u8]>::to_vec);
        document.ok_or_else(|| super::seal::malformed(subject, format!("its evidence has no document `{name}`")))
    }
}

impl Supply for Offline<'_> {
    fn document(&self, reference: &Reference) -> Result<Digest, Failure> {
        Ok(self.record(reference)?.document)
    }

    fn attached(&self, ask: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        match self.1.document(&attached_name(ask.document)) {
            Some(bytes) => kept::read(bytes).map_err(|error| super::seal::malformed(&ask.reference.to_string(), error)),
            None => Ok(Vec::new()),
        }
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        let subject = reference.to_string();
        let record = self.record(reference)?;
        let document = self.bytes(&subject, document_name(&record.document))?;
        let mut fetch = |child: &crate::oci::Descriptor| self.bytes(&subject, document_name(&child.digest));
        walk(&subject, document, &record.document, platform, &mut fetch)
    }

    fn tree(&self, subject: &str, image: &Image, signed: Option<&Digest>) -> Result<Tree, Failure> {
        let record = self
            .0
            .predicate
            .components
            .iter()
            .find(|record| record.manifest == *image.manifest_digest());
        let digest = signed.copied().or(record.map(|record| record.tree));
        let digest = digest.ok_or_else(|| super::seal::malformed(subject, "the statement names no tree for it"))?;
        let bytes = self.bytes(subject, tree_name(&digest))?;
        list::parse(&bytes).map_err(|error| super::seal::malformed(subject, error))
    }
}

/// Name of an image document in the evidence.
pub fn document_name(digest: &Digest) -> String {
    format!("oci/{digest}")
}

/// The prefix of the names of what lay beside components in the evidence.
const ATTACHED: &str = "attached/";

/// Returns all that the evidence keeps of what lay beside components: signatures and attestations, which admitted them. What cannot
/// be read is left out: it admits nothing.
pub fn attached(evidence: &Evidence) -> Vec<Attachment> {
    let kept = evidence.iter().filter(|(name, _)| name.starts_with(ATTACHED));
    kept.filter_map(|(_, bytes)| kept::read(bytes).ok()).flatten().collect()
}

/// Name of what lies beside an image in the evidence.
pub fn attached_name(document: &Digest) -> String {
    format!("{ATTACHED}{document}")
}

/// Name of a tree list in the evidence.
pub fn tree_name(digest: &Digest) -> String {
    format!("tree/{digest}")
}
