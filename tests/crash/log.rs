//! The log keeps what was synced and invents nothing, wherever a call fails or the power goes.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use icecore::Timestamp;
use icecore::aggregate::Distribution;
use icecore::catalog::{self, Catalog};
use icecore::fs::Fs;
use icecore::model::{Metadata, MetricKind, Series, SeriesId};
use icecore::wal::{Record, Replay, Writer, replay, truncate};

use crate::support::fault_fs::{Fault, SimFs};

const DB: &str = "/db";
pub(crate) const LOG: &str = "/db/log";

/// A data record with its names resolved: series name, timestamps, bits of the values.
pub(crate) type Written = Vec<(String, i64, u64)>;

/// What the writing process knows when it stops.
#[derive(Debug, Default, Clone)]
struct Known {
    /// By sequence number: everything handed to a group write, whether it succeeded or not.
    sent: BTreeMap<u64, Written>,
    /// Pushed, not yet handed over.
    pushed: BTreeMap<u64, Written>,
    synced: u64,
    /// Watermark of the last catalog that was saved, and of the one whose saving was tried.
    watermark: u64,
    watermark_tried: u64,
}

fn series(id: u32) -> Series {
    Series::new(&format!("metric_{}", id % 2), [("host", id.to_string().as_str())]).unwrap()
}

/// A small engine: one log writer, one catalog.
struct Run {
    fs: SimFs,
    writer: Writer,
    known: Known,
}

impl Run {
    fn open(fs: &SimFs) -> icecore::Result<Self> {
        let watermark = watermark(fs)?;
        let found = replay(fs, Path::new(LOG), watermark, &mut |_| Ok(()))?;
        let writer = Writer::open(Arc::new(fs.clone()), Path::new(LOG), &found)?;
        let known = Known { watermark, watermark_tried: watermark, ..Known::default() };
        Ok(Self { fs: fs.clone(), writer, known })
    }

    fn declare(&mut self, ids: &[u32]) -> icecore::Result<()> {
        for &id in ids {
            if !self.writer.has_series(SeriesId(id)) {
                let series = series(id);
                self.writer.declare_series(SeriesId(id), &series)?;
                if !self.writer.has_metadata(series.name()) {
                    let metadata =
                        Metadata { kind: MetricKind::Gauge, unit: "s".into(), help: "é".into() };
                    self.writer.declare_metadata(series.name(), &metadata)?;
                }
            }
        }
        Ok(())
    }

    fn column(&mut self, id: u32, samples: i64) -> icecore::Result<()> {
        self.declare(&[id])?;
        let next = self.writer.next_sequence().cast_signed();
        let timestamps: Vec<i64> = (0..samples).map(|i| next * 1_000 + i * i).collect();
        let values: Vec<f64> = timestamps.iter().map(|&t| f64::from_bits(t as u64)).collect();
        let sequence = self.writer.push_column(SeriesId(id), &timestamps, &values)?;
        let written = timestamps.iter().zip(&values);
        let written = written.map(|(&t, v)| (series(id).to_string(), t, v.to_bits())).collect();
        self.known.pushed.insert(sequence, written);
        Ok(())
    }

    fn scrape(&mut self, group: u32, ids: &[u32]) -> icecore::Result<()> {
        self.declare(ids)?;
        if !self.writer.has_group(group) {
            let members: Vec<SeriesId> = ids.iter().map(|&id| SeriesId(id)).collect();
            self.writer.declare_group(group, &members)?;
        }
        let timestamp = self.writer.next_sequence().cast_signed() * 7;
        let values: Vec<f64> = ids.iter().map(|&id| f64::from(id) - 0.5).collect();
        let sequence = self.writer.push_scrape(group, timestamp, &values)?;
        let written = ids.iter().zip(&values);
        let written = written.map(|(&id, v)| (series(id).to_string(), timestamp, v.to_bits()));
        self.known.pushed.insert(sequence, written.collect());
        Ok(())
    }

    fn distribution(&mut self, id: u32, observations: u32) -> icecore::Result<()> {
        self.declare(&[id])?;
        let timestamp = self.writer.next_sequence().cast_signed() * 11;
        let mut distribution = Distribution::default();
        (1..=observations).for_each(|i| assert!(distribution.record(f64::from(i * i))));
        let sequence = self.writer.push_distribution(SeriesId(id), timestamp, &distribution)?;
        let written = observed(&series(id).to_string(), timestamp, &distribution);
        self.known.pushed.insert(sequence, written);
        Ok(())
    }

    fn group(&mut self, sync: bool) -> icecore::Result<()> {
        self.known.sent.append(&mut self.known.pushed);
        self.writer.write_group()?;
        if sync {
            self.writer.sync()?;
            self.known.synced = self.writer.synced_sequence();
        }
        Ok(())
    }

    fn rotate(&mut self) -> icecore::Result<()> {
        self.known.sent.append(&mut self.known.pushed);
        self.writer.rotate()?;
        self.known.synced = self.writer.synced_sequence();
        Ok(())
    }

