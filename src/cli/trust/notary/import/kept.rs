//! A collection as a trust directory kept it, read without a server.

use crate::cli::Context;
use crate::cli::trust::TrustOptions;
use crate::cli::trust::notary::session::read_pin;
use crate::failure::Failure;
use crate::store::NotaryPlace;
use crate::store::docker_trust::DockerTrust;
use crate::trust::notary::{NotaryClient, NotaryKnown, NotaryPin};

/// Finds what docker or notary trusted of a collection.
pub(super) fn in_directory(options: &TrustOptions, gun: &str) -> Result<NotaryPlace, Failure> {
    let Some(dir) = options.given_trust_dir() else {
        let problem = "name the server with --server, or docker's directory (~/.docker/trust) with --trust-dir";
        return Err(Failure::malformed("trust import notary", problem));
    };
    let trust = DockerTrust::at(dir);
    if trust.known(gun)?.root.is_none() {
        let problem = format!(
            "{} does not know this collection; fetch it from its server with --server",
            dir.display()
        );
        return Err(Failure::unavailable(gun, problem));
    }
    Ok(NotaryPlace::in_directory(trust, gun))
}

/// Reads it without a server.
pub(super) fn read<'p>(
    options: &TrustOptions,
    context: &Context,
    gun: &str,
    place: &'p NotaryPlace,
) -> Result<NotaryClient<&'p NotaryPlace>, Failure> {
    let pin = match options.given_pin() {
        Some(pin) => read_pin(pin)?,
        // The owner's own directory is what is trusted, as for docker and notary.
        None => NotaryPin::UnsafeFirstUse,
    };
    let client = NotaryClient::refresh(gun, &pin, NotaryKnown::default(), place, options.now(context)?);
    client.map_err(|error| error.about(gun))
}
