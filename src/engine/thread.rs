//! Numbers of threads, by which they are kept out of each other's way.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static NUMBERED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The calling thread's: counted from 0 as they first ask.
pub(crate) fn thread_number() -> usize {
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NUMBERED.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}
