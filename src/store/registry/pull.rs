//! Pulling: from a registry into the local store.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use super::host::Place;
use super::patience::{Trouble, patiently};
use super::{Digest, Failure, Reference, Registry, digest_mismatch};
use crate::oci::{Descriptor, Document, Kind, Manifest, Platform, choose};
use crate::store::http::Pace;
use crate::store::layout::{BlobWriter, Writer};
use crate::store::progress::Progress;
use crate::store::several::several;

/// Which of an index's manifests are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// Every one, attestations included.
    All,
    /// The one for this platform.
    One(Platform),
}

impl Registry {
    /// Pulls an image and tags it; blobs that are in the store with the right bytes are not fetched again.
    ///
    /// # Errors
    /// As [`Registry::document`], and a refusal when anything that the image names has other bytes; then the tag is not set.
    pub fn pull(
        &self,
        reference: &Reference,
        platforms: &Platforms,
        writer: &Writer,
        progress: &dyn Progress,
    ) -> Result<Descriptor, Failure> {
        let subject = reference.to_string();
        let (root, bytes) = self.document(reference)?;
        writer.put_exactly(&root, &mut bytes.as_slice())?;
        let manifests = match Document::parse(&subject, &bytes, Some(&root.media_type))? {
            Document::Manifest(manifest) => vec![manifest],
            Document::Index(index) => {
                let chosen: Vec<&Descriptor> = match platforms {
                    Platforms::All => index.manifests().iter().collect(),
                    Platforms::One(platform) => vec![choose(&subject, &index, platform)?],
                };
                let manifests = chosen.into_iter().filter(|entry| entry.kind() == Some(Kind::Manifest));
                let manifests = manifests.map(|entry| self.manifest(reference, entry, writer));
                manifests.collect::<Result<_, _>>()?
            }
        };
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        let blobs = manifests
            .iter()
            .flat_map(|manifest| [manifest.config()].into_iter().chain(manifest.layers()));
        let blobs: Vec<&Descriptor> = blobs.filter(|blob| seen.insert(blob.digest)).collect();
        progress.expect(blobs.iter().map(|blob| blob.size).sum());
        self.blobs(reference, &blobs, writer, progress)?;
        writer.tag(reference, &root)?;
        Ok(root)
    }

    fn manifest(&self, reference: &Reference, entry: &Descriptor, writer: &Writer) -> Result<Manifest, Failure> {
        let name = format!("{}@{}", reference.repository(), entry.digest);
        let named = name.parse().map_err(|error| Failure::malformed(&name, error))?;
        let (found, bytes) = self.document(&named)?;
        if found.size != entry.size {
            return Err(digest_mismatch(
                &name,
                format!("{} bytes", entry.size),
                format!("{} bytes", found.size),
            ));
        }
        writer.put_exactly(&found, &mut bytes.as_slice())?;
        match Document::parse(&name, &bytes, Some(&entry.media_type))? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(digest_mismatch(&name, "a manifest", "an index")),
        }
    }

    /// Fetches blobs, several at once; each thread hashes what it fetches.
    fn blobs(
        &self,
        reference: &Reference,
        blobs: &[&Descriptor],
        writer: &Writer,
        progress: &dyn Progress,
    ) -> Result<(), Failure> {
        let place = self.place(reference.repository())?;
        let failed = AtomicBool::new(false);
        let one = |blob: &&Descriptor| {
            // What failed is told; the rest is not fetched then.
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if writer.layout().is_intact(blob) {
                progress.advance(blob.size);
                return Ok(());
            }
            let mut into = writer.start(blob)?;
            let fetched = self.runtime.block_on(fetch(&place, blob, &mut into, progress));
            fetched
                .and_then(|()| into.finish())
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))
        };
        several(blobs, one).into_iter().collect()
    }
}

/// Fetches what is missing of a blob, again and again where the connection breaks.
async fn fetch(
    place: &Place,
    blob: &Descriptor,
    into: &mut BlobWriter,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let subject = format!("{}, blob {}", place.repository, blob.digest);
    patiently(&subject, async || {
        let from = into.written();
        if from == blob.size {
            return Ok(());
        }
        let mut response = place.get(&format!("blobs/{}", blob.digest), from).await?;
        let mut skip = match begins_at(&response, blob, from) {
            Ok(start) => from - start,
            Err(found) => return Err(digest_mismatch(&subject, format!("{} bytes", blob.size), found).into()),
        };
        // Too slow a line is taken up again as a broken one is: it may be a better one.
        let mut pace = Pace::new();
        while let Some(chunk) = pace
            .chunk(&mut response)
            .await
            .map_err(|halt| Trouble::Passing(halt.to_string()))?
        {
            let old = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= old as u64;
            let fresh = chunk.get(old..).unwrap_or_default();
            if fresh.len() as u64 > into.missing() {
                return Err(digest_mismatch(&subject, format!("{} bytes", blob.size), "more").into());
            }
            let written = into.write_all(fresh);
            written.map_err(|error| Failure::unavailable(&subject, format!("cannot be written: {error}")))?;
            progress.advance(fresh.len() as u64);
        }
        match into.missing() {
            0 => Ok(()),
            missing => Err(Trouble::Passing(format!(
                "the connection broke off with {missing} bytes missing"
            ))),
        }
    })
    .await
}

/// Tells at which byte a response begins, or what size the registry says that the blob has when that is another one.
fn begins_at(response: &Response, blob: &Descriptor, from: u64) -> Result<u64, String> {
    let (start, total) = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = response
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|value| value.to_str().ok());
            let (start, total) = range.and_then(content_range).ok_or("a range that was not asked for")?;
            (start, total)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(format!("no more than {from} bytes")),
        // A registry that knows no ranges sends everything again.
        _ => (0, response.content_length()),
    };
    match total {
        Some(total) if total != blob.size => Err(format!("{total} bytes")),
        _ if start > from => Err(format!(
            "bytes from {start} on, where those from {from} on were asked for"
        )),
        _ => Ok(start),
    }
}

/// Reads `bytes START-END/TOTAL`; the total may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn reads_content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes", "bytes */10", "bytes 5-9", "items 5-9/10", "bytes x-9/10"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
