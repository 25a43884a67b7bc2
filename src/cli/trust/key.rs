//! `imgkit trust key …`, `imgkit trust backup` and `imgkit trust restore`: looking after private keys.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::TrustOptions;
use crate::cli::{Context, Report};
use crate::failure::Failure;
use crate::key::{Algorithm, KeyFile, KeySpec, SigningKey, TokenUri, TufKey};
use crate::store::KeyStore;
use crate::store::file::{NewFile, cannot};
use crate::store::key_store::{Entry, NewKey, Secrets as _, open_any_key, read_key_file, replace_keys, write_new};
use crate::store::pkcs11::TokenKeys;

/// Looks after private keys.
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a key's public half in PEM
    ExportPublic(ExportPublic),
    /// Make a key in a file of its own, encrypted, with its public half in a file beside it; or in a PKCS#11 token
    Generate(Generate),
    /// Put a key into the key directory: from a file of openssl, Notary or cosign, or by where it is
    Import(Import),
    /// List the private keys of the collection that are here
    Ls(List),
    /// Change the passphrase of private keys
    Passwd(Passwd),
}

impl Key {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match &self.action {
            Action::ExportPublic(command) => command.run(context, options),
            Action::Generate(command) => command.run(context, options),
            Action::Import(command) => command.run(context, options),
            Action::Ls(command) => command.run(context, options),
            Action::Passwd(command) => command.run(context, options),
        }
    }
}

#[derive(Debug, Args)]
struct Generate {
    /// The private key's file; the public key gets its name with .pub for the ending
    #[arg(required_unless_present = "key")]
    file: Option<PathBuf>,
    /// Make the key in a token, which it never leaves: pkcs11:token=NAME;object=LABEL
    #[arg(long, value_name = "pkcs11:URI", conflicts_with = "file")]
    key: Option<TokenUri>,
    /// The algorithm: ed25519, p256, p384, rsa3072 or rsa4096
    #[arg(long, value_name = "NAME", default_value_t)]
    algorithm: Algorithm,
}

impl Generate {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        match (&self.key, &self.file) {
            (Some(uri), _) => self.in_token(context, options, uri),
            (None, file) => self.in_file(context, options, file.as_deref().unwrap_or(Path::new(""))),
        }
    }

    /// Makes the key in a token.
    fn in_token(&self, context: &Context, options: &TrustOptions, uri: &TokenUri) -> Result<Report, Failure> {
        let secrets = options.secrets(context);
        let uri = match (uri.module(), secrets.module()) {
            (None, Some(module)) => uri.clone().through(module),
            _ => uri.clone(),
        };
        let (Some(label), None) = (uri.object(), uri.id()) else {
            let problem = "expected a label, object=LABEL, and no id: the key gets an id of its own";
            return Err(Failure::malformed(&uri, problem));
        };
        let token = TokenKeys::open(uri.token(), &secrets)?;
        if token.has(label)? {
            let problem = "the token has a private key of this label already; give the new one another";
            return Err(Failure::malformed(&uri, problem));
        }
        let (id, public) = token.make(self.algorithm, label)?;
        let (uri, key) = (uri.with_id(id), TufKey::new(public));
        let pem = key.public().to_pem();
        let pem = pem.map_err(|error| Failure::malformed(&uri, error))?;
        let text = format!(
            "made the key {} ({}) in the token, which does not give it away:\n  {uri}\n{pem}",
            key.id(),
            key.public().key_type(),
        );
        let json = json!({
            "keyid": key.id(), "algorithm": self.algorithm.name(), "key": uri.to_string(), "public": pem,
        });
        Ok(Report::new(text, json))
    }

    /// Makes the key in a file.
    fn in_file(&self, context: &Context, options: &TrustOptions, file: &Path) -> Result<Report, Failure> {
        let passphrase = options.secrets(context).new_passphrase()?;
        let about = |error: crate::key::KeyError| Failure::unavailable(file.display(), error);
        let key = SigningKey::generate_as(self.algorithm).map_err(about)?;
        let public = file.with_extension("pub");
        if public == file {
            let problem = "the public key is written to a file with this ending; give the private one another";
            return Err(Failure::malformed(file.display(), problem));
        }
        let pem = key.to_encrypted_pem(&passphrase).map_err(about)?;
        write_new(file, pem.as_bytes())?;
        write_new(&public, key.public().to_pem().map_err(about)?.as_bytes())?;
        let text = format!(
            "made the key {} ({}): {} (encrypted), {}\n",
            key.id(),
            key.public().key_type(),
            file.display(),
            public.display()
        );
        let json = json!({ "keyid": key.id(), "algorithm": self.algorithm.name(), "private": file, "public": public });
        Ok(Report::new(text, json))
    }
}

