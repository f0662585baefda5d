//! What several test binaries share: include it with `#[path = "../support/mod.rs"] mod support;`.

mod dice;
mod disk;
pub(crate) mod fault_fs;
