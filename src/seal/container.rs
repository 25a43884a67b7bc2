//! The seal's bytes on a disk, or in a `NAME.seal` file.
//!
//! ```text
//! 0    16  "imgkit seal 1\n" and two zero bytes
//! 16    8  evaluation time, seconds since 1970, little-endian (the statement repeats it under the signature)
//! 24    8  length of the envelope
//! 32    8  length of the evidence
//! 40   24  zero
//! 64       the envelope: DSSE, canonical JSON
//!          the evidence: one zstd frame, hashed by the statement
//!          zeros to the end of the extent
//! ```

use crate::limit;
use crate::time::Time;

use super::dsse::{Envelope, EnvelopeError};

const MAGIC: &[u8; 16] = b"imgkit seal 1\n\0\0";
const HEADER: usize = 64;

/// A seal as it stands on a disk: read, in its canonical form, but not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// When the build judged its inputs; the statement must say the same.
    pub evaluated_at: Time,
    /// The signed statement.
    pub envelope: Envelope,
    /// The evidence as stored (compressed); the statement names its digest.
    pub evidence: Vec<u8>,
}

impl Sealed {
    /// Returns how many bytes the seal takes, without padding.
    pub fn len(&self) -> usize {
        HEADER + self.envelope.encode().len() + self.evidence.len()
    }

    /// Tells whether the seal holds nothing; it never does.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the seal, padded with zeros to `capacity`.
    ///
    /// # Errors
    /// [`ContainerError::TooLarge`] when it does not fit.
    pub fn encode(&self, capacity: usize) -> Result<Vec<u8>, ContainerError> {
        let envelope = self.envelope.encode();
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend(MAGIC);
        bytes.extend(self.evaluated_at.unix().to_le_bytes());
        bytes.extend((envelope.len() as u64).to_le_bytes());
        bytes.extend((self.evidence.len() as u64).to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(&envelope);
        bytes.extend(&self.evidence);
        if bytes.len() > capacity {
            return Err(ContainerError::TooLarge {
                needed: bytes.len(),
                capacity,
            });
        }
        bytes.resize(capacity, 0);
        Ok(bytes)
    }

    /// Reads a seal's extent; anything but what [`Sealed::encode`] writes is refused.
    ///
    /// # Errors
    /// [`ContainerError`] saying what is not as it should be.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContainerError> {
        let number = |at: usize| {
            let field = bytes.get(at..at + 8).and_then(|field| field.try_into().ok());
            field.map(u64::from_le_bytes).ok_or(ContainerError::Short(bytes.len()))
        };
        if bytes.len() > limit::SEAL_BYTES {
            return Err(ContainerError::TooLarge {
                needed: bytes.len(),
                capacity: limit::SEAL_BYTES,
            });
        }
        if bytes.get(..MAGIC.len()).ok_or(ContainerError::Short(bytes.len()))? != MAGIC {
            return Err(ContainerError::Magic);
        }
        let time = i64::try_from(number(16)?)
            .ok()
            .and_then(|seconds| Time::from_unix(seconds).ok());
        let evaluated_at = time.ok_or(ContainerError::NotCanonical("the evaluation time"))?;
        let length = |at| number(at).map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let evidence_at = HEADER.saturating_add(length(24)?);
        let end = evidence_at.saturating_add(length(32)?);
        let short = || ContainerError::Short(bytes.len());
        let sealed = Self {
            evaluated_at,
            envelope: Envelope::decode(bytes.get(HEADER..evidence_at).ok_or_else(short)?)?,
            evidence: bytes.get(evidence_at..end).ok_or_else(short)?.to_vec(),
        };
        if sealed.encode(bytes.len())? != bytes {
            return Err(ContainerError::NotCanonical("the header, envelope or padding"));
        }
        Ok(sealed)
    }
}

/// Bytes that are no seal, or not in a seal's one form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// The envelope is not in its form.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The first bytes are not a seal's.
    #[error("no seal: expected it to begin with `imgkit seal 1`")]
    Magic,
    /// A part is not in its canonical form.
    #[error("the seal is not in its canonical encoding: {0} differs from what a writer makes")]
    NotCanonical(&'static str),
    /// The lengths reach beyond the end.
    #[error("the seal is cut short: its parts reach beyond its {0} bytes")]
    Short(usize),
    /// The seal is larger than there is room for.
    #[error("the seal takes {needed} bytes where {capacity} are allowed")]
    TooLarge {
        /// Bytes it takes.
        needed: usize,
        /// Bytes there are.
        capacity: usize,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn sealed() -> Sealed {
        Sealed {
            evaluated_at: Time::from_unix(1_700_000_000).unwrap(),
            envelope: Envelope::unsigned(b"{}".to_vec()),
            evidence: vec![1, 2, 3],
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let bytes = sealed().encode(4096).unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(Sealed::decode(&bytes).unwrap(), sealed());
        assert!(sealed().encode(sealed().len()).is_ok());
        assert!(sealed().encode(sealed().len() - 1).is_err());
    }

    #[test]
    fn refuses_bytes_that_nothing_accounts_for() {
        let bytes = sealed().encode(4096).unwrap();
        for at in [0, 15, 40, 63, sealed().len(), 4095] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Sealed::decode(&changed).is_err(), "byte {at}");
        }
        for end in [0, 10, 63, 80] {
            assert!(Sealed::decode(&bytes[..end]).is_err());
        }
    }

    proptest! {
        #[test]
        fn errors_are_fine_panics_are_not(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), keep in any::<bool>()) {
            if keep {
                let good = sealed().encode(bytes.len().max(sealed().len())).unwrap();
                let start = good.len().min(40);
                bytes.splice(..start.min(bytes.len()), good[..start].iter().copied());
            }
            let _ = Sealed::decode(&bytes);
        }
    }
}
