//! What is appended comes back bit for bit, from the head, a frozen head, parts and the log; what
//! makes no sense is refused.

use std::sync::Arc;

use icecore::engine::Reason;
use icecore::model::{STALE_MARKER_BITS, Selector};
use icecore::options::Durability;
use icecore::query::{Function, Request};
use icecore::{Engine, Error, Options, TimeRange, Timestamp};

use crate::{Samples, handle, in_memory, open_on, options, read, refused, values};

const ODD_BITS: [u64; 12] = [
    0x7ff0_0000_0000_0001,
    STALE_MARKER_BITS,
    0x7ff8_0000_0000_0000,
    0xfff8_dead_beef_0001,
    0xffff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000,
    0x0000_0000_0000_0000,
];
const ODD_TIMES: [i64; 12] = [
    i64::MIN,
    i64::MIN + 1,
    -86_400_000_000_001,
    -1,
    0,
    1,
    86_400_000_000_000,
    1_700_000_000_000_000_000,
    1_700_000_000_000_000_001,
    i64::MAX - 86_400_000_000_000,
    i64::MAX - 2,
    i64::MAX - 1,
];

/// Appends the odd samples as a column, and the values again as one scrape.
fn append_odd(engine: &Engine) -> Samples {
    let writer = engine.writer("odd");
    let column: Vec<f64> = ODD_BITS.iter().map(|&bits| f64::from_bits(bits)).collect();
    let alone = handle(&writer, "alone");
    let appended = writer.append_column(&alone, ODD_TIMES.to_vec(), column.clone()).unwrap();
    assert_eq!(appended.wait().unwrap().samples, 12);
    let names: Vec<String> = (0..12).map(|i| format!("scraped{{i=\"{i:02}\"}}")).collect();
    let handles: Vec<_> = names.iter().map(|name| handle(&writer, name)).collect();
    let group = writer.scrape_group(&handles);
    for timestamp in ODD_TIMES {
        let appended = writer.append_scrape(&group, Timestamp(timestamp), column.clone()).unwrap();
        assert_eq!(appended.wait().unwrap().samples, 12);
    }
    let mut expected = Samples::new();
    expected.insert("alone".to_owned(), ODD_TIMES.into_iter().zip(ODD_BITS).collect());
    for (name, bits) in names.into_iter().zip(ODD_BITS) {
        expected.insert(name, ODD_TIMES.into_iter().map(|timestamp| (timestamp, bits)).collect());
    }
    expected
}

#[test]
fn every_bit_pattern_and_timestamp_comes_back_from_everywhere() {
    let (engine, fs) = in_memory(Options { freeze_on_close: false, ..options() });
    let expected = append_odd(&engine);
    assert_eq!(read(&engine, "{}"), expected, "from the head");
    engine.close().unwrap();
    let engine = open_on(Arc::new(fs.clone()), options()).unwrap();
    assert_eq!(engine.recovery().replayed_samples, 12 * 13);
    assert_eq!(read(&engine, "{}"), expected, "from the log");
    engine.freeze().unwrap();
    assert!(engine.stats().unwrap().head_samples == 0 && !engine.stats().unwrap().parts.is_empty());
    assert_eq!(read(&engine, "{}"), expected, "from parts");
    engine.close().unwrap();
    let engine = open_on(Arc::new(fs), options()).unwrap();
    assert_eq!(engine.recovery().replayed_samples, 0);
    assert_eq!(read(&engine, "{}"), expected, "from parts, opened again");
    let bounds = engine.time_bounds().unwrap();
    assert_eq!(bounds, Some((Timestamp(i64::MIN), Timestamp(i64::MAX - 1))));
}

/// While the committer is stuck, the samples are in a frozen head, which nothing else shows.
#[test]
fn a_frozen_head_answers_while_it_is_committed() {
    let fs = crate::support::fault_fs::SimFs::new();
    let engine = open_on(Arc::new(fs.clone()), options()).unwrap();
    let expected = append_odd(&engine);
    engine.sync().unwrap();
    // Rotating the log takes five calls; the first call of the committer fails, and the frozen
    // head stays where it is.
    fs.arm(6, crate::support::fault_fs::Fault::Error(std::io::ErrorKind::Other));
    assert!(engine.freeze().is_err());
    let stats = engine.stats().unwrap();
    assert!(stats.parts.is_empty(), "the fault came too late");
    assert_eq!((stats.head_bytes, stats.head_samples), (0, 12 * 13), "the fault came too early");
    assert_eq!(read(&engine, "{}"), expected);
}

#[test]
fn the_last_nanosecond_of_time_is_too_new() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("end");
    let series = handle(&writer, "m");
    let appended =
        writer.append_column(&series, vec![i64::MAX - 1, i64::MAX], vec![1.0, 2.0]).unwrap();
    let accepted = appended.wait().unwrap();
    assert_eq!((accepted.samples, accepted.refused), (1, 1));
    let group = writer.scrape_group(&[series]);
    let scraped = writer.append_scrape(&group, Timestamp::MAX, vec![3.0]).unwrap().wait().unwrap();
    assert_eq!((scraped.samples, scraped.refused), (0, 1));
    assert_eq!(refused(&engine, Reason::TooNew), 2);
    assert_eq!(values(&engine, "m"), [(i64::MAX - 1, 1.0)]);
}

