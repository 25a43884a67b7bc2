//! Made-up signatures and attestations beside made-up images: throw-away keys stand in for the policy's keys and identities.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::image::MadeUp;
use super::{Fault, Given, Trial, target_name};
use crate::attest::{Statement, Subject};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::{KeyError, SigningKey};
use crate::oci::{Annotated, Annotations, Descriptor, Image, Platform};
use crate::reference::Reference;
use crate::sigstore::attachment::{Attachment, Form};
use crate::sigstore::envelope::{self, Envelope};
use crate::sigstore::payload::{self, Payload};
use crate::sigstore::signature;
use crate::store::Source;
use crate::store::attached::Ask;
use crate::store::layout::Layout;
use crate::tree::described;

impl Trial<'_> {
    /// Signs and attests an image as it is given.
    pub(super) fn attached(
        &self,
        reference: &Reference,
        made: &MadeUp,
        given: &Given,
    ) -> Result<Vec<Attachment>, Failure> {
        let name = target_name(reference, made);
        let document = made.signed_digest(given.fault);
        let mut all = Vec::new();
        for by in &given.attached {
            all.extend(self.key_of(by, given).map(|key| signed(&name, made, &document, key)));
        }
        for (by, kind, predicate) in &given.attested {
            let statement = Statement::new(
                Subject::of(Some(name.clone()), &document),
                kind.uri(),
                Some(predicate.clone()),
            );
            all.extend(self.key_of(by, given).map(|key| attested(&statement, key)));
        }
        let all = all.into_iter().collect::<Result<_, KeyError>>();
        all.map_err(|error| Failure::unavailable("a throw-away key", error))
    }

    /// Returns the key that stands in for a signer.
    fn key_of(&self, by: &crate::policy::SigstoreSigner, given: &Given) -> Option<&SigningKey> {
        match given.fault {
            Some(Fault::WrongKey) => Some(self.keys.stranger()),
            _ => self.keys.of_sigstore(by),
        }
    }
}

fn signed(name: &str, made: &MadeUp, document: &Digest, key: &SigningKey) -> Result<Attachment, KeyError> {
    let trees = described::to_value(&[made.platform_target(document)]);
    let optional = Map::from_iter([(described::MEMBER.to_owned(), trees)]);
    let payload = Payload::new(name, document, optional);
    let signature = signature::sign(key, payload.bytes())?;
    let annotation = (payload::SIGNATURE.to_owned(), STANDARD.encode(signature));
    Ok(attachment(
        payload::MEDIA_TYPE,
        payload.bytes().to_vec(),
        Annotations::from_iter([annotation]),
    ))
}

fn attested(statement: &Statement, key: &SigningKey) -> Result<Attachment, KeyError> {
    let envelope = Envelope::sign(statement, key)?;
    let bytes = envelope.to_value().to_string().into_bytes();
    Ok(attachment(envelope::MEDIA_TYPE, bytes, Annotations::new()))
}

fn attachment(media_type: &str, bytes: Vec<u8>, annotations: Annotations) -> Attachment {
    Attachment {
        form: Form::of(media_type),
        manifest: Digest::sha256(&bytes),
        layer: Annotated {
            descriptor: Descriptor::of(media_type, &bytes),
            artifact_type: None,
            annotations,
        },
        bytes: Ok(bytes),
    }
}

/// A store, with what lies beside its one image.
pub(super) struct WithAttached<'a> {
    pub(super) store: &'a Layout,
    pub(super) attached: Vec<Attachment>,
}

impl Source for WithAttached<'_> {
    fn digest(&self, reference: &Reference) -> Result<Digest, Failure> {
        self.store.digest(reference)
    }

    fn check_tag(&self, reference: &Reference) -> Result<(), Failure> {
        self.store.check_tag(reference)
    }

    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, Failure> {
        self.store.image(reference, platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Failure> {
        Source::blob(self.store, descriptor)
    }

    fn attached(&self, _: &Ask<'_>) -> Result<Vec<Attachment>, Failure> {
        Ok(self.attached.clone())
    }
}

/// A predicate that says nothing.
pub(super) fn nothing() -> Value {
    Value::Object(Map::new())
}