#[derive(Debug, Args)]
struct Import {
    /// The keys: FILE (PKCS#8, SEC 1, PKCS#1, Notary's or cosign's), pkcs11:URI or plugin:COMMAND:KEYNAME
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// The role whose keys they are [default: the one that Notary wrote beside the key]
    #[arg(long)]
    role: Option<String>,
}

impl Import {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (store, collection) = (options.keys(context)?, options.keys_name(context)?);
        let secrets = options.secrets(context);
        let mut text = String::new();
        let mut all = Vec::new();
        for name in &self.keys {
            let spec = spec(name)?;
            let noted = match &spec {
                KeySpec::File(path) => read_key_file(path).ok().and_then(|file| role_of(&file)),
                _ => None,
            };
            let role = self.role.clone().or(noted).ok_or_else(|| {
                let problem = "nothing says which role's key it is; name it with --role";
                Failure::malformed(name, problem)
            })?;
            let key = NewKey::of(&spec, &secrets)?;
            let file = store.keep(&collection, &role, &key, &secrets)?;
            let file =
                file.ok_or_else(|| Failure::malformed(name, "it is a public key; only private keys are kept"))?;
            let id = key.tuf_key().id();
            let _ = writeln!(text, "{role:<10} {id} {}", file.display());
            all.push(json!({ "role": role, "keyid": id, "file": file }));
        }
        Ok(Report::new(text, json!({ "collection": collection, "imported": all })))
    }
}

/// Returns the role that Notary wrote beside a key, if it is one of every collection; delegations have names of their own.
fn role_of(file: &KeyFile) -> Option<String> {
    let role = file.role()?;
    ["root", "targets", "snapshot", "timestamp"]
        .contains(&role)
        .then(|| role.to_owned())
}

/// Reads how a command line names a key; any path that exists is a file.
fn spec(name: &str) -> Result<KeySpec, Failure> {
    match Path::new(name).is_file() {
        true => Ok(KeySpec::File(name.into())),
        false => name.parse().map_err(|error| Failure::malformed(name, error)),
    }
}

#[derive(Debug, Args)]
struct List {
    /// The role whose keys are listed [default: every role]
    #[arg(long)]
    role: Option<String>,
}

impl List {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (store, collection) = (options.keys(context)?, options.keys_name(context)?);
        let mut text = String::new();
        let mut all = Vec::new();
        for entry in wanted(&store, &collection, self.role.as_deref())? {
            let place = store.place_of(&entry)?;
            let _ = writeln!(text, "{:<12} {} {place}", entry.role, entry.id);
            all.push(json!({ "role": entry.role, "keyid": entry.id, "file": entry.path, "place": place }));
        }
        if all.is_empty() {
            let _ = writeln!(text, "no private keys of {collection} are here");
        }
        Ok(Report::new(text, json!({ "collection": collection, "keys": all })))
    }
}

