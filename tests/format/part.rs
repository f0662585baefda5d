//! The meta of a part, as docs/format/part.md has it.

use std::sync::Arc;

use icecore::aggregate::{Partial, Sketches};
use icecore::codec::bytes::{Reader, read_frame};
use icecore::fs::{Fs, RealFs};
use icecore::model::Series;
use icecore::part::{Builder, Layout, PartSpec, part_dir};
use icecore::segment::{Records, SegmentLimits, SeriesRecords};
use icecore::store::StoreKind;
use icecore::time::Tier;
use icecore::{TimeRange, Timestamp};

const MINUTE: i64 = 60_000_000_000;

#[test]
fn meta_bytes() {
    let parts = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let spec = PartSpec {
        id: 12,
        rank: 300,
        window: TimeRange::new(Timestamp(-MINUTE), Timestamp(10 * MINUTE)),
        tier: Tier::MINUTE,
        layout: Layout::Records,
        tombstones: 5,
        store: StoreKind::Flat,
        limits: SegmentLimits::default(),
    };
    let names = ["a", "b"].map(|name| Arc::new(Series::new(name, []).unwrap()));
    let records = Records {
        starts: vec![0, MINUTE],
        partials: vec![
            Partial::of(&[1, 2], &[1.0, 2.0]),
            Partial::of(&[MINUTE + 1, MINUTE + 7], &[3.0, 4.0]),
        ],
        sketches: Sketches::default(),
    };
    let mut builder = Builder::new(&fs, parts.path(), &spec, &names, &[]).unwrap();
    builder
        .add_records(&[SeriesRecords { position: 1, increase: true, records: &records }])
        .unwrap();
    let meta = builder.finish().unwrap();
    let file = std::fs::read(part_dir(parts.path(), 12).join("meta")).unwrap();
    assert_eq!(meta.meta_crc, crc32fast::hash(&file));

    let mut frame = Reader::new(&file);
    let (version, body) = read_frame(&mut frame, "meta", *b"ICPM", 1).unwrap();
    assert_eq!((version, frame.remaining()), (1, 0));
    let mut body = Reader::new(body);
    assert_eq!((body.u8(), body.u8()), (Ok(3), Ok(1)), "flat, records");
    assert_eq!(body.varint(), Ok(60_000_000_000), "tier");
    assert_eq!(body.varint(), Ok(5), "tombstones");
    assert_eq!((body.varint(), body.varint()), (Ok(12), Ok(300)), "id, rank");
    assert_eq!(body.u64(), Ok(-MINUTE as u64), "window");
    assert_eq!(body.u64(), Ok(10 * MINUTE as u64), "window");
    assert_eq!(body.varint(), Ok(2), "series");
    let checksum = meta.segments[0].info.checksum.to_le_bytes();
    assert_eq!(body.u32(), Ok(crc32fast::hash(&checksum)), "digest");
    assert_eq!(body.varint(), Ok(1), "segments");
    assert_eq!(body.varint(), Ok(u64::from(meta.segments[0].bytes)));
    assert_eq!(body.array(), Ok(checksum));
    assert_eq!((body.varint(), body.varint()), (Ok(16), Ok(0)), "columns of series 1: one");
    assert_eq!(body.signed(), Ok(MINUTE), "the first bucket, from the window's start");
    assert_eq!(body.varint(), Ok(MINUTE as u64 + 7), "to the last sample");
    assert_eq!((body.varint(), body.varint()), (Ok(2), Ok(1)), "rows, chunks");
    assert_eq!(body.array(), Ok(*b"ICST"), "the series table");
}
