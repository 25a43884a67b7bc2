//! Images that are several files: `NAME.seal` stands beside them and names each (law of the disk 4).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Verified;
use super::image::{Judged, Question, judge};
use super::report::DiskReport;
use crate::assemble::bios;
use crate::digest::Digest;
use crate::disk::extents::{Extent, Extents, Owner};
use crate::disk::{ReadAt, Slice, Stream};
use crate::failure::{Code, Failure, Refusal};
use crate::format::layers::flatten;
use crate::seal::Sealed;
use crate::seal::statement::{Layout, SubjectDigest};
use crate::tree::contents::{HashOnly, hash_to};
use crate::tree::{Entry, Node, Tree, TreePath};

use super::disk::{Bytes, Disk, first_difference};

/// The formats that consist of files, and what the name of each one's seal ends with.
const SUFFIXES: [(&str, &str); 2] = [("kernel+initrd", ".seal"), ("tar", ".tar.seal")];

/// Returns what the name of a format's seal ends with.
pub fn seal_suffix(format: &str) -> &'static str {
    let found = SUFFIXES.iter().find(|(name, _)| *name == format);
    found.map_or(".seal", |(_, suffix)| suffix)
}

/// Verifies a set of files against their seal; `members` are all files of the set, by name.
///
/// # Errors
/// Refusals that name the file, or why it could not be found out.
pub fn files(
    question: &Question<'_>,
    sealed: &Sealed,
    members: &BTreeMap<String, Arc<dyn ReadAt>>,
) -> Result<Verified<Disk>, Failure> {
    let seal_subject = seal_of(question);
    let judged = judge(
        &Question {
            subject: &seal_subject,
            ..*question
        },
        sealed,
    )?;
    let Layout::Files { writer, format } = &judged.predicate().layout else {
        return Err(super::seal::malformed(
            &seal_subject,
            "it is about a disk, not about separate files",
        ));
    };
    if *writer != bios::WRITER {
        let problem = format!(
            "its files are made by writer {writer}, this imgkit knows {}; use a newer one",
            bios::WRITER
        );
        return Err(super::seal::malformed(&seal_subject, problem));
    }
    check_members(question.subject, &judged, members)?;
    let proof = question.files || judged.needs_proof(question.policy);
    let extents = match format.as_str() {
        "kernel+initrd" => check_kernel_and_initrd(question, &judged, members, proof)?,
        "tar" => check_tar(question, &judged, members, proof)?,
        other => {
            return Err(super::seal::malformed(
                &seal_subject,
                format!("its format `{other}` is not known"),
            ));
        }
    };
    Ok(Verified(Disk::of(DiskReport::new(question, &judged, &extents, proof))))
}

/// Names the seal of a set.
fn seal_of(question: &Question<'_>) -> String {
    format!("seal of {}", question.subject)
}

/// Compares each file with the seal's subject of its name; a missing or further file is refused.
fn check_members(subject: &str, judged: &Judged, members: &BTreeMap<String, Arc<dyn ReadAt>>) -> Result<(), Failure> {
    let advice = "get all files of the image again, and nothing else";
    let subjects = &judged.opened.statement.subject;
    for member in members.keys() {
        if !subjects.iter().any(|subject| subject.name == *member) {
            let (about, expected) = (format!("{member} of {subject}"), "no file that the seal does not name");
            return Err(Refusal::new(Code::BytesMismatch, about, expected, "the file is there", advice).into());
        }
    }
    for named in subjects {
        let about = format!("{} of {subject}", named.name);
        let SubjectDigest::File(expected) = &named.digest else {
            return Err(super::seal::malformed(
                &format!("seal of {subject}"),
                "it names a disk among files",
            ));
        };
        let Some(member) = members.get(&named.name) else {
            let expected = "the file, which the seal names";
            return Err(Refusal::new(Code::BytesMismatch, about, expected, "it is missing", advice).into());
        };
        let found = digest(&named.name, member)?;
        if found.hex() != *expected {
            let expected = format!("sha256:{expected}, as sealed");
            return Err(Refusal::new(Code::BytesMismatch, about, expected, found, advice).into());
        }
    }
    Ok(())
}

