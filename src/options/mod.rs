//! Every limit of the engine with its unit, the reason for its default, and the relations that
//! must hold between them.

mod archive;
mod policy;

use std::time::Duration;

pub use archive::{Archive, ArchiveEvents, ArchivePart, Archiver};
pub use policy::{Keep, Maintenance, Policy, RetentionRule, TableRule};

use crate::error::{Error, Result};
use crate::model::Matcher;
use crate::store::StoreKind;

/// How far a batch has come when its receipt is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// In the channel; a crash of the process loses it, and so may a close of the engine that runs
    /// at the same moment.
    Buffered,
    /// Written to the log; a crash of the process keeps it, a power cut may lose it.
    #[default]
    Logged,
    /// Synced to the disk; a power cut keeps it.
    Synced,
}

/// What a writer does where the ingestion channel is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Waits for room.
    #[default]
    Wait,
    /// Waits at most this long, then drops the batch and counts its samples.
    WaitUpTo(Duration),
    /// Drops the batch at once and counts its samples: never blocks the host.
    Drop,
}

/// Whether the metrics that a matcher names may come in. The first rule that matches decides;
/// where none does, the metric is allowed.
#[derive(Debug, Clone)]
pub struct FilterRule {
    /// Which series: usually a matcher on `__name__`.
    pub matcher: Matcher,
    /// Whether they may come in.
    pub allow: bool,
}

/// Thins out high-frequency series: at most one sample of a series in each aligned interval, the
/// first to arrive. The first rule that matches a series decides.
#[derive(Debug, Clone)]
pub struct SamplingRule {
    /// Which series.
    pub matcher: Matcher,
    /// The interval, aligned to the epoch; at least 1 ns.
    pub interval: Duration,
}

/// A token bucket for each source (the name given to [`Engine::writer`](crate::Engine::writer)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Samples a second in the long run; at least 1.
    pub samples_per_second: u64,
    /// Samples that may come at once; at least the largest batch, or that batch never passes.
    pub burst_samples: u64,
}

/// What is let in at the door.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// Samples older than now less this are refused; `None` takes any age. 30 days by default:
    /// late data is welcome, a thousand ancient partitions are not.
    pub past: Option<Duration>,
    /// Samples newer than now plus this are refused; `None` takes any. 10 minutes by default:
    /// more than clocks drift, less than a wrong unit.
    pub future: Option<Duration>,
    /// Series that one engine holds; further ones land in an overflow series. 1,000,000 by
    /// default, some 1 GB of identities and postings.
    pub series_max: usize,
    /// Allow and deny rules, in order.
    pub filters: Vec<FilterRule>,
    /// Sampling rules, in order.
    pub sampling: Vec<SamplingRule>,
    /// The rate limit of each source, if any.
    pub rate: Option<RateLimit>,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            past: Some(Duration::from_secs(30 * 86_400)),
            future: Some(Duration::from_secs(600)),
            series_max: 1_000_000,
            filters: Vec::new(),
            sampling: Vec::new(),
            rate: None,
        }
    }
}

/// Everything an engine can be told at [`Engine::open`](crate::Engine::open).
///
/// ```
/// use icecore::{Options, options::{Durability, WhenFull}};
/// let options = Options {
///     durability: Durability::Synced,
///     when_full: WhenFull::Drop,
///     head_bytes_max: 16 << 20,
///     ..Options::default()
/// };
/// options.check()?;
/// # Ok::<(), icecore::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// Reads only: nothing in the directory is written, the log is replayed in memory.
    pub read_only: bool,
    /// Which key-value store new parts are written with; parts of any kind are read.
    pub store: StoreKind,
    /// The level at which receipts complete; a writer may choose another.
    pub durability: Durability,
    /// Written samples are synced at the latest after this long. 1 s: what a power cut may cost.
    pub sync_interval: Duration,
    /// Batches the channel holds. 1,024.
    pub channel_batches_max: usize,
    /// Bytes of samples the channel holds. 32 MiB.
    pub channel_bytes_max: usize,
    /// What a full channel does.
    pub when_full: WhenFull,
    /// Bytes of samples in the head before it freezes. 64 MiB, about 8 million samples of scrapes.
    /// While the frozen head is encoded a second one fills: twice this is the bound.
    pub head_bytes_max: usize,
    /// The head freezes when its oldest write is this old. 24 h: the log keeps it safe, and long
    /// chunks are small ones.
    pub freeze_after: Duration,
    /// Whether [`Engine::close`](crate::Engine::close) freezes the head, so that the log is empty
    /// at the next open.
    pub freeze_on_close: bool,
    /// The shortest partition window. 1 day: the grain of retention. Sparse series get windows
    /// of up to [`PARTITION_FACTOR_MAX`] times this, so that their chunks stay long.
    pub partition: Duration,
    /// Most samples of a chunk. 1,024: see `docs/decisions.md` for what other lengths cost.
    pub chunk_samples_max: usize,
    /// Bytes a segment aims at. 512 KiB: what one read from the store brings.
    pub segment_bytes_target: usize,
    /// A log file is closed and the next begun beyond this size, bytes. 64 MiB.
    pub log_file_bytes_max: u64,
    /// Bytes of opened segments kept in memory for queries. 64 MiB.
    pub segment_cache_bytes_max: usize,
    /// Bytes that all queries at one moment may hold: what they fold, keep and answer. 2 GiB: two of
    /// the largest that a single one may be by default. One that would go beyond is refused.
    pub query_memory_bytes_max: u64,
    /// Parts whose store is open at once. 16.
    pub open_parts_max: usize,
    /// New writes are refused where the disk has less free space than this, bytes. 64 MiB: room for
    /// the parts of a full head, whose encoded columns are far smaller, and for what the log grows
    /// between two looks (8 MiB). With less, freezing may meet the full disk: that latches the
    /// engine read-only, and the next open replays the log.
    pub free_bytes_min: u64,
    /// Threads for encoding and queries; 0 takes one a core.
    pub threads: usize,
    /// How often the engine records its own state as `icecore_*` series, if at all. 10 s.
    pub self_metrics: Option<Duration>,
    /// How often what was recorded into distributions is written, as one sample each. 10 s, as
    /// metrics are scraped; the beginnings of intervals are aligned to the epoch.
    pub distribution_interval: Duration,
    /// What is let in at the door.
    pub gate: GateOptions,
    /// What is kept of history, how long, and within how many bytes.
    pub policy: Policy,
    /// Who carries the policy out.
    pub maintenance: Maintenance,
    /// Where parts go before retention drops them, if anywhere.
    pub archive: Option<Archive>,
    /// Most samples of a chunk that compaction writes. 8,192: half of a first flush's directory,
    /// see `docs/decisions/codec.md`.
    pub compacted_chunk_samples_max: usize,
}

