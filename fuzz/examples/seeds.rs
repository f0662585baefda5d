//! Writes the binary seeds below `seeds/`, by valid encoders: `cargo run --example seeds` in
//! this directory. The seeds of text formats are written by hand.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore::aggregate::{Distribution, Partial, Sketch};
use icecore::catalog::{CATALOG_FILE, Catalog, PartEntry, save};
use icecore::codec::bytes::FRAME_OVERHEAD_BYTES;
use icecore::codec::{partials, schemas, sketches, strings, timestamps, values};
use icecore::fs::Fs;
use icecore::index::table;
use icecore::model::{
    EventBatch, EventColumn, EventData, EventKind, EventRows, EventSchema, EventValue, EventVector,
    Metadata, MetricKind, Series, SeriesId,
};
use icecore::part::{Layout, PartSpec, write};
use icecore::segment::{
    Group, Records, SegmentLimits, SeriesRecords, encode_column, encode_records, encode_segments,
    encode_stretch, encode_times,
};
use icecore::server::remote::{compress, push_series};
use icecore::store::StoreKind;
use icecore::wal::{Writer, replay};
use icecore::{Result, Tier, TimeRange, Timestamp};
use support::fault_fs::SimFs;

fn put(target: &str, name: &str, bytes: &[u8]) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    std::fs::create_dir_all(&dir).expect("seeds can be written");
    std::fs::write(dir.join(name), bytes).expect("seeds can be written");
}

fn main() -> Result<()> {
    catalog()?;
    columns();
    text_lists()?;
    series_table()?;
    segments()?;
    records()?;
    events()?;
    part()?;
    log()?;
    remote()?;
    steps();
    Ok(())
}

fn catalog() -> Result<()> {
    let part = PartEntry {
        id: 1,
        rank: 9,
        window: TimeRange::new(Timestamp(0), Timestamp(100)),
        first: Timestamp(3),
        last: Timestamp(90),
        samples: 20,
        series: 3,
        segments: 2,
        bytes: 4096,
        meta_crc: 7,
        store: 3,
        tier: Tier::RAW,
        layout: Layout::Samples,
        tombstones: 0,
    };
    let empty = Catalog::new(5, Timestamp(1), 100);
    for (name, catalog) in [
        ("empty", empty.clone()),
        ("parts", empty.with_added(&[part, PartEntry { id: 2, ..part }], 9)?),
        ("tombstone", empty.with_added(&[part], 9)?.with_tombstone(part.window, "up".to_owned())),
    ] {
        let fs = SimFs::new();
        save(&fs, Path::new("/"), &catalog)?;
        put(
            "catalog",
            name,
            &fs.content(&Path::new("/").join(CATALOG_FILE))[FRAME_OVERHEAD_BYTES..],
        );
    }
    Ok(())
}

/// Bodies of remote write and read. A query's result holds series as a write request does.
fn remote() -> Result<()> {
    let mut message = Vec::new();
    for job in ["api", "web"] {
        let series = Series::new("up", [("job", job), ("Zone", "z")])?;
        push_series(&mut message, &series, [(1_795_425_382_586, 1.0), (1_795_425_392_586, -0.5)]);
    }
    put("remote_write", "message", &message);
    put("remote_write", "block", &compress(&message).expect("short"));
    // One query: from 1 to 300 ms, `__name__` =~ `up.*`; samples or chunks are taken.
    let query =
        b"\x0a\x19\x08\x01\x10\xac\x02\x1a\x12\x08\x02\x12\x08__name__\x1a\x04up.*\x12\x02\x01\x00";
    put("remote_read", "message", query);
    put("remote_read", "block", &compress(query).expect("short"));
    Ok(())
}