fn check_kernel_and_initrd(
    question: &Question<'_>,
    judged: &Judged,
    members: &BTreeMap<String, Arc<dyn ReadAt>>,
    proof: bool,
) -> Result<Extents, Failure> {
    let name = &judged.predicate().name;
    let member = |suffix: &str| {
        let name = format!("{name}{suffix}");
        let missing = || super::seal::malformed(&seal_of(question), format!("it does not name `{name}`"));
        members.get(&name).ok_or_else(missing)
    };
    let differs = |what: &str| {
        let advice = "get the image again; if it is sealed like this, the sealer built something else than was signed";
        let expected = "what its specification and components make";
        Refusal::new(
            Code::BytesMismatch,
            format!("{name}{what} of {}", question.subject),
            expected,
            "something else",
            advice,
        )
    };
    if digest("cmdline", member("-cmdline")?)? != Digest::sha256(judged.image.cmdline.as_bytes()) {
        return Err(differs("-cmdline").into());
    }
    let kernel = judged.image.kernel.map(|kernel| kernel.digest);
    if Some(digest("kernel", member("-kernel")?)?) != kernel {
        return Err(differs("-kernel").into());
    }
    judged.check_segments(&seal_of(question))?;
    let initrd = member("-initrd.img")?;
    let mut list = Vec::new();
    let mut offset = 0;
    let mut push = |owner: Owner, length: u64| {
        list.push(Extent { offset, length, owner });
        offset = length.saturating_add(offset);
    };
    if let Some(microcode) = judged.image.microcode {
        push(Owner::File { name: "UCODE".into() }, microcode.size);
    }
    for (segment, record) in judged.image.plan.segments.iter().zip(&judged.predicate().segments) {
        let component = segment.owner(&judged.spec);
        push(Owner::Segment { component }, record.length);
    }
    let extents = Extents::new(initrd.len(), list).map_err(|_| differs("-initrd.img"))?;
    let subject = format!("{name}-initrd.img of {}", question.subject);
    let bytes = Bytes {
        subject: &subject,
        judged,
        guest: initrd,
        extents: &extents,
    };
    bytes.check_contents(proof, &super::disk::nothing)?;
    Ok(extents)
}

fn check_tar(
    question: &Question<'_>,
    judged: &Judged,
    members: &BTreeMap<String, Arc<dyn ReadAt>>,
    proof: bool,
) -> Result<Extents, Failure> {
    let name = format!("{}.tar", judged.predicate().name);
    let missing = || super::seal::malformed(&seal_of(question), format!("it does not name `{name}`"));
    let archive = members.get(&name).ok_or_else(missing)?;
    if proof {
        let tree = flatten([Stream::new(archive)], &mut HashOnly);
        let found = match tree {
            Ok(tree) => first_difference(&as_unpacked(&judged.image.tree), &tree),
            Err(error) => Some(error.to_string()),
        };
        if let Some(found) = found {
            let advice =
                "get the image again; if it is sealed like this, the sealer built something else than was signed";
            let subject = format!("{name} of {}", question.subject);
            let expected = "the trees that its components' signers signed";
            return Err(Refusal::new(Code::TreeMismatch, subject, expected, found, advice).into());
        }
    }
    let whole = Extent {
        offset: 0,
        length: archive.len(),
        owner: Owner::File { name: name.clone() },
    };
    Extents::new(archive.len(), vec![whole]).map_err(|error| Failure::malformed(name, error))
}

/// The tree that unpacking an archive gives: a symbolic link has no mode of its own.
fn as_unpacked(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    let is_link = |(path, entry): (&TreePath, &Entry)| matches!(entry.node, Node::Symlink(_)).then(|| path.clone());
    let links: Vec<TreePath> = tree.iter().filter_map(is_link).collect();
    for link in links {
        if let Some(entry) = tree.entry_mut(&link) {
            entry.meta.mode = 0o777;
        }
    }
    tree
}

fn digest(name: &str, file: &Arc<dyn ReadAt>) -> Result<Digest, Failure> {
    let whole = Slice::new(Arc::clone(file), 0, file.len());
    let hashed = whole.map(|whole| hash_to(&mut Stream::new(&whole), &mut io::sink()));
    match hashed.transpose() {
        Ok(Some((_, digest))) => Ok(digest),
        Ok(None) => Err(Failure::unavailable(name, "it was cut while it was read")),
        Err(error) => Err(Failure::unavailable(name, error)),
    }
}
