//! `icecore serve`: a store, answered for over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::duration;
use super::screen::Screen;
use super::secret::read_secret;
use super::{Failure, StoreArguments, read_policy};
use crate::engine::Engine;
use crate::options::{GateOptions, Options};
use crate::server::{RequestRate, Server, ServerOptions, Tokens};

/// Serve a store over HTTP: PromQL queries, remote write and read, a page to ask with
///
/// Speaks what Prometheus' clients speak (Grafana: add a data source of type Prometheus with the URL
/// printed). Ends on SIGINT or SIGTERM: requests under way are answered, what is in memory is stored.
/// Listens on this machine only, unless tokens say who may ask; TLS is left to a proxy in front.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore serve --db history                                    then open http://127.0.0.1:9090
  icecore serve --db history --listen 0.0.0.0:9090 --tokens tokens.toml
  icecore serve --db history --read-only                        beside nobody who writes
  curl 'localhost:9090/api/v1/query?query=up'
  curl localhost:9100/metrics | curl --data-binary @- localhost:9090/api/v1/import/prometheus

In prometheus.yml:
  remote_write:
    - url: http://127.0.0.1:9090/api/v1/write

The file of tokens (readable by its owner only):
  [[token]]
  name = 'grafana'
  secret = 'at-least-16-characters-from-a-random-source'
  scopes = ['read']           read, write, admin
  tenant = 'lake'             optional: sees and writes series of tenant='lake' only")]
pub(super) struct Serve {
    #[command(flatten)]
    store: StoreArguments,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Who may read and write
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Listen beyond this machine without tokens: whoever reaches the port reads and writes
    #[arg(long, conflicts_with = "tokens")]
    insecure_no_auth: bool,
    /// A name that clients on this machine use for it, beside localhost; repeatable
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// The one other origin whose pages may read answers, as https://grafana.example
    #[arg(long, value_name = "ORIGIN")]
    cross_origin: Option<String>,
    /// Take no writes, and write nothing
    #[arg(long)]
    read_only: bool,
    /// What is kept, and how long: docs/policy.md
    #[arg(long, value_name = "FILE", conflicts_with = "read_only")]
    policy: Option<PathBuf>,
    /// Take samples of any age, not only of the last 30 days
    #[arg(long)]
    any_age: bool,
    /// The longest a query may take
    #[arg(long, value_name = "LENGTH", default_value = "2m", value_parser = duration)]
    query_timeout: Duration,
    /// Queries computed at once
    #[arg(long, value_name = "COUNT", default_value_t = ServerOptions::default().queries_max)]
    queries: u32,
    /// Requests a second of each token, or address; bursts of twice as many [default: no limit]
    #[arg(long, value_name = "COUNT")]
    rate: Option<u32>,
}

impl Serve {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let options = self.server_options()?;
        // Before the engine opens: what is wrong with these is told at once.
        if options.tokens.is_none() && !self.insecure_no_auth && !self.listen.ip().is_loopback() {
            let listen = self.listen;
            let message = format!(
                "{listen} is reached from other machines: give --tokens FILE, or --insecure-no-auth"
            );
            return Err(Failure::Usage(message));
        }
        options.check()?;
        let ending = Ending::new().map_err(|error| Failure::Input("signals".to_owned(), error))?;
        let engine = Arc::new(Engine::open(&self.store.db, self.engine_options()?)?);
        let server = Server::spawn(Arc::clone(&engine), options)?;
        let url = format!("http://{}", server.local_addr());
        if self.store.json {
            screen.json(&json!({ "url": url }))?;
        } else {
            screen.line(&url)?;
        }
        screen.flush()?;
        ending.wait();
        server.shutdown();
        // The server's threads have ended; one that is stuck in a query may hold the engine yet, and
        // dropping it syncs the log all the same.
        if let Some(engine) = Arc::into_inner(engine) {
            engine.close()?;
        }
        Ok(())
    }

    fn engine_options(&self) -> Result<Options, Failure> {
        let gate = match self.any_age {
            true => GateOptions { past: None, ..GateOptions::default() },
            false => GateOptions::default(),
        };
        let policy = read_policy(self.policy.as_deref())?;
        Ok(Options { read_only: self.read_only, gate, policy, ..Options::default() })
    }

    fn server_options(&self) -> Result<ServerOptions, Failure> {
        let rate = self.rate.map(|requests_per_second| RequestRate {
            requests_per_second,
            burst: requests_per_second.saturating_mul(2),
        });
        Ok(ServerOptions {
            listen: self.listen,
            tokens: self.tokens.as_deref().map(read_tokens).transpose()?,
            open_to_everybody: self.insecure_no_auth,
            hosts: self.host.iter().map(|host| host.to_ascii_lowercase()).collect(),
            cross_origin: self.cross_origin.clone(),
            query_timeout: self.query_timeout,
            queries_max: self.queries,
            rate,
            ..ServerOptions::default()
        })
    }
}

fn read_tokens(file: &Path) -> Result<Tokens, Failure> {
    let text = read_secret(file)?;
    Tokens::parse(&text).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// Waits for the process to be asked to end.
struct Ending {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    /// From here on the signals no longer kill.
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = async {
            let interrupt = signal(SignalKind::interrupt())?;
            Ok::<_, std::io::Error>((interrupt, signal(SignalKind::terminate())?))
        };
        let (interrupt, terminate) = runtime.block_on(signals)?;
        Ok(Self { runtime, interrupt, terminate })
    }

    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        });
    }
}
