//! Operations on an engine, decoded from bytes, with reopenings, kills and power cuts in a
//! simulated file system, against a plain map: `tests/model` with libFuzzer choosing the steps.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore::engine::{Environment, Receipt, SeriesHandle, Writer};
use icecore::model::{Metadata, STALE_MARKER_BITS, Selector, Series};
use icecore::options::{Durability, GateOptions};
use icecore::query::{Function, Request, SampleRequest};
use icecore::store::StoreKind;
use icecore::{Engine, Options, SimulatedClock, TimeRange, Timestamp};
use libfuzzer_sys::fuzz_target;
use support::fault_fs::SimFs;

const SERIES: usize = 4;
/// Opening and closing takes a millisecond or so: this bounds a run.
const STEPS_MAX: usize = 48;

/// The values a byte can name, besides small whole numbers.
const VALUES: [u64; 8] = [
    STALE_MARKER_BITS,
    0x7ff8_0000_0000_beef,
    0x8000_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x3fb9_9999_9999_999a,
];

/// By series: timestamp → bits of the value. What the engine must answer.
type Reference = [BTreeMap<i64, u64>; SERIES];

/// Reads the steps; zeros once the input has ended.
struct Steps<'a>(&'a [u8]);

impl Steps<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// Steps of nanoseconds to hours in both directions from `newest`, and the ends of time.
    fn timestamp(&mut self, newest: &mut i64) -> i64 {
        let byte = self.byte();
        let units = i64::from(self.byte() as i8);
        let timestamp = match byte & 7 {
            0..4 => newest.saturating_add(1_000_000_000),
            4 => newest.saturating_add(units),
            5 => newest.saturating_add(units * 1_000_000_000),
            6 => newest.saturating_add(units * 1_000_000_000_000),
            _ => [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1][(units & 3) as usize],
        };
        if byte & 128 == 0 && timestamp < i64::MAX - 1 {
            *newest = timestamp;
        }
        timestamp.min(i64::MAX - 1)
    }

    fn value(&mut self) -> f64 {
        let byte = self.byte();
        let special = VALUES.get(usize::from(byte)).copied();
        special.map_or(f64::from(byte as i8), f64::from_bits)
    }
}

struct Case {
    fs: SimFs,
    freeze_on_close: bool,
    open: Option<(Engine, Writer)>,
    handles: Vec<SeriesHandle>,
    reference: Reference,
    receipts: Vec<Receipt>,
    newest: i64,
}

fn series(i: usize) -> Series {
    Series::new(["up", "requests_total"][i % 2], [("host", ["a", "b"][i / 2])]).expect("a series")
}

impl Case {
    fn open(&mut self) {
        let options = Options {
            store: StoreKind::Flat,
            partition: Duration::from_secs(60),
            // Small, so that chunks are many.
            chunk_samples_max: 16,
            segment_bytes_target: 4096,
            head_bytes_max: 1 << 16,
            log_file_bytes_max: 1 << 16,
            freeze_on_close: self.freeze_on_close,
            free_bytes_min: 0,
            threads: 1,
            self_metrics: None,
            gate: GateOptions { past: None, future: None, ..GateOptions::default() },
            ..Options::default()
        };
        let clock = Arc::new(SimulatedClock::new(Timestamp(0)));
        let environment = Environment { fs: Arc::new(self.fs.clone()), clock };
        let engine = Engine::open_in(Path::new("/store"), options, environment).expect("opens");
        let writer = engine.writer("fuzz").with_durability(Durability::Logged);
        let handle = |i| writer.series(&series(i), &Metadata::default()).expect("let in");
        self.handles = (0..SERIES).map(handle).collect();
        self.open = Some((engine, writer));
    }

    fn engine(&self) -> &Engine {
        &self.open.as_ref().expect("open").0
    }

    fn writer(&self) -> &Writer {
        &self.open.as_ref().expect("open").1
    }

    fn step(&mut self, steps: &mut Steps<'_>) {
        match steps.byte() % 16 {
            0..5 => self.column(steps),
            5..9 => self.scrape(steps),
            9 | 10 => {
                self.settle();
                self.engine().freeze().expect("freezes");
            }
            11 => {
                self.settle();
                self.open.take().expect("open").0.close().expect("closes");
                self.open();
            }
            12 => self.restart(None),
            13 => self.restart(Some(steps.byte())),
            _ => {
                let (a, b) = (self.near(steps), self.near(steps));
                self.settle();
                let range = TimeRange::new(Timestamp(a.min(b)), Timestamp(a.max(b) + 1));
                self.check(range, Duration::from_secs(1 + u64::from(steps.byte()) * 60));
            }
        }
    }

