//! Builds images: components through the gate, segments, disk, seal; nothing has its name before it is verified.
//!
//! 1. Every component, the boot loader included, is judged; all refusals of a build are reported together.
//! 2. The root file system is laid out, and each part becomes a segment: made once, in parallel, kept for later builds.
//! 3. The formats are written under temporary names, sealed, opened again and checked.
//! 4. Only then do they get their names.
//!
//! Output is a pure function of the specification, the components and the request; no clock, no environment, no other program.

mod formats;
pub mod lock;
mod sealing;
mod segments;
mod supply;

pub use formats::{Format, Output};
pub use lock::Lock;
pub use sealing::sign;
pub use supply::{FromStore, tree_of};

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::assemble;
use crate::assemble::Segment;
use crate::assemble::bios::BootFiles;
use crate::attest;
use crate::attest::image::Document;
use crate::config::rootfs;
use crate::config::spec::{Role, Spec};
use crate::digest::Digest;
use crate::disk::ReadAt;
use crate::failure::{Failure, Refusal};
use crate::format::{qcow2, tar};
use crate::key::Signer;
use crate::oci::Platform;
use crate::policy::Policy;
use crate::reference::Reference;
use crate::seal::statement::{InputRecord, SegmentRecord, Subject, SubjectDigest};
use crate::seal::{Sealed, Statement};
use crate::store::derived::Derived;
use crate::store::file::open_to_end;
use crate::store::spool::Spool;
use crate::store::{Progress, Source};
use crate::time::Time;
use crate::tree::contents::Sink;
use crate::verify::component::Gate;
use crate::verify::image::{Identity, check_overrides, check_profile, components, make};
use crate::verify::{
    Anchors, Component, InputVerdict, Pins, Question, Supply, Verified, admit_inputs, disk, files, unjudged_inputs,
    unsafe_accept_unsigned,
};
use formats::Pending;
use sealing::Draft;
use segments::{Made, Workshop};

/// LinuxKit's time for what a build makes: 2017-04-18T16:30:00Z. imgkit gives it to everything.
pub const MTIME: i64 = 1_492_533_000;

/// What judges the components.
#[derive(Clone, Copy, Debug)]
pub enum Judge<'a> {
    /// A policy and its trust anchors.
    Policy {
        /// The policy.
        policy: &'a Policy,
        /// Its anchors.
        anchors: &'a Anchors,
    },
    /// Nothing does: sealed into the image, where every policy refuses it.
    UnsafeAcceptUnsigned {
        /// The policy that says who may seal, and its anchors: then verifiers can tell that it is sealed, and why it is refused.
        sealed: Option<(&'a Policy, &'a Anchors)>,
    },
}

/// One build.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How messages call the specification.
    pub spec_name: &'a str,
    /// The specification as written.
    pub spec_bytes: &'a [u8],
    /// The specification as read.
    pub spec: &'a Spec,
    /// The image's name: of its files, and in its seal.
    pub name: &'a str,
    /// The image's epoch.
    pub epoch: u64,
    /// The one time of judgement.
    pub at: Time,
    /// The image's platform.
    pub platform: &'a Platform,
    /// What judges the components.
    pub judge: Judge<'a>,
    /// The key that seals, if it is at hand.
    pub seal_key: Option<&'a dyn Signer>,
    /// What to make.
    pub formats: &'a [Format],
    /// zstd's level for segments, 1 to 19.
    pub level: i32,
    /// Where the finished files go.
    pub out: &'a Path,
    /// The directory that `files: source:` is relative to.
    pub base: &'a Path,
    /// The files that the policy names, to verify what was built as a user would.
    pub pins: &'a Pins,
    /// The present, by the clock.
    pub now: Time,
    /// Is told how many bytes of contents went into segments.
    pub progress: &'a dyn Progress,
}

impl Request<'_> {
    /// Returns the gate that inputs go through; `None` when nothing judges them.
    fn gate(&self) -> Option<Gate<'_>> {
        match self.judge {
            Judge::Policy { policy, anchors } => Some(Gate {
                policy,
                anchors,
                at: self.at,
                platform: self.platform,
            }),
            Judge::UnsafeAcceptUnsigned { .. } => None,
        }
    }
}

