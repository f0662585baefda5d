//! Columns of events: any bytes under a right checksum open or are an error; what verifies reads, and
//! encoded again it reads the same.
//!
//! The input is a segment without its frame.
#![no_main]

use icecore::codec::bytes::{Reader, write_frame};
use icecore::codec::schemas;
use icecore::model::{EventData, EventValue};
use icecore::segment::{EventSegment, encode_column, encode_times};
use libfuzzer_sys::fuzz_target;

fn values(data: &EventData) -> Vec<String> {
    let value = |row| match data.value(row) {
        EventValue::Float(value) => format!("{:x}", value.to_bits()),
        other => format!("{other:?}"),
    };
    (0..data.len()).map(value).collect()
}

fuzz_target!(|body: &[u8]| {
    let mut schema = Reader::new(body);
    if let Ok(found) = schemas::decode(&mut schema) {
        let mut again = Vec::new();
        schemas::encode(&found, &mut again);
        assert_eq!(schemas::decode(&mut Reader::new(&again)).as_ref(), Ok(&found));
    }
    let mut bytes = Vec::new();
    write_frame(&mut bytes, *b"ICEV", 1, body);
    let Ok(segment) = EventSegment::open(bytes) else { return };
    let whole = segment.verify().is_ok();
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
            let read = segment.read(group);
            assert!(read.is_ok() || !whole);
            let Some(data) = read.ok().filter(|_| whole) else { continue };
            rows += data.len();
            let again = encode_column(&data).expect("within the limits").bytes;
            let again = EventSegment::open(again).expect("own bytes open");
            again.verify().expect("own bytes are whole");
            let back: Vec<String> = (0..again.groups())
                .flat_map(|group| values(&again.read(group).expect("own bytes read")))
                .collect();
            assert_eq!(back, values(&data));
        }
    }
    assert!(!whole || rows == segment.rows());
});
