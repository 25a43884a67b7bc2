//! Signing by an identity: what is asked of a certificate authority (Fulcio), of transparency logs (Rekor) and of time-stamp
//! authorities (RFC 3161), and what they answer; bytes in and out, no I/O.
//!
//! - A new key signs once. The authority certifies it for who the [`IdentityToken`] says; nothing else ever holds the key.
//! - Nothing that is answered is believed here: the bundle is made of it, and verified under a trusted root as anybody else's
//!   ([`super::certificate`]). [`authority::check_issued`] comes before that, so that no log gets what is nobody's.
//! - `sigstore-rekor` reads the answers of logs of version 1, [`super::bundle`] those of version 2; a time-stamp query is declared for `der`.

pub mod authority;
pub mod log;
pub mod services;
pub mod stamp;
pub mod token;

pub use services::{LogApi, Service, ServicesError, SigningConfig};
pub use token::{IdentityToken, TokenError};

/// An answer that is not of the form that its service's interface has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct AnswerError {
    /// What was expected.
    pub expected: &'static str,
    /// What was found.
    pub found: String,
}
