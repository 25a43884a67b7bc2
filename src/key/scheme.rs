//! Signature schemes by TUF's names (specification, section 4.2; securesystemslib for PKCS #1 v1.5).

use std::fmt;
use std::str::FromStr;

use super::{KeyError, KeyType};

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// ECDSA on P-256 over SHA-256, signature in DER.
    EcdsaP256Sha256,
    /// ECDSA on P-384 over SHA-256, signature in DER: Notary's, which hashes so for every curve. TUF has no name for it.
    EcdsaP384Sha256,
    /// ECDSA on P-384 over SHA-384, signature in DER.
    EcdsaP384Sha384,
    /// Ed25519 (RFC 8032) over the message itself, 64 bytes.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 over SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PSS over SHA-256, MGF1 with SHA-256, salt of 32 bytes.
    RsaPssSha256,
}

impl Scheme {
    /// Those that metadata may name.
    const NAMED: [Self; 5] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::Ed25519,
        Self::RsaPkcs1Sha256,
        Self::RsaPssSha256,
    ];

    /// Every scheme.
    #[cfg(test)]
    pub(super) const EVERY: [Self; 6] = [
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha256,
        Self::EcdsaP384Sha384,
        Self::Ed25519,
        Self::RsaPkcs1Sha256,
        Self::RsaPssSha256,
    ];

    /// Returns TUF's name of the scheme; one that TUF does not have is not read back.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384Sha256 => "ecdsa-sha256-nistp384",
            Self::EcdsaP384Sha384 => "ecdsa-sha2-nistp384",
            Self::Ed25519 => "ed25519",
            Self::RsaPkcs1Sha256 => "rsa-pkcs1v15-sha256",
            Self::RsaPssSha256 => "rsassa-pss-sha256",
        }
    }

    /// Returns the type of key that the scheme needs.
    pub fn key_type(self) -> KeyType {
        match self {
            Self::EcdsaP256Sha256 => KeyType::EcdsaP256,
            Self::EcdsaP384Sha256 | Self::EcdsaP384Sha384 => KeyType::EcdsaP384,
            Self::Ed25519 => KeyType::Ed25519,
            Self::RsaPkcs1Sha256 | Self::RsaPssSha256 => KeyType::Rsa,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let found = Self::NAMED.into_iter().find(|scheme| scheme.name() == name);
        found.ok_or_else(|| KeyError::Unsupported(name.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_cannot_name_a_scheme_that_tuf_does_not_have() {
        assert!(Scheme::EcdsaP384Sha256.name().parse::<Scheme>().is_err());
        assert_eq!("ecdsa-sha2-nistp384".parse(), Ok(Scheme::EcdsaP384Sha384));
    }
}
