//! Figures and trouble, against what was put in.

use icecore::monitor::OutcomeKind;
use icecore::report::{Kind, Report, Share, Subject};
use icecore::{Engine, Options, TimeRange};

use crate::store::{
    Call, Query, Store, a_bad_minute, at_ms, between_ms, engine, write_alert, write_of_source,
};

fn subject(name: &str) -> Subject {
    Subject::Source(name.into())
}

#[test]
fn a_bad_minute_is_told_as_it_was() {
    let report = Store::of(a_bad_minute()).report(TimeRange::ALL);
    // From the first beginning to the last end.
    assert_eq!(report.grid.range, between_ms(0, 59_960));
    assert_eq!((report.grid.step_nanos, report.grid.len()), (500_000_000, 120));
    let sums = &report.queries;
    assert_eq!(sums.count(), 1_200);
    assert_eq!(OutcomeKind::ALL.map(|kind| sums.of(kind)), [1_089, 100, 7, 0, 4]);
    // 100 slow ones of 202 ms; what failed or was broken off has no length.
    assert_eq!(sums.lengths.sketch.count(), 1_089);
    assert_eq!(sums.lengths.max_us, 202_000);
    assert_eq!(sums.lengths.sum_us, 989 * 10_000 + 100 * 202_000);
    assert_eq!(sums.engine_us, 1_200 * 2_000);
    assert_eq!(sums.waiting_us, 1_100 * 8_000 + 100 * 200_000);
    let p50 = sums.lengths.quantile(0.5).unwrap();
    assert!((p50 / 0.010 - 1.0).abs() < 0.01, "{p50}");

    let names: Vec<&str> = report.sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["lake", "orders"], "by time on critical paths");
    let orders = &report.sources[1].all;
    assert_eq!((orders.calls, orders.failed, orders.rows), (1_200, 100, 12_000));
    assert_eq!(orders.classes.get("refused"), Some(&100));
    assert_eq!(report.sources[0].all.critical_us, sums.waiting_us);

    // Ten queries a window; in flight: 20 a second, 10 ms each.
    assert_eq!(report.windows[0].began.count(), 10);
    assert_eq!(report.windows[0].in_flight_ns, 100_000_000);
    // A query of 200 ms that begins late in a window is in flight in the next, too.
    assert_eq!(report.windows[90].in_flight_ns, 10 * 10_000_000 + (152 + 102 + 52 + 2) * 1_000_000);

    let heaviest = report.heaviest();
    assert_eq!(
        (&*heaviest[0].1.text, heaviest[0].1.queries.count()),
        ("SELECT sum(x) FROM orders", 800)
    );
    assert_eq!(heaviest[1].1.queries.count(), 400);
    let critical: Vec<&str> = heaviest[0]
        .1
        .critical_us
        .iter()
        .filter(|(_, us)| **us > 0)
        .map(|(name, _)| &**name)
        .collect();
    assert_eq!(critical, ["lake"]);
}

#[test]
fn trouble_is_found_where_it_was_and_nowhere_else() {
    let report = Store::of(a_bad_minute()).report(TimeRange::ALL);
    let mut found: Vec<_> = report
        .troubles
        .iter()
        .map(|trouble| (trouble.range, &trouble.subject, trouble.kind.name()))
        .collect();
    found.sort_by_key(|(range, ..)| range.start);
    assert_eq!(
        found,
        [
            // Its end is the window behind the last hit, at 29.9 s.
            (between_ms(20_000, 30_000), &subject("orders"), "failures"),
            (between_ms(40_000, 45_000), &subject("lake"), "slow"),
            (between_ms(50_000, 52_000), &Subject::Queries, "cancelled"),
            (between_ms(55_000, 56_000), &Subject::Queries, "abandoned"),
        ]
    );
    let of = |name: &str| report.troubles.iter().find(|of| of.kind.name() == name).unwrap();
    let failures = of("failures");
    assert_eq!(failures.inside, Share { hits: 100, trials: 200 });
    assert_eq!(failures.outside, Share { hits: 0, trials: 1_000 });
    assert_eq!(failures.kind, Kind::Failures { class: "refused".into() });
    assert_eq!(
        failures.to_string(),
        "source orders: 50 % of calls failed (mostly refused), 0 % otherwise"
    );
    assert_eq!(failures.when(), "from 2026-11-27 10:00:20 to 10:00:30");
    let Kind::Slow { median, median_outside } = of("slow").kind else { panic!("{found:?}") };
    assert!((median / 0.2 - 1.0).abs() <= 0.01 && (median_outside / 0.008 - 1.0).abs() <= 0.01);
    assert_eq!(of("cancelled").to_string(), "queries: 7 cancelled, none otherwise");
}

