//! What a statement rests on: named documents, so that every check can be repeated offline.
//!
//! Uncompressed, the evidence is `imgkit evidence 1\n` and then, for each document in the order of its name: the name's
//! length (u32, little-endian), the name, the document's length (u64), the document. It is stored as one zstd frame;
//! the statement signs the digest of the stored bytes.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::limit;

const MAGIC: &[u8] = b"imgkit evidence 1\n";

/// Compression level: evidence is small, and what it saves is saved in every image.
const LEVEL: i32 = 19;

/// Level for estimates: what it makes is longer.
const ESTIMATE_LEVEL: i32 = 3;

/// Documents by name: `node.yml`, `oci/sha256:…`, `tree/sha256:…`, `trust/ROOT/FILE`, `file/sha256:…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    documents: BTreeMap<String, Vec<u8>>,
}

impl Evidence {
    /// Adds a document; the same name again must hold the same bytes, else the first one stays and `false` is returned.
    pub fn add(&mut self, name: impl Into<String>, document: Vec<u8>) -> bool {
        let document = &document;
        self.documents.entry(name.into()).or_insert_with(|| document.clone()) == document
    }

    /// Looks a document up.
    pub fn document(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(Vec::as_slice)
    }

    /// Iterates over all documents by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.documents
            .iter()
            .map(|(name, document)| (name.as_str(), document.as_slice()))
    }

    /// Writes the evidence as it is stored.
    ///
    /// # Errors
    /// [`EvidenceError`] when it is too large or cannot be compressed.
    pub fn encode(&self) -> Result<Vec<u8>, EvidenceError> {
        self.compress(LEVEL)
    }

    /// Says about how long the stored evidence will be, rather more than less, in a small part of the time that storing it takes.
    ///
    /// # Errors
    /// As [`Evidence::encode`].
    pub fn estimate(&self) -> Result<u64, EvidenceError> {
        Ok(self.compress(ESTIMATE_LEVEL)?.len() as u64)
    }

    fn compress(&self, level: i32) -> Result<Vec<u8>, EvidenceError> {
        let mut plain = MAGIC.to_vec();
        for (name, document) in &self.documents {
            let length = u32::try_from(name.len()).map_err(|_| EvidenceError("a name is too long"))?;
            plain.extend(length.to_le_bytes());
            plain.extend(name.as_bytes());
            plain.extend((document.len() as u64).to_le_bytes());
            plain.extend(document);
        }
        if plain.len() as u64 > limit::EVIDENCE_BYTES {
            return Err(EvidenceError("it is larger than 256 MiB"));
        }
        zstd::bulk::compress(&plain, level).map_err(|_| EvidenceError("it cannot be compressed"))
    }

    /// Reads stored evidence.
    ///
    /// # Errors
    /// [`EvidenceError`] when it is not in its form, or larger than the bound.
    pub fn decode(stored: &[u8]) -> Result<Self, EvidenceError> {
        let not_zstd = |_| EvidenceError("it is not one zstd frame");
        let mut plain = Vec::new();
        let mut reader = zstd::Decoder::with_buffer(stored).map_err(not_zstd)?.single_frame();
        let read = reader.by_ref().take(limit::EVIDENCE_BYTES + 1).read_to_end(&mut plain);
        read.map_err(not_zstd)?;
        if plain.len() as u64 > limit::EVIDENCE_BYTES {
            return Err(EvidenceError("it is larger than 256 MiB"));
        }
        if !reader.finish().is_empty() {
            return Err(EvidenceError("there are bytes after its zstd frame"));
        }
        let mut rest = plain.strip_prefix(MAGIC).ok_or(EvidenceError("it has no header"))?;
        let mut documents = BTreeMap::new();
        let mut last = String::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(take_array(&mut rest)?);
            let name = take(&mut rest, u64::from(length))?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| EvidenceError("a name is not UTF-8"))?;
            if name <= last {
                return Err(EvidenceError("its names are not in order"));
            }
            let length = u64::from_le_bytes(take_array(&mut rest)?);
            let document = take(&mut rest, length)?.to_vec();
            last.clone_from(&name);
            documents.insert(name, document);
        }
        Ok(Self { documents })
    }
}

/// Stored evidence that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal's evidence: {0}")]
pub struct EvidenceError(&'static str);

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], EvidenceError> {
    let short = EvidenceError("it is cut short");
    let length = usize::try_from(length).map_err(|_| short.clone())?;
    let (taken, tail) = rest.split_at_checked(length).ok_or(short)?;
    *rest = tail;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], EvidenceError> {
    let bytes = take(rest, N as u64)?;
    bytes.try_into().map_err(|_| EvidenceError("it is cut short"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Evidence {
        let mut evidence = Evidence::default();
        assert!(evidence.add("node.yml", b"kernel:\n".to_vec()));
        assert!(evidence.add("oci/a", Vec::new()));
        evidence
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(Evidence::decode(&sample().encode().unwrap()).unwrap(), sample());
        assert_eq!(
            Evidence::decode(&Evidence::default().encode().unwrap()).unwrap(),
            Evidence::default()
        );
    }

    #[test]
    fn one_name_holds_one_document() {
        let mut evidence = sample();
        assert!(evidence.add("oci/a", Vec::new()));
        assert!(!evidence.add("oci/a", b"other".to_vec()));
        assert_eq!(evidence, sample());
    }

    #[test]
    fn refuses_what_is_cut_or_lengthened() {
        let stored = sample().encode().unwrap();
        assert!(Evidence::decode(&stored[..stored.len() - 1]).is_err());
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        for more in [&[0][..], &skippable, &stored] {
            assert!(Evidence::decode(&[&stored, more].concat()).is_err());
        }
        assert!(Evidence::decode(b"").is_err());
        let plain = zstd::bulk::compress(b"imgkit evidence 1\n\xff\xff\xff\xff", 3).unwrap();
        assert!(Evidence::decode(&plain).is_err());
    }

    proptest! {
        #[test]
        fn errors_are_fine_panics_are_not(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let plain = [MAGIC, &tail].concat();
            let _ = Evidence::decode(&zstd::bulk::compress(&plain, 1).unwrap());
            let _ = Evidence::decode(&tail);
        }
    }
}
