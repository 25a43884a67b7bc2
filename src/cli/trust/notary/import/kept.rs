//! A collection as a trust directory kept it, read without a server.

use crate::cli::Context;
use crate::cli::trust::TrustOptions;
use crate::cli::trust::notary::session::read_pin;
use crate::failure::Failure;
use crate::store::docker_trust::DockerTrust;
use crate::trust::Source;
use crate::trust::notary::{NotaryClient, NotaryKnown, NotaryPin};

/// What a trust directory kept of a collection, as a source.
pub(super) struct Kept(NotaryKnown);

impl Source for Kept {
    fn file(&mut self, name: &str, _max: usize) -> Result<Option<Vec<u8>>, Failure> {
        let role = name.strip_suffix(".json").unwrap_or(name);
        let role = match role.rsplit_once('.') {
            Some((role, hash)) if hash.len() == 64 => role,
            _ => role,
        };
        Ok(match role {
            "root" => self.0.root.clone(),
            "timestamp" => self.0.timestamp.clone(),
            "snapshot" => self.0.snapshot.clone(),
            role => self.0.targets.get(role).map(|bytes| bytes.to_vec()),
        })
    }
}

/// Reads a collection from what docker or notary trusted of it, without a server.
pub(super) fn from_directory(
    options: &TrustOptions,
    context: &Context,
    gun: &str,
) -> Result<NotaryClient<Kept>, Failure> {
    let Some(dir) = options.given_trust_dir() else {
        let problem = "name the server with --server, or docker's directory (~/.docker/trust) with --trust-dir";
        return Err(Failure::malformed("trust import notary", problem));
    };
    let known = DockerTrust::at(dir).known(gun)?;
    let pin = match options.given_pin() {
        Some(pin) => read_pin(pin)?,
        // The owner's own directory is what is trusted, as for docker and notary.
        None => NotaryPin::UnsafeFirstUse,
    };
    if known.root.is_none() {
        let problem = format!(
            "{} does not know this collection; fetch it from its server with --server",
            dir.display()
        );
        return Err(Failure::unavailable(gun, problem));
    }
    let client = NotaryClient::refresh(gun, &pin, NotaryKnown::default(), Kept(known), options.now(context)?);
    client.map_err(|error| error.about(gun))
}
