//! What a name is signed for: an image's document, a file's content, or a digest that the user gives.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::session::Session;
use crate::cli::store::{StoreOptions, registry};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::json::{self, Limits};
use crate::limit;
use crate::reference::Reference;
use crate::store::file::read_limited;
use crate::trust::notary::edit::check_custom;
use crate::trust::notary::{FileMeta, NotaryHashes};

/// What is signed.
#[derive(Clone, Debug, Args)]
pub(super) struct Content {
    /// A file whose content is signed
    #[arg(long, value_name = "PATH", group = "content")]
    file: Option<PathBuf>,
    /// A digest of what is signed, sha256:HEX; sha512:HEX beside it
    #[arg(long, value_name = "DIGEST", group = "content", requires = "length")]
    digest: Vec<Digest>,
    /// The length of what has the digest, in bytes
    #[arg(long, value_name = "BYTES", requires = "digest")]
    length: Option<u64>,
    /// An image, from the local store, else its registry [default: GUN:NAME, as docker has it]
    #[arg(long, value_name = "REF", group = "content")]
    image: Option<Reference>,
    /// What the signer says of it beyond that, a JSON value
    #[arg(long, value_name = "JSON")]
    custom: Option<String>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Content {
    /// Describes what `name` of the collection `gun` stands for.
    pub(super) fn describe(&self, session: &Session<'_>, gun: &str, name: &str) -> Result<FileMeta, Failure> {
        let mut file = match (&self.file, self.length, &self.image) {
            (Some(path), ..) => {
                let bytes = read_limited(path, limit::SIGNED_FILE_BYTES)?;
                FileMeta::describe(&bytes)
            }
            (None, Some(length), _) => {
                if !self.digest.iter().any(|digest| matches!(digest, Digest::Sha256(_))) {
                    return Err(Failure::malformed(
                        "--digest",
                        "Notary needs a sha256 digest; give sha256:HEX",
                    ));
                }
                FileMeta::of(NotaryHashes::of(self.digest.iter().copied()), length)
            }
            (None, None, Some(image)) => self.image(session, image)?,
            (None, None, None) => {
                let image = format!("{gun}:{name}");
                let image: Reference = image.parse().map_err(|error| {
                    let problem =
                        format!("{error}; name what is signed with --image, --file, or --digest and --length");
                    Failure::malformed(&image, problem)
                })?;
                self.image(session, &image)?
            }
        };
        file.custom = self.custom()?;
        Ok(file)
    }

    fn custom(&self) -> Result<Option<Value>, Failure> {
        let Some(text) = &self.custom else { return Ok(None) };
        let value = json::parse(text.as_bytes(), Limits::integers(limit::TARGETS_BYTES));
        let value = value.map_err(|error| Failure::malformed("--custom", error))?;
        check_custom("--custom", &value).map_err(|error| Failure::malformed("--custom", error))?;
        Ok(Some(value))
    }

    /// Describes an image as docker does: its document's SHA-256 and length.
    fn image(&self, session: &Session<'_>, image: &Reference) -> Result<FileMeta, Failure> {
        let store = self.store.open(session.context)?;
        let (descriptor, bytes) = match store.document(image)? {
            Some(found) => found,
            None => registry(session.context)?.document(image)?,
        };
        let digest = match descriptor.digest {
            Digest::Sha256(_) => descriptor.digest,
            Digest::Sha512(_) => Digest::sha256(&bytes),
        };
        Ok(FileMeta::of(NotaryHashes::of([digest]), bytes.len() as u64))
    }
}
