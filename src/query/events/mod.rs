//! Queries over events: rows of one table that pass predicates, by time or the first of an order.
//!
//! Owns: the request and its limits, which groups of rows are read at all, filtering, and putting
//! rows of several sources into one order. Does not own: where rows live
//! ([`EventSource`](crate::segment::EventSource)).

mod request;

pub use request::{
    EventAnswer, EventEvidence, EventOrder, EventPredicate, EventRequest, EventTest,
};
