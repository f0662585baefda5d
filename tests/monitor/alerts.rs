//! Rules over a store: when they fire, who is told, what survives.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use icecore::model::{Metadata, MetricKind, Selector};
use icecore::monitor::alert::{
    AlertOptions, AlertState, Alerts, Callback, Change, Level, Measure, Notification, Notifier,
    NotifyError, Rule, Severity, Silence,
};
use icecore::query::{EventPredicate, EventTest, Function};
use icecore::{Engine, SimulatedClock, Timestamp};

use crate::{START, engine, last};

const MINUTE: Duration = Duration::from_secs(60);

struct World {
    dir: tempfile::TempDir,
    clock: Arc<SimulatedClock>,
    engine: Arc<Engine>,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::new(START));
    let engine = engine(dir.path(), &clock);
    World { dir, clock, engine }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

/// A minute passes, and a value is written at its end.
impl World {
    fn write(&self, series: &str, kind: MetricKind, value: f64) {
        let series = icecore::model::Series::parse(series).unwrap();
        let writer = self.engine.writer("test");
        let handle = writer.series(&series, &Metadata { kind, ..Metadata::default() }).unwrap();
        let at = self.engine.now().nanos();
        writer.append_column(&handle, vec![at], vec![value]).unwrap().wait().unwrap();
    }

    fn minute(&self, values: &[(&str, f64)]) {
        self.clock.advance(MINUTE);
        for (series, value) in values {
            self.write(series, MetricKind::Gauge, *value);
        }
    }

    /// Closes the store and opens it again.
    fn reopened(self) -> Self {
        let Self { dir, clock, engine: open } = self;
        Arc::into_inner(open).unwrap().close().unwrap();
        let engine = engine(dir.path(), &clock);
        Self { dir, clock, engine }
    }

    fn start(&self, rules: Vec<Rule>, options: AlertOptions) -> (Alerts, Receiver<Notification>) {
        let (sender, told) = channel();
        let notifier = Callback::new(move |notification: &Notification| {
            sender.send(notification.clone()).unwrap();
        });
        let engine = Arc::clone(&self.engine);
        (Alerts::start(engine, rules, vec![Box::new(notifier)], options).unwrap(), told)
    }
}

/// Evaluated only when a test says so.
fn by_hand() -> AlertOptions {
    AlertOptions { interval: Duration::from_secs(3600), ..AlertOptions::default() }
}

fn level_rule(by: &[&str]) -> Rule {
    let measure = Measure::Value {
        selector: selector("level"),
        function: Function::Max,
        window: MINUTE,
        by: by.iter().map(|label| (*label).to_owned()).collect(),
    };
    Rule::new("High", measure, Level::above(10.0).until(5.0))
}

/// `(state, labels)` of what somebody was told, after all that is under way.
fn told(received: &Receiver<Notification>) -> Vec<(AlertState, String)> {
    let mut all = Vec::new();
    while let Ok(notification) = received.recv_timeout(Duration::from_millis(200)) {
        for alert in notification.alerts {
            let values: Vec<&str> = alert.labels.iter().map(|(_, value)| value.as_str()).collect();
            all.push((alert.state, values.join(",")));
        }
    }
    all
}

