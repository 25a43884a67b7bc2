//! `imgkit sigstore sign`: signs an image in a registry, in both of cosign's forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::signing::{Author, Identity, SigningOptions};
use super::verifier::{add_identity, identity_text};
use crate::attest::predicate::COSIGN_SIGN;
use crate::attest::{Statement, Subject};
use crate::cli::store::{StoreOptions, host_platform, registry};
use crate::cli::trust::{describe, resolver};
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::Signer;
use crate::oci::{Descriptor, Platform};
use crate::reference::{Reference, ReferenceError};
use crate::sigstore::attachment::{By, Content, Evidence, Wanted, judge};
use crate::sigstore::bundle::Bundle;
use crate::sigstore::envelope::Envelope;
use crate::sigstore::payload::{self, Payload};
use crate::sigstore::signature::fingerprint;
use crate::sigstore::{bundle, manifest, signature};
use crate::store::attached::{attached_for, attachments};
use crate::store::registry::{NewBundle, Registry};
use crate::store::sigstore_services::Unsigned;
use crate::time::Time;
use crate::tree::described::{self, PlatformTarget};

/// Signs an image.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The image in its registry: HOST/REPOSITORY:TAG or …@DIGEST
    image: Reference,
    /// What is written: the `.sig` tag, a bundle that refers to the image, or both [default: both; by an identity a bundle]
    #[arg(long, value_enum)]
    form: Option<Forms>,
    /// The name that the signature is for, an image's [default: as the image is named here; in a bundle by an identity none]
    #[arg(long, value_name = "NAME", value_parser = image_name)]
    identity: Option<String>,
    #[command(flatten)]
    trees: TreeOptions,
    #[command(flatten)]
    key: SigningOptions,
}

/// Takes the name of an image as it is written: without a tag it is for whatever tag.
fn image_name(text: &str) -> Result<String, ReferenceError> {
    text.parse::<Reference>().map(|_| text.to_owned())
}

/// The forms in which a signature or attestation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Forms {
    /// Both
    Both,
    /// A bundle that refers to the image, as cosign 3 reads it
    Bundle,
    /// A tag beside the image, as cosign 2 and skopeo read it
    Simple,
}

impl Forms {
    /// Tells whether a bundle is written.
    pub(super) fn bundle(self) -> bool {
        self != Self::Simple
    }

    /// Checks that a bundle alone is written, if anything is said: the form in which cosign puts signatures by identities since version 3.
    pub(super) fn check_bundle(form: Option<Self>) -> Result<(), Failure> {
        match form {
            None | Some(Self::Bundle) => Ok(()),
            Some(_) => Err(Failure::malformed(
                "--form",
                "what an identity signs is written as a bundle; leave it out, or name a key",
            )),
        }
    }

    /// Tells whether a tag beside the image is written.
    pub(super) fn tag(self) -> bool {
        self != Self::Bundle
    }
}

/// Whose trees are signed.
#[derive(Clone, Debug, Args)]
pub(super) struct TreeOptions {
    /// The platforms whose trees are signed [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Sign the digest alone: the image is not read, and cannot be proved on a finished disk
    #[arg(long, conflicts_with = "platform")]
    no_tree: bool,
    #[command(flatten)]
    store: StoreOptions,
}

impl TreeOptions {
    /// Tells whether platforms are named.
    fn is_asked_for(&self) -> bool {
        !self.platform.is_empty()
    }

    /// Reads the image and describes its trees; none where they are not signed.
    pub(super) fn describe(
        &self,
        context: &Context,
        image: &Reference,
        document: &Descriptor,
    ) -> Result<Vec<PlatformTarget>, Failure> {
        if self.no_tree {
            return Ok(Vec::new());
        }
        let platforms = match self.platform.is_empty() {
            true => vec![host_platform()],
            false => self.platform.clone(),
        };
        let pinned = image.pin(document.digest);
        let pinned = pinned.map_err(|named| crate::oci::digest_mismatch(&image.to_string(), named, document.digest))?;
        let described = describe(&resolver(context, &self.store)?, pinned.reference(), &platforms)?;
        Ok(described.platforms)
    }
}

impl Sign {
    pub(super) fn run(&self, context: &Context) -> Result<Report, Failure> {
        let signer = match self.key.author(context)? {
            Author::Key(signer) => signer,
            Author::Identity(identity) => {
                Forms::check_bundle(self.form)?;
                if self.trees.is_asked_for() {
                    let problem = "a bundle by an identity signs no trees; `attest --tree` does";
                    return Err(Failure::malformed("--platform", problem));
                }
                let signed = ByIdentity::new(context, &self.image, &identity)?;
                let statement = Statement::new(
                    Subject::of(self.identity.clone(), &signed.document.digest),
                    COSIGN_SIGN,
                    None,
                );
                return signed.put(&statement);
            }
        };
        let form = self.form.unwrap_or(Forms::Both);
        let registry = registry(context)?;
        let document = document(&registry, &self.image)?;
        let now = context.now()?;
        let target = Target {
            registry: &registry,
            image: &self.image,
            document: &document,
            signer: &*signer,
            now,
        };
        let there = target.signed_already(Wanted::Signature)?;
        let mut written = Vec::new();
        if form.tag() {
            let name = self.image.target_name();
            let name = self.identity.clone().or(name);
            let identity = name.unwrap_or_else(|| self.image.repository().to_string());
            let mut optional = payload::made_at(now);
            let trees = self.trees.describe(context, &self.image, &document)?;
            if !trees.is_empty() {
                optional.insert(described::MEMBER.to_owned(), described::to_value(&trees));
            }
            let payload = Payload::new(&identity, &document.digest, optional);
            let same = |evidence: &Evidence| match &evidence.content {
                Content::Payload(other) => other.says_the_same(&payload),
                Content::Statement(_) => false,
            };
            if !there.iter().any(same) {
                target.put_payload(&payload)?;
                written.push("simple");
            }
        }
        if form.bundle() {
            let statement = Statement::new(Subject::of(None, &document.digest), COSIGN_SIGN, None);
            if !there.iter().any(|evidence| evidence.statement() == Some(&statement)) {
                target.put_bundle(&statement)?;
                written.push("bundle");
            }
        }
        let key = fingerprint(signer.public());
        let what = match written.is_empty() {
            true => "signed already with".to_owned(),
            false => format!("signed ({}) with", written.join(" and ")),
        };
        let text = format!("{} {}\n  {what} {key}\n", self.image, document.digest);
        let json = json!({ "reference": self.image, "digest": document.digest, "key": key, "written": written });
        Ok(Report::new(text, json))
    }
}

