//! Which keys a role gets, and asking before what cannot be taken back.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;

use super::TrustOptions;
use crate::cli::Context;
use crate::failure::Failure;
use crate::key::{Algorithm, KeySpec, TufKey};
use crate::store::key_store::NewKey;
use crate::trust::edit::RoleSpec;

/// The keys that a role gets.
#[derive(Debug, Args)]
pub(super) struct ChosenKeys {
    /// A key that the role gets: FILE.pem (a private key, which is copied into the key directory; or a public key, whose owner
    /// signs elsewhere) or generate:ALGORITHM; may be repeated
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<KeySpec>,
    /// How many new keys are made here for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    new: Option<u8>,
}

impl ChosenKeys {
    /// Tells whether any were named.
    pub(super) fn any(&self) -> bool {
        !self.keys.is_empty() || self.new.is_some()
    }

    /// Returns how many keys were named by their files, and how many are to be made here.
    pub(super) fn count(&self) -> (usize, usize) {
        let made = self
            .keys
            .iter()
            .filter(|key| matches!(key, KeySpec::Generate(_)))
            .count();
        (self.keys.len() - made, made + usize::from(self.new.unwrap_or(0)))
    }

    /// Reads and makes the keys; where none were named, makes `usual` of them. New private keys are kept for `role`.
    pub(super) fn get(
        &self,
        context: &Context,
        options: &TrustOptions,
        collection: &str,
        role: &str,
        usual: usize,
    ) -> Result<Vec<TufKey>, Failure> {
        let new = match (self.new, self.any()) {
            (Some(new), _) => usize::from(new),
            (None, true) => 0,
            (None, false) => usual,
        };
        let mut specs = self.keys.clone();
        specs.resize(specs.len() + new, KeySpec::Generate(Algorithm::default()));
        let secrets = options.secrets(context);
        let store = options.keys(context)?;
        let mut keys = Vec::new();
        for spec in &specs {
            let key = NewKey::of(spec, &secrets)?;
            if let Some(file) = store.keep(collection, role, &key, &secrets)? {
                context.say(&format!("kept a key of {role}: {}", file.display()));
            }
            keys.push(key.tuf_key().clone());
        }
        Ok(keys)
    }

    /// Makes a role's keys and threshold; without a threshold the present one stays, as far as there are keys.
    pub(super) fn spec(keys: Vec<TufKey>, threshold: Option<u32>, present: u32) -> RoleSpec {
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        RoleSpec {
            threshold: threshold.unwrap_or(present.min(count).max(1)),
            keys,
        }
    }
}

/// Asks at the terminal whether to go on; without one, only `--yes` is an answer.
pub(super) fn confirm(context: &Context, yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let problem =
            format!("{what}\nnothing was changed: there is no terminal to ask at; look at this, then give --yes");
        return Err(Failure::malformed("not confirmed", problem));
    }
    context.say(&format!("{what}\nGo on? Write `yes`:"));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::unavailable("the terminal", error))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::malformed("not confirmed", "nothing was changed")),
    }
}
