//! The command: the engine from a shell.
//!
//! Owns: arguments, the order of a command's steps, what is printed; nothing else in the crate
//! prints. Does not own: anything that a host of the engine needs. One file a command; each
//! answers for people, and with `--json` in one JSON object for programs. Answers go to stdout,
//! progress and complaints to stderr.

mod arguments;
mod chart;
mod compact;
mod delete;
mod demo;
mod events;
mod evidence;
mod export;
mod generate;
mod history;
mod import;
mod input;
mod parquet;
mod progress;
mod promql;
mod query;
mod report;
mod retain;
mod screen;
mod secret;
mod series;
#[cfg(feature = "server")]
mod serve;
mod snapshot;
mod stats;
mod table;
mod top;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::catalog::CATALOG_FILE;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::integration::{figures, policy};
use crate::options::{Archive, GateOptions, Maintenance, Options, Policy};
use screen::Screen;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the environment failed (files, locks, space), or a broken engine
  2  wrong usage: arguments, selectors, times, formats
  3  stored bytes are damaged, or verify found a problem
  4  a limit, a deadline or a cancellation ended a query";

const EXAMPLES: &str = "\
Examples:
  icecore demo                                              see what it does, on real data
  icecore import --db history capture.prom.gz               Prometheus text with timestamps
  curl -s localhost:9100/metrics | icecore import --db history --timestamp now -
  icecore query --db history 'node_load1' --step 1m --agg avg,p99
  icecore query --db history 'node_cpu_seconds_total{mode!=\"idle\"}' --agg rate --by mode
  icecore query --db history --promql 'sum by (mode) (rate(node_cpu_seconds_total[5m]))'
  icecore report --db history -o report.html                how a monitored host's queries ran
  icecore top --db history                                  look around in what it did, and when
  icecore top --url http://127.0.0.1:9090                   watch a host that serves its store
  icecore stats --db history
  icecore export --db history --format csv 'node_load1' > load.csv";

/// Stores time series in very few bytes, and answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "icecore", version, max_term_width = 100)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Generate(generate::Generate),
    Import(import::Import),
    Query(query::Query),
    Report(report::MakeReport),
    Top(top::Top),
    Series(series::ListSeries),
    Events(events::ShowEvents),
    #[cfg(feature = "server")]
    Serve(serve::Serve),
    Stats(stats::ShowStats),
    Verify(verify::Verify),
    Export(export::Export),
    Compact(compact::Compact),
    Retain(retain::Retain),
    Delete(delete::Delete),
    Snapshot(snapshot::Snapshot),
    Restore(snapshot::Restore),
}

/// The store that a command works on, and how it answers.
#[derive(Debug, clap::Args)]
struct StoreArguments {
    /// Directory of the store
    #[arg(long, value_name = "DIR", env = "ICECORE_DB")]
    db: PathBuf,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// What ended a command early.
#[derive(Debug)]
enum Failure {
    /// The arguments contradict each other, or the input is not what they say.
    Usage(String),
    /// The engine refused or failed.
    Engine(Error),
    /// An input could not be read.
    Input(String, std::io::Error),
    /// The answer could not be written.
    Output(std::io::Error),
    /// The store was looked at, and is damaged; said already.
    Damaged,
    /// Not all could be done; said already.
    Incomplete,
    /// A server that was asked refused, or could not be reached.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Input(_, error) if error.kind() == std::io::ErrorKind::InvalidData => 2,
            Self::Input(..) => 1,
            // The reader of a pipe has seen enough.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
            Self::Damaged => 3,
            Self::Incomplete | Self::Refused(_) => 1,
            Self::Engine(error) => match error.kind() {
                ErrorKind::Corrupt => 3,
                ErrorKind::Invalid => 2,
                ErrorKind::Limit => 4,
                _ => 1,
            },
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Refused(message) => Some(message.clone()),
            Self::Input(name, error) => Some(format!("cannot read {name}: {error}")),
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => Some(format!("cannot write the answer: {error}")),
            Self::Engine(error) => Some(error.to_string()),
            Self::Damaged | Self::Incomplete => None,
        }
    }
}

/// Parses the process's arguments and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let mut screen = Screen::new();
    let ended = match arguments.command {
        Command::Demo(command) => command.run(&mut screen),
        Command::Generate(command) => command.run(&mut screen),
        Command::Import(command) => command.run(&mut screen),
        Command::Query(command) => command.run(&mut screen),
        Command::Report(command) => command.run(&mut screen),
        Command::Top(command) => command.run(&mut screen),
        Command::Series(command) => command.run(&mut screen),
        Command::Events(command) => command.run(&mut screen),
        #[cfg(feature = "server")]
        Command::Serve(command) => command.run(&mut screen),
        Command::Stats(command) => command.run(&mut screen),
        Command::Verify(command) => command.run(&mut screen),
        Command::Export(command) => command.run(&mut screen),
        Command::Compact(command) => command.run(&mut screen),
        Command::Retain(command) => command.run(&mut screen),
        Command::Delete(command) => command.run(&mut screen),
        Command::Snapshot(command) => command.run(&mut screen),
        Command::Restore(command) => command.run(&mut screen),
    };
    match ended.and_then(|()| Ok(screen.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                screen.complain(&message);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Opens a store that is there, for reading.
fn open_to_read(db: &Path) -> Result<Engine, Failure> {
    open_to_read_with(db, Policy::default())
}

/// As [`open_to_read`], to ask what a policy means for it.
fn open_to_read_with(db: &Path, policy: Policy) -> Result<Engine, Failure> {
    let options = Options { read_only: true, self_metrics: None, policy, ..Options::default() };
    Ok(Engine::open(db, options)?)
}

/// Opens a store that is there to work on what it holds, by hand.
fn open_to_maintain(
    db: &Path,
    policy: Policy,
    archive: Option<Archive>,
) -> Result<Engine, Failure> {
    // Opening would make a store of a directory that was never one.
    if !db.join(CATALOG_FILE).exists() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no catalog");
        return Err(Error::io("open", db, missing).into());
    }
    let maintenance = Maintenance::ByHand;
    Ok(Engine::open(db, Options { policy, archive, maintenance, ..import_options() })?)
}

/// How a store is opened to bring history into: samples of any age come in, and the engine adds
/// none of its own.
fn import_options() -> Options {
    let gate = GateOptions { past: None, future: None, ..GateOptions::default() };
    Options { self_metrics: None, gate, ..Options::default() }
}

/// The policy of a file, the default one where there is none.
fn read_policy(file: Option<&Path>) -> Result<Policy, Failure> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| Failure::Input(name.clone(), error))?;
    policy::parse(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// Refuses a directory that holds something.
fn new_directory(dir: &Path) -> Result<(), Failure> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty; this wants a new directory", dir.display());
        return Err(Failure::Usage(message));
    }
    Ok(())
}
