//! One request, from its head to its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::AcquireError;

use super::answer::{self, Answer, Lifetime, Refused};
use super::auth::Access;
use super::metrics::Operation;
use super::ready::Ready;
use super::record::{ChangeQuery, Collection};
use super::route::{Gun, HeldRole, Route, Which};
use super::store::off_the_loop;
use super::{Server, http_date};
use crate::failure::Failure;
use crate::limit;

/// What the route and method of a request ask for.
enum Task {
    Base,
    Changes(Option<Gun>),
    Delete(Gun),
    File(Gun, String, Which),
    Health,
    Key(Gun, HeldRole),
    Metrics,
    Publish(Gun),
    Rotate(Gun, HeldRole),
}

impl Server {
    /// Answers a request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let began = (self.clock.elapsed)();
        let (operation, answer) = match task_of(request.method(), Route::of(request.uri().path())) {
            Ok(task) => (task.operation(), self.work(task, request).await),
            Err(allowed) => (Operation::Other, wrong_method(allowed)),
        };
        let took = (self.clock.elapsed)().saturating_sub(began);
        self.metrics.count(operation, answer.status().as_u16(), took);
        answer
    }

    async fn work(self: &Arc<Self>, task: Task, request: Request<Incoming>) -> Answer {
        if let Err(answer) = self.let_in(&task, &request) {
            return *answer;
        }
        let result = match task {
            Task::Base => Ok(answer::json_text("{}")),
            Task::Changes(gun) => self.changes(gun, request.uri().query().unwrap_or_default()).await,
            Task::Delete(gun) => {
                let server = Arc::clone(self);
                let deleted = self.begin(async move { server.delete(&gun).await }).await;
                deleted.map(|()| answer::empty())
            }
            Task::File(gun, role, which) => self.file(&gun, &role, &which, &request).await,
            Task::Health => Ok(self.health().await),
            Task::Key(gun, role) => self.key_for(gun, role, false).await.map(answer::json_text),
            Task::Metrics => Ok(answer::text(
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics.text(),
            )),
            Task::Publish(gun) => self.take_upload(&gun, request).await.map(|()| answer::empty()),
            Task::Rotate(gun, role) => self.key_for(gun, role, true).await.map(answer::json_text),
        };
        result.unwrap_or_else(|refused| refused.answer())
    }

    /// Does work to its end, also where the client goes away meanwhile: memory has to learn of what was published, and what is judged
    /// takes its room until it is done.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<T, Refused> {
        let done = tokio::spawn(work).await;
        let failed = |error| self.own_fault(&Failure::unavailable("the server's own work", error));
        done.map_err(failed).flatten()
    }

    async fn key_for(self: &Arc<Self>, gun: Gun, role: HeldRole, rotate: bool) -> Result<String, Refused> {
        let server = Arc::clone(self);
        self.begin(async move { server.key(&gun, role, rotate).await }).await
    }

    /// Does work to its end that a request without an upload asks for: clients who ask and leave begin no more than a few.
    async fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<T, Refused> {
        let place = soon(Arc::clone(&self.changes).acquire_owned(), limit::UPLOAD_WAIT).await?;
        let in_its_place = async move {
            let _place = place;
            work.await
        };
        self.to_its_end(in_its_place).await
    }

    /// Checks that the collection is one of this server's, and that the client may do what it asks for.
    fn let_in(&self, task: &Task, request: &Request<Incoming>) -> Result<(), Box<Answer>> {
        let (gun, access) = match task {
            Task::Health | Task::Metrics => return Ok(()),
            Task::Base => (None, None),
            Task::Changes(None) => (None, Some(Access::catalog())),
            Task::Changes(Some(gun)) | Task::File(gun, ..) => {
                (Some(gun), self.auth.as_ref().map(|_| Access::pull(gun)))
            }
            Task::Key(gun, _) | Task::Publish(gun) => (Some(gun), Some(Access::push(gun))),
            Task::Delete(gun) | Task::Rotate(gun, _) => (Some(gun), Some(Access::all(gun))),
        };
        let ours = |gun: &Gun| {
            let mut prefixes = self.prefixes.iter();
            self.prefixes.is_empty() || prefixes.any(|prefix| gun.as_str().starts_with(prefix.as_str()))
        };
        if gun.is_some_and(|gun| !ours(gun)) {
            let refused = match task {
                Task::Publish(_) => Refused::invalid_gun(&self.prefixes),
                _ => Refused::no_such_metadata(),
            };
            return Err(Box::new(refused.answer()));
        }
        let Some(auth) = &self.auth else { return Ok(()) };
        let now = (self.clock.now)().map_err(|failure| Box::new(self.own_fault(&failure).answer()))?;
        auth.check(request.headers(), access.as_ref(), now)
    }

    async fn file(
        self: &Arc<Self>,
        gun: &Gun,
        role: &str,
        which: &Which,
        request: &Request<Incoming>,
    ) -> Result<Answer, Refused> {
        let collection = self.fresh(gun, role, which).await?;
        let wanted = |file: &&Arc<Ready>| match which {
            Which::Current => true,
            Which::Hash(hash) => file.sha256() == *hash,
            Which::Version(version) => file.version() == *version,
        };
        let lifetime = match which {
            Which::Current => Lifetime::Current,
            Which::Hash(_) | Which::Version(_) => Lifetime::Fixed,
        };
        let file = match (collection.file(role).filter(wanted), which) {
            (Some(file), _) => Arc::clone(file),
            (None, Which::Current) => {
                let hash = collection.left_out(role).ok_or_else(Refused::no_such_metadata)?;
                Arc::new(self.stored(gun, role, &Which::Hash(hash)).await?)
            }
            (None, which) => Arc::new(self.stored(gun, role, which).await?),
        };
        if file.is_slow_to_compress() && answer::wants_gzip(request.headers()) {
            let file = Arc::clone(&file);
            let compressed = off_the_loop(move || Ok(file.gzip().is_some())).await;
            compressed.map_err(|failure| self.own_fault(&failure))?;
        }
        Ok(answer::file(&file, lifetime, self.auth.is_some(), request.headers()))
    }

    /// Reads a file that memory does not hold, a few at once; it takes its place among those that are sent until it was.
    async fn stored(&self, gun: &Gun, role: &str, which: &Which) -> Result<Ready, Refused> {
        let read = self.reads.acquire().await;
        let _read = read.map_err(|error| self.own_fault(&Failure::unavailable("the server's own work", error)))?;
        let found = self.store.file(gun, role, which).await;
        let found = found.map_err(|failure| self.own_fault(&failure))?;
        let file = found.ok_or_else(Refused::no_such_metadata)?;
        let bytes = file.body().len();
        if bytes <= limit::SERVER_SMALL_FILE_BYTES {
            return Ok(file.sent_once(None));
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Nobody waits here: what waits is in memory as well.
        let place = Arc::clone(&self.sending).try_acquire_many_owned(bytes);
        Ok(file.sent_once(Some(place.map_err(|_| Refused::busy())?)))
    }

    /// Returns a collection as it is published, its timestamp renewed when it is due.
    async fn fresh(self: &Arc<Self>, gun: &Gun, role: &str, which: &Which) -> Result<Arc<Collection>, Refused> {
        let collection = self.current(gun).await.map_err(|failure| self.own_fault(&failure))?;
        let signed_here = *which == Which::Current && matches!(role, "timestamp" | "snapshot");
        if !signed_here || !(self.clock.now)().is_ok_and(|now| collection.take_due(now)) {
            return Ok(collection);
        }
        let (server, due) = (Arc::clone(self), gun.clone());
        let renewing = async move { server.renew(&due).await.map_err(|failure| server.own_fault(&failure)) };
        match self.begin(renewing).await {
            Ok(true) => self.current(gun).await.map_err(|failure| self.own_fault(&failure)),
            // What is there counts for a while yet.
            Ok(false) | Err(_) => Ok(collection),
        }
    }

    /// Returns a collection as it is published, from memory where possible.
    pub(super) async fn current(&self, gun: &Gun) -> Result<Arc<Collection>, Failure> {
        if let Some(collection) = self.cache.find(gun) {
            self.metrics.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(collection);
        }
        self.metrics.misses.fetch_add(1, Ordering::Relaxed);
        let read = self.reads.acquire().await;
        let _read = read.map_err(|error| Failure::unavailable("the server's own work", error))?;
        // Whoever waited may find what another has read.
        if let Some(collection) = self.cache.find(gun) {
            return Ok(collection);
        }
        let epoch = self.cache.epoch();
        let collection = self.store.collection(gun).await?;
        let collection = Arc::new(match self.cache.fits(gun, &collection) {
            true => collection,
            false => collection.part(limit::SERVER_CACHED_PART_BYTES),
        });
        if collection.is_published() {
            self.cache.put(gun, &collection, epoch);
        }
        Ok(collection)
    }

    /// Returns a role's file of a collection that [`Self::current`] gave.
    pub(super) async fn file_of(
        &self,
        gun: &Gun,
        collection: &Collection,
        role: &str,
    ) -> Result<Option<Arc<Ready>>, Failure> {
        match (collection.file(role), collection.left_out(role)) {
            (Some(file), _) => Ok(Some(Arc::clone(file))),
            (None, Some(hash)) => {
                let found = self.store.file(gun, role, &Which::Hash(hash)).await?;
                Ok(found.map(Arc::new))
            }
            (None, None) => Ok(None),
        }
    }

    async fn delete(self: &Arc<Self>, gun: &Gun) -> Result<(), Refused> {
        let _turn = self.turn(gun).lock().await;
        let now = (self.clock.now)().map_err(|failure| self.own_fault(&failure))?;
        let keys = self.store.keys(gun).await.map_err(|failure| self.own_fault(&failure))?;
        let deleted = self.store.delete(gun, now).await;
        self.cache.forget(gun);
        deleted.map_err(|failure| self.own_fault(&failure))?;
        self.destroy_keys(gun, keys).await;
        Ok(())
    }

    async fn changes(&self, gun: Option<Gun>, query: &str) -> Result<Answer, Refused> {
        let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let find = |name: &str| pairs.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let records = find("records").and_then(|records| records.parse().ok());
        let wrong = "invalid records parameter, must be an integer (a negative number of records goes back)";
        let records = records.ok_or_else(|| Refused::invalid_parameters(wrong))?;
        let change_id = match find("change_id") {
            None | Some("") => 0,
            Some(id) => id
                .parse()
                .map_err(|_| Refused::invalid_parameters("invalid change_id parameter, must be an integer"))?,
        };
        let changes = self.store.changes(ChangeQuery::new(gun, change_id, records)).await;
        let changes = changes.map_err(|failure| self.own_fault(&failure))?;
        let body = json!({ "count": changes.len(), "records": changes }).to_string();
        let mut answer = answer::json_text(body);
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }

    async fn health(&self) -> Answer {
        match self.store.check().await {
            Ok(()) => answer::json_text("{}"),
            Err(failure) => {
                self.own_fault(&failure);
                let mut answer = answer::json_text(json!({ "store": "the store does not answer" }).to_string());
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer
            }
        }
    }

    /// Logs what the client is not told, as it is not its fault.
    pub(super) fn own_fault(&self, failure: &Failure) -> Refused {
        let at = (self.clock.now)().map(http_date::write).unwrap_or_default();
        (self.log)(&format!("{at}: {failure}"));
        Refused::unknown()
    }
}

