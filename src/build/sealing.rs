//! The statement about an image, its evidence, and its seal.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::assemble::bios::{self, BOOT_IMAGE, BootFiles, Loader, file_of};
use crate::attest::image::Document;
use crate::config::spec::Role;
use crate::digest::Digest;
use crate::disk::ReadAt;
use crate::disk::assembly::Assembly;
use crate::disk::merkle::{self, Merkle, Node};
use crate::failure::Failure;
use crate::key::{KeyError, Signer};
use crate::limit;
use crate::reference::Reference;
use crate::seal::dsse::Signature;
use crate::seal::statement::{
    ComponentRecord, EvidenceRecord, FORMAT_VERSION, InputRecord, Layout, Predicate, SegmentRecord, Subject,
    SubjectDigest,
};
use crate::seal::{Envelope, Evidence, Sealed, Statement};
use crate::sigstore::attachment::Attachment;
use crate::sigstore::kept;
use crate::verify::disk::{SPANS, file_name};
use crate::verify::image::{SPEC, attached_name, document_name, tree_name};
use crate::verify::{Component, InputVerdict, Verified, attested_name, documents, trust_name};

use super::segments::Workshop;
use super::{Judge, Request};

/// Room that a seal's extent has beyond what the seal needs at build: for the signatures of a threshold, attached later.
const SIGNATURE_ROOM: u64 = 32 << 10;

/// What the capacity of a seal's extent is a multiple of.
const CAPACITY_STEP: u64 = 64 << 10;

/// Everything that a statement says, but for what depends on the format.
pub(super) struct Draft {
    predicate: Predicate,
    evidence: Evidence,
    /// What is said of the image for others to read.
    pub(super) documents: Vec<(Document, Value)>,
}

impl Draft {
    pub(super) fn new(
        request: &Request<'_>,
        components: &BTreeMap<Reference, Verified<Component>>,
        image: &crate::assemble::Image,
        sources: Vec<InputRecord>,
        inputs: &[InputVerdict],
    ) -> Result<Self, Failure> {
        let empty = Digest::sha256(b"");
        let (policy, unsafe_accept_unsigned) = match request.judge {
            Judge::Policy { policy, .. } => (Some(policy.digest()), false),
            Judge::UnsafeAcceptUnsigned { .. } => (None, true),
        };
        let predicate = Predicate {
            format_version: FORMAT_VERSION,
            name: request.name.to_owned(),
            arch: request.platform.architecture().to_owned(),
            epoch: request.epoch,
            evaluated_at: request.at,
            unsafe_accept_unsigned,
            policy,
            cmdline: image.cmdline.clone(),
            spec: InputRecord {
                name: request.spec_name.to_owned(),
                size: request.spec_bytes.len() as u64,
                digest: Digest::sha256(request.spec_bytes),
            },
            sources,
            layout: Layout::Files {
                writer: bios::WRITER,
                format: String::new(),
            },
            components: components.values().map(record).collect(),
            segments: Vec::new(),
            evidence: EvidenceRecord { size: 0, digest: empty },
        };
        let mut evidence = evidence(request, components, inputs)?;
        let documents = documents(&predicate, components)?;
        for (document, value) in &documents {
            evidence.add(attested_name(*document), value.to_string().into_bytes());
        }
        Ok(Self {
            predicate,
            evidence,
            documents,
        })
    }

