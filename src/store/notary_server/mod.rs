//! The Notary server's HTTP API: what `notary` and `docker trust` speak to (docs/notary-server.md, "Requests").
//!
//! - What is published is judged by [`crate::trust::notary`]; here is all disk and network.
//! - An upload is published whole or not at all, by one server among many.
//! - Published files are sent from memory, with headers and compressed forms made beforehand. A server on a directory is the only
//!   one; one on PostgreSQL hears of others' changes, and forgets everything while it cannot.
//! - The server's private keys are kept sealed ([`crate::key::Vault`]), or never leave a PKCS#11 token.
//! - Every wait for a client, and all that it may send, is bounded.

mod answer;
mod auth;
mod cache;
mod directory;
mod http_date;
mod judge;
mod keyring;
mod listen;
mod metrics;
mod multipart;
mod patient;
mod postgres;
mod publish;
mod ready;
mod record;
mod route;
mod service;
mod store;
mod tls;
mod upload;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::key::{Algorithm, KeyError, Passphrase, Vault};
use crate::limit;
use crate::store::pkcs11::TokenKeys;
use crate::time::Time;
use auth::TokenAuth;
use cache::Cache;
use directory::Directory;
use judge::Judge;
use keyring::Keyring;
use metrics::Metrics;
use postgres::Postgres;
use route::Gun;
use store::Store;
use upload::Room;

pub use auth::TokenOptions;

/// How often it is looked whether metadata are to be renewed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(3600);

/// How many collections can be changed at once, at most: those that share a turn wait for each other.
const TURNS: usize = 64;

/// Where a server keeps its collections and keys.
#[derive(Clone, Debug)]
pub enum StoreOptions {
    /// A directory, for one server.
    Directory(PathBuf),
    /// A database, for many.
    Postgres {
        /// Where it is: `postgres://USER@HOST:PORT/DATABASE`, without a password.
        url: String,
        /// The password.
        password: Option<zeroize::Zeroizing<String>>,
        /// Certificates in PEM that the database's is checked against.
        ca: Option<Vec<u8>>,
    },
}

/// The surroundings of a server, read by the command line.
#[derive(Clone)]
pub struct Clock {
    /// Reads the clock.
    pub now: Arc<dyn Fn() -> Result<Time, Failure> + Send + Sync>,
    /// Returns the time since some moment, which never goes back.
    pub elapsed: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// How a server is set up.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Where collections and keys are kept.
    pub store: StoreOptions,
    /// The files of certificate and key in PEM; none for plain HTTP, on the loopback only.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What the server's sealed keys are encrypted under; with a token it is needed only where some are sealed already.
    pub passphrase: Option<Passphrase>,
    /// The token in which new keys are made, instead of being sealed.
    pub token: Option<Arc<TokenKeys>>,
    /// What kind of keys the server makes.
    pub algorithm: Algorithm,
    /// Whom to believe about who may do what; none lets everybody do everything.
    pub tokens: Option<TokenOptions>,
    /// Beginnings of the names that are served; none is all.
    pub prefixes: Vec<String>,
    /// The clock.
    pub clock: Clock,
    /// Takes what the operator should know.
    pub log: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Options({} {:?})", self.listen, self.store)
    }
}

/// A server that listens, and has not answered yet.
#[derive(Debug)]
pub struct Bound {
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    address: SocketAddr,
    hearing: Option<Task>,
}

