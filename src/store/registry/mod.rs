//! Registries (distribution-spec 1.1), behind a synchronous face: async stops here.
//!
//! - Every byte that arrives is counted and hashed before it counts, whatever the registry says of it in its headers.
//! - A cut connection is taken up where it broke off, within a bounded number of attempts.
//! - Plain HTTP is spoken to the loopback alone. A registry that does not answer is [`Failure::Unavailable`], never a verdict.

mod artifact;
mod attach;
mod beside;
mod credentials;
mod host;
mod link;
mod patience;
mod pull;
mod push;
mod referrers;
mod upload;

pub use attach::NewBundle;
pub use credentials::Credentials;
pub(super) use credentials::Login;
pub(super) use host::{USER_AGENT, excerpt, is_loopback, later};
pub(super) use patience::{Trouble, chain, patiently};
pub use pull::Platforms;
pub(super) use referrers::in_repository;
pub use referrers::{Change, tag_beside};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::runtime::Runtime;

use super::http::copy;
use super::source::compare_tag;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::limit;
use crate::oci::{Descriptor, Document, Kind, digest_mismatch, malformed};
use crate::reference::{Reference, Repository};
use host::Place;

/// Registries, and the credentials for them.
pub struct Registry {
    runtime: Runtime,
    credentials: Credentials,
    places: Mutex<BTreeMap<Repository, Arc<Place>>>,
}

impl Registry {
    /// Makes a client; nothing is contacted yet.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when threads cannot be started.
    pub fn new(credentials: Credentials) -> Result<Self, Failure> {
        // The process may have one already, which is as good: there is no other provider in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Failure::unavailable("the network", error))?;
        Ok(Self {
            runtime,
            credentials,
            places: Mutex::new(BTreeMap::new()),
        })
    }

    /// Fetches the document that a reference names: its descriptor, and its bytes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached, has no such document, wants credentials or answers with some
    /// page; a refusal when the bytes are not those of the reference's digest, not those that the registry's own header names, or in no document's form.
    pub fn document(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), Failure> {
        let absent = || Failure::unavailable(reference, "the registry says that it has no such thing");
        self.find_document(reference)?.ok_or_else(absent)
    }

    /// Refuses a reference whose tag stands for another document than its digest names (law of the gate 3); the registry is not
    /// asked where it does not name both.
    ///
    /// # Errors
    /// A refusal (DIGEST_MISMATCH), also as [`Registry::document`]: what a tag that is gone stood for is not known.
    pub fn check_tag(&self, reference: &Reference) -> Result<(), Failure> {
        let Some((tagged, digest)) = reference.both() else {
            return Ok(());
        };
        let gone = || {
            let problem = "the registry has no such tag, so it cannot be compared with the digest beside it; a digest needs no tag: \
                           write the digest alone";
            Failure::unavailable(reference, problem)
        };
        let (_, bytes) = self.find_document(&tagged)?.ok_or_else(gone)?;
        compare_tag(reference, digest, &bytes)
    }

    /// As [`Registry::document`]; nothing where the registry says that it has no such document.
    ///
    /// # Errors
    /// As [`Registry::document`].
    pub fn find_document(&self, reference: &Reference) -> Result<Option<(Descriptor, Vec<u8>)>, Failure> {
        let Some((declared, bytes)) = self.find_bytes(reference)? else {
            return Ok(None);
        };
        let digest = match reference.digest() {
            Some(Digest::Sha512(_)) => Digest::sha512(&bytes),
            _ => Digest::sha256(&bytes),
        };
        let document = Document::parse(&reference.to_string(), &bytes, declared.as_deref())?;
        let descriptor = Descriptor {
            media_type: document.media_type().to_owned(),
            digest,
            size: bytes.len() as u64,
            platform: None,
        };
        Ok(Some((descriptor, bytes)))
    }

