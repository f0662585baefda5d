//! `kill -9` of a writing process, again and again, on the default store.

use std::time::Duration;

use icecore::Engine;

use crate::child::{Role, Running, options, rows};

#[test]
fn a_killed_writer_leaves_everything_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..8 {
        let mut child = Running::start(dir.path(), Role::Write);
        child.run_for(Duration::from_millis(30 + 37 * round));
        let acknowledged = child.kill();
        let engine = Engine::open(dir.path(), options()).unwrap();
        let stored = rows(&engine).unwrap();
        assert!(stored > acknowledged, "row {acknowledged} was synced, {stored} rows are there");
        assert!(stored > before, "round {round} wrote nothing");
        before = stored;
        drop(engine);
        let report = Engine::verify(dir.path(), &mut |_| {}).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}
