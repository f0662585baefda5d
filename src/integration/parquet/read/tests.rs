use std::path::Path;

use super::*;
use crate::fs::RealFs;
use crate::integration::parquet::events::EventFile;
use crate::integration::parquet::{ROW_GROUP_BYTES, Rows, Table, event_partitions};
use crate::model::{EventColumn, EventKind, EventRows, EventValue, Selector};
use crate::query::{self, EventPredicate, EventRequest, EventTest, Resources, SampleRequest};
use crate::segment::{ChunkSource, EventSource, Sources};
use crate::time::Timestamp;

const NAME: PartName = PartName { rank: 7, store_id: 1, part: 3 };

fn schema(columns: usize) -> EventSchema {
    let kinds = [EventKind::Integer, EventKind::Text, EventKind::Float, EventKind::Boolean];
    let columns = kinds.iter().take(columns);
    let columns = columns.map(|&kind| EventColumn::new(kind.name(), kind)).collect();
    EventSchema::new("queries", columns).unwrap()
}

fn row(at: i64) -> (i64, Vec<EventValue>) {
    let text = (at % 3 != 1).then_some(["ok", "no", ""][at as usize % 3]);
    let float = (at % 4 != 2).then_some([f64::NAN, -0.0, 1.5][at as usize % 3]);
    (at / 2 * 1000, vec![at.into(), text.into(), float.into(), (at % 2 == 0).into()])
}

fn built(schema: &EventSchema, rows: std::ops::Range<i64>) -> Arc<EventRows> {
    let kinds = schema.columns().iter().map(|column| column.kind);
    let mut built = crate::model::EventBuilder::new(kinds);
    for (time, values) in rows.map(row) {
        built.push(time, &values);
    }
    built.take()
}

/// Writes rows of the first day of all, and finds them again.
fn event_file(dir: &Path, schema: &EventSchema, rows: &EventRows) -> Found {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (partition, day) =
        event_partitions("queries", TimeRange::new(Timestamp(0), Timestamp(1))).remove(0);
    std::fs::create_dir_all(dir.join(&partition)).unwrap();
    let path = dir.join(partition).join(NAME.to_string());
    let mut file = EventFile::create(&fs, &path, schema).unwrap();
    file.push(rows).unwrap();
    file.finish().unwrap();
    let day = TimeRange::new(day.start, Timestamp(86_400_000_000_000));
    Found { name: NAME, path, day }
}

fn read_events(dir: &Path, schema: &EventSchema, request: &EventRequest) -> Result<Vec<EventRows>> {
    let archive = ArchiveReader::new(&ParquetArchive::new(dir));
    let mut sources: Vec<Arc<dyn EventSource>> = Vec::new();
    for day in archive.event_days("queries", request.range, &|_| true)? {
        for found in &day.files {
            let file = archive.event_file("queries", found)?;
            sources.push(Arc::new(ArchivedEvents::new(file, schema)?));
        }
    }
    let mut found = Vec::new();
    query::for_each_event_group(request, schema, &sources, Resources::default(), |rows| {
        found.push(rows);
        Ok(())
    })?;
    Ok(found)
}

fn plain(rows: &[EventRows]) -> Vec<(i64, Vec<String>)> {
    let of = |rows: &EventRows| -> Vec<(i64, Vec<String>)> {
        let values = |at: usize| {
            (0..rows.columns.len()).map(move |column| format!("{:?}", rows.value(at, column)))
        };
        (0..rows.len()).map(|at| (rows.times[at], values(at).collect())).collect()
    };
    rows.iter().flat_map(of).collect()
}

#[test]
fn rows_come_back_and_later_columns_are_null() {
    let dir = tempfile::tempdir().unwrap();
    let rows = built(&schema(3), 0..300);
    event_file(dir.path(), &schema(3), &rows);
    let all = EventRequest::new("queries", TimeRange::ALL);
    let found = plain(&read_events(dir.path(), &schema(3), &all).unwrap());
    assert_eq!(found, plain(&[(*rows).clone()]));
    let found = plain(&read_events(dir.path(), &schema(4), &all).unwrap());
    assert!(found.len() == 300 && found.iter().all(|row| row.1[3] == "Null"));
    let some = EventRequest {
        predicates: vec![
            EventPredicate::new("text", EventTest::Equal("ok".into())),
            EventPredicate::new("boolean", EventTest::IsNull),
        ],
        projection: Some(vec!["integer".to_owned()]),
        limit: Some(20),
        ..EventRequest::new("queries", TimeRange::new(Timestamp(50_000), Timestamp(100_000)))
    };
    let found = plain(&read_events(dir.path(), &schema(4), &some).unwrap());
    let expected = (100..200).filter(|at| at % 3 == 0).take(20);
    let expected = expected.map(|at| (at / 2 * 1000, vec![format!("{:?}", EventValue::from(at))]));
    assert_eq!(found, expected.collect::<Vec<_>>());
    // More columns than the table had when it was asked are left alone; others are told of.
    let found = plain(&read_events(dir.path(), &schema(2), &all).unwrap());
    assert!(found.len() == 300 && found.iter().all(|row| row.1.len() == 2));
    let other = vec![EventColumn::new("integer", EventKind::Text)];
    let other = EventSchema::new("queries", other).unwrap();
    let error = read_events(dir.path(), &other, &all).unwrap_err().to_string();
    assert!(error.contains(&NAME.to_string()) && error.contains("queries"), "{error}");
    let archive = ArchiveReader::new(&ParquetArchive::new(dir.path()));
    assert_eq!(archive.event_schema("queries", &|_| true).unwrap(), Some(schema(3)));
    assert_eq!(archive.event_schema("queries", &|name| *name != NAME).unwrap(), None);
    assert_eq!(archive.tables(&|_| true).unwrap(), ["queries"]);
}

