use proptest::prelude::*;

use super::*;
use crate::model::STALE_MARKER_BITS;

fn round_trip(values: &[f64]) -> (ValueEncoding, usize) {
    let (mut bytes, mut back) = (Vec::new(), vec![7.0]);
    let encoding = encode(values, &mut bytes);
    assert_eq!(ValueEncoding::from_tag(encoding.tag()), Ok(encoding));
    decode(encoding, &bytes, values.len(), &mut back).unwrap();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(values), "{encoding:?}");
    (encoding, bytes.len())
}

/// Every encoder alone, whatever the chooser thinks of it.
fn round_trip_each(values: &[f64]) {
    let trials = [decimal::encode(values), corrected::encode(values), Some(bits::encode(values))];
    for trial in trials.into_iter().flatten() {
        let Trial { source, exceptions, encoded } = trial;
        let stage = encoded.stage.unwrap();
        let encoding = ValueEncoding::Integers { source, stage, exceptions };
        let mut back = Vec::new();
        decode(encoding, &encoded.bytes, values.len(), &mut back).unwrap();
        let same = back.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && back.len() == values.len(), "{encoding:?}");
    }
}

fn odd_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        Just(f64::from_bits(STALE_MARKER_BITS)),
        Just(f64::from_bits(0x7ff8_0000_dead_beef)),
        Just(f64::NAN),
        Just(-0.0),
        Just(0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MIN_POSITIVE / 8.0),
        Just(f64::MAX),
        Just(9_007_199_254_740_993.0),
        Just(i64::MAX as f64),
        Just(i64::MIN as f64),
    ]
}

proptest! {
    #[test]
    fn any_column_round_trips(values in prop::collection::vec(any::<u64>(), 0..200)) {
        let values: Vec<f64> = values.into_iter().map(f64::from_bits).collect();
        round_trip(&values);
        if !values.is_empty() { round_trip_each(&values); }
    }

    #[test]
    fn decimals_with_odd_values_round_trip(
        exponent in 0..12_i32,
        integers in prop::collection::vec(-1_000_000..1_000_000_i64, 1..1500),
        odd in prop::collection::vec((0..1500_usize, odd_value()), 0..20),
    ) {
        let power = 10_f64.powi(exponent);
        let mut values: Vec<f64> = integers.iter().map(|&n| n as f64 / power).collect();
        for (at, value) in odd {
            let length = values.len();
            values[at % length] = value;
        }
        round_trip(&values);
        round_trip_each(&values);
    }

    #[test]
    fn noisy_decimals_round_trip(
        integers in prop::collection::vec((0..100_000_i64, -3..3_i64), 1..600),
    ) {
        let noisy = |(n, ulps): &(i64, i64)| {
            f64::from_bits((*n as f64 / 1000.0).to_bits().wrapping_add_signed(*ulps))
        };
        let values: Vec<f64> = integers.iter().map(noisy).collect();
        round_trip(&values);
        round_trip_each(&values);
    }

    #[test]
    fn any_bytes_decode_without_panic(bytes: Vec<u8>, tag: u8, count in 0..70_000_usize) {
        if let Ok(encoding) = ValueEncoding::from_tag(tag) {
            let _ = decode(encoding, &bytes, count, &mut Vec::new());
        }
    }
}

#[test]
fn odd_columns_round_trip() {
    let stale = f64::from_bits(STALE_MARKER_BITS);
    for values in [
        &[][..],
        &[1.5],
        &[f64::NAN; 3],
        &[-0.0, 0.0],
        &[stale, 1.0, stale],
        &[f64::INFINITY, f64::NEG_INFINITY, f64::NAN],
        &[f64::MAX, f64::MIN, f64::MIN_POSITIVE],
    ] {
        round_trip(values);
    }
}

#[test]
fn the_chooser_knows_what_it_sees() {
    let source = |values: &[f64]| match round_trip(values) {
        (ValueEncoding::Integers { source, .. }, size) => (Some(source), size),
        (_, size) => (None, size),
    };
    assert_eq!(source(&[2.5; 1000]), (None, 8));
    let counter: Vec<f64> = (0..1000).map(|i| f64::from(i * 3 + i % 2)).collect();
    let (found, size) = source(&counter);
    assert_eq!(found, Some(Source::Decimal));
    assert!(size < 1000 / 4, "{size}");
    let noisy: Vec<f64> = (0..1000).map(|i| f64::from(i * 7919 % 1000) / 10.0 * 1.1).collect();
    let (found, size) = source(&noisy);
    assert_eq!(found, Some(Source::Corrected));
    assert!(size < 3000, "{size}");
    let real: Vec<f64> = (1..1000).map(|i| f64::from(i).sqrt()).collect();
    assert_eq!(source(&real).0, Some(Source::Bits));
}
