//! Columns of integers by another column that they are near, their base: what a query waited for by how
//! long it took, the number of its text by that of its fingerprint.
//!
//! ```text
//! tag u8: 0 a value is its base and the distance · 1 its base less the distance
//!         2 its base and the distance, which is folded: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
//!         3 it is its base where a bit is set, else a value by itself
//! of 0 to 2: distances, a column of integers ([`event_integers`])
//! of 3: a bitmap ([`bitmaps`]) · values where no bit is set, a column of integers
//! ```
//!
//! Sums wrap. Parts of a whole are below it, so that mostly no bit is spent on the sign. Of several
//! sources that a query asks at once, one is as long on the critical path as it took, and the others are
//! hardly on it: hence tag 3. The shorter of the two ways is kept.

use super::bitmaps;
use super::bytes::Reader;
use super::event_integers::{self, keep_shorter};
use super::integers::check_count;
use crate::error::DecodeError;
use crate::model::Bitmap;

const ABOVE: u8 = 0;
const BELOW: u8 = 1;
const FOLDED: u8 = 2;
const EQUAL: u8 = 3;

/// Equality is tried where one value of so many is its base.
const VALUES_PER_EQUAL: usize = 32;

/// A distance of either sign as one that is small where the distance is.
const fn fold(distance: i64) -> i64 {
    (distance << 1) ^ (distance >> 63)
}

/// Undoes [`fold`].
const fn unfold(folded: i64) -> i64 {
    (folded.cast_unsigned() >> 1).cast_signed() ^ -(folded & 1)
}

/// Bits that the distance between two values takes, of either sign.
#[must_use]
pub fn bits(value: i64, base: i64) -> u32 {
    u64::BITS - fold(value.wrapping_sub(base)).leading_zeros()
}

/// Appends values, with as many bases; at most [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX).
pub fn encode(values: &[i64], bases: &[i64], out: &mut Vec<u8>) {
    debug_assert_eq!(values.len(), bases.len());
    let start = out.len();
    encode_distances(values, bases, out);
    let equal: Bitmap = values.iter().zip(bases).map(|(value, base)| value == base).collect();
    let count = equal.count_ones();
    // Where all are equal, all distances are 0.
    if count == values.len() || count * VALUES_PER_EQUAL < values.len() {
        return;
    }
    let mut body = vec![EQUAL];
    bitmaps::encode(&equal, &mut body);
    let others = values.iter().zip(equal.iter()).filter(|(_, equal)| !equal);
    event_integers::encode(&others.map(|(value, _)| *value).collect::<Vec<_>>(), &mut body);
    keep_shorter(out, start, body);
}

fn encode_distances(values: &[i64], bases: &[i64], out: &mut Vec<u8>) {
    let pairs = values.iter().zip(bases);
    let mut distances: Vec<i64> = pairs.map(|(value, base)| value.wrapping_sub(*base)).collect();
    // The least of all has no opposite: it stays, and is undone by the same wrapping.
    let tag = if distances.iter().all(|&distance| distance >= 0) {
        ABOVE
    } else if distances.iter().all(|&distance| distance <= 0) {
        distances.iter_mut().for_each(|distance| *distance = distance.wrapping_neg());
        BELOW
    } else {
        distances.iter_mut().for_each(|distance| *distance = fold(*distance));
        FOLDED
    };
    out.push(tag);
    event_integers::encode(&distances, out);
}

/// Reads a value for each base from the front of `reader`; they replace `out`.
///
/// # Errors
/// [`DecodeError`] where there is no such column; more bases than
/// [`COLUMN_VALUES_MAX`](super::COLUMN_VALUES_MAX) are one.
pub fn decode(
    reader: &mut Reader<'_>,
    bases: &[i64],
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    let tag = reader.u8()?;
    if tag == EQUAL {
        return decode_equal(reader, bases, out);
    }
    event_integers::decode(reader, bases.len(), out)?;
    let places = out.iter_mut().zip(bases);
    match tag {
        ABOVE => places.for_each(|(value, base)| *value = base.wrapping_add(*value)),
        BELOW => places.for_each(|(value, base)| *value = base.wrapping_sub(*value)),
        FOLDED => places.for_each(|(value, base)| *value = base.wrapping_add(unfold(*value))),
        tag => {
            let (what, found) = ("tag of distances", u64::from(tag));
            return Err(DecodeError::Invalid { what, found, expected: "0 to 3" });
        }
    }
    Ok(())
}