/// Whatever happened to a byte of a file, what is read is what was written, or an error that names it.
#[test]
fn no_damage_changes_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let rows = built(&schema(4), 0..200);
    let path = event_file(dir.path(), &schema(4), &rows).path;
    let expected = plain(&[(*rows).clone()]);
    let whole = std::fs::read(&path).unwrap();
    let all = EventRequest::new("queries", TimeRange::ALL);
    let mut told = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        match read_events(dir.path(), &schema(4), &all) {
            Ok(found) => assert_eq!(plain(&found), expected, "byte {at}"),
            Err(error) => {
                assert!(error.to_string().contains(&NAME.to_string()), "byte {at}: {error}");
                told += 1;
            }
        }
        std::fs::write(&path, &whole[..at]).unwrap();
        let error = read_events(dir.path(), &schema(4), &all).unwrap_err().to_string();
        assert!(error.contains(&NAME.to_string()), "cut at {at}: {error}");
    }
    assert!(told > whole.len() / 4, "{told} of {}", whole.len());
}

/// Series of two metrics, one of them long, in row groups: those that a metric and a range are not in
/// are not looked at.
#[test]
fn samples_come_from_the_row_groups_that_hold_them() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("tier=raw/date=1970-01-01");
    std::fs::create_dir_all(&partition).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut table = Table::create(&fs, &partition.join(NAME.to_string()), Rows::Samples).unwrap();
    let long = 5 * ROW_GROUP_BYTES / 16 / 2;
    let times: Vec<i64> = (0..long as i64).map(|at| at * 10_000_000).collect();
    let values: Vec<f64> = (0..long).map(|at| (at % 100) as f64).collect();
    let series = |text: &str| Arc::new(Series::parse(text).unwrap());
    table.push_samples(&series("a{b=\"c\"}"), &times[..10], &values[..10]).unwrap();
    table.push_samples(&series("m{d=\"1\"}"), &times, &values).unwrap();
    table.push_samples(&series("m{e=\"2\",f=\"ä\\\"\"}"), &times[..7], &values[..7]).unwrap();
    table.finish().unwrap();
    let archive = ArchiveReader::new(&ParquetArchive::new(dir.path()));
    let days = archive.sample_days(TimeRange::ALL, &|_| true).unwrap();
    let file = archive.sample_file(&days[0].files[0]).unwrap();
    let read = |text: &str, range: TimeRange| {
        let selector = Selector::parse(text).unwrap();
        let mut ids = SeriesIds::new([]);
        let metric = text.split('{').next().unwrap();
        let wanted = (metric, &selector, range);
        let source = ArchivedSamples::new(Arc::clone(&file), 7, wanted, &mut ids).unwrap();
        let groups = source.row_groups();
        let sources = Sources::from(vec![Arc::new(source) as Arc<dyn ChunkSource>]);
        let mut found = Vec::new();
        query::for_each_run(
            &SampleRequest::new(range),
            &ids.series(),
            &sources,
            |series, times, values| {
                found.extend(
                    times
                        .iter()
                        .zip(values)
                        .map(|(&time, &value)| (series.to_string(), time, value)),
                );
                Ok(())
            },
        )
        .unwrap();
        (groups, found)
    };
    let (groups, found) = read("a", TimeRange::ALL);
    assert_eq!((groups, found.len()), (1, 10));
    let (groups, found) = read("m{d=\"1\"}", TimeRange::ALL);
    assert_eq!((groups, found.len()), (3, long));
    assert!(found.iter().zip(times.iter().zip(&values)).all(|(f, (&t, &v))| (f.1, f.2) == (t, v)));
    let range = TimeRange::new(Timestamp(times[long - 100]), Timestamp(times[long - 50]));
    let (groups, found) = read("m{d=\"1\"}", range);
    assert_eq!((groups, found.len()), (1, 50));
    let (_, found) = read("m{f!=\"\"}", TimeRange::ALL);
    assert_eq!(found.len(), 7);
    assert_eq!(found[6], ("m{e=\"2\",f=\"ä\\\"\"}".to_owned(), times[6], values[6]));
    let labels = archive.labels("m", &|_| true).unwrap().unwrap();
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["d", "e", "f"]);
    assert_eq!(archive.labels("other", &|_| true).unwrap(), None);
    assert_eq!(archive.metrics(&|_| true).unwrap().into_iter().collect::<Vec<_>>(), ["a", "m"]);
}

/// More texts than a dictionary takes: then labels come of all rows.
#[test]
fn labels_are_found_beyond_a_dictionary() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("tier=raw/date=1970-01-01");
    std::fs::create_dir_all(&partition).unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut table = Table::create(&fs, &partition.join(NAME.to_string()), Rows::Samples).unwrap();
    for number in 0..30_000 {
        let last = if number == 29_999 { ",z=\"1\"" } else { "" };
        let text = format!(
            "m{{a=\"{number:05}-a text of some length, so that they are many bytes\"{last}}}"
        );
        table.push_samples(&Arc::new(Series::parse(&text).unwrap()), &[1], &[1.0]).unwrap();
    }
    table.finish().unwrap();
    let archive = ArchiveReader::new(&ParquetArchive::new(dir.path()));
    let labels = archive.labels("m", &|_| true).unwrap().unwrap();
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), ["a", "z"]);
}
