//! Columns of events: any bytes under a right checksum open or are an error; what verifies reads, and
//! encoded again it reads the same.
//!
//! The input is a segment without its frame.
#![no_main]

use std::sync::Arc;

use icecore::codec::bytes::{Reader, write_frame};
use icecore::codec::schemas;
use icecore::model::{EventData, EventKind, EventRows, EventValue, EventVector};
use icecore::segment::{EventSegment, StoredColumn, encode_column, encode_stretch, encode_times};
use libfuzzer_sys::fuzz_target;

fn values(data: &EventData) -> Vec<String> {
    let value = |row| match data.value(row) {
        EventValue::Float(value) => format!("{:x}", value.to_bits()),
        other => format!("{other:?}"),
    };
    (0..data.len()).map(value).collect()
}

/// What a segment that has a base is read with: one group, as long as the stretch.
fn based(segment: &EventSegment) -> Option<Arc<EventRows>> {
    let integers = (0..segment.rows() as i64).map(|row| row * 7919 % 50_021).collect();
    let values = match segment.kind() {
        Some(EventKind::Text) => {
            let dictionary = Arc::new(vec!["a".into(), "b".into()]);
            EventVector::Text { ids: vec![1; segment.rows()], dictionary }
        }
        _ => EventVector::Integer(integers),
    };
    let columns = vec![EventData { present: None, values }];
    segment.base().map(|_| Arc::new(EventRows { times: vec![0; segment.rows()], columns }))
}

/// Beside itself and by itself a column reads the same.
fn near(data: EventData) {
    let rows = EventRows { times: vec![0; data.len()], columns: vec![data.clone(), data] };
    let encoded = encode_stretch(&rows).expect("within the limits");
    let [_, first, second] =
        [0, 1, 2].map(|at| EventSegment::open(encoded[at].bytes.clone()).expect("own bytes open"));
    for group in 0..first.groups() {
        let alone = first.read(group, None).expect("own bytes read");
        let beside = second.read(group, Some(&alone)).expect("own bytes read");
        assert_eq!(values(&alone), values(&beside));
    }
}

fuzz_target!(|body: &[u8]| {
    let mut schema = Reader::new(body);
    if let Ok(found) = schemas::decode(&mut schema) {
        let mut again = Vec::new();
        schemas::encode(&found, &mut again);
        assert_eq!(schemas::decode(&mut Reader::new(&again)).as_ref(), Ok(&found));
    }
    let mut bytes = Vec::new();
    write_frame(&mut bytes, *b"ICEV", 2, body);
    let Ok(segment) = EventSegment::open(bytes) else { return };
    let based = based(&segment);
    let base = based.as_ref().map(|rows| &rows.columns[0]);
    let stored = based.as_ref().map(|rows| StoredColumn::Rows(Arc::clone(rows), 1));
    let whole = segment.verify(stored.as_ref()).is_ok();
    let (mut times, mut rows) = (Vec::new(), 0);
    for group in 0..segment.groups() {
        if segment.kind().is_none() {
            let read = segment.read_times(group, &mut times);
            assert!(read.is_ok() || !whole);
            if read.is_ok() && whole {
                rows += times.len();
                let again = EventSegment::open(encode_times(&times).bytes).expect("own bytes open");
                let mut back = Vec::new();
                again.read_times(0, &mut back).expect("own bytes read");
                assert!(times.starts_with(&back));
            }
        } else {
            let read = segment.read(group, base);
            assert!(read.is_ok() || !whole);
            let Some(data) = read.ok().filter(|_| whole) else { continue };
            rows += data.len();
            let again = encode_column(&data).expect("within the limits").bytes;
            let again = EventSegment::open(again).expect("own bytes open");
            again.verify(None).expect("own bytes are whole");
            let back: Vec<String> = (0..again.groups())
                .flat_map(|group| values(&again.read(group, None).expect("own bytes read")))
                .collect();
            assert_eq!(back, values(&data));
            near(data);
        }
    }
    assert!(!whole || rows == segment.rows());
});
