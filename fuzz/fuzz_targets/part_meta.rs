//! Any body under right checksums as the meta of a part whose store is whole: an error, or a part
//! that reads or says what is wrong; where its verification finds nothing, everything reads.
//!
//! The input is the body with the series table out of its frame. The frame around it, that of the
//! table and the digest of the segments are put right, else no input would get past them.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use icecore::codec::bytes::{Reader, write_frame};
use icecore::fs::Fs;
use icecore::index::Index;
use icecore::model::Series;
use icecore::part::{CacheLimits, Part, PartCache, PartSpec, write};
use icecore::segment::{ChunkSource, Group, SegmentLimits};
use icecore::store::StoreKind;
use icecore::{DecodeError, TimeRange, Timestamp};
use libfuzzer_sys::fuzz_target;
use support::fault_fs::SimFs;

const ID: u64 = 1;
const PARTS: &str = "/parts";
const META: &str = "/parts/0000000000000001/meta";

/// A part of several segments. `seeds/part_meta/whole` is its meta.
static DISK: LazyLock<SimFs> = LazyLock::new(|| {
    let fs = SimFs::new();
    let names = ["a", "b", "c"].map(|name| Arc::new(Series::new(name, []).expect("a name")));
    let timestamps: Vec<i64> = (0..200).map(|row| row * row).collect();
    let read = |series: usize, rows: std::ops::Range<usize>, out: &mut Vec<f64>| {
        out.clear();
        out.extend(rows.map(|row| ((row * row + series) as f64).sqrt()));
    };
    let group = Group { timestamps: &timestamps, series: &[0, 1, 2], read: &read };
    let limits = SegmentLimits { chunk_samples_max: 64, segment_bytes_target: 1 << 10 };
    let window = TimeRange::new(Timestamp(0), Timestamp(1_000_000));
    let spec = PartSpec {
        id: ID,
        rank: 7,
        window,
        store: StoreKind::Flat,
        limits,
        tier: icecore::Tier::RAW,
        layout: icecore::part::Layout::Samples,
        tombstones: 0,
    };
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let meta = write(&shared, Path::new(PARTS), &spec, &names, &[], &[group]).expect("a part");
    assert!(meta.segments.len() > 1);
    fs
});

/// The body with the digest of its segments and the frame of its table in place.
fn sealed(input: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::new(input);
    // Store and layout; tier, tombstones, id and rank; the window.
    reader.array::<2>()?;
    for _ in 0..4 {
        reader.varint()?;
    }
    reader.array::<16>()?;
    reader.varint()?;
    let digest_at = input.len() - reader.remaining();
    reader.u32()?;
    let mut digest = crc32fast::Hasher::new();
    for _ in 0..reader.varint()? {
        reader.varint()?;
        digest.update(&reader.array::<4>()?);
        for _ in 0..6 {
            reader.varint()?;
        }
    }
    let (fields, table) = input.split_at(input.len() - reader.remaining());
    let mut body = fields.to_vec();
    body[digest_at..][..4].copy_from_slice(&digest.finalize().to_le_bytes());
    write_frame(&mut body, *b"ICST", 1, table);
    Ok(body)
}

/// Samples of all series, as far as they read.
fn samples(part: &Part) -> icecore::Result<u64> {
    let mut sum = 0;
    let (mut chunks, mut timestamps, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for &series in part.series_ids() {
        chunks.clear();
        part.chunks(series, TimeRange::ALL, &mut chunks)?;
        for chunk in &chunks {
            part.read_timestamps(chunk, &mut timestamps)?;
            part.read_values(chunk, &mut values)?;
            part.statistics(chunk)?;
            assert_eq!(timestamps.len(), values.len());
            sum += values.len() as u64;
        }
    }
    Ok(sum)
}

fuzz_target!(|input: &[u8]| {
    let mut file = Vec::new();
    write_frame(&mut file, *b"ICPM", 1, &sealed(input).unwrap_or_else(|_| input.to_vec()));
    DISK.set_content(Path::new(META), &file);
    let fs: Arc<dyn Fs> = Arc::new(DISK.clone());
    let cache = Arc::new(PartCache::new(CacheLimits::default()));
    let Ok(part) = Part::open(&fs, Path::new(PARTS), ID, &Index::new(), &cache) else { return };
    let (report, read) = (part.verify(&mut |_| {}), samples(&part));
    if report.problems.is_empty() {
        assert_eq!(report.samples, part.meta().samples);
        assert_eq!(read.expect("a whole part reads"), report.samples);
    }
});
