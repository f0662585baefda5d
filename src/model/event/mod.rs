//! Events: wide rows beside series, such as one finished query each.
//!
//! Owns: what a table of events is ([`EventSchema`]), what stands in a row ([`EventValue`],
//! [`EventBatch`]) and rows as columns ([`EventRows`]). Does not own: how rows become bytes
//! (`segment`, `wal`), where they are held (`head`, `part`), how they are asked for (`query`).
//!
//! Events are never overwritten: rows of one time stand beside each other. Their order is time,
//! then arrival.

mod bitmap;
mod builder;
mod rows;
mod schema;
mod value;

pub use bitmap::Bitmap;
pub(crate) use builder::EventBuilder;
pub use rows::{EventData, EventRows, EventVector};
pub use schema::{
    EVENT_COLUMNS_MAX, EVENT_TABLES_MAX, EventColumn, EventKind, EventSchema, TIME_COLUMN,
};
pub use value::{EVENT_TEXT_BYTES_MAX, EventBatch, EventValue};
