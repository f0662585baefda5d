//! The HTTP server: an engine, spoken to as Prometheus is.
//!
//! Owns: the protocol (paths, parameters, JSON, remote write and read, what a scrape gets), who may
//! ask for what, and how much at once. Does not own: what an expression means (`promql`), the text
//! formats (`integration`), or the engine, which its host goes on using. TLS is for a proxy in front.
//!
//! Sockets are moved by few threads of tokio; whatever computes, compresses or waits for the log runs
//! on blocking threads, a bounded number at once. A client that hangs up cancels its query.
//!
//! ```
//! use std::sync::Arc;
//! use icecore::server::{Server, ServerOptions};
//! use icecore::{Engine, Options};
//!
//! # fn main() -> icecore::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let path = dir.path();
//! let engine = Arc::new(Engine::open(path, Options::default())?);
//! let listen = "127.0.0.1:0".parse().expect("an address");
//! let server = Server::spawn(Arc::clone(&engine), ServerOptions { listen, ..ServerOptions::default() })?;
//! println!("http://{}", server.local_addr());
//! server.shutdown();
//! # Ok(())
//! # }
//! ```

mod access;
mod body;
mod export;
mod failure;
mod json;
mod listen;
mod measures;
mod metadata;
mod number;
mod options;
mod output;
mod overview;
mod page;
mod parameters;
mod queries;
pub mod remote;
mod routes;
mod status;
mod work;
mod writes;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, watch};

pub use access::{Scope, Tokens};
pub use options::{RequestRate, ServerOptions};

use self::access::Door;
use self::measures::Measures;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// What every request shares.
#[derive(Debug)]
struct App {
    engine: Arc<Engine>,
    options: ServerOptions,
    door: Door,
    measures: Measures,
    queries: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    began: Timestamp,
}

/// A server that runs. Dropping it shuts it down.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers from threads of its own until it is shut down.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; [`Error::Io`] where the address cannot be listened on, or threads
    /// cannot be had.
    pub fn spawn(engine: Arc<Engine>, options: ServerOptions) -> Result<Self> {
        options.check()?;
        let at = PathBuf::from(options.listen.to_string());
        let failed = |error| Error::io("listen on", &at, error);
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads)
            .thread_name("icecore-http")
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let permits = |count: u32| Arc::new(Semaphore::new(count as usize));
        let app = Arc::new(App {
            door: Door::new(&options),
            measures: Measures::default(),
            queries: permits(options.queries_max),
            writes: permits(options.writes_max),
            began: engine.now(),
            engine,
            options,
        });
        let (stop, stopped) = watch::channel(false);
        let run = move || {
            let patience = app.options.shutdown_timeout;
            runtime.block_on(listen::serve(listener, app, stopped));
            // What is left computes a query that was cancelled: it ends within a chunk.
            runtime.shutdown_timeout(patience);
        };
        let thread = std::thread::Builder::new()
            .name("icecore-http-main".to_owned())
            .spawn(run)
            .map_err(failed)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens: the port that was free, where port 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets requests under way end (those that take longer than
    /// [`ServerOptions::shutdown_timeout`] are cut off), and waits for that. The engine stays open.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Fails only where nobody listens any more.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was told by its hook, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
