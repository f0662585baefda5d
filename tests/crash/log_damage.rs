//! Damaged logs: every truncation and every bit flip of a small one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore::aggregate::{Distribution, Sketch};
use icecore::fs::Fs;
use icecore::model::{Series, SeriesId};
use icecore::wal::{Writer, replay};
use icecore::{Error, ErrorKind};

use crate::log::{LOG, Written, read};
use crate::support::fault_fs::SimFs;

struct Small {
    fs: SimFs,
    records: BTreeMap<u64, Written>,
    /// The last file, and its length after the header and each group.
    path: PathBuf,
    ends: Vec<usize>,
}

/// Two files; the last has three groups of one record, all but the third synced.
fn small() -> Small {
    let fs = SimFs::new();
    let start = replay(&fs, Path::new(LOG), 0, &mut |_| Ok(())).unwrap();
    let mut writer = Writer::open(Arc::new(fs.clone()), Path::new(LOG), &start).unwrap();
    let series = Series::new("m", [("a", "b")]).unwrap();
    let mut ends = Vec::new();
    for group in 0..4u32 {
        if group == 1 {
            writer.rotate().unwrap();
            ends.push(usize::try_from(writer.file_bytes()).unwrap());
        }
        if !writer.has_series(SeriesId(3)) {
            writer.declare_series(SeriesId(3), &series).unwrap();
            writer.declare_group(1, &[SeriesId(3)]).unwrap();
        }
        if group == 2 {
            let sketch = Sketch::of(&[2.0, 3.0, 3.0]);
            let distribution = Distribution::from_parts(sketch, 8.0, 2.0, 3.0).unwrap();
            writer.push_distribution(SeriesId(3), 2, &distribution).unwrap();
        } else {
            writer.push_scrape(1, i64::from(group), &[f64::from(group)]).unwrap();
        }
        writer.write_group().unwrap();
        ends.push(usize::try_from(writer.file_bytes()).unwrap());
        if group < 3 {
            writer.sync().unwrap();
        }
    }
    ends.remove(0);
    let records = read(&fs, 0).unwrap().1;
    assert_eq!(records.len(), 4);
    Small { fs, records, path: Path::new(LOG).join(format!("{:020}.log", 2)), ends }
}

impl Small {
    /// How many records are left, `None` for corruption; what is left is what was written.
    fn left_of(&self, bytes: &[u8]) -> Option<usize> {
        self.fs.set_content(&self.path, bytes);
        match read(&self.fs, 0) {
            Ok((_, found)) => {
                let prefix = self.records.iter().take(found.len());
                assert!(found.iter().eq(prefix), "a wrong record: {found:?}");
                Some(found.len())
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                None
            }
        }
    }
}

#[test]
fn every_truncation_of_the_last_file_keeps_the_whole_groups() {
    let small = small();
    let whole = small.fs.content(&small.path);
    assert_eq!(small.ends.last(), Some(&whole.len()));
    for end in 0..=whole.len() {
        let groups = small.ends.iter().skip(1).filter(|&&group_end| group_end <= end).count();
        assert_eq!(small.left_of(&whole[..end]), Some(1 + groups), "cut at {end}");
    }
}

#[test]
fn a_tail_of_zeros_garbage_or_another_files_frames_is_cut() {
    let small = small();
    let whole = small.fs.content(&small.path);
    let other = small.fs.content(&Path::new(LOG).join(format!("{:020}.log", 1)));
    let tails = [vec![0; 5_000], vec![0xa7; 77], b"\xa7LFR".repeat(50), other[29..].to_vec()];
    for (at, tail) in tails.iter().enumerate() {
        let bytes = [&whole[..], tail].concat();
        assert_eq!(small.left_of(&bytes), Some(4), "tail {at}");
        let cut = [&whole[..small.ends[2]], tail].concat();
        assert_eq!(small.left_of(&cut), Some(3), "tail {at} in place of the last group");
    }
    // Its own frames a second time: the sequence numbers do not follow.
    let twice = [&whole[..], &whole[small.ends[0]..small.ends[1]]].concat();
    assert_eq!(small.left_of(&twice), Some(4));
}

#[test]
fn every_flipped_bit_cuts_an_unsynced_group_or_is_corruption() {
    let small = small();
    let whole = small.fs.content(&small.path);
    let unsynced = small.ends[2];
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let wanted = if bit / 8 < unsynced { None } else { Some(3) };
        assert_eq!(small.left_of(&damaged), wanted, "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_and_truncation_of_an_earlier_file_is_corruption() {
    let mut small = small();
    small.path = Path::new(LOG).join(format!("{:020}.log", 1));
    let whole = small.fs.content(&small.path);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(small.left_of(&damaged), None, "bit {bit}");
    }
    for end in 0..whole.len() {
        assert_eq!(small.left_of(&whole[..end]), None, "cut at {end}");
    }
}

#[test]
fn missing_files_are_told_apart() {
    let small = small();
    let first = Path::new(LOG).join(format!("{:020}.log", 1));
    let refused = |fs: &SimFs, watermark| match read(fs, watermark) {
        Err(Error::Corrupt { path, .. }) => Some(path),
        _ => None,
    };
    small.fs.remove_file(&first).unwrap();
    assert_eq!(refused(&small.fs, 0), Some(small.path.clone()), "record 1 is nowhere");
    assert_eq!(read(&small.fs, 1).unwrap().1.len(), 3, "record 1 is in a part");
    small.fs.remove_file(&small.path).unwrap();
    let (found, records) = read(&small.fs, 9).unwrap();
    assert_eq!((found.next_sequence, found.next_file, records.len()), (10, 1, 0));
}

#[test]
fn records_at_or_below_the_watermark_are_passed_over() {
    let small = small();
    for watermark in 0..=4 {
        let (found, records) = read(&small.fs, watermark).unwrap();
        assert!(records.keys().copied().eq(watermark + 1..=4));
        assert_eq!(found.data_records, 4 - watermark);
        assert_eq!(found.next_sequence, 5);
    }
    assert_eq!(read(&small.fs, 100).unwrap().0.next_sequence, 101);
}
