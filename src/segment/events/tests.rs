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
            let data = segment.read(group, None).unwrap();
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
        segment.verify(None).unwrap();
        let back: Vec<EventValue> = read_all(&segment).iter().map(bits).collect();
        prop_assert_eq!(back, values.iter().map(bits).collect::<Vec<_>>());
    }

    #[test]
    fn a_stretch_of_columns_near_each_other_round_trips(
        first in prop::collection::vec(prop::option::weighted(0.9, 0..100_000_i64), 40..200),
        others in prop::collection::vec((0..4_u8, 0..3_i64, any::<u64>()), 1..6),
    ) {
        let stretch = near_each_other(&first, &others);
        check_stretch(&stretch).unwrap();
        let stored = stored(&stretch);
        for (field, column) in stretch.columns.iter().enumerate() {
            let (StoredColumn::Segment(segment, base), of) = (&stored[field + 1], column) else {
                panic!("{stored:?}")
            };
            segment.verify(base.as_deref()).unwrap();
            for group in 0..segment.groups() {
                let data = stored[field + 1].read(group as u32).unwrap();
                let rows = group * GROUP_ROWS..of.len().min((group + 1) * GROUP_ROWS);
                prop_assert_eq!(data.len(), rows.len());
                for (at, row) in rows.enumerate() {
                    prop_assert_eq!(data.value(at), of.value(row));
                }
            }
        }
        // Read one behind another they are the same.
        let mut known = Vec::new();
        for column in &stored[1..] {
            let data = column.read_behind(0, &known).unwrap().into_owned();
            let alone = column.read(0).unwrap();
            prop_assert!((0..data.len()).all(|row| data.value(row) == alone.value(row)));
            known.push(data);
        }
    }

    #[test]
    fn any_times_round_trip(mut times in prop::collection::vec(any::<i64>(), 1..100), runs in 1..200_usize) {
        times.sort_unstable();
        let times: Vec<i64> = times.into_iter().flat_map(|time| vec![time; runs]).collect();
        let segment = EventSegment::open(encode_times(&times).bytes).unwrap();
        segment.verify(None).unwrap();
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

/// A column of integers and others that are near it (or texts that go with it): how, how far, and a
/// pattern of nulls and exceptions.
fn near_each_other(first: &[Option<i64>], others: &[(u8, i64, u64)]) -> EventRows {
    let integers = |values: Vec<Option<i64>>| {
        let values: Vec<EventValue> = values.into_iter().map(EventValue::from).collect();
        column(EventKind::Integer, &values)
    };
    let mut columns = vec![integers(first.to_vec())];
    for &(how, distance, pattern) in others {
        let odd = |row: usize| pattern.rotate_left(row as u32 * 7) & 15 == 0;
        let of = |(row, value): (usize, &Option<i64>)| match (how, odd(row)) {
            (0, true) => None,
            (1, true) => Some(row as i64),
            _ => value.map(|value| value - distance * (row as i64 % 5) + i64::from(how == 2)),
        };
        let near: Vec<Option<i64>> = first.iter().enumerate().map(of).collect();
        if how == 3 {
            let text = |value: Option<i64>| value.map(|value| format!("t{}", value % 17)).into();
            let texts: Vec<EventValue> = near.into_iter().map(text).collect();
            columns.push(column(EventKind::Text, &texts));
        } else {
            columns.push(integers(near));
        }
    }
    EventRows { times: (0..first.len() as i64).collect(), columns }
}

/// As a part would open it.
fn stored(rows: &EventRows) -> Vec<StoredColumn> {
    let mut columns: Vec<StoredColumn> = Vec::new();
    for encoded in encode_stretch(rows).unwrap() {
        let segment = EventSegment::open(encoded.bytes).unwrap();
        let base = segment.base().map(|base| Box::new(columns[base as usize].clone()));
        columns.push(StoredColumn::Segment(Arc::new(segment), base));
    }
    columns
}

#[test]
fn columns_are_kept_by_the_one_that_tells_most_of_them() {
    let length = |i: i64| 1000 + i * 7919 % 50_021;
    let integers = |value: &dyn Fn(i64) -> i64| {
        column(EventKind::Integer, &(0..200).map(|i| value(i).into()).collect::<Vec<_>>())
    };
    let names = |of: &str| {
        let name = |i| format!("{of}{}", length(i) % 7).into();
        column(EventKind::Text, &(0..200).map(name).collect::<Vec<EventValue>>())
    };
    let columns = vec![
        integers(&length),
        names("fingerprint "),
        integers(&|i| i * 104_729 % 40_009),
        // Less some that is small; one in four the same.
        integers(&|i| length(i) - i % 50),
        integers(&|i| if i % 4 == 0 { length(i) } else { 0 }),
        names("text "),
    ];
    let stored = stored(&EventRows { times: (0..200).collect(), columns });
    let base = |field: usize| match &stored[field] {
        StoredColumn::Segment(segment, _) => segment.base(),
        StoredColumn::Rows(..) | StoredColumn::Archived(..) => None,
    };
    assert_eq!([1, 2, 3, 4, 5, 6].map(base), [None, None, None, Some(1), Some(1), Some(2)]);
    // Without what it is told by it cannot be read; nor with another's rows.
    let StoredColumn::Segment(segment, base) = &stored[4] else { panic!("{stored:?}") };
    assert!(segment.read(0, None).is_err() && segment.verify(None).is_err());
    assert!(segment.read(0, Some(&base.as_ref().unwrap().read(6).unwrap())).is_err());
    assert!(segment.read(0, Some(&stored[2].read(0).unwrap())).is_err());
}

/// Reads as far as it goes.
fn probe(bytes: &[u8]) -> Result<(), crate::DecodeError> {
    let segment = EventSegment::open(bytes.to_vec())?;
    let mut times = Vec::new();
    for group in 0..segment.groups() {
        match segment.kind() {
            Some(_) => drop(segment.read(group, base(&segment).as_ref())?),
            None => segment.read_times(group, &mut times)?,
        }
    }
    let whole = segment.base().map(|_| {
        let values = EventData { present: None, values: EventVector::Integer(BASE.to_vec()) };
        EventRows { times: vec![0; BASE.len()], columns: vec![values] }
    });
    segment.verify(whole.map(|rows| StoredColumn::Rows(Arc::new(rows), 1)).as_ref())
}

/// The base of the sample that has one, a group of it.
const BASE: [i64; GROUP_ROWS] = {
    let mut base = [0; GROUP_ROWS];
    let mut row = 0;
    while row < base.len() {
        base[row] = 90_000 + row as i64 * 7919 % 50_021;
        row += 1;
    }
    base
};

fn base(segment: &EventSegment) -> Option<EventData> {
    let values = EventVector::Integer(BASE.to_vec());
    segment.base().map(|_| EventData { present: None, values })
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
        {
            let near = BASE.iter().enumerate().map(|(row, value)| value - row as i64 % 9);
            let columns = [BASE.to_vec(), near.collect()];
            let columns = columns
                .map(|values| EventData { present: None, values: EventVector::Integer(values) });
            let rows = EventRows { times: vec![0; BASE.len()], columns: columns.to_vec() };
            encode_stretch(&rows).unwrap().pop().unwrap().bytes
        },
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
