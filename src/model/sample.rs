//! One measured point, and the bit pattern that says a series ended.

use crate::time::Timestamp;

/// Prometheus' stale marker: the NaN that says "this series is no longer exported". It is kept
/// bit for bit, returned when samples are iterated, and left out of every aggregate.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether the value is the stale marker (not any other NaN).
#[must_use]
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}

/// The value's bits as an integer that orders as [`f64::total_cmp`] does: negative doubles have the bits of their magnitude reversed, so that -1.0 < -0.5 as integers.
#[inline]
pub(crate) fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) & i64::MAX)
}

/// Undoes [`ordered`].
#[inline]
pub(crate) fn unordered(integer: i64) -> f64 {
    f64::from_bits((integer ^ ((integer >> 63) & i64::MAX)) as u64)
}

/// A timestamp and a value; every bit pattern of the value is preserved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub timestamp: Timestamp,
    /// How much.
    pub value: f64,
}
