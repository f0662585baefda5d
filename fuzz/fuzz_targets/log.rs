//! Any bytes as the last log file, or as an earlier one: an error or a replay, which is the same
//! the second time, and never a panic.
#![no_main]

use std::sync::Arc;

use icecore::fs::{Fs, RealFs};
use icecore::wal::{Writer, replay};
use libfuzzer_sys::fuzz_target;

// With or without a file that follows, and with or without a valid header before the bytes: only
// behind one are frames reached.
fuzz_target!(|input: (bool, bool, Vec<u8>)| {
    let (followed, with_header, bytes) = input;
    let Ok(store) = tempfile::tempdir() else { return };
    let dir = store.path().join("log");
    let start = replay(&RealFs, &dir, 0, &mut |_| Ok(())).expect("an empty log");
    let mut writer = Writer::open(Arc::new(RealFs), &dir, &start).expect("a first file");
    if followed {
        writer.rotate().expect("a second file");
    }
    let path = dir.join("00000000000000000001.log");
    if with_header {
        RealFs.open_append(&path).and_then(|mut file| file.write_all(&bytes)).expect("a write");
    } else {
        std::fs::write(&path, &bytes).expect("a write");
    }
    let read = || {
        let mut story = Vec::new();
        let result = replay(&RealFs, &dir, 0, &mut |record| {
            story.push(format!("{record:?}"));
            Ok(())
        });
        (result.ok(), story)
    };
    let (first, again) = (read(), read());
    assert_eq!(first, again);
    if let Some(found) = first.0 {
        found.settle(&RealFs).expect("the tail is cut");
        let (settled, story) = read();
        assert!(settled.is_some_and(|settled| settled.tail.is_none()));
        assert_eq!(story, first.1);
    }
});
