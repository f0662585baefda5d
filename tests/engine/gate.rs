//! What the gate refuses, and that each refusal is counted under its reason.

use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{Environment, Reason, Refusal};
use icecore::model::{MatchOp, Matcher, Metadata, Series};
use icecore::options::{FilterRule, GateOptions, RateLimit};
use icecore::{Engine, Error, Options, SimulatedClock, Timestamp};

use crate::support::fault_fs::SimFs;
use crate::{handle, in_memory, options, refused, values};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const SECOND: i64 = 1_000_000_000;

fn gated(gate: GateOptions) -> (Engine, Arc<SimulatedClock>) {
    let clock = Arc::new(SimulatedClock::new(NOW));
    let environment = Environment { fs: Arc::new(SimFs::new()), clock: Arc::clone(&clock) as _ };
    (Engine::open_in("/store", Options { gate, ..options() }, environment).unwrap(), clock)
}

#[test]
fn the_window_is_inclusive_and_moves_with_the_clock() {
    let (past, future) = (Some(Duration::from_secs(100)), Some(Duration::from_secs(10)));
    let (engine, clock) = gated(GateOptions { past, future, ..GateOptions::default() });
    let writer = engine.writer("window");
    let series = handle(&writer, "m");
    let (oldest, newest) = (NOW.0 - 100 * SECOND, NOW.0 + 10 * SECOND);
    let timestamps = vec![newest + 1, oldest - 1, oldest, newest, NOW.0];
    let column = writer.append_column(&series, timestamps, vec![1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let accepted = column.wait().unwrap();
    assert_eq!((accepted.samples, accepted.refused), (3, 2));
    assert_eq!(values(&engine, "m"), [(oldest, 3.0), (NOW.0, 5.0), (newest, 4.0)]);

    let group = writer.scrape_group(&[series.clone(), handle(&writer, "n")]);
    let scrape = |t: i64| {
        let receipt = writer.append_scrape(&group, Timestamp(t), vec![1.0, 1.0]).unwrap();
        receipt.wait().unwrap().samples
    };
    assert_eq!([scrape(oldest), scrape(oldest - 1), scrape(newest + 1)], [2, 0, 0]);
    assert_eq!(refused(&engine, Reason::TooOld), 1 + 2);
    assert_eq!(refused(&engine, Reason::TooNew), 1 + 2);

    clock.advance(Duration::from_nanos(1));
    assert_eq!([scrape(oldest), scrape(newest + 1)], [0, 2]);
    clock.set(Timestamp::MIN);
    assert_eq!([scrape(i64::MIN), scrape(NOW.0)], [2, 0], "the window saturates");
}

fn rule(name: &str, op: MatchOp, value: &str, allow: bool) -> FilterRule {
    FilterRule { matcher: Matcher::new(name, op, value).unwrap(), allow }
}

#[test]
fn the_first_filter_rule_that_matches_decides() {
    let filters = vec![
        rule("keep", MatchOp::Equal, "yes", true),
        rule("__name__", MatchOp::Matches, "debug_.*", false),
        rule("env", MatchOp::Equal, "test", false),
        rule("__name__", MatchOp::Equal, "up", true),
        rule("zone", MatchOp::NotEqual, "a", false),
    ];
    let (engine, _) = gated(GateOptions { filters, ..GateOptions::default() });
    let writer = engine.writer("filters");
    let denied_by =
        |series: &str| match writer.series(&Series::parse(series).unwrap(), &Metadata::default()) {
            Ok(_) => None,
            Err(Refusal::Filtered { series: found, rule }) => {
                assert_eq!(found.to_string(), series);
                Some(rule)
            }
            Err(other) => panic!("{other}"),
        };
    assert_eq!(denied_by(r#"debug_x{keep="yes"}"#), None, "an allowance before the denial");
    assert_eq!(denied_by(r#"debug_x{zone="a"}"#), Some(1));
    assert_eq!(denied_by(r#"up{env="test"}"#), Some(2), "a denial before the allowance");
    assert_eq!(denied_by("up"), None);
    assert_eq!(denied_by("load"), Some(4), "an absent label is an empty value");
    assert_eq!(denied_by(r#"load{zone="a"}"#), None, "no rule matches");
    assert_eq!(refused(&engine, Reason::Filtered), 3);
    assert_eq!(engine.stats().unwrap().series, 3, "what is denied takes no place in the index");
}

#[test]
fn names_that_break_the_rules_are_counted() {
    let (engine, _) = gated(GateOptions::default());
    let writer = engine.writer("names");
    let named = |name: &str, labels: &[(&str, &str)]| {
        writer.series_named(name, labels.iter().copied(), &Metadata::default())
    };
    assert!(matches!(named("", &[]), Err(Refusal::InvalidName(Error::InvalidName { .. }))));
    assert!(matches!(named("m", &[("a", "1"), ("a", "2")]), Err(Refusal::InvalidName(_))));
    let long = "x".repeat(1 << 20);
    assert!(matches!(named("m", &[("a", &long)]), Err(Refusal::InvalidName(_))));
    let ordered = named("m", &[("b", "2"), ("a", "1")]).unwrap();
    assert_eq!(ordered.id(), handle(&writer, r#"m{a="1",b="2"}"#).id());
    assert_eq!(refused(&engine, Reason::InvalidName), 3);
}

#[test]
fn each_source_has_a_bucket_of_its_own() {
    let rate = Some(RateLimit { samples_per_second: 100, burst_samples: 50 });
    let (engine, clock) = gated(GateOptions { rate, ..GateOptions::default() });
    let (one, two) = (engine.writer("one"), engine.writer("two"));
    let series = handle(&one, "m");
    let send = |writer: &icecore::Writer, samples: usize| {
        let times = (0..samples as i64).map(|i| NOW.0 + i).collect();
        let receipt = writer.append_column(&series, times, vec![1.0; samples]).unwrap();
        let accepted = receipt.wait().unwrap();
        assert_eq!(accepted.samples + accepted.refused, samples as u64);
        accepted.samples
    };
    assert_eq!(send(&one, 51), 0, "more than the burst never passes");
    assert_eq!([send(&one, 50), send(&one, 1)], [50, 0]);
    assert_eq!([send(&two, 50), send(&two, 1)], [50, 0], "another source, another bucket");
    assert_eq!(send(&engine.writer("one"), 1), 0, "the same source, the same bucket");
    assert_eq!(send(&one.clone(), 1), 0);
    clock.advance(Duration::from_millis(100));
    assert_eq!([send(&one, 11), send(&one, 10), send(&one, 1)], [0, 10, 0]);
    let scrapes = one.scrape_group(&[series.clone(), handle(&one, "n")]);
    let scraped = one.append_scrape(&scrapes, NOW, vec![1.0, 2.0]).unwrap().wait().unwrap();
    assert_eq!((scraped.samples, scraped.refused), (0, 2));
    assert_eq!(refused(&engine, Reason::RateLimited), 51 + 1 + 1 + 1 + 1 + 11 + 1 + 2);
}

/// Refusals say how much of a batch was refused, whatever the mix of reasons.
#[test]
fn receipts_and_counters_agree() {
    let rate = Some(RateLimit { samples_per_second: 10, burst_samples: 6 });
    let past = Some(Duration::from_secs(10));
    let (engine, _) = gated(GateOptions { rate, past, ..GateOptions::default() });
    let writer = engine.writer("mix");
    let (a, b) = (handle(&writer, "a"), handle(&writer, "b"));
    let group = writer.scrape_group(&[a.clone(), b, a.clone()]);
    let (mut taken, mut refusals) = (0, 0);
    for round in 0..4 {
        let times = vec![NOW.0 + round, NOW.0 - 11 * SECOND];
        let column = writer.append_column(&a, times, vec![1.0; 2]).unwrap().wait().unwrap();
        let at = Timestamp(NOW.0 + 100 + round);
        let scrape = writer.append_scrape(&group, at, vec![1.0; 3]).unwrap().wait().unwrap();
        taken += column.samples + scrape.samples;
        refusals += column.refused + scrape.refused;
    }
    assert_eq!(taken + refusals, 4 * 5);
    assert_eq!(refusals, engine.refusals().iter().map(|&(_, samples)| samples).sum::<u64>());
}

#[test]
fn nothing_is_refused_where_nothing_is_ruled() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("free");
    let series = handle(&writer, "m");
    let receipt = writer.append_column(&series, vec![i64::MIN, 0], vec![1.0, 2.0]).unwrap();
    assert_eq!(receipt.wait().unwrap().refused, 0);
    assert!(engine.refusals().iter().all(|&(_, samples)| samples == 0));
}