fn decode_equal(
    reader: &mut Reader<'_>,
    bases: &[i64],
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    check_count(bases.len())?;
    let equal = bitmaps::decode(reader, bases.len())?;
    let mut others = Vec::new();
    event_integers::decode(reader, bases.len() - equal.count_ones(), &mut others)?;
    let mut others = others.into_iter();
    out.clear();
    out.extend(bases.iter().zip(equal.iter()).map(|(&base, equal)| match equal {
        true => base,
        // There are as many as bits that are not set.
        false => others.next().unwrap_or_default(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64], bases: &[i64]) -> (u8, usize) {
        let mut out = Vec::new();
        encode(values, bases, &mut out);
        let (tag, bytes) = (out[0], out.len());
        out.push(0xaa);
        let (mut reader, mut back) = (Reader::new(&out), vec![7]);
        decode(&mut reader, bases, &mut back).unwrap();
        assert_eq!(back, values);
        assert_eq!(reader.remaining(), 1);
        (tag, bytes)
    }

    proptest! {
        #[test]
        fn any_values_round_trip(
            far in prop::collection::vec(any::<(i64, i64)>(), 0..300),
            near in prop::collection::vec((any::<i64>(), -9..9_i64), 0..300),
        ) {
            let (values, bases): (Vec<i64>, Vec<i64>) = far.into_iter().unzip();
            round_trip(&values, &bases);
            let near = near.into_iter().map(|(base, distance)| (base.wrapping_add(distance), base));
            let (values, bases): (Vec<i64>, Vec<i64>) = near.unzip();
            round_trip(&values, &bases);
            let some: Vec<i64> = (values.iter().zip(&bases).enumerate())
                .map(|(i, (value, base))| if i % 3 == 0 { *base } else { *value })
                .collect();
            round_trip(&some, &bases);
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>, bases: Vec<i64>) {
            let _ = decode(&mut Reader::new(&bytes), &bases, &mut Vec::new());
        }
    }

    #[test]
    fn the_sign_costs_nothing_where_there_is_but_one() {
        let bases: Vec<i64> = (0..1000).map(|i| i * 7919 % 100_003).collect();
        let parts: Vec<i64> = bases.iter().map(|base| base - base % 64).collect();
        let (above, up) = round_trip(&bases, &parts);
        let (below, down) = round_trip(&parts, &bases);
        assert_eq!((above, below, up), (ABOVE, BELOW, down));
        assert!(up < 1000 * 6 / 8 + 40, "{up}");
        let (tag, bytes) = round_trip(&bases, &bases);
        assert_eq!(tag, ABOVE);
        assert!(bytes < 24, "{bytes}");
        // One of four is its base, the others are small.
        let some: Vec<i64> =
            (0..1000).map(|i| if i % 4 == 0 { bases[i] } else { i as i64 % 8 }).collect();
        let (tag, bytes) = round_trip(&some, &bases);
        assert_eq!(tag, EQUAL);
        assert!(bytes < 1000 / 8 + 750 * 3 / 8 + 40, "{bytes}");
        // The extremes: a distance that has no opposite, and none that fits.
        assert_eq!(round_trip(&[i64::MIN, 5], &[0, 6]).0, BELOW);
        assert_eq!(round_trip(&[i64::MIN, i64::MAX], &[i64::MAX, i64::MIN]).0, FOLDED);
        for distance in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unfold(fold(distance)), distance);
        }
    }
}
