//! Which passphrase opens which key: those that users of notary and docker have in their environment, else imgkit's own.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::cli::Context;
use crate::cli::passphrase::PassphraseOptions;
use crate::failure::Failure;
use crate::key::Passphrase;

/// Passphrases by kind of key, each found or asked for once.
pub(super) struct Passphrases<'a> {
    context: &'a Context,
    options: &'a PassphraseOptions,
    known: RefCell<BTreeMap<&'static str, Passphrase>>,
}

impl<'a> Passphrases<'a> {
    pub(super) fn new(context: &'a Context, options: &'a PassphraseOptions) -> Self {
        Self {
            context,
            options,
            known: RefCell::default(),
        }
    }

    /// Returns the passphrase of an existing key whose file says that it is for `role`.
    pub(super) fn existing(&self, role: &str) -> Result<Passphrase, Failure> {
        self.of(role, || self.options.existing(self.context))
    }

    /// Returns a passphrase for a new key for `role`.
    pub(super) fn new_one(&self, role: &str) -> Result<Passphrase, Failure> {
        self.of(role, || self.options.new_one(self.context))
    }

    fn of(&self, role: &str, ask: impl FnOnce() -> Result<Passphrase, Failure>) -> Result<Passphrase, Failure> {
        let (kind, variables) = variables(role);
        if let Some(known) = self.known.borrow().get(kind) {
            return Ok(known.clone());
        }
        let passphrase = match self.options.is_given_by_descriptor() {
            true => ask()?,
            false => match self.context.first_secret(&variables) {
                Some(text) => {
                    Passphrase::new(text.as_str()).map_err(|error| Failure::malformed("the passphrase", error))?
                }
                None => ask()?,
            },
        };
        let mut known = self.known.borrow_mut();
        // One descriptor can be read once: what it gives is for every key.
        let kinds: &[&'static str] = match self.options.is_given_by_descriptor() {
            true => &["root", "targets", "snapshot", "delegation"],
            false => &[kind],
        };
        for kind in kinds {
            known.insert(kind, passphrase.clone());
        }
        Ok(passphrase)
    }
}

/// Returns the kind of key, and the variables that notary and docker read for it.
fn variables(role: &str) -> (&'static str, [&'static str; 2]) {
    const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
    match role {
        "root" => (
            "root",
            ["NOTARY_ROOT_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE"],
        ),
        "targets" => ("targets", ["NOTARY_TARGETS_PASSPHRASE", REPOSITORY]),
        "snapshot" => ("snapshot", ["NOTARY_SNAPSHOT_PASSPHRASE", REPOSITORY]),
        _ => ("delegation", ["NOTARY_DELEGATION_PASSPHRASE", REPOSITORY]),
    }
}
