//! A made-up world to generate history of: services on a few instances each, with days and weeks
//! in their load, noise, and now and then an incident. The same seed gives the same history.

use crate::aggregate::{Bin, Distribution, Sketch};
use crate::model::{Metadata, MetricKind, Series};
use crate::time::Timestamp;

const DAY: i64 = 86_400_000_000_000;
const WEEK: i64 = 7 * DAY;
const MINUTE: i64 = 60_000_000_000;

/// What services are called; a world has as many of them as it has instances for.
const SERVICES: [&str; 8] =
    ["checkout", "search", "catalog", "payments", "login", "media", "mail", "reports"];

/// The series of an instance: metric, label beside service and instance, kind, unit, help.
const PANEL: [(&str, Option<(&str, &str)>, MetricKind, &str, &str); 10] = {
    use MetricKind::{Counter, Gauge};
    [
        ("http_requests_total", Some(("code", "200")), Counter, "", "Requests answered"),
        ("http_requests_total", Some(("code", "500")), Counter, "", "Requests answered"),
        ("cpu_seconds_total", Some(("mode", "user")), Counter, "seconds", "Processor time spent"),
        ("cpu_seconds_total", Some(("mode", "system")), Counter, "seconds", "Processor time spent"),
        ("bytes_sent_total", None, Counter, "bytes", "Bytes sent to clients"),
        ("requests_in_flight", None, Gauge, "", "Requests being answered"),
        ("queue_length", None, Gauge, "", "Jobs that wait"),
        ("memory_used_bytes", None, Gauge, "bytes", "Memory in use"),
        ("disk_free_bytes", None, Gauge, "bytes", "Free bytes on the data disk"),
        ("temperature_celsius", None, Gauge, "celsius", "Temperature of the processor"),
    ]
};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Evenly in `0..1`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly in `-1..1`.
    fn swing(&mut self) -> f64 {
        2.0 * self.share() - 1.0
    }
}

/// The services and what has become of them so far.
pub(super) struct World {
    pub(super) services: Vec<Service>,
}

pub(super) struct Service {
    name: &'static str,
    /// Ordered as the values of [`row`](Service::row).
    pub(super) series: Vec<(Series, Metadata)>,
    instances: Vec<Instance>,
    noise: Noise,
    seed: u64,
    incident: Incident,
    /// Whether it suffered at the row before.
    suffering: bool,
}

/// What goes wrong in one week, if anything.
#[derive(Debug, Clone, Copy)]
struct Incident {
    week: i64,
    start: i64,
    end: i64,
    /// By how much everything takes longer.
    severity: f64,
}

#[derive(Debug, Clone, Default)]
struct Instance {
    /// Its share of the load, about 1.
    weight: f64,
    answered: f64,
    failed: f64,
    user: f64,
    system: f64,
    sent: f64,
    queue: f64,
    memory: f64,
    disk: f64,
    temperature: f64,
}

impl World {
    /// A world of so many series, the last instance's panel cut short.
    pub(super) fn new(series: usize, seed: u64) -> crate::Result<Self> {
        let instances = series.div_ceil(PANEL.len());
        let count = SERVICES.len().min(instances);
        let mut noise = Noise::new(seed);
        let mut services: Vec<Service> =
            SERVICES.iter().take(count).map(|name| Service::new(name, noise.next())).collect();
        for number in 0..series {
            let instance = number / PANEL.len();
            let (Some(service), Some(row)) =
                (services.get_mut(instance % count), PANEL.get(number % PANEL.len()))
            else {
                continue;
            };
            let (metric, label, kind, unit, help) = row;
            let instance = format!("{}-{}", service.name, instance / count);
            let labels = [("service", service.name), ("instance", &*instance)];
            let series = Series::new(metric, labels.into_iter().chain(*label))?;
            let metadata =
                Metadata { kind: *kind, unit: (*unit).to_owned(), help: (*help).to_owned() };
            service.series.push((series, metadata));
            if number % PANEL.len() == 0 {
                let instance = Instance::new(&mut service.noise);
                service.instances.push(instance);
            }
        }
        Ok(Self { services })
    }
}

impl Service {
    fn new(name: &'static str, seed: u64) -> Self {
        let incident = Incident { week: i64::MIN, start: 0, end: 0, severity: 1.0 };
        let (series, instances, noise) = (Vec::new(), Vec::new(), Noise::new(seed));
        Self { name, series, instances, noise, seed, incident, suffering: false }
    }

