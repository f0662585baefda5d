//! What several test binaries share: include it with `#[path = "../support/mod.rs"] mod support;`.

pub(crate) mod fault_fs;