/// Scrambles a number.
fn noise(row: usize) -> u64 {
    (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// One column of each nature, so that every encoding occurs.
fn value(nature: usize, row: usize) -> f64 {
    match nature {
        0 => 42.5,
        1 => row as f64 * 1000.0,
        2 => (noise(row) % 300) as f64,
        3 => (noise(row) % 10_000) as f64 / 100.0,
        4 => f64::from_bits(0x4000_0000_0000_0000 | noise(row) << 28 | noise(row + 7)),
        5 => f64::from_bits(((noise(row) % 1000) as f64 / 10.0).to_bits() + noise(row + 3) % 3),
        6 => f64::from_bits([0, 1 << 63, 0x7ff0_0000_0000_0002, 0x7ff8 << 48][row % 4]),
        _ => [3.0, 1e6][usize::from(noise(row).is_multiple_of(50))],
    }
}

fn columns() {
    for rows in [3, 70] {
        let at = |row: usize| row as i64 * 1_000_000_000 + noise(row) as i64 % 4;
        let steady = |row: usize| row as i64 * 15;
        for (name, column) in [
            ("steady", (0..rows).map(steady).collect::<Vec<_>>()),
            ("jitter", (0..rows).map(at).collect()),
            ("wild", (0..rows).map(|row| (noise(row) << 40) as i64).collect()),
        ] {
            let mut seed = vec![0, rows as u8, 0];
            timestamps::encode(&column, &mut seed);
            put("chunk", &format!("timestamps_{name}_{rows}"), &seed);
        }
        for nature in 0..8 {
            let column: Vec<f64> = (0..rows).map(|row| value(nature, row)).collect();
            let mut seed = vec![0, rows as u8, 0];
            seed[0] = values::encode(&column, &mut seed).tag();
            put("chunk", &format!("values_{nature}_{rows}"), &seed);
        }
    }
}

fn text_lists() -> Result<()> {
    for (name, list) in [
        ("few", vec!["host-1", "host-2", "zone"]),
        ("alike", vec!["http_requests_total_by_handler_and_status_code"; 40]),
    ] {
        let mut seed = Vec::new();
        strings::encode(&list, &mut seed)?;
        put("strings", name, &seed);
    }
    Ok(())
}

fn known(metric: &str) -> (String, Metadata) {
    let metadata =
        Metadata { kind: MetricKind::Gauge, unit: "s".to_owned(), help: "Is it up?".to_owned() };
    (metric.to_owned(), metadata)
}

fn series_table() -> Result<()> {
    let few = ["up", r#"up{job="a"}"#, r#"up{job="b",zone="é"}"#].map(str::to_owned);
    let many = (100..180).map(|n| format!("requests{{code=\"{}\",host=\"h{n}\"}}", n % 5));
    for (name, texts) in [("few", few.to_vec()), ("many", many.collect())] {
        let mut series: Vec<Series> =
            texts.iter().map(|text| Series::parse(text)).collect::<Result<_>>()?;
        series.sort();
        let series: Vec<_> = series.into_iter().map(Arc::new).collect();
        put("table", name, &table::encode(&series, &[known("up")])?[FRAME_OVERHEAD_BYTES..]);
    }
    Ok(())
}

fn segments() -> Result<()> {
    for (name, rows) in [("short", 5), ("long", 200)] {
        let at: Vec<i64> =
            (0..rows).map(|row| row as i64 * 1_000 + noise(row) as i64 % 3).collect();
        let read = |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
            out.clear();
            out.extend(rows.map(|row| value(series, row)));
        };
        let group = Group { timestamps: &at, series: &[0, 1, 2, 3, 4, 5, 6, 90], read: &read };
        let limits = SegmentLimits { chunk_samples_max: 64, segment_bytes_target: 1 << 20 };
        encode_segments(&[group], &limits, &mut |segment| {
            put("segment", name, &segment.bytes);
            Ok(())
        })?;
    }
    Ok(())
}

/// A segment of records, and the columns of their aggregates and sketches.
fn records() -> Result<()> {
    let mut records = Records::default();
    for minute in 0..30_i64 {
        let times: Vec<i64> = (0..6).map(|i| minute * 60_000_000_000 + i * 7).collect();
        let values: Vec<f64> = (0..6).map(|i| value(3, minute as usize * 6 + i)).collect();
        records.starts.push(minute * 60_000_000_000);
        records.partials.push(Partial::of(&times, &values));
        records.sketches.push(&Sketch::of(&values));
    }
    let series = |position| SeriesRecords { position, increase: position == 2, records: &records };
    let limits = SegmentLimits { chunk_samples_max: 64, segment_bytes_target: 1 << 20 };
    encode_records(&[series(1), series(2)], Tier::MINUTE, &limits, &mut |segment| {
        put("segment", "records", &segment.bytes);
        Ok(())
    })?;
    let firsts: Vec<i64> = (0..30).map(|row| row * 60).collect();
    let lasts: Vec<i64> = firsts.iter().map(|first| first + 50).collect();
    let times = partials::Times { firsts: &firsts, lasts: &lasts };
    let (mut aggregates, mut sketched) = (vec![30, 1], vec![30, 1]);
    partials::encode(&records.partials, times, true, &mut aggregates);
    sketches::encode(records.sketches.iter(), &mut sketched);
    put("records", "partials", &aggregates);
    put("records", "sketches", &sketched);
    Ok(())
}

/// A table, its times and a column of each kind, without their frames.
fn events() -> Result<()> {
    let rows = 0..300;
    let dictionary = Arc::new(["ok", "error", "cancelled"].map(Arc::from).to_vec());
    let columns = [
        EventVector::Integer(rows.clone().map(|row| noise(row) as i64 >> (row % 20)).collect()),
        EventVector::Float(rows.clone().map(|row| value(3, row)).collect()),
        EventVector::Boolean(rows.clone().map(|row| noise(row).is_multiple_of(9)).collect()),
        EventVector::Text {
            ids: rows.clone().map(|row| (row % 7 / 3) as u32).collect(),
            dictionary,
        },
    ];
    let times: Vec<i64> = rows.clone().map(|row| row as i64 / 4 * 1_000_000 + 7).collect();
    put("events", "times", &encode_times(&times).bytes[FRAME_OVERHEAD_BYTES..]);
    for values in columns {
        let present = Some(rows.clone().map(|row| row % 11 != 3).collect());
        let data = EventData { present, values };
        let encoded = encode_column(&data)?;
        put("events", data.kind().name(), &encoded.bytes[FRAME_OVERHEAD_BYTES..]);
    }
    // Near the base that `fuzz_targets/events.rs` hands over.
    let base: Vec<i64> = rows.clone().map(|row| row as i64 * 7919 % 50_021).collect();
    let near = base.iter().zip(rows).map(|(base, row)| base - row as i64 % 9).collect();
    let columns = [base, near]
        .map(|values| EventData { present: None, values: EventVector::Integer(values) });
    let stretch = encode_stretch(&EventRows { times, columns: columns.to_vec() })?;
    if let Some(near) = stretch.last() {
        put("events", "near", &near.bytes[FRAME_OVERHEAD_BYTES..]);
    }
    let mut table = Vec::new();
    schemas::encode(&event_table()?, &mut table);
    put("events", "table", &table);
    Ok(())
}

fn event_table() -> Result<EventSchema> {
    let kinds = [EventKind::Integer, EventKind::Text, EventKind::Float, EventKind::Boolean];
    let columns = kinds.iter().map(|&kind| EventColumn::new(kind.name(), kind).with_unit("u"));
    EventSchema::new("queries", columns.collect())
}

/// The part of `fuzz_targets/part_meta.rs`, and the file of its store.
fn part() -> Result<()> {
    let fs = SimFs::new();
    let names: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| Series::new(name, []).map(Arc::new))
        .collect::<Result<_>>()?;
    let timestamps: Vec<i64> = (0..200).map(|row| row * row).collect();
    let read = |series: usize, rows: Range<usize>, out: &mut Vec<f64>| {
        out.clear();
        out.extend(rows.map(|row| ((row * row + series) as f64).sqrt()));
    };
    let group = Group { timestamps: &timestamps, series: &[0, 1, 2], read: &read };
    let limits = SegmentLimits { chunk_samples_max: 64, segment_bytes_target: 1 << 10 };
    let window = TimeRange::new(Timestamp(0), Timestamp(1_000_000));
    let spec = PartSpec {
        id: 1,
        rank: 7,
        window,
        store: StoreKind::Flat,
        limits,
        tier: Tier::RAW,
        layout: Layout::Samples,
        tombstones: 0,
    };
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    write(&shared, Path::new("/parts"), &spec, &names, &[], &[group])?;
    let dir = Path::new("/parts/0000000000000001");
    // Without its own frame and that of the series table, which ends it.
    let meta = fs.content(&dir.join("meta"));
    let table = meta.windows(4).rposition(|window| window == b"ICST").expect("a table");
    let seed = [&meta[FRAME_OVERHEAD_BYTES..table], &meta[table + FRAME_OVERHEAD_BYTES..]].concat();
    put("part_meta", "whole", &seed);
    // Without checksum and magic at its end.
    let store = fs.content(&dir.join("store/values"));
    put("flat", "values", &store[..store.len() - 12]);
    Ok(())
}

fn log() -> Result<()> {
    let (fs, dir) = (SimFs::new(), Path::new("/log"));
    let start = replay(&fs, dir, 0, &mut |_| Ok(()))?;
    let mut writer = Writer::open(Arc::new(fs.clone()), dir, &start)?;
    let file = dir.join("00000000000000000001.log");
    let header = fs.content(&file).len();
    let (first, second) = (SeriesId(7), SeriesId(5));
    writer.declare_series(first, &Series::new("up", [("a", "bc")])?)?;
    let (metric, metadata) = known("up");
    writer.declare_metadata(&metric, &metadata)?;
    writer.declare_series(second, &Series::new("up", [])?)?;
    writer.declare_group(9, &[first, second])?;
    writer.push_scrape(9, -2, &[1.5, -0.0])?;
    writer.push_column(first, &[10, 20, 29], &[1.0, f64::INFINITY, 3.0])?;
    let sketch = Sketch::of(&[0.5, 1.0, 7.0]);
    if let Some(observed) = Distribution::from_parts(sketch, 8.5, 0.5, 7.0) {
        writer.push_distribution(second, 10, &observed)?;
    }
    writer.declare_event_table(4, &event_table()?)?;
    let mut rows = EventBatch::new(4);
    rows.push(70, [5.into(), "ok".into(), 0.5.into(), true.into()])?;
    rows.push(60, [EventValue::Null, "x".into(), EventValue::Null, false.into()])?;
    writer.push_events(4, &rows)?;
    writer.write_group()?;
    writer.sync()?;
    let frame = fs.content(&file);
    writer.push_column(second, &[0], &[0.0])?;
    let sketch = Sketch::of(&[0.0, 1.5, 2.0, -1e-9]);
    if let Some(observed) = Distribution::from_parts(sketch, 3.5, -1e-9, 2.0) {
        writer.push_distribution(first, -2, &observed)?;
    }
    writer.write_group()?;
    let file = fs.content(&file);
    // Shapes as in `fuzz_targets/log.rs`: bare file, frames behind a header, records in a frame.
    for (name, shape, bytes) in [
        ("file", 0, &file[..]),
        ("followed_file", 1, &file),
        ("frames", 2, &file[header..]),
        ("followed_frames", 3, &file[header..]),
        ("records", 6, &frame[header + 36..]),
        ("followed_records", 7, &frame[header + 36..]),
    ] {
        put("log", name, &[&[shape, 4], bytes].concat());
    }
    Ok(())
}

/// Steps of the engine, by dice.
fn steps() {
    for seed in 0..4 {
        let steps: Vec<u8> = (0..400).map(|i| noise(seed * 1000 + i) as u8).collect();
        put("engine", &format!("dice_{seed}"), &steps);
    }
}
