//! `icecore top`: what a monitored host does, and did, on a screen that follows it.
//!
//! Owns: where the facts come from (`source`), what is looked at (`view`), what keys do (`keys`), how
//! it is drawn (`draw`), the terminal and its loop (`terminal`). Does not own: the facts, which
//! [`crate::overview`] computes, here over a store or there in a host's server.

mod draw;
mod keys;
mod source;
mod terminal;
mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::source::{Client, Refusal, Source};
use self::view::{Origin, View};
use super::arguments::{When, duration, when};
use super::screen::Screen;
use super::secret::read_secret;
use super::{Failure, open_to_read};
use crate::error::Error;
use crate::monitor::OutcomeKind;
use crate::overview::{Order, Question};
use crate::time::{Clock, SystemClock, Timestamp};

/// Columns of a frame that is printed where there is no terminal.
const COLUMNS: u16 = 100;
/// Where the token is, unless a file is named.
const TOKEN: &str = "ICECORE_TOKEN";

/// Watch what a monitored host does: running and recent queries, sources, alerts
///
/// Live from a host that serves its store (--url), or from a store at rest (--db): then at its last
/// moment, or at any other, back and forth with the arrow keys. It is made of what a FederationMonitor
/// records. Reads only. `?` lists the keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore top --url http://127.0.0.1:9090                       a host that runs, each 2 s
  icecore top --url db1:9090 --token-file token                 one that wants a token (scope read, of no tenant)
  icecore top --db history                                      a store at rest: the last 5 min in it
  icecore top --db history --at '2026-11-27 10:02' --window 1m  what was going on then
  icecore top --db history --once --order slowest --outcome error,timed_out
  icecore top --url :9090 --once --json | jq '.running[] | {id, phase, length_us, text}'

A host serves its store with Server::spawn; with ServerOptions::live it tells phases and progress of
what runs (docs/server.md). A store that a host has open cannot be opened beside it.")]
pub(super) struct Top {
    /// Directory of a store at rest
    #[arg(long, value_name = "DIR", env = "ICECORE_DB", required_unless_present = "url")]
    db: Option<PathBuf>,
    /// Address of a host's server, instead of a directory: http://127.0.0.1:9090, or HOST:PORT
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The server's token: a file that nobody else can read [default: the environment's ICECORE_TOKEN]
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// How often a server is asked
    #[arg(long, value_name = "LENGTH", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// The window that figures are of, up to the moment that is looked at: 1s to 31d
    #[arg(long, value_name = "LENGTH", default_value = "5m", value_parser = duration)]
    window: Duration,
    /// The moment to look at: now-1h, 2026-11-23T14:00:00Z, ... [default: now; of a store, its last]
    #[arg(long, value_name = "TIME", value_parser = when, allow_hyphen_values = true)]
    at: Option<When>,
    /// Recent queries in this order: newest, slowest, rows, bytes, cpu
    #[arg(long, value_name = "ORDER", default_value = "newest", value_parser = order)]
    order: Order,
    /// Recent queries that ended so: ok, error, cancelled, timed_out, abandoned; several with commas
    #[arg(long, value_name = "OUTCOMES", value_delimiter = ',', value_parser = outcome)]
    outcome: Vec<OutcomeKind>,
    /// Recent queries whose text, user, tenant, error or source holds this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    text: String,
    /// Print one frame and end: for scripts, and where there is no terminal
    #[arg(long)]
    once: bool,
    /// The frame's facts as one JSON object
    #[arg(long, requires = "once")]
    json: bool,
    /// Columns of the frame [default: the terminal's, or 100]
    #[arg(long, value_name = "COLUMNS", requires = "once",
        value_parser = clap::value_parser!(u16).range(40..=500))]
    width: Option<u16>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let known = Duration::from_millis(200)..=Duration::from_secs(3_600);
    if known.contains(&interval) { Ok(interval) } else { Err("must be within 200ms and 1h".into()) }
}

fn order(text: &str) -> Result<Order, String> {
    let known = || Order::ALL.map(Order::name).join(", ");
    Order::parse(text).ok_or_else(|| format!("expected one of {}", known()))
}

fn outcome(text: &str) -> Result<OutcomeKind, String> {
    let known = || OutcomeKind::ALL.map(OutcomeKind::name).join(", ");
    OutcomeKind::parse(text).ok_or_else(|| format!("expected one of {}", known()))
}

impl Top {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let has_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if !self.once && !has_terminal {
            let message = "there is no terminal to draw on: --once prints one frame";
            return Err(Failure::Usage(message.to_owned()));
        }
        let (source, origin, now) = self.source(screen)?;
        let question = Question {
            at: self.at.map(|at| at.resolve(now)),
            window: self.window,
            order: self.order,
            outcomes: self.outcome.clone(),
            text: self.text.clone(),
            ..Question::default()
        };
        question.check()?;
        let colour = screen.colour() && !self.once;
        let mut view = View::new(origin, question, colour);
        if !self.once {
            return terminal::run(view, source, self.interval);
        }
        let facts = source.overview(&view.question).map_err(|refusal| match refusal {
            Refusal::Engine(error) => Failure::Engine(error),
            Refusal::Server { message, .. } => Failure::Refused(message),
        })?;
        if self.json {
            screen.json(&facts)?;
            return Ok(());
        }
        view.take(facts);
        let columns = || terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| width.0);
        for line in draw::text(&view, self.width.unwrap_or_else(columns).clamp(40, 500)) {
            screen.line(line)?;
        }
        Ok(())
    }

    /// Whom to ask, what that is called, and what time it is there.
    fn source(&self, screen: &mut Screen) -> Result<(Source, Origin, Timestamp), Failure> {
        if let Some(url) = &self.url {
            let url = if url.starts_with(':') { format!("127.0.0.1{url}") } else { url.clone() };
            let client = Client::new(&url, self.token()?).map_err(Failure::Usage)?;
            let origin = Origin::Server(client.base().to_owned());
            let now = SystemClock.now();
            return Ok((Source::Server(client), origin, now));
        }
        let db = self.db.as_deref().unwrap_or(Path::new("."));
        match open_to_read(db) {
            Ok(engine) => {
                let now = engine.now();
                Ok((Source::Store(Box::new(engine)), Origin::Store(db.display().to_string()), now))
            }
            Err(Failure::Engine(Error::Locked { path })) => {
                screen.complain(&format!(
                    "{} is open in a host that runs. Ask that host, if it serves its store: icecore top \
                     --url http://HOST:PORT; or look at a snapshot of it",
                    path.display()
                ));
                Err(Failure::Incomplete)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The secret, if there is one: never an argument, which everybody on the machine can read.
    fn token(&self) -> Result<Option<String>, Failure> {
        let (name, text) = match &self.token_file {
            Some(file) => (file.display().to_string(), read_secret(file)?),
            None => match std::env::var(TOKEN) {
                Ok(text) => (TOKEN.to_owned(), text),
                Err(_) => return Ok(None),
            },
        };
        let secret = text.trim();
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage(format!("{name} holds no token: one line, without spaces")));
        }
        Ok(Some(secret.to_owned()))
    }
}
