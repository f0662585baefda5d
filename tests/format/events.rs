//! Events, byte by byte: columns of a stretch, the table in a part's meta, records in the log
//! (`docs/format/events.md`).

use std::path::Path;
use std::sync::Arc;

use icecore::codec::bytes::{FRAME_OVERHEAD_BYTES, Reader, read_frame, write_frame};
use icecore::fs::{Fs, RealFs};
use icecore::model::{
    Bitmap, EventBatch, EventColumn, EventData, EventKind, EventRows, EventSchema, EventValue,
    EventVector,
};
use icecore::part::{Builder, Layout, PartSpec, part_dir};
use icecore::segment::{EventSegment, SegmentLimits, encode_column, encode_stretch, encode_times};
use icecore::store::StoreKind;
use icecore::wal::{Record, Writer, replay};
use icecore::{Tier, TimeRange, Timestamp};

use crate::support::fault_fs::SimFs;

fn data(present: Option<&[bool]>, values: EventVector) -> EventData {
    EventData { present: present.map(|bits| bits.iter().copied().collect()), values }
}

/// Three rows with a column of each kind.
fn rows() -> EventRows {
    let dictionary = Arc::new(["unused", "no", "ok"].map(Arc::from).to_vec());
    let columns = vec![
        data(Some(&[true, false, true]), EventVector::Integer(vec![5, 0, -9])),
        data(Some(&[true, true, false]), EventVector::Float(vec![0.5, 2.25, 0.0])),
        data(None, EventVector::Boolean([true, false, true].into_iter().collect())),
        data(None, EventVector::Text { ids: vec![2, 2, 1], dictionary }),
        data(Some(&[false; 3]), EventVector::Integer(vec![0; 3])),
    ];
    EventRows { times: vec![1000, 1000, 3000], columns }
}

/// The bodies of the segments of [`rows`], of version 1: kind, rows, rows of a group (4,096), what comes of
/// the kind. Version 2 has the base's number behind the first four bytes.
#[rustfmt::skip]
const BODIES: [&[u8]; 6] = [
    &[0, 3, 128, 32,
      208, 15, 208, 15, 9,                  // from 1,000 to 2,000 more; bytes of the group
      2, 208, 15, 1, 0, 0, 39, 1, 208],     // magnitudes: 1,000 and more; symbols 0, 0, 39; a rest
    &[1, 3, 128, 32,
      1, 17, 14, 8,                         // one null; from -9 to 14 more; bytes of the group
      4, 5,                                 // rows 0 and 2 have a value
      3, 10, 27, 0, 0, 0],                  // differences: 5, then -14 and no more
    &[2, 3, 128, 32,
      1, 2,                                 // one null; numbers, no NaN
      0, 0, 0, 0, 0, 0, 224, 63,            // from 0.5
      0, 0, 0, 0, 0, 0, 2, 64,              // to 2.25
      11, 4, 3,                             // bytes of the group; rows 0 and 1 have a value
      1, 7, 2, 10, 100, 175, 1, 2, 0],      // packed decimals: two places, 50 and 175 more
    &[3, 3, 128, 32,
      0, 3, 2,                              // no null; false and true; bytes of the group
      4, 5],                                // rows 0 and 2 are true
    &[4, 3, 128, 32,
      2, 8, 0, 8, 0, 2, 0, 2, b'o', b'k', b'n', b'o', // the dictionary, by first appearance
      0, 0, 1, 7,                           // no null; texts 0 to 1; bytes of the group
      0, 0, 0, 0, 1, 0, 4],                 // packed: 0, 0, 1
    &[1, 3, 128, 32,
      3, 0],                                // three nulls; no bytes
];

#[rustfmt::skip]
const LOG_RECORDS: &[u8] = &[
    7, 172, 2, 1, b't', 1, 5,               // table 300: t, version 1, five columns
    1, b'a', 1, 2, b'u', b's', 1, b'?',     // a: integer, us, ?
    1, b'b', 2, 0, 0,                       // b: float
    1, b'c', 3, 0, 0,                       // c: boolean
    1, b'd', 4, 0, 0,                       // d: text
    1, b'e', 1, 0, 0,                       // e: integer
    8, 172, 2, 4, 2,                        // events of table 300: four values a row, two rows
    200, 1, 219, 1,                         // at 100, at 90
    15, 10, 0, 0, 0, 0, 0, 0, 224, 63, 1, 2, b'o', b'k', // all four: 5, 0.5, true, ok
    5, 1, 0,                                // the first and the third: -1, false
];

