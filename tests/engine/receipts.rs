//! Receipts can be waited for, polled, and awaited.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use icecore::options::Durability;
use icecore::{Error, Options};

use crate::probe_fs::ProbeFs;
use crate::support::fault_fs::{Fault, SimFs};
use crate::{handle, in_memory, open_on, options};

/// The smallest executor: polls, and sleeps until woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

#[test]
fn a_receipt_is_pending_until_its_level_is_reached() {
    let fs = ProbeFs::new(Arc::new(SimFs::new()));
    let engine = open_on(Arc::new(fs.clone()), options()).unwrap();
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let series = handle(&writer, "m");
    fs.hold();
    let receipts: Vec<_> =
        (0..3).map(|t| writer.append_column(&series, vec![t], vec![1.0]).unwrap()).collect();
    let [first, second, third] = receipts.try_into().unwrap();
    fs.wait_held();
    assert!(first.try_wait().is_none());
    assert!(second.wait_timeout(Duration::from_millis(10)).is_none());
    let awaiting = thread::spawn(move || block_on(third));
    thread::sleep(Duration::from_millis(10));
    assert!(!awaiting.is_finished());
    fs.release();
    let awaited = awaiting.join().unwrap().unwrap();
    assert_eq!((awaited.samples, awaited.durability), (1, Durability::Synced));
    let waited = second.wait_timeout(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(waited, awaited);
    assert_eq!(first.try_wait().unwrap().unwrap(), awaited);
    assert_eq!(first.wait().unwrap(), awaited);
}

#[test]
fn many_tasks_await_at_once() {
    let (engine, _) = in_memory(options());
    let writer = engine.writer("w").with_durability(Durability::Synced);
    let series = handle(&writer, "m");
    let sum = block_on(async {
        let mut sum = 0;
        for t in 0..50 {
            sum +=
                writer.append_column(&series, vec![t], vec![1.0]).unwrap().await.unwrap().samples;
        }
        sum
    });
    assert_eq!(sum, 50);
}

#[test]
fn the_receipts_of_a_failed_engine_say_why() {
    for level in [Durability::Logged, Durability::Synced] {
        let sim = SimFs::new();
        let fs = ProbeFs::new(Arc::new(sim.clone()));
        let patient = Options { sync_interval: Duration::from_secs(3600), ..options() };
        let engine = open_on(Arc::new(fs.clone()), patient).unwrap();
        let writer = engine.writer("w").with_durability(level);
        let series = handle(&writer, "m");
        let append = |t: i64| writer.append_column(&series, vec![t], vec![1.0]);
        append(0).unwrap().wait().unwrap();
        // The write of the next group, or its sync.
        let nth = if level == Durability::Logged { 1 } else { 2 };
        sim.arm(nth, Fault::Error(ErrorKind::Other));
        let failed = append(1).unwrap();
        let awaited = append(2);
        match failed.wait() {
            Err(Error::Io { operation, path, .. }) => {
                assert_eq!(operation, if nth == 1 { "write" } else { "sync" });
                assert!(path.starts_with("/store/log"), "{}", path.display());
            }
            other => panic!("{other:?}"),
        }
        // Sent while the failure was under way, or after it: an error in any case.
        if let Ok(receipt) = awaited {
            block_on(receipt).unwrap_err();
        }
        assert!(matches!(append(3).map(drop), Err(Error::ReadOnly { .. })));
        assert!(matches!(engine.freeze(), Err(Error::ReadOnly { .. })));
        let told = engine.close().unwrap_err().to_string();
        assert!(told.contains("/store/log"), "{told}");
    }
}