/// What requests share.
struct Server {
    store: Store,
    cache: Arc<Cache>,
    keyring: Keyring,
    auth: Option<TokenAuth>,
    prefixes: Vec<String>,
    metrics: Metrics,
    clock: Clock,
    log: Arc<dyn Fn(&str) + Send + Sync>,
    /// Where uploads are taken.
    room: Room,
    judge: Judge,
    /// Bytes of uploads that can be judged yet.
    judging: Arc<Semaphore>,
    /// Keys, deletions and renewals that can be begun yet.
    changes: Arc<Semaphore>,
    /// Collections and files that can be read yet, where memory does not hold them.
    reads: Semaphore,
    /// Bytes of files that memory does not hold which can be sent yet.
    sending: Arc<Semaphore>,
    turns: [Mutex<()>; TURNS],
    /// Chooses among the turns, so that nobody knows a name that shares another's.
    hasher: RandomState,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({:?})", self.store)
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Bound {
    /// Opens the store, unlocks the keys, and listens.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when options do not fit each other, files are not what they should be, or the passphrase is wrong;
    /// [`Failure::Unavailable`] when the store, or the address, cannot be used.
    pub async fn new(options: Options) -> Result<Self, Failure> {
        let tls = options
            .tls
            .as_ref()
            .map(|(cert, key)| tls::server(cert, key))
            .transpose()?;
        if tls.is_none() && !options.listen.ip().is_loopback() {
            let problem = "plain HTTP is served on the loopback only; give --tls-cert and --tls-key";
            return Err(Failure::malformed(options.listen, problem));
        }
        let auth = options.tokens.as_ref().map(TokenAuth::new).transpose()?;
        let (store, vault) = open_store(&options).await?;
        let listening = TcpListener::bind(options.listen).await;
        let listener =
            listening.map_err(|error| Failure::unavailable(options.listen, format!("cannot listen: {error}")))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| Failure::unavailable(options.listen, error))?;
        // On PostgreSQL it opens once others can be heard.
        let alone = matches!(store, Store::Directory(_));
        let cache = Arc::new(Cache::new(limit::SERVER_CACHE_BYTES, alone));
        let hearing = match &store {
            Store::Directory(_) => None,
            Store::Postgres(store) => Some(Task(store.listen(Arc::clone(&cache)))),
        };
        let server = Server {
            store,
            cache,
            keyring: Keyring {
                vault,
                token: options.token,
                algorithm: options.algorithm,
            },
            auth,
            prefixes: options.prefixes,
            metrics: Metrics::new(),
            clock: options.clock,
            log: options.log,
            judge: Judge::new()?,
            room: Room::new(),
            judging: Arc::new(Semaphore::new(limit::UPLOADS_JUDGED_BYTES)),
            changes: Arc::new(Semaphore::new(limit::CHANGES_BEGUN)),
            reads: Semaphore::new(limit::SERVER_READS_AT_ONCE),
            sending: Arc::new(Semaphore::new(limit::SERVER_SENDING_BYTES)),
            turns: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        };
        Ok(Self {
            server: Arc::new(server),
            listener,
            tls,
            address,
            hearing,
        })
    }

    /// Returns the address that clients can connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells whether clients need TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `stop` is done, and finishes the requests under way.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let server = Arc::clone(&self.server);
        let _renewing = Task(tokio::spawn(async move {
            loop {
                if let Err(failure) = server.renew_all().await {
                    server.own_fault(&failure);
                }
                tokio::time::sleep(RENEWAL_PAUSE).await;
            }
        }));
        let _hearing = self.hearing;
        listen::serve(self.server, self.listener, self.tls, stop).await;
    }
}

impl Server {
    /// Returns what is held while a collection changes, so that this server's own publishers take turns.
    fn turn(&self, gun: &Gun) -> &Mutex<()> {
        let [first, ..] = &self.turns;
        let index = usize::try_from(self.hasher.hash_one(gun) % TURNS as u64).unwrap_or_default();
        self.turns.get(index).unwrap_or(first)
    }
}

/// Opens the store and the vault in it; one that is needed and not there is made.
async fn open_store(options: &Options) -> Result<(Store, Option<Vault>), Failure> {
    match &options.store {
        StoreOptions::Directory(dir) => {
            let store = Directory::open(dir)?;
            let vault = match store.vault()? {
                Some(pem) => Some(unlock(&pem, options)?),
                None if options.token.is_some() => None,
                None => {
                    let (vault, pem) = Vault::create(passphrase(options)?).map_err(wrong)?;
                    store.save_vault(&pem)?;
                    Some(vault)
                }
            };
            Ok((Store::Directory(Arc::new(store)), vault))
        }
        StoreOptions::Postgres { url, password, ca } => {
            let password = password.as_ref().map(|password| password.as_str());
            let store = Postgres::open(url, password, ca.as_deref()).await?;
            let vault = match store.vault(None).await? {
                Some(pem) => Some(unlock(&pem, options)?),
                None if options.token.is_some() => None,
                None => {
                    let (vault, pem) = Vault::create(passphrase(options)?).map_err(wrong)?;
                    // Another server may have been faster; all use the one that is kept.
                    match store.vault(Some(&pem)).await? {
                        Some(kept) if kept == pem => Some(vault),
                        Some(kept) => Some(unlock(&kept, options)?),
                        None => {
                            return Err(Failure::unavailable(
                                "the database",
                                "what was written to it is not there",
                            ));
                        }
                    }
                }
            };
            Ok((Store::Postgres(Box::new(store)), vault))
        }
    }
}

fn unlock(pem: &str, options: &Options) -> Result<Vault, Failure> {
    Vault::unlock(pem, passphrase(options)?).map_err(wrong)
}

fn passphrase(options: &Options) -> Result<&Passphrase, Failure> {
    let problem =
        "the store has keys that are sealed under a passphrase; set IMGKIT_PASSPHRASE, or give --passphrase-fd N";
    let passphrase = options.passphrase.as_ref();
    passphrase.ok_or_else(|| Failure::malformed("the server's keys", problem))
}

fn wrong(error: KeyError) -> Failure {
    Failure::malformed("the server's keys", error)
}
