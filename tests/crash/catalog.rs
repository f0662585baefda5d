//! The catalog is replaced whole, whatever happens meanwhile.

use std::io::ErrorKind;
use std::path::Path;

use icecore::catalog::{CATALOG_FILE, Catalog, PartEntry, load, save};
use icecore::fs::Fs;
use icecore::part::Layout;
use icecore::{Tier, TimeRange, Timestamp};

use crate::support::fault_fs::{Fault, SimFs};

pub(crate) fn part(id: u64, rank: u64) -> PartEntry {
    PartEntry {
        id,
        rank,
        window: TimeRange::new(Timestamp(-100), Timestamp(7_200)),
        first: Timestamp(-100),
        last: Timestamp(7_199),
        samples: 10,
        series: 2,
        segments: 1,
        bytes: 4_096,
        meta_crc: 0xdead_beef,
        store: 1,
        tier: Tier::RAW,
        layout: Layout::Samples,
        tombstones: 0,
    }
}

/// The catalogs a store goes through, each saved in turn.
fn history() -> Vec<Catalog> {
    let empty = Catalog::new(7, Timestamp(1), 7_300);
    let two = empty.with_added(&[part(1, 40), part(2, 50)], 50).unwrap();
    let merged = two.with_replaced(&[1, 2], &[part(3, 50)], 50).unwrap();
    let more = merged.with_added(&[part(4, 90)], 99).unwrap();
    let gone = more.with_removed(&[3, 4]).unwrap();
    vec![empty, two, merged, more, gone]
}

/// Saves the history until a call fails; returns how many saves succeeded.
fn run(fs: &SimFs) -> usize {
    let saved = |catalog: &&Catalog| save(fs, Path::new("/db"), catalog).is_ok();
    history().iter().take_while(saved).count()
}

fn fresh() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new("/db")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// What is there is the last catalog saved, or the one whose saving was under way.
fn check(fs: &SimFs, saved: usize, story: &str) {
    let found = load(fs, Path::new("/db")).unwrap_or_else(|error| panic!("{story}: {error}"));
    let history = history();
    let before = saved.checked_sub(1).map(|at| &history[at]);
    let wanted = [before, history.get(saved)];
    assert!(wanted.contains(&found.as_ref()), "{story}: found {found:?}");
    let successor = found.map_or_else(
        || history[0].clone(),
        |catalog| catalog.with_added(&[part(catalog.next_part, 100)], 100).unwrap(),
    );
    save(fs, Path::new("/db"), &successor).unwrap_or_else(|error| panic!("{story}: {error}"));
    let image = fs.reboot(0);
    assert_eq!(load(&image, Path::new("/db")).unwrap(), Some(successor), "{story}");
}

#[test]
fn every_failing_call_leaves_the_old_or_the_new() {
    for fault in [Fault::Error(ErrorKind::Other), Fault::ShortWrite, Fault::Cut] {
        let mut met = 0;
        for nth in 1.. {
            let fs = fresh();
            fs.arm(nth, fault);
            let saved = run(&fs);
            if !fs.fired() {
                assert_eq!(saved, history().len());
                break;
            }
            met += 1;
            check(&fs.restart(), saved, &format!("{fault:?} at {nth}, restarted"));
            for seed in 0..24 {
                let story = format!("{fault:?} at {nth}, power cut, seed {seed}");
                check(&fs.reboot(seed), saved, &story);
            }
        }
        assert!(met >= 5 * history().len() as u64, "{met} calls");
    }
}

#[test]
fn every_flip_and_cut_of_the_file_is_an_error() {
    let fs = fresh();
    save(&fs, Path::new("/db"), &history()[3]).unwrap();
    let path = Path::new("/db").join(CATALOG_FILE);
    let whole = fs.content(&path);
    for end in 0..whole.len() {
        fs.set_content(&path, &whole[..end]);
        assert!(load(&fs, Path::new("/db")).is_err(), "cut at {end}");
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs.set_content(&path, &damaged);
        assert!(load(&fs, Path::new("/db")).is_err(), "bit {bit}");
    }
    let mut longer = whole;
    longer.push(0);
    fs.set_content(&path, &longer);
    assert!(load(&fs, Path::new("/db")).is_err(), "a byte too many");
}
