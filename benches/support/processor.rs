//! Time on the processor: on a machine that others use it says more than the clock.

use std::time::{Duration, Instant};

/// What all threads of this process have spent on processors so far; nothing outside of Linux.
fn spent() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let statistics = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        statistics.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Runs it as often as half a second allows, at least ten times, and prints the least time by the
/// clock and the mean time on processors; nothing where the command line names another.
pub fn measure<T>(name: &str, mut run: impl FnMut() -> T) {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    let (began, before) = (Instant::now(), spent());
    let (mut runs, mut least) = (0_u32, Duration::MAX);
    while runs < 10 || began.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        let answer = run();
        least = least.min(start.elapsed());
        drop(answer);
        runs += 1;
    }
    let (each, micros) = ((spent() - before) / runs, |time: Duration| time.as_secs_f64() * 1e6);
    println!("{name}: {:.1} µs at the least, {:.1} µs on processors", micros(least), micros(each));
}
