//! Small artifacts that are no images: blobs in memory, and documents under tags.

use std::time::Duration;

use super::host::{Place, Put};
use super::patience::{Trouble, chain, patiently};
use super::{Digest, Failure, Reference, Registry, digest_mismatch};
use crate::limit;
use crate::oci::Descriptor;
use crate::reference::Repository;

impl Registry {
    /// Reads a blob into memory; `blob` must be small enough for it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached, or does not have it; a refusal when its bytes are others.
    pub fn blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        let place = self.place(repository)?;
        let subject = format!("{repository}, blob {}", blob.digest);
        let time = limit::BLOB_TIME + Duration::from_secs(blob.size / limit::BLOB_RATE);
        let attempt = async || match tokio::time::timeout(time, read(&place, blob)).await {
            Ok(read) => read,
            Err(_) => {
                let problem = format!("the registry took more than {} seconds to send it", time.as_secs());
                Err(Failure::unavailable(&subject, problem).into())
            }
        };
        let bytes = self.runtime.block_on(patiently(&subject, attempt))?;
        let found = match blob.digest {
            Digest::Sha256(_) => Digest::sha256(&bytes),
            Digest::Sha512(_) => Digest::sha512(&bytes),
        };
        match found == blob.digest {
            true => Ok(bytes),
            false => Err(digest_mismatch(&subject, blob.digest, found)),
        }
    }

    /// Puts a blob.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry does not take it.
    pub fn put_blob(&self, repository: &Repository, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Failure> {
        let place = self.place(repository)?;
        let blob = Descriptor::of(media_type, bytes);
        let subject = format!("{repository}, blob {}", blob.digest);
        self.runtime.block_on(patiently(&subject, async || {
            place.put_blob(&blob.digest, blob.size, bytes.to_vec()).await
        }))?;
        Ok(blob)
    }

    /// Puts a document under its digest, or under a tag, whatever that named before.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry does not take it.
    pub fn put_document(
        &self,
        repository: &Repository,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Descriptor, Failure> {
        let place = self.place(repository)?;
        let document = Descriptor::of(media_type, bytes);
        let name = tag.map_or_else(|| document.digest.to_string(), str::to_owned);
        let subject = format!("{repository}, {name}");
        self.runtime.block_on(patiently(&subject, async || {
            place.put(&name, media_type, bytes).await.map(drop)
        }))?;
        Ok(document)
    }

    /// Puts a document under a tag that nothing has yet; tells whether the registry took it. One that knows no conditions
    /// takes it even where the tag is another document's by now: who must know reads it back.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the registry cannot be reached, or does not take it though the tag is free.
    pub fn put_new_document(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<bool, Failure> {
        let place = self.place(reference.repository())?;
        let subject = reference.to_string();
        let tag = reference.tag().unwrap_or("latest");
        let put = self.runtime.block_on(patiently(&subject, async || {
            place.put_new(tag, media_type, bytes).await
        }))?;
        match put {
            Put::Done => Ok(true),
            Put::Refused(why) => match self.find_document(reference)? {
                Some((there, _)) => Ok(there.digest == Digest::sha256(bytes)),
                None => Err(why),
            },
        }
    }
}

/// Reads a blob's bytes, as many as it is said to have.
async fn read(place: &Place, blob: &Descriptor) -> Result<Vec<u8>, Trouble> {
    let subject = format!("{}, blob {}", place.repository, blob.digest);
    let mut response = place.get(&format!("blobs/{}", blob.digest), 0).await?;
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| Trouble::Passing(chain(&error)))? else {
            break;
        };
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > blob.size {
            return Err(digest_mismatch(&subject, format!("{} bytes", blob.size), "more").into());
        }
    }
    match bytes.len() as u64 == blob.size {
        true => Ok(bytes),
        false => Err(digest_mismatch(
            &subject,
            format!("{} bytes", blob.size),
            format!("{} bytes", bytes.len()),
        )
        .into()),
    }
}
