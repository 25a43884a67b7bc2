//! `imgkit sigstore attest`: signs what somebody states of an image.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::sign::{ByIdentity, Forms, Target, TreeOptions, document};
use super::signing::{Author, SigningOptions};
use crate::attest::predicate::TREE;
use crate::attest::{PredicateType, Statement, Subject};
use crate::cli::store::registry;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;
use crate::oci::Descriptor;
use crate::reference::Reference;
use crate::sigstore::attachment::{Form, Wanted};
use crate::sigstore::signature::fingerprint;
use crate::sigstore::{envelope, manifest, payload};
use crate::store::file::read_limited;
use crate::tree::described;

/// Signs a statement about an image.
#[derive(Debug, Args)]
pub(super) struct Attest {
    /// The image in its registry: HOST/REPOSITORY:TAG or …@DIGEST
    image: Reference,
    /// A JSON file with what is stated: the predicate
    #[arg(
        long,
        value_name = "FILE",
        requires = "kind",
        required_unless_present = "tree",
        conflicts_with = "tree"
    )]
    predicate: Option<PathBuf>,
    /// The predicate's type: slsaprovenance1, spdxjson, cyclonedx, vsa or another short name of cosign's, or a URI
    #[arg(long = "type", value_name = "TYPE", id = "kind", conflicts_with = "tree")]
    kind: Option<PredicateType>,
    /// State the digests of the image's trees, so that it can be proved on a finished disk
    #[arg(long, conflicts_with = "no_tree")]
    tree: bool,
    /// What is written: the `.att` tag, a bundle that refers to the image, or both [default: both; by an identity a bundle]
    #[arg(long, value_enum)]
    form: Option<Forms>,
    #[command(flatten)]
    trees: TreeOptions,
    #[command(flatten)]
    key: SigningOptions,
}

impl Attest {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let read = match (&self.predicate, &self.kind) {
            (Some(path), Some(kind)) => Some((kind.uri().to_owned(), read_predicate(path, kind)?)),
            _ => None,
        };
        let author = self.key.author(context)?;
        let signer = match author {
            Author::Key(signer) => signer,
            Author::Identity(identity) => {
                Forms::check_bundle(self.form)?;
                let signed = ByIdentity::new(context, &self.image, &identity)?;
                let statement = self.statement(context, read, &signed.document)?;
                return signed.put(&statement);
            }
        };
        let form = self.form.unwrap_or(Forms::Both);
        let registry = registry(context)?;
        let document = document(&registry, &self.image)?;
        let statement = self.statement(context, read, &document)?;
        let target = Target {
            registry: &registry,
            image: &self.image,
            document: &document,
            signer: &*signer,
            now: context.now()?,
        };
        let there = target.signed_already(Wanted::Attestation(statement.predicate_type()))?;
        let is_there = |form: Form| {
            let mut same = there.iter().filter(|evidence| evidence.form == form);
            same.any(|evidence| evidence.statement() == Some(&statement))
        };
        let mut written = Vec::new();
        if form.tag() && !is_there(Form::Envelope) {
            put_envelope(&target, &statement)?;
            written.push("envelope");
        }
        if form.bundle() && !is_there(Form::Bundle) {
            target.put_bundle(&statement)?;
            written.push("bundle");
        }
        let key = fingerprint(signer.public());
        let what = match written.is_empty() {
            true => "attested already with".to_owned(),
            false => format!("attested ({}) with", written.join(" and ")),
        };
        let kind = statement.predicate_type();
        let text = format!("{} {}\n  {kind}\n  {what} {key}\n", self.image, document.digest);
        let json = json!({
            "reference": self.image, "digest": document.digest, "key": key, "predicateType": kind, "written": written,
        });
        Ok(Report::new(text, json))
    }

    /// States the predicate of the image, or without one its tree digests.
    fn statement(
        &self,
        context: &Context,
        read: Option<(String, Value)>,
        document: &Descriptor,
    ) -> Result<Statement, Failure> {
        let (kind, predicate) = match read {
            Some(read) => read,
            None => {
                let trees = self.trees.describe(context, &self.image, document)?;
                (TREE.to_owned(), described::to_value(&trees))
            }
        };
        let name = self.image.repository().to_string();
        let subject = Subject::of(Some(name), &document.digest);
        Ok(Statement::new(subject, kind, Some(predicate)))
    }
}

/// Puts a statement under the `.att` tag.
fn put_envelope(target: &Target<'_>, statement: &Statement) -> Result<(), Failure> {
    let bytes = target.envelope(statement)?.to_value().to_string().into_bytes();
    let annotations = [
        (payload::SIGNATURE, ""),
        (manifest::PREDICATE_TYPE, statement.predicate_type()),
    ];
    let layer = manifest::layer(envelope::MEDIA_TYPE, &bytes, &annotations);
    let (repository, image) = (target.image.repository(), &target.document.digest);
    target.registry.attach_layer(repository, image, ".att", &layer, &bytes)
}

fn read_predicate(path: &Path, kind: &PredicateType) -> Result<Value, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::malformed(path.display(), error);
    // In base64, twice, and with a signature, it still has to be an attestation of legal size.
    let most = limit::ATTACHED_BYTES / 2;
    let bytes = read_limited(path, most)?;
    let predicate = json::parse(&bytes, Limits::any_number(most)).map_err(|error| bad(&error))?;
    kind.check(&predicate).map_err(|error| bad(&error))?;
    Ok(predicate)
}
