//! Content digests as the OCI image specification writes them: `sha256:HEX` and `sha512:HEX`.
//!
//! - Only lower-case hexadecimal of the exact length is a digest (image-spec, descriptor.md, "Digests").
//! - Two digests are equal when algorithm and value are; comparison needs no constant time, as no digest is a secret.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::Digest as _;

/// A digest of some bytes: an algorithm and its value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256, 32 bytes.
    Sha256([u8; 32]),
    /// SHA-512, 64 bytes.
    Sha512([u8; 64]),
}

impl Digest {
    /// Hashes `bytes` with SHA-256.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// Hashes `bytes` with SHA-512.
    pub fn sha512(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha512();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Makes a SHA-256 digest of its 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`DigestError`] when `hex` is not 64 lower-case hexadecimal digits.
    pub fn from_sha256_hex(hex: &str) -> Result<Self, DigestError> {
        decode::<32>("sha256", hex).map(Self::Sha256)
    }

    /// Returns the algorithm's name: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// Returns the raw value, 32 or 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(value) => value,
            Self::Sha512(value) => value,
        }
    }

    /// Returns the value in lower-case hexadecimal, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// Returns the first 12 digits, for people; never for comparison.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }

    /// Starts a hash with this digest's algorithm, to check streamed bytes against it.
    pub fn hasher(&self) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::sha256(),
            Self::Sha512(_) => Hasher::sha512(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 128];
        let hex = hex.get_mut(..2 * self.as_bytes().len()).unwrap_or_default();
        hex::encode_to_slice(self.as_bytes(), hex).map_err(|_| fmt::Error)?;
        f.write_str(self.algorithm())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => decode("sha256", hex).map(Self::Sha256),
            Some(("sha512", hex)) => decode("sha512", hex).map(Self::Sha512),
            Some((algorithm, _)) => Err(DigestError::Algorithm(algorithm.into())),
            None => Err(DigestError::Form(text.into())),
        }
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A hash being computed over streamed bytes.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256 under way.
    Sha256(sha2::Sha256),
    /// SHA-512 under way; ring's is a tenth quicker than sha2's, and every look-up in a Notary collection waits for it.
    Sha512(ring::digest::Context),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Hasher::Sha256",
            Self::Sha512(_) => "Hasher::Sha512",
        })
    }
}

impl Hasher {
    /// Starts a SHA-256.
    pub fn sha256() -> Self {
        Self::Sha256(sha2::Sha256::new())
    }

    /// Starts a SHA-512.
    pub fn sha512() -> Self {
        Self::Sha512(ring::digest::Context::new(&ring::digest::SHA512))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Ends the hash.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::Sha256(hash.finalize().into()),
            Self::Sha512(hash) => {
                let mut value = [0; 64];
                value.copy_from_slice(hash.finish().as_ref());
                Digest::Sha512(value)
            }
        }
    }
}

/// Hashes with SHA-256 what is read through it.
pub struct HashingReader<R> {
    input: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Reads `input`.
    pub fn sha256(input: R) -> Self {
        Self {
            input,
            hasher: Hasher::sha256(),
        }
    }

    /// Returns the digest of what was read.
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is neither sha256 nor sha512.
    #[error("digest algorithm `{0}` is not known; expected sha256 or sha512")]
    Algorithm(String),
    /// There is no colon.
    #[error("`{0}` is not a digest; expected ALGORITHM:HEX, for example sha256:e3b0c442…")]
    Form(String),
    /// The value is not lower-case hexadecimal of the algorithm's length.
    #[error("a {algorithm} digest has {expected} lower-case hexadecimal digits, found `{found}`")]
    Value {
        /// The algorithm named.
        algorithm: &'static str,
        /// How many digits were expected.
        expected: usize,
        /// What stood there.
        found: String,
    },
}

fn decode<const N: usize>(algorithm: &'static str, text: &str) -> Result<[u8; N], DigestError> {
    let bad = || DigestError::Value {
        algorithm,
        expected: N * 2,
        found: text.into(),
    };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(bad());
    }
    let mut value = [0; N];
    hex::decode_to_slice(text, &mut value).map_err(|_| bad())?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn writes_and_reads_the_digest_of_nothing() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::sha256(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::sha256(b""));
    }

    #[test]
    fn refuses_upper_case_short_and_unknown() {
        let upper = "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
        assert!(upper.parse::<Digest>().is_err());
        assert!("sha256:e3b0".parse::<Digest>().is_err());
        assert!("md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>().is_err());
        assert!("e3b0".parse::<Digest>().is_err());
    }

    #[test]
    fn streamed_equals_whole() {
        let mut hasher = Digest::sha512(b"").hasher();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Digest::sha512(b"abc"));
    }
}
