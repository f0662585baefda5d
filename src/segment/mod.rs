//! Segments: immutable bytes that hold chunks of many series of one partition and tier.

mod source;

pub use source::{ChunkRef, ChunkSource};