    /// What its latencies belong to.
    pub(super) fn latency_series(&self) -> crate::Result<Series> {
        Series::new("request_seconds", [("service", self.name)])
    }

    /// How much there is to do, 0.1 to 1.2, and by how much it takes longer than usual.
    fn state(&mut self, now: Timestamp) -> (f64, f64) {
        let now = now.nanos();
        let week = now.div_euclid(WEEK);
        if week != self.incident.week {
            self.incident = Incident::of(self.seed, week);
        }
        let Incident { start, end, severity, .. } = self.incident;
        let trouble = if start <= now && now < end { severity } else { 1.0 };
        (load(now), trouble)
    }

    /// Replaces `out` with the values of all its series `step` seconds after the row before.
    pub(super) fn row(&mut self, now: Timestamp, step: f64, out: &mut Vec<f64>) {
        out.clear();
        let (load, trouble) = self.state(now);
        let over = self.suffering && trouble == 1.0;
        self.suffering = trouble > 1.0;
        for instance in &mut self.instances {
            if over {
                instance.restart();
            }
            out.extend(instance.step(load, trouble, step, &mut self.noise));
        }
        out.truncate(self.series.len());
    }

    /// How long its requests took in the stretch of `seconds` that ends now; `None` where there were
    /// none.
    pub(super) fn latencies(&mut self, now: Timestamp, seconds: f64) -> Option<Distribution> {
        let (load, trouble) = self.state(now);
        let noise = 1.0 + 0.05 * self.noise.swing();
        let requests = 40.0 * load * self.instances.len() as f64 * seconds * noise;
        let median = 0.02 * (0.6 + 0.8 * load) * trouble * noise;
        let middle = Sketch::index_of(median);
        let bins = (-BINS_ASIDE..=BINS_ASIDE).filter_map(|aside| {
            let away = f64::from(aside) / BINS_A_SIGMA;
            let expected = requests * DENSITY * (-0.5 * away * away).exp();
            // Rounded by chance, so that the rare ones happen now and then.
            let count = (expected + self.noise.share()) as u64;
            (count > 0).then_some(Bin { index: middle + aside, count })
        });
        let bins: Vec<Bin> = bins.collect();
        let value = |bin: &Bin| Sketch::value_of(bin.index);
        let (min, max) = (value(bins.first()?), value(bins.last()?));
        let sum = bins.iter().map(|bin| bin.count as f64 * value(bin)).sum();
        Distribution::from_parts(Sketch::from_bins(0, bins, Vec::new())?, sum, min, max)
    }
}

/// What is known of `request_seconds`.
pub(super) fn latency_metadata() -> Metadata {
    let (unit, help) = ("seconds".to_owned(), "How long requests took".to_owned());
    Metadata { kind: MetricKind::Distribution, unit, help }
}

/// Latencies are log-normal, with a sigma of so many bins: 0.5 in natural logarithms.
const BINS_A_SIGMA: f64 = 25.0;
/// Bins on either side of the median: four sigmas.
const BINS_ASIDE: i32 = 100;
/// The share of the bin in the middle: 1 / (25 sqrt(2 pi)).
const DENSITY: f64 = 0.015_957_691_216;

/// Days have a peak in the afternoon, weekends are quiet.
fn load(now: i64) -> f64 {
    let of_day = now.rem_euclid(DAY) as f64 / DAY as f64;
    let wave = (std::f64::consts::TAU * (of_day - 0.375)).sin();
    // The epoch was a Thursday.
    let weekend = matches!(now.div_euclid(DAY).rem_euclid(7), 2 | 3);
    (0.6 + 0.45 * wave) * if weekend { 0.6 } else { 1.0 }
}

impl Incident {
    /// Every other week has one, of 15 to 120 minutes.
    fn of(seed: u64, week: i64) -> Self {
        let mut noise = Noise::new(seed ^ week.cast_unsigned().wrapping_mul(0xd134_2543_de82_ef95));
        let happens = noise.share() < 0.5;
        let start = week * WEEK + (noise.share() * (WEEK - DAY) as f64) as i64;
        let length = (15.0 + 105.0 * noise.share()) * MINUTE as f64;
        let severity = 2.0 + 6.0 * noise.share();
        Self { week, start, end: if happens { start + length as i64 } else { start }, severity }
    }
}

impl Instance {
    fn new(noise: &mut Noise) -> Self {
        let weight = 0.7 + 0.6 * noise.share();
        let disk = 4e11 * (0.5 + 0.5 * noise.share());
        Self { weight, memory: 6e8, disk, temperature: 45.0, ..Self::default() }
    }