    /// Lays out a disk and seals it.
    pub(super) fn disk(
        &self,
        request: &Request<'_>,
        image: &crate::assemble::Image,
        loader: &Loader,
        files: BootFiles,
    ) -> Result<(Assembly, Statement, Sealed), Failure> {
        let mut predicate = self.predicate.clone();
        let segment = |(owner, bytes): &(String, std::sync::Arc<dyn ReadAt>)| SegmentRecord {
            owner: owner.clone(),
            length: bytes.len(),
        };
        predicate.segments = files.segments.iter().map(segment).collect();
        let content: u64 = predicate.segments.iter().map(|segment| segment.length).sum();
        let about = content + files.kernel.len() + (8 << 20);
        let mut evidence = self.evidence.clone();
        evidence.add(file_name(&Digest::sha256(&loader.boot)), loader.boot.clone());
        let capacity = capacity(&predicate, &evidence, about)?;
        let laid_out = bios::disk(image, request.name, loader, files, capacity);
        let mut disk = laid_out.map_err(|error| Failure::malformed(request.name, error))?;
        let place = disk.seal;
        let tree = Merkle::of(&disk.assembly, place.offset..place.offset + place.length);
        let tree = tree.map_err(|error| Failure::unavailable(request.name, error))?;
        evidence.add(SPANS, tree.nodes.concat());
        predicate.layout = Layout::Bios {
            writer: bios::WRITER,
            length: disk.assembly.len(),
            seal_offset: place.offset,
            seal_length: place.length,
        };
        let subject = Subject {
            name: request.name.to_owned(),
            digest: SubjectDigest::Content(tree.content().hex()),
        };
        let (statement, sealed) = seal(request, vec![subject], predicate, &evidence)?;
        let length = usize::try_from(place.length).unwrap_or(usize::MAX);
        let bytes = sealed
            .encode(length)
            .map_err(|error| Failure::malformed(request.name, error))?;
        disk.assembly.set_seal(bytes);
        Ok((disk.assembly, statement, sealed))
    }

    /// Seals a set of files.
    pub(super) fn files(
        &self,
        request: &Request<'_>,
        format: &str,
        segments: Vec<SegmentRecord>,
        members: Vec<Subject>,
    ) -> Result<(Statement, Sealed), Failure> {
        let mut predicate = self.predicate.clone();
        predicate.segments = segments;
        predicate.layout = Layout::Files {
            writer: bios::WRITER,
            format: format.to_owned(),
        };
        seal(request, members, predicate, &self.evidence)
    }
}

/// Signs a statement with the key at hand, if there is one.
fn seal(
    request: &Request<'_>,
    subject: Vec<Subject>,
    mut predicate: Predicate,
    evidence: &Evidence,
) -> Result<(Statement, Sealed), Failure> {
    let stored = evidence
        .encode()
        .map_err(|error| Failure::malformed(request.name, error))?;
    predicate.evidence = EvidenceRecord {
        size: stored.len() as u64,
        digest: Digest::sha256(&stored),
    };
    let statement = Statement::new(subject, predicate);
    let mut envelope = Envelope::unsigned(statement.encode());
    if let Some(key) = request.seal_key {
        let signature = sign(key, &envelope).map_err(|error| Failure::unavailable(request.name, error))?;
        envelope.attach(signature);
    }
    let sealed = Sealed {
        evaluated_at: request.at,
        envelope,
        evidence: stored,
    };
    Ok((statement, sealed))
}

/// Signs an envelope's payload.
///
/// # Errors
/// As [`Signer::sign_with`].
pub fn sign(key: &dyn Signer, envelope: &Envelope) -> Result<Signature, KeyError> {
    Ok(Signature {
        keyid: key.id().to_string(),
        sig: key.sign(&envelope.pae())?,
    })
}

/// Computes how many bytes the seal may take, before the parts that depend on it are known.
fn capacity(predicate: &Predicate, evidence: &Evidence, disk: u64) -> Result<u64, Failure> {
    let stored = evidence
        .estimate()
        .map_err(|error| Failure::malformed(&predicate.name, error))?;
    let spans = disk.div_ceil(merkle::span(disk)) * size_of::<Node>() as u64;
    // Base64 takes four bytes for three; lengths and offsets are not known yet, and take little.
    let statement = Statement::new(Vec::new(), predicate.clone()).encode().len() as u64;
    let needed = stored + spans + statement * 4 / 3 + SIGNATURE_ROOM;
    Ok(needed.next_multiple_of(CAPACITY_STEP))
}

