//! Collections in PostgreSQL, for any number of servers.
//!
//! - A publication is one transaction that holds its collection's row; it ends in nothing when another came first.
//! - Every transaction that changes a collection tells all servers so (`NOTIFY`); what they have in memory counts only while
//!   they listen, and a server that can no longer be told forgets everything within two seconds.
//! - The changefeed's numbers are given out one transaction after the other, so that none appears behind a later one.
//! - Reads share one connection and are sent without waiting for each other; transactions have one of their own.

mod listen;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::cache::Cache;
use super::ready::Ready;
use super::record::{Change, ChangeQuery, Collection, HeldKey, LeftOut, Publication, Published, ReadRoles, damaged};
use super::route::{Gun, HeldRole};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::key::KeyId;
use crate::limit;
use crate::time::Time;

/// The channel on which servers tell each other what changed.
const CHANNEL: &str = "imgkit_notary";

/// Held while a change gets its number: a number of imgkit's own.
const CHANGES_LOCK: i64 = 0x696d_676b_6975;

const MAKE_COLLECTION: &str = "INSERT INTO imgkit_notary_collections VALUES ($1, 0) ON CONFLICT DO NOTHING";
const LOCK_REVISION: &str = "SELECT revision FROM imgkit_notary_collections WHERE gun = $1 FOR UPDATE";
const SET_REVISION: &str = "UPDATE imgkit_notary_collections SET revision = $2 WHERE gun = $1";

/// A database and the way to it.
pub(super) struct Postgres {
    place: Place,
    reader: Mutex<Option<Arc<Client>>>,
    writer: Mutex<Option<Client>>,
}

/// How connections are made.
#[derive(Clone)]
struct Place {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// For messages: without the password.
    name: String,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({})", self.place.name)
    }
}

impl Postgres {
    /// Connects, and brings the tables up to date.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the address is none, holds a password, or would send one in the clear over a network;
    /// [`Failure::Unavailable`] when the database does not answer.
    pub(super) async fn open(url: &str, password: Option<&str>, ca: Option<&[u8]>) -> Result<Self, Failure> {
        let place = Place::new(url, password, ca)?;
        let mut client = place.connect().await?;
        let newer = place.answer(schema::migrate(&mut client)).await?;
        if let Some(version) = newer {
            let problem = format!("its tables are of version {version}, newer than this imgkit knows; update imgkit");
            return Err(Failure::unavailable(&place.name, problem));
        }
        Ok(Self {
            place,
            reader: Mutex::new(None),
            writer: Mutex::new(Some(client)),
        })
    }

    /// Starts to listen for what other servers change, and lets `cache` know; it ends with the returned task.
    pub(super) fn listen(&self, cache: Arc<Cache>) -> JoinHandle<()> {
        tokio::spawn(listen::follow(self.place.clone(), cache))
    }

    /// Returns the sealed master key; `new` is kept and returned when there is none.
    pub(super) async fn vault(&self, new: Option<&str>) -> Result<Option<String>, Failure> {
        let client = self.reader().await?;
        if let Some(new) = new {
            let insert = "INSERT INTO imgkit_notary_vault VALUES (true, $1) ON CONFLICT DO NOTHING";
            self.place.answer(client.execute(insert, &[&new])).await?;
        }
        let row = client.query_opt("SELECT pem FROM imgkit_notary_vault", &[]);
        let row = self.place.answer(row).await?;
        row.map(|row| self.get(&row, 0)).transpose()
    }

