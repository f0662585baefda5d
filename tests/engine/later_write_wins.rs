//! Late, out-of-order and repeated samples: of equal timestamps the later write is kept, wherever
//! the earlier one has got to by then.

use std::sync::Arc;

use icecore::{Engine, Options, Timestamp};

use crate::{handle, in_memory, open_on, options, values};

const MINUTE: i64 = 60_000_000_000;

/// Writes the timestamps again and again, each time with the next value, in another shape, order
/// and place; returns what must be read.
fn overwrite(engine: &Engine, round: i64) -> Vec<(i64, f64)> {
    let writer = engine.writer("rounds");
    let (a, b) = (handle(&writer, "a"), handle(&writer, "b"));
    let value = round as f64;
    // Every round reaches over several partitions, and back into those of the rounds before.
    let timestamps: Vec<i64> = (0..40).map(|i| i * MINUTE / 4).collect();
    match round % 4 {
        0 => {
            let values = vec![value; timestamps.len()];
            drop(writer.append_column(&a, timestamps.clone(), values).unwrap());
        }
        1 => {
            let backwards = timestamps.iter().rev().copied().collect();
            let values = vec![value; timestamps.len()];
            drop(writer.append_column(&a, backwards, values).unwrap());
        }
        2 => {
            let group = writer.scrape_group(&[b, a]);
            for &timestamp in &timestamps {
                drop(writer.append_scrape(&group, Timestamp(timestamp), vec![0.0, value]).unwrap());
            }
        }
        // Twice within one batch: the one that stands later wins.
        _ => {
            let twice = timestamps.iter().flat_map(|&t| [t, t]).collect();
            let values = timestamps.iter().flat_map(|_| [-1.0, value]).collect();
            drop(writer.append_column(&a, twice, values).unwrap());
        }
    }
    engine.sync().unwrap();
    timestamps.into_iter().map(|timestamp| (timestamp, value)).collect()
}

fn small() -> Options {
    let partition = std::time::Duration::from_secs(60);
    Options { partition, chunk_samples_max: 16, freeze_on_close: false, ..options() }
}

#[test]
fn the_later_write_wins_across_head_parts_log_and_reopening() {
    let (mut engine, fs) = in_memory(small());
    for round in 0..24 {
        let expected = overwrite(&engine, round);
        assert_eq!(values(&engine, "a"), expected, "round {round}");
        match round % 5 {
            1 | 3 => engine.freeze().unwrap(),
            2 => {
                engine.close().unwrap();
                engine = open_on(Arc::new(fs.clone()), small()).unwrap();
            }
            _ => {}
        }
        assert_eq!(values(&engine, "a"), expected, "after round {round}");
    }
    assert!(engine.stats().unwrap().parts.len() > 5);
}

#[test]
fn samples_out_of_order_come_back_in_order() {
    let (engine, fs) = in_memory(small());
    let writer = engine.writer("late");
    let a = handle(&writer, "a");
    // A permutation of 0..997: 5 generates the multiplicative group.
    let order: Vec<i64> = (1..997)
        .scan(1, |at, _| {
            *at = *at * 7 % 997;
            Some(*at)
        })
        .collect();
    for piece in order.chunks(10) {
        let values = piece.iter().map(|&t| t as f64).collect();
        drop(writer.append_column(&a, piece.to_vec(), values).unwrap());
        if piece[0] % 90 == 0 {
            engine.freeze().unwrap();
        }
    }
    engine.sync().unwrap();
    let expected: Vec<(i64, f64)> = (1..997).map(|t| (t, t as f64)).collect();
    assert_eq!(values(&engine, "a"), expected);
    drop(engine);
    assert_eq!(values(&open_on(Arc::new(fs), small()).unwrap(), "a"), expected);
}
