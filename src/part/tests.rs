use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::fs::{DirEntry, FsFile, FsLock, LockMode, RealFs};
use crate::model::{Metadata, MetricKind, Series};
use crate::segment::{Group, SegmentLimits};
use crate::store::StoreKind;
use crate::time::Tier;
use crate::time::Timestamp;

/// Samples of one series, by timestamp, values as bits.
type Column = BTreeMap<i64, u64>;

fn kinds() -> impl Iterator<Item = StoreKind> {
    StoreKind::ALL.into_iter().filter(|kind| kind.is_built_in())
}

fn real_fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

fn value(series: u32, timestamp: i64) -> f64 {
    let mixed = (u64::from(series) << 32 ^ timestamp as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match mixed >> 60 {
        0 => f64::from_bits(crate::model::STALE_MARKER_BITS),
        1 => f64::from_bits(0x7ff8_0000_dead_beef),
        2 => -0.0,
        3 => f64::NEG_INFINITY,
        _ => f64::from_bits(mixed >> 2),
    }
}

/// Which series are written together at which timestamps.
#[derive(Debug, Clone)]
struct Shape {
    series: Vec<u32>,
    timestamps: Vec<i64>,
}

fn labelled(count: u32) -> Vec<Arc<Series>> {
    let series = (0..count).map(|n| Series::new("m", [("n", format!("{n:05}").as_str())]));
    series.map(|series| Arc::new(series.unwrap())).collect()
}

fn spec(id: u64, store: StoreKind) -> PartSpec {
    let limits = SegmentLimits { chunk_samples_max: 64, segment_bytes_target: 2048 };
    let window = TimeRange::new(Timestamp(-1_000_000), Timestamp(1_000_000_000));
    PartSpec {
        id,
        rank: id * 10,
        window,
        store,
        limits,
        tier: Tier::RAW,
        layout: Layout::Samples,
        tombstones: 0,
    }
}

fn metadata() -> Vec<(String, Metadata)> {
    let metadata = Metadata { kind: MetricKind::Gauge, unit: "s".into(), help: "of m".into() };
    vec![("m".to_owned(), metadata)]
}

fn write_shapes(
    fs: &Arc<dyn Fs>,
    parts: &Path,
    spec: &PartSpec,
    count: u32,
    shapes: &[Shape],
) -> Result<PartMeta> {
    let reads: Vec<_> = shapes
        .iter()
        .map(|shape| {
            move |at: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend(shape.timestamps[rows].iter().map(|&t| value(shape.series[at], t)));
            }
        })
        .collect();
    let groups: Vec<_> = shapes
        .iter()
        .zip(&reads)
        .map(|(shape, read)| Group { timestamps: &shape.timestamps, series: &shape.series, read })
        .collect();
    write(fs, parts, spec, &labelled(count), &metadata(), &groups)
}

fn shapes() -> Vec<Shape> {
    let every = |series: std::ops::Range<u32>, step, start: i64, rows: i64| Shape {
        series: series.step_by(step).collect(),
        timestamps: (0..rows).map(|row| start + row * 1000 + row % 7).collect(),
    };
    vec![every(0..40, 1, 0, 300), every(0..40, 3, 500_000, 200), every(5..60, 5, 900_000, 90)]
}

fn expected(count: u32, shapes: &[Shape]) -> Vec<Column> {
    let mut columns = vec![Column::new(); count as usize];
    for shape in shapes {
        for &series in &shape.series {
            let samples = shape.timestamps.iter().map(|&t| (t, value(series, t).to_bits()));
            columns[series as usize].extend(samples);
        }
    }
    columns
}