    /// Returns a collection as it is published; one without files when it is not. Of roles that were taken away it has no more than a
    /// version.
    pub(super) async fn collection(&self, gun: &Gun) -> Result<Collection, Failure> {
        let client = self.reader().await?;
        // One statement sees one state; what it names is never changed.
        let select = "SELECT DISTINCT ON (f.role) c.revision, f.role, f.version, f.sha256,
                             CASE f.role WHEN 'snapshot' THEN f.data END
                      FROM imgkit_notary_collections c LEFT JOIN imgkit_notary_files f USING (gun)
                      WHERE gun = $1 ORDER BY f.role, f.version DESC";
        let rows = self.place.answer(client.query(select, &[&gun.as_str()])).await?;
        let mut revision = 0;
        let mut newest: BTreeMap<String, LeftOut> = BTreeMap::new();
        let mut snapshot: Option<Vec<u8>> = None;
        for row in &rows {
            revision = self.number(row, 0)?;
            if let Some(role) = self.get::<Option<String>>(row, 1)? {
                newest.insert(role, (self.digest(gun, row, 3)?, self.number(row, 2)?));
                snapshot = snapshot.or(self.get(row, 4)?);
            }
        }
        let read = ReadRoles::by(snapshot.as_deref());
        let (named, behind): (BTreeMap<_, _>, BTreeMap<_, _>) =
            newest.into_iter().partition(|(role, _)| read.has(role));
        let roles: Vec<&str> = named.keys().map(String::as_str).collect();
        let versions: Vec<i64> = named.values().map(|(_, version)| *version as i64).collect();
        let select = "SELECT f.role, f.version, f.sha256, f.data, f.at
                      FROM unnest($2::text[], $3::bigint[]) AS named (role, version)
                      JOIN imgkit_notary_files f ON f.gun = $1 AND f.role = named.role AND f.version = named.version";
        let rows = async { client.query(select, &[&gun.as_str(), &roles, &versions]).await };
        let mut files = BTreeMap::new();
        for row in &self.place.answer(rows).await? {
            files.insert(self.get::<String>(row, 0)?, Arc::new(self.file(gun, row, 1)?));
        }
        let is_there =
            |(role, (sha256, _)): (&String, &LeftOut)| files.get(role).is_some_and(|file| file.sha256() == *sha256);
        match named.iter().all(is_there) {
            true => Ok(Collection::new(revision, files, behind)),
            false => Err(Failure::unavailable(gun, "it was deleted while it was read; try again")),
        }
    }

    /// Returns a role's file by its hash.
    pub(super) async fn by_hash(&self, gun: &Gun, role: &str, hash: Digest) -> Result<Option<Ready>, Failure> {
        let client = self.reader().await?;
        let select =
            "SELECT version, sha256, data, at FROM imgkit_notary_files WHERE gun = $1 AND role = $2 AND sha256 = $3
                      ORDER BY version LIMIT 1";
        let row = async {
            client
                .query_opt(select, &[&gun.as_str(), &role, &hash.as_bytes()])
                .await
        };
        let row = self.place.answer(row).await?;
        row.map(|row| self.file(gun, &row, 0)).transpose()
    }

    /// Returns a role's file by its version.
    pub(super) async fn by_version(&self, gun: &Gun, role: &str, version: u64) -> Result<Option<Ready>, Failure> {
        let Ok(version) = i64::try_from(version) else {
            return Ok(None);
        };
        let client = self.reader().await?;
        let select =
            "SELECT version, sha256, data, at FROM imgkit_notary_files WHERE gun = $1 AND role = $2 AND version = $3";
        let row = async { client.query_opt(select, &[&gun.as_str(), &role, &version]).await };
        let row = self.place.answer(row).await?;
        row.map(|row| self.file(gun, &row, 0)).transpose()
    }

