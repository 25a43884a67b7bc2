//! `imgkit verify --vsa`: a verification summary for others to read, about the very bytes that were judged.
//!
//! - A disk is copied first, where nobody else can reach it: what is judged and what is hashed is the copy.
//! - What an image says of itself counts once it is found good. A refused image is named by the digests of its files alone: it may
//!   carry the seal, and with it the name and the content digest, of a good one.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::disk::{DiskArg, DiskFormat, Opened, guest};
use super::passphrase::PassphraseOptions;
use super::seal_key::SealKey;
use super::verify::Basis;
use super::{Context, Report};
use crate::attest::image::purl;
use crate::attest::vsa::{Attestation, LOCAL_VERIFIER, Summary, Verdict, policy_uri};
use crate::attest::{Subject, Uri};
use crate::digest::Digest;
use crate::disk::{ReadAt, Stream};
use crate::failure::Failure;
use crate::key::Signer;
use crate::seal::{Evidence, Sealed};
use crate::sigstore::envelope::{self, Envelope};
use crate::sigstore::signature::fingerprint;
use crate::store::file::{FileAt, NewFile, private_copy};
use crate::tree::contents::hash_to;
use crate::verify::disk::read_seal;
use crate::verify::image::attached;
use crate::verify::{Disk, DiskReport, Verified};

/// The summary that is written beside the answer.
#[derive(Clone, Debug, Args)]
pub(super) struct VsaOptions {
    /// Also write a SLSA verification summary (VSA) of the image to this file: PASSED, or FAILED where the image is refused; nothing
    /// where it could not be found out
    #[arg(long, value_name = "FILE")]
    vsa: Option<PathBuf>,
    /// Sign the summary, in a DSSE envelope, with this private key: FILE, pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(long, value_name = "KEY", requires = "vsa")]
    vsa_key: Option<SealKey>,
    /// Who the summary says has verified [default: urn:imgkit:verifier:local]
    #[arg(long, value_name = "URI", requires = "vsa")]
    vsa_verifier_id: Option<Uri>,
    /// What the summary says the image is: from where its users get it [default: a package URL of its name, epoch and architecture]
    #[arg(long, value_name = "URI", requires = "vsa")]
    vsa_resource: Option<Uri>,
    /// What the summary calls the policy, beside its digest [default: urn:imgkit:policy: and its file's name]
    #[arg(long, value_name = "URI", requires = "vsa")]
    vsa_policy: Option<Uri>,
    #[command(flatten)]
    passphrase: PassphraseOptions,
}

/// A summary that was written.
pub(super) struct Written {
    path: PathBuf,
    resource: String,
    /// The fingerprint of the key that signed it.
    key: Option<Digest>,
}

impl Written {
    /// Tells of the summary in a report.
    pub(super) fn add_to(&self, report: &mut Report) {
        let by = match &self.key {
            Some(key) => format!("signed with {key}"),
            None => "not signed".to_owned(),
        };
        report.text.push_str(&format!(
            "  summary of {} in {}, {by}\n",
            self.resource,
            self.path.display()
        ));
        if let Some(members) = report.json.as_object_mut() {
            let summary = json!({ "path": self.path, "resourceUri": self.resource, "key": self.key });
            members.insert("summary".to_owned(), summary);
        }
    }
}

impl VsaOptions {
    /// Judges an image with `judge`, and writes the summary of what came of it, if one is wanted.
    pub(super) fn judged(
        &self,
        context: &Context,
        disk: &DiskArg,
        basis: &Basis,
        judge: impl FnOnce(Opened) -> Result<Verified<Disk>, Failure>,
    ) -> Result<(Verified<Disk>, Option<Written>), Failure> {
        let Some(path) = &self.vsa else {
            return Ok((judge(disk.open()?)?, None));
        };
        let key = self.vsa_key.as_ref();
        let signer = key.map(|key| key.open(context, &self.passphrase)).transpose()?;
        let held = Held::of(disk, &context.scratch_dir())?;
        let about = held.about;
        let write = |verdict: Verdict, resource: String, subjects: Vec<Subject>| {
            let policy = self.vsa_policy.as_ref().map(Uri::to_string);
            let summary = Summary {
                verifier: self.vsa_verifier_id.as_ref().map_or(LOCAL_VERIFIER, Uri::as_str),
                version: env!("CARGO_PKG_VERSION"),
                time: basis.now,
                resource: self.vsa_resource.as_ref().map_or(&resource, Uri::as_str),
                policy: &policy.unwrap_or_else(|| policy_uri(&basis.policy_name, basis.policy.environment())),
                policy_digest: basis.policy.digest(),
                attestations: &about.attestations,
                verdict,
            };
            self.write(path, &summary, subjects, signer.as_deref())
        };
        match held.opened.and_then(judge) {
            Ok(verified) => {
                let (report, fresh) = (verified.report(), verified.report().times.todays_metadata_at.is_some());
                let verdict = Verdict::Passed {
                    proved: report.asserted == 0,
                    fresh,
                };
                let resource = purl::finished(&report.signed.name, report.signed.epoch, &report.signed.arch);
                let written = write(verdict, resource, subjects(report, about.disk))?;
                Ok((verified, Some(written)))
            }
            Err(Failure::Refused(refusals)) => {
                let resource = purl::file(&file_name(&disk.path));
                let failed = about.disk.into_iter().chain(about.files).collect();
                // The answer is no, whether or not it could be written down.
                match write(Verdict::Failed, resource, failed) {
                    Ok(written) => context.say(&format!("{}: the summary says FAILED", written.path.display())),
                    Err(failure) => context.warn(&format!("there is no summary: {failure}")),
                }
                Err(Failure::Refused(refusals))
            }
            Err(failure) => Err(failure),
        }
    }

