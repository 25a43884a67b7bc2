//! `imgkit verify` and `imgkit show`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use super::disk::{DiskArg, Opened};
use super::judge::{EnvironmentOption, TrustDirOption};
use super::report::Check;
use super::vsa::VsaOptions;
use super::{Context, Report};
use crate::attest::image::Document;
use crate::failure::Failure;
use crate::policy::Policy;
use crate::seal::{Evidence, Sealed, Statement};
use crate::store::file::write_named;
use crate::store::memory::Epochs;
use crate::time::Time;
use crate::tree::{Node, list};
use crate::trust::Lineage;
use crate::verify::disk::{disk, read_seal};
use crate::verify::files::files;
use crate::verify::image::tree_name;
use crate::verify::{Anchors, Disk, DiskReport, Memory, Pins, Question, Verified, attested_name};

/// Verifies a finished image, offline.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) disk: DiskArg,
    #[command(flatten)]
    pub(super) options: VerifyOptions,
    /// Unpack every segment, and prove every component against its own signer, even if the policy does not demand it
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    vsa: VsaOptions,
}

/// By what an image is verified.
#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    /// The policy
    #[arg(long, value_name = "FILE", env = "IMGKIT_POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Remember the highest epoch of each image here, by its name and its collection's root files, and refuse lower ones
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    today: Today,
}

/// The collections' metadata of today, and where they are.
#[derive(Debug, Args)]
struct TodayOptions {
    /// Judge seal, inputs and components at this moment as well, by the collections' metadata of today: refuses what was revoked
    /// or replaced since the image was built
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    trust: TrustDirOption,
}

/// [`TodayOptions`], of which the places are refused where --fresh does not ask for them. The environment's may stand: it is for
/// other commands as well, which is what clap's own `requires` does not know.
#[derive(Debug)]
struct Today(TodayOptions);

impl Today {
    /// Finds today's metadata, if they are asked for.
    fn anchors(&self, context: &Context, pins: &Pins) -> Result<Option<Anchors>, Failure> {
        self.0.fresh.then(|| self.0.trust.anchors(context, pins)).transpose()
    }
}

impl FromArgMatches for Today {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let options = TodayOptions::from_arg_matches(matches)?;
        let typed = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        match ["trust_dir", "collection", "notary", "ca_cert", "trust_state"]
            .iter()
            .find(typed)
        {
            Some(id) if !options.fresh => {
                let what = format!(
                    "--{} is for today's metadata, which --fresh asks for; an image is verified by what its seal holds\n",
                    id.replace('_', "-")
                );
                Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, what))
            }
            _ => Ok(Self(options)),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Today {
    fn augment_args(command: Command) -> Command {
        TodayOptions::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        TodayOptions::augment_args_for_update(command)
    }
}

impl Memory for Epochs {
    fn epoch(&self, collection: &Lineage, name: &str) -> Result<Option<u64>, Failure> {
        self.highest(collection, name)
    }
}

/// By what an image is judged, read once.
pub(super) struct Basis {
    pub(super) policy: Policy,
    /// The name of the policy's file.
    pub(super) policy_name: String,
    pins: Pins,
    pub(super) now: Time,
}

impl Verify {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let basis = self.options.basis(context)?;
        let subject = self.disk.subject();
        let judge = |opened| self.options.verify(context, &basis, &subject, opened, self.files);
        let (verified, summary) = self.vsa.judged(context, &self.disk, &basis, judge)?;
        let mut report = Self::report(&verified);
        if let Some(summary) = summary {
            summary.add_to(&mut report);
        }
        Ok(report)
    }

    fn report(verified: &Verified<Disk>) -> Report {
        let report = verified.report();
        let seal = Check::good(format!("{}: seal, name, age and bytes", report.signed.name), None);
        let inputs = report.inputs.iter();
        let inputs = inputs.map(|input| Check::good(&input.name, Some(input.place.clone())));
        let components = report.components.iter();
        let components = components.map(|component| Check::good(component.reference.to_string(), None));
        Report {
            checks: std::iter::once(seal).chain(inputs).chain(components).collect(),
            ..Report::new(report.text(), json!(report))
        }
    }
}

impl VerifyOptions {
    /// Reads the policy and the clock.
    pub(super) fn basis(&self, context: &Context) -> Result<Basis, Failure> {
        let (policy, pins) = self.environment.read(&self.policy)?;
        let name = self.policy.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Basis {
            policy,
            policy_name: name.unwrap_or_default(),
            pins,
            now: context.now()?,
        })
    }

    /// Verifies an opened image, and remembers its epoch where that is wanted.
    pub(super) fn verify(
        &self,
        context: &Context,
        basis: &Basis,
        subject: &str,
        opened: Opened,
        files_too: bool,
    ) -> Result<Verified<Disk>, Failure> {
        let Basis { policy, pins, now, .. } = basis;
        let epochs = self.state.as_ref().map(Epochs::at);
        let fresh = self.today.anchors(context, pins)?;
        let question = Question {
            subject,
            policy,
            pins,
            now: *now,
            files: files_too,
            fresh: fresh.as_ref(),
            memory: epochs.as_ref().map(|epochs| epochs as &dyn Memory),
        };
        let verified = match opened {
            Opened::Disk(guest) => disk(&question, guest)?,
            Opened::Files(sealed, members) => files(&question, &sealed, &members)?,
        };
        if let Some(anchors) = &fresh {
            self.today.0.trust.remember(context, anchors, *now)?;
        }
        if let Some(epochs) = &epochs {
            let DiskReport { seal, signed, .. } = verified.report();
            epochs.remember(&seal.collection, &signed.name, signed.epoch)?;
        }
        Ok(verified)
    }
}

