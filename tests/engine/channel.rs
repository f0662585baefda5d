//! What a full channel does, with the ingest thread held up in a sync.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use icecore::engine::{Reason, SeriesHandle};
use icecore::model::{Metadata, MetricKind, Series};
use icecore::options::{Durability, WhenFull};
use icecore::{Engine, Options, Writer};

use crate::probe_fs::ProbeFs;
use crate::support::fault_fs::SimFs;
use crate::{handle, open_on, options, refused, values};

/// An engine whose ingest thread stands in a sync until [`ProbeFs::release`].
fn stuck(options: Options) -> (Engine, ProbeFs, Writer, SeriesHandle) {
    let fs = ProbeFs::new(Arc::new(SimFs::new()));
    let engine = open_on(Arc::new(fs.clone()), options).unwrap();
    let writer = engine.writer("w");
    let series = handle(&writer, "m");
    fs.hold();
    let synced = writer.clone().with_durability(Durability::Synced);
    drop(synced.append_column(&series, vec![-1], vec![-1.0]).unwrap());
    fs.wait_held();
    (engine, fs, writer, series)
}

fn small() -> Options {
    Options { channel_batches_max: 4, channel_bytes_max: 1 << 16, ..options() }
}

/// A batch of 1,024 samples, 16 KiB and an envelope: three fit into 64 KiB.
fn batch(number: i64) -> (Vec<i64>, Vec<f64>) {
    ((number * 1024..(number + 1) * 1024).collect(), vec![number as f64; 1024])
}

#[test]
fn drop_never_blocks_and_counts() {
    let (engine, fs, writer, series) = stuck(small());
    let writer = writer.with_when_full(WhenFull::Drop).with_durability(Durability::Logged);
    let began = Instant::now();
    let receipts: Vec<_> =
        (0..100).map(|i| writer.append_column(&series, vec![i], vec![i as f64]).unwrap()).collect();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // In batches: those that were dropped say so at once, the four that wait do not.
    let dropped: u64 =
        receipts.iter().filter_map(|receipt| receipt.try_wait()).map(|r| r.unwrap().refused).sum();
    assert_eq!((dropped, refused(&engine, Reason::ChannelFull)), (96, 96));
    fs.release();
    let taken: u64 = receipts.into_iter().map(|receipt| receipt.wait().unwrap().samples).sum();
    assert_eq!(taken, 4);
    let expected = [(-1, -1.0), (0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)];
    assert_eq!(values(&engine, "m"), expected);
}

#[test]
fn bytes_are_bounded_as_batches_are() {
    let (engine, fs, writer, series) = stuck(Options { channel_batches_max: 1024, ..small() });
    let writer = writer.with_when_full(WhenFull::Drop);
    let taken = (0..50).filter(|&i| {
        let (times, values) = batch(i);
        writer.append_column(&series, times, values).unwrap().wait_timeout(Duration::ZERO).is_none()
    });
    assert_eq!(taken.count(), 3);
    assert_eq!(refused(&engine, Reason::ChannelFull), 47 * 1024);
    fs.release();
    engine.sync().unwrap();
    assert_eq!(values(&engine, "m").len(), 1 + 3 * 1024);
}

#[test]
fn waiting_up_to_a_time_waits_that_long_and_no_longer() {
    let timeout = Duration::from_millis(60);
    // Short of batches, then short of bytes.
    for channel_batches_max in [2, 1024] {
        let (engine, fs, writer, series) = stuck(Options { channel_batches_max, ..small() });
        let writer = writer.with_when_full(WhenFull::WaitUpTo(timeout));
        for i in 0..3 {
            let (times, values) = batch(i);
            drop(writer.append_column(&series, times, values).unwrap());
        }
        let began = Instant::now();
        let (times, values) = batch(3);
        let refused_now = writer.append_column(&series, times, values).unwrap().wait().unwrap();
        assert_eq!(refused_now.refused, 1024);
        let took = began.elapsed();
        assert!(took >= timeout && took < timeout + Duration::from_secs(2), "{took:?}");
        assert!(refused(&engine, Reason::ChannelFull) >= 1024);
        // Room in time is used.
        let late = thread::spawn({
            let (fs, pause) = (fs.clone(), Duration::from_millis(10));
            move || {
                thread::sleep(pause);
                fs.release();
            }
        });
        let patient = writer.clone().with_when_full(WhenFull::WaitUpTo(Duration::from_secs(30)));
        let (times, values) = batch(4);
        let taken = patient.append_column(&series, times, values).unwrap().wait().unwrap();
        assert_eq!(taken.samples, 1024);
        late.join().unwrap();
    }
}

#[test]
fn waiting_waits_for_room_and_loses_nothing() {
    let (engine, fs, writer, series) = stuck(small());
    let writers: Vec<_> = (0..3)
        .map(|part| {
            let (writer, series) = (writer.clone(), series.clone());
            thread::spawn(move || {
                for i in 0..20 {
                    let (times, values) = batch(part * 20 + i);
                    drop(writer.append_column(&series, times, values).unwrap());
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(40));
    assert!(writers.iter().all(|writer| !writer.is_finished()), "nobody waited");
    fs.release();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    engine.sync().unwrap();
    assert_eq!(values(&engine, "m").len(), 1 + 60 * 1024);
    assert_eq!(refused(&engine, Reason::ChannelFull), 0);
}

/// Telling a metric's metadata waited for room in the channel, whatever the writer had chosen.
#[test]
fn resolving_a_series_never_waits_for_the_channel() {
    let (engine, fs, writer, series) = stuck(small());
    let writer = writer.with_when_full(WhenFull::Drop);
    for i in 0..20 {
        drop(writer.append_column(&series, vec![i], vec![0.0]).unwrap());
    }
    let metadata = Metadata { kind: MetricKind::Gauge, ..Metadata::default() };
    let (known, named) = (metadata.clone(), writer.clone());
    let resolved = thread::spawn(move || {
        named.series(&Series::parse("m").unwrap(), &known).unwrap();
        named.series(&Series::parse("new").unwrap(), &known).unwrap()
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while !resolved.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    let blocked = !resolved.is_finished();
    fs.release();
    resolved.join().unwrap();
    assert!(!blocked, "resolving a series waited for the ingest thread");
    assert_eq!(engine.metadata("m"), Some(metadata.clone()));
    assert_eq!(engine.metadata("new"), Some(metadata));
}

/// What the engine holds while its disk stands still: the channel, not what was offered.
#[test]
fn memory_is_bounded_while_the_disk_stands_still() {
    let (engine, fs, writer, series) = stuck(small());
    let writer = writer.with_when_full(WhenFull::Drop);
    for i in 0..1_000 {
        let (times, values) = batch(i);
        drop(writer.append_column(&series, times, values).unwrap());
    }
    let stats = engine.stats().unwrap();
    assert!(stats.head_bytes < 1 << 16, "{} bytes in the head", stats.head_bytes);
    assert_eq!(refused(&engine, Reason::ChannelFull), 997 * 1024);
    fs.release();
    engine.close().unwrap();
}
