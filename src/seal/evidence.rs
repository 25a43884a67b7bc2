//! What a statement rests on: named documents, so that every check can be repeated offline.
//!
//! Uncompressed, the evidence is `imgkit evidence 1\n` and then, for each document in the order of its name: the name's
//! length (u32, little-endian), the name, the document's length (u64), the document. It is stored as one zstd frame;
//! the statement signs the digest of the stored bytes.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Take, Write};

use crate::limit;

const MAGIC: &[u8] = b"imgkit evidence 1\n";

/// The prefix of the names of trust metadata: `trust/ROOT/FILE`.
pub const TRUST: &str = "trust/";

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
    /// [`EvidenceError`] when it is too large, has too many documents, or cannot be compressed.
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
        // Nobody could open what is over one of the bounds.
        let mut budget = Budget::default();
        let mut plain = MAGIC.to_vec();
        for (name, document) in &self.documents {
            let length = u32::try_from(name.len()).map_err(|_| LONG_NAME)?;
            budget.document(name, document.len() as u64)?;
            plain.extend(length.to_le_bytes());
            plain.extend(name.as_bytes());
            plain.extend((document.len() as u64).to_le_bytes());
            plain.extend(document);
        }
        if plain.len() as u64 > limit::EVIDENCE_BYTES {
            return Err(LARGE);
        }
        zstd::bulk::compress(&plain, level).map_err(|_| EvidenceError("it cannot be compressed"))
    }

    /// Reads stored evidence.
    ///
    /// # Errors
    /// [`EvidenceError`] when it is not in its form, or over a bound.
    pub fn decode(stored: &[u8]) -> Result<Self, EvidenceError> {
        Self::read(stored, |_| true)
    }

    /// Reads the trust metadata alone, which say whose signature counts: what else there is is passed over, and takes no memory.
    ///
    /// # Errors
    /// As [`Evidence::decode`].
    pub fn decode_trust(stored: &[u8]) -> Result<Self, EvidenceError> {
        Self::read(stored, |name| name.starts_with(TRUST))
    }

    /// Reads the documents whose names are wanted; the others only have to be in their form.
    fn read(stored: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Self, EvidenceError> {
        let mut frame = zstd::Decoder::with_buffer(stored).map_err(|_| NOT_ZSTD)?.single_frame();
        let mut plain = Plain(BufReader::new(frame.by_ref().take(limit::EVIDENCE_BYTES + 1)));
        let mut magic = Vec::new();
        if plain.copy(MAGIC.len() as u64, &mut magic)? != MAGIC.len() as u64 || magic != MAGIC {
            return Err(EvidenceError("it has no header"));
        }
        let mut budget = Budget::default();
        let mut documents = BTreeMap::new();
        let mut last = String::new();
        while let Some(length) = plain.name_length()? {
            let mut name = Vec::new();
            plain.exactly(u64::from(length), &mut name)?;
            let name = String::from_utf8(name).map_err(|_| EvidenceError("a name is not UTF-8"))?;
            if name <= last {
                return Err(EvidenceError("its names are not in order"));
            }
            let length = plain.number()?;
            budget.document(&name, length)?;
            match wanted(&name) {
                true => {
                    let mut document = Vec::new();
                    plain.exactly(length, &mut document)?;
                    documents.insert(name.clone(), document);
                }
                false => plain.exactly(length, &mut io::sink())?,
            }
            last = name;
        }
        drop(plain);
        match frame.finish().is_empty() {
            true => Ok(Self { documents }),
            false => Err(EvidenceError("there are bytes after its zstd frame")),
        }
    }
}

/// How many documents there are, and how much of the trust metadata.
#[derive(Debug, Default)]
struct Budget {
    documents: usize,
    trust: u64,
}

impl Budget {
    fn document(&mut self, name: &str, length: u64) -> Result<(), EvidenceError> {
        if name.len() > limit::EVIDENCE_NAME_BYTES {
            return Err(LONG_NAME);
        }
        self.documents += 1;
        if self.documents > limit::EVIDENCE_DOCUMENTS {
            return Err(EvidenceError("it has more than 65,536 documents"));
        }
        if name.starts_with(TRUST) {
            self.trust = self.trust.saturating_add(length);
        }
        match self.trust > limit::EVIDENCE_TRUST_BYTES {
            true => Err(EvidenceError("its trust metadata are larger than 96 MiB")),
            false => Ok(()),
        }
    }
}

/// Evidence on its way out of its frame.
struct Plain<R>(BufReader<Take<R>>);

impl<R: Read> Plain<R> {
    /// Copies at most so many bytes, and says how many there were.
    fn copy(&mut self, length: u64, to: &mut dyn Write) -> Result<u64, EvidenceError> {
        let copied = io::copy(&mut self.0.by_ref().take(length), to).map_err(|_| NOT_ZSTD)?;
        match copied < length && self.0.get_ref().limit() == 0 {
            true => Err(LARGE),
            false => Ok(copied),
        }
    }