#[test]
fn each_group_is_an_alert_that_holds_and_clears_by_itself() {
    use AlertState::{Firing, Pending, Resolved};
    let world = world();
    let rule = Rule {
        hold: 2 * MINUTE,
        severity: Severity::Critical,
        labels: vec![("team".to_owned(), "core".to_owned())],
        ..level_rule(&["source"])
    };
    let (alerts, received) = world.start(vec![rule], by_hand());
    let states = |alerts: &Alerts| -> Vec<AlertState> {
        alerts.active().into_iter().map(|alert| alert.state).collect()
    };
    let (a, b) = ("level{source=\"a\"}", "level{source=\"b\"}");
    for (values, expected) in [
        ([11.0, 1.0], vec![Pending]),
        ([12.0, 11.0], vec![Pending, Pending]),
        ([13.0, 9.0], vec![Firing]),
        ([7.0, 9.0], vec![Firing]),
        ([4.0, 9.0], vec![]),
    ] {
        world.minute(&[(a, values[0]), (b, values[1])]);
        alerts.evaluate().unwrap();
        assert_eq!(states(&alerts), expected, "{values:?}: {:?}", alerts.failure());
    }
    assert_eq!(told(&received), [(Firing, "a,core".to_owned()), (Resolved, "a,core".to_owned())]);
    let series = "alert_state{alert=\"High\",severity=\"critical\",team=\"core\",source=\"a\"}";
    world.engine.sync().unwrap();
    assert_eq!(last(&world.engine, series), 0.0);
    assert_eq!((alerts.failures(), alerts.deliveries().delivered), (0, 2));
    alerts.stop().unwrap();
}

#[test]
fn states_and_silences_survive_a_restart() {
    use AlertState::{Firing, Pending, Resolved};
    let world = world();
    let rules = || {
        let slow = Rule { name: "Slow".to_owned(), hold: 3 * MINUTE, ..level_rule(&[]) };
        vec![level_rule(&["source"]), slow]
    };
    let (alerts, received) = world.start(rules(), by_hand());
    world.minute(&[("level{source=\"a\"}", 11.0)]);
    alerts.evaluate().unwrap();
    assert_eq!(told(&received), [(Firing, "a".to_owned())]);
    let until = Timestamp(world.clock_now() + 3_600_000_000_000);
    let silence = Silence { comment: "known".to_owned(), ..Silence::new(selector("Slow"), until) };
    let id = alerts.silence(silence.clone()).unwrap();
    let lifted = alerts.silence(Silence::new(selector("High"), until)).unwrap();
    assert!(alerts.lift(lifted).unwrap() && !alerts.lift(lifted).unwrap());
    let before = alerts.active();
    alerts.stop().unwrap();

    // Half an hour without anybody: a wait does not go on meanwhile, a beginning stays.
    let world = world.reopened();
    world.clock.advance(Duration::from_secs(1800));
    let (alerts, received) = world.start(rules(), by_hand());
    assert_eq!(alerts.silences(), [(id, silence)]);
    let after = alerts.active();
    assert_eq!(after.iter().map(|alert| alert.state).collect::<Vec<_>>(), [Firing, Pending]);
    assert_eq!(after[0].since.0 / 1000, before[0].since.0 / 1000);
    world.minute(&[("level{source=\"a\"}", 11.0)]);
    alerts.evaluate().unwrap();
    assert_eq!(alerts.active()[1].state, Pending);
    // It still fires: whoever was told is told again, once.
    assert_eq!(told(&received), [(Firing, "a".to_owned())]);
    for _ in 0..3 {
        world.minute(&[("level{source=\"a\"}", 11.0)]);
        alerts.evaluate().unwrap();
    }
    let active = alerts.active();
    assert!(active[1].state == Firing && active[1].silenced, "{active:?}");
    assert_eq!(told(&received), []);
    // The silence is over, the alert is not.
    world.clock.advance(Duration::from_secs(3600));
    world.minute(&[("level{source=\"a\"}", 11.0)]);
    alerts.evaluate().unwrap();
    assert_eq!(told(&received), [(Firing, String::new())]);
    world.minute(&[("level{source=\"a\"}", 1.0)]);
    alerts.evaluate().unwrap();
    assert_eq!(told(&received).iter().filter(|(state, _)| *state == Resolved).count(), 2);
    alerts.stop().unwrap();
    let world = world.reopened();
    let (alerts, _) = world.start(rules(), by_hand());
    assert!(alerts.active().is_empty() && alerts.silences().is_empty());
}

impl World {
    fn clock_now(&self) -> i64 {
        self.engine.now().nanos()
    }
}

