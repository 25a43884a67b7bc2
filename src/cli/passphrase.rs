//! Where a passphrase comes from: a file descriptor, the environment, or the terminal; never an argument.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use zeroize::Zeroizing;

use super::Context;
use crate::failure::Failure;
use crate::key::Passphrase;
use crate::limit;
use crate::store::key_store::Secrets;

/// What was read from descriptors: a pipe gives its line once, and one command may open keys several times.
static LINES: Mutex<BTreeMap<u32, Zeroizing<String>>> = Mutex::new(BTreeMap::new());

/// How the passphrase of private keys is given.
#[derive(Clone, Debug, Args)]
pub(super) struct PassphraseOptions {
    /// Read the keys' passphrase from this file descriptor, to its first line end [default: IMGKIT_PASSPHRASE, else ask]
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Read the PKCS#11 token's PIN from this file descriptor, to its first line end [default: IMGKIT_PKCS11_PIN, else ask]
    #[arg(long, global = true, value_name = "N")]
    pin_fd: Option<u32>,
    /// The library that speaks to PKCS#11 tokens [default: the one in the key's `?module-path=`]
    #[arg(long, global = true, value_name = "FILE", env = "IMGKIT_PKCS11_MODULE")]
    pkcs11_module: Option<PathBuf>,
}

impl PassphraseOptions {
    /// Returns these options, and where they say nothing, the others.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self {
            passphrase_fd: self.passphrase_fd.or(other.passphrase_fd),
            pin_fd: self.pin_fd.or(other.pin_fd),
            pkcs11_module: self.pkcs11_module.clone().or_else(|| other.pkcs11_module.clone()),
        }
    }

    /// Returns the passphrase of keys that exist.
    pub(super) fn existing(&self, context: &Context) -> Result<Passphrase, Failure> {
        match self.given(context)? {
            Some(passphrase) => Ok(passphrase),
            None => ask("Passphrase of the keys: ").and_then(make),
        }
    }

    /// Returns a passphrase for new keys; at a terminal it is asked for twice.
    pub(super) fn new_one(&self, context: &Context) -> Result<Passphrase, Failure> {
        let other = context.new_passphrase().map(make).transpose()?;
        if let Some(passphrase) = other.map_or_else(|| self.given(context), |other| Ok(Some(other)))? {
            return Ok(passphrase);
        }
        self.new_from_person()
    }

    /// Returns the passphrase that keys get instead of their present one.
    pub(super) fn changed(&self, context: &Context, descriptor: Option<u32>) -> Result<Passphrase, Failure> {
        let given = match descriptor {
            Some(number) => Some(read_fd(number)?),
            None => context.new_passphrase(),
        };
        match given {
            Some(text) => make(text),
            None => self.new_from_person(),
        }
    }

    fn new_from_person(&self) -> Result<Passphrase, Failure> {
        let first = ask("New passphrase for the keys: ")?;
        match first == ask("Again: ")? {
            true => make(first),
            false => Err(Failure::malformed(
                "the passphrase",
                "the two are not the same; try again",
            )),
        }
    }

    /// Returns who is asked for the secrets of keys, each once and only when it is needed.
    pub(super) fn asked<'a>(&'a self, context: &'a Context) -> Asked<'a> {
        Asked {
            options: self,
            context,
            existing: Mutex::default(),
            new: Mutex::default(),
            pin: Mutex::default(),
        }
    }

    /// Tells whether a person will have to be asked.
    pub(super) fn asks(&self, context: &Context) -> bool {
        self.passphrase_fd.is_none() && context.passphrase().is_none()
    }

    /// Tells whether the passphrase comes from a descriptor, which was named for this command alone.
    pub(super) fn is_given_by_descriptor(&self) -> bool {
        self.passphrase_fd.is_some()
    }

    /// Returns the passphrase that was given by a descriptor or the environment, if one was.
    pub(super) fn given(&self, context: &Context) -> Result<Option<Passphrase>, Failure> {
        let text = match self.passphrase_fd {
            Some(number) => Some(read_fd(number)?),
            None => context.passphrase(),
        };
        text.map(make).transpose()
    }
}

/// The person at the terminal, or what was given instead; asked once for each secret.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    options: &'a PassphraseOptions,
    context: &'a Context,
    existing: Mutex<Option<Passphrase>>,
    new: Mutex<Option<Passphrase>>,
    pin: Mutex<Option<Passphrase>>,
}

impl Secrets for Asked<'_> {
    fn passphrase(&self) -> Result<Passphrase, Failure> {
        once(&self.existing, || self.options.existing(self.context))
    }

    fn new_passphrase(&self) -> Result<Passphrase, Failure> {
        once(&self.new, || self.options.new_one(self.context))
    }

    fn pin(&self, token: &str) -> Result<Passphrase, Failure> {
        once(&self.pin, || match (self.options.pin_fd, self.context.pin()) {
            (Some(number), _) => make(read_fd(number)?),
            (None, Some(pin)) => make(pin),
            (None, None) if std::io::stdin().is_terminal() => {
                let shown: String = token.chars().filter(|letter| !letter.is_control()).collect();
                make(ask(&format!("PIN of {shown}: "))?)
            }
            (None, None) => {
                let problem = "there is no terminal to ask at; set IMGKIT_PKCS11_PIN, or give --pin-fd N";
                Err(Failure::malformed("the token's PIN", problem))
            }
        })
    }

    fn module(&self) -> Option<PathBuf> {
        self.options.pkcs11_module.clone()
    }
}

/// Returns what is remembered, or asks; whoever comes meanwhile waits for the answer.
fn once(
    memory: &Mutex<Option<Passphrase>>,
    ask: impl FnOnce() -> Result<Passphrase, Failure>,
) -> Result<Passphrase, Failure> {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    match memory.as_ref() {
        Some(known) => Ok(known.clone()),
        None => Ok(memory.insert(ask()?).clone()),
    }
}

fn make(text: Zeroizing<String>) -> Result<Passphrase, Failure> {
    Passphrase::new(text.as_str()).map_err(|error| Failure::malformed("the passphrase", error))
}

fn read_fd(number: u32) -> Result<Zeroizing<String>, Failure> {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(line) = lines.get(&number) {
        return Ok(line.clone());
    }
    let subject = format!("file descriptor {number}");
    let cannot = |error: std::io::Error| Failure::unavailable(&subject, format!("cannot read the passphrase: {error}"));
    let file = File::open(format!("/dev/fd/{number}")).map_err(cannot)?;
    let mut text = Zeroizing::new(String::with_capacity(limit::PASSPHRASE_BYTES + 1));
    let read = file.take(limit::PASSPHRASE_BYTES as u64 + 1).read_to_string(&mut text);
    if read.map_err(cannot)? > limit::PASSPHRASE_BYTES {
        return Err(Failure::malformed(subject, "the passphrase is longer than 1024 bytes"));
    }
    let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
    lines.insert(number, line.clone());
    Ok(line)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stdin().is_terminal() {
        let problem = "there is no terminal to ask at; set IMGKIT_PASSPHRASE, or give --passphrase-fd N";
        return Err(Failure::malformed("the passphrase", problem));
    }
    let answer = rpassword::prompt_password(prompt);
    answer
        .map(Zeroizing::new)
        .map_err(|error| Failure::unavailable("the terminal", format!("cannot ask for the passphrase: {error}")))
}
