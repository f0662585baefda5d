//! A day in the life of a federated query engine, in half a minute: it asks four real sources, things go
//! wrong, it stops, and what is left tells where they went wrong.
//!
//! ```sh
//! cargo run --release --features report --example incident
//! cargo run --release --features report,server --example incident    # to be watched: icecore top
//! ```
//!
//! Four threads ask an SQLite database, a CSV file, a file of JSON lines and an HTTP server that this
//! process starts itself. At known times the HTTP server answers slowly, another process' work locks the
//! database, somebody calls queries off, and clients hang up. The host's `FederationMonitor` knows
//! nothing of these faults. Then everything stops, the store is opened again, and its report must show
//! each fault where it was: this exits with 1 otherwise.
//!
//! - `data`: makes the files and the database
//! - `sources`: how each is asked, and what may go wrong
//! - `server`: the HTTP source
//! - `host`: the engine's queries, each followed by guards of the monitor
//! - `faults`: what goes wrong when
//! - `check`: compares the report with that
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

mod check;
mod data;
mod faults;
mod host;
mod server;
mod sources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use icecore::monitor::{FederationMonitor, MonitorOptions};
use icecore::report::Report;
use icecore::{Engine, Options, TimeRange};

use faults::{Faults, Happened};
use host::Host;

pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            missed.iter().for_each(|missed| eprintln!("MISSED: {missed}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("incident: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the report did not show.
fn run() -> Result<Vec<String>> {
    let dir = directory()?;
    let rows = data::make(&dir)?;
    println!(
        "Four sources: orders (SQLite, {} rows), customers (CSV, {}), visits (JSON lines, {}),\n  \
         stock (HTTP on loopback, {} products).\n",
        rows.orders, rows.customers, rows.visits, rows.products
    );

    let history = dir.join("history");
    let happened = live(&dir, &history)?;

    // The host is gone. What is left is the store.
    let opening = Instant::now();
    let options = Options { read_only: true, self_metrics: None, ..Options::default() };
    let engine = Engine::open(&history, options)?;
    let opened = opening.elapsed();
    let asking = Instant::now();
    let report = Report::of(&engine, TimeRange::ALL)?;
    let html = report.to_html();
    let page = dir.join("report.html");
    std::fs::write(&page, &html)?;
    println!(
        "\nStopped. Opened again in {opened:.1?}, reported in {:.1?}: {} queries, {} calls to sources,\n  \
         {} KiB on disk with all series.\n",
        asking.elapsed(),
        report.queries.count(),
        report.sources.iter().map(|source| source.all.calls).sum::<u64>(),
        report.cost.bytes_on_disk / 1024,
    );
    println!("Where trouble was, as the store tells:");
    for trouble in &report.troubles {
        println!("  {trouble}\n      {}", trouble.when());
    }
    println!("\nWhere the time of the heaviest queries went:");
    for (_, print) in report.heaviest().into_iter().take(3) {
        let (engine, all) =
            (print.queries.engine_us, print.queries.engine_us + print.queries.waiting_us);
        let most = print.critical_us.iter().max_by_key(|(_, time)| **time);
        let text: String = print.text.chars().take(70).collect();
        println!(
            "  {text}…\n      {} times, {:.1} s: {:.0} % engine, waited most for {}",
            print.queries.count(),
            all as f64 * 1e-6,
            100.0 * engine as f64 / all.max(1) as f64,
            most.map_or("nobody", |(source, _)| source)
        );
    }
    let missed = check::compare(&report, &html, &happened);
    if missed.is_empty() {
        println!("\nEvery injected fault is in the report, where it was and as often as it was.");
    }
    println!("Look at it: {}", page.display());
    Ok(missed)
}

/// The host's life: from its start to its end.
fn live(dir: &Path, history: &Path) -> Result<Happened> {
    let engine = Arc::new(Engine::open(history, Options::default())?);
    let monitor = FederationMonitor::open(Arc::clone(&engine), MonitorOptions::default())?;
    #[cfg(feature = "server")]
    let served = serve(&engine, &monitor)?;
    let faults = Arc::new(Faults::starting_now());
    let server = server::start(Arc::clone(&faults))?;
    let host = Host::new(monitor, dir, server.address());

    println!("{}", Faults::describe());
    let happened = faults::live_through(&faults, &host, &dir.join("orders.db"))?;
    println!(
        "The host met {} queries on a locked database, {} answers of the stock that came too late;\n  \
         {} queries were called off, {} clients hung up.",
        happened.busy, happened.late, happened.cancelled, happened.abandoned
    );

    server.stop()?;
    #[cfg(feature = "server")]
    served.shutdown();
    host.close()?;
    // Nobody else holds it: guards and monitor are gone.
    Arc::into_inner(engine).ok_or("the engine is still in use")?.close()?;
    Ok(happened)
}

/// Answers for the host while it runs, on a free port of this machine.
#[cfg(feature = "server")]
fn serve(engine: &Arc<Engine>, monitor: &FederationMonitor) -> Result<icecore::server::Server> {
    use icecore::server::{Server, ServerOptions};

    let listen = "127.0.0.1:0".parse()?;
    let live = Some(monitor.live_view());
    let options = ServerOptions { listen, live, ..ServerOptions::default() };
    let server = Server::spawn(Arc::clone(engine), options)?;
    println!("Watch it: icecore top --url http://{} --window 30s\n", server.local_addr());
    Ok(server)
}

/// The directory that is named, which must be new or empty; by default one below `target`, made anew.
fn directory() -> Result<PathBuf> {
    let dir = match std::env::args_os().nth(1) {
        Some(named) => PathBuf::from(named),
        None => {
            let dir = PathBuf::from("target/incident");
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?;
            }
            dir
        }
    };
    std::fs::create_dir_all(&dir)?;
    if std::fs::read_dir(&dir)?.next().is_some() {
        return Err(format!("{} is not empty", dir.display()).into());
    }
    Ok(dir)
}
