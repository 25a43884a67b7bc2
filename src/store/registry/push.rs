//! Pushing: from the local store to a registry, what is named before what names it.

use std::io::Read;

use bytes::Bytes;
use reqwest::Body;

use super::host::{Action, Place};
use super::patience::{Trouble, patiently};
use super::{Failure, Reference, Registry, digest_mismatch};
use crate::limit;
use crate::oci::{Descriptor, Document};
use crate::store::layout::{BlobReader, Layout};
use crate::store::progress::Progress;
use crate::store::source::{Source as _, check_new_name};

/// How many bytes are read from a blob at a time.
const CHUNK: usize = 1 << 16;

impl Registry {
    /// Pushes what `local` names in the store, under the name `remote`, and asks the registry what it has there afterwards.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the store lacks something (an index is pushed with every manifest that it lists) or the
    /// registry does not take it; a refusal when the store's bytes are not those that are named, or the registry's afterwards, or a tag
    /// stands for another document than the digest beside it.
    pub fn push(
        &self,
        layout: &Layout,
        local: &Reference,
        remote: &Reference,
        progress: &dyn Progress,
    ) -> Result<Descriptor, Failure> {
        let subject = local.to_string();
        let Some((root, bytes)) = layout.document(local)? else {
            let problem = format!(
                "it is not in the store {}; pull or build it first",
                layout.dir().display()
            );
            return Err(Failure::unavailable(local, problem));
        };
        layout.check_tag(local)?;
        check_new_name(remote, &bytes)?;
        let place = self.place(remote.repository())?;
        // Who may not push is told so before anything is read.
        self.runtime
            .block_on(patiently(&subject, async || place.log_in(Action::Push).await.map(drop)))?;
        if let Document::Index(index) = Document::parse(&subject, &bytes, Some(&root.media_type))? {
            for manifest in index.manifests() {
                let bytes = layout
                    .blob_bytes(manifest, limit::DOCUMENT_BYTES)
                    .map_err(of_other_platform)?;
                self.push_manifest(
                    &place,
                    layout,
                    &manifest.digest.to_string(),
                    (manifest, bytes),
                    progress,
                )?;
            }
        }
        let name = match (remote.tag(), remote.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, _) => root.digest.to_string(),
        };
        self.push_manifest(&place, layout, &name, (&root, bytes), progress)?;
        let (found, _) = self.document(remote)?;
        if found.digest != root.digest {
            return Err(digest_mismatch(&remote.to_string(), root.digest, found.digest));
        }
        Ok(root)
    }

    /// Pushes a document after the blobs that it names; of an index these were pushed before.
    fn push_manifest(
        &self,
        place: &Place,
        layout: &Layout,
        name: &str,
        (descriptor, bytes): (&Descriptor, Vec<u8>),
        progress: &dyn Progress,
    ) -> Result<(), Failure> {
        let subject = format!("{}, {name}", place.repository);
        if let Document::Manifest(manifest) = Document::parse(&subject, &bytes, Some(&descriptor.media_type))? {
            let blobs = || [manifest.config()].into_iter().chain(manifest.layers());
            progress.expect(blobs().map(|blob| blob.size).sum());
            for blob in blobs() {
                self.push_blob(place, layout, blob)?;
                progress.advance(blob.size);
            }
        }
        self.runtime.block_on(patiently(&subject, async || {
            place.put(name, &descriptor.media_type, &bytes).await.map(drop)
        }))
    }

    fn push_blob(&self, place: &Place, layout: &Layout, blob: &Descriptor) -> Result<(), Failure> {
        let subject = format!("{}, blob {}", place.repository, blob.digest);
        self.runtime.block_on(patiently(&subject, async || {
            if place.has_blob(&blob.digest).await? {
                return Ok(());
            }
            let content = Body::wrap_stream(stream(layout.blob_reader(blob)?));
            match place.put_blob(&blob.digest, blob.size, content).await {
                // What the sender found wrong with its own bytes arrives here as a broken connection.
                Err(_) if !layout.is_intact(blob) => Err(wrong(layout, blob)),
                put => put,
            }
        }))
    }
}

/// Finds the reason why a blob of the store is not intact.
fn wrong(layout: &Layout, blob: &Descriptor) -> Trouble {
    let max = usize::try_from(blob.size).unwrap_or(usize::MAX);
    match layout.blob_bytes(blob, max) {
        Ok(_) => Trouble::Passing(format!("blob {} changed while it was pushed", blob.digest)),
        Err(failure) => failure.into(),
    }
}

fn of_other_platform(failure: Failure) -> Failure {
    match failure {
        Failure::Unavailable { subject, problem } => Failure::Unavailable {
            subject,
            problem: format!("{problem}; an index is pushed with every platform that it lists: pull all of them"),
        },
        other => other,
    }
}

/// Streams a blob; it ends in an error when the bytes are not those that were named.
fn stream(reader: BlobReader) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(reader, |mut reader| {
        let mut chunk = vec![0; CHUNK];
        let read = reader.read(&mut chunk);
        std::future::ready(match read {
            Ok(0) => None,
            Ok(n) => {
                chunk.truncate(n);
                Some((Ok(Bytes::from(chunk)), reader))
            }
            Err(error) => Some((Err(error), reader)),
        })
    })
}
