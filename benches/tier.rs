//! What a tier of records takes beside the samples it was folded from, and how fast it is written
//! and read.
//!
//! `cargo bench --bench tier` reads the Prometheus capture at `ICECORE_CAPTURE` (the shipped
//! excerpt where unset), prints a table of sizes, then one of sketches, then lets criterion watch
//! the speeds. One thread's worth of work; `-- --test` prints the tables alone.
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

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use criterion::{Criterion, Throughput};
use icecore::Timestamp;
use icecore::aggregate::{Partial, Sketch, Sketches};
use icecore::codec::sketches;
use icecore::segment::{
    EncodedSegment, Group, Records, Segment, SegmentLimits, SeriesRecords, encode_records,
    encode_segments,
};
use icecore::time::Tier;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SECOND: i64 = 1_000_000_000;

/// A series of samples.
#[derive(Clone)]
struct Column {
    name: String,
    counter: bool,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

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

/// The capture's series. What is no counter is a gauge.
fn capture(path: &Path) -> Vec<Column> {
    let text = text_of(path);
    let mut counters: HashMap<&str, bool> = HashMap::new();
    let mut series: BTreeMap<&str, Column> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (metric, kind) = declared.split_once(' ').unwrap();
            counters.insert(metric, kind == "counter");
        }
        if line.starts_with('#') {
            continue;
        }
        let (rest, timestamp) = line.rsplit_once(' ').unwrap();
        let (name, value) = rest.rsplit_once(' ').unwrap();
        let metric = name.split('{').next().unwrap();
        let column = series.entry(name).or_insert_with(|| Column {
            name: name.to_owned(),
            counter: counters.get(metric).copied().unwrap_or(false),
            timestamps: Vec::new(),
            values: Vec::new(),
        });
        column.timestamps.push(timestamp.parse::<i64>().unwrap() * 1_000_000);
        column.values.push(value.parse().unwrap());
    }
    series.into_values().collect()
}

/// Every tenth scrape: what a scrape every ten seconds would have seen.
fn every_tenth(columns: &[Column]) -> Vec<Column> {
    let tenth = |column: &Column| Column {
        timestamps: column.timestamps.iter().copied().step_by(10).collect(),
        values: column.values.iter().copied().step_by(10).collect(),
        ..column.clone()
    };
    columns.iter().map(tenth).collect()
}

/// All scrapes, taken as if they were ten seconds apart: ten times as long, of a machine ten times
/// as slow.
fn slowed(columns: &[Column]) -> Vec<Column> {
    let slow = |column: &Column| {
        let start = column.timestamps[0];
        let timestamps = column.timestamps.iter().map(|&t| start + (t - start) * 10).collect();
        Column { timestamps, ..column.clone() }
    };
    columns.iter().map(slow).collect()
}

/// `count` series of a sample every ten seconds for `days`.
fn synthetic(
    days: i64,
    count: u64,
    counter: bool,
    next: impl Fn(&mut StdRng, f64) -> f64,
) -> Vec<Column> {
    let column = |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let timestamps: Vec<i64> = (0..days * 8640)
            .map(|i| 1_700_000_040 * SECOND + 3 * SECOND + i * 10 * SECOND)
            .collect();
        let mut value = 1000.0;
        let values = timestamps
            .iter()
            .map(|_| {
                value = next(&mut random, value);
                value
            })
            .collect();
        Column { name: format!("{seed}"), counter, timestamps, values }
    };
    (0..count).map(column).collect()
}

/// Nearly normal, of deviation 1.
fn normal(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

fn decimals(value: f64, power: f64) -> f64 {
    (value * power).round() / power
}

fn raw(columns: &[Column]) -> Vec<EncodedSegment> {
    let mut groups: Vec<(&[i64], Vec<&Column>)> = Vec::new();
    for column in columns {
        match groups.iter_mut().find(|(timestamps, _)| *timestamps == column.timestamps) {
            Some((_, members)) => members.push(column),
            None => groups.push((&column.timestamps, vec![column])),
        }
    }
    let mut next = 0_u32;
    let numbers: Vec<Vec<u32>> = groups
        .iter()
        .map(|(_, members)| {
            next += members.len() as u32;
            (next - members.len() as u32..next).collect()
        })
        .collect();
    let readers: Vec<_> = groups
        .iter()
        .map(|(_, members)| {
            |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
                out.clear();
                out.extend_from_slice(&members[series].values[rows]);
            }
        })
        .collect();
    let groups: Vec<Group<'_>> = groups
        .iter()
        .zip(&readers)
        .zip(&numbers)
        .map(|(((timestamps, _), read), series)| Group { timestamps, series, read })
        .collect();
    let mut segments = Vec::new();
    let mut sink = |segment| {
        segments.push(segment);
        Ok(())
    };
    encode_segments(&groups, &SegmentLimits::default(), &mut sink).unwrap();
    segments
}