fn record(component: &Verified<Component>) -> ComponentRecord {
    ComponentRecord {
        reference: component.reference().clone(),
        document: *component.image().digest(),
        manifest: *component.image().manifest_digest(),
        tree: *component.tree_digest(),
        admitted: component.admission().clone(),
    }
}

/// Collects what the checks can be repeated from.
fn evidence(
    request: &Request<'_>,
    components: &BTreeMap<Reference, Verified<Component>>,
    inputs: &[InputVerdict],
) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    let mut add = |name: String, bytes: &[u8]| match evidence.add(name.clone(), bytes.to_vec()) {
        true => Ok(()),
        false => Err(Failure::malformed(
            "evidence",
            format!("two different documents are both `{name}`"),
        )),
    };
    add(SPEC.to_owned(), request.spec_bytes)?;
    // One image can be a component under several names.
    let mut beside: BTreeMap<Digest, Vec<&Attachment>> = BTreeMap::new();
    for component in components.values() {
        let image = component.image();
        if let Some(index) = image.index() {
            add(document_name(image.digest()), index)?;
        }
        add(document_name(image.manifest_digest()), image.manifest())?;
        add(
            document_name(&Digest::sha256(image.config_bytes())),
            image.config_bytes(),
        )?;
        beside.entry(*image.digest()).or_default().extend(component.attached());
        let list = crate::tree::list::write(component.tree());
        add(tree_name(component.tree_digest()), list.as_bytes())?;
    }
    for (document, pieces) in beside.iter().filter(|(_, pieces)| !pieces.is_empty()) {
        add(attached_name(document), &kept::write(pieces.iter().copied()))?;
    }
    let of_components = components.values().flat_map(|component| component.metadata());
    let of_inputs = inputs.iter().filter_map(|input| input.metadata.as_ref());
    for (root, metadata) in of_components.chain(of_inputs.map(|(root, metadata)| (root.as_str(), metadata))) {
        for (file, bytes) in metadata.files() {
            add(trust_name(root, file), bytes)?;
        }
    }
    let sealed = match request.judge {
        Judge::Policy { policy, anchors } => Some((policy, anchors)),
        Judge::UnsafeAcceptUnsigned { sealed } => sealed,
    };
    if let Some((policy, anchors)) = sealed {
        for demand in policy.image().sealed.iter() {
            for (file, bytes) in anchors.metadata(request.name, demand, request.at)?.files() {
                add(trust_name(&demand.root, file), bytes)?;
            }
        }
    }
    Ok(evidence)
}

/// Reads the boot loader out of its component.
pub(super) fn loader(
    components: &BTreeMap<Reference, Verified<Component>>,
    request: &Request<'_>,
    workshop: &Workshop<'_>,
) -> Result<Loader, Failure> {
    let named = request.spec.images().into_iter().find(|(role, _)| *role == Role::Boot);
    let component = named.and_then(|(_, name)| components.get(&name.reference)).ok_or_else(|| {
        let problem = "a bootable disk needs a boot loader; name its component: `boot: {image: imgkit.local/components/boot-bios}`";
        Failure::malformed(request.spec_name, problem)
    })?;
    let read = |name: &str| {
        let missing = || {
            Failure::malformed(
                component.reference(),
                format!("it has no {name}; it is no boot loader's component"),
            )
        };
        let (size, digest) = file_of(component.tree(), name).ok_or_else(missing)?;
        let mut bytes = vec![
            0;
            usize::try_from(size)
                .ok()
                .filter(|size| *size <= limit::LOADER_BYTES)
                .ok_or_else(missing)?
        ];
        let source = workshop.file(component, &digest)?;
        source
            .read_exact_at(&mut bytes, 0)
            .map_err(|error| Failure::unavailable(component.reference(), error))?;
        Ok::<_, Failure>(bytes)
    };
    Ok(Loader {
        component: component.reference().to_string(),
        boot: read(BOOT_IMAGE)?,
        core: read(bios::CORE_IMAGE)?,
    })
}