/// A finished build.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The one time at which everything was judged; the image's age and today's metadata are for verification.
    pub evaluated_at: Time,
    /// The files.
    pub outputs: Vec<Output>,
    /// The subjects of the statements: the `content` digest of disks, each file's of sets.
    pub subjects: Vec<Subject>,
    /// The components: reference, tree digest, what admitted each.
    pub components: Vec<crate::seal::statement::ComponentRecord>,
    /// Files of components that later parts replace.
    pub overrides: Vec<assemble::Override>,
    /// Inputs that are no components, and what vouches for them.
    pub inputs: Vec<InputVerdict>,
    /// The seals that wait for signatures: one for each statement.
    #[serde(skip)]
    pub seals: Vec<Sealed>,
}

/// Builds an image.
///
/// # Errors
/// All refusals together, or what else stood in the way; then no file has its final name.
pub fn build(
    request: &Request<'_>,
    source: &dyn Source,
    derived: &Derived,
    lock: Option<&Lock>,
) -> Result<Built, Failure> {
    let supply = FromStore::new(source, derived, lock);
    let mut refusals = Vec::new();
    let judged = judge(request, &supply, &mut refusals)?;
    let (sources, spool) = read_sources(request, derived.scratch())?;
    let inputs = judge_inputs(request, &sources, &mut refusals)?;
    if !refusals.is_empty() {
        return Err(Failure::Refused(refusals));
    }
    let placed = sources.iter().map(|source| {
        let file = rootfs::Source {
            size: source.size,
            digest: source.digest,
        };
        (source.name.clone(), file)
    });
    let image = make(request.spec, &judged, placed.collect())?;
    check_overrides(&judged, request.spec, &image)?;
    let spools = supply
        .into_spools()
        .into_iter()
        .map(|(manifest, spool)| (manifest, Arc::new(spool)));
    let work = Work {
        request,
        judged: &judged,
        image: &image,
        draft: Draft::new(request, &judged, &image, sources, &inputs)?,
        workshop: Workshop {
            spec: request.spec,
            source,
            derived,
            level: request.level,
            progress: request.progress,
            unpacked_at_the_end: finished_by(request).is_some(),
            sources: &spool,
            spools: Mutex::new(spools.collect()),
        },
    };
    let mut built = work.write()?;
    built.overrides = image.plan.overrides.clone();
    built.inputs = inputs;
    Ok(built)
}

fn judge(
    request: &Request<'_>,
    supply: &dyn Supply,
    refusals: &mut Vec<Refusal>,
) -> Result<BTreeMap<Reference, Verified<Component>>, Failure> {
    let Some(gate) = request.gate() else {
        let mut accepted = BTreeMap::new();
        for (_, name) in request.spec.images() {
            if !accepted.contains_key(&name.reference) {
                let component = unsafe_accept_unsigned(name, request.platform, supply)?;
                accepted.insert(name.reference.clone(), component);
            }
        }
        return Ok(accepted);
    };
    let forms: Vec<&str> = request.formats.iter().map(|format| format.form()).collect();
    // What the policy would refuse of the finished image is refused before it is made, whoever seals it later.
    let identity = Identity {
        name: request.name,
        arch: request.platform.architecture(),
        epoch: request.epoch,
        evaluated_at: request.at,
        forms: &forms,
    };
    refusals.extend(identity.check(request.name, gate.policy, request.now, 0));
    let profile = request.spec.profile.as_deref();
    refusals.extend(check_profile(request.name, gate.policy, profile));
    if let Some(kernel) = &request.spec.kernel {
        let allowed = &gate.policy.image().cmdline;
        refusals.extend(kernel.cmdline.refusals(allowed, Some(&kernel.cmdline_place)));
    }
    components(&gate, request.spec, supply, refusals)
}

