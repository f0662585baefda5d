//! What a metric is: series identities, their metadata, matchers, samples; and what events are.
//!
//! Owns: the rules names obey, the identity of a series, the schema and values of events. Does not own: where series are
//! stored and found (`index`), or what may be appended (`engine::gate`).

mod event;
mod label;
mod matcher;
mod sample;
mod selector;
mod series;
mod text;

pub(crate) use event::EventBuilder;
pub use event::{
    Bitmap, EVENT_COLUMNS_MAX, EVENT_TABLES_MAX, EVENT_TEXT_BYTES_MAX, EventBatch, EventColumn,
    EventData, EventKind, EventRows, EventSchema, EventValue, EventVector, TIME_COLUMN,
};
pub use label::{LABEL_PAIRS_MAX, METRIC_NAME_LABEL, NAME_BYTES_MAX, VALUE_BYTES_MAX};
pub(crate) use label::{check_name, check_value};
pub use matcher::{MatchOp, Matcher, PATTERN_BYTES_MAX};
pub use sample::{STALE_MARKER_BITS, Sample, is_stale};
pub(crate) use sample::{ordered, unordered};
pub use selector::{MATCHERS_MAX, Selector};
pub use series::{Metadata, MetricKind, Series, SeriesId};
pub use text::SELECTOR_BYTES_MAX;

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::selector::tests::small_selector;
    pub(crate) use super::series::tests::{any_series, small_series};
}
