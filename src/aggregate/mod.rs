//! The mergeable aggregates, and the functions that finish them.
//!
//! Owns: [`Partial`], which is a chunk's statistics, a tier's record and a query task's result;
//! [`Accumulator`], a `Partial` with the second moment beside it for the time of one query;
//! [`Function`], what a finished aggregate answers; exact quantiles; [`Sketch`] for bounded ones, [`Sketches`]
//! for columns of them, and [`Distribution`], which is observations summed up before they come in.
//! Does not own: which samples are folded into them (`segment`, `query`).

mod accumulator;
mod distribution;
mod function;
pub(crate) mod lanes;
mod partial;
mod quantile;
mod sketch;
mod sketches;
mod trend;

pub use accumulator::{Accumulator, Needs};
pub use distribution::Distribution;
pub use function::Function;
pub use partial::Partial;
pub use quantile::quantile;
pub(crate) use sketch::INDEX_LIFT;
pub use sketch::{Bin, SKETCH_BINS_MAX, SKETCH_RELATIVE_ERROR, Sketch, SketchRef};
pub(crate) use sketches::Laid;
pub use sketches::Sketches;
pub(crate) use trend::Line;
