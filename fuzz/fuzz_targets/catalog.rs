//! Any body under a right checksum as a catalog: an error, or a catalog that saves as the very
//! bytes it was read from: behind those of an older catalog, which ends before it, from when on raw
//! parts are whole.
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
    let saved = fs.content(&dir.join(CATALOG_FILE));
    if saved != bytes {
        let head = bytes.len() - body.len();
        assert_eq!(saved[head..], *[body, &i64::MAX.to_le_bytes()].concat());
    }
    assert_eq!(load(&fs, dir).expect("what was written can be read"), Some(catalog));
});