/// All samples of a series within a window, with every promise of the read contract checked.
fn read(part: &Part, series: SeriesId, range: TimeRange) -> Result<Column> {
    let (mut chunks, mut samples) = (Vec::new(), Column::new());
    part.chunks(series, range, &mut chunks)?;
    let mut end = None;
    for chunk in chunks {
        assert!(range.overlaps(chunk.first, chunk.last));
        assert!(end.is_none_or(|end| end < chunk.first), "chunks overlap or are out of order");
        end = Some(chunk.last);
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        part.read_timestamps(&chunk, &mut timestamps)?;
        part.read_values(&chunk, &mut values)?;
        assert_eq!(
            (timestamps.len(), values.len()),
            (chunk.samples as usize, chunk.samples as usize)
        );
        let ends = (timestamps.first(), timestamps.last());
        assert_eq!(ends, (Some(&chunk.first.0), Some(&chunk.last.0)));
        let counted = values.iter().filter(|&&value| !crate::model::is_stale(value)).count();
        assert_eq!(part.statistics(&chunk)?.unwrap().count, counted as u64);
        let within = timestamps.into_iter().zip(values);
        let within = within.filter(|&(t, _)| range.contains(Timestamp(t)));
        samples.extend(within.map(|(t, value)| (t, value.to_bits())));
    }
    Ok(samples)
}

fn open(parts: &Path, id: u64) -> Result<Part> {
    Part::open(
        &real_fs(),
        parts,
        id,
        &Index::new(),
        &Arc::new(PartCache::new(CacheLimits::default())),
    )
}

#[test]
fn what_was_written_reads_back_bit_for_bit_from_every_store() {
    for kind in kinds() {
        let parts = tempfile::tempdir().unwrap();
        let written =
            write_shapes(&real_fs(), parts.path(), &spec(7, kind), 60, &shapes()).unwrap();
        assert!(written.segments.len() > 8, "the test wants many segments");
        let index = Index::new();
        // Ids that are not the part's positions.
        for stranger in labelled(70).iter().skip(11).step_by(2).rev() {
            index.intern(stranger);
        }
        let cache = Arc::new(PartCache::new(CacheLimits::default()));
        let part = Part::open(&real_fs(), parts.path(), 7, &index, &cache).unwrap();
        assert_eq!(part.meta(), &written);
        assert_eq!(index.metadata("m").as_deref(), Some(&metadata()[0].1));
        let expected = expected(60, &shapes());
        let samples: usize = expected.iter().map(BTreeMap::len).sum();
        assert_eq!(written.samples, samples as u64);
        for (series, expected) in labelled(70).iter().zip(&expected) {
            let id = index.get(series).unwrap();
            assert_eq!(&read(&part, id, TimeRange::ALL).unwrap(), expected, "{kind} {series}");
            let range = TimeRange::new(Timestamp(70_000), Timestamp(560_000));
            let within: Column = expected.range(70_000..560_000).map(|(&t, &v)| (t, v)).collect();
            assert_eq!(read(&part, id, range).unwrap(), within, "{kind} {series}");
        }
        assert!(read(&part, SeriesId(10_000), TimeRange::ALL).unwrap().is_empty());
        let mut steps = 0;
        let report = part.verify(&mut |_| steps += 1);
        assert!(report.problems.is_empty(), "{kind}: {:?}", report.problems);
        assert_eq!((report.samples, steps), (written.samples, written.segments.len()));
        let columns = part.column_stats().unwrap();
        let bytes: u64 = columns.iter().map(|column| column.bytes).sum();
        let segments: u64 = written.segments.iter().map(|entry| u64::from(entry.bytes)).sum();
        assert_eq!(bytes, segments, "{kind}: every byte of the segments is accounted for");
    }
}

#[test]
fn a_part_without_samples_opens() {
    for kind in kinds() {
        let parts = tempfile::tempdir().unwrap();
        let meta = write_shapes(&real_fs(), parts.path(), &spec(1, kind), 3, &[]).unwrap();
        assert_eq!((meta.samples, meta.segments.len()), (0, 0));
        let part = open(parts.path(), 1).unwrap();
        assert!(read(&part, part.series_ids()[2], TimeRange::ALL).unwrap().is_empty());
        assert!(part.verify(&mut |_| ()).problems.is_empty());
    }
}

#[test]
fn input_that_breaks_the_rules_is_refused_and_makes_no_part() {
    let parts = tempfile::tempdir().unwrap();
    let outside = Shape { series: vec![0], timestamps: vec![2_000_000_000] };
    let unknown = Shape { series: vec![3], timestamps: vec![5] };
    for shape in [outside, unknown] {
        let spec = spec(1, StoreKind::Flat);
        let refused = write_shapes(&real_fs(), parts.path(), &spec, 3, &[shape]);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
        assert!(!part_dir(parts.path(), 1).exists());
    }
    assert_eq!(sweep(&RealFs, parts.path(), &[]).unwrap(), 1, "what was begun, begun anew");
    assert_eq!(std::fs::read_dir(parts.path()).unwrap().count(), 0);
}

