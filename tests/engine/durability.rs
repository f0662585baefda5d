//! What each level of durability means, and that writers share syncs.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use icecore::options::Durability;
use icecore::{Engine, Options};

use crate::probe_fs::ProbeFs;
use crate::support::fault_fs::SimFs;
use crate::{eventually, handle, open_on, options, values};

fn probed(options: Options) -> (Engine, ProbeFs, SimFs) {
    let sim = SimFs::new();
    let fs = ProbeFs::new(Arc::new(sim.clone()));
    (open_on(Arc::new(fs.clone()), options).unwrap(), fs, sim)
}

/// Syncs only when asked.
fn patient() -> Options {
    Options { sync_interval: Duration::from_secs(3600), freeze_on_close: false, ..options() }
}

#[test]
fn buffered_is_ready_at_once() {
    let (engine, fs, _) = probed(options());
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    fs.hold();
    let synced = writer.clone().with_durability(Durability::Synced);
    let waiting = synced.append_column(&series, vec![0], vec![0.0]).unwrap();
    fs.wait_held();
    let buffered = writer.with_durability(Durability::Buffered);
    let receipt = buffered.append_column(&series, vec![1], vec![1.0]).unwrap();
    let accepted = receipt.try_wait().unwrap().unwrap();
    assert_eq!((accepted.samples, accepted.durability), (1, Durability::Buffered));
    assert!(waiting.try_wait().is_none());
    fs.release();
    engine.sync().unwrap();
    assert_eq!(values(&engine, "m"), [(0, 0.0), (1, 1.0)]);
}

/// A crash of the process keeps what is logged; only a sync keeps it from a power cut.
#[test]
fn logged_outlives_the_process_and_synced_the_power() {
    let (engine, fs, sim) = probed(patient());
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    let append = |t: i64, level| {
        let writer = writer.clone().with_durability(level);
        writer.append_column(&series, vec![t], vec![1.0]).unwrap().wait().unwrap().durability
    };
    let count = |sim: SimFs| values(&open_on(Arc::new(sim), patient()).unwrap(), "m").len();

    let before = fs.syncs();
    assert_eq!(append(0, Durability::Logged), Durability::Logged);
    assert_eq!(fs.syncs(), before, "nobody asked for a sync");
    assert_eq!((count(sim.restart()), count(sim.reboot(0))), (1, 0));
    assert_eq!(append(1, Durability::Synced), Durability::Synced);
    assert_eq!(fs.syncs(), before + 1);
    assert_eq!((count(sim.restart()), count(sim.reboot(0))), (2, 2));
    assert_eq!(append(2, Durability::Logged), Durability::Logged);
    assert_eq!((count(sim.restart()), count(sim.reboot(0))), (3, 2));
    engine.sync().unwrap();
    assert_eq!((fs.syncs(), count(sim.reboot(0))), (before + 2, 3));
    engine.sync().unwrap();
    assert_eq!(fs.syncs(), before + 2, "there was nothing to sync");
}

#[test]
fn writers_that_wait_for_a_sync_share_it() {
    let (engine, fs, _) = probed(patient());
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let series = handle(&writer, "m");
    let before = fs.syncs();
    fs.hold();
    let receipts: Vec<_> =
        (0..200).map(|t| writer.append_column(&series, vec![t], vec![1.0]).unwrap()).collect();
    fs.wait_held();
    fs.release();
    receipts.into_iter().for_each(|receipt| {
        assert_eq!(receipt.wait().unwrap().durability, Durability::Synced);
    });
    // The group that was held up, and the one that gathered meanwhile; a third where the first
    // was drained while the writer still sent.
    let shared = fs.syncs() - before;
    assert!((1..=20).contains(&shared), "{shared} syncs for 200 batches");
}

#[test]
fn threads_that_wait_for_each_batch_share_syncs_too() {
    let (engine, fs, _) = probed(patient());
    let before = fs.syncs();
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let writer = engine.writer("w").with_durability(Durability::Synced);
            let series = handle(&writer, &format!("m{{i=\"{i}\"}}"));
            let fs = fs.clone();
            thread::spawn(move || {
                for t in 0..25 {
                    // Slow syncs, so that the others arrive meanwhile.
                    if i == 0 {
                        fs.hold();
                        thread::sleep(Duration::from_millis(1));
                    }
                    let receipt = writer.append_column(&series, vec![t], vec![1.0]).unwrap();
                    if i == 0 {
                        thread::sleep(Duration::from_millis(1));
                        fs.release();
                    }
                    receipt.wait().unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let syncs = fs.syncs() - before;
    assert!(syncs < 200, "{syncs} syncs for 200 batches");
}

#[test]
fn the_interval_syncs_by_itself() {
    let interval = Duration::from_millis(30);
    let (engine, fs, sim) = probed(Options { sync_interval: interval, ..options() });
    let writer = engine.writer("w").with_durability(Durability::Buffered);
    let series = handle(&writer, "m");
    drop(writer.append_column(&series, vec![0], vec![1.0]).unwrap());
    let before = fs.syncs();
    eventually("a sync", || fs.syncs() > before);
    let kept = open_on(Arc::new(sim.reboot(0)), options()).unwrap();
    assert_eq!(values(&kept, "m"), [(0, 1.0)]);
    let after = fs.syncs();
    thread::sleep(3 * interval);
    assert_eq!(fs.syncs(), after, "nothing was written, so there is nothing to sync");
}
