//! Keys and signatures: one way to verify and one to sign for every algorithm.
//!
//! - A key is verified with a named [`Scheme`] that fits it; a scheme never comes from the signature.
//! - Ed25519 is checked strictly (no weak keys, no second encoding of a signature).
//! - Private keys are wiped when dropped, have no `Debug` that shows them, and are stored encrypted only.

mod algorithm;
pub mod ecdsa;
mod encrypted;
mod file;
mod notary_file;
mod plugin_key;
pub mod prehashed;
mod public;
mod scheme;
pub mod sealed_box;
mod signer;
mod signing;
mod spec;
mod token_uri;
mod tuf;
mod vault;

pub use algorithm::Algorithm;
pub use encrypted::Passphrase;
pub use file::KeyFile;
pub use notary_file::NotaryKeyInfo;
pub use plugin_key::PluginKey;
pub use public::{KeyType, PublicKey};
pub use scheme::Scheme;
pub use signer::Signer;
pub use signing::SigningKey;
pub use spec::KeySpec;
pub use token_uri::{TokenPlace, TokenUri};
pub use tuf::{KeyId, TufKey};
pub use vault::Vault;

/// Why a key or a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Reading the key would cost more than allowed.
    #[error("the key file asks for {what} = {found}, expected at most {limit}; it is damaged or hostile")]
    Cost {
        /// The parameter.
        what: &'static str,
        /// Its largest legal value.
        limit: u64,
        /// Its value.
        found: u64,
    },
    /// The bytes are no key of their kind.
    #[error("not {expected}: {found}")]
    Form {
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// Neither the passphrase nor the file can be told wrong from the other.
    #[error("the passphrase does not open the key, or the file is damaged")]
    Passphrase,
    /// The kernel gave no random bytes.
    #[error("the kernel gave no randomness: {0}")]
    Randomness(String),
    /// The key cannot be used with the scheme.
    #[error("the scheme {scheme} does not fit a key of type {key}")]
    Scheme {
        /// The scheme asked for.
        scheme: Scheme,
        /// The key's type.
        key: KeyType,
    },
    /// A signer, or what it lies in, could not be used.
    #[error("{0}")]
    Signer(String),
    /// The signature is not by this key over this message.
    #[error("the {0} signature is not good for this message and key")]
    Signature(Scheme),
    /// An algorithm that imgkit does not have.
    #[error("the algorithm {0} is not supported; expected Ed25519, ECDSA on P-256 or P-384, or RSA")]
    Unsupported(String),
}