#[test]
fn an_even_minute_has_no_trouble() {
    let even = (0..1_200).map(|number| {
        let mut query = Query::ok(number * 50, 5_000, vec![Call::ok("lake", 4_000 + number % 7)]);
        if number % 40 == 0 {
            query.outcome = "error";
            query.error = "io";
            query.calls[0] = Call { outcome: "error", error: "io", ..query.calls[0].clone() };
        }
        query
    });
    let report = Store::of(even).report(TimeRange::ALL);
    assert_eq!(report.queries.failed(), 30);
    assert_eq!(report.troubles, []);
}

#[test]
fn failures_without_a_source_are_trouble_of_queries() {
    let queries = (0..600).map(|number| {
        let mut query = Query::ok(number * 100, 5_000, vec![Call::ok("lake", 1_000)]);
        if (200..260).contains(&number) {
            (query.outcome, query.error) = ("error", "memory");
        }
        query
    });
    let report = Store::of(queries).report(TimeRange::ALL);
    assert_eq!(report.troubles.len(), 1, "{:#?}", report.troubles);
    assert_eq!(report.troubles[0].subject, Subject::Queries);
    assert_eq!(report.troubles[0].kind, Kind::Failures { class: "memory".into() });
    assert_eq!(report.troubles[0].range, between_ms(20_000, 26_000));
}

#[test]
fn rows_stand_for_as_many_queries_as_they_say() {
    let mut rare = Query::ok(0, 1_000, vec![]);
    rare.kept_one_in = 100;
    let crashed = Query { outcome: "abandoned", duration: None, ..Query::ok(10, 0, vec![]) };
    let report = Store::of([rare, Query::ok(5, 3_000, vec![]), crashed]).report(TimeRange::ALL);
    assert_eq!(report.queries.count(), 102);
    assert_eq!(
        (report.queries.lengths.sketch.count(), report.queries.lengths.sum_us),
        (101, 103_000)
    );
    assert_eq!(report.queries.of(OutcomeKind::Abandoned), 1);
    assert_eq!((report.cost.query_rows, report.cost.represented), (3, 102));
    assert_eq!(report.broken_off.len(), 1);
    assert_eq!(report.broken_off[0].duration_us, None);
}

#[test]
fn single_queries_come_slowest_first_with_their_calls() {
    let report = Store::of(a_bad_minute()).report(TimeRange::ALL);
    assert_eq!(report.slowest.len(), 15);
    let slowest = &report.slowest[0];
    assert_eq!((slowest.duration_us, slowest.began), (Some(202_000), at_ms(40_000)));
    assert_eq!(slowest.critical, Some(("lake".into(), 200_000)));
    let calls: Vec<(&str, u64)> =
        slowest.calls.iter().map(|call| (&*call.source, call.waiting_us)).collect();
    assert_eq!(calls, [("lake", 200_000), ("orders", 1_000)]);
    // The latest first: abandoned ones, then cancelled ones.
    let ended: Vec<&str> = report.broken_off.iter().map(|query| query.outcome.name()).collect();
    assert_eq!(ended, [&["abandoned"; 4][..], &["cancelled"; 7][..]].concat());
}

#[test]
fn a_range_takes_the_queries_that_began_in_it() {
    let store = Store::of(a_bad_minute());
    let report = store.report(between_ms(10_000, 30_000));
    assert_eq!(report.grid.range, between_ms(10_000, 30_000));
    assert_eq!(report.queries.count(), 400);
    assert_eq!(report.queries.failed(), 100);
    assert_eq!(report.troubles.len(), 1);
    // Before everything, behind everything: nothing, and no error.
    for range in [between_ms(-60_000, -10_000), between_ms(90_000, 100_000)] {
        let report = store.report(range);
        assert_eq!((report.queries.count(), report.grid.range), (0, range));
    }
    // One end open.
    let report = store.report(TimeRange::new(at_ms(50_000), TimeRange::ALL.end));
    assert_eq!((report.grid.range, report.queries.count()), (between_ms(50_000, 59_960), 200));
}