fn encoded() -> Vec<Vec<u8>> {
    let rows = rows();
    let columns = rows.columns.iter().map(|column| encode_column(column).unwrap().bytes);
    let alone = std::iter::once(encode_times(&rows.times).bytes).chain(columns).collect();
    // None of them is near another.
    let stretch = encode_stretch(&rows).unwrap().into_iter().map(|column| column.bytes);
    assert!(stretch.eq(Vec::clone(&alone)));
    alone
}

fn frame(version: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, *b"ICEV", version, body);
    frame
}

#[test]
fn version_2_is_written() {
    for (bytes, body) in encoded().iter().zip(BODIES) {
        let body = [&body[..4], &[0], &body[4..]].concat();
        assert_eq!(bytes[FRAME_OVERHEAD_BYTES..], *body);
        assert_eq!(*bytes, frame(2, &body));
    }
}

/// 64 rows: a column, 5 below it, and one that is it or 0 in turns.
fn near_each_other() -> EventRows {
    let integers =
        |value: &dyn Fn(i64) -> i64| data(None, EventVector::Integer((0..64).map(value).collect()));
    let whole = |i: i64| 10_000 + i * i * 97 % 9973;
    let columns = vec![
        integers(&whole),
        integers(&|i| whole(i) - 5),
        integers(&|i| if i % 2 == 0 { whole(i) } else { 0 }),
    ];
    EventRows { times: vec![0; 64], columns }
}

#[test]
fn columns_by_a_base() {
    #[rustfmt::skip]
    let bodies: [&[u8]; 2] = [
        &[1, 64, 128, 32, 1,                // kind, rows, rows of a group; by column 1
          0, 150, 156, 1, 212, 76, 7,       // no null; from 9,995 to 9,812 more; bytes of the group
          1, 0, 0, 0, 10, 0, 0],            // below the base, by 5: packed, no bits
        &[1, 64, 128, 32, 1,
          0, 0, 244, 153, 1, 12,            // no null; from 0 to 19,700 more; bytes of the group
          3, 4, 85, 85, 85, 85, 85, 85, 85, 85, // equal: every other row
          0, 3],                            // the others are all 0
    ];
    let encoded = encode_stretch(&near_each_other()).unwrap();
    for (column, body) in encoded[2..].iter().zip(bodies) {
        assert_eq!(column.bytes[FRAME_OVERHEAD_BYTES..], *body);
    }
}

#[test]
fn version_1_reads() {
    let open = |body: &[u8]| EventSegment::open(frame(1, body)).unwrap();
    let mut times = Vec::new();
    open(BODIES[0]).read_times(0, &mut times).unwrap();
    let rows = rows();
    assert_eq!(times, rows.times);
    for (column, body) in rows.columns.iter().zip(&BODIES[1..]) {
        let (segment, values) = (open(body), |data: &EventData| -> Vec<EventValue> {
            (0..data.len()).map(|row| data.value(row)).collect()
        });
        segment.verify(None).unwrap();
        assert_eq!(values(&segment.read(0, None).unwrap()), values(column));
    }
}

