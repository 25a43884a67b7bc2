//! Connections: accepting, TLS, HTTP/1.1, and an orderly end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Server;
use super::patient::{Patient, Rate};
use crate::limit;

/// The pause after a connection could not be accepted: the system is out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until `stop` is done, then finishes the requests under way.
pub(super) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(limit::SERVER_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        // Also while all places are taken.
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok(place) = place else { break };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (server, acceptor, watcher) = (Arc::clone(&server), acceptor.clone(), graceful.watcher());
        tokio::spawn(async move {
            server.metrics.connections.fetch_add(1, Ordering::Relaxed);
            handle(&server, stream, acceptor, watcher).await;
            server.metrics.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    // Who has not finished by then is cut off.
    let _ = tokio::time::timeout(limit::SHUTDOWN_GRACE, graceful.shutdown()).await;
}

async fn handle(
    server: &Arc<Server>,
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Answers are written whole; waiting to fill packets only delays them.
    let _ = stream.set_nodelay(true);
    let rate = Rate {
        bytes: limit::SLOWEST_WINDOW_BYTES,
        within: limit::RATE_WINDOW,
    };
    let stream = Patient::new(stream, rate);
    match acceptor {
        Some(acceptor) => {
            let handshake = tokio::time::timeout(limit::CLIENT_TIMEOUT, acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                talk(server, stream, watcher).await;
            }
        }
        None => talk(server, stream, watcher).await,
    }
}

async fn talk<S>(server: &Arc<Server>, stream: S, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request| {
        let server = Arc::clone(server);
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Whoever says no more may wait for an answer yet; and who has gone keeps its place until what it began is done.
        .half_close(true)
        // It runs between requests as well, so that idle connections end.
        .header_read_timeout(limit::CLIENT_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that broke concerns its client alone.
    let _ = watcher.watch(connection).await;
}
