//! What the server counts of itself, and how a scrape gets it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latencies' buckets, seconds.
const BOUNDS_S: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Requests of one route.
#[derive(Debug, Default, Clone)]
struct Route {
    by_code: BTreeMap<u16, u64>,
    /// Not cumulative; the last is above every bound.
    buckets: [u64; BOUNDS_S.len() + 1],
    seconds: f64,
}

/// Counts, shared by all requests.
#[derive(Debug, Default)]
pub(super) struct Measures {
    routes: Mutex<BTreeMap<String, Route>>,
    running: AtomicU64,
    pub(super) samples_written: AtomicU64,
    pub(super) samples_refused: AtomicU64,
    pub(super) exemplars_left_out: AtomicU64,
    pub(super) histograms_refused: AtomicU64,
}

/// A query that runs, until it is dropped.
pub(super) struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Measures {
    /// Counts a query as running.
    pub(super) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.running)
    }

    /// Counts a request that was answered. `route` is one of few.
    pub(super) fn answered(&self, route: &str, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_S.iter().position(|bound| seconds <= *bound);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if !routes.contains_key(route) {
            routes.insert(route.to_owned(), Route::default());
        }
        let Some(counts) = routes.get_mut(route) else { return };
        *counts.by_code.entry(code).or_default() += 1;
        counts.seconds += seconds;
        if let Some(bucket) = counts.buckets.get_mut(bucket.unwrap_or(BOUNDS_S.len())) {
            *bucket += 1;
        }
    }

    /// Prometheus text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        head(out, "icecore_http_requests_total", "counter", "Requests answered.");
        for (route, counts) in &routes {
            for (code, count) in &counts.by_code {
                let labels = format!("{{code=\"{code}\",handler=\"{route}\"}}");
                line(out, "icecore_http_requests_total", &labels, count);
            }
        }
        let help = "Time until an answer began.";
        head(out, "icecore_http_request_duration_seconds", "histogram", help);
        for (route, counts) in &routes {
            write_latencies(out, route, counts);
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(out, "icecore_http_queries_running", "gauge", "Queries being computed.");
        line(out, "icecore_http_queries_running", "", load(&self.running));
        for (name, help, counter) in [
            ("written", "Samples taken in over HTTP.", &self.samples_written),
            ("refused", "Samples refused over HTTP.", &self.samples_refused),
        ] {
            let name = format!("icecore_http_samples_{name}_total");
            head(out, &name, "counter", help);
            line(out, &name, "", load(counter));
        }
        for (name, help, counter) in [
            ("exemplars_left_out", "Exemplars, which are not stored.", &self.exemplars_left_out),
            ("histograms_refused", "Native histograms, refused.", &self.histograms_refused),
        ] {
            let name = format!("icecore_http_{name}_total");
            head(out, &name, "counter", help);
            line(out, &name, "", load(counter));
        }
    }
}

fn write_latencies(out: &mut Vec<u8>, route: &str, counts: &Route) {
    const NAME: &str = "icecore_http_request_duration_seconds";
    let mut below = 0;
    let bounds = BOUNDS_S.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(counts.buckets) {
        below += count;
        let labels = format!("{{handler=\"{route}\",le=\"{bound}\"}}");
        line(out, &format!("{NAME}_bucket"), &labels, below);
    }
    let labels = format!("{{handler=\"{route}\"}}");
    line(out, &format!("{NAME}_sum"), &labels, counts.seconds);
    line(out, &format!("{NAME}_count"), &labels, below);
}

/// The comments above a metric.
pub(super) fn head(out: &mut Vec<u8>, name: &str, kind: &str, help: &str) {
    // Writing into memory does not fail.
    if !help.is_empty() {
        let _ = writeln!(out, "# HELP {name} {help}");
    }
    let _ = writeln!(out, "# TYPE {name} {kind}");
}

fn line(out: &mut Vec<u8>, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_cumulative() {
        let measures = Measures::default();
        for (code, millis) in [(200, 0), (200, 3), (503, 3), (200, 100_000)] {
            measures.answered("/api/v1/query", code, Duration::from_millis(millis));
        }
        let running = measures.running();
        let mut out = Vec::new();
        measures.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        for expected in [
            "icecore_http_requests_total{code=\"200\",handler=\"/api/v1/query\"} 3\n",
            "_bucket{handler=\"/api/v1/query\",le=\"0.001\"} 1\n",
            "_bucket{handler=\"/api/v1/query\",le=\"0.005\"} 3\n",
            "_bucket{handler=\"/api/v1/query\",le=\"60\"} 3\n",
            "_bucket{handler=\"/api/v1/query\",le=\"+Inf\"} 4\n",
            "_count{handler=\"/api/v1/query\"} 4\n",
            "icecore_http_queries_running 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        drop(running);
    }
}