    /// Publishes all files or none.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<Published, Failure> {
        let mut writer = self.writer().await?;
        let client = self.client(&mut writer)?;
        self.place.answer(publish(client, publication)).await
    }

    /// Deletes a collection with its history and keys.
    pub(super) async fn delete(&self, gun: &Gun, at: Time) -> Result<(), Failure> {
        let mut writer = self.writer().await?;
        let client = self.client(&mut writer)?;
        self.place.answer(delete(client, gun, at)).await
    }

    /// Returns the server's keys for a collection.
    pub(super) async fn keys(&self, gun: &Gun) -> Result<Vec<HeldKey>, Failure> {
        let client = self.reader().await?;
        let select = "SELECT role, id, sealed, used FROM imgkit_notary_keys WHERE gun = $1";
        let rows = self.place.answer(client.query(select, &[&gun.as_str()])).await?;
        let key = |row: &Row| {
            Ok(HeldKey {
                role: match self.get::<String>(row, 0)?.as_str() {
                    "snapshot" => HeldRole::Snapshot,
                    "timestamp" => HeldRole::Timestamp,
                    other => return Err(damaged(gun, format!("a key of the role {other}"))),
                },
                id: KeyId::new(self.get::<String>(row, 1)?).map_err(|error| damaged(gun, error))?,
                kept: self.get(row, 2)?,
                used: self.get(row, 3)?,
            })
        };
        rows.iter().map(key).collect()
    }

    /// Keeps a new key, unless another server made one for the same role at the same time.
    pub(super) async fn add_key(&self, gun: &Gun, key: &HeldKey) -> Result<(), Failure> {
        let client = self.reader().await?;
        let insert = "INSERT INTO imgkit_notary_keys (gun, role, id, sealed, used) VALUES ($1, $2, $3, $4, false)
                      ON CONFLICT DO NOTHING";
        let (role, id) = (key.role.name(), key.id.as_str());
        let inserted = async { client.execute(insert, &[&gun.as_str(), &role, &id, &key.kept]).await };
        self.place.answer(inserted).await.map(drop)
    }

    /// Returns the collections whose timestamp was made before `time`.
    pub(super) async fn older_than(&self, time: Time) -> Result<Vec<Result<Gun, Failure>>, Failure> {
        let client = self.reader().await?;
        let select = "SELECT gun FROM imgkit_notary_files WHERE role = 'timestamp' GROUP BY gun HAVING max(at) < $1";
        let rows = self.place.answer(client.query(select, &[&time.unix()])).await?;
        let guns: Result<Vec<String>, _> = rows.iter().map(|row| self.get(row, 0)).collect();
        Ok(guns?.iter().filter_map(|gun| Gun::new(gun)).map(Ok).collect())
    }

    /// Returns lines of the changefeed, oldest first.
    pub(super) async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, Failure> {
        let client = self.reader().await?;
        let (gun, count) = (query.gun.as_ref().map(Gun::as_str), query.count as i64);
        let from = query.from.and_then(|from| i64::try_from(from).ok());
        let select = match query.back {
            true => {
                "SELECT id, at, gun, version, sha256 FROM imgkit_notary_changes
                 WHERE ($1::text IS NULL OR gun = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
            }
            false => {
                "SELECT id, at, gun, version, sha256 FROM imgkit_notary_changes
                 WHERE ($1::text IS NULL OR gun = $1) AND ($2::bigint IS NULL OR id > $2) ORDER BY id LIMIT $3"
            }
        };
        let rows = self.place.answer(client.query(select, &[&gun, &from, &count])).await?;
        let change = |row: &Row| {
            let sha256: Option<Vec<u8>> = self.get(row, 4)?;
            Ok(Change {
                id: self.number(row, 0)?.to_string(),
                at: self.time(row, 1)?,
                gun: self.get(row, 2)?,
                version: self.number(row, 3)?,
                category: if sha256.is_some() {
                    Change::UPDATE
                } else {
                    Change::DELETION
                },
                sha256: sha256.map(hex::encode).unwrap_or_default(),
            })
        };
        let mut changes: Vec<_> = rows.iter().map(change).collect::<Result<_, Failure>>()?;
        if query.back {
            changes.reverse();
        }
        Ok(changes)
    }

    /// Says whether the database answers.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let client = self.reader().await?;
        let select = client.query_one("SELECT version FROM imgkit_notary_schema", &[]);
        self.place.answer(select).await.map(drop)
    }

    async fn reader(&self) -> Result<Arc<Client>, Failure> {
        let mut reader = self.reader.lock().await;
        match reader.as_ref().filter(|client| !client.is_closed()) {
            Some(client) => Ok(Arc::clone(client)),
            None => Ok(Arc::clone(reader.insert(Arc::new(self.place.connect().await?)))),
        }
    }

    async fn writer(&self) -> Result<MutexGuard<'_, Option<Client>>, Failure> {
        let mut writer = self.writer.lock().await;
        if writer.as_ref().is_none_or(Client::is_closed) {
            *writer = Some(self.place.connect().await?);
        }
        Ok(writer)
    }

    fn client<'a>(&self, writer: &'a mut MutexGuard<'_, Option<Client>>) -> Result<&'a mut Client, Failure> {
        writer
            .as_mut()
            .ok_or_else(|| Failure::unavailable(&self.place.name, "there is no connection"))
    }

    fn file(&self, gun: &Gun, row: &Row, first: usize) -> Result<Ready, Failure> {
        let (sha256, data): (Vec<u8>, Vec<u8>) = (self.get(row, first + 1)?, self.get(row, first + 2)?);
        let digest = Digest::sha256(&data);
        match digest.as_bytes() == sha256.as_slice() {
            true => Ok(Ready::new(
                Bytes::from(data),
                digest,
                self.number(row, first)?,
                self.time(row, first + 3)?,
            )),
            false => Err(damaged(gun, "a file is not what was published")),
        }
    }

    fn digest(&self, gun: &Gun, row: &Row, column: usize) -> Result<Digest, Failure> {
        let sha256: Vec<u8> = self.get(row, column)?;
        let digest = Digest::from_sha256_hex(&hex::encode(sha256));
        digest.map_err(|_| damaged(gun, "a file has no hash"))
    }

    fn time(&self, row: &Row, column: usize) -> Result<Time, Failure> {
        let time = Time::from_unix(self.get(row, column)?);
        time.map_err(|error| Failure::unavailable(&self.place.name, error))
    }

    fn number(&self, row: &Row, column: usize) -> Result<u64, Failure> {
        let number = u64::try_from(self.get::<i64>(row, column)?);
        number.map_err(|error| Failure::unavailable(&self.place.name, error))
    }

    fn get<'a, T: tokio_postgres::types::FromSql<'a>>(&self, row: &'a Row, column: usize) -> Result<T, Failure> {
        row.try_get(column).map_err(|error| self.place.cannot(&error))
    }
}

