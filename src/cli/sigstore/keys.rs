//! Keys as sigstore's commands name them.

use crate::cli::Context;
use crate::cli::passphrase::PassphraseOptions;
use crate::failure::Failure;
use crate::key::{KeySpec, PublicKey};
use crate::store::key_store::NewKey;

/// Reads public keys.
pub(super) fn public_keys(
    specs: &[KeySpec],
    passphrase: &PassphraseOptions,
    context: &Context,
) -> Result<Vec<PublicKey>, Failure> {
    let public = |spec: &KeySpec| Ok(open(spec, passphrase, context)?.tuf_key().public().clone());
    specs.iter().map(public).collect()
}

/// Opens a key.
pub(super) fn open(spec: &KeySpec, passphrase: &PassphraseOptions, context: &Context) -> Result<NewKey, Failure> {
    if let KeySpec::Generate(_) = spec {
        let problem = "a key that exists is needed here; make one with `imgkit trust key generate`";
        return Err(Failure::malformed(spec, problem));
    }
    NewKey::of(spec, &passphrase.asked(context))
}