/// Finds the document that is signed: a tag and a digest have to stand for the same, as the tag is signed too, or taken for signed.
pub(super) fn document(registry: &Registry, image: &Reference) -> Result<Descriptor, Failure> {
    let (document, _) = registry.document(image)?;
    registry.check_tag(image)?;
    Ok(document)
}

/// An image that an identity signs.
pub(super) struct ByIdentity<'a> {
    context: &'a Context,
    registry: Registry,
    image: &'a Reference,
    pub(super) document: Descriptor,
    identity: &'a Identity,
}

impl<'a> ByIdentity<'a> {
    /// Asks the registry for the image.
    pub(super) fn new(context: &'a Context, image: &'a Reference, identity: &'a Identity) -> Result<Self, Failure> {
        let registry = registry(context)?;
        let document = document(&registry, image)?;
        Ok(Self {
            context,
            registry,
            image,
            document,
            identity,
        })
    }

    /// Signs a statement about the image, and puts it as a bundle that refers to the image once it is verified.
    pub(super) fn put(&self, statement: &Statement) -> Result<Report, Failure> {
        let (image, digest) = (self.image, &self.document.digest);
        let what = Unsigned::Statement(statement, digest);
        let (bundle, evidence) = self.identity.sign(self.context, &image.to_string(), what)?;
        let bytes = bundle.encode();
        put_bundle(
            &self.registry,
            image,
            &self.document,
            statement,
            &bytes,
            self.context.now()?,
        )?;
        let trusted = self.identity.trusted();
        let text = format!(
            "{image} {digest}\n  signed (bundle)\n{}",
            identity_text(trusted, &evidence)
        );
        let mut json = json!({ "reference": image, "digest": digest, "written": ["bundle"] });
        add_identity(&mut json, trusted, &evidence);
        Ok(Report::new(text, json))
    }
}

/// Puts the bytes of a bundle around a statement beside an image, which it refers to.
fn put_bundle(
    registry: &Registry,
    image: &Reference,
    document: &Descriptor,
    statement: &Statement,
    bytes: &[u8],
    now: Time,
) -> Result<(), Failure> {
    let bundle = NewBundle {
        media_type: bundle::MEDIA_TYPE,
        bytes,
        predicate_type: statement.predicate_type(),
    };
    registry
        .attach_bundle(image.repository(), document, bundle, now)
        .map(drop)
}

/// An image that is signed, by whom and when.
pub(super) struct Target<'a> {
    pub(super) registry: &'a Registry,
    pub(super) image: &'a Reference,
    pub(super) document: &'a Descriptor,
    pub(super) signer: &'a dyn Signer,
    pub(super) now: Time,
}

impl Target<'_> {
    /// Finds what the same key signed of the image before.
    pub(super) fn signed_already(&self, wanted: Wanted<'_>) -> Result<Vec<Evidence>, Failure> {
        let repository = self.image.repository();
        let there = attached_for(self.registry, repository, &self.document.digest, wanted)?;
        let pieces = attachments(self.registry, repository, &there);
        let keys = [self.signer.public().clone()];
        Ok(judge(&pieces, &self.document.digest, By::Keys(&keys), wanted).good)
    }

    /// Signs a payload, and puts it under the `.sig` tag.
    fn put_payload(&self, payload: &Payload) -> Result<(), Failure> {
        let signed = signature::sign(self.signer, payload.bytes()).map_err(|error| self.cannot(&error))?;
        let signed = STANDARD.encode(signed);
        let layer = manifest::layer(payload::MEDIA_TYPE, payload.bytes(), &[(payload::SIGNATURE, &signed)]);
        let (repository, image) = (self.image.repository(), &self.document.digest);
        self.registry
            .attach_layer(repository, image, ".sig", &layer, payload.bytes())
    }

    /// Signs a statement, and puts it as a bundle that refers to the image.
    pub(super) fn put_bundle(&self, statement: &Statement) -> Result<(), Failure> {
        let signed = Bundle::sign_statement(statement, self.signer).map_err(|error| self.cannot(&error))?;
        let bytes = signed.encode();
        put_bundle(self.registry, self.image, self.document, statement, &bytes, self.now)
    }

    /// Signs a statement.
    pub(super) fn envelope(&self, statement: &Statement) -> Result<Envelope, Failure> {
        Envelope::sign(statement, self.signer).map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::unavailable(self.image, format!("it cannot be signed: {error}"))
    }
}