#[test]
fn absence_is_of_what_was_there() {
    let world = world();
    let known = Rule::absence("Gone", selector("level"), 2 * MINUTE, vec!["source".to_owned()]);
    let never = Rule::absence("Never", selector("nothing"), 2 * MINUTE, Vec::new());
    let (alerts, _) = world.start(vec![known, never], by_hand());
    let firing = |alerts: &Alerts| -> Vec<String> {
        alerts.evaluate().unwrap();
        let of =
            |alert: icecore::monitor::alert::Alert| format!("{}{:?}", alert.rule, alert.labels);
        alerts.active().into_iter().map(of).collect()
    };
    world.minute(&[("level{source=\"a\"}", 1.0), ("level{source=\"b\"}", 1.0)]);
    assert_eq!(firing(&alerts), ["Never[]"]);
    for _ in 0..3 {
        world.minute(&[("level{source=\"a\"}", 1.0)]);
    }
    assert_eq!(firing(&alerts), ["Gone[(\"source\", \"b\")]", "Never[]"]);
    world.minute(&[("level{source=\"b\"}", 1.0), ("nothing", 1.0)]);
    assert_eq!(firing(&alerts), Vec::<String>::new());
}

/// 99.9 % shall go well; 2 % go wrong: the budget burns 20 times too fast.
#[test]
fn a_budget_burns_in_both_windows() {
    let world = world();
    let rule = Rule::burn_rate(
        "Burns",
        (selector("done{how=\"bad\"}"), selector("done")),
        0.999,
        (60 * MINUTE, 5 * MINUTE),
        14.4,
    );
    let (alerts, _) = world.start(vec![rule], by_hand());
    let (mut good, mut bad) = (0.0, 0.0);
    let mut minutes = |count: usize, bad_share: f64| {
        for _ in 0..count {
            world.clock.advance(MINUTE);
            good += 1000.0 * (1.0 - bad_share);
            bad += 1000.0 * bad_share;
            world.write("done{how=\"good\"}", MetricKind::Counter, good);
            world.write("done{how=\"bad\"}", MetricKind::Counter, bad);
        }
        alerts.evaluate().unwrap();
        alerts.active().first().map(|alert| alert.value)
    };
    assert_eq!(minutes(120, 0.0), None);
    // The short window burns at once, the long one only 20 * 10 / 60.
    assert_eq!(minutes(10, 0.02), None);
    let burns = minutes(40, 0.02).expect("both windows burn");
    assert!((burns - 20.0 * 50.0 / 60.0).abs() < 1e-6, "{burns}");
    // It is over, and the long window still remembers.
    assert_eq!(minutes(5, 0.0), None);
}

#[test]
fn changes_are_between_two_windows() {
    let world = world();
    let change = |name: &str, change, limit| {
        let measure = Measure::Change {
            selector: selector("level"),
            function: Function::Avg,
            window: 2 * MINUTE,
            by: Vec::new(),
            change,
        };
        Rule::new(name, measure, Level::above(limit))
    };
    let rules =
        vec![change("Doubled", Change::Relative, 0.99), change("Grows", Change::PerSecond, 0.04)];
    let (alerts, _) = world.start(rules, by_hand());
    let after = |values: &[f64]| -> Vec<f64> {
        values.iter().for_each(|value| world.minute(&[("level", *value)]));
        alerts.evaluate().unwrap();
        alerts.active().into_iter().map(|alert| alert.value).collect()
    };
    assert_eq!(after(&[5.0, 5.0]), [0.0; 0]);
    assert_eq!(after(&[6.0, 6.0]), [0.0; 0]);
    assert_eq!(after(&[12.0, 12.0]), [1.0, 0.05]);
}

