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

/// A timestamp and a value; every bit pattern of the value is preserved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub timestamp: Timestamp,
    /// How much.
    pub value: f64,
}