#[test]
fn handles_and_groups_are_used_again_across_freezes_and_rotations() {
    let (engine, fs) = in_memory(Options { log_file_bytes_max: 1 << 16, ..options() });
    let writer = engine.writer("again");
    let (a, b) = (handle(&writer, "a"), handle(&writer, "b"));
    assert_eq!(a.id(), handle(&writer.clone(), "a").id());
    let group = writer.scrape_group(&[b.clone(), a.clone()]);
    assert_eq!((group.len(), group.is_empty()), (2, false));
    for i in 0..3_000_i64 {
        drop(writer.append_scrape(&group, Timestamp(2 * i), vec![i as f64, -i as f64]).unwrap());
        drop(writer.append_column(&a, vec![2 * i + 1], vec![0.5]).unwrap());
        if i % 1_000 == 500 {
            engine.freeze().unwrap();
        }
    }
    engine.sync().unwrap();
    let check = |engine: &Engine| {
        let expected: Vec<(i64, f64)> =
            (0..3_000).flat_map(|i| [(2 * i, -i as f64), (2 * i + 1, 0.5)]).collect();
        assert_eq!(values(engine, "a"), expected);
        assert_eq!(values(engine, "b").len(), 3_000);
    };
    check(&engine);
    drop(engine);
    check(&open_on(Arc::new(fs), options()).unwrap());
}

#[test]
fn wrong_lengths_and_strangers_handles_are_errors() {
    let (engine, _) = in_memory(options());
    let (other, _) = in_memory(options());
    let (writer, stranger) = (engine.writer("mine"), other.writer("theirs"));
    let (mine, theirs) = (handle(&writer, "m"), handle(&stranger, "m"));
    let invalid = |result: icecore::Result<_>, what: &str| match result.map(drop) {
        Err(Error::InvalidArgument { what: found, .. }) => assert_eq!(found, what),
        other => panic!("{other:?}"),
    };
    invalid(writer.append_column(&mine, vec![1, 2], vec![1.0]), "batch");
    invalid(writer.append_column(&mine, vec![], vec![1.0]), "batch");
    let group = writer.scrape_group(std::slice::from_ref(&mine));
    invalid(writer.append_scrape(&group, Timestamp(1), vec![]), "batch");
    invalid(writer.append_scrape(&group, Timestamp(1), vec![1.0, 2.0]), "batch");
    invalid(writer.append_column(&theirs, vec![1], vec![1.0]), "series handle");
    let mixed = writer.scrape_group(&[mine, theirs.clone()]);
    invalid(writer.append_scrape(&mixed, Timestamp(1), vec![1.0, 2.0]), "series handle");
    let foreign = stranger.scrape_group(&[theirs]);
    invalid(writer.append_scrape(&foreign, Timestamp(1), vec![1.0]), "series handle");
    engine.sync().unwrap();
    assert!(read(&engine, "{}").is_empty() && engine.refusals().iter().all(|&(_, n)| n == 0));
}

#[test]
fn a_handle_of_an_earlier_opening_is_refused() {
    let (engine, fs) = in_memory(options());
    let old = handle(&engine.writer("w"), "m");
    engine.close().unwrap();
    let engine = open_on(Arc::new(fs), options()).unwrap();
    let appended = engine.writer("w").append_column(&old, vec![1], vec![1.0]);
    assert!(matches!(appended, Err(Error::InvalidArgument { what: "series handle", .. })));
}

#[test]
fn a_batch_larger_than_the_channel_is_an_error_and_the_next_is_taken() {
    let (engine, _) = in_memory(Options { channel_bytes_max: 1 << 16, ..options() });
    let writer = engine.writer("large");
    let series = handle(&writer, "m");
    let column = |samples: usize| {
        let timestamps = (0..samples as i64).collect();
        writer.append_column(&series, timestamps, vec![1.0; samples])
    };
    assert!(matches!(column(5_000), Err(Error::InvalidArgument { what: "batch", .. })));
    assert_eq!(column(4_000).unwrap().wait().unwrap().samples, 4_000);
    assert_eq!(values(&engine, "m").len(), 4_000);
}

#[test]
fn empty_batches_are_taken_and_change_nothing() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("empty").with_durability(Durability::Synced);
    let series = handle(&writer, "m");
    let column = writer.append_column(&series, vec![], vec![]).unwrap().wait().unwrap();
    let none = writer.scrape_group(&[]);
    assert!(none.is_empty());
    let scrape = writer.append_scrape(&none, Timestamp(5), vec![]).unwrap().wait().unwrap();
    assert_eq!((column.samples, column.refused, scrape.samples, scrape.refused), (0, 0, 0, 0));
    engine.freeze().unwrap();
    let stats = engine.stats().unwrap();
    assert_eq!((stats.samples, stats.parts.len()), (0, 0));
    assert_eq!(engine.time_bounds().unwrap(), None);
    let request = Request::new(TimeRange::ALL, vec![Function::Count]);
    let answer = engine.query(&Selector::parse("m").unwrap(), &request).unwrap();
    assert!(answer.groups.is_empty());
}

/// The last of equal series counts, as the later write does anywhere else; none is refused.
#[test]
fn a_series_twice_in_one_scrape_keeps_its_last_value() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("twice");
    let (a, b) = (handle(&writer, "a"), handle(&writer, "b"));
    let group = writer.scrape_group(&[a.clone(), b, a]);
    let appended = writer.append_scrape(&group, Timestamp(7), vec![1.0, 2.0, 3.0]).unwrap();
    let accepted = appended.wait().unwrap();
    assert_eq!((accepted.samples, accepted.refused), (3, 0));
    assert_eq!(values(&engine, "a"), [(7, 3.0)]);
    assert_eq!(values(&engine, "b"), [(7, 2.0)]);
}