async fn publish(client: &mut Client, publication: &Publication) -> Result<Published, tokio_postgres::Error> {
    let (gun, at) = (publication.gun.as_str(), publication.at.unix());
    let transaction = client.transaction().await?;
    transaction.execute(MAKE_COLLECTION, &[&gun]).await?;
    let revision: i64 = transaction.query_one(LOCK_REVISION, &[&gun]).await?.try_get(0)?;
    if u64::try_from(revision) != Ok(publication.base) {
        return Ok(Published::Overtaken);
    }
    let insert = transaction
        .prepare(
            "INSERT INTO imgkit_notary_files (gun, role, version, sha256, data, at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    let mut timestamp = (0, Vec::new());
    for file in &publication.files {
        // Versions are below 2^53.
        let (version, sha256) = (file.version as i64, Digest::sha256(&file.bytes).as_bytes().to_vec());
        transaction
            .execute(&insert, &[&gun, &file.role, &version, &sha256, &file.bytes, &at])
            .await?;
        if file.role == "timestamp" {
            timestamp = (version, sha256);
        }
    }
    let used: Vec<&str> = publication.used.iter().map(KeyId::as_str).collect();
    let mark = "UPDATE imgkit_notary_keys SET used = true WHERE gun = $1 AND id = ANY($2)";
    transaction.execute(mark, &[&gun, &used]).await?;
    changed(&transaction, gun, revision + 1, (at, timestamp.0, Some(&timestamp.1))).await?;
    transaction.commit().await?;
    Ok(Published::Done)
}

async fn delete(client: &mut Client, gun: &Gun, at: Time) -> Result<(), tokio_postgres::Error> {
    let gun = gun.as_str();
    let transaction = client.transaction().await?;
    // A first publication that is planned with these keys has no row yet: it is made, so that its revision can change.
    let make = "INSERT INTO imgkit_notary_collections
                SELECT $1::text, 0 WHERE EXISTS (SELECT FROM imgkit_notary_keys WHERE gun = $1::text)
                ON CONFLICT DO NOTHING";
    transaction.execute(make, &[&gun]).await?;
    let row = transaction.query_opt(LOCK_REVISION, &[&gun]).await?;
    let keys = transaction
        .execute("DELETE FROM imgkit_notary_keys WHERE gun = $1", &[&gun])
        .await?;
    let files = transaction
        .execute("DELETE FROM imgkit_notary_files WHERE gun = $1", &[&gun])
        .await?;
    if let Some(row) = row {
        let revision = row.try_get::<_, i64>(0)? + 1;
        if files > 0 {
            changed(&transaction, gun, revision, (at.unix(), 0, None)).await?;
        } else if keys > 0 {
            // What was planned with these keys is planned again; readers saw none of them, so nobody is told.
            transaction.execute(SET_REVISION, &[&gun, &revision]).await?;
        }
    }
    transaction.commit().await
}

/// Writes a new revision and a line of the changefeed, and tells all servers when the transaction ends.
async fn changed(
    transaction: &tokio_postgres::Transaction<'_>,
    gun: &str,
    revision: i64,
    (at, version, sha256): (i64, i64, Option<&Vec<u8>>),
) -> Result<(), tokio_postgres::Error> {
    transaction.execute(SET_REVISION, &[&gun, &revision]).await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&CHANGES_LOCK])
        .await?;
    let insert = "INSERT INTO imgkit_notary_changes (id, at, gun, version, sha256)
                  SELECT coalesce(max(id), 0) + 1, $1, $2, $3, $4 FROM imgkit_notary_changes";
    transaction.execute(insert, &[&at, &gun, &version, &sha256]).await?;
    transaction
        .execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &gun])
        .await?;
    Ok(())
}

