use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::RowAccessor;

use super::*;
use crate::aggregate::{Partial, Sketch, Sketches};
use crate::engine::Engine;
use crate::fs::{Fs, RealFs};
use crate::model::{Metadata, Selector, Series};
use crate::options::{ArchivePart, Archiver, GateOptions, Options};
use crate::segment::{ChunkSource, Mask, RecordFields, Records, Sources};

fn series(text: &str) -> Arc<Series> {
    Arc::new(Series::parse(text).unwrap())
}

fn reader(path: &Path) -> SerializedFileReader<std::fs::File> {
    SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap()
}

#[test]
fn samples_come_back_bit_for_bit_as_another_reader_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut table = Table::create(&fs, &path, Rows::Samples).unwrap();
    let odd = [
        f64::from_bits(0x7ff0_0000_0000_0002),
        f64::from_bits(0xfff8_dead_beef_0001),
        -0.0,
        f64::NEG_INFINITY,
        5e-324,
    ];
    let times = [i64::MIN, -1, 0, 1, i64::MAX];
    let all = [series("bare"), series("up{job=\"a\",zone=\"ü\\\"\"}")];
    for series in &all {
        table.push_samples(series, &times, &odd).unwrap();
    }
    let written = table.finish().unwrap();
    assert_eq!(written.rows, 10);
    assert!(!dir.path().join("a.parquet.tmp").exists());
    let mut found = Vec::new();
    for row in reader(&path).get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let labels = row.get_map(2).unwrap();
        let labels = format!("{labels:?}");
        found.push((
            row.get_string(0).unwrap().clone(),
            row.get_string(1).unwrap().clone(),
            labels,
            row.get_double(4).unwrap().to_bits(),
        ));
    }
    assert_eq!(found.len(), 10);
    let bits: Vec<u64> = found.iter().map(|row| row.3).collect();
    assert_eq!(bits, [odd, odd].concat().iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("bare", "bare"));
    assert_eq!((found[9].0.as_str(), found[9].1.as_str()), (all[1].to_string().as_str(), "up"));
    assert!(found[9].2.contains("job") && found[9].2.contains("zone"), "{}", found[9].2);
}

#[test]
fn long_series_are_cut_into_row_groups_with_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut table = Table::create(&fs, &path, Rows::Samples).unwrap();
    let rows = 3 * ROW_GROUP_BYTES / 16 / 2;
    let times: Vec<i64> = (0..rows as i64).map(|i| i * 10_000_000_000).collect();
    let values: Vec<f64> = (0..rows).map(|i| (i % 100) as f64).collect();
    table.push_samples(&series("a{b=\"c\"}"), &times, &values).unwrap();
    let written = table.finish().unwrap();
    assert_eq!(written.rows, rows as u64);
    assert!(written.bytes < 2 * rows as u64, "{} bytes of {rows} rows", written.bytes);
    let reader = reader(&path);
    assert_eq!(reader.num_row_groups(), 2);
    let statistics = reader.metadata().row_group(1).column(4).statistics().unwrap().clone();
    assert!(statistics.min_bytes_opt().is_some());
}

#[test]
fn records_keep_every_field_and_bin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut table = Table::create(&fs, &path, Rows::Records).unwrap();
    let values = [-3.0, 0.0, 1.5, 100.0, 2.0];
    let partial = Partial::of(&[60, 61, 62, 63, 64], &values);
    let records = Records {
        starts: vec![60, 120],
        partials: vec![partial, Partial::EMPTY],
        sketches: [&Sketch::of(&values), &Sketch::default()].into_iter().collect(),
    };
    let fields = RecordFields { increase: true, sketches: true };
    table.push_records(&series("a"), &records, fields).unwrap();
    let bare = Records { sketches: Sketches::default(), ..records.clone() };
    table.push_records(&series("b"), &bare, RecordFields::default()).unwrap();
    assert_eq!(table.finish().unwrap().rows, 4);
    let rows: Vec<_> = reader(&path).get_row_iter(None).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows[0].get_ulong(4).unwrap(), 5);
    assert_eq!(rows[0].get_double(5).unwrap(), partial.sum);
    assert_eq!(rows[0].get_double(12).unwrap(), partial.increase);
    assert_eq!(rows[0].get_ulong(13).unwrap(), partial.resets);
    assert_eq!(rows[0].get_ulong(14).unwrap(), 1);
    assert_eq!(rows[0].get_list(15).unwrap().len(), 3);
    assert_eq!(rows[0].get_list(18).unwrap().len(), 1);
    // What is left out is null, which is not zero.
    assert!(rows[2].get_double(12).is_err() && rows[2].get_ulong(14).is_err());
    assert_eq!(rows[3].get_list(15).unwrap().len(), 0);
}