/// The longest partition window, as a multiple of the shortest.
pub const PARTITION_FACTOR_MAX: i64 = 32;

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            store: StoreKind::default(),
            durability: Durability::default(),
            sync_interval: Duration::from_secs(1),
            channel_batches_max: 1024,
            channel_bytes_max: 32 << 20,
            when_full: WhenFull::default(),
            head_bytes_max: 64 << 20,
            freeze_after: Duration::from_secs(86_400),
            freeze_on_close: true,
            partition: Duration::from_secs(86_400),
            chunk_samples_max: 1024,
            segment_bytes_target: 512 << 10,
            log_file_bytes_max: 64 << 20,
            segment_cache_bytes_max: 64 << 20,
            query_memory_bytes_max: 2 << 30,
            open_parts_max: 16,
            free_bytes_min: 64 << 20,
            threads: 0,
            self_metrics: Some(Duration::from_secs(10)),
            distribution_interval: Duration::from_secs(10),
            gate: GateOptions::default(),
            policy: Policy::default(),
            maintenance: Maintenance::default(),
            archive: None,
            compacted_chunk_samples_max: 8192,
        }
    }
}

impl Options {
    /// Checks every bound and relation; [`Engine::open`](crate::Engine::open) calls it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] naming the first that does not hold.
    pub fn check(&self) -> Result<()> {
        let rules: [(&'static str, bool, &str); 16] = [
            ("channel_batches_max", self.channel_batches_max > 0, "must be at least 1"),
            ("channel_bytes_max", self.channel_bytes_max >= 1 << 16, "must be at least 64 KiB"),
            ("head_bytes_max", self.head_bytes_max >= 1 << 16, "must be at least 64 KiB"),
            ("partition", self.partition >= Duration::from_secs(60), "must be at least 1 min"),
            (
                "partition",
                self.partition <= Duration::from_secs(366 * 86_400),
                "must be at most 366 days",
            ),
            ("chunk_samples_max", self.chunk_samples_max >= 16, "must be at least 16"),
            ("chunk_samples_max", self.chunk_samples_max <= 65_536, "must be at most 65,536"),
            (
                "compacted_chunk_samples_max",
                (16..=65_536).contains(&self.compacted_chunk_samples_max),
                "must be at least 16 and at most 65,536",
            ),
            ("segment_bytes_target", self.segment_bytes_target >= 4096, "must be at least 4 KiB"),
            ("segment_bytes_target", self.segment_bytes_target <= 1 << 20, "must be at most 1 MiB"),
            ("log_file_bytes_max", self.log_file_bytes_max >= 1 << 16, "must be at least 64 KiB"),
            ("open_parts_max", self.open_parts_max > 0, "must be at least 1"),
            ("gate.series_max", self.gate.series_max > 0, "must be at least 1"),
            ("gate.series_max", self.gate.series_max <= 1 << 30, "must be at most 2^30"),
            (
                "self_metrics",
                self.self_metrics.is_none_or(|every| every >= Duration::from_millis(10)),
                "must be at least 10 ms",
            ),
            (
                "distribution_interval",
                (Duration::from_millis(10)..=Duration::from_secs(86_400))
                    .contains(&self.distribution_interval),
                "must be at least 10 ms and at most 1 day",
            ),
        ];
        let broken = rules.into_iter().find(|(_, holds, _)| !holds);
        if let Some((option, _, reason)) = broken {
            return Err(Error::InvalidOption { option, reason: reason.to_owned() });
        }
        self.policy.check(self.head_bytes_max)?;
        self.maintenance.check()?;
        self.check_rules()
    }

    fn check_rules(&self) -> Result<()> {
        let invalid =
            |option, reason: &str| Err(Error::InvalidOption { option, reason: reason.to_owned() });
        if self.gate.sampling.iter().any(|rule| rule.interval.is_zero()) {
            return invalid("gate.sampling", "an interval must be at least 1 ns");
        }
        match self.gate.rate {
            Some(rate) if rate.samples_per_second == 0 || rate.burst_samples == 0 => {
                invalid("gate.rate", "rate and burst must be at least 1")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_a_broken_one_is_named() {
        Options::default().check().unwrap();
        let broken = Options { chunk_samples_max: 100_000, ..Options::default() };
        match broken.check() {
            Err(Error::InvalidOption { option: "chunk_samples_max", .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
