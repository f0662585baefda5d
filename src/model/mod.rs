//! What a metric is: series identities, their metadata, matchers, samples.
//!
//! Owns: the rules names obey and the identity of a series. Does not own: where series are
//! stored and found (`index`), or what may be appended (`engine::gate`).

mod label;
mod sample;
mod series;

pub use label::{LABEL_PAIRS_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX};
pub use sample::{STALE_MARKER_BITS, Sample, is_stale};
pub use series::{Metadata, MetricKind, Series, SeriesId};
