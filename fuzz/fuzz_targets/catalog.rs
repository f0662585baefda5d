//! Any bytes as a catalog: an error, or a catalog that saves and loads as itself.
#![no_main]

use icecore::catalog::{decode, load, save};
use icecore::fs::RealFs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(catalog) = decode(bytes) else { return };
    let Ok(dir) = tempfile::tempdir() else { return };
    save(&RealFs, dir.path(), &catalog).expect("what was read can be written");
    assert_eq!(load(&RealFs, dir.path()).expect("what was written can be read"), Some(catalog));
});
