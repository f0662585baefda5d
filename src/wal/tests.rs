//! What is pushed comes back, bit for bit.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{FRAME_PAYLOAD_BYTES_MAX, Record, Replay, Writer, replay, truncate};
use crate::aggregate::{Distribution, Sketch};
use crate::fs::RealFs;
use crate::model::{
    EventBatch, EventColumn, EventKind, EventSchema, EventValue, Metadata, MetricKind, Series,
    SeriesId,
};
use crate::{Error, Result};

fn log_dir(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("log")
}

fn open(dir: &tempfile::TempDir, watermark: u64) -> (Replay, Writer) {
    let found = replay(&RealFs, &log_dir(dir), watermark, &mut |_| Ok(())).unwrap();
    let writer = Writer::open(Arc::new(RealFs), &log_dir(dir), &found).unwrap();
    (found, writer)
}

/// One call on a writer.
#[derive(Debug, Clone)]
enum Step {
    Scrape {
        timestamp: i64,
        values: Vec<u64>,
    },
    Column {
        series: u32,
        samples: Vec<(i64, u64)>,
    },
    Distribution {
        series: u32,
        timestamp: i64,
        distribution: Distribution,
    },
    /// Of a table of that many columns, rows of the first so many.
    Events {
        columns: usize,
        width: usize,
        rows: Vec<(i64, Vec<EventValue>)>,
    },
    Write,
    Rotate,
}

/// Bit patterns that codecs trip over, and any other.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0x7ff0_0000_0000_0002),
        Just((-0.0f64).to_bits()),
        Just(f64::INFINITY.to_bits()),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), -5..5i64, any::<i64>()]
}

/// Observations of any kind, with a sum and extremes that need not be theirs.
fn distribution() -> impl Strategy<Value = Distribution> {
    let values = proptest::collection::vec(bits().prop_map(f64::from_bits), 1..40);
    (values, 1..u64::MAX, bits()).prop_filter_map("a distribution", |(values, count, sum)| {
        let mut sketch = Sketch::default();
        values.iter().for_each(|&value| sketch.record(value, count));
        Distribution::from_parts(sketch, f64::from_bits(sum), values[0], f64::MAX)
    })
}

/// All there is to a distribution, bit for bit.
fn words(distribution: &Distribution) -> Vec<u64> {
    let sketch = distribution.sketch();
    let floats = [distribution.sum(), distribution.min(), distribution.max()];
    let mut words: Vec<u64> = floats.into_iter().map(f64::to_bits).collect();
    words.push(sketch.zero());
    for bins in [sketch.positive(), sketch.negative()] {
        words.push(bins.len() as u64);
        words.extend(bins.iter().flat_map(|bin| [bin.index as u64, bin.count]));
    }
    words
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (time(), proptest::collection::vec(bits(), 0..6))
            .prop_map(|(timestamp, values)| Step::Scrape { timestamp, values }),
        4 => (0..5u32, proptest::collection::vec((time(), bits()), 0..30))
            .prop_map(|(series, samples)| Step::Column { series, samples }),
        3 => (0..5u32, time(), distribution()).prop_map(|(series, timestamp, distribution)| {
            Step::Distribution { series, timestamp, distribution }
        }),
        3 => events(),
        1 => Just(Step::Write),
        1 => Just(Step::Rotate),
    ]
}

/// The kind of a column, by its place.
fn kind_at(at: usize) -> EventKind {
    [EventKind::Text, EventKind::Integer, EventKind::Float, EventKind::Boolean][at % 4]
}

fn value_at(at: usize) -> BoxedStrategy<EventValue> {
    let value = match kind_at(at) {
        EventKind::Integer => time().prop_map(EventValue::Integer).boxed(),
        EventKind::Float => bits().prop_map(|bits| EventValue::Float(f64::from_bits(bits))).boxed(),
        EventKind::Boolean => any::<bool>().prop_map(EventValue::Boolean).boxed(),
        EventKind::Text => ".{0,8}".prop_map(EventValue::from).boxed(),
    };
    prop_oneof![2 => value, 1 => Just(EventValue::Null)].boxed()
}

fn events() -> impl Strategy<Value = Step> {
    (1..20_usize, 0..20_usize).prop_flat_map(|(columns, fewer)| {
        let width = columns.saturating_sub(fewer).max(1);
        let row = (time(), (0..width).map(value_at).collect::<Vec<_>>());
        proptest::collection::vec(row, 0..8).prop_map(move |rows| Step::Events {
            columns,
            width,
            rows,
        })
    })
}

