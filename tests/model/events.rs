//! Random appends, freezes, restarts, kills, merges and tables that grow, against a plain list of
//! rows. `ICECORE_MODEL_SEEDS` as for the model of series.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{CompactScope, Environment, MaintenanceStep, Receipt};
use icecore::model::{EventColumn, EventKind, EventRows, EventSchema, EventValue};
use icecore::options::{Durability, GateOptions, Maintenance};
use icecore::query::{CancelToken, EventOrder, EventPredicate, EventRequest, EventTest};
use icecore::store::StoreKind;
use icecore::{Engine, EventWriter, Options, SimulatedClock, TimeRange, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::support::fault_fs::SimFs;

const TABLES: [&str; 2] = ["queries", "calls"];
const KINDS: [EventKind; 5] =
    [EventKind::Integer, EventKind::Text, EventKind::Float, EventKind::Boolean, EventKind::Text];

type Row = (i64, Vec<EventValue>);

struct Case {
    rng: StdRng,
    fs: SimFs,
    clock: Arc<SimulatedClock>,
    engine: Option<Engine>,
    writers: Vec<EventWriter>,
    /// Columns of each table so far.
    widths: [usize; 2],
    /// Rows of each table, as they arrived.
    reference: [Vec<Row>; 2],
    receipts: Vec<Receipt>,
    newest: i64,
}

fn schema(table: usize, width: usize) -> EventSchema {
    let kinds = KINDS.iter().enumerate().take(width);
    let columns = kinds.map(|(at, &kind)| EventColumn::new(format!("c{at}"), kind));
    EventSchema::new(TABLES[table], columns.collect()).unwrap()
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut case = Self {
            rng: StdRng::seed_from_u64(seed),
            fs: SimFs::new(),
            clock: Arc::new(SimulatedClock::new(Timestamp(0))),
            engine: None,
            writers: Vec::new(),
            widths: [1, 3],
            reference: Default::default(),
            receipts: Vec::new(),
            newest: 0,
        };
        case.open();
        case
    }

    fn open(&mut self) {
        let options = Options {
            store: StoreKind::Flat,
            partition: Duration::from_secs(60),
            head_bytes_max: 1 << 16,
            log_file_bytes_max: 1 << 16,
            freeze_on_close: self.rng.random(),
            free_bytes_min: 0,
            threads: 2,
            self_metrics: None,
            maintenance: Maintenance::ByHand,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            ..Options::default()
        };
        let fs = Arc::new(self.fs.clone());
        let environment = Environment { fs, clock: Arc::clone(&self.clock) as _ };
        self.engine = Some(Engine::open_in(Path::new("/store"), options, environment).unwrap());
        self.writers = (0..2).map(|table| self.writer(table, self.widths[table])).collect();
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn writer(&self, table: usize, width: usize) -> EventWriter {
        let writer = self.engine().events(&schema(table, width)).unwrap();
        writer.with_durability(Durability::Logged)
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..60 => self.append(),
            60..66 => self.engine().freeze().unwrap(),
            66..70 => self.reopen(),
            70..74 => self.kill(),
            74..80 => self.maintain(),
            80..82 => self.compact(),
            82..84 => self.grow(),
            _ => self.check_some(),
        }
    }

    fn value(&mut self, kind: EventKind) -> EventValue {
        if self.rng.random_bool(0.2) {
            return EventValue::Null;
        }
        match kind {
            EventKind::Integer => match self.rng.random_range(0..10) {
                0 => EventValue::Integer(self.rng.random()),
                _ => EventValue::Integer(self.rng.random_range(0..1000)),
            },
            EventKind::Float => match self.rng.random_range(0..10) {
                0 => EventValue::Float(f64::from_bits(self.rng.random())),
                _ => EventValue::Float(f64::from(self.rng.random_range(0..1000)) / 8.0),
            },
            EventKind::Boolean => EventValue::Boolean(self.rng.random()),
            EventKind::Text => match self.rng.random_range(0..8) {
                0 => format!("only {}", self.rng.next_u32()).into(),
                at => ["ok", "error", "späť", "", "lake", "cache", "x"][at - 1].into(),
            },
        }
    }

    fn append(&mut self) {
        let table = self.rng.random_range(0..2);
        // Sometimes a program that knows fewer columns.
        let older = self.rng.random_bool(0.1);
        let width =
            if older { self.rng.random_range(1..=self.widths[table]) } else { self.widths[table] };
        let writer = if older { self.writer(table, width) } else { self.writers[table].clone() };
        let mut batch = writer.batch();
        for _ in 0..self.rng.random_range(1..40) {
            if self.rng.random_bool(0.6) {
                self.newest += self.rng.random_range(1..2_000_000_000);
            }
            let time = match self.rng.random_range(0..12) {
                0 => self.rng.random_range(0..=self.newest),
                _ => self.newest,
            };
            let mut values: Vec<EventValue> =
                KINDS.iter().take(width).map(|&kind| self.value(kind)).collect();
            batch.push(time, values.iter().cloned()).unwrap();
            values.resize(KINDS.len(), EventValue::Null);
            self.reference[table].push((time, values));
        }
        self.receipts.push(writer.append_batch(batch).unwrap());
    }

    fn grow(&mut self) {
        let table = self.rng.random_range(0..2);
        self.widths[table] = (self.widths[table] + 1).min(KINDS.len());
        self.writers[table] = self.writer(table, self.widths[table]);
    }

    fn settle(&mut self) {
        for receipt in self.receipts.drain(..) {
            assert_eq!(receipt.wait().unwrap().refused, 0);
        }
    }

    fn reopen(&mut self) {
        self.settle();
        self.engine.take().unwrap().close().unwrap();
        self.open();
        self.check_all();
    }

    fn kill(&mut self) {
        self.settle();
        let restarted = self.fs.restart();
        drop(self.engine.take());
        self.fs = restarted;
        self.open();
        self.check_all();
    }

    fn maintain(&mut self) {
        self.settle();
        self.clock.set(Timestamp(self.newest));
        for _ in 0..self.rng.random_range(1..6) {
            let Some(step) = self.engine().maintain().unwrap() else { break };
            assert!(!matches!(step, MaintenanceStep::Failed { .. }), "{step:?}");
        }
        self.check_all();
    }

    fn compact(&mut self) {
        self.settle();
        self.clock.set(Timestamp(self.newest));
        let step = &mut |step: &MaintenanceStep| {
            assert!(!matches!(step, MaintenanceStep::Failed { .. }), "{step:?}");
        };
        self.engine().compact(CompactScope::All, &CancelToken::new(), step).unwrap();
        self.check_all();
    }

    fn listed(rows: &EventRows) -> Vec<String> {
        let values = |row| (0..rows.columns.len()).map(|at| rows.value(row, at)).collect();
        let listed = rows.times.iter().enumerate();
        listed.map(|(row, &time)| Self::shown(&(time, values(row)))).collect()
    }

    /// Floats bit for bit.
    fn shown((time, values): &Row) -> String {
        let bits = |value: &EventValue| match value {
            EventValue::Float(value) => format!("{:x}", value.to_bits()),
            other => format!("{other:?}"),
        };
        format!("{time} {:?}", values.iter().map(bits).collect::<Vec<_>>())
    }

    fn check(&self, table: usize, request: &EventRequest, passes: impl Fn(&Row) -> bool) {
        // A table is known once it has a row, or was declared in this run.
        let width = self.engine().event_schema(TABLES[table]).unwrap().columns().len();
        let mut expected: Vec<Row> = self.reference[table]
            .iter()
            .filter(|row| request.range.contains(Timestamp(row.0)) && passes(row))
            .map(|(time, values)| (*time, values[..width].to_vec()))
            .collect();
        expected.sort_by_key(|(time, _)| *time);
        if let EventOrder::Largest(_) = request.order {
            let key =
                |row: &Row| if let EventValue::Integer(n) = row.1[0] { Some(n) } else { None };
            expected.retain(|row| key(row).is_some());
            expected.sort_by_key(|row| std::cmp::Reverse(key(row)));
        }
        expected.truncate(request.limit.map_or(usize::MAX, |limit| limit as usize));
        let expected: Vec<String> = expected.iter().map(Self::shown).collect();
        let answer = self.engine().scan_events(request).unwrap();
        assert_eq!(Self::listed(&answer.rows), expected, "{request:?}");
        if request.order == EventOrder::Time {
            let mut streamed = Vec::new();
            let visit = |rows: EventRows| {
                streamed.extend(Self::listed(&rows));
                Ok(())
            };
            self.engine().for_each_event_group(request, visit).unwrap();
            assert_eq!(streamed, expected, "{request:?}, group by group");
        }
    }

    fn check_all(&self) {
        for (table, name) in TABLES.iter().enumerate() {
            self.check(table, &EventRequest::new(*name, TimeRange::ALL), |_| true);
        }
    }

    fn check_some(&mut self) {
        self.settle();
        let table = self.rng.random_range(0..2);
        let (a, b) =
            (self.rng.random_range(0..=self.newest), self.rng.random_range(0..=self.newest));
        let range = TimeRange::new(Timestamp(a.min(b)), Timestamp(a.max(b) + 1));
        let all = EventRequest::new(TABLES[table], range);
        match self.rng.random_range(0..3) {
            0 => {
                let limit = Some(self.rng.random_range(0..30));
                self.check(table, &EventRequest { limit, ..all }, |_| true);
            }
            1 => {
                let least = self.rng.random_range(0..1000_i64);
                let test = EventTest::GreaterOrEqual(least.into());
                let predicates = vec![EventPredicate::new("c0", test)];
                self.check(
                    table,
                    &EventRequest { predicates, ..all },
                    |row| matches!(row.1[0], EventValue::Integer(n) if n >= least),
                );
            }
            _ => {
                let order = EventOrder::Largest("c0".into());
                let limit = Some(self.rng.random_range(1..30));
                self.check(table, &EventRequest { order, limit, ..all }, |_| true);
            }
        }
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.reopen();
        self.compact();
        self.kill();
    }
}

#[test]
fn events_answer_as_a_list_of_rows() {
    for seed in crate::seeds(0..40) {
        println!("seed {seed}");
        Case::new(seed).run(150);
    }
}
