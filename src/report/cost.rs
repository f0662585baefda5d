//! What remembering cost: bytes, and what was lost on the way.

use crate::error::Result;
use crate::monitor::{QUERIES, RUNNING_QUERIES, SOURCE_CALLS};
use crate::overview::{QuerySums, Reading};
use crate::time::TimeRange;

/// What the store holds and costs. Sizes are of the whole store at the moment of the report, counts of
/// its range.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Cost {
    /// All bytes in the directory.
    pub bytes_on_disk: u64,
    /// Of them, those of the log: what is not in parts yet.
    pub log_bytes: u64,
    /// Series, those of the engine about itself included.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// The monitor's tables.
    pub tables: Vec<TableCost>,
    /// Bytes of the monitor's tables in parts, a finished query in parts; `None` where there is none.
    pub bytes_per_query: Option<f64>,
    /// Rows of queries that the report stands on.
    pub query_rows: u64,
    /// Rows of calls to sources.
    pub call_rows: u64,
    /// Queries that ended, as counted while they ran: exact, up to the last interval at either end of the
    /// range.
    pub counted: f64,
    /// Queries that the rows stand for: more than rows where rules keep one in several.
    pub represented: u64,
    /// Finished queries whose record was dropped because the monitor's queue was full.
    pub records_dropped: f64,
    /// Samples that came late.
    pub samples_late: f64,
    /// Samples that were refused, by reason, without those of count 0.
    pub samples_refused: Vec<(String, f64)>,
}

/// One table of events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableCost {
    /// Its name.
    pub table: String,
    /// Rows, those not in parts yet included.
    pub rows: u64,
    /// Bytes of its parts.
    pub bytes_on_disk: u64,
}

impl Cost {
    /// `kept`: all queries of the range, rows of queries, rows of calls.
    pub(super) fn of(
        reading: &Reading<'_>,
        range: TimeRange,
        (sums, query_rows, call_rows): (&QuerySums, u64, u64),
    ) -> Result<Self> {
        let stats = reading.engine.stats()?;
        let own = [QUERIES, SOURCE_CALLS, RUNNING_QUERIES];
        let tables: Vec<_> =
            stats.events.iter().filter(|table| own.contains(&&*table.table)).collect();
        let in_parts = tables.iter().find(|table| table.table == QUERIES).map_or(0, |t| t.rows);
        let bytes: u64 = tables.iter().map(|table| table.bytes_on_disk).sum();
        let refused = reading.increase_by("icecore_samples_refused_total", "reason", range)?;
        let refused = refused.into_iter().filter(|(_, samples)| *samples > 0.0);
        Ok(Self {
            bytes_on_disk: stats.bytes_on_disk,
            log_bytes: stats.log_bytes,
            series: stats.series,
            samples: stats.samples,
            tables: tables
                .iter()
                .map(|table| TableCost {
                    table: table.table.clone(),
                    rows: table.rows + table.head_rows,
                    bytes_on_disk: table.bytes_on_disk,
                })
                .collect(),
            bytes_per_query: (in_parts > 0).then(|| bytes as f64 / in_parts as f64),
            query_rows,
            call_rows,
            counted: reading.increase("queries_total", range)?,
            represented: sums.count(),
            records_dropped: reading.increase("monitor_records_dropped_total", range)?,
            samples_late: reading.increase("icecore_samples_late_total", range)?,
            samples_refused: refused.map(|(reason, n)| (reason.to_string(), n)).collect(),
        })
    }
}
