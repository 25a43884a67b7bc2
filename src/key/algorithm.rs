//! Which keys can be made.

use std::fmt;
use std::str::FromStr;

use super::KeyError;

/// The algorithm and size of a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// Ed25519.
    #[default]
    Ed25519,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl Algorithm {
    /// Every algorithm, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::Ed25519, Self::P256, Self::P384, Self::Rsa3072, Self::Rsa4096];

    /// Returns the name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    /// Reads a name; `rsa` is RSA of 3072 bits.
    fn from_str(name: &str) -> Result<Self, KeyError> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        let found = found.or((name == "rsa").then_some(Self::Rsa3072));
        found.ok_or_else(|| KeyError::Form {
            expected: "one of ed25519, p256, p384, rsa (3072 bits), rsa3072, rsa4096",
            found: format!("`{}`", name.chars().take(40).collect::<String>().escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert_eq!("rsa".parse(), Ok(Algorithm::Rsa3072));
        assert!("rsa1024".parse::<Algorithm>().is_err());
    }
}
