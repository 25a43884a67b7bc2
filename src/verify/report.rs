//! What a verification found, for people and machines: evidence, not a bool.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;

use super::image::{Judged, Question};
use super::input::{InputState, InputVerdict};
use super::seal::SealSigners;
use crate::assemble::{GENERATED, Override, grub};
use crate::config::rootfs::Applied;
use crate::config::spec::Role;
use crate::digest::Digest;
use crate::disk::extents::{Extent, Extents, Owner};
use crate::reference::Reference;
use crate::seal::statement::{Admission, Layout, Subject};
use crate::time::Time;

/// Whether a component was proved against its own signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// None of its bytes are in the image: a boot loader, where the image is files.
    Absent,
    /// Only the sealer says that the bytes are the component's.
    Asserted,
    /// Its tree was unpacked from the image and has the digest that its signer signed.
    Proved,
}

/// What was found of one component.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentReport {
    /// Its reference.
    pub reference: Reference,
    /// The platform's manifest.
    pub manifest: Digest,
    /// SHA-256 of its tree list.
    pub tree: Digest,
    /// Proved or asserted.
    pub state: State,
    /// What admitted it, judged again.
    pub admitted: Admission,
    /// Its files that later parts replace: it is proved but for these.
    pub overrides: Vec<Override>,
    /// How LinuxKit's rules changed its tree: how often each.
    pub rules: BTreeMap<String, usize>,
}

/// At which times an image was judged (law of the gate 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The embedded metadata: at the build's evaluation time.
    pub embedded_metadata_at: Time,
    /// The image's age: at this moment.
    pub age_at: Time,
    /// How old the image was then, in seconds.
    pub age: i64,
    /// How old the policy lets it be, in seconds; `None` where it demands nothing.
    pub max_age: Option<i64>,
    /// Today's metadata: at this moment; `None` where they were not asked.
    pub todays_metadata_at: Option<Time>,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = |seconds: i64| format!("{} hours", seconds / 3600);
        write!(
            f,
            "embedded metadata judged at {}, the evaluation time; ",
            self.embedded_metadata_at
        )?;
        write!(f, "age of {} at {} ", hours(self.age), self.age_at)?;
        match self.max_age {
            Some(max) => write!(f, "within maxAge of {}; ", hours(max))?,
            None => f.write_str("not judged, no maxAge is demanded; ")?,
        }
        match self.todays_metadata_at {
            Some(at) => write!(f, "today's metadata judged at {at}"),
            None => f.write_str("today's metadata not judged (--fresh does)"),
        }
    }
}

/// An extent, and what reports call its owner.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtentReport {
    /// The extent.
    #[serde(flatten)]
    pub extent: Extent,
    /// The owner in words, with the inputs among its bytes that nobody vouches for, and where the specification names them.
    pub owner_text: String,
}

/// What the sealer signed of a disk, apart from what was computed of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedReport {
    /// The image's name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Its epoch.
    pub epoch: u64,
    /// What its specification says it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// When the build judged its inputs.
    pub evaluated_at: Time,
    /// Its content digest, or the digests of its files.
    pub subject: Vec<Subject>,
    /// The kernel command line.
    pub cmdline: String,
}

/// What was found of a disk.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskReport {
    /// What its sealer signed.
    pub signed: SealedReport,
    /// At which times the image was judged.
    pub times: Times,
    /// Who sealed it.
    pub seal: SealSigners,
    /// The components.
    pub components: Vec<ComponentReport>,
    /// The inputs that are no components.
    pub inputs: Vec<InputVerdict>,
    /// Every extent, in order.
    pub extents: Vec<ExtentReport>,
    /// How many bytes each owner has.
    pub bytes_by_owner: BTreeMap<String, u64>,
    /// How many components were proved.
    pub proved: usize,
    /// How many were asserted.
    pub asserted: usize,
    /// What was not checked.
    pub not_checked: Vec<String>,
}

impl DiskReport {
    pub(super) fn new(question: &Question<'_>, judged: &Judged, extents: &Extents, files: bool) -> Self {
        let predicate = judged.predicate();
        let components: Vec<ComponentReport> = judged
            .components
            .values()
            .map(|component| component_report(judged, component, files))
            .collect();
        let count = |state| components.iter().filter(|component| component.state == state).count();
        let mut not_checked = Vec::new();
        if question.fresh.is_none() {
            let what =
                "whether today's trust metadata say the same: embedded ones were judged at the build's evaluation time";
            not_checked.push(format!("{what} (--fresh does)"));
        }
        if !files {
            not_checked.push(format!("{} (--files does)", unpacked_only(&predicate.layout)));
        }
        Self {
            signed: SealedReport {
                name: predicate.name.clone(),
                arch: predicate.arch.clone(),
                epoch: predicate.epoch,
                profile: judged.spec.profile.clone(),
                evaluated_at: predicate.evaluated_at,
                subject: judged.opened.statement.subject.clone(),
                cmdline: predicate.cmdline.clone(),
            },
            times: Times {
                embedded_metadata_at: predicate.evaluated_at,
                age_at: question.now,
                age: question.now.unix() - predicate.evaluated_at.unix(),
                max_age: question.policy.image().max_age,
                todays_metadata_at: question.fresh.map(|_| question.now),
            },
            seal: judged.opened.signers.clone(),
            proved: count(State::Proved),
            asserted: count(State::Asserted),
            components,
            inputs: judged.inputs.clone(),
            extents: extents
                .iter()
                .map(|extent| ExtentReport {
                    extent: extent.clone(),
                    owner_text: owner_text(judged, &extent.owner),
                })
                .collect(),
            bytes_by_owner: extents
                .totals()
                .into_iter()
                .map(|(owner, bytes)| (owner_text(judged, owner), bytes))
                .collect(),
            not_checked,
        }
    }

