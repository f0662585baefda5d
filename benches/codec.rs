//! Bytes a sample, and samples a second, of segments on real captures.
//!
//! `cargo bench --bench codec` reads the Prometheus capture at `ICECORE_CAPTURE` (the shipped
//! excerpt where unset) and, where `ICECORE_NAB` names its directory, the CSV files of the Numenta
//! Anomaly Benchmark. It prints one table a data set, then lets criterion watch the speeds. One
//! thread. `ICECORE_CHUNK` keeps to one chunk length.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a bench may fail loudly and prints what it measured"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use criterion::{Criterion, Throughput};
use icecore::segment::{
    ColumnKind, EncodedSegment, Group, Segment, SegmentLimits, encode_segments,
};

/// Series that share timestamps.
struct Owned {
    names: Vec<String>,
    timestamps: Vec<i64>,
    values: Vec<Vec<f64>>,
}

impl Owned {
    fn samples(&self) -> usize {
        self.timestamps.len() * self.values.len()
    }
}

/// The text of a file: gzip, Zstandard as the shipped capture is, or plain.
fn text_of(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let plain = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
            plain
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::decode_all(&*bytes).unwrap(),
        _ => bytes,
    };
    String::from_utf8(plain).unwrap()
}

/// Exposition lines `series value milliseconds`, grouped by equal timestamps, as the engine does.
fn exposition(path: &Path) -> Vec<Owned> {
    let text = text_of(path);
    let mut series: BTreeMap<&str, (Vec<i64>, Vec<f64>)> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (rest, timestamp) = line.rsplit_once(' ').unwrap();
        let (name, value) = rest.rsplit_once(' ').unwrap();
        let (timestamps, values) = series.entry(name).or_default();
        timestamps.push(timestamp.parse::<i64>().unwrap() * 1_000_000);
        values.push(value.parse().unwrap());
    }
    let mut groups: Vec<Owned> = Vec::new();
    for (name, (timestamps, values)) in series {
        let name = name.to_owned();
        match groups.iter_mut().find(|group| group.timestamps == timestamps) {
            Some(group) => {
                group.names.push(name);
                group.values.push(values);
            }
            None => groups.push(Owned { names: vec![name], timestamps, values: vec![values] }),
        }
    }
    groups
}

/// The same without `node_scrape_collector_duration_seconds`, which is nanosecond noise.
fn without_durations(groups: &[Owned]) -> Vec<Owned> {
    let noise = |name: &str| name.starts_with("node_scrape_collector_duration_seconds");
    groups
        .iter()
        .map(|group| {
            let series = group.names.iter().cloned().zip(group.values.iter().cloned());
            let (names, values) = series.filter(|(name, _)| !noise(name)).unzip();
            Owned { names, timestamps: group.timestamps.clone(), values }
        })
        .collect()
}

/// Every CSV `timestamp,value` below `directory`, each a group of one series. Rows that do not
/// go forward in time are left out.
fn nab(directory: &Path) -> Vec<Owned> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            let (mut timestamps, mut values) = (Vec::new(), Vec::new());
            for line in text_of(file).lines().skip(1) {
                let (time, value) = line.split_once(',').unwrap();
                let seconds = civil_seconds(time);
                if timestamps.last().is_none_or(|&last| last < seconds * 1_000_000_000) {
                    timestamps.push(seconds * 1_000_000_000);
                    values.push(value.parse().unwrap());
                }
            }
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            Owned { names: vec![name], timestamps, values: vec![values] }
        })
        .collect()
}

/// Unix seconds of `YYYY-MM-DD hh:mm:ss`, UTC.
fn civil_seconds(text: &str) -> i64 {
    let part = |range: Range<usize>| text[range].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    // Days from civil, as Howard Hinnant's `chrono-Compatible Low-Level Date Algorithms` has it.
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year
        - 719_468;
    days * 86_400 + part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
}

fn encode(groups: &[Owned], chunk_samples_max: usize) -> Vec<EncodedSegment> {
    let mut next = 0;
    let series: Vec<Vec<u32>> = groups
        .iter()
        .map(|group| {
            let first = next;
            next += group.values.len() as u32;
            (first..next).collect()
        })
        .collect();
    let readers: Vec<_> = groups
        .iter()
        .map(|group| {
            |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend_from_slice(&group.values[series][rows]);
            }
        })
        .collect();
    let groups: Vec<Group<'_>> = groups
        .iter()
        .zip(&readers)
        .zip(&series)
        .map(|((group, read), series)| Group { timestamps: &group.timestamps, series, read })
        .collect();
    let limits = SegmentLimits { chunk_samples_max, ..SegmentLimits::default() };
    let mut segments = Vec::new();
    encode_segments(&groups, &limits, &mut |segment| {
        segments.push(segment);
        Ok(())
    })
    .unwrap();
    segments
}

/// Decodes every timestamp column once and every chunk's values; returns samples.
fn decode(segments: &[Segment]) -> u64 {
    let (mut timestamps, mut values, mut samples) = (Vec::new(), Vec::new(), 0);
    for segment in segments {
        for index in 0..segment.timestamp_columns().len() as u32 {
            segment.read_timestamps(index, &mut timestamps).unwrap();
            black_box(&timestamps);
        }
        for chunk in segment.chunks() {
            segment.read_values(chunk, &mut values).unwrap();
            samples += values.len() as u64;
            black_box(&values);
        }
    }
    samples
}