#[test]
fn the_meta_of_a_part_has_the_table() {
    let parts = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let spec = PartSpec {
        id: 12,
        rank: 300,
        window: TimeRange::new(Timestamp(0), Timestamp(4000)),
        tier: Tier::RAW,
        layout: Layout::Events,
        tombstones: 5,
        store: StoreKind::Flat,
        limits: SegmentLimits::default(),
    };
    let mut builder = Builder::events(&fs, parts.path(), &spec, &schema()).unwrap();
    builder.add_events(&rows()).unwrap();
    let meta = builder.finish().unwrap();
    assert_eq!((meta.samples, meta.event_rows(), meta.series), (18, 3, 1));
    let file = std::fs::read(part_dir(parts.path(), 12).join("meta")).unwrap();
    let (_, body) = read_frame(&mut Reader::new(&file), "meta", *b"ICPM", 1).unwrap();
    let mut body = Reader::new(body);
    assert_eq!((body.u8(), body.u8()), (Ok(3), Ok(2)), "flat, events");
    assert_eq!((body.varint(), body.varint()), (Ok(0), Ok(5)), "raw, tombstones");
    assert_eq!((body.varint(), body.varint()), (Ok(12), Ok(300)), "id, rank");
    assert_eq!((body.u64(), body.u64()), (Ok(0), Ok(4000)), "window");
    assert_eq!(body.varint(), Ok(1), "one table");
    assert_eq!(body.u32(), Ok(meta.digest));
    assert_eq!(body.varint(), Ok(6), "a segment each for the times and five columns");
    for (field, bytes) in encoded().iter().enumerate() {
        assert_eq!(body.varint(), Ok(bytes.len() as u64));
        assert_eq!(body.u32(), Ok(crc32fast::hash(bytes)));
        assert_eq!((body.varint(), body.varint()), (Ok(field as u64), Ok(0)), "the column");
        assert_eq!((body.signed(), body.varint()), (Ok(1000), Ok(2000)), "times");
        assert_eq!((body.varint(), body.varint()), (Ok(3), Ok(1)), "rows, groups");
    }
    let (version, table) = read_frame(&mut body, "table", *b"ICEB", 1).unwrap();
    assert_eq!((version, table), (1, &LOG_RECORDS[3..35]));
    assert_eq!(body.remaining(), 0);
}

/// A column that says nothing costs next to nothing, however many rows it has.
#[test]
fn constants_and_nulls_cost_hundredths_of_a_byte() {
    let rows = 65_536;
    let constants = [
        EventVector::Integer(vec![7; rows]),
        EventVector::Float(vec![0.25; rows]),
        EventVector::Boolean(Bitmap::filled(true, rows)),
        EventVector::Text { ids: vec![0; rows], dictionary: Arc::new(vec!["ok".into()]) },
    ];
    for values in constants {
        let bytes = encode_column(&EventData { present: None, values }).unwrap().bytes.len();
        assert!(bytes < rows / 100, "{bytes}");
    }
    let nulls = data(Some(&vec![false; rows]), EventVector::Integer(vec![0; rows]));
    assert!(encode_column(&nulls).unwrap().bytes.len() < rows / 500);
}

#[test]
fn log_records() {
    let (fs, dir) = (SimFs::new(), Path::new("/log"));
    let start = replay(&fs, dir, 0, &mut |_| Ok(())).unwrap();
    let mut writer = Writer::open(Arc::new(fs.clone()), dir, &start).unwrap();
    writer.declare_event_table(300, &schema()).unwrap();
    let mut batch = EventBatch::new(4);
    batch.push(100, [5.into(), 0.5.into(), true.into(), "ok".into()]).unwrap();
    batch.push(90, [(-1).into(), EventValue::Null, false.into(), EventValue::Null]).unwrap();
    writer.push_events(300, &batch).unwrap();
    writer.write_group().unwrap();
    let content = fs.content(&dir.join("00000000000000000001.log"));
    assert_eq!(&content[29 + 36..], LOG_RECORDS);
    let mut told = Vec::new();
    replay(&fs, dir, 0, &mut |record| {
        match record {
            Record::EventTable { id, schema: found } => assert_eq!((id, found), (300, &schema())),
            Record::Events { table, batch, .. } => told.push((table, batch.clone())),
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(told, [(300, batch)]);
}

fn schema() -> EventSchema {
    let kinds = [
        EventKind::Integer,
        EventKind::Float,
        EventKind::Boolean,
        EventKind::Text,
        EventKind::Integer,
    ];
    let columns = ["a", "b", "c", "d", "e"].iter().zip(kinds);
    let columns = columns.map(|(name, kind)| EventColumn::new(*name, kind)).collect::<Vec<_>>();
    let mut columns = columns;
    columns[0] = columns[0].clone().with_unit("us").with_help("?");
    EventSchema::new("t", columns).unwrap()
}
