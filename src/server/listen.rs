//! Connections: accepted while there is room, ended in good order.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::access::Peer;
use super::{App, routes};

/// Bytes of a request's head: a query in an address may be long.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// How long to wait where the system has no connection to give (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopped` says so, then waits for what is under way.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>, stopped: watch::Receiver<bool>) {
    // A listener that is set up already: registering it fails only without a reactor.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let connections_max = app.options.connections_max;
    let room = Arc::new(Semaphore::new(connections_max as usize));
    let router = routes::router(&app);
    let mut told = stopped.clone();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop_of(&mut told) => break,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, peer))) => {
                let connection = Connection { router: router.clone(), peer, permit };
                tokio::spawn(connection.run(stream, Arc::clone(&app), stopped.clone()));
            }
            _ => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    let all_ended = room.acquire_many(connections_max);
    // Those that take longer are dropped with the runtime, which cancels their queries.
    let _ = tokio::time::timeout(app.options.shutdown_timeout, all_ended).await;
}

/// Ends when the server is told to stop, or nobody is left to tell it.
async fn stop_of(told: &mut watch::Receiver<bool>) {
    let _ = told.wait_for(|stop| *stop).await;
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
        let Self { router, peer, permit } = self;
        // Answers are written whole or in large pieces: waiting to fill packets gains nothing.
        let _ = stream.set_nodelay(true);
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(app.options.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // Errors are the client's: it hung up, or did not speak HTTP.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = stop_of(&mut stopped) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
        drop(permit);
    }
}