/// Seconds of the fastest of a few runs, in processor time where the system tells it, so that a
/// busy machine does not count.
fn fastest(mut run: impl FnMut()) -> f64 {
    let times = (0..7).map(|_| {
        let (start, processor) = (Instant::now(), processor_s());
        run();
        match (processor, processor_s()) {
            (Some(from), Some(to)) if to - from > 0.02 => to - from,
            _ => start.elapsed().as_secs_f64(),
        }
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Processor time of all threads so far, as Linux accounts it.
fn processor_s() -> Option<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += text.split(' ').next()?.parse::<f64>().ok()? / 1e9;
    }
    Some(total)
}

fn open(segments: &[EncodedSegment]) -> Vec<Segment> {
    segments.iter().map(|segment| Segment::open(segment.bytes.clone()).unwrap()).collect()
}

fn report(name: &str, groups: &[Owned]) {
    let samples = groups.iter().map(Owned::samples).sum::<usize>() as f64;
    println!(
        "\n{name}: {} series, {samples} samples",
        groups.iter().map(|g| g.values.len()).sum::<usize>()
    );
    println!(
        "chunk   columns  timestamps  directory  total B/sample  encode M/s  decode M/s  open us"
    );
    let only = std::env::var("ICECORE_CHUNK").map(|chunk| vec![chunk.parse().unwrap()]);
    for chunk in only.unwrap_or_else(|_| vec![120, 240, 1024, 2048, 4096, 8192]) {
        let encoded = encode(groups, chunk);
        let segments = open(&encoded);
        segments.iter().for_each(|segment| segment.verify().unwrap());
        let mut bytes = BTreeMap::new();
        for stats in segments.iter().flat_map(|segment| segment.column_stats().unwrap()) {
            *bytes.entry(stats.kind).or_insert(0) += stats.bytes;
        }
        let each = |kind| bytes.get(&kind).copied().unwrap_or(0) as f64 / samples;
        let (values, time, directory) =
            (each(ColumnKind::Values), each(ColumnKind::Timestamps), each(ColumnKind::Directory));
        let encode_s = fastest(|| drop(black_box(encode(groups, chunk))));
        let decode_s = fastest(|| assert_eq!(decode(&segments) as f64, samples));
        let copies: Vec<icecore::segment::SharedBytes> =
            encoded.iter().map(|segment| segment.bytes.clone().into()).collect();
        let open_s = fastest(|| {
            for bytes in &copies {
                black_box(Segment::open(bytes.clone()).unwrap());
            }
        }) / segments.len() as f64;
        println!(
            "{chunk:5}  {:8.4}  {time:10.4}  {directory:9.4}  {:14.4}  {:10.1}  {:10.0}  {:7.1}",
            values + time,
            values + time + directory,
            samples / encode_s / 1e6,
            samples / decode_s / 1e6,
            open_s * 1e6,
        );
        if std::env::var_os("ICECORE_BY_ENCODING").is_some() {
            by_encoding(&segments, samples);
        }
        if std::env::var_os("ICECORE_BY_SERIES").is_some() {
            by_series(groups, chunk, samples);
        }
    }
}

/// What each series takes, alone.
fn by_series(groups: &[Owned], chunk: usize, samples: f64) {
    let series = groups.iter().flat_map(|group| group.names.iter().zip(&group.values));
    for (name, values) in series {
        let (mut bytes, mut names) = (0, Vec::new());
        for values in values.chunks(chunk) {
            let mut out = Vec::new();
            names.push(icecore::codec::values::encode(values, &mut out).name());
            bytes += out.len();
        }
        let each = bytes as f64 / values.len() as f64;
        println!("       {:.5} of all, {each:.3} B each: {name} {names:?}", bytes as f64 / samples);
    }
}

/// What each encoding takes and how fast it decodes.
fn by_encoding(segments: &[Segment], samples: f64) {
    let mut names: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for stats in segments.iter().flat_map(|segment| segment.column_stats().unwrap()) {
        if stats.kind == ColumnKind::Values {
            let entry = names.entry(stats.encoding).or_default();
            entry.0 += stats.columns;
            entry.1 += stats.samples;
            entry.2 += stats.bytes;
        }
    }
    for (name, (columns, count, bytes)) in names {
        let mut values = Vec::new();
        let seconds = fastest(|| {
            for segment in segments {
                for chunk in segment.chunks().iter().filter(|c| c.encoding.name() == name) {
                    segment.read_values(chunk, &mut values).unwrap();
                }
            }
        });
        println!(
            "       {name:18} {columns:6} columns {:5.1} % of samples {:7.3} B each {:6.0} M/s",
            100.0 * count as f64 / samples,
            bytes as f64 / count as f64,
            count as f64 / seconds / 1e6
        );
    }
}

/// Bytes and speeds of every data set and chunk length.
fn tables(groups: &[Owned]) {
    report("node_exporter", groups);
    report("node_exporter without scrape durations", &without_durations(groups));
    if let Some(directory) = std::env::var_os("ICECORE_NAB") {
        let files = nab(Path::new(&directory));
        report("NAB", &files);
        let real = files.into_iter().filter(|file| !file.names[0].starts_with("art_"));
        report("NAB, real files", &real.collect::<Vec<_>>());
    }
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let capture = std::env::var_os("ICECORE_CAPTURE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/node_exporter_excerpt.prom.zst"),
        PathBuf::from,
    );
    let groups = exposition(&capture);
    let smoke = std::env::args().any(|argument| argument == "--test");
    if !smoke {
        tables(&groups);
    }
    if std::env::var_os("ICECORE_TABLE_ONLY").is_some() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let encoded = encode(&groups, 1024);
    let segments = open(&encoded);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(groups.iter().map(Owned::samples).sum::<usize>() as u64));
    group.sample_size(10);
    group.bench_function("encode", |b| b.iter(|| encode(&groups, 1024)));
    group.bench_function("decode", |b| b.iter(|| decode(&segments)));
    group.finish();
    criterion.final_summary();
}