impl Task {
    fn operation(&self) -> Operation {
        match self {
            Self::Base => Operation::Base,
            Self::Changes(_) => Operation::Changefeed,
            Self::Delete(_) => Operation::DeleteTuf,
            Self::File(_, _, Which::Current) => Operation::GetRole,
            Self::File(_, _, Which::Hash(_)) => Operation::GetRoleByHash,
            Self::File(_, _, Which::Version(_)) => Operation::GetRoleByVersion,
            Self::Health | Self::Metrics => Operation::Other,
            Self::Key(..) => Operation::GetKey,
            Self::Publish(_) => Operation::UpdateTuf,
            Self::Rotate(..) => Operation::RotateKey,
        }
    }
}

/// Waits for a permit, but not for ever.
pub(super) async fn soon<P>(
    permit: impl Future<Output = Result<P, AcquireError>>,
    wait: Duration,
) -> Result<P, Refused> {
    match tokio::time::timeout(wait, permit).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Refused::busy()),
    }
}

/// Reads what is asked for, or says which methods the path has; none when it names nothing.
fn task_of(method: &Method, route: Route) -> Result<Task, &'static str> {
    let read = method == Method::GET || method == Method::HEAD;
    Ok(match route {
        Route::Base if read => Task::Base,
        Route::Changes(gun) if read => Task::Changes(gun),
        Route::Collection(gun) if method == Method::POST => Task::Publish(gun),
        Route::Collection(gun) if method == Method::DELETE => Task::Delete(gun),
        Route::File(gun, role, which) if read => Task::File(gun, role, which),
        // Asking for a key may make one, so this is no GET that HEAD could stand for.
        Route::Key(gun, role) if method == Method::GET => Task::Key(gun, role),
        Route::Key(gun, role) if method == Method::POST => Task::Rotate(gun, role),
        Route::Health if read => Task::Health,
        Route::Metrics if read => Task::Metrics,
        Route::Nothing => return Err(""),
        Route::Collection(_) => return Err("POST, DELETE"),
        Route::Key(..) => return Err("GET, POST"),
        _ => return Err("GET, HEAD"),
    })
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = match allowed {
        "" => Refused::no_such_metadata().answer(),
        _ => Refused::no_such_resource().answer(),
    };
    if !allowed.is_empty() {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::record::Publication;
    use super::super::{Bound, Clock, Options, StoreOptions};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    use crate::key::{Algorithm, Passphrase};
    use crate::time::Time;
    use crate::trust::notary::NewFile;
    use bytes::Bytes;
    use hyper::header::RETRY_AFTER;
    use tokio::sync::Semaphore;

    async fn server(dir: &std::path::Path) -> Arc<Server> {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            store: StoreOptions::Directory(dir.join("store")),
            tls: None,
            passphrase: Some(Passphrase::new("correct horse").unwrap()),
            token: None,
            algorithm: Algorithm::Ed25519,
            tokens: None,
            prefixes: Vec::new(),
            clock: Clock {
                now: Arc::new(|| Ok(Time::EPOCH)),
                elapsed: Arc::new(|| Duration::ZERO),
            },
            log: Arc::new(|_| {}),
        };
        Bound::new(options).await.unwrap().server
    }

    #[tokio::test]
    async fn clients_who_ask_and_leave_begin_no_more_than_a_few() {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path()).await;
        let gun = Gun::new("example.com/app").unwrap();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        // As while an upload to the collection is judged.
        let turn = server.turn(&gun).lock().await;
        let before = tasks();
        for _ in 0..3 * limit::CHANGES_BEGUN {
            let asked = server.key_for(gun.clone(), HeldRole::Timestamp, false);
            let left = tokio::time::timeout(Duration::from_millis(1), asked).await;
            assert!(left.is_err());
        }
        assert_eq!(tasks() - before, limit::CHANGES_BEGUN);
        let renewed = tokio::time::timeout(Duration::from_millis(1), server.begin(async { Ok(()) })).await;
        assert!(renewed.is_err(), "there is no place left");
        drop(turn);
        // What was begun comes to its end, and makes room.
        assert!(server.key_for(gun.clone(), HeldRole::Timestamp, false).await.is_ok());
        while server.changes.available_permits() < limit::CHANGES_BEGUN {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_shares_a_turn_is_known_to_the_server_alone() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [one, other] = [server(dirs[0].path()).await, server(dirs[1].path()).await];
        let guns = || (0..100).map(|number| Gun::new(&format!("example.com/{number}")).unwrap());
        let turns = |server: &Server| -> Vec<_> {
            let place = |gun: Gun| {
                let mut turns = server.turns.iter();
                turns.position(|turn| std::ptr::eq(turn, server.turn(&gun)))
            };
            guns().map(place).collect()
        };
        assert_eq!(turns(&one), turns(&one));
        assert_ne!(turns(&one), turns(&other));
    }

    #[tokio::test]
    async fn who_finds_no_room_is_told_when_to_come_again() {
        let room = Semaphore::new(3);
        let wait = Duration::from_millis(20);
        let taken = soon(room.acquire_many(2), wait).await.unwrap();
        let refused = soon(room.acquire_many(2), wait).await.unwrap_err().answer();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().get(RETRY_AFTER).unwrap(), "10");
        drop(taken);
        assert!(soon(room.acquire_many(2), wait).await.is_ok());
    }

    #[tokio::test]
    async fn an_upload_that_cannot_be_judged_takes_no_turn() {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path()).await;
        let gun = Gun::new("example.com/app").unwrap();
        let _turns = (server.turn(&gun).lock().await, server.judge.turn().await);
        let signatures = vec!["{}"; limit::UPLOAD_SIGNATURES + 1].join(",");
        for file in ["{".to_owned(), format!("{{\"signatures\":[{signatures}]}}")] {
            let files = BTreeMap::from([("targets".to_owned(), Bytes::from(file))]);
            let published = tokio::time::timeout(Duration::from_secs(10), server.publish(&gun, files)).await;
            assert_eq!(published.unwrap().unwrap_err().status, StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn files_that_memory_does_not_hold_are_sent_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path()).await;
        let gun = Gun::new("example.com/app").unwrap();
        let small = b"0123456789".repeat(100);
        let large = b"0123456789".repeat(limit::SERVER_SMALL_FILE_BYTES / 10 + 1);
        let file = |role: &str, version: u64, body: &[u8]| NewFile {
            role: role.into(),
            version,
            bytes: [version.to_string().as_bytes(), body].concat(),
        };
        for base in 0..2 {
            let publication = Publication {
                gun: gun.clone(),
                base,
                files: vec![file("timestamp", base + 1, &large), file("root", base + 1, &small)],
                used: BTreeSet::new(),
                at: Time::EPOCH,
            };
            server.store.publish(publication).await.unwrap();
        }
        let all = limit::SERVER_SENDING_BYTES;
        let which = Which::Version(1);
        let old = server.stored(&gun, "timestamp", &which).await.unwrap();
        let left = all - old.body().len();
        assert_eq!(old.body().len(), large.len() + 1);
        assert!(old.gzip().is_none() && !old.is_slow_to_compress());
        assert_eq!(server.sending.available_permits(), left);
        let sent = old.body().slice(1..);
        drop(old);
        assert_eq!(server.sending.available_permits(), left, "it is being sent yet");
        let rest = Arc::clone(&server.sending).acquire_many_owned(left as u32);
        let rest = rest.await.unwrap();
        let refused = server.stored(&gun, "timestamp", &which).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        // Old roots, which clients walk through, are to be had all the same.
        server.stored(&gun, "root", &which).await.unwrap();
        drop((sent, rest));
        assert_eq!(server.sending.available_permits(), all);
    }
}