    fn near(&self, steps: &mut Steps<'_>) -> i64 {
        steps.timestamp(&mut self.newest.clone())
    }

    fn column(&mut self, steps: &mut Steps<'_>) {
        let shape = steps.byte();
        let series = usize::from(shape) % SERIES;
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        for _ in 0..=shape / 16 {
            timestamps.push(steps.timestamp(&mut self.newest));
            values.push(steps.value());
        }
        for (&timestamp, value) in timestamps.iter().zip(&values) {
            self.reference[series].insert(timestamp, value.to_bits());
        }
        let sent = self.writer().append_column(&self.handles[series], timestamps, values);
        self.receipts.push(sent.expect("taken"));
    }

    fn scrape(&mut self, steps: &mut Steps<'_>) {
        let mask = steps.byte();
        let members: Vec<usize> = (0..SERIES).filter(|i| mask >> i & 1 == 1).collect();
        let handles: Vec<_> = members.iter().map(|&i| self.handles[i].clone()).collect();
        let group = self.writer().scrape_group(&handles);
        for _ in 0..=mask / 16 {
            let timestamp = steps.timestamp(&mut self.newest);
            let values: Vec<f64> = members.iter().map(|_| steps.value()).collect();
            for (&series, value) in members.iter().zip(&values) {
                self.reference[series].insert(timestamp, value.to_bits());
            }
            let sent = self.writer().append_scrape(&group, Timestamp(timestamp), values);
            self.receipts.push(sent.expect("taken"));
        }
    }

    /// Everything appended is logged: from here on it survives the process.
    fn settle(&mut self) {
        for receipt in self.receipts.drain(..) {
            assert_eq!(receipt.wait().expect("logged").refused, 0);
        }
    }

    /// The process dies; with a seed the power goes too, once all was synced.
    fn restart(&mut self, power: Option<u8>) {
        self.settle();
        self.fs = match power {
            None => self.fs.restart(),
            Some(seed) => {
                self.engine().sync().expect("syncs");
                self.fs.reboot(seed.into())
            }
        };
        // The old engine goes on in the dead process's own file system.
        self.open = None;
        self.open();
        self.check(TimeRange::ALL, Duration::MAX);
    }

    fn check(&self, range: TimeRange, step: Duration) {
        let all = Selector::parse("{}").expect("selects all");
        let found = self.engine().samples(&all, &SampleRequest::new(range)).expect("samples");
        let mut found: Vec<_> = found
            .into_iter()
            .map(|found| {
                let bits = found.values.iter().map(|value| value.to_bits());
                (found.series, found.timestamps.iter().copied().zip(bits).collect::<Vec<_>>())
            })
            .collect();
        found.sort();
        let inside = |samples: &BTreeMap<i64, u64>| -> Vec<(i64, u64)> {
            let inside = samples.iter().filter(|&(&at, _)| range.contains(Timestamp(at)));
            inside.map(|(&at, &bits)| (at, bits)).collect()
        };
        let expected = self.reference.iter().enumerate();
        let expected = expected.map(|(i, samples)| (Arc::new(series(i)), inside(samples)));
        let mut expected: Vec<_> = expected.filter(|(_, samples)| !samples.is_empty()).collect();
        expected.sort();
        assert_eq!(found, expected, "in {range:?}");

        let mut request = Request::new(range, vec![Function::Last]);
        // A window for each step: only as many as are quickly counted.
        let windows =
            (i128::from(range.end.0) - i128::from(range.start.0)) as u128 / step.as_nanos().max(1);
        request.step = (windows < 1000).then_some(step);
        let answer = self.engine().query(&all, &request).expect("an answer");
        let counted: u64 = answer.groups.iter().flat_map(|group| &group.counts).sum();
        let fresh = expected.iter().flat_map(|(_, samples)| samples);
        let fresh = fresh.filter(|(_, bits)| *bits != STALE_MARKER_BITS).count() as u64;
        assert_eq!(counted, fresh, "in {range:?} by {step:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut steps = Steps(input);
    let mut case = Case {
        fs: SimFs::new(),
        freeze_on_close: steps.byte() & 1 == 1,
        open: None,
        handles: Vec::new(),
        reference: Reference::default(),
        receipts: Vec::new(),
        newest: 0,
    };
    case.open();
    for _ in 0..STEPS_MAX {
        if steps.0.is_empty() {
            break;
        }
        case.step(&mut steps);
    }
    case.settle();
    case.check(TimeRange::ALL, Duration::MAX);
    case.open.take().expect("open").0.close().expect("closes");
    case.open();
    case.check(TimeRange::ALL, Duration::MAX);
});