    /// Says that parts cover everything logged, synced or not, and cuts the log.
    fn commit(&mut self) -> icecore::Result<()> {
        let dir = Path::new(DB);
        let watermark = self.writer.logged_sequence();
        self.known.watermark_tried = watermark;
        let old = catalog::load(&self.fs, dir)?;
        let old = old.unwrap_or_else(|| Catalog::new(1, Timestamp(0), 1));
        catalog::save(&self.fs, dir, &old.with_added(&[], watermark)?)?;
        self.known.watermark = watermark;
        truncate(&self.fs, Path::new(LOG), watermark)?;
        Ok(())
    }

    fn script(&mut self) -> icecore::Result<()> {
        self.column(0, 3)?;
        self.group(true)?;
        self.scrape(0, &[0, 1, 2])?;
        self.group(false)?;
        self.column(5, 20)?;
        self.distribution(6, 30)?;
        self.scrape(1, &[5, 3])?;
        self.group(true)?;
        self.rotate()?;
        self.scrape(0, &[0, 1, 2])?;
        self.group(false)?;
        self.rotate()?;
        self.column(1, 2)?;
        self.group(false)?;
        self.column(1, 9)?;
        self.group(false)?;
        self.commit()?;
        self.column(2, 4)?;
        self.group(true)?;
        self.distribution(2, 1)?;
        self.rotate()?;
        self.commit()?;
        self.scrape(9, &[4, 1])?;
        self.group(false)?;
        self.commit()?;
        self.column(4, 8)?;
        self.group(false)?;
        self.column(4, 2)?;
        self.group(false)
    }
}

/// Each bin of a distribution (of positive values), its sum and its extremes, as one written value.
fn observed(series: &str, timestamp: i64, distribution: &Distribution) -> Written {
    let bins = distribution.sketch().positive().iter();
    let bins = bins.map(|bin| u64::from(bin.index.cast_unsigned()) << 32 | bin.count);
    let floats = [distribution.sum(), distribution.min(), distribution.max()].map(f64::to_bits);
    bins.chain(floats).map(|bits| (series.to_owned(), timestamp, bits)).collect()
}

fn watermark(fs: &SimFs) -> icecore::Result<u64> {
    Ok(catalog::load(fs, Path::new(DB))?.map_or(0, |catalog| catalog.watermark))
}

/// Replays with all names resolved.
pub(crate) fn read(
    fs: &dyn Fs,
    watermark: u64,
) -> icecore::Result<(Replay, BTreeMap<u64, Written>)> {
    let mut names: HashMap<SeriesId, String> = HashMap::new();
    let mut groups: HashMap<u32, Vec<String>> = HashMap::new();
    let mut found = BTreeMap::new();
    let replay = replay(fs, Path::new(LOG), watermark, &mut |record| {
        match record {
            Record::File { .. } => {
                names.clear();
                groups.clear();
            }
            Record::Series { id, series } => {
                names.insert(id, series.to_string());
            }
            Record::Metadata { metadata, .. } => assert_eq!(metadata.help, "é"),
            Record::Group { id, series } => {
                groups.insert(id, series.iter().map(|id| names[id].clone()).collect());
            }
            Record::Scrape { sequence, group, timestamp, values } => {
                let members = groups[&group].iter().zip(values);
                let written = members.map(|(name, v)| (name.clone(), timestamp, v.to_bits()));
                assert!(found.insert(sequence, written.collect()).is_none());
            }
            Record::Column { sequence, series, timestamps, values } => {
                let samples = timestamps.iter().zip(values);
                let written = samples.map(|(&t, v)| (names[&series].clone(), t, v.to_bits()));
                assert!(found.insert(sequence, written.collect()).is_none());
            }
            Record::Distribution { sequence, series, timestamp, distribution } => {
                let written = observed(&names[&series], timestamp, distribution);
                assert!(found.insert(sequence, written).is_none());
            }
            other => panic!("unknown record {other:?}"),
        }
        Ok(())
    })?;
    Ok((replay, found))
}

/// Checks what is left against what was known; returns what replay found.
fn check(fs: &SimFs, known: &Known, story: &str) -> BTreeMap<u64, Written> {
    let watermark = watermark(fs).unwrap_or_else(|error| panic!("{story}: {error}"));
    assert!([known.watermark, known.watermark_tried].contains(&watermark), "{story}: {watermark}");
    let (first, found) = read(fs, watermark).unwrap_or_else(|error| panic!("{story}: {error}"));
    let again = read(fs, watermark).unwrap();
    assert_eq!((&first, &found), (&again.0, &again.1), "{story}: a second replay differs");
    for (sequence, written) in &found {
        assert_eq!(Some(written), known.sent.get(sequence), "{story}: record {sequence}");
    }
    for sequence in watermark + 1..=known.synced {
        assert!(found.contains_key(&sequence), "{story}: synced record {sequence} is gone");
    }
    let expected = (watermark + 1..).take(found.len());
    assert!(found.keys().copied().eq(expected), "{story}: a gap in {:?}", found.keys());
    found
}

