//! Segments of events: everything comes back, damage never does harm.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{Bitmap, EventData, EventKind, EventRows, EventValue, EventVector};

/// A column of these values, as a writer would hand it over.
pub(crate) fn column(kind: EventKind, values: &[EventValue]) -> EventData {
    let present: Bitmap = values.iter().map(|value| !value.is_null()).collect();
    let mut dictionary: Vec<Arc<str>> = Vec::new();
    let mut id = |text: &Arc<str>| {
        let at = dictionary.iter().position(|known| known == text);
        at.unwrap_or_else(|| {
            dictionary.push(Arc::clone(text));
            dictionary.len() - 1
        }) as u32
    };
    let vector = match kind {
        EventKind::Integer => EventVector::Integer(
            values.iter().map(|v| if let EventValue::Integer(v) = v { *v } else { 0 }).collect(),
        ),
        EventKind::Float => EventVector::Float(
            values.iter().map(|v| if let EventValue::Float(v) = v { *v } else { 0.0 }).collect(),
        ),
        EventKind::Boolean => EventVector::Boolean(
            values.iter().map(|v| matches!(v, EventValue::Boolean(true))).collect(),
        ),
        EventKind::Text => {
            let ids = values.iter().map(|v| if let EventValue::Text(v) = v { id(v) } else { 0 });
            EventVector::Text { ids: ids.collect(), dictionary: Arc::default() }
        }
    };
    let values = match vector {
        EventVector::Text { ids, .. } => {
            EventVector::Text { ids, dictionary: Arc::new(dictionary) }
        }
        other => other,
    };
    let present = (present.count_ones() < present.len()).then_some(present);
    EventData { present, values }
}

fn any_values(kind: EventKind) -> BoxedStrategy<EventValue> {
    let value = match kind {
        EventKind::Integer => {
            prop_oneof![any::<i64>(), -5..5_i64].prop_map(EventValue::Integer).boxed()
        }
        EventKind::Float => prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1000..1000_i32).prop_map(|cents| f64::from(cents) / 100.0),
        ]
        .prop_map(EventValue::Float)
        .boxed(),
        EventKind::Boolean => any::<bool>().prop_map(EventValue::Boolean).boxed(),
        EventKind::Text => "[a-c]{0,3}".prop_map(EventValue::from).boxed(),
    };
    prop_oneof![3 => value, 1 => Just(EventValue::Null)].boxed()
}

fn any_column() -> impl Strategy<Value = (EventKind, Vec<EventValue>)> {
    let kinds = prop_oneof![
        Just(EventKind::Integer),
        Just(EventKind::Float),
        Just(EventKind::Boolean),
        Just(EventKind::Text)
    ];
    kinds.prop_flat_map(|kind| {
        let values = any_values(kind);
        let runs = prop::collection::vec((values, 1..60_usize), 1..40);
        let flat = runs.prop_map(|runs| {
            runs.into_iter().flat_map(|(value, length)| vec![value; length]).collect()
        });
        (Just(kind), flat)
    })
}

/// Bit for bit: NaN too.
fn bits(value: &EventValue) -> EventValue {
    match value {
        EventValue::Float(value) => EventValue::Integer(value.to_bits().cast_signed()),
        other => other.clone(),
    }
}

fn read_all(segment: &EventSegment) -> Vec<EventValue> {
    (0..segment.groups())
        .flat_map(|group| {
            let data = segment.read(group).unwrap();
            assert_eq!(segment.bounds(group).unwrap().rows as usize, data.len());
            (0..data.len()).map(|row| data.value(row)).collect::<Vec<_>>()
        })
        .collect()
}

