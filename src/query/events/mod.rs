//! Queries over events: rows of one table that pass conditions, by time or the first of an order.
//!
//! Owns: the request and its limits, which groups of rows are read at all, filtering, and putting
//! rows of several sources into one order. Does not own: where rows live
//! ([`EventSource`](crate::segment::EventSource)).
//!
//! `plan` resolves a request and looks at stretches: conditions (`predicate`) are told from dictionaries
//! and bounds first, then from the columns that they name, and only what is left is read of the others.
//! `scan` answers by time, `top` by a column, `stream` hands rows to a caller.

mod plan;
mod predicate;
mod request;
mod scan;
mod stream;
#[cfg(test)]
mod tests;
mod top;

pub use request::{
    EventAnswer, EventEvidence, EventOrder, EventPredicate, EventRequest, EventTest,
};
pub use scan::scan_events;
pub use stream::{fold_events, for_each_event_group};
