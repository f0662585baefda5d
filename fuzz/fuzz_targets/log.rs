//! Any bytes as the last log file, or as an earlier one: an error or a replay, which is the same
//! the second time, and after the tail was cut.
//!
//! Two bytes go before: which of these shapes, and how many data records the one frame claims.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use icecore::wal::{Replay, Writer, replay};
use icecore::{Error, Result};
use libfuzzer_sys::fuzz_target;
use support::fault_fs::SimFs;

/// Another file follows.
const FOLLOWED: u8 = 1;
/// A whole file header stands before the bytes: only behind one are frames reached.
const HEADER: u8 = 2;
/// So does a frame header with right checksums: only behind one are records reached.
const FRAME: u8 = 4;

/// Where checksums stand in the two headers, and the length of a frame's.
const FILE_CRC_AT: usize = 9;
const FRAME_HEADER_BYTES: usize = 36;

fn read(fs: &SimFs) -> (Result<Replay>, Vec<String>) {
    let mut story = Vec::new();
    let found = replay(fs, Path::new("/log"), 0, &mut |record| {
        story.push(format!("{record:?}"));
        Ok(())
    });
    (found, story)
}

/// A frame header for `payload`, as docs/format.md has it.
fn frame_header(file_header: &[u8], data_records: u8, payload: &[u8]) -> Vec<u8> {
    let seed = file_header[FILE_CRC_AT..][..4].try_into().map(u32::from_le_bytes).expect("four");
    let seeded = |bytes: &[u8]| {
        let mut crc = crc32fast::Hasher::new_with_initial(seed);
        crc.update(bytes);
        crc.finalize().to_le_bytes()
    };
    let mut header = b"\xa7LFR".to_vec();
    header.extend((payload.len() as u32).to_le_bytes());
    header.extend(u32::from(data_records).to_le_bytes());
    header.extend(1_u64.to_le_bytes());
    header.extend((file_header.len() as u64).to_le_bytes());
    header.extend(seeded(payload));
    header.extend(seeded(&header));
    assert_eq!(header.len(), FRAME_HEADER_BYTES);
    header
}

fuzz_target!(|input: &[u8]| {
    let &[shape, data_records, ref bytes @ ..] = input else { return };
    let (fs, dir) = (SimFs::new(), Path::new("/log"));
    let start = read(&fs).0.expect("an empty log");
    let mut writer = Writer::open(Arc::new(fs.clone()), dir, &start).expect("a first file");
    if shape & FOLLOWED != 0 {
        writer.rotate().expect("a second file");
    }
    let path = dir.join("00000000000000000001.log");
    let mut content = fs.content(&path);
    if shape & FRAME != 0 {
        content.extend(frame_header(&content, data_records, bytes));
    } else if shape & HEADER == 0 {
        content.clear();
    }
    content.extend_from_slice(bytes);
    fs.set_content(&path, &content);

    let ((found, story), (again, same)) = (read(&fs), read(&fs));
    assert_eq!(story, same);
    match (found, again) {
        (Ok(found), Ok(again)) => {
            assert_eq!(found, again);
            found.settle(&fs).expect("the tail is cut");
            let (settled, left) = read(&fs);
            assert!(settled.expect("a whole log").tail.is_none());
            assert_eq!(left, story);
        }
        (Err(error @ Error::Corrupt { .. }), Err(again)) => {
            assert_eq!(error.to_string(), again.to_string());
        }
        (found, again) => panic!("{found:?}, then {again:?}"),
    }
});