#[test]
fn rows_of_events_are_counted_by_a_column() {
    let host = crate::Host::new();
    let measure = Measure::Events {
        table: icecore::monitor::QUERIES.to_owned(),
        predicates: vec![EventPredicate::new("outcome", EventTest::Equal("error".into()))],
        window: 5 * MINUTE,
        by: Some("tenant".to_owned()),
    };
    let rule = Rule::new("Failing", measure, Level::above(2.0));
    let alerts =
        Alerts::start(Arc::clone(&host.engine), vec![rule], Vec::new(), by_hand()).unwrap();
    for (tenant, failures) in [("acme", 3), ("zeta", 2)] {
        for _ in 0..failures {
            let start =
                icecore::monitor::QueryStart { tenant, text: "select 1", ..Default::default() };
            host.monitor.start_query(start).fail("io");
        }
        host.monitor.start_query("select 1").finish();
    }
    host.flush();
    alerts.evaluate().unwrap();
    assert_eq!(alerts.failure().map(|(_, error)| error.to_string()), None);
    let active = alerts.active();
    assert_eq!(active.len(), 1);
    assert_eq!((active[0].labels[0].1.as_str(), active[0].value), ("acme", 3.0));
    host.clock.advance(6 * MINUTE);
    alerts.evaluate().unwrap();
    assert!(alerts.active().is_empty());
}

/// Fails so many times, then takes everything.
#[derive(Debug)]
struct Stubborn {
    failures: usize,
    transient: bool,
    attempts: Arc<Mutex<usize>>,
}

impl Notifier for Stubborn {
    fn notify(&mut self, _: &Notification) -> Result<(), NotifyError> {
        *self.attempts.lock().unwrap() += 1;
        if self.failures == 0 {
            return Ok(());
        }
        self.failures -= 1;
        Err(NotifyError { reason: "not now".to_owned(), transient: self.transient })
    }
}

#[test]
fn delivery_tries_again_where_that_may_help_and_survives_panics() {
    let world = world();
    let attempts: Vec<Arc<Mutex<usize>>> = (0..2).map(|_| Arc::default()).collect();
    let stubborn = |failures, transient, at: usize| -> Box<dyn Notifier> {
        Box::new(Stubborn { failures, transient, attempts: Arc::clone(&attempts[at]) })
    };
    let notifiers: Vec<Box<dyn Notifier>> = vec![
        stubborn(1, true, 0),
        stubborn(1, false, 1),
        Box::new(Callback::new(|_: &Notification| panic!("the host's own"))),
    ];
    let engine = Arc::clone(&world.engine);
    let alerts = Alerts::start(engine, vec![level_rule(&[])], notifiers, by_hand()).unwrap();
    world.minute(&[("level", 11.0)]);
    alerts.evaluate().unwrap();
    let began = std::time::Instant::now();
    while alerts.deliveries().delivered + alerts.deliveries().failed < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", alerts.deliveries());
        std::thread::sleep(Duration::from_millis(10));
    }
    let counts = alerts.deliveries();
    assert_eq!((counts.delivered, counts.failed, counts.dropped), (1, 2, 0));
    assert_eq!((*attempts[0].lock().unwrap(), *attempts[1].lock().unwrap()), (2, 1));
    alerts.stop().unwrap();
}

/// Groups: one notification for all alerts with equal values.
#[test]
fn alerts_of_one_group_are_told_together() {
    let world = world();
    let options = AlertOptions { group_by: vec!["zone".to_owned()], ..by_hand() };
    let (alerts, received) = world.start(vec![level_rule(&["source", "zone"])], options);
    let level = |source: &str, zone: &str| format!("level{{source=\"{source}\",zone=\"{zone}\"}}");
    let series = [level("a", "x"), level("b", "y"), level("c", "x")];
    let values: Vec<(&str, f64)> = series.iter().map(|series| (series.as_str(), 20.0)).collect();
    world.minute(&values);
    alerts.evaluate().unwrap();
    let mut groups = Vec::new();
    while let Ok(notification) = received.recv_timeout(Duration::from_millis(200)) {
        groups.push((notification.group[0].1.clone(), notification.alerts.len()));
    }
    assert_eq!(groups, [("x".to_owned(), 2), ("y".to_owned(), 1)]);
}