/// Goes on after a crash: a record more, synced, and everything is still there.
fn continue_after(fs: &SimFs, before: &Known, story: &str) -> (Known, bool) {
    let mut known = before.clone();
    let Ok(mut run) = Run::open(fs) else { return (known, false) };
    // What was cut off is forgotten: its numbers are given anew.
    known.sent.retain(|&sequence, _| sequence < run.writer.next_sequence());
    (known.watermark, known.watermark_tried) = (run.known.watermark, run.known.watermark_tried);
    let next = run.writer.next_sequence();
    let done = run.column(77, 3).and_then(|()| run.group(true)).is_ok();
    known.sent.append(&mut run.known.sent);
    if done {
        known.synced = next;
        check(&fs.reboot(0), &known, &format!("{story}, continued"));
    }
    (known, done)
}

fn fresh() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DB)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// Runs the script against a fault; `None` where the fault was not met.
fn crash(nth: u64, fault: Fault) -> Option<(SimFs, Known)> {
    let fs = fresh();
    fs.arm(nth, fault);
    let mut known = Known::default();
    if let Ok(mut run) = Run::open(&fs) {
        let ended = run.script();
        assert_eq!(ended.is_err(), fs.fired());
        known = run.known;
    }
    fs.fired().then_some((fs, known))
}

#[test]
fn every_power_cut_keeps_what_was_synced() {
    let mut met = 0;
    for (nth, (fs, known)) in (1..).map_while(|nth| Some((nth, crash(nth, Fault::Cut)?))) {
        met += 1;
        for seed in 0..12 {
            let story = format!("cut at {nth}, seed {seed}");
            let image = fs.reboot(seed);
            check(&image, &known, &story);
            let (_, done) = continue_after(&image, &known, &story);
            assert!(done, "{story}: cannot go on");
        }
    }
    assert!(met > 40, "only {met} calls");
}

#[test]
fn a_second_power_cut_while_recovering_loses_nothing_more() {
    for (nth, (fs, known)) in (1..).map_while(|nth| Some((nth, crash(nth, Fault::Cut)?))) {
        for seed in [0, 1, 5, 9] {
            let first = fs.reboot(seed);
            let found = check(&first, &known, "first");
            for again in 1.. {
                let story = format!("cut at {nth}, seed {seed}, cut again at {again}");
                let image = first.reboot(1);
                image.arm(again, Fault::Cut);
                let (after, done) = continue_after(&image, &known, &story);
                if done {
                    break;
                }
                for second_seed in 0..4 {
                    let kept = check(&image.reboot(second_seed), &after, &story);
                    assert!(found.iter().all(|(sequence, _)| kept.contains_key(sequence)));
                }
            }
        }
    }
}

#[test]
fn every_killed_process_leaves_what_it_logged_and_a_later_cut_what_was_recovered() {
    for (nth, (fs, known)) in (1..).map_while(|nth| Some((nth, crash(nth, Fault::Cut)?))) {
        let story = format!("killed at {nth}");
        let image = fs.restart();
        check(&image, &known, &story);
        let (_, done) = continue_after(&image, &known, &story);
        assert!(done, "{story}: cannot go on");
    }
}

#[test]
fn every_failing_call_latches_and_loses_nothing() {
    for fault in [Fault::Error(ErrorKind::Other), Fault::ShortWrite] {
        for (nth, (fs, known)) in (1..).map_while(|nth| Some((nth, crash(nth, fault)?))) {
            check(&fs.restart(), &known, &format!("{fault:?} at {nth}, restarted"));
            for seed in 0..8 {
                let story = format!("{fault:?} at {nth}, power cut, seed {seed}");
                let image = fs.reboot(seed);
                check(&image, &known, &story);
                assert!(continue_after(&image, &known, &story).1, "{story}: cannot go on");
            }
        }
    }
}

#[test]
fn a_failed_writer_repeats_its_error_and_touches_nothing() {
    let faults = [Fault::Error(ErrorKind::Other), Fault::ShortWrite];
    // The write, then the sync, of the first group.
    for (fault, nth) in faults.into_iter().flat_map(|fault| [(fault, 1), (fault, 2)]) {
        let fs = fresh();
        let mut run = Run::open(&fs).unwrap();
        run.column(0, 4).unwrap();
        fs.arm(nth, fault);
        let first = run.group(true).unwrap_err().to_string();
        let calls = fs.calls();
        let mut later = vec![
            run.writer.write_group(),
            run.writer.sync(),
            run.writer.rotate(),
            run.writer.push_column(SeriesId(0), &[1], &[1.0]).map(drop),
        ];
        later.push(run.writer.declare_series(SeriesId(8), &series(8)));
        for result in later {
            assert_eq!(result.unwrap_err().to_string(), first);
        }
        assert_eq!(fs.calls(), calls, "{fault:?}");
        assert_eq!(run.writer.synced_sequence(), 0);
    }
}