#[test]
fn every_damaged_byte_of_the_meta_is_noticed_at_open() {
    let parts = tempfile::tempdir().unwrap();
    write_shapes(&real_fs(), parts.path(), &spec(1, StoreKind::Flat), 60, &shapes()[1..2]).unwrap();
    let path = part_dir(parts.path(), 1).join(META_FILE);
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        let error = open(parts.path(), 1).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { path: named, .. } if *named == path), "{error}");
        std::fs::write(&path, &sound[..at]).unwrap();
        assert!(open(parts.path(), 1).is_err(), "cut to {at}");
    }
    // A part under another's name.
    std::fs::write(&path, &sound).unwrap();
    std::fs::rename(part_dir(parts.path(), 1), part_dir(parts.path(), 2)).unwrap();
    assert!(matches!(open(parts.path(), 2), Err(Error::Corrupt { .. })));
}

/// Overwrites the part's store with one that holds other values, as a store that loses or
/// confuses keys would look.
fn replace_store(parts: &Path, kind: StoreKind, pairs: &[(u64, Vec<u8>)]) {
    let dir = part_dir(parts, 1).join(STORE_DIR);
    std::fs::remove_dir_all(&dir).unwrap();
    let mut builder = store::build(kind, &real_fs(), &dir).unwrap();
    pairs.iter().for_each(|(key, value)| builder.put(*key, value).unwrap());
    builder.finish().unwrap();
}