    /// Writes the report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let (signed, seal) = (&self.signed, &self.seal);
        let keys: Vec<&str> = seal.keys.iter().map(|key| key.short()).collect();
        // Writing to a String cannot fail.
        let profile = signed.profile.as_ref();
        let profile = profile.map_or(String::new(), |profile| format!(" profile {profile}"));
        let _ = writeln!(
            text,
            "{}  VERIFIED  {}{profile} epoch {}, evaluated {}",
            signed.name, signed.arch, signed.epoch, signed.evaluated_at
        );
        let _ = writeln!(
            text,
            "  sealed by {} of root {} role {} ({})",
            keys.len(),
            seal.root,
            seal.role,
            keys.join(", ")
        );
        let _ = writeln!(text, "  {}", self.times);
        let _ = writeln!(text, "  command line: {}", signed.cmdline);
        for component in &self.components {
            let state = match component.state {
                State::Absent => "ABSENT  ",
                State::Asserted => "ASSERTED",
                State::Proved => "PROVED  ",
            };
            let _ = writeln!(
                text,
                "  {state} {} {} {}",
                component.reference,
                component.tree.short(),
                component.admitted
            );
            for replaced in &component.overrides {
                let _ = writeln!(text, "    OVERRIDE {} by {}", replaced.path, replaced.by);
            }
        }
        for input in &self.inputs {
            let _ = writeln!(text, "  {input}");
        }
        let total: u64 = self.bytes_by_owner.values().sum();
        for (owner, bytes) in &self.bytes_by_owner {
            let _ = writeln!(text, "  {bytes:>12}  {owner}");
        }
        let _ = writeln!(
            text,
            "  {total:>12}  bytes in all, {} proved, {} asserted",
            self.proved, self.asserted
        );
        for what in &self.not_checked {
            let _ = writeln!(text, "  not checked: {what}");
        }
        text
    }
}

/// Names an owner, with the unsigned inputs that its bytes are made of (law of the gate 8).
fn owner_text(judged: &Judged, owner: &Owner) -> String {
    let inputs = judged.inputs.as_slice();
    let made_of = match owner {
        Owner::Segment { component } if component == GENERATED => inputs,
        // The specification alone, which is the first input.
        Owner::File { name } if name == grub::CONFIG => inputs.get(..1).unwrap_or_default(),
        // An archive is one extent.
        Owner::File { .. } if judged.is_archive() => inputs,
        _ => &[],
    };
    let unsigned = made_of.iter().filter(|input| input.state == InputState::Unsigned);
    let names: Vec<String> = unsigned
        .map(|input| format!("{} ({})", input.name, input.place))
        .collect();
    match names.is_empty() {
        true => owner.to_string(),
        false => format!("{owner}, UNSIGNED INPUT {}", names.join(", ")),
    }
}

/// Says what only unpacking the segments or the archive shows.
fn unpacked_only(layout: &Layout) -> &'static str {
    match layout {
        Layout::Bios { .. } => {
            "the kernel file and the files inside components' segments against their own signers; \
             they are as the sealer signed them"
        }
        Layout::Files { format, .. } if format == "tar" => {
            "the archive's members against their components' own signers; the archive is as the sealer signed it"
        }
        Layout::Files { .. } => {
            "the files inside components' segments against their own signers; the initrd is as the sealer signed it"
        }
    }
}

fn component_report(judged: &Judged, component: &super::Component, files: bool) -> ComponentReport {
    let roles: Vec<_> = judged
        .spec
        .images()
        .into_iter()
        .filter(|(_, name)| name.reference == *component.reference())
        .map(|(role, _)| role)
        .collect();
    let is_disk = matches!(judged.predicate().layout, Layout::Bios { .. });
    let state = match component.has_signed_tree() && files {
        _ if !is_disk && roles.iter().all(|role| *role == Role::Boot) => State::Absent,
        true => State::Proved,
        false => State::Asserted,
    };
    let overrides = judged.image.plan.overrides.iter();
    let overrides = overrides.filter(|replaced| replaced.role.is_some_and(|role| roles.contains(&role)));
    let mut rules = BTreeMap::new();
    let applied = judged.image.rules.iter().filter(|(role, _)| roles.contains(role));
    for Applied { rule, .. } in applied.flat_map(|(_, applied)| applied) {
        *rules.entry(format!("{rule:?}")).or_default() += 1;
    }
    ComponentReport {
        reference: component.reference().clone(),
        manifest: *component.image().manifest_digest(),
        tree: *component.tree_digest(),
        state,
        admitted: component.admission().clone(),
        overrides: overrides.cloned().collect(),
        rules,
    }
}
