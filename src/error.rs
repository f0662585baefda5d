//! The one error type of the crate, and the small one that decoders return.
//!
//! Owns: every way an operation can fail, with the data needed to act on it. Does not own:
//! refusals at the door, which are counted answers and not failures (`engine::gate`).

use std::path::PathBuf;
use std::sync::Arc;

use crate::time::Timestamp;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why bytes could not be decoded. Decoders know *what* is wrong; whoever read the bytes adds
/// *where* ([`Error::Corrupt`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("input ends after {available} bytes where {needed} more were needed")]
    Truncated {
        /// Bytes the value still needs.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// The stored checksum is not that of the bytes.
    #[error("checksum is {found:#010x}, the bytes say {expected:#010x}")]
    Checksum {
        /// Computed from the bytes.
        expected: u32,
        /// Stored beside them.
        found: u32,
    },
    /// Written by a newer icecore, or not by icecore at all.
    #[error("{what} has version {found}, this build reads up to {supported}")]
    Version {
        /// The structure.
        what: &'static str,
        /// The version byte found.
        found: u8,
        /// The newest version this build reads.
        supported: u8,
    },
    /// A field holds what its writer can never have written.
    #[error("{what} is {found}: {expected}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it should have been.
        expected: &'static str,
    },
    /// The general compressor or the metadata codec refused the bytes.
    #[error("{what}: {message}")]
    Foreign {
        /// The structure being decoded.
        what: &'static str,
        /// The library's own words.
        message: String,
    },
}

/// Everything that can go wrong, carrying what is needed to act.
///
/// Cloneable because a latched failure is handed to every later caller.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation, a verb: `open`, `write`, `sync`, ...
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: Arc<std::io::Error>,
    },
    /// Bytes on disk are not what was written there.
    #[error("{} is corrupt at byte {offset}: {source}", path.display())]
    Corrupt {
        /// The file, or the part's directory and key.
        path: PathBuf,
        /// Offset of the damaged structure in it, bytes.
        offset: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// A file or directory lies where only an archive's own do: what it holds is not known.
    #[error("{} does not belong there: {expected} was expected", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What stands there otherwise.
        expected: &'static str,
    },
    /// The key-value store failed.
    #[error("{store} store at {}: cannot {operation}: {message}", path.display())]
    Store {
        /// The implementation: `sled`, `redb`, `flat`.
        store: &'static str,
        /// The operation, a verb.
        operation: &'static str,
        /// The part's directory.
        path: PathBuf,
        /// The store's own words.
        message: String,
    },
    /// Another process, or another engine of this one, has the directory open.
    #[error("{} is locked by another engine", path.display())]
    Locked {
        /// The store directory.
        path: PathBuf,
    },
    /// The engine takes no more writes: it was opened so, or an earlier write or sync failed.
    #[error("the engine is read-only: {cause}")]
    ReadOnly {
        /// Why.
        cause: ReadOnlyCause,
    },
    /// The disk holds less free space than the guard wants.
    #[error("{available_bytes} bytes free at {}, the guard keeps {required_bytes}", path.display())]
    DiskFull {
        /// The store directory.
        path: PathBuf,
        /// Free bytes there are.
        available_bytes: u64,
        /// Free bytes the guard keeps.
        required_bytes: u64,
    },
    /// The store has used up its byte budget, and nothing more can be dropped to make room.
    #[error("{} takes {bytes} bytes of {bytes_max}, and nothing can be dropped", path.display())]
    OverBudget {
        /// The store directory.
        path: PathBuf,
        /// Bytes it takes, what is kept free for log and freeze included.
        bytes: u64,
        /// [`Policy::bytes_max`](crate::options::Policy).
        bytes_max: u64,
    },
    /// The engine was closed.
    #[error("the engine is closed")]
    Closed,
    /// A thread of the engine panicked; its state cannot be trusted any more.
    #[error("the {thread} thread panicked: {message}")]
    Panicked {
        /// The thread's name.
        thread: &'static str,
        /// The panic's message.
        message: String,
    },
    /// A metric name, label or label set breaks the rules.
    #[error("{what} {value:?}: {reason}")]
    InvalidName {
        /// `metric name`, `label name`, `label value`, `label set`.
        what: &'static str,
        /// The offender, cut to a readable length.
        value: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A selector, matcher or pattern does not parse.
    #[error("selector {input:?} at byte {offset}: {reason}")]
    InvalidSelector {
        /// The text.
        input: String,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A PromQL query does not parse, or its types do not fit.
    #[error("query {text:?}: {reason}")]
    InvalidQuery {
        /// The query.
        text: String,
        /// What is wrong with it, and where if that is known.
        reason: String,
    },
    /// A query could not be evaluated over the data that is there.
    #[error("{reason}")]
    Evaluation {
        /// Why.
        reason: String,
    },
    /// A request or batch contradicts itself.
    #[error("{what}: {reason}")]
    InvalidArgument {
        /// The argument.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A table of events was declared otherwise than it is stored.
    #[error("event table {table:?}: column {column:?} {reason}")]
    SchemaConflict {
        /// The table.
        table: String,
        /// The column as it was declared.
        column: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// An option, or the relation between two, is out of bounds.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// The field of `Options`.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A query would exceed one of its limits.
    #[error("query needs more than {limit} {what}")]
    Limit {
        /// `series`, `samples`, `bytes of memory`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A query's deadline passed, or a wait timed out.
    #[error("deadline passed at {deadline}")]
    Deadline {
        /// The deadline.
        deadline: Timestamp,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Why an engine takes no writes.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadOnlyCause {
    /// It was opened with `Options::read_only`.
    #[error("opened read-only")]
    Opened,
    /// A write or sync failed; the failure is never retried, since the kernel may have dropped
    /// the dirty pages. Reopening replays what was durable.
    #[error("an earlier failure latched it: {0}")]
    Failed(Arc<Error>),
}

/// A stable classification of [`Error`], for exit codes and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The environment failed: file system, permissions, space.
    Io,
    /// Stored bytes are damaged.
    Corrupt,
    /// The directory is in use.
    Locked,
    /// Writes are refused, reads go on.
    ReadOnly,
    /// The caller's input is wrong.
    Invalid,
    /// A limit, deadline or cancellation ended the work.
    Limit,
    /// The engine is closed or broken.
    Closed,
}

impl Error {
    /// The stable class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. }
            | Self::Store { .. }
            | Self::DiskFull { .. }
            | Self::OverBudget { .. } => ErrorKind::Io,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Locked { .. } => ErrorKind::Locked,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::Closed | Self::Panicked { .. } => ErrorKind::Closed,
            Self::InvalidName { .. }
            | Self::InvalidSelector { .. }
            | Self::InvalidQuery { .. }
            | Self::Evaluation { .. }
            | Self::InvalidArgument { .. }
            | Self::SchemaConflict { .. }
            | Self::Foreign { .. }
            | Self::InvalidOption { .. } => ErrorKind::Invalid,
            Self::Limit { .. } | Self::Deadline { .. } | Self::Cancelled => ErrorKind::Limit,
        }
    }

    /// An [`Error::Io`] from the system's error.
    pub fn io(operation: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.into(), source: Arc::new(source) }
    }

    /// An [`Error::Corrupt`] from a decoder's error.
    pub fn corrupt(path: impl Into<PathBuf>, offset: u64, source: DecodeError) -> Self {
        Self::Corrupt { path: path.into(), offset, source }
    }
}