    /// What counts begins at zero again.
    fn restart(&mut self) {
        let Self { weight, disk, temperature, .. } = *self;
        *self = Self { weight, disk, temperature, memory: 6e8, ..Self::default() };
    }

    /// What exporters would show after `step` more seconds.
    fn step(&mut self, load: f64, trouble: f64, step: f64, noise: &mut Noise) -> [f64; 10] {
        let asked = 40.0 * load * self.weight * step * (1.0 + 0.2 * noise.swing());
        let broken = if trouble > 1.0 { 0.15 * noise.share() } else { 0.002 * noise.share() };
        let failed = (asked * broken).round();
        self.failed += failed;
        self.answered += (asked - failed).round();
        // Processor time is told in hundredths of a second.
        self.user += (asked * 0.9 * (1.0 + 0.1 * noise.swing())).round();
        self.system += (asked * 0.2 * (1.0 + 0.1 * noise.swing())).round();
        self.sent += (asked * 18_000.0 * (1.0 + 0.3 * noise.swing())).round();
        let in_flight = (4.0 * load * self.weight * trouble * (1.0 + 0.5 * noise.swing())).round();
        let pressure = (trouble - 1.0) * 20.0 + 3.0 * load - 2.0;
        self.queue = (self.queue * 0.9 + pressure + 2.0 * noise.swing()).max(0.0);
        // Memory grows and is collected, in pages.
        self.memory += asked * 900.0;
        if self.memory > 1.6e9 {
            self.memory = 6e8;
        }
        self.disk -= asked * 40.0;
        if self.disk < 2e10 {
            self.disk = 4e11;
        }
        let target = 40.0 + 25.0 * load * self.weight;
        self.temperature += 0.05 * (target - self.temperature) + 0.3 * noise.swing();
        let pages = |bytes: f64| (bytes / 4096.0).round() * 4096.0;
        [
            self.answered,
            self.failed,
            self.user / 100.0,
            self.system / 100.0,
            self.sent,
            in_flight,
            self.queue.floor(),
            pages(self.memory),
            pages(self.disk),
            (self.temperature * 2.0).round() / 2.0,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_have_the_series_asked_for_and_repeat() {
        for count in [1, 9, 10, 11, 100, 1_003] {
            let world = World::new(count, 7).unwrap();
            let names: std::collections::BTreeSet<String> = world
                .services
                .iter()
                .flat_map(|service| service.series.iter().map(|(series, _)| series.to_string()))
                .collect();
            assert_eq!(names.len(), count);
        }
        let (mut a, mut b) = (World::new(40, 7).unwrap(), World::new(40, 7).unwrap());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for second in 0..100 {
            let now = Timestamp::from_secs(second * 10);
            a.services[2].row(now, 10.0, &mut one);
            b.services[2].row(now, 10.0, &mut other);
            assert_eq!(one, other);
        }
    }

    #[test]
    fn latencies_are_log_normal() {
        let mut world = World::new(80, 3).unwrap();
        let service = &mut world.services[0];
        let mut all = Distribution::default();
        for minute in 0..60 {
            all.merge(&service.latencies(Timestamp(minute * MINUTE), 60.0).unwrap());
        }
        let [median, high, higher] = [0.5, 0.841_345, 0.977_25].map(|q| all.sketch().quantile(q));
        assert!((0.01..0.04).contains(&median), "{median}");
        for ratio in [high / median, higher / high] {
            assert!((ratio / 0.5_f64.exp() - 1.0).abs() < 0.06, "{ratio}");
        }
    }

    #[test]
    fn counters_fall_only_after_incidents_and_incidents_happen() {
        let mut world = World::new(10, 1).unwrap();
        let service = &mut world.services[0];
        let (mut row, mut before) = (Vec::new(), 0.0);
        let (mut falls, mut troubled) = (0, 0);
        for minute in 0..60 * 24 * 7 * 20 {
            let now = Timestamp(minute * MINUTE);
            service.row(now, 60.0, &mut row);
            falls += i32::from(row[0] < before);
            before = row[0];
            troubled += i32::from(service.suffering);
            assert!(row.iter().all(|value| value.is_finite() && *value >= 0.0), "{row:?}");
        }
        assert!((3..=17).contains(&falls), "{falls} restarts in 20 weeks");
        assert!(troubled > 15 * falls, "{troubled} minutes of trouble");
    }
}