#[test]
fn a_lost_confused_or_foreign_segment_is_corruption_that_names_the_part() {
    for kind in kinds() {
        let parts = tempfile::tempdir().unwrap();
        write_shapes(&real_fs(), parts.path(), &spec(1, kind), 60, &shapes()).unwrap();
        let mut sound = Vec::new();
        let dir = part_dir(parts.path(), 1).join(STORE_DIR);
        store::open(kind, &real_fs(), &dir)
            .unwrap()
            .scan(&mut |key, value| {
                sound.push((key, value.to_vec()));
                Ok(())
            })
            .unwrap();
        let without: Vec<_> = sound.iter().filter(|(key, _)| *key != 3).cloned().collect();
        let mut swapped = sound.clone();
        (swapped[2].1, swapped[3].1) = (sound[3].1.clone(), sound[2].1.clone());
        let mut beyond = sound.clone();
        beyond.push((1000, b"foreign".to_vec()));
        for (what, pairs, reads) in
            [("lost", without, false), ("swapped", swapped, false), ("foreign", beyond, true)]
        {
            replace_store(parts.path(), kind, &pairs);
            let part = open(parts.path(), 1).unwrap();
            match part.segment(3) {
                Ok(_) => assert!(reads, "{kind} {what}"),
                Err(Error::Corrupt { path, .. }) => assert!(path.starts_with(part.dir()) && !reads),
                Err(other) => panic!("{kind} {what}: {other}"),
            }
            let problems = part.verify(&mut |_| ()).problems;
            assert!(!problems.is_empty(), "{kind} {what}: verify found nothing");
            assert!(part.dir().is_dir());
        }
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn a_flipped_bit_in_any_store_file_never_yields_wrong_samples() {
    for kind in kinds() {
        let parts = tempfile::tempdir().unwrap();
        write_shapes(&real_fs(), parts.path(), &spec(1, kind), 60, &shapes()[..1]).unwrap();
        let expected = expected(60, &shapes()[..1]);
        let files = files_below(&part_dir(parts.path(), 1).join(STORE_DIR));
        let step = files.len().div_ceil(6);
        for path in files.iter().step_by(step) {
            let sound = std::fs::read(path).unwrap();
            for at in (0..sound.len()).step_by(sound.len().div_ceil(5).max(1)) {
                let mut damaged = sound.clone();
                damaged[at] ^= 0x04;
                std::fs::write(path, &damaged).unwrap();
                let part = open(parts.path(), 1).unwrap();
                for (&id, expected) in part.series_ids().iter().zip(&expected).step_by(7) {
                    if let Ok(found) = read(&part, id, TimeRange::ALL) {
                        assert_eq!(&found, expected, "{kind}: byte {at} of {}", path.display());
                    }
                }
                std::fs::write(path, &sound).unwrap();
            }
        }
        assert!(open(parts.path(), 1).unwrap().verify(&mut |_| ()).problems.is_empty(), "{kind}");
    }
}

#[test]
fn sweeping_takes_what_nothing_names_and_nothing_else() {
    let parts = tempfile::tempdir().unwrap();
    for id in [1, 2, 3] {
        write_shapes(&real_fs(), parts.path(), &spec(id, StoreKind::Flat), 3, &[]).unwrap();
    }
    for name in ["0000000000000004.tmp", "0000000000000002.tmp", "notes", "5", "lost+found"] {
        std::fs::create_dir(parts.path().join(name)).unwrap();
    }
    std::fs::write(parts.path().join("0000000000000006"), b"a file").unwrap();
    // A live part that does not read stays too.
    std::fs::write(part_dir(parts.path(), 2).join(META_FILE), b"damaged").unwrap();
    assert_eq!(sweep(&RealFs, parts.path(), &[1, 2]).unwrap(), 3);
    let left: Vec<_> = RealFs.list(parts.path()).unwrap();
    let left: Vec<_> = left.iter().map(|entry| entry.name.to_str().unwrap()).collect();
    let expected =
        ["0000000000000001", "0000000000000002", "0000000000000006", "5", "lost+found", "notes"];
    assert_eq!(left, expected);
    remove(&RealFs, parts.path(), 1).unwrap();
    assert!(open(parts.path(), 1).is_err());
}

#[test]
fn the_cache_keeps_its_bounds_and_loads_each_segment_once() {
    let parts = tempfile::tempdir().unwrap();
    let kinds: Vec<_> = kinds().collect();
    for (id, kind) in (1..=6).zip(kinds.iter().cycle()) {
        write_shapes(&real_fs(), parts.path(), &spec(id, *kind), 60, &shapes()).unwrap();
    }
    let index = Index::new();
    let open_all = |cache: &Arc<PartCache>| -> Vec<Part> {
        let open = |id| Part::open(&real_fs(), parts.path(), id, &index, cache).unwrap();
        (1..=6).map(open).collect()
    };
    let read_all = |all: &[Part]| {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for part in all {
                        for &id in part.series_ids() {
                            read(part, id, TimeRange::ALL).unwrap();
                        }
                    }
                });
            }
        });
    };

    let roomy = Arc::new(PartCache::new(CacheLimits { open_parts_max: 2, ..Default::default() }));
    let all = open_all(&roomy);
    assert_eq!(roomy.stats().opens, 0, "opening a part opened its store");
    read_all(&all);
    let segments: usize = all.iter().map(|part| part.meta().segments.len()).sum();
    let stats = roomy.stats();
    assert_eq!((stats.segments, stats.loads), (segments, segments as u64));
    assert!(stats.open_parts <= 2 && stats.opens >= 6);
    drop(all);
    let empty = CacheStats { segments: 0, segment_bytes: 0, open_parts: 0, ..stats };
    assert_eq!(roomy.stats(), empty, "a dropped part left something behind");

    let limits = CacheLimits { segment_bytes_max: 20_000, open_parts_max: 16 };
    let tight = Arc::new(PartCache::new(limits));
    let all = open_all(&tight);
    read_all(&all);
    let stats = tight.stats();
    assert!(stats.segment_bytes <= 20_000 && stats.segments > 0, "{stats:?}");
    assert!(stats.loads > segments as u64);
}

/// Fails every call from the Nth on, as a full or dying disk does.
#[derive(Debug)]
struct FailingFs {
    left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Box<dyn FsFile>,
    left: Arc<AtomicU64>,
}