    /// Copies exactly so many bytes.
    fn exactly(&mut self, length: u64, to: &mut dyn Write) -> Result<(), EvidenceError> {
        match self.copy(length, to)? == length {
            true => Ok(()),
            false => Err(SHORT),
        }
    }

    /// Reads the length of the next name; nothing at the end.
    fn name_length(&mut self) -> Result<Option<u32>, EvidenceError> {
        let mut bytes = Vec::new();
        let copied = self.copy(size_of::<u32>() as u64, &mut bytes)?;
        let length = bytes.try_into().map(u32::from_le_bytes);
        match (copied, length) {
            (0, _) => Ok(None),
            // A name that may not be is not read.
            (_, Ok(length)) if length as usize > limit::EVIDENCE_NAME_BYTES => Err(LONG_NAME),
            (_, length) => length.map(Some).map_err(|_| SHORT),
        }
    }

    fn number(&mut self) -> Result<u64, EvidenceError> {
        let mut bytes = Vec::new();
        self.exactly(size_of::<u64>() as u64, &mut bytes)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| SHORT)
    }
}

const LARGE: EvidenceError = EvidenceError("it is larger than 256 MiB");
const LONG_NAME: EvidenceError = EvidenceError("a name is longer than 4,096 bytes");
const NOT_ZSTD: EvidenceError = EvidenceError("it is not one zstd frame");
const SHORT: EvidenceError = EvidenceError("it is cut short");

/// Stored evidence that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal's evidence: {0}")]
pub struct EvidenceError(&'static str);

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

    #[test]
    fn trust_metadata_are_read_without_the_rest() {
        let mut evidence = sample();
        assert!(evidence.add("trust/a/1.root.json", b"{}".to_vec()));
        let trust = Evidence::decode_trust(&evidence.encode().unwrap()).unwrap();
        assert_eq!(trust.iter().collect::<Vec<_>>(), [("trust/a/1.root.json", &b"{}"[..])]);
        // The rest has to be in its form all the same.
        let plain = [MAGIC, &[1, 0, 0, 0, b'a', 9, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(
            Evidence::decode_trust(&zstd::bulk::compress(&plain, 1).unwrap()),
            Err(SHORT)
        );
    }

    #[test]
    fn refuses_more_documents_than_any_image_has() {
        let mut evidence = Evidence::default();
        for at in 0..limit::EVIDENCE_DOCUMENTS {
            assert!(evidence.add(format!("{at:06}"), Vec::new()));
        }
        assert!(Evidence::decode(&evidence.compress(1).unwrap()).is_ok());
        assert!(evidence.add("more", Vec::new()));
        assert!(evidence.compress(1).is_err());
        let mut plain = MAGIC.to_vec();
        for (name, _) in evidence.iter() {
            plain.extend([&[name.len() as u8, 0, 0, 0][..], name.as_bytes(), &[0; 8]].concat());
        }
        let stored = zstd::bulk::compress(&plain, 1).unwrap();
        for read in [Evidence::decode, Evidence::decode_trust] {
            assert!(
                read(&stored)
                    .unwrap_err()
                    .to_string()
                    .contains("more than 65,536 documents")
            );
        }
    }

    #[test]
    fn refuses_long_names_and_large_trust_metadata_before_they_are_read() {
        let plain = |name: u32, document: u64| {
            let name = [&name.to_le_bytes()[..], b"trust/a/b"].concat();
            let plain = [MAGIC, &name, &document.to_le_bytes()].concat();
            Evidence::decode_trust(&zstd::bulk::compress(&plain, 1).unwrap())
        };
        assert_eq!(plain(limit::EVIDENCE_NAME_BYTES as u32 + 1, 0), Err(LONG_NAME));
        assert_eq!(plain(9, limit::EVIDENCE_TRUST_BYTES), Err(SHORT));
        let error = plain(9, limit::EVIDENCE_TRUST_BYTES + 1).unwrap_err();
        assert!(error.to_string().contains("larger than 96 MiB"), "{error}");
        let mut evidence = Evidence::default();
        assert!(evidence.add("n".repeat(limit::EVIDENCE_NAME_BYTES + 1), Vec::new()));
        assert_eq!(evidence.encode(), Err(LONG_NAME));
    }

    #[test]
    fn refuses_more_bytes_than_any_image_has() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        let length = limit::EVIDENCE_BYTES;
        encoder
            .write_all(&[MAGIC, &[1, 0, 0, 0, b'a'], &length.to_le_bytes()].concat())
            .unwrap();
        io::copy(&mut io::repeat(0).take(length), &mut encoder).unwrap();
        assert_eq!(Evidence::decode_trust(&encoder.finish().unwrap()), Err(LARGE));
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