/// Reads the files beside the YAML that it names.
fn read_sources(request: &Request<'_>, scratch: &Path) -> Result<(Vec<InputRecord>, Spool), Failure> {
    let mut spool = Spool::within(scratch)?;
    let mut sources: Vec<InputRecord> = Vec::new();
    for (name, optional, place) in request.spec.sources() {
        if sources.iter().any(|source| source.name == name) {
            continue;
        }
        let path = request.base.join(name);
        let cannot = |error: io::Error| Failure::unavailable(format!("{} ({place})", path.display()), error);
        let mut file = match open_to_end(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && optional => continue,
            Err(error) => return Err(cannot(error)),
        };
        let (size, digest) = spool.take(&mut file).map_err(cannot)?;
        sources.push(InputRecord {
            name: name.to_owned(),
            size,
            digest,
        });
    }
    Ok((sources, spool))
}

fn judge_inputs(
    request: &Request<'_>,
    sources: &[InputRecord],
    refusals: &mut Vec<Refusal>,
) -> Result<Vec<InputVerdict>, Failure> {
    let spec = InputRecord {
        name: request.spec_name.to_owned(),
        size: request.spec_bytes.len() as u64,
        digest: Digest::sha256(request.spec_bytes),
    };
    let inputs = std::iter::once(&spec).chain(sources);
    match request.gate() {
        Some(gate) => admit_inputs(&gate, request.spec, inputs, refusals),
        None => Ok(unjudged_inputs(request.spec, inputs)),
    }
}

/// Returns the policy that judges what is built, where it says who may seal and no more signatures are to come.
fn finished_by<'a>(request: &Request<'a>) -> Option<&'a Policy> {
    let Judge::Policy { policy, .. } = request.judge else {
        return None;
    };
    let threshold = policy.image().sealed.as_ref()?.threshold;
    (request.seal_key.is_some() && threshold == 1).then_some(policy)
}

type Bytes = Arc<dyn ReadAt>;

/// A build whose inputs are all verified.
struct Work<'a> {
    request: &'a Request<'a>,
    judged: &'a BTreeMap<Reference, Verified<Component>>,
    image: &'a assemble::Image,
    draft: Draft,
    workshop: Workshop<'a>,
}

