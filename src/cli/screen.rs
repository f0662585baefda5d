//! The only printer: stdout for answers, stderr for complaints, colour where it is wanted.

use std::io::{self, BufWriter, Stdout, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

/// Columns where nobody says how wide the terminal is.
const COLUMNS: u16 = 80;
/// Wider charts and tables are no easier to read.
const COLUMNS_MAX: u16 = 160;

/// Where a command answers.
pub(super) struct Screen {
    out: BufWriter<Stdout>,
    colour: bool,
    columns: u16,
}

impl Screen {
    pub(super) fn new() -> Self {
        let colour = !matches!(AutoStream::choice(&io::stdout()), ColorChoice::Never);
        let columns = terminal_size::terminal_size().map_or(COLUMNS, |(width, _)| width.0);
        Self { out: BufWriter::new(io::stdout()), colour, columns: columns.clamp(40, COLUMNS_MAX) }
    }

    /// Whether stdout is a terminal that shows colours, and `NO_COLOR` is unset.
    pub(super) fn colour(&self) -> bool {
        self.colour
    }

    /// Columns to fill.
    pub(super) fn columns(&self) -> u16 {
        self.columns
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Prints an answer for programs, on one line.
    pub(super) fn json(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, answer)?;
        writeln!(self.out)
    }

    /// Shows what was printed so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Where an export goes that is the answer itself.
    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Says something beside the answer, on stderr.
    #[expect(clippy::unused_self, reason = "the screen is the only printer")]
    pub(super) fn note(&mut self, text: &str) {
        // Where stderr is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says on stderr what is wrong.
    pub(super) fn complain(&mut self, message: &str) {
        let _ = self.out.flush();
        self.note(&format!("icecore: {message}"));
    }
}