    fn write(
        &self,
        path: &Path,
        summary: &Summary<'_>,
        subjects: Vec<Subject>,
        signer: Option<&dyn Signer>,
    ) -> Result<Written, Failure> {
        let statement = summary.about(subjects);
        let mut bytes = match signer {
            Some(signer) => {
                let signed = Envelope::sign(&statement, signer);
                let signed = signed.map_err(|error| Failure::unavailable(path.display(), error))?;
                signed.to_value().to_string().into_bytes()
            }
            None => statement.encode(),
        };
        bytes.push(b'\n');
        let mut file = NewFile::beside(path)?;
        let written = file.write_all(&bytes);
        written.map_err(|error| Failure::unavailable(path.display(), error))?;
        file.finish(path)?;
        Ok(Written {
            path: path.to_owned(),
            resource: summary.resource.to_owned(),
            key: signer.map(|signer| fingerprint(signer.public())),
        })
    }
}

/// An image that nobody else can change while it is judged, and what is known of it before.
struct Held {
    opened: Result<Opened, Failure>,
    about: About,
}

/// Which files an image is.
struct About {
    /// The file of a disk.
    disk: Option<Subject>,
    /// The files of a set, with the seal.
    files: Vec<Subject>,
    /// The seal, and what it keeps of others.
    attestations: Vec<Attestation>,
}

impl Held {
    fn of(disk: &DiskArg, scratch: &Path) -> Result<Self, Failure> {
        let subject = disk.subject();
        let format = disk.format()?;
        if format == DiskFormat::Seal {
            return Self::of_set(disk);
        }
        let cannot = |error: io::Error| Failure::unavailable(&subject, error);
        let copy = private_copy(&disk.path, scratch)?;
        let file = FileAt::of(copy.try_clone().map_err(cannot)?).map_err(cannot)?;
        let about = About {
            disk: Some(named(&file_name(&disk.path), &file)?),
            files: Vec::new(),
            attestations: Vec::new(),
        };
        let opened = guest(&subject, format, FileAt::of(copy).map_err(cannot)?);
        let seal = opened.as_ref().ok().map(|guest| read_seal(&subject, guest));
        let attestations = match seal {
            Some(Ok((_, sealed))) => attestations(&sealed),
            Some(Err(_)) | None => Vec::new(),
        };
        Ok(Self {
            opened: opened.map(Opened::Disk),
            about: About { attestations, ..about },
        })
    }

    fn of_set(disk: &DiskArg) -> Result<Self, Failure> {
        let seal = FileAt::open(&disk.path)?;
        let mut files = vec![named(&file_name(&disk.path), &seal)?];
        let opened = disk.open();
        let mut all = Vec::new();
        if let Ok(Opened::Files(sealed, members)) = &opened {
            all = attestations(sealed);
            for (name, file) in members {
                files.push(named(name, file)?);
            }
        }
        let about = About {
            disk: None,
            files,
            attestations: all,
        };
        Ok(Self { opened, about })
    }
}

/// Returns what a good image is: what its seal says, and the file of a disk, by which others know it.
fn subjects(report: &DiskReport, disk: Option<Subject>) -> Vec<Subject> {
    let sealed = report.signed.subject.iter().map(|subject| {
        let (algorithm, hex) = subject.digest.entry();
        Subject {
            name: Some(subject.name.clone()),
            digest: [(algorithm.to_owned(), hex.to_owned())].into(),
        }
    });
    sealed.chain(disk).collect()
}

/// Lists what a verdict rests on: the seal's envelope, and the signatures and attestations of components in its evidence.
fn attestations(sealed: &Sealed) -> Vec<Attestation> {
    let seal = Attestation {
        name: "seal",
        media_type: envelope::MEDIA_TYPE.to_owned(),
        digest: Digest::sha256(&sealed.envelope.encode()),
    };
    let evidence = Evidence::decode(&sealed.evidence);
    let kept = evidence.iter().flat_map(attached).map(|piece| Attestation {
        name: "component",
        media_type: piece.layer.descriptor.media_type,
        digest: piece.layer.descriptor.digest,
    });
    std::iter::once(seal).chain(kept).collect()
}

/// Hashes a file.
fn named(name: &str, file: &dyn ReadAt) -> Result<Subject, Failure> {
    let hashed = hash_to(&mut Stream::new(file), &mut io::sink());
    let (_, digest) = hashed.map_err(|error| Failure::unavailable(name, error))?;
    Ok(Subject::of(Some(name.to_owned()), &digest))
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}