/// One record a minute.
fn fold(column: &Column) -> Records {
    let mut records = Records::default();
    let minute = |&t: &i64| Tier::MINUTE.floor(Timestamp(t)).0;
    let mut at = 0;
    for bucket in column.timestamps.chunk_by(|a, b| minute(a) == minute(b)) {
        let values = &column.values[at..at + bucket.len()];
        at += bucket.len();
        records.starts.push(minute(&bucket[0]));
        records.partials.push(Partial::of(bucket, values));
    }
    records
}

fn tier(columns: &[Column], records: &[Records]) -> Vec<EncodedSegment> {
    let series = (0..).zip(columns).zip(records);
    let batch: Vec<SeriesRecords<'_>> = series
        .map(|((position, column), records)| SeriesRecords {
            position,
            increase: column.counter,
            records,
        })
        .collect();
    let mut segments = Vec::new();
    let mut sink = |segment| {
        segments.push(segment);
        Ok(())
    };
    encode_records(&batch, Tier::MINUTE, &SegmentLimits::default(), &mut sink).unwrap();
    segments
}

fn bytes(segments: &[EncodedSegment]) -> usize {
    segments.iter().map(|segment| segment.bytes.len()).sum()
}

/// Bytes of the entropy of a list of numbers, each taken for itself. Of few numbers it is too low:
/// a hundred that all differ seem to take seven bits each, however long they are.
fn entropy_bytes(numbers: &[f64]) -> f64 {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    // Differences of decimals are the same number whatever they were rounded to.
    let rounded = numbers.iter().map(|number| (number * 1e7).round().to_bits());
    rounded.for_each(|bits| *counts.entry(bits).or_default() += 1);
    let total = numbers.len() as f64;
    let bits = counts.values().map(|&count| -(count as f64) * (count as f64 / total).log2());
    bits.sum::<f64>() / 8.0
}

fn print_row(name: &str, columns: &[Column]) {
    print_folded(name, columns, &columns.iter().map(fold).collect::<Vec<_>>());
}

/// What the last places of sums take, that adding up decimals gets wrong.
fn print_rounded(name: &str, columns: &[Column]) {
    let mut records: Vec<Records> = columns.iter().map(fold).collect();
    let partials = records.iter_mut().flat_map(|records| &mut records.partials);
    partials.for_each(|partial| partial.sum = decimals(partial.sum, 1e6));
    print_folded(name, columns, &records);
}

fn print_folded(name: &str, columns: &[Column], records: &[Records]) {
    if columns.is_empty() {
        return;
    }
    let (raw, tier) = (bytes(&raw(columns)), bytes(&tier(columns, records)));
    let samples: usize = columns.iter().map(|column| column.values.len()).sum();
    let rows: usize = records.iter().map(Records::len).sum();
    println!(
        "{name:<44}{:>7}{samples:>9}{rows:>8}{raw:>10}{tier:>10}{:>8.3}{:>8.3}{:>8.1} %",
        columns.len(),
        raw as f64 / samples as f64,
        tier as f64 / rows as f64,
        100.0 * tier as f64 / raw as f64,
    );
}

fn is_constant(column: &Column) -> bool {
    column.values.iter().all(|value| value.to_bits() == column.values[0].to_bits())
}

fn print_classes(name: &str, columns: &[Column]) {
    let noise = |column: &&Column| column.name.contains("duration_seconds");
    let class = |which: &dyn Fn(&&Column) -> bool| -> Vec<Column> {
        columns.iter().filter(|column| which(column)).cloned().collect()
    };
    print_row(name, columns);
    print_row("  without scrape durations", &class(&|column| !noise(column)));
    print_row("  constant", &class(&|column| is_constant(column)));
    print_row("  scrape durations (noise)", &class(&noise));
    let rest = |column: &&Column| !is_constant(column) && !noise(column);
    print_row("  gauges that vary", &class(&|column| rest(column) && !column.counter));
    print_row("  counters that move", &class(&|column| rest(column) && column.counter));
    print_rounded("  all of it, sums rounded to decimals", columns);
}

