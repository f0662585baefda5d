//! Any body under a right checksum as a catalog: an error, or a catalog that saves as the very
//! bytes it was read from.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;

use icecore::catalog::{CATALOG_FILE, decode, load, save};
use icecore::codec::bytes::write_frame;
use libfuzzer_sys::fuzz_target;
use support::fault_fs::SimFs;

fuzz_target!(|body: &[u8]| {
    let _ = decode(body);
    let mut bytes = Vec::new();
    write_frame(&mut bytes, *b"ICCT", 1, body);
    let Ok(catalog) = decode(&bytes) else { return };
    let (fs, dir) = (SimFs::new(), Path::new("/"));
    save(&fs, dir, &catalog).expect("what was read can be written");
    assert_eq!(fs.content(&dir.join(CATALOG_FILE)), bytes);
    assert_eq!(load(&fs, dir).expect("what was written can be read"), Some(catalog));
});