fn stretch(columns: Vec<EventData>) -> EventRows {
    let rows = columns.first().map_or(0, EventData::len) as i64;
    EventRows { times: (0..rows).map(|row| row / 3).collect(), columns }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_column_round_trips((kind, values) in any_column(), repeats in 1..12_usize) {
        let values: Vec<EventValue> = vec![values; repeats].concat();
        let rows = stretch(vec![column(kind, &values)]);
        check_stretch(&rows).unwrap();
        let encoded = encode_column(&rows.columns[0]).unwrap();
        let segment = EventSegment::open(encoded.bytes).unwrap();
        prop_assert_eq!(segment.groups(), encoded.groups as usize);
        prop_assert_eq!((segment.kind(), segment.rows()), (Some(kind), values.len()));
        segment.verify().unwrap();
        let back: Vec<EventValue> = read_all(&segment).iter().map(bits).collect();
        prop_assert_eq!(back, values.iter().map(bits).collect::<Vec<_>>());
    }

    #[test]
    fn any_times_round_trip(mut times in prop::collection::vec(any::<i64>(), 1..100), runs in 1..200_usize) {
        times.sort_unstable();
        let times: Vec<i64> = times.into_iter().flat_map(|time| vec![time; runs]).collect();
        let segment = EventSegment::open(encode_times(&times).bytes).unwrap();
        segment.verify().unwrap();
        let (mut back, mut group) = (Vec::new(), Vec::new());
        for number in 0..segment.groups() {
            segment.read_times(number, &mut group).unwrap();
            let ends = Bounds::Integers(group[0], group[group.len() - 1]);
            prop_assert_eq!(segment.bounds(number).unwrap().values, ends);
            back.append(&mut group);
        }
        prop_assert_eq!(back, times);
    }
}

/// Reads as far as it goes.
fn probe(bytes: &[u8]) -> Result<(), crate::DecodeError> {
    let segment = EventSegment::open(bytes.to_vec())?;
    let mut times = Vec::new();
    for group in 0..segment.groups() {
        match segment.kind() {
            Some(_) => drop(segment.read(group)?),
            None => segment.read_times(group, &mut times)?,
        }
    }
    segment.verify()
}

fn samples() -> Vec<Vec<u8>> {
    let values = |make: &dyn Fn(i64) -> EventValue| {
        (0..40).map(|i| if i % 7 == 3 { EventValue::Null } else { make(i) }).collect::<Vec<_>>()
    };
    let encode =
        |kind, values: Vec<EventValue>| encode_column(&column(kind, &values)).unwrap().bytes;
    vec![
        encode(EventKind::Integer, values(&|i| (i * i).into())),
        encode(EventKind::Float, values(&|i| (i as f64 * 0.3).into())),
        encode(EventKind::Boolean, values(&|i| (i % 3 == 0).into())),
        encode(EventKind::Text, values(&|i| ["lake", "cache", "warehouse"][i as usize % 3].into())),
        encode(EventKind::Text, vec![EventValue::Null; 5]),
        encode_times(&(0..40).map(|i| i / 4 * 1_000).collect::<Vec<_>>()).bytes,
    ]
}

#[test]
fn every_flip_and_cut_is_an_error() {
    for bytes in samples() {
        probe(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(probe(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(probe(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}

/// A checksum keeps accidents out, not whoever computes it anew.
#[test]
fn damage_under_a_right_checksum_does_no_harm() {
    use crate::codec::bytes::{FRAME_OVERHEAD_BYTES, write_frame};
    for bytes in samples() {
        let body = &bytes[FRAME_OVERHEAD_BYTES..];
        for at in 0..body.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, body[at] ^ 1, body[at].wrapping_add(1)] {
                let mut damaged = body.to_vec();
                damaged[at] = value;
                let mut framed = Vec::new();
                write_frame(&mut framed, MAGIC, VERSION, &damaged);
                let _ = probe(&framed);
            }
        }
    }
}

#[test]
fn stretches_out_of_bounds_are_refused() {
    let ints =
        |rows: usize| EventData { present: None, values: EventVector::Integer(vec![1; rows]) };
    let refused = |times: Vec<i64>, columns: Vec<EventData>| {
        check_stretch(&EventRows { times, columns }).unwrap_err().to_string()
    };
    assert!(refused(vec![], vec![ints(0)]).contains("0 rows"));
    assert!(refused(vec![0; 65_537], vec![ints(65_537)]).contains("65537 rows"));
    assert!(refused(vec![2, 1], vec![ints(2)]).contains("ascend"));
    assert!(refused(vec![1, 2], vec![ints(3)]).contains("column 0"));
    let text = EventVector::Text { ids: vec![1], dictionary: Arc::new(vec!["a".into()]) };
    assert!(
        refused(vec![1], vec![EventData { present: None, values: text }]).contains("dictionary")
    );
    let long: Arc<str> = "x".repeat(1 << 20).into();
    let text = EventVector::Text { ids: vec![0; 33], dictionary: Arc::new(vec![long]) };
    let all = vec![EventData { present: None, values: text }];
    assert!(refused(vec![1; 33], all).contains("bytes of text"));
}
