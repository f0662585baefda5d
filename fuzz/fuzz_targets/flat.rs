//! Any bytes as the file of a flat store: an error, or a store whose every value reads or is an
//! error. Checksum and magic at the end are not given but put there right.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use icecore::fs::Fs;
use icecore::store::{self, StoreKind};
use libfuzzer_sys::fuzz_target;
use support::fault_fs::SimFs;

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    if let Some(sums) = bytes.last_chunk::<12>() {
        let index_at = u64::from_le_bytes(*sums.first_chunk().expect("eight of twelve"));
        let covered = usize::try_from(index_at).ok().and_then(|at| bytes.get(at..));
        file.extend(crc32fast::hash(covered.unwrap_or_default()).to_le_bytes());
        file.extend(b"iceflat\x01");
    }
    file
}

fuzz_target!(|bytes: &[u8]| {
    let (fs, dir) = (SimFs::new(), Path::new("/store"));
    fs.create_dir_all(dir).expect("in memory");
    fs.create_new(&dir.join("values")).expect("in memory");
    fs.set_content(&dir.join("values"), &sealed(bytes));
    let fs: Arc<dyn Fs> = Arc::new(fs);
    let Ok(store) = store::open(StoreKind::Flat, &fs, dir) else { return };
    let mut seen = 0;
    let scanned = store.scan(&mut |key, value| {
        seen += 1;
        let found = store.get(key)?.expect("shown by the scan");
        assert_eq!(found.as_ref(), value);
        Ok(())
    });
    if scanned.is_ok() {
        assert_eq!(store.count().expect("counted at open"), seen);
    }
});