/// The table of so many columns; the one that had fewer before is declared again.
fn table(columns: usize) -> EventSchema {
    let columns = (0..columns).map(|at| EventColumn::new(format!("c{at}"), kind_at(at)));
    EventSchema::new("table", columns.collect()).unwrap()
}

/// All there is to rows, bit for bit.
fn row_words(batch: &EventBatch) -> Vec<u64> {
    let words = batch.rows().flat_map(|(_, values)| values).map(|value| match value {
        EventValue::Float(value) => value.to_bits(),
        other => {
            let text = format!("{other:?}");
            text.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
        }
    });
    std::iter::once(batch.width() as u64).chain(words).collect()
}

fn declare(writer: &mut Writer, id: u32) -> Result<SeriesId> {
    let id = SeriesId(id);
    if !writer.has_series(id) {
        let series = Series::new("m", [("id", id.0.to_string().as_str())])?;
        writer.declare_series(id, &series)?;
    }
    Ok(id)
}

type Told = Vec<(u64, u32, Vec<i64>, Vec<u64>)>;

fn apply(writer: &mut Writer, step: &Step, told: &mut Told) -> Result<()> {
    let floats = |bits: &[u64]| bits.iter().copied().map(f64::from_bits).collect::<Vec<_>>();
    match step {
        Step::Scrape { timestamp, values } => {
            let size = u32::try_from(values.len()).unwrap();
            let members = (0..size).rev().map(|id| declare(writer, id * 1000));
            let members = members.collect::<Result<Vec<_>>>()?;
            if !writer.has_group(size) {
                writer.declare_group(size, &members)?;
            }
            let sequence = writer.push_scrape(size, *timestamp, &floats(values))?;
            told.push((sequence, size, vec![*timestamp], values.clone()));
        }
        Step::Column { series, samples } => {
            let id = declare(writer, *series)?;
            let (timestamps, values): (Vec<i64>, Vec<u64>) = samples.iter().copied().unzip();
            let sequence = writer.push_column(id, &timestamps, &floats(&values))?;
            told.push((sequence, *series, timestamps, values));
        }
        Step::Distribution { series, timestamp, distribution } => {
            let id = declare(writer, *series)?;
            let sequence = writer.push_distribution(id, *timestamp, distribution)?;
            told.push((sequence, *series, vec![*timestamp], words(distribution)));
        }
        Step::Events { columns, width, rows } => {
            let schema = table(*columns);
            if !writer.has_event_table(3, &schema) {
                writer.declare_event_table(3, &schema)?;
            }
            let mut batch = EventBatch::new(*width);
            for (time, values) in rows {
                batch.push(*time, values.iter().cloned())?;
            }
            let sequence = writer.push_events(3, &batch)?;
            told.push((sequence, 3, batch.times().to_vec(), row_words(&batch)));
        }
        Step::Write => writer.write_group()?,
        Step::Rotate => writer.rotate()?,
    }
    Ok(())
}

