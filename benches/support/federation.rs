//! Finished queries as a federation's monitor would have them: made, one after another.

use std::sync::Arc;

use icecore::model::EventValue;
use icecore::monitor::attribution::{Attribution, Call, SourceTime, attribute};

use super::dice::Dice;
use super::{CALLS, DAY, FINGERPRINTS, MICROSECOND, SOURCES, START};

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Small numbers are frequent: about Zipf's.
    fn rank(&mut self, bound: usize) -> usize {
        ((bound as f64).powf(self.unit()) - 1.0) as usize
    }
}

/// What queries of one text usually do.
struct Fingerprint {
    name: Arc<str>,
    text: Arc<str>,
    sources: [usize; CALLS],
    /// Rows that a call reads, and bytes of each.
    rows: [f64; CALLS],
    row_bytes: [i64; CALLS],
    microseconds: f64,
    answered: f64,
}

fn fingerprints(dice: &mut Dice) -> Vec<Fingerprint> {
    let one = |dice: &mut Dice| {
        let text = format!(
            "SELECT a.c{}, sum(b.c{}) FROM t{} a JOIN t{} b ON a.id = b.id WHERE a.c{} = ? GROUP BY ?",
            dice.below(40),
            dice.below(40),
            dice.below(90),
            dice.below(90),
            dice.below(40)
        );
        let mut sources = Vec::new();
        while sources.len() < CALLS {
            let source = dice.rank(SOURCES);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        // The monitor lists a query's sources by name.
        sources.sort_unstable();
        Fingerprint {
            name: format!("{:08x}{:08x}", dice.next(), dice.next()).into(),
            text: text.into(),
            sources: std::array::from_fn(|call| sources[call]),
            // One row in three is looked up by its key.
            rows: std::array::from_fn(|_| {
                if dice.below(3) == 0 { 1.0 } else { dice.around(300.0, 1.5) as f64 }
            }),
            row_bytes: std::array::from_fn(|_| 16 + 8 * dice.below(40) as i64),
            microseconds: dice.around(15_000.0, 1.0) as f64,
            answered: dice.around(50.0, 1.5) as f64,
        }
    };
    (0..FINGERPRINTS).map(|_| one(dice)).collect()
}

/// What a call did.
struct Use {
    hit: bool,
    rows: i64,
    bytes: i64,
    began: i64,
    duration: i64,
    first: i64,
    retries: i64,
    error: Option<Arc<str>>,
}

impl Use {
    fn new(dice: &mut Dice, one: &Fingerprint, call: usize) -> Self {
        let hit = dice.below(5) == 0;
        let wanted = one.rows[call];
        let rows = if wanted <= 1.0 { 1 } else { dice.around(wanted, 0.4) };
        let bytes = rows * one.row_bytes[call] + 40;
        let waits = if hit { 300.0 } else { one.microseconds };
        let (began, duration) = (dice.around(80.0, 0.6), dice.around(waits, 0.6));
        let first = (duration as f64 * (0.3 + 0.7 * dice.unit())) as i64;
        let retries = i64::from(dice.below(200) == 0);
        Self { hit, rows, bytes, began, duration, first, retries, error: None }
    }
}

/// Makes queries, one after another.
pub struct Workload {
    dice: Dice,
    fingerprints: Vec<Fingerprint>,
    pub names: Names,
    /// Number and beginning of the latest to begin.
    begun: (i64, i64),
    /// Of those that run.
    running: Vec<(i64, i64)>,
    each: i64,
}

pub struct Names {
    users: Vec<Arc<str>>,
    tenants: Vec<Arc<str>>,
    pub sources: Vec<Arc<str>>,
    outcomes: [Arc<str>; 3],
    errors: [Arc<str>; 4],
}

impl Names {
    fn new() -> Self {
        let many =
            |what: &str, count| (0..count).map(|i| format!("{what}-{i:02}").into()).collect();
        Self {
            users: many("user", 60),
            tenants: many("tenant", 8),
            sources: many("source", SOURCES),
            outcomes: ["ok", "error", "cancelled"].map(Arc::from),
            errors: ["timeout", "connection refused", "out of memory", "bad row"].map(Arc::from),
        }
    }
}

/// Values of a row by the names of their columns; the others are null.
pub type Named = Vec<(&'static str, EventValue)>;

/// A finished query: when it began, its row, and those of its sources.
pub struct Query {
    pub began: i64,
    pub row: Named,
    pub sources: [Named; CALLS],
    pub duration: i64,
    /// Each source, and how long it was waited for.
    pub waited: [(usize, i64); CALLS],
}

/// What did not happen is null, as the monitor has it.
fn some(count: i64) -> EventValue {
    if count == 0 { EventValue::Null } else { count.into() }
}

impl Workload {
    pub fn new(a_day: i64) -> Self {
        let mut dice = Dice(42);
        let fingerprints = fingerprints(&mut dice);
        let (names, each) = (Names::new(), DAY / MICROSECOND / a_day);
        Self {
            dice,
            fingerprints,
            names,
            begun: ((START / DAY) << 32, START),
            running: Vec::new(),
            each,
        }
    }

    /// The next query to finish: one of the six that run.
    pub fn next(&mut self) -> Query {
        let Self { dice, .. } = self;
        while self.running.len() < 6 {
            let (id, time) = self.begun;
            let pause = 1 + (-dice.unit().ln() * self.each as f64) as i64;
            self.begun = (id + 1, time + pause * MICROSECOND);
            self.running.push(self.begun);
        }
        let (id, began) = self.running.remove(dice.rank(6));
        let one = &self.fingerprints[dice.rank(FINGERPRINTS)];
        let run = Run::new(dice, one, &self.names);
        let waited = std::array::from_fn(|at| {
            let SourceTime { source, waiting, .. } = run.of.sources[at];
            (source, waiting as i64)
        });
        let sources = std::array::from_fn(|at| run.source_row(id, at, &self.names));
        let row = run.row(id, dice, &self.names);
        Query { began, row, sources, duration: run.duration(), waited }
    }
}

/// What one query did.
struct Run<'a> {
    one: &'a Fingerprint,
    user: usize,
    outcome: usize,
    error: Option<Arc<str>>,
    uses: [Use; CALLS],
    of: Attribution<usize>,
    /// Plan, optimize, federate, execute, stream, and what lies between them.
    phases: [i64; 6],
    rows_out: i64,
}

impl<'a> Run<'a> {
    fn new(dice: &mut Dice, one: &'a Fingerprint, names: &Names) -> Self {
        let user = dice.rank(names.users.len());
        let (outcome, error) = match dice.below(1000) {
            0..10 => (1, Some(names.errors[dice.rank(names.errors.len())].clone())),
            10..15 => (2, None),
            _ => (0, None),
        };
        let mut uses: [Use; CALLS] = std::array::from_fn(|call| Use::new(dice, one, call));
        uses[3].error = error.clone();
        let ended = |of: &Use| of.began + of.duration;
        let calls = uses.iter().zip(one.sources);
        let calls = calls.map(|(of, source)| Call {
            source,
            began: of.began as u64,
            ended: ended(of) as u64,
        });
        let of = attribute(u64::MAX >> 1, &calls.collect::<Vec<_>>());
        let rows_in: i64 = uses.iter().map(|of| of.rows).sum();
        let rows_out = dice.around(one.answered, 0.4);
        let joined = dice.around(40.0 + rows_in as f64 / 8.0, 0.3);
        let phases = [
            dice.around(250.0, 0.3),
            dice.around(400.0, 0.3),
            dice.around(60.0, 0.3),
            uses.iter().map(ended).max().unwrap_or(0) + joined,
            20 + rows_out * 2 + dice.around(30.0, 0.3),
            dice.around(4.0, 0.3),
        ];
        Self { one, user, outcome, error, uses, of, phases, rows_out }
    }

    fn duration(&self) -> i64 {
        self.phases.iter().sum()
    }

    fn sum(&self, count: fn(&Use) -> i64) -> i64 {
        self.uses.iter().map(count).sum()
    }

    fn row(&self, id: i64, dice: &mut Dice, names: &Names) -> Named {
        let longest = self.of.sources.iter().find(|of| Some(of.source) == self.of.longest());
        let text = |text: &Arc<str>| EventValue::from(text.clone());
        let (bytes_in, duration) = (self.sum(|of| of.bytes), self.duration());
        let engine = duration - self.of.waiting as i64;
        vec![
            ("id", id.into()),
            ("fingerprint", text(&self.one.name)),
            ("text", text(&self.one.text)),
            ("tenant", text(&names.tenants[self.user % names.tenants.len()])),
            ("user", text(&names.users[self.user])),
            ("outcome", text(&names.outcomes[self.outcome])),
            ("error", self.error.clone().into()),
            ("duration", duration.into()),
            ("plan", self.phases[0].into()),
            ("optimize", self.phases[1].into()),
            ("federate", self.phases[2].into()),
            ("execute", self.phases[3].into()),
            ("stream", self.phases[4].into()),
            ("waiting", (self.of.waiting as i64).into()),
            ("critical_source", longest.map(|of| names.sources[of.source].clone()).into()),
            ("critical", longest.map(|of| of.critical as i64).into()),
            ("rows_in", some(self.sum(|of| of.rows))),
            ("rows_out", some(self.rows_out)),
            ("bytes_in", some(bytes_in)),
            ("bytes_out", some(self.rows_out * self.one.row_bytes[0])),
            ("cpu", dice.around(engine as f64 * 0.9, 0.1).into()),
            // Counted in blocks of 64 KiB.
            ("memory_peak", ((1 + bytes_in / 65_536 + dice.below(8) as i64) * 65_536).into()),
            ("spill", some(i64::from(dice.below(500) == 0) << 20)),
            ("retries", some(self.sum(|of| of.retries))),
            ("cache_hits", some(self.sum(|of| i64::from(of.hit)))),
            ("sources", (CALLS as i64).into()),
            ("marked", (duration > 1_000_000).into()),
            ("kept_one_in", 1.into()),
        ]
    }

    fn source_row(&self, id: i64, at: usize, names: &Names) -> Named {
        let (used, time) = (&self.uses[at], &self.of.sources[at]);
        let text = |text: &Arc<str>| EventValue::from(text.clone());
        let failed = used.error.is_some();
        vec![
            ("query", id.into()),
            ("source", text(&names.sources[time.source])),
            ("fingerprint", text(&self.one.name)),
            ("outcome", text(&names.outcomes[usize::from(failed)])),
            ("error", used.error.clone().into()),
            ("calls", 1.into()),
            ("failed", some(i64::from(failed))),
            ("requests", (1 + used.rows / 1000 + used.retries).into()),
            ("rows", some(used.rows)),
            ("bytes", some(used.bytes)),
            ("retries", some(used.retries)),
            ("cache_hits", some(i64::from(used.hit))),
            ("first_row", used.first.into()),
            ("longest", used.duration.into()),
            ("waiting", (time.waiting as i64).into()),
            ("critical", (time.critical as i64).into()),
        ]
    }
}