fn synthetics() -> Vec<(&'static str, Vec<Column>)> {
    let walk = |r: &mut StdRng, v: f64| decimals(v + 0.05 * normal(r), 100.0);
    let integers = |r: &mut StdRng, v: f64| (v + 10.0 * normal(r)).round();
    let noise = |r: &mut StdRng, _| (1000.0 + 10.0 * normal(r)).round();
    let steps =
        |r: &mut StdRng, v: f64| if r.random_ratio(1, 60) { v + normal(r).round() } else { v };
    let counter = |r: &mut StdRng, v: f64| v + (100.0 + 10.0 * normal(r)).round();
    let seconds = |r: &mut StdRng, v: f64| decimals(v + 1.0 + 0.1 * normal(r), 100.0);
    vec![
        ("walk, 2 decimals, step 5 units", synthetic(7, 6, false, walk)),
        ("walk, integers, step 10", synthetic(7, 6, false, integers)),
        ("noise, integers, deviation 10", synthetic(7, 6, false, noise)),
        ("steps, one in ten minutes", synthetic(7, 6, false, steps)),
        ("counter, integers, 100 +- 10", synthetic(7, 6, true, counter)),
        ("counter, 2 decimals, 1.00 +- 0.10", synthetic(7, 6, true, seconds)),
    ]
}

/// What a coder that takes each number for itself cannot go below: of the samples a step each; of
/// the records first and last alone; and all of them, each as its distance from what is known.
fn print_floor(name: &str, columns: &[Column]) {
    let (mut samples, mut ends, mut all) = (0.0, 0.0, 0.0);
    for column in columns {
        let steps: Vec<f64> = column.values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        samples += entropy_bytes(&steps);
        let mut fields: [Vec<f64>; 5] = Default::default();
        let mut before = 0.0;
        for partial in fold(column).partials.iter().filter(|partial| partial.count > 0) {
            let (first, last) = (partial.first.value, partial.last.value);
            let (low, high) = (first.min(last), first.max(last));
            let extremes = [(partial.min, partial.min < low), (partial.max, partial.max > high)];
            let known = extremes.iter().filter(|(_, other)| *other);
            let (sum, count) = known
                .fold((first + last, 2.0), |(sum, count), (value, _)| (sum + value, count + 1.0));
            let mean = (first + last + partial.min + partial.max) / 4.0;
            let expected = sum + mean * (partial.count as f64 - count);
            let row = [
                first - before,
                last - first,
                low - partial.min,
                partial.max - high,
                partial.sum - expected,
            ];
            fields.iter_mut().zip(row).for_each(|(field, number)| field.push(number));
            before = last;
        }
        let sizes = fields.map(|field| entropy_bytes(&field));
        ends += sizes[0] + sizes[1];
        all += sizes.iter().sum::<f64>();
    }
    println!(
        "{name:<44}{samples:>10.0}{ends:>12.0}{:>7.1} %{all:>10.0}{:>7.1} %",
        100.0 * ends / samples,
        100.0 * all / samples
    );
}