    /// Fetches the bytes of a document, whatever its form, with the media type that the registry says it has, if it is one of an
    /// index or manifest; nothing where the registry says that it has no such document.
    ///
    /// # Errors
    /// As [`Registry::document`].
    pub(super) fn find_bytes(&self, reference: &Reference) -> Result<Option<Found>, Failure> {
        self.find_bytes_within(reference, limit::DOCUMENT_BYTES)
    }

    /// As [`Registry::find_bytes`]; of a document that is said to have `most` bytes no more are read.
    ///
    /// # Errors
    /// As [`Registry::document`], and a refusal (MALFORMED) when it has more.
    fn find_bytes_within(&self, reference: &Reference, most: usize) -> Result<Option<Found>, Failure> {
        let place = self.place(reference.repository())?;
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let subject = reference.to_string();
        let fetched = self
            .runtime
            .block_on(patiently(&subject, async || fetch_document(&place, &name, most).await))?;
        let Some((media_type, claimed, bytes)) = fetched else {
            return Ok(None);
        };
        for expected in [reference.digest(), claimed.as_ref()].into_iter().flatten() {
            let mut hasher = expected.hasher();
            hasher.update(&bytes);
            let found = hasher.finish();
            if *expected != found {
                return Err(digest_mismatch(&subject, expected, found));
            }
        }
        // Some registries serve documents as plain JSON; then the document's own words count.
        let declared = media_type.filter(|name| matches!(Kind::of(name), Some(Kind::Index | Kind::Manifest)));
        let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
        if reference.digest().is_none() && claimed.is_none() && declared.is_none() && !is_object {
            let problem =
                "the answer is no document of an image, but some page; is this a registry, or a proxy before one?";
            return Err(Failure::unavailable(subject, problem));
        }
        Ok(Some((declared, bytes)))
    }

    fn place(&self, repository: &Repository) -> Result<Arc<Place>, Failure> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(repository) {
            return Ok(Arc::clone(place));
        }
        let auth = self.credentials.find(repository)?;
        let place = Arc::new(Place::new(repository, auth, self.credentials.describe())?);
        places.insert(repository.clone(), Arc::clone(&place));
        Ok(place)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// A document's media type, if the registry says that it has one of a document, and its bytes, hashed.
type Found = (Option<String>, Vec<u8>);

/// What came of a request for a document: its content type, the digest that the registry claims, its bytes.
type Fetched = (Option<String>, Option<Digest>, Vec<u8>);

/// Fetches a document within bounds, if the registry has it.
async fn fetch_document(place: &Place, name: &str, most: usize) -> Result<Option<Fetched>, Trouble> {
    let Some(mut response) = place.find(&format!("manifests/{name}"), 0).await? else {
        return Ok(None);
    };
    let subject = format!("{}, {name}", place.repository);
    whole(&response).map_err(|problem| Failure::unavailable(&subject, problem))?;
    let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let media_type = header(CONTENT_TYPE.as_str()).and_then(|text| text.split(';').next().map(|t| t.trim().to_owned()));
    let claimed = header("docker-content-digest").and_then(|text| text.parse().ok());
    let bytes = read_body(&mut response, &subject, most).await?;
    let too_long = || malformed(&subject, format!("a document of at most {most} bytes"), "more");
    Ok(Some((media_type, claimed, bytes.ok_or_else(too_long)?)))
}

/// Says what is wrong with an answer that is a part of what was asked for, or nothing.
fn whole(response: &reqwest::Response) -> Result<(), String> {
    match response.status() {
        StatusCode::OK => Ok(()),
        other => Err(format!("the registry answers {other}; expected all of it, with 200 OK")),
    }
}

/// Reads an answer's body, no slower than the minimum rate; nothing where it is longer than `most`.
async fn read_body(response: &mut reqwest::Response, subject: &str, most: usize) -> Result<Option<Vec<u8>>, Trouble> {
    let mut bytes = Vec::new();
    copy(subject, response, most as u64 + 1, &mut bytes).await?;
    Ok((bytes.len() <= most).then_some(bytes))
}
