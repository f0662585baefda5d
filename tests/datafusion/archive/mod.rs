//! Archived and live history as one table: the answers are those of a store that archived nothing.

mod answers;
mod crash;
mod files;
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::prelude::{SessionConfig, SessionContext};
use icecore::integration::datafusion::HistoryOptions;
use icecore::integration::parquet::ParquetArchive;
use icecore::model::{EventColumn, EventKind, EventSchema, EventValue, Metadata, Series};
use icecore::options::{Archive, Archiver, GateOptions, Keep, Maintenance, Policy};
use icecore::{Engine, Options, Tier};

use super::rows;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// A store that keeps so many days, and what is older in `archiver`.
fn open(dir: &Path, keep_days: Option<u64>, archiver: Option<Arc<dyn Archiver>>) -> Arc<Engine> {
    let days = |days| Keep::FOREVER.with(Tier::RAW, Duration::from_secs(days * 86_400));
    let archive = archiver.map(|archiver| Archive { archiver, budget_drops_unarchived: false });
    let options = Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        maintenance: Maintenance::ByHand,
        policy: Policy { keep: keep_days.map_or(Keep::FOREVER, days), ..Policy::default() },
        archive,
        ..Options::default()
    };
    Arc::new(Engine::open(dir, options).unwrap())
}

/// A store that archives, one that does not, and a session with both: `history` and `twin`.
struct Twins {
    dir: tempfile::TempDir,
    archive: ParquetArchive,
    one: Arc<Engine>,
    twin: Arc<Engine>,
}

impl Twins {
    fn new(keep_days: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = ParquetArchive::new(dir.path().join("archive"));
        let one = open(&dir.path().join("one"), Some(keep_days), Some(Arc::new(archive.clone())));
        let twin = open(&dir.path().join("twin"), None, None);
        Self { dir, archive, one, twin }
    }

    fn both(&self, act: impl Fn(&Engine)) {
        act(&self.one);
        act(&self.twin);
    }

    /// Parts that went into the archive.
    fn archive_what_is_old(&self) -> usize {
        let report = self.one.enforce_retention().unwrap();
        assert!(report.failed.is_none(), "{report:?}");
        report.dropped.len()
    }

    fn session(&self) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(2);
        let session = SessionContext::new_with_config(config);
        self.register(&session, "history", HistoryOptions::default());
        let twin = HistoryOptions { schema: "twin".to_owned(), ..HistoryOptions::default() };
        twin.register(&session, &self.twin).unwrap();
        session
    }

    fn register(&self, session: &SessionContext, schema: &str, options: HistoryOptions) {
        let archive = Some(self.archive.clone());
        let options = HistoryOptions { schema: schema.to_owned(), archive, ..options };
        options.register(session, &self.one).unwrap();
    }

    fn archived_files(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("archive"))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.append(&mut files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

type Row = (i64, Vec<EventValue>);
/// Which of a few series, when, and the value.
type Sample = (usize, i64, f64);

fn schema(columns: usize) -> EventSchema {
    let all = [
        EventColumn::new("n", EventKind::Integer).with_unit("us"),
        EventColumn::new("x", EventKind::Float),
        EventColumn::new("b", EventKind::Boolean),
        EventColumn::new("t", EventKind::Text),
    ];
    EventSchema::new("things", all.into_iter().take(columns).collect()).unwrap()
}

/// They differ in which labels they have; one is called as a column is.
fn series(number: usize) -> Series {
    let sets: [&[(&str, &str)]; 4] = [
        &[("host", "a"), ("zone", "x")],
        &[("host", "b\"\\\n"), ("zone", "y")],
        &[("host", "c+d")],
        &[("value", "7"), ("time", "noon")],
    ];
    Series::new("load", sets[number % 4].iter().copied()).unwrap()
}

fn write_rows(engine: &Engine, columns: usize, rows: &[Row]) {
    let writer = engine.events(&schema(columns)).unwrap();
    let mut batch = writer.batch();
    for (time, values) in rows {
        batch.push(*time, values.iter().take(columns).cloned()).unwrap();
    }
    drop(writer.append_batch(batch).unwrap());
    engine.sync().unwrap();
}

fn write_samples(engine: &Engine, samples: &[Sample]) {
    let writer = engine.writer("test");
    for &(number, time, value) in samples {
        let handle = writer.series(&series(number), &Metadata::default()).unwrap();
        drop(writer.append_column(&handle, vec![time], vec![value]).unwrap());
    }
    // Another metric, before it in every file.
    let other = writer.series(&Series::parse("aside{host=\"a\"}").unwrap(), &Metadata::default());
    drop(writer.append_column(&other.unwrap(), vec![HOUR], vec![1.0]).unwrap());
    engine.sync().unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Asks both schemas the same, and compares all rows.
async fn compare(session: &SessionContext, what: &str, table: &str, conditions: &[String]) {
    let wanted = match conditions {
        [] => "true".to_owned(),
        all => all.join(" AND "),
    };
    let of = |schema: &str| format!("SELECT {what} FROM {schema}.{table} WHERE {wanted}");
    let mut one = rows(session, &of("history")).await;
    let mut other = rows(session, &of("twin")).await;
    one.sort_unstable();
    other.sort_unstable();
    assert_eq!(one, other, "{}", of("history"));
}

/// Days of rows and samples, of which all but the last two are archived.
fn ten_days() -> Twins {
    let twins = Twins::new(2);
    for day in 0..10 {
        let row = |at: i64| -> Row {
            let text = ["a", "b", "c"][at as usize % 3];
            let (n, x) = (day * 100 + at, at as f64 / 8.0);
            (
                day * DAY + at * 600 * SECOND,
                vec![n.into(), x.into(), (at % 2 == 0).into(), text.into()],
            )
        };
        let days_rows: Vec<Row> = (0..100).map(row).collect();
        let samples: Vec<Sample> =
            (0..100).map(|at| (at as usize, day * DAY + at * 600 * SECOND, at as f64)).collect();
        twins.both(|engine| {
            write_rows(engine, 4, &days_rows);
            write_samples(engine, &samples);
            engine.freeze().unwrap();
        });
    }
    // One part of rows and one of samples a day.
    assert_eq!(twins.archive_what_is_old(), 2 * 7);
    twins
}