/// Shows what an image says of itself, without judging.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    disk: DiskArg,
    /// Write the bytes that the seal's signatures are over (DSSE's PAE) and each signature to this directory, as seal.pae and
    /// KEYID.sig, and the seal's DSSE envelope with all of them, as seal.dsse.json
    #[arg(long, value_name = "DIR")]
    seal_to: Option<PathBuf>,
    /// Also list every file of every component, as the seal says it
    #[arg(long)]
    files: bool,
    /// Print a document of the seal instead: provenance (SLSA v1), spdx (SPDX 2.3) or cdx (CycloneDX 1.6); `verify` compares them with the image
    #[arg(long, value_name = "NAME")]
    document: Option<Document>,
}

impl Show {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let subject = self.disk.subject();
        let (place, sealed) = match self.disk.open()? {
            Opened::Disk(guest) => {
                let (place, sealed) = read_seal(&subject, &guest)?;
                (
                    json!({ "length": guest.len(), "seal": [place.offset, place.length] }),
                    sealed,
                )
            }
            Opened::Files(sealed, members) => (json!({ "members": members.keys().collect::<Vec<_>>() }), *sealed),
        };
        if let Some(dir) = &self.seal_to {
            write_seal(dir, &sealed)?;
        }
        let unjudged = |error: &dyn std::fmt::Display| Failure::malformed(&subject, error);
        let statement = Statement::decode(sealed.envelope.payload()).map_err(|error| unjudged(&error))?;
        let evidence = Evidence::decode(&sealed.evidence).map_err(|error| unjudged(&error))?;
        if let Some(document) = self.document {
            let name = attested_name(document);
            let bytes = evidence.document(&name);
            let bytes = bytes.ok_or_else(|| unjudged(&format!("it has no document {name}")))?;
            let value: Value = serde_json::from_slice(bytes).map_err(|error| unjudged(&error))?;
            return Ok(Report::new(format!("{value}\n"), value));
        }
        let about = &statement.predicate;
        // Writing to a String cannot fail.
        let mut text = format!(
            "{}  NOT JUDGED  {} epoch {}, evaluated {}\n",
            about.name, about.arch, about.epoch, about.evaluated_at
        );
        let _ = writeln!(text, "  place {place}");
        let _ = writeln!(text, "  command line: {}", about.cmdline);
        for subject in &statement.subject {
            let _ = writeln!(text, "  subject {} {}", subject.name, json!(subject.digest));
        }
        for signature in sealed.envelope.signatures() {
            let _ = writeln!(text, "  signature by {}", signature.keyid);
        }
        let mut trees = Vec::new();
        for component in &about.components {
            let name = tree_name(&component.tree);
            let list = evidence
                .document(&name)
                .ok_or_else(|| unjudged(&format!("it has no document {name}")))?;
            let tree = list::parse(list).map_err(|error| unjudged(&error))?;
            let files = tree
                .iter()
                .filter(|(_, entry)| matches!(entry.node, Node::File { .. }))
                .count();
            let bytes = tree.content_bytes();
            let _ = writeln!(
                text,
                "  component {} {} tree {}: {} entries, {files} files of {bytes} bytes",
                component.reference,
                component.document.short(),
                component.tree.short(),
                tree.len(),
            );
            trees.push(
                json!({ "reference": component.reference, "entries": tree.len(), "files": files, "bytes": bytes }),
            );
            if self.files {
                // A list is one line an entry, made to be read.
                let lines = String::from_utf8_lossy(list);
                lines.lines().skip(1).for_each(|line| {
                    let _ = writeln!(text, "    {line}");
                });
            }
        }
        for segment in &about.segments {
            let _ = writeln!(text, "  {:>12}  segment {}", segment.length, segment.owner);
        }
        for (name, document) in evidence.iter() {
            let _ = writeln!(text, "  {:>12}  evidence {name}", document.len());
        }
        let documents: Vec<_> = evidence
            .iter()
            .map(|(name, bytes)| json!({ "name": name, "size": bytes.len() }))
            .collect();
        let signatures: Vec<_> = sealed
            .envelope
            .signatures()
            .iter()
            .map(|signature| &signature.keyid)
            .collect();
        let json = json!({ "judged": false, "statement": statement, "signatures": signatures, "evidence": documents,
            "place": place, "trees": trees });
        Ok(Report::new(text, json))
    }
}

/// Writes what a signature is over, and the signatures, so that any tool can check them.
fn write_seal(dir: &std::path::Path, sealed: &Sealed) -> Result<(), Failure> {
    write_named(dir, "seal", "pae", &sealed.envelope.pae())?;
    write_named(dir, "seal", "dsse.json", &sealed.envelope.encode())?;
    let mut signatures = sealed.envelope.signatures().iter();
    signatures.try_for_each(|signature| write_named(dir, &signature.keyid, "sig", &signature.sig))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_todays_metadata_need_fresh() {
        let parse = |words: &[&str]| {
            let command = Today::augment_args(Command::new("verify"));
            let matches = command.try_get_matches_from(["verify"].iter().chain(words));
            matches.and_then(|matches| Today::from_arg_matches(&matches)).is_ok()
        };
        for option in ["--trust-dir", "--collection", "--trust-state"] {
            assert!(!parse(&[option, "x"]), "{option}");
            assert!(parse(&[option, "x", "--fresh"]), "{option}");
        }
        assert!(parse(&[]));
    }
}