#[test]
fn a_store_without_a_monitor_gives_an_empty_report() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), 1);
    let report = Report::of(&engine, TimeRange::ALL).unwrap();
    assert_eq!((report.queries.count(), report.windows.len()), (0, 0));
    assert_eq!((report.troubles.len(), report.alerts), (0, None));
    assert_eq!(report.cost.bytes_per_query, None);
}

/// Frozen, reopened without writing, with one thread or four: the same report.
#[test]
fn a_report_does_not_depend_on_threads_or_on_where_rows_live() {
    let store = Store::of(a_bad_minute());
    let live = store.report(TimeRange::ALL);
    store.engine.freeze().unwrap();
    let Store { dir, engine, .. } = store;
    std::sync::Arc::into_inner(engine).unwrap().close().unwrap();
    for threads in [1, 4] {
        let options =
            Options { read_only: true, self_metrics: None, threads, ..Options::default() };
        let engine = Engine::open(dir.path(), options).unwrap();
        let mut report = Report::of(&engine, TimeRange::ALL).unwrap();
        assert!(report.cost.bytes_per_query.is_some_and(|bytes| bytes > 5.0));
        report.cost = live.cost.clone();
        assert_eq!(report, live);
        assert_eq!(report.to_html(), live.to_html());
    }
}

#[test]
fn alerts_are_those_that_fired_in_the_range() {
    let store = Store::of(a_bad_minute());
    write_alert(&store.engine, "Refused", &[(20_500, 1.0), (22_000, 2.0), (31_000, 0.0)]);
    write_alert(&store.engine, "OnlyPending", &[(40_000, 1.0), (41_000, 0.0)]);
    write_alert(&store.engine, "Slow", &[(44_000, 2.0)]);
    store.engine.sync().unwrap();
    let report = store.report(TimeRange::ALL);
    let fired: Vec<_> = report.alerts.as_ref().unwrap().iter().collect();
    assert_eq!(fired.len(), 2, "{fired:#?}");
    assert_eq!((&*fired[0].alert, &*fired[0].severity), ("Refused", "critical"));
    assert_eq!((fired[0].began, fired[0].ended), (at_ms(22_000), Some(at_ms(31_000))));
    assert_eq!(fired[0].labels, "source=\"orders\"");
    assert_eq!((&*fired[1].alert, fired[1].ended), ("Slow", None));
    // What began before a range and fires in it counts; what was over does not.
    let later = store.report(between_ms(35_000, 60_000));
    let names: Vec<_> = later.alerts.unwrap().iter().map(|alert| alert.alert.clone()).collect();
    assert_eq!(names, ["Slow".into()]);
}

#[test]
fn health_caches_and_losses_come_from_series() {
    let store = Store::of(a_bad_minute());
    let write = |metric: &str, source: &str, values: &[(i64, f64)]| {
        write_of_source(&store.engine, metric, source, values);
    };
    write("source_health", "lake", &[(0, 0.0), (50_000, 1.0)]);
    write("source_health", "orders", &[(0, 1.0), (50_000, f64::NAN)]);
    write("source_cache_hits_total", "lake", &[(0, 0.0), (50_000, 30.0)]);
    write("source_cache_misses_total", "lake", &[(0, 0.0), (50_000, 10.0)]);
    // From the 0 that the monitor itself wrote at the beginning.
    write("monitor_records_dropped_total", "", &[(1_000, 2.0), (50_000, 9.0)]);
    store.engine.sync().unwrap();
    let report = store.report(TimeRange::ALL);
    let [lake, orders] = &*report.sources else { panic!("two sources") };
    assert_eq!((lake.health, lake.cache_hit_rate), (Some(1.0), Some(0.75)));
    assert_eq!((orders.health, orders.cache_hit_rate), (None, None));
    assert_eq!(report.cost.records_dropped, 9.0);
    let earlier = store.report(between_ms(0, 40_000));
    assert_eq!(earlier.sources[0].health, Some(0.0));
}
