//! Files made ready to be sent: headers and compressed forms are computed once, and sent many times.

use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;

use super::http_date;
use crate::digest::Digest;
use crate::limit;
use crate::time::Time;

/// A metadata file as it is sent.
#[derive(Debug)]
pub(super) struct Ready {
    body: Bytes,
    sha256: Digest,
    version: u64,
    at: Time,
    modified: HeaderValue,
    etag: HeaderValue,
    gzip: OnceLock<Option<(Bytes, HeaderValue)>>,
}

impl Ready {
    pub(super) fn new(body: Bytes, sha256: Digest, version: u64, at: Time) -> Self {
        Self {
            etag: header(&format!("\"{}\"", sha256.hex())),
            modified: header(&http_date::write(at)),
            gzip: OnceLock::new(),
            body,
            sha256,
            version,
            at,
        }
    }

    /// Makes it a file that is not kept: it is sent as it is, and holds `place` until that is done.
    pub(super) fn sent_once(self, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            body: Bytes::from_owner(Placed {
                bytes: self.body,
                _place: place,
            }),
            gzip: OnceLock::from(None),
            ..self
        }
    }

    /// Tells whether compressing it, which is still to be done, takes long.
    pub(super) fn is_slow_to_compress(&self) -> bool {
        self.body.len() >= limit::GZIP_APART_BYTES && self.gzip.get().is_none()
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn sha256(&self) -> Digest {
        self.sha256
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns when the file was published.
    pub(super) fn at(&self) -> Time {
        self.at
    }

    pub(super) fn modified(&self) -> &HeaderValue {
        &self.modified
    }

    pub(super) fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Returns the compressed form and its own entity tag, where it is worth it.
    pub(super) fn gzip(&self) -> Option<&(Bytes, HeaderValue)> {
        if self.body.len() < limit::GZIP_FROM_BYTES {
            return None;
        }
        let made = self.gzip.get_or_init(|| {
            let compressed = compress(&self.body)?;
            let etag = header(&format!("\"{}-gzip\"", self.sha256.hex()));
            (compressed.len() < self.body.len()).then(|| (Bytes::from(compressed), etag))
        });
        made.as_ref()
    }

    /// Returns about how much memory it takes.
    pub(super) fn cost(&self) -> usize {
        // The compressed form is at most as long again.
        2 * self.body.len() + 512
    }
}

/// Bytes, and the place that they take among others.
struct Placed {
    bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// Makes a header's value of text that is known to be one.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read as _;

    fn ready(body: Vec<u8>) -> Ready {
        let sha256 = Digest::sha256(&body);
        Ready::new(Bytes::from(body), sha256, 1, Time::EPOCH)
    }

    #[test]
    fn compressed_is_the_same_file_under_another_tag() {
        let file = ready(b"{\"signed\":{}}".repeat(1000));
        let (gzip, etag) = file.gzip().unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(gzip.as_ref())
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back.as_slice(), file.body().as_ref());
        assert_ne!(etag, file.etag());
    }

    #[test]
    fn small_files_are_sent_as_they_are() {
        assert!(ready(vec![b' '; limit::GZIP_FROM_BYTES - 1]).gzip().is_none());
    }
}