#[derive(Debug, Args)]
struct ExportPublic {
    /// The key: its id, or the beginning of it, in the key directory; or a file, pkcs11:URI or plugin:COMMAND:KEYNAME
    key: String,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ExportPublic {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let secrets = options.secrets(context);
        let is_id = self.key.len() >= 6 && self.key.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = match is_id && !Path::new(&self.key).exists() {
            true => {
                let (store, collection) = (options.keys(context)?, options.keys_name(context)?);
                let mut found = wanted(&store, &collection, None)?;
                found.retain(|entry| entry.id.as_str().starts_with(&self.key));
                found.dedup_by(|one, other| one.id == other.id);
                match found.as_slice() {
                    [one] => KeyStore::open(&one.path, &secrets)?.tuf_key(),
                    [] => {
                        return Err(Failure::malformed(
                            &self.key,
                            "no such key is here; `trust key ls` lists them",
                        ));
                    }
                    _ => {
                        return Err(Failure::malformed(
                            &self.key,
                            "several keys begin so; give more of the id",
                        ));
                    }
                }
            }
            false => NewKey::of(&spec(&self.key)?, &secrets)?.tuf_key().clone(),
        };
        let pem = key.public().to_pem();
        let pem = pem.map_err(|error| Failure::malformed(&self.key, error))?;
        let json = json!({ "keyid": key.id(), "public": pem, "key": key.to_json(), "out": self.out });
        match &self.out {
            None => Ok(Report::new(pem, json)),
            Some(out) => {
                let mut file = NewFile::beside(out)?;
                file.write_all(pem.as_bytes())
                    .map_err(|error| cannot("write", out, &error))?;
                file.finish(out)?;
                Ok(Report::new(format!("{} {}\n", key.id(), out.display()), json))
            }
        }
    }
}

#[derive(Debug, Args)]
struct Passwd {
    /// Files of private keys [default: all of the collection's]
    files: Vec<PathBuf>,
    /// Read the new passphrase from this file descriptor [default: IMGKIT_NEW_PASSPHRASE, else ask]
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
}

impl Passwd {
    fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let files = match self.files.is_empty() {
            false => self.files.clone(),
            true => {
                let (store, collection) = (options.keys(context)?, options.keys_name(context)?);
                let entries = wanted(&store, &collection, None)?.into_iter();
                entries.filter(Entry::is_file).map(|entry| entry.path).collect()
            }
        };
        let secrets = options.secrets(context);
        let mut keys = Vec::new();
        // All are opened before one is changed: half of them under another passphrase would be a trap.
        for file in &files {
            keys.push((file, open_any_key(file, &secrets)?));
        }
        if keys.is_empty() {
            return Ok(Report::new(
                "no key files are here\n".to_owned(),
                json!({ "changed": [] }),
            ));
        }
        let new = options.passphrase().changed(context, self.new_passphrase_fd)?;
        let mut pems = Vec::new();
        for (file, key) in &keys {
            let pem = key.to_encrypted_pem(&new);
            let pem = pem.map_err(|error| Failure::unavailable(file.display(), error))?;
            pems.push((file.as_path(), pem));
        }
        replace_keys(&pems)?;
        let mut text = String::new();
        for file in &files {
            let _ = writeln!(text, "changed {}", file.display());
        }
        Ok(Report::new(text, json!({ "changed": files })))
    }
}

fn wanted(store: &KeyStore, collection: &str, role: Option<&str>) -> Result<Vec<Entry>, Failure> {
    let mut entries = store.list(collection)?;
    entries.retain(|entry| role.is_none_or(|role| role == entry.role));
    Ok(entries)
}

/// Backs up keys.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to write; it must not be there
    file: PathBuf,
}

impl Backup {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let (store, collection) = (options.keys(context)?, options.keys_name(context)?);
        let files = store.back_up(&collection, &self.file, &options.secrets(context))?;
        let mut text = format!(
            "backed up {} files of {collection}, encrypted under the keys' passphrase:\n",
            files.len()
        );
        for file in &files {
            let _ = writeln!(text, "  {}", file.display());
        }
        let _ = writeln!(text, "keep it apart from this machine: {}", self.file.display());
        Ok(Report::new(
            text,
            json!({ "collection": collection, "backup": self.file, "files": files }),
        ))
    }
}

/// Restores keys.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
}

impl Restore {
    pub(super) fn run(&self, context: &Context, options: &TrustOptions) -> Result<Report, Failure> {
        let store = options.keys(context)?;
        let name = options.named(context)?;
        let (collection, files) = store.restore(&self.file, name.as_deref(), &options.secrets(context))?;
        let mut text = format!(
            "every key in {} opens; restored of {collection}:\n",
            self.file.display()
        );
        for file in &files {
            let _ = writeln!(text, "  {}", file.display());
        }
        if files.is_empty() {
            text.push_str("  nothing: all of it is here already\n");
        }
        Ok(Report::new(
            text,
            json!({ "collection": collection, "restored": files }),
        ))
    }
}