/// A file whose bytes are not what was written gets no name.
#[test]
fn a_damaged_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let fs: Arc<dyn Fs> = Arc::new(FlippingFs);
    let mut table = Table::create(&fs, &path, Rows::Samples).unwrap();
    table.push_samples(&series("a"), &[1, 2, 3], &[1.0, 2.0, 3.0]).unwrap();
    let error = table.finish().unwrap_err().to_string();
    assert!(error.contains("verify"), "{error}");
    assert!(!path.exists());
}

/// The real file system, but one bit of every value page's middle reads wrong.
#[derive(Debug)]
struct FlippingFs;

#[derive(Debug)]
struct Flipped(Box<dyn crate::fs::FsFile>);

impl crate::fs::FsFile for Flipped {
    fn write_all(&mut self, bytes: &[u8]) -> crate::Result<()> {
        self.0.write_all(bytes)
    }
    fn sync(&mut self) -> crate::Result<()> {
        self.0.sync()
    }
    fn len(&self) -> crate::Result<u64> {
        self.0.len()
    }
    fn set_len(&mut self, bytes: u64) -> crate::Result<()> {
        self.0.set_len(bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> crate::Result<usize> {
        let read = self.0.read_at(offset, buffer)?;
        if offset < 100 && read > 10 {
            buffer[read / 2] ^= 1;
        }
        Ok(read)
    }
}

impl Fs for FlippingFs {
    fn create_new(&self, path: &Path) -> crate::Result<Box<dyn crate::fs::FsFile>> {
        RealFs.create_new(path)
    }
    fn open_append(&self, path: &Path) -> crate::Result<Box<dyn crate::fs::FsFile>> {
        RealFs.open_append(path)
    }
    fn open_read(&self, path: &Path) -> crate::Result<Box<dyn crate::fs::FsFile>> {
        Ok(Box::new(Flipped(RealFs.open_read(path)?)))
    }
    fn file_bytes(&self, path: &Path) -> crate::Result<Option<u64>> {
        RealFs.file_bytes(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> crate::Result<()> {
        RealFs.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> crate::Result<()> {
        RealFs.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> crate::Result<()> {
        RealFs.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> crate::Result<()> {
        RealFs.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> crate::Result<Vec<crate::fs::DirEntry>> {
        RealFs.list(path)
    }
    fn sync_dir(&self, path: &Path) -> crate::Result<()> {
        RealFs.sync_dir(path)
    }
    fn lock(
        &self,
        path: &Path,
        mode: crate::fs::LockMode,
    ) -> crate::Result<Box<dyn crate::fs::FsLock>> {
        RealFs.lock(path, mode)
    }
    fn free_bytes(&self, path: &Path) -> crate::Result<u64> {
        RealFs.free_bytes(path)
    }
}

/// The files of an archive below its directory, ascending.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in RealFs.list(&dir).unwrap() {
            let path = dir.join(&entry.name);
            if entry.is_dir { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn archive_all(engine: &Engine, archive: &ParquetArchive, masks: &[Mask]) {
    let pinned = engine.pin().unwrap();
    let series = engine.series(&Selector::default(), TimeRange::ALL).unwrap();
    for (entry, part) in pinned.catalog.parts.iter().zip(&**pinned.parts) {
        let mut sources = Sources::from(vec![Arc::clone(part) as Arc<dyn ChunkSource>]);
        sources.masks = masks.to_vec();
        let store_id = pinned.catalog.store_id;
        let metadata = [("m".to_owned(), Metadata::default())];
        let part = ArchivePart {
            events: None,
            store_id,
            entry,
            series: &series,
            metadata: &metadata,
            sources: &sources,
        };
        archive.archive(&part).unwrap();
    }
}

#[test]
fn a_part_is_archived_by_day_and_twice_is_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let engine = Engine::open(dir.path().join("db"), options).unwrap();
    let writer = engine.writer("test");
    let mut expected = Vec::new();
    for name in ["m{i=\"1\"}", "m{i=\"2\"}"] {
        let series = writer.series(&series(name), &Metadata::default()).unwrap();
        let times: Vec<i64> = (0..300).map(|i| i * 900_000_000_000).collect();
        let values: Vec<f64> = times.iter().map(|&t| (t / 7) as f64).collect();
        expected.extend(times.iter().zip(&values).map(|(&t, &v)| (name.to_owned(), t, v)));
        drop(writer.append_column(&series, times, values).unwrap());
    }
    engine.freeze().unwrap();
    let archive = ParquetArchive::new(dir.path().join("archive"));
    for _ in 0..2 {
        archive_all(&engine, &archive, &[]);
        let files = files(&dir.path().join("archive"));
        assert_eq!(files.len(), 4, "{files:?}");
        let mut found = Vec::new();
        for (file, day) in files.iter().zip(1..) {
            let partition = format!("archive/tier=raw/date=1970-01-0{day}");
            assert!(file.parent().unwrap().ends_with(partition), "{file:?}");
            for row in reader(file).get_row_iter(None).unwrap() {
                let row = row.unwrap();
                // This reader has no type for nanoseconds and gives the number.
                let time = row.get_long(3).unwrap();
                found.push((row.get_string(0).unwrap().clone(), time, row.get_double(4).unwrap()));
            }
        }
        found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        assert_eq!(found, expected);
    }
}

#[test]
fn directories_are_days_months_or_years() {
    let at = |text: &str| crate::integration::notation::parse_timestamp(text).unwrap();
    let range = TimeRange::new(at("2025-12-31 12:00"), at("2026-02-02"));
    let names = |tier: Tier| -> Vec<String> {
        let found = partitions(tier, Rows::Samples, range);
        assert_eq!(found.first().unwrap().1.start, range.start);
        assert_eq!(found.last().unwrap().1.end, range.end);
        assert!(found.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        found.iter().map(|(path, _)| path.display().to_string()).collect()
    };
    assert_eq!(names(Tier::RAW).len(), 33);
    assert_eq!(names(Tier::RAW)[1], "tier=raw/date=2026-01-01");
    assert_eq!(names(Tier::FIVE_MINUTES).len(), 33);
    assert_eq!(
        names(Tier::HOUR),
        ["tier=1h/date=2025-12-01", "tier=1h/date=2026-01-01", "tier=1h/date=2026-02-01"]
    );
    assert_eq!(names(Tier::DAY), ["tier=1d/date=2025-01-01", "tier=1d/date=2026-01-01"]);
    let first = partitions(Tier::RAW, Rows::Records, range).remove(0).0;
    assert!(first.starts_with("tier=raw-distributions"));
    assert!(
        partitions(Tier::RAW, Rows::Samples, TimeRange::new(Timestamp(5), Timestamp(5))).is_empty()
    );
    assert_eq!(partitions(Tier::DAY, Rows::Records, TimeRange::ALL).len(), 586);
}

#[test]
fn rows_of_events_are_archived_by_table_and_day_before_they_go() {
    use crate::model::{EventColumn, EventKind, EventSchema, EventValue};
    use crate::options::{Archive, Keep, Maintenance, Policy};
    use crate::query::EventRequest;

    let dir = tempfile::tempdir().unwrap();
    let archive = Archive {
        archiver: Arc::new(ParquetArchive::new(dir.path().join("archive"))),
        budget_drops_unarchived: false,
    };
    let day = std::time::Duration::from_secs(86_400);
    let options = Options {
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        archive: Some(archive),
        maintenance: Maintenance::ByHand,
        policy: Policy { keep: Keep::FOREVER.with(Tier::RAW, 9 * day), ..Policy::default() },
        ..Options::default()
    };
    let engine = Engine::open(dir.path().join("db"), options).unwrap();
    let kinds = [EventKind::Integer, EventKind::Text, EventKind::Float, EventKind::Boolean];
    let columns = kinds.iter().map(|&kind| EventColumn::new(kind.name(), kind));
    let schema = EventSchema::new("my queries", columns.collect()).unwrap();
    let writer = engine.events(&schema).unwrap();
    let row = |i: i64| -> (i64, Vec<EventValue>) {
        let text = (i % 3 != 1).then_some(["ok", "no"][i as usize % 2]);
        let float = (i % 4 != 2).then_some(i as f64 / 7.0);
        // Two days, three rows at each time.
        (i / 3 * 3_000_000_000_000, vec![i.into(), text.into(), float.into(), (i % 2 == 0).into()])
    };
    let mut batch = writer.batch();
    for (time, values) in (0..150).map(row) {
        batch.push(time, values).unwrap();
    }
    drop(writer.append_batch(batch).unwrap());
    engine.freeze().unwrap();
    // Far later, so that the frontier is.
    let newest = 60 * day.as_nanos() as i64;
    drop(writer.append(Timestamp(newest), &row(0).1).unwrap());
    engine.freeze().unwrap();
    let report = engine.enforce_retention().unwrap();
    assert!(report.failed.is_none() && report.dropped.len() == 1, "{report:?}");
    let left = engine.scan_events(&EventRequest::new("my queries", TimeRange::ALL)).unwrap();
    assert_eq!(left.rows.times, [newest]);

    let files = files(&dir.path().join("archive"));
    assert_eq!(files.len(), 2, "{files:?}");
    let mut found = Vec::new();
    for (file, day) in files.iter().zip(1..) {
        let partition = format!("archive/table=my%20queries/date=1970-01-0{day}");
        assert!(file.parent().unwrap().ends_with(partition), "{file:?}");
        for row in reader(file).get_row_iter(None).unwrap().map(Result::unwrap) {
            let mut values = vec![EventValue::Integer(row.get_long(1).unwrap())];
            values.push(row.get_string(2).ok().map(String::as_str).into());
            values.push(row.get_double(3).ok().into());
            values.push(row.get_bool(4).unwrap().into());
            found.push((row.get_long(0).unwrap(), values));
        }
    }
    assert_eq!(found, (0..150).map(row).collect::<Vec<_>>());
}