fn spend(left: &AtomicU64) -> Result<()> {
    let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let full = || Error::io("write", "disk", std::io::ErrorKind::StorageFull.into());
    spent.map(drop).map_err(|_| full())
}

impl FailingFs {
    fn file(&self, file: Result<Box<dyn FsFile>>) -> Result<Box<dyn FsFile>> {
        Ok(Box::new(FailingFile { file: file?, left: Arc::clone(&self.left) }))
    }
}

impl Fs for FailingFs {
    fn create_new(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        spend(&self.left)?;
        self.file(RealFs.create_new(path))
    }
    fn open_append(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.file(RealFs.open_append(path))
    }
    fn open_read(&self, path: &Path) -> Result<Box<dyn FsFile>> {
        self.file(RealFs.open_read(path))
    }
    fn file_bytes(&self, path: &Path) -> Result<Option<u64>> {
        RealFs.file_bytes(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        spend(&self.left)?;
        RealFs.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        RealFs.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> Result<()> {
        RealFs.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> Result<()> {
        spend(&self.left)?;
        RealFs.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        RealFs.list(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<()> {
        spend(&self.left)?;
        RealFs.sync_dir(path)
    }
    fn lock(&self, path: &Path, mode: LockMode) -> Result<Box<dyn FsLock>> {
        RealFs.lock(path, mode)
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        RealFs.free_bytes(path)
    }
}

impl FsFile for FailingFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(full) = spend(&self.left) {
            // A part of it reaches the file.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(full);
        }
        self.file.write_all(bytes)
    }
    fn sync(&mut self) -> Result<()> {
        spend(&self.left)?;
        self.file.sync()
    }
    fn len(&self) -> Result<u64> {
        self.file.len()
    }
    fn set_len(&mut self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.file.read_at(offset, buffer)
    }
}

#[test]
fn a_failure_at_any_call_leaves_nothing_that_sweeping_does_not_take() {
    for kind in kinds() {
        let shapes = [Shape { series: (0..6).collect(), timestamps: (0..100).collect() }];
        for calls in 0.. {
            let parts = tempfile::tempdir().unwrap();
            let left = Arc::new(AtomicU64::new(calls));
            let fs: Arc<dyn Fs> = Arc::new(FailingFs { left });
            let written = write_shapes(&fs, parts.path(), &spec(1, kind), 6, &shapes);
            if written.is_ok() {
                assert!(calls > 6, "{kind}: {calls} calls wrote a part");
                break;
            }
            // The same id again, the fault being gone.
            if !part_dir(parts.path(), 1).exists() {
                write_shapes(&real_fs(), parts.path(), &spec(1, kind), 6, &shapes).unwrap();
            }
            // A part that stands under its name is whole, whatever failed after the rename.
            assert!(open(parts.path(), 1).unwrap().verify(&mut |_| ()).problems.is_empty());
            sweep(&RealFs, parts.path(), &[]).unwrap();
            assert_eq!(std::fs::read_dir(parts.path()).unwrap().count(), 0, "{kind} {calls}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_groups_read_back(
        groups in prop::collection::vec(
            (prop::collection::btree_set(0_u32..30, 1..12), 1_usize..150, 1_i64..5_000), 1..5),
    ) {
        let mut start = 0;
        let mut shapes = Vec::new();
        for (series, rows, step) in groups {
            let timestamps: Vec<_> = (0..rows as i64).map(|row| start + row * step).collect();
            start = timestamps[rows - 1] + 1;
            shapes.push(Shape { series: series.into_iter().collect(), timestamps });
        }
        let parts = tempfile::tempdir().unwrap();
        write_shapes(&real_fs(), parts.path(), &spec(1, StoreKind::Flat), 30, &shapes).unwrap();
        let part = open(parts.path(), 1).unwrap();
        for (&id, expected) in part.series_ids().iter().zip(&expected(30, &shapes)) {
            prop_assert_eq!(&read(&part, id, TimeRange::ALL).unwrap(), expected);
        }
        prop_assert!(part.verify(&mut |_| ()).problems.is_empty());
    }

    #[test]
    fn any_bytes_are_no_meta_and_no_panic(bytes: Vec<u8>) {
        prop_assert!(meta::decode(&bytes).is_err());
    }
}