impl Work<'_> {
    fn write(&self) -> Result<Built, Failure> {
        let wants = |format| self.request.formats.contains(&format);
        let mut pending = Vec::new();
        let mut statements = Vec::new();
        let needs_segments = wants(Format::KernelInitrd) || wants(Format::RawBios) || wants(Format::Qcow2Bios);
        let segments = if needs_segments { self.segments()? } else { Vec::new() };
        if wants(Format::RawBios) || wants(Format::Qcow2Bios) {
            statements.push(self.disks(&segments, &mut pending)?);
        }
        if wants(Format::KernelInitrd) {
            statements.push(self.kernel_and_initrd(&segments, &mut pending)?);
        }
        if wants(Format::Tar) {
            statements.push(self.archive(&mut pending)?);
        }
        self.documents(&mut pending)?;
        let outputs = formats::finish(pending)?;
        let components = statements
            .first()
            .map(|(statement, _)| statement.predicate.components.clone());
        Ok(Built {
            evaluated_at: self.request.at,
            outputs,
            subjects: statements
                .iter()
                .flat_map(|(statement, _)| statement.subject.clone())
                .collect(),
            components: components.unwrap_or_default(),
            overrides: Vec::new(),
            inputs: Vec::new(),
            seals: statements.into_iter().map(|(_, sealed)| sealed).collect(),
        })
    }

    /// Writes what is said of the image for others to read: provenance as a statement about its files, and bills of materials.
    fn documents(&self, pending: &mut Vec<Pending>) -> Result<(), Failure> {
        let subject = |file: &Pending| attest::Subject::of(Some(file.file_name()), &file.digest);
        let subjects: Vec<_> = pending.iter().map(subject).collect();
        for (document, value) in &self.draft.documents {
            let kind = document.predicate_type();
            let bytes = match document {
                Document::Provenance => attest::Statement::about(subjects.clone(), kind, value.clone()).encode(),
                Document::Spdx | Document::CycloneDx => value.to_string().into_bytes(),
            };
            let path = self.path(&format!(".{}.json", document.name()));
            pending.push(Pending::write(document.name(), path, |out| {
                out.write_all(&bytes)
                    .map_err(|error| Failure::unavailable(self.request.out.display(), error))
            })?);
        }
        Ok(())
    }

    fn component(&self, role: Role) -> Option<&Verified<Component>> {
        let named = self
            .request
            .spec
            .images()
            .into_iter()
            .find(|(other, _)| *other == role)?;
        self.judged.get(&named.1.reference)
    }

    fn segments(&self) -> Result<Vec<Made>, Failure> {
        self.workshop.segments(self.image, &|segment| {
            segment.role.and_then(|role| self.component(role))
        })
    }

    /// Returns the kernel's file and the microcode's, if there is one.
    fn kernel(&self) -> Result<(Bytes, Option<Bytes>), Failure> {
        let component = self.component(Role::Kernel);
        let (Some(kernel), Some(component)) = (self.image.kernel, component) else {
            let problem = "a bootable image needs a kernel; name its component under `kernel:`";
            return Err(Failure::malformed(self.request.spec_name, problem));
        };
        let microcode = self
            .image
            .microcode
            .map(|file| self.workshop.file(component, &file.digest));
        Ok((self.workshop.file(component, &kernel.digest)?, microcode.transpose()?))
    }

    fn disks(&self, segments: &[Made], pending: &mut Vec<Pending>) -> Result<(Statement, Sealed), Failure> {
        let loader = sealing::loader(self.judged, self.request, &self.workshop)?;
        let (kernel, microcode) = self.kernel()?;
        let files = BootFiles {
            kernel,
            microcode,
            segments: segments
                .iter()
                .map(|made| (made.owner.clone(), Arc::clone(&made.bytes)))
                .collect(),
        };
        let (disk, statement, sealed) = self.draft.disk(self.request, self.image, &loader, files)?;
        let extents = disk.extents();
        let check = |written: &Pending, guest: Arc<dyn ReadAt>| match self.question(&written.subject()) {
            Some(question) => disk::written(&question, guest, &|segment| self.compared(segments, segment)),
            None => {
                let kernel = self.image.kernel.map(|kernel| kernel.digest);
                let segments = segments.iter().map(|made| made.compared);
                disk::unjudged(&written.subject(), &guest, &extents, &statement, kernel, segments)
            }
        };
        let cannot = |error: io::Error| Failure::unavailable(self.request.out.display(), error);
        if self.request.formats.contains(&Format::RawBios) {
            let raw = Pending::write(Format::RawBios.name(), self.path("-bios.img"), |out| {
                formats::copy(&disk, out).map_err(cannot)
            })?;
            check(&raw, Arc::new(raw.file.reopen()?))?;
            pending.push(raw);
        }
        if self.request.formats.contains(&Format::Qcow2Bios) {
            let file = Pending::write(Format::Qcow2Bios.name(), self.path(".qcow2"), |out| {
                let layout = qcow2::Layout::of(&disk).map_err(cannot)?;
                layout.write(&disk, out).map_err(cannot)
            })?;
            let guest = qcow2::Guest::open(Arc::new(file.file.reopen()?));
            let guest = guest.map_err(|error| Failure::unavailable(file.path.display(), error))?;
            check(&file, Arc::new(guest))?;
            pending.push(file);
        }
        Ok((statement, sealed))
    }

    /// Returns SHA-256 of a segment's bytes, if they were unpacked and compared with exactly this segment.
    fn compared(&self, made: &[Made], segment: &Segment) -> Option<Digest> {
        let planned = self.image.plan.segments.iter().zip(made);
        let mut same = planned.filter(|(planned, _)| *planned == segment);
        same.next().and_then(|(_, made)| made.compared)
    }

    /// Asks what a user of the policy would, where anybody can say yes yet; every segment is unpacked.
    fn question<'q>(&'q self, subject: &'q str) -> Option<Question<'q>> {
        Some(Question {
            subject,
            policy: finished_by(self.request)?,
            pins: self.request.pins,
            // An evaluation may lie ahead of the clock.
            now: self.request.now.max(self.request.at),
            files: true,
            fresh: None,
            memory: None,
        })
    }

    fn kernel_and_initrd(&self, segments: &[Made], pending: &mut Vec<Pending>) -> Result<(Statement, Sealed), Failure> {
        let (kernel, microcode) = self.kernel()?;
        let cannot = |error: io::Error| Failure::unavailable(self.request.out.display(), error);
        let microcode = microcode.zip(self.image.microcode.map(|file| Some(file.digest)));
        let segment = |made: &Made| (Arc::clone(&made.bytes), made.compared);
        let parts: Vec<(Bytes, Option<Digest>)> = microcode.into_iter().chain(segments.iter().map(segment)).collect();
        let copy = |(part, compared): &(Bytes, Option<Digest>), out: &mut dyn io::Write| match compared {
            Some(digest) => formats::copy_compared(part, digest, out),
            None => formats::copy(part, out),
        };
        let format = Format::KernelInitrd.name();
        let members = [
            Pending::write(format, self.path("-kernel"), |out| {
                copy(&(kernel, self.image.kernel.map(|kernel| kernel.digest)), out).map_err(cannot)
            })?,
            Pending::write(format, self.path("-initrd.img"), |out| {
                parts.iter().try_for_each(|part| copy(part, out).map_err(cannot))
            })?,
            Pending::write(format, self.path("-cmdline"), |out| {
                out.write_all(self.image.cmdline.as_bytes()).map_err(cannot)
            })?,
        ];
        let records = segments.iter().map(|made| SegmentRecord {
            owner: made.owner.clone(),
            length: made.bytes.len(),
        });
        self.seal_files(format, records.collect(), members.into(), pending)
    }

    fn archive(&self, pending: &mut Vec<Pending>) -> Result<(Statement, Sealed), Failure> {
        let contents = self.workshop.everything(self.judged.values(), self.image)?;
        let mtime = Time::from_unix(MTIME).map_err(|error| Failure::malformed("mtime", error))?;
        let member = Pending::write(Format::Tar.name(), self.path(".tar"), |out| {
            let written = tar::write_tar(&self.image.tree, &contents, mtime, out);
            written.map_err(|error| Failure::unavailable(self.request.out.display(), error))
        })?;
        self.seal_files(Format::Tar.name(), Vec::new(), vec![member], pending)
    }

    fn seal_files(
        &self,
        format: &'static str,
        segments: Vec<SegmentRecord>,
        members: Vec<Pending>,
        pending: &mut Vec<Pending>,
    ) -> Result<(Statement, Sealed), Failure> {
        let subject = |member: &Pending| Subject {
            name: member.file_name(),
            digest: SubjectDigest::File(member.digest.hex()),
        };
        let subjects: Vec<Subject> = members.iter().map(subject).collect();
        let (statement, sealed) = self.draft.files(self.request, format, segments, subjects)?;
        let path = self.path(files::seal_suffix(format));
        let seal = Pending::write(format, path, |out| {
            let bytes = sealed
                .encode(sealed.len())
                .map_err(|error| Failure::malformed(self.request.name, error))?;
            out.write_all(&bytes)
                .map_err(|error| Failure::unavailable(self.request.out.display(), error))
        })?;
        let subject = seal.subject();
        if let Some(question) = self.question(&subject) {
            let open = |member: &Pending| {
                let file: Arc<dyn ReadAt> = Arc::new(member.file.reopen()?);
                Ok((member.file_name(), file))
            };
            let opened = members.iter().map(open).collect::<Result<BTreeMap<_, _>, Failure>>()?;
            files::files(&question, &sealed, &opened)?;
        }
        pending.extend(members);
        pending.push(seal);
        Ok((statement, sealed))
    }

    fn path(&self, suffix: &str) -> PathBuf {
        formats::path(self.request.out, self.request.name, suffix)
    }
}
