//! Any text either is a query, which formats to one that means the same and is evaluated over a
//! small store, or is refused; nothing panics. The parser's own panics would end the run here.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use icecore::engine::Environment;
use icecore::model::{Metadata, Series};
use icecore::options::{Durability, GateOptions};
use icecore::promql::{self, Query, Steps, evaluate};
use icecore::store::StoreKind;
use icecore::{Engine, Error, Options, SimulatedClock, Timestamp};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/mod.rs"]
mod support;

const SECOND: i64 = 1_000_000_000;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let options = Options {
        store: StoreKind::Flat,
        threads: 1,
        free_bytes_min: 0,
        self_metrics: None,
        gate: GateOptions { past: None, future: None, ..GateOptions::default() },
        ..Options::default()
    };
    let clock = Arc::new(SimulatedClock::new(Timestamp(0)));
    let environment = Environment { fs: Arc::new(support::fault_fs::SimFs::new()), clock };
    let engine = Engine::open_in(Path::new("/store"), options, environment).expect("opens");
    let writer = engine.writer("fuzz").with_durability(Durability::Logged);
    for (name, le) in [("m", "1"), ("m", "2"), ("m", "+Inf"), ("n_total", "1")] {
        let series = Series::new(name, [("le", le), ("a", "b")]).expect("a series");
        let handle = writer.series(&series, &Metadata::default()).expect("let in");
        let times = (0..30).map(|i| i * 10 * SECOND).collect();
        let values = (0..30).map(|i| f64::from(i * i % 17)).collect();
        writer.append_column(&handle, times, values).expect("sent").wait().expect("taken");
    }
    engine
});

fuzz_target!(|text: &str| {
    let Ok(query) = Query::parse(text) else { return };
    let again = Query::parse(&query.to_string());
    assert!(again.is_ok_and(|again| again.value_type() == query.value_type()), "{query}");
    let mut options = promql::Options::default();
    options.limits.memory_bytes_max = 1 << 22;
    options.deadline = std::time::Instant::now().checked_add(std::time::Duration::from_millis(50));
    let range = Steps::new(Timestamp(0), Timestamp(300 * SECOND), 60 * SECOND).expect("steps");
    for steps in [Steps::at(Timestamp(200 * SECOND)), range] {
        match evaluate(&ENGINE, &query, steps, &options) {
            Ok(_)
            | Err(Error::Evaluation { .. } | Error::Limit { .. } | Error::Deadline { .. }) => {}
            Err(other) => panic!("{query}: {other}"),
        }
    }
});
