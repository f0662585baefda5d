//! A log file of version 1, byte by byte (`docs/format.md`, "Log").

use std::path::Path;
use std::sync::Arc;

use icecore::aggregate::{Distribution, Sketch};
use icecore::fs::Fs;
use icecore::model::{Metadata, MetricKind, Series, SeriesId};
use icecore::wal::{Writer, replay};

use crate::support::fault_fs::SimFs;

#[rustfmt::skip]
const VERSION_1: &[u8] = &[
    // File header.
    b'I', b'C', b'L', b'G', 1,              // magic, version
    16, 0, 0, 0,                            // body bytes
    0xe4, 0x9a, 0xc6, 0x12,                 // crc32: the seed of those below
    1, 0, 0, 0, 0, 0, 0, 0,                 // file number
    1, 0, 0, 0, 0, 0, 0, 0,                 // first sequence number
    // First frame.
    0xa7, b'L', b'F', b'R',                 // mark
    88, 0, 0, 0,                            // payload bytes
    2, 0, 0, 0,                             // data records
    1, 0, 0, 0, 0, 0, 0, 0,                 // first sequence number
    29, 0, 0, 0, 0, 0, 0, 0,                // synced bytes
    0x08, 0xdb, 0x42, 0xf0,                 // payload crc32
    0xc5, 0xca, 0xba, 0x55,                 // header crc32
    1, 7, 2, b'u', b'p', 1, 1, b'a', 2, b'b', b'c', // series 7: up{a="bc"}
    2, 2, b'u', b'p', 2, 1, b's', 1, b'?',  // metadata of up: gauge, "s", "?"
    1, 5, 2, b'u', b'p', 0,                 // series 5: up
    3, 9, 2, 14, 3,                         // group 9: series 7, 5
    4, 9, 2,                                // scrape of group 9, two values
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // at -2
    0x02, 0, 0, 0, 0, 0, 0xf0, 0x7f,        // the stale marker
    0, 0, 0, 0, 0, 0, 0, 0x80,              // -0.0
    5, 7, 3,                                // column of series 7, three samples
    20, 0, 1,                               // at 10, 20, 29
    0, 0, 0, 0, 0, 0, 0xf0, 0x3f,           // 1.0
    0, 0, 0, 0, 0, 0, 0xf0, 0x7f,           // infinity
    1, 0, 0, 0, 0, 0, 0xf8, 0xff,           // a NaN with a payload
    // Second frame, after a sync.
    0xa7, b'L', b'F', b'R',
    84, 0, 0, 0,
    2, 0, 0, 0,
    3, 0, 0, 0, 0, 0, 0, 0,
    153, 0, 0, 0, 0, 0, 0, 0,
    0x19, 0x96, 0x91, 0x8d,
    0x7e, 0x41, 0x8b, 0xe3,
    5, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    6, 7,                                   // distribution of series 7
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // at -2
    0, 0, 0, 0, 0, 0, 0x14, 0x40,           // sum 5.0
    0x95, 0xd6, 0x26, 0xe8, 0x0b, 0x2e, 0x11, 0xbe, // min -1e-9
    0, 0, 0, 0, 0, 0, 0, 0x40,              // max 2.0
    37,                                     // bytes of the sketch's column
    0, 0, 2, 0, 0,                          // one zero
    0, 0, 4, 0, 0,                          // two positive bins
    0, 0, 2, 0, 0,                          // one negative bin
    0, 1, 42, 0,                            // first positive index: 21
    0, 1, 0x97, 0x10, 0,                    // first negative index: -1036
    0, 8, 0, 13, 1, 0, 2,                   // steps: 0, 13 to 35; 0
    0, 0, 0, 1, 0, 1,                       // counts less 1: 1, 0, 0
];

fn write(fs: &SimFs) -> Vec<u8> {
    let dir = Path::new("/log");
    let start = replay(fs, dir, 0, &mut |_| Ok(())).unwrap();
    let mut writer = Writer::open(Arc::new(fs.clone()), dir, &start).unwrap();
    let (first, second) = (SeriesId(7), SeriesId(5));
    writer.declare_series(first, &Series::new("up", [("a", "bc")]).unwrap()).unwrap();
    let metadata = Metadata { kind: MetricKind::Gauge, unit: "s".into(), help: "?".into() };
    writer.declare_metadata("up", &metadata).unwrap();
    writer.declare_series(second, &Series::new("up", []).unwrap()).unwrap();
    writer.declare_group(9, &[first, second]).unwrap();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    assert_eq!(writer.push_scrape(9, -2, &[stale, -0.0]).unwrap(), 1);
    let nan = f64::from_bits(0xfff8_0000_0000_0001);
    assert_eq!(writer.push_column(first, &[10, 20, 29], &[1.0, f64::INFINITY, nan]).unwrap(), 2);
    writer.write_group().unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.push_column(second, &[0], &[0.0]).unwrap(), 3);
    let sketch = Sketch::of(&[0.0, 1.5, 1.5, 2.0, -1e-9]);
    let observed = Distribution::from_parts(sketch, 5.0, -1e-9, 2.0).unwrap();
    assert_eq!(writer.push_distribution(first, -2, &observed).unwrap(), 4);
    writer.write_group().unwrap();
    fs.content(&dir.join("00000000000000000001.log"))
}

/// Everything replay shows, in words.
fn story(fs: &dyn Fs) -> Vec<String> {
    let mut story = Vec::new();
    replay(fs, Path::new("/log"), 0, &mut |record| {
        story.push(format!("{record:?}"));
        Ok(())
    })
    .unwrap();
    story
}

#[test]
fn version_1_is_written() {
    assert_eq!(write(&SimFs::new()), VERSION_1);
}

#[test]
fn version_1_reads() {
    let written = SimFs::new();
    write(&written);
    let golden = SimFs::new();
    golden.create_dir_all(Path::new("/log")).unwrap();
    let path = Path::new("/log/00000000000000000001.log");
    golden.create_new(path).unwrap();
    golden.set_content(path, VERSION_1);
    let told = story(&golden);
    assert_eq!(told, story(&written));
    assert_eq!(told.len(), 9);
    assert_eq!(told[1], r#"Series { id: SeriesId(7), series: up{a="bc"} }"#);
    assert!(told[6].contains("timestamps: [10, 20, 29]"), "{}", told[6]);
    assert!(told[8].contains("Bin { index: -1036, count: 1 }"), "{}", told[8]);
}
