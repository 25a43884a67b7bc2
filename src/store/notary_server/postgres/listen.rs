//! Hearing what other servers change.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::poll_fn;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};

use super::{CHANNEL, Place};
use crate::failure::Failure;
use crate::store::notary_server::cache::Cache;
use crate::store::notary_server::route::Gun;

/// How often it is tried whether the database can still be heard, how long the answer may take, and the pause before another
/// connection: together they bound how long a cut line goes unnoticed.
const BEAT: Duration = Duration::from_secs(1);

/// Keeps `cache` true for as long as the server runs: whatever is notified is dropped, and while nothing can be heard nothing is kept.
pub(super) async fn follow(place: Place, cache: Arc<Cache>) {
    loop {
        let _ = hear(&place, &cache).await;
        cache.close();
        tokio::time::sleep(BEAT).await;
    }
}

async fn hear(place: &Place, cache: &Cache) -> Result<(), Failure> {
    match &place.tls {
        Some(tls) => {
            let (client, connection) = place.answer(place.config.connect(tls.clone())).await?;
            hear_on(client, connection, cache).await
        }
        None => {
            let (client, connection) = place.answer(place.config.connect(NoTls)).await?;
            hear_on(client, connection, cache).await
        }
    }
    .map_err(|error| place.cannot(&error))
}

async fn hear_on<S, T>(
    client: Client,
    mut connection: Connection<S, T>,
    cache: &Cache,
) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = poll_fn(move |context| connection.poll_message(context));
    let beat = async {
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        // What was read before counts for nothing: a change may have passed unheard.
        cache.open();
        loop {
            tokio::time::sleep(BEAT).await;
            match tokio::time::timeout(BEAT, client.batch_execute("")).await {
                Ok(answer) => answer?,
                Err(_) => return Ok(()),
            }
        }
    }
    .fuse();
    let mut beat = std::pin::pin!(beat);
    loop {
        tokio::select! {
            end = &mut beat => return end,
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(note))) => {
                    if let Some(gun) = Gun::new(note.payload()) {
                        cache.forget(&gun);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}