impl Place {
    fn new(url: &str, password: Option<&str>, ca: Option<&[u8]>) -> Result<Self, Failure> {
        let bad = |problem: &str| Failure::malformed("--store", problem);
        let config: Result<Config, _> = url.parse();
        // The parser's message could hold the address, and with it a password.
        let mut config =
            config.map_err(|_| bad("it is no PostgreSQL address; expected postgres://USER@HOST:PORT/DATABASE"))?;
        if config.get_password().is_some() {
            return Err(bad("it holds a password, which others can see; set PGPASSWORD instead"));
        }
        if let Some(password) = password {
            config.password(password);
        }
        let local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        };
        let all_local = config.get_hosts().iter().all(local);
        match ca {
            Some(_) => drop(config.ssl_mode(SslMode::Require)),
            None if all_local => drop(config.ssl_mode(SslMode::Disable)),
            None => {
                return Err(bad(
                    "the database is on another machine, and private keys pass by; give --store-ca FILE, which its certificate is checked against",
                ));
            }
        }
        config
            .connect_timeout(limit::CONNECT_TIMEOUT)
            .application_name("imgkit trust serve")
            .options("-c statement_timeout=30s -c idle_in_transaction_session_timeout=30s");
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let name = format!(
            "PostgreSQL {}/{}",
            hosts.join(","),
            config.get_dbname().unwrap_or_default()
        );
        Ok(Self {
            tls: ca.map(super::tls::client).transpose()?.map(MakeRustlsConnect::new),
            config,
            name,
        })
    }

    /// Connects; what drives the connection ends with the client.
    async fn connect(&self) -> Result<Client, Failure> {
        let connected = async {
            Ok(match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(connection);
                    client
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    client
                }
            })
        };
        self.answer(connected).await
    }

    /// Waits for an answer, but not for ever.
    async fn answer<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(limit::READ_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|error| self.cannot(&error)),
            Err(_) => Err(Failure::unavailable(&self.name, "it does not answer")),
        }
    }

    fn cannot(&self, error: &tokio_postgres::Error) -> Failure {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Failure::unavailable(&self.name, text)
    }
}
