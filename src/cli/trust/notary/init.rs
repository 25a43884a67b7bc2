//! `imgkit trust init --dialect notary --server`: a new collection on a Notary server.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::session::Session;
use crate::cli::Report;
use crate::failure::Failure;
use crate::key::{KeyError, NotaryKeyInfo, PublicKey, Scheme, Signer, SigningKey};
use crate::limit;
use crate::store::docker_trust::NotaryKeyFile;
use crate::time::DAY;
use crate::trust::notary::edit::{FirstKeys, NotaryCollection};
use crate::trust::notary::{NewCertificate, NotaryKey};

/// How long a root key's certificate counts, as the real client has it: 10 years.
const CERTIFICATE_DAYS: i64 = 3650;

/// Makes a collection.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The collection: HOST/PATH
    gun: String,
    #[command(flatten)]
    root: RootKey,
    /// Have the server hold the snapshot key from the start, as docker has it: delegates publish without the owner
    #[arg(long)]
    server_managed: bool,
}

/// Which key is the root.
#[derive(Clone, Debug, Args)]
pub(super) struct RootKey {
    /// Make a new root key, kept encrypted in the trust directory
    #[arg(long, conflicts_with = "root_key")]
    new_root_key: bool,
    /// Use this root key of the trust directory: the beginning of its file's name
    #[arg(long, value_name = "ID")]
    root_key: Option<String>,
}

impl Init {
    pub(super) fn run(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let gun = &self.gun;
        // Whether the name can be one at all, before any key is made.
        session.trust.known(gun)?;
        if session.server.file(gun, "root.json", limit::ROOT_BYTES)?.is_some() {
            let problem = "the server has such a collection already; choose another name";
            return Err(Failure::malformed(session.subject(gun), problem));
        }
        let (root, root_path) = self.root.choose(session)?;
        let root = certified(session, gun, &root)?;
        let info = |role: &str| NotaryKeyInfo {
            role: role.to_owned(),
            gun: Some(gun.clone()),
        };
        let timestamp = server_key(&session.server.key(gun, "timestamp")?)?;
        let (targets, targets_path) = session.new_key(&info("targets"))?;
        let mut paths = vec![("root", root_path), ("targets", targets_path)];
        let snapshot = match self.server_managed {
            true => server_key(&session.server.key(gun, "snapshot")?)?,
            false => {
                let (key, path) = session.new_key(&info("snapshot"))?;
                paths.push(("snapshot", path));
                plain(&key)?
            }
        };
        let keys = FirstKeys {
            root: root.clone(),
            targets: plain(&targets)?,
            snapshot,
            timestamp,
        };
        let collection = NotaryCollection::new(gun, keys, session.now);
        let signed = session.publish_new(collection)?;
        let mut text = format!(
            "made the collection {} and published it\n\nkeys (encrypted):\n",
            session.subject(gun)
        );
        for (role, path) in &paths {
            let _ = writeln!(text, "  {role:<10} {}", path.display());
        }
        let _ = writeln!(
            text,
            "\nNow back up the root key: without it no key of the collection can ever be replaced.\n\
             Pin it where names are looked up: --pin {}",
            root.id()
        );
        let paths: Vec<_> = paths
            .iter()
            .map(|(role, path)| json!({ "role": role, "file": path }))
            .collect();
        let json = json!({
            "collection": gun, "server": session.server.url(), "keys": paths, "pin": root.id(), "rolesSigned": signed,
        });
        Ok(Report::new(text, json))
    }
}

impl RootKey {
    /// Returns the root key and its file; one is made only if that was asked for.
    pub(super) fn choose(&self, session: &Session<'_>) -> Result<(SigningKey, std::path::PathBuf), Failure> {
        if self.new_root_key {
            return session.new_key(&NotaryKeyInfo {
                role: "root".to_owned(),
                gun: None,
            });
        }
        let files = session.trust.keys()?;
        let roots: Vec<_> = files.into_iter().filter(|file| file.info().role == "root").collect();
        let name = |file: &NotaryKeyFile| {
            file.path()
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let listed: Vec<_> = roots.iter().map(name).collect();
        let listed = match listed.as_slice() {
            [] => format!("there is none in {}", session.trust.dir().display()),
            some => format!("there are {}", some.join(", ")),
        };
        let Some(id) = &self.root_key else {
            let problem = format!(
                "no root key is named, and none is made silently; give --root-key ID ({listed}) or --new-root-key"
            );
            return Err(Failure::malformed("the root key", problem));
        };
        let mut matching = roots.iter().filter(|file| name(file).starts_with(id.as_str()));
        match (matching.next(), matching.next()) {
            (Some(file), None) => {
                let key = file.open(&session.passphrases.existing("root")?)?;
                Ok((key, file.path().to_owned()))
            }
            (None, _) => Err(Failure::malformed(
                "--root-key",
                format!("no root key begins with {id}; {listed}"),
            )),
            _ => Err(Failure::malformed(
                "--root-key",
                format!("several root keys begin with {id}; {listed}"),
            )),
        }
    }
}

/// Puts a root key in a certificate for the collection, as Notary wants it.
pub(super) fn certified(session: &Session<'_>, gun: &str, key: &SigningKey) -> Result<NotaryKey, Failure> {
    let bad = |error: KeyError| Failure::malformed("the root key", error);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|error| Failure::unavailable("randomness", error))?;
    // One that begins an hour ago suits clocks that are behind.
    let begins = session.now.plus(-3600);
    let certificate = NewCertificate {
        gun,
        public: key.public(),
        serial,
        dates: (begins, begins.plus(CERTIFICATE_DAYS * DAY)),
    };
    let scheme = match key.public().default_scheme() {
        Scheme::RsaPssSha256 => Scheme::RsaPkcs1Sha256,
        scheme => scheme,
    };
    let pem = certificate
        .sign(scheme, |body| key.sign_with(scheme, body))
        .map_err(bad)?;
    NotaryKey::x509(&pem).map_err(bad)
}

/// Reads a public key that the server gave.
pub(super) fn server_key(bytes: &[u8]) -> Result<NotaryKey, Failure> {
    let bad = |problem: &dyn ToString| Failure::unavailable("the server's key", problem.to_string());
    let object = crate::json::parse(bytes, crate::json::Limits::integers(limit::SERVER_KEY_BYTES));
    NotaryKey::from_json(&object.map_err(|error| bad(&error))?).map_err(|error| bad(&error))
}

/// Names a key without a certificate.
pub(super) fn plain(key: &SigningKey) -> Result<NotaryKey, Failure> {
    let public: &PublicKey = key.public();
    NotaryKey::plain(public.clone()).map_err(|error| Failure::malformed("the key", error))
}