/// A part holds an hour, a day or a week: what short chunks cost.
fn print_lengths(synthetics: &[(&'static str, Vec<Column>)]) {
    println!();
    for (name, columns) in synthetics {
        for (length, samples) in [("an hour", 360), ("a day", 8640)] {
            let cut: Vec<Column> = columns
                .iter()
                .map(|column| Column {
                    timestamps: column.timestamps[..samples].to_vec(),
                    values: column.values[..samples].to_vec(),
                    ..column.clone()
                })
                .collect();
            print_row(&format!("{name}, {length}"), &cut);
        }
    }
}

fn latencies(deviation: f64, buckets: usize) -> (Vec<Vec<f64>>, Vec<Sketch>) {
    let mut random = StdRng::seed_from_u64(9);
    let values: Vec<Vec<f64>> = (0..buckets)
        .map(|_| (0..1000).map(|_| (deviation * normal(&mut random) - 3.0).exp()).collect())
        .collect();
    let sketches = values.iter().map(|values| Sketch::of(values)).collect();
    (values, sketches)
}

/// The largest relative error of any quantile 0.5, 0.501, ..., 0.999.
fn worst_error(values: &[f64], sketch: &Sketch) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let error = |per_mille: usize| {
        let q = per_mille as f64 / 1000.0;
        let exact = sorted[(q * (sorted.len() - 1) as f64) as usize];
        (sketch.quantile(q) / exact - 1.0).abs()
    };
    (500..1000).map(error).fold(0.0, f64::max)
}

fn print_sketches() {
    println!("\nsketches of 1,000 log-normal latencies   bytes, of 256   one alone   worst error");
    for deviation in [0.25, 0.5, 1.0, 1.5, 2.0] {
        let (values, list) = latencies(deviation, 256);
        let size = |list: &[Sketch]| {
            let mut bytes = Vec::new();
            sketches::encode(list.iter().map(Sketch::view), &mut bytes);
            bytes.len() as f64 / list.len() as f64
        };
        let alone = list.iter().map(|one| size(std::slice::from_ref(one))).fold(0.0, f64::max);
        let worst = values.iter().zip(&list).map(|(v, s)| worst_error(v, s)).fold(0.0, f64::max);
        println!(
            "deviation {deviation:<5}{:>38.1}{alone:>12.0}{:>12.3} %",
            size(&list),
            100.0 * worst
        );
    }
}

fn main() {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/node_exporter_excerpt.prom.zst");
    let path = std::env::var_os("ICECORE_CAPTURE").map_or(shipped, Into::into);
    let columns = capture(&path);
    println!(
        "{:<44}{:>7}{:>9}{:>8}{:>10}{:>10}{:>8}{:>8}{:>10}",
        "", "series", "samples", "records", "raw B", "tier B", "B/smp", "B/rec", "tier/raw"
    );
    print_classes("capture, every tenth scrape", &every_tenth(&columns));
    print_classes("capture, scrapes taken as 10 s apart", &slowed(&columns));
    let synthetics = synthetics();
    synthetics.iter().for_each(|(name, columns)| print_row(name, columns));
    println!(
        "\n{:<44}{:>10}{:>12}{:>9}{:>10}{:>9}",
        "entropy, each number taken for itself, B", "samples", "first, last", "", "all", ""
    );
    synthetics.iter().for_each(|(name, columns)| print_floor(name, columns));
    let varying = |counter: bool| -> Vec<Column> {
        let moves = |c: &&Column| !is_constant(c) && !c.name.contains("duration_seconds");
        let slowed = slowed(&columns);
        slowed.iter().filter(moves).filter(|c| c.counter == counter).cloned().collect()
    };
    print_floor("capture as 10 s apart, gauges that vary", &varying(false));
    print_floor("capture as 10 s apart, counters that move", &varying(true));
    print_sketches();
    print_lengths(&synthetics);

    let mut criterion = Criterion::default().configure_from_args();
    watch(&mut criterion, &slowed(&columns), &synthetics[0].1);
    criterion.final_summary();
}

fn watch(criterion: &mut Criterion, captured: &[Column], walk: &[Column]) {
    let mut group = criterion.benchmark_group("tier");
    for (name, columns) in [("capture", captured), ("walk", walk)] {
        let records: Vec<Records> = columns.iter().map(fold).collect();
        let rows: usize = records.iter().map(Records::len).sum();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("encode/{name}"), |b| b.iter(|| tier(columns, &records)));
        let segments: Vec<Segment> = tier(columns, &records)
            .into_iter()
            .map(|segment| Segment::open(segment.bytes).unwrap())
            .collect();
        let (mut starts, mut partials) = (Vec::new(), Vec::new());
        group.bench_function(format!("decode/{name}"), |b| {
            b.iter(|| {
                for segment in &segments {
                    for chunk in segment.chunks() {
                        segment.read_partials(chunk, &mut starts, &mut partials).unwrap();
                        black_box(&partials);
                    }
                }
            });
        });
    }
    let (_, list) = latencies(1.0, 256);
    let mut bytes = Vec::new();
    sketches::encode(list.iter().map(Sketch::view), &mut bytes);
    group.throughput(Throughput::Elements(list.len() as u64));
    group.bench_function("encode/sketches", |b| {
        b.iter(|| {
            let mut bytes = Vec::new();
            sketches::encode(list.iter().map(Sketch::view), &mut bytes);
            bytes
        });
    });
    let mut out = Sketches::default();
    group.bench_function("decode/sketches", |b| {
        b.iter(|| {
            out.clear();
            sketches::decode(&bytes, list.len(), &mut out).unwrap();
        });
    });
    group.finish();
}
