//! The one mergeable aggregate, and the functions that finish it.
//!
//! Owns: [`Partial`], which is a chunk's statistics, a tier's record and a query task's result.
//! Does not own: which samples are folded into it (`segment`, `query`).

mod partial;

pub use partial::Partial;