fn read(dir: &tempfile::TempDir) -> Result<Told> {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
    let mut told = Told::new();
    replay(&RealFs, &log_dir(dir), 0, &mut |record| {
        match record {
            Record::Scrape { sequence, group, timestamp, values } => {
                told.push((sequence, group, vec![timestamp], bits(values)));
            }
            Record::Column { sequence, series, timestamps, values } => {
                told.push((sequence, series.0, timestamps.to_vec(), bits(values)));
            }
            Record::Distribution { sequence, series, timestamp, distribution } => {
                told.push((sequence, series.0, vec![timestamp], words(distribution)));
            }
            Record::Series { id, series } => {
                assert_eq!(series.label("id"), id.0.to_string());
            }
            Record::Group { id, series } => assert_eq!(series.len(), id as usize),
            Record::EventTable { id, schema } => {
                assert_eq!((id, schema), (3, &table(schema.columns().len())));
            }
            Record::Events { sequence, table, batch } => {
                told.push((sequence, table, batch.times().to_vec(), row_words(batch)));
            }
            Record::File { .. } | Record::Metadata { .. } => {}
        }
        Ok(())
    })?;
    Ok(told)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_pushed_comes_back(steps in proptest::collection::vec(step(), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let (_, mut writer) = open(&dir, 0);
        let mut told = Told::new();
        for step in &steps {
            apply(&mut writer, step, &mut told).unwrap();
        }
        writer.write_group().unwrap();
        drop(writer);
        prop_assert_eq!(&read(&dir).unwrap(), &told);
        let (found, _) = open(&dir, 0);
        prop_assert_eq!(found.next_sequence, told.len() as u64 + 1);
        prop_assert_eq!(&read(&dir).unwrap(), &told);
    }
}

#[test]
fn what_exceeds_a_frame_goes_to_the_next_and_what_never_fits_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writer) = open(&dir, 0);
    let id = declare(&mut writer, 1).unwrap();
    let samples = FRAME_PAYLOAD_BYTES_MAX / 20;
    let values = vec![1.5; samples];
    let timestamps: Vec<i64> = (0..).take(samples).collect();
    assert_eq!(writer.push_column(id, &timestamps, &values).unwrap(), 1);
    assert_eq!(writer.push_column(id, &timestamps, &values).unwrap(), 2);
    let many = vec![0.0; FRAME_PAYLOAD_BYTES_MAX / 8];
    let refused = writer.push_column(id, &vec![0; many.len()], &many);
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    writer.write_group().unwrap();
    let mut sums = Vec::new();
    replay(&RealFs, &log_dir(&dir), 0, &mut |record| {
        if let Record::Column { sequence, timestamps, .. } = record {
            sums.push((sequence, timestamps.len(), timestamps.last().copied()));
        }
        Ok(())
    })
    .unwrap();
    let last = timestamps.last().copied();
    assert_eq!(sums, [(1, samples, last), (2, samples, last)]);
}

#[test]
fn undeclared_and_mismatched_records_are_refused_without_effect() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writer) = open(&dir, 0);
    let id = declare(&mut writer, 1).unwrap();
    let pending = writer.pending_bytes();
    let series = Series::new("m", []).unwrap();
    assert!(writer.declare_series(id, &series).is_err());
    assert!(writer.declare_group(1, &[id, SeriesId(2)]).is_err());
    assert!(writer.push_scrape(1, 0, &[]).is_err());
    assert!(writer.push_column(SeriesId(2), &[1], &[1.0]).is_err());
    assert!(writer.push_column(id, &[1], &[]).is_err());
    assert!(writer.push_distribution(id, 1, &Distribution::default()).is_err());
    let one = Distribution::from_parts(Sketch::of(&[1.0]), 1.0, 1.0, 1.0).unwrap();
    assert!(writer.push_distribution(SeriesId(2), 1, &one).is_err());
    let rows = EventBatch::new(2);
    assert!(writer.push_events(3, &rows).is_err());
    assert_eq!((writer.pending_bytes(), writer.next_sequence()), (pending, 1));
    writer.declare_event_table(3, &table(1)).unwrap();
    assert!(writer.push_events(3, &rows).is_err(), "more values than columns");
    writer.declare_group(1, &[id]).unwrap();
    assert!(writer.push_scrape(1, 0, &[1.0, 2.0]).is_err());
    assert_eq!(writer.push_scrape(1, 0, &[1.0]).unwrap(), 1);
}

#[test]
fn levels_advance_with_write_and_sync_and_truncation_keeps_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writer) = open(&dir, 0);
    let metadata = Metadata { kind: MetricKind::Counter, ..Metadata::default() };
    for file in 0..4 {
        assert!(!writer.has_metadata("m"));
        writer.declare_metadata("m", &metadata).unwrap();
        let id = declare(&mut writer, 0).unwrap();
        let sequence = writer.push_column(id, &[file], &[0.0]).unwrap();
        assert_eq!(writer.logged_sequence(), sequence - 1);
        writer.write_group().unwrap();
        assert_eq!((writer.logged_sequence(), writer.synced_sequence()), (sequence, sequence - 1));
        writer.sync().unwrap();
        assert_eq!(writer.synced_sequence(), sequence);
        writer.rotate().unwrap();
    }
    let removed = |watermark| truncate(&RealFs, &log_dir(&dir), watermark).unwrap();
    assert_eq!([removed(0), removed(1), removed(1), removed(3), removed(99)], [0, 1, 0, 2, 1]);
    assert_eq!(open(&dir, 4).0.next_sequence, 5);
}

#[test]
fn a_visitors_error_ends_the_replay() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir, 0));
    let ended = replay(&RealFs, &log_dir(&dir), 0, &mut |_| Err(Error::Cancelled));
    assert!(matches!(ended, Err(Error::Cancelled)));
}
