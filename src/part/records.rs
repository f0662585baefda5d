//! Records in a part: written as columns of one series side by side, read back joined.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::write::Builder;
use super::{Layout, Part};
use crate::aggregate::{Partial, Sketches};
use crate::codec::values::ValueEncoding;
use crate::error::{DecodeError, Error, Result};
use crate::model::SeriesId;
use crate::segment::{
    Chunk, Field, RecordFields, RecordSource, Records, Segment, SeriesRecords, encode_records,
    within_bucket,
};
use crate::time::{Tier, TimeRange, Timestamp};

/// Records with sketches that are well read at once: some megabyte, which the cache of a processor
/// holds.
const PIECE_ROWS: u32 = 256;

impl Builder {
    /// Adds records of some series to a part of records, in one or more segments of their own;
    /// positions ascend strictly. A series and bucket that came before must not come again, nor
    /// one between those that did. Series whose samples stood at the same times share them if they
    /// are added together.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for input that breaks these rules, as [`encode_records`], or in a
    /// part of samples; the store's failure.
    pub fn add_records(&mut self, batch: &[SeriesRecords<'_>]) -> Result<()> {
        let invalid = |reason: String| Err(Error::InvalidArgument { what: "records", reason });
        let (spec, series) = self.plan();
        if spec.layout != Layout::Records {
            return invalid("in a part of samples".to_owned());
        }
        for SeriesRecords { position, records, .. } in batch {
            if *position as usize >= series {
                return invalid(format!("of series {position} of {}", series));
            }
            if let (Some(&first), Some(&last)) = (records.starts.first(), records.starts.last())
                && !spec.window.covers(Timestamp(first), Timestamp(last))
            {
                return invalid(format!("from {first} to {last} are not within the window"));
            }
        }
        encode_records(batch, spec.tier, &spec.limits, &mut |segment| self.put(&segment))
    }
}

/// Where a chunk stands.
struct Found {
    number: u32,
    segment: Arc<Segment>,
    chunk: Chunk,
}

impl Part {
    /// Chunks of one field of the series at `position` that meet the range, ascending in time.
    fn field_chunks(&self, position: u32, field: Field, range: TimeRange) -> Result<Vec<Found>> {
        let Some(column) = field.column(position) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for number in self.directory.segments_of(column, range) {
            let segment = self.segment(number)?;
            for chunk in segment.chunks_of(column) {
                if range.overlaps(chunk.first, chunk.last) {
                    found.push(Found { number, segment: Arc::clone(&segment), chunk: *chunk });
                }
            }
        }
        found.sort_unstable_by_key(|found| found.chunk.first);
        Ok(found)
    }

    /// As [`RecordSource::fields`], of the series at a position of the part's table.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn fields_at(&self, position: u32) -> Result<Option<RecordFields>> {
        if self.meta.layout != Layout::Records {
            return Ok(None);
        }
        if let Some(&known) = self.fields_known().get(&position) {
            return Ok(Some(known));
        }
        let found = self.find_fields(position)?;
        if let Some(fields) = found {
            self.fields_known().insert(position, fields);
        }
        Ok(found)
    }

    fn fields_known(&self) -> MutexGuard<'_, HashMap<u32, RecordFields>> {
        // What the lock guards is whole between any two statements.
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_fields(&self, position: u32) -> Result<Option<RecordFields>> {
        let partials = self.field_chunks(position, Field::Partials, TimeRange::ALL)?;
        if partials.is_empty() {
            return Ok(None);
        }
        let increase = partials.iter().all(|found| {
            matches!(found.chunk.encoding, ValueEncoding::Partials { increase: true, .. })
        });
        let sketches = self.field_chunks(position, Field::Sketches, TimeRange::ALL)?;
        Ok(Some(RecordFields { increase, sketches: sketches.len() == partials.len() }))
    }

    /// As [`RecordSource::read_records`], of the series at a position of the part's table: what
    /// merging parts reads, position by position. Where only some of the records have sketches,
    /// none is given.
    ///
    /// # Errors
    /// I/O or corruption.
    pub fn read_records_at(
        &self,
        position: u32,
        range: TimeRange,
        out: &mut Records,
    ) -> Result<()> {
        out.clear();
        if self.meta.layout != Layout::Records {
            return Ok(());
        }
        let partials = self.field_chunks(position, Field::Partials, range)?;
        let sketches = self.field_chunks(position, Field::Sketches, range)?;
        let with_sketches = sketches.len() == partials.len();
        let mut chunk = (Vec::new(), Vec::new());
        let mut sketches = sketches.iter().filter(|_| with_sketches);
        for found in &partials {
            let before = out.len();
            if before == 0 {
                self.read_chunk(found, &mut out.starts, &mut out.partials)?;
            } else {
                self.read_chunk(found, &mut chunk.0, &mut chunk.1)?;
                out.starts.append(&mut chunk.0);
                out.partials.append(&mut chunk.1);
            }
            if let Some(beside) = sketches.next() {
                self.read_beside(found, beside, &mut out.sketches)?;
            }
            cut(range, before, out);
        }
        Ok(())
    }

    /// As [`RecordSource::pause`], of the series at a position of the part's table: before the chunk of
    /// sketches that begins behind so many rows.
    fn pause_at(&self, position: u32, range: TimeRange) -> Result<Timestamp> {
        let mut rows = 0;
        for found in self.field_chunks(position, Field::Sketches, range)? {
            if rows >= PIECE_ROWS {
                return Ok(found.chunk.first);
            }
            rows += found.chunk.samples;
        }
        Ok(range.end)
    }

    /// Replaces `starts` and `partials` with those of one chunk.
    fn read_chunk(
        &self,
        found: &Found,
        starts: &mut Vec<i64>,
        partials: &mut Vec<Partial>,
    ) -> Result<()> {
        let corrupt = |source| self.corrupt(found.number, source);
        found.segment.read_partials(&found.chunk, starts, partials).map_err(corrupt)?;
        let outside = starts.iter().zip(&*partials).find(|(start, partial)| {
            let (first, last) = (partial.first.timestamp.0, partial.last.timestamp.0);
            partial.count > 0 && !within_bucket(**start, first, last, self.meta.tier)
        });
        outside.map_or(Ok(()), |(&start, _)| {
            let expected = "samples within their bucket";
            Err(corrupt(DecodeError::Invalid { what: "record", found: start as u64, expected }))
        })
    }

    /// Appends the sketches of the same rows as a chunk of aggregates to `out`, where they stay: they are
    /// most of the records.
    fn read_beside(&self, found: &Found, beside: &Found, out: &mut Sketches) -> Result<()> {
        let (one, other) = (&found.chunk, &beside.chunk);
        if (one.first, one.last, one.samples) != (other.first, other.last, other.samples) {
            let expected = "the rows of the aggregates";
            let (what, rows) = ("rows of sketches", u64::from(other.samples));
            let source = DecodeError::Invalid { what, found: rows, expected };
            return Err(self.corrupt(beside.number, source));
        }
        let read = beside.segment.read_sketches(other, out);
        read.map_err(|source| self.corrupt(beside.number, source))
    }
}

/// Leaves of the rows from `from` on those whose start lies in the range.
fn cut(range: TimeRange, from: usize, records: &mut Records) {
    let Records { starts, partials, sketches } = records;
    let added = starts.get(from..).unwrap_or_default();
    let begin = from + added.partition_point(|&start| start < range.start.0);
    let end = from + added.partition_point(|&start| start < range.end.0);
    for outside in [end.max(begin)..starts.len(), from..begin] {
        if !outside.is_empty() {
            starts.drain(outside.clone());
            partials.drain(outside.clone());
            sketches.remove(outside);
        }
    }
}

impl RecordSource for Part {
    fn rank(&self) -> u64 {
        self.meta.rank
    }

    fn tombstones(&self) -> u64 {
        self.meta.tombstones
    }

    fn tier(&self) -> Tier {
        self.meta.tier
    }

    fn window(&self) -> TimeRange {
        self.meta.window
    }

    fn holds(&self, series: SeriesId) -> Result<bool> {
        // A part's table names what it holds, nothing else.
        Ok(self.meta.layout == Layout::Records && self.position(series).is_some())
    }

    fn fields(&self, series: SeriesId) -> Result<Option<RecordFields>> {
        self.position(series).map_or(Ok(None), |position| self.fields_at(position))
    }

    fn pause(&self, series: SeriesId, range: TimeRange) -> Result<Timestamp> {
        self.position(series).map_or(Ok(range.end), |position| self.pause_at(position, range))
    }

    fn read_records(&self, series: SeriesId, range: TimeRange, out: &mut Records) -> Result<()> {
        out.clear();
        self.position(series).map_or(Ok(()), |position| self.read_records_at(position, range, out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{CacheLimits, PartCache, PartMeta, PartSpec};
    use super::*;
    use crate::aggregate::Sketch;
    use crate::fs::{Fs, RealFs};
    use crate::index::Index;
    use crate::model::{Sample, Series};
    use crate::segment::{ChunkSource, SegmentLimits};
    use crate::store::StoreKind;

    const MINUTE: i64 = 60_000_000_000;

    fn spec(tier: Tier, rows: usize) -> PartSpec {
        PartSpec {
            id: 3,
            rank: 30,
            window: TimeRange::new(Timestamp(-100 * MINUTE), Timestamp(5000 * MINUTE)),
            tier,
            layout: Layout::Records,
            tombstones: 7,
            store: StoreKind::Flat,
            limits: SegmentLimits { chunk_samples_max: rows, segment_bytes_target: 4096 },
        }
    }

    fn table(count: usize) -> Vec<Arc<Series>> {
        let series = (0..count).map(|n| Series::new("m", [("n", format!("{n:05}").as_str())]));
        series.map(|series| Arc::new(series.unwrap())).collect()
    }

    fn write(
        parts: &std::path::Path,
        spec: &PartSpec,
        count: usize,
        batches: &[Vec<SeriesRecords<'_>>],
    ) -> Result<PartMeta> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut builder = Builder::new(&fs, parts, spec, &table(count), &[])?;
        batches.iter().try_for_each(|batch| builder.add_records(batch))?;
        builder.finish()
    }

    fn open(parts: &std::path::Path) -> Part {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let cache = Arc::new(PartCache::new(CacheLimits::default()));
        Part::open(&fs, parts, 3, &Index::new(), &cache).unwrap()
    }

    /// Records of minutes: which minutes have samples, every how many seconds, from which on.
    fn folded(minutes: impl Iterator<Item = i64>, step: i64, offset: i64, seed: u64) -> Records {
        let mut records = Records::default();
        for minute in minutes {
            let times: Vec<i64> = (0..60 / step)
                .map(|i| minute * MINUTE + (offset + i * step) * 1_000_000_000)
                .collect();
            let value = |&t: &i64| {
                let mixed = (t as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
                mixed as f64 / 100.0
            };
            let values: Vec<f64> = times.iter().map(value).collect();
            records.starts.push(minute * MINUTE);
            records.partials.push(Partial::of(&times, &values));
            records.sketches.push(&Sketch::of(&values));
        }
        records
    }

    fn bits(partial: &Partial, increase: bool) -> Option<[u64; 10]> {
        let grown = if increase { partial.increase.to_bits() } else { 0 };
        (partial.count > 0).then(|| {
            [
                partial.count,
                partial.sum.to_bits(),
                partial.min.to_bits(),
                partial.max.to_bits(),
                partial.first.value.to_bits(),
                partial.first.timestamp.0 as u64,
                partial.last.value.to_bits(),
                partial.last.timestamp.0 as u64,
                grown,
                if increase { partial.resets } else { 0 },
            ]
        })
    }

    fn assert_same(found: &Records, expected: &Records, increase: bool) {
        assert_eq!(found.starts, expected.starts);
        assert_eq!(found.sketches, expected.sketches);
        let list = |records: &Records| -> Vec<_> {
            records.partials.iter().map(|partial| bits(partial, increase)).collect()
        };
        assert_eq!(list(found), list(expected));
        if !increase {
            assert!(found.partials.iter().all(|p| p.increase.is_nan() && p.resets == 0));
        }
    }

    /// The records within a range, by filtering.
    fn within(records: &Records, range: TimeRange) -> Records {
        let mut out = Records::default();
        for (row, &start) in records.starts.iter().enumerate() {
            if range.contains(Timestamp(start)) {
                out.starts.push(start);
                out.partials.push(records.partials[row]);
                out.sketches.extend(records.sketches.get(row));
            }
        }
        out
    }

    fn check(part: &Part, position: u32, written: &Records, increase: bool) {
        let series = part.series_ids()[position as usize];
        let mut found = Records::default();
        for (from, to) in [(-100, 5000), (3, 40), (0, 1), (17, 17), (39, 4000)] {
            let range = TimeRange::new(Timestamp(from * MINUTE), Timestamp(to * MINUTE));
            part.read_records(series, range, &mut found).unwrap();
            assert_same(&found, &within(written, range), increase);
        }
        let fields = RecordFields { increase, sketches: !written.sketches.is_empty() };
        let expected = (!written.is_empty()).then_some(fields);
        assert_eq!(part.fields(series).unwrap(), expected);
    }

    #[test]
    fn records_read_back_and_share_their_times() {
        let parts = tempfile::tempdir().unwrap();
        let mut all: Vec<Records> = (0..20).map(|seed| folded(0..90, 10, 3, seed)).collect();
        // Without sketches, with gaps, at the starts, once a minute, none at all, emptied buckets.
        all.iter_mut().take(12).for_each(|records| records.sketches.clear());
        all[1] = folded((0..90).filter(|m| m % 7 != 0), 10, 3, 1);
        all[2] = folded(0..90, 10, 0, 2);
        all[3] = folded(5..95, 60, 0, 3);
        all[4] = folded(5..95, 60, 9, 3);
        all[5] = Records::default();
        for row in [0, 4, 5, 89] {
            all[6].partials[row] = Partial::EMPTY;
        }
        let batch = |positions: std::ops::Range<u32>| -> Vec<SeriesRecords<'_>> {
            let records = positions.zip(&all);
            let column = |(position, records)| SeriesRecords {
                position,
                increase: position % 2 == 0,
                records,
            };
            records.map(column).collect()
        };
        let meta = write(parts.path(), &spec(Tier::MINUTE, 32), 20, &[batch(0..20)]).unwrap();
        assert_eq!((meta.tier, meta.layout, meta.tombstones), (Tier::MINUTE, Layout::Records, 7));
        let part = open(parts.path());
        for (position, records) in (0..).zip(&all) {
            check(&part, position, records, position % 2 == 0);
        }
        // Series 0, 7..20 share: one set of three columns for each cut.
        let report = part.verify(&mut |_| ());
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let names: Vec<_> = part.column_stats().unwrap().iter().map(|s| s.encoding).collect();
        assert!(names.contains(&"partials") && names.contains(&"sketches"), "{names:?}");
        let (mut chunks, samples) = (Vec::new(), part.series_ids()[0]);
        part.chunks(samples, TimeRange::ALL, &mut chunks).unwrap();
        assert!(chunks.is_empty(), "no samples in a part of records");
        assert_eq!(ChunkSource::tombstones(&part), 7);
    }

    #[test]
    fn reading_in_pieces_is_reading_at_once() {
        let parts = tempfile::tempdir().unwrap();
        let records = folded((0..700).filter(|minute| minute % 9 != 4), 30, 7, 5);
        let batch = [SeriesRecords { position: 0, increase: true, records: &records }];
        write(parts.path(), &spec(Tier::MINUTE, 32), 1, &[batch.to_vec()]).unwrap();
        let part = open(parts.path());
        let series = part.series_ids()[0];
        for (from, to) in [(-50, 1000), (3, 690), (100, 100), (0, 20)] {
            let range = TimeRange::new(Timestamp(from * MINUTE), Timestamp(to * MINUTE));
            let (mut joined, mut piece, mut lengths) =
                (Records::default(), Records::default(), Vec::new());
            let mut start = range.start;
            while start < range.end {
                let end = part.pause(series, TimeRange::new(start, range.end)).unwrap();
                assert!(start < end && end <= range.end);
                part.read_records(series, TimeRange::new(start, end), &mut piece).unwrap();
                lengths.push(piece.len());
                joined.starts.append(&mut piece.starts);
                joined.partials.append(&mut piece.partials);
                joined.sketches.append(&piece.sketches);
                start = end;
            }
            assert_same(&joined, &within(&records, range), true);
            // Whole chunks but where the range begins.
            assert!(lengths.iter().skip(1).all(|&length| length <= 256), "{lengths:?}");
            assert!(to < 500 || lengths.len() == 3, "{lengths:?}");
        }
    }

    #[test]
    fn a_series_may_come_in_several_batches() {
        let parts = tempfile::tempdir().unwrap();
        let pieces: Vec<Records> =
            [0..40, 40..41, 60..100].map(|m| folded(m, 20, 5, 9)).into_iter().collect();
        // One whose times follow, between two whose times do not.
        let batches: Vec<Vec<SeriesRecords<'_>>> = pieces
            .iter()
            .map(|records| vec![SeriesRecords { position: 1, increase: true, records }])
            .collect();
        write(parts.path(), &spec(Tier::MINUTE, 16), 2, &batches).unwrap();
        let mut joined = Records::default();
        for piece in &pieces {
            joined.starts.extend(&piece.starts);
            joined.partials.extend(&piece.partials);
            joined.sketches.append(&piece.sketches);
        }
        check(&open(parts.path()), 1, &joined, true);
        check(&open(parts.path()), 0, &Records::default(), true);
    }

    #[test]
    fn distributions_stand_where_they_were_recorded() {
        let parts = tempfile::tempdir().unwrap();
        let mut records = Records::default();
        for at in [5, 1_000_000_007, 2_000_000_001_i64] {
            let sketch = Sketch::of(&[0.1, 0.2, at as f64]);
            let nan = Sample { timestamp: Timestamp(at), value: f64::NAN };
            let (min, max, sum) = (0.1, at as f64, at as f64 + 0.3);
            records.starts.push(at);
            records.partials.push(Partial {
                count: 3,
                sum,
                min,
                max,
                first: nan,
                last: nan,
                increase: 3.0,
                resets: 0,
            });
            records.sketches.push(&sketch);
        }
        let batch = vec![SeriesRecords { position: 0, increase: true, records: &records }];
        write(parts.path(), &spec(Tier::RAW, 1024), 1, &[batch]).unwrap();
        check(&open(parts.path()), 0, &records, true);
    }

    #[test]
    fn input_that_breaks_the_rules_is_refused() {
        let good = folded(0..3, 10, 3, 1);
        let broken = |change: fn(&mut Records)| {
            let parts = tempfile::tempdir().unwrap();
            let mut records = good.clone();
            change(&mut records);
            let batch = vec![SeriesRecords { position: 0, increase: true, records: &records }];
            write(parts.path(), &spec(Tier::MINUTE, 1024), 1, &[batch])
        };
        assert!(broken(|_| ()).is_ok());
        let changes: [fn(&mut Records); 7] = [
            |records| records.starts[1] += 1,
            |records| records.starts[1] = records.starts[0],
            |records| records.partials[2].last.timestamp.0 += MINUTE,
            |records| records.partials[2].first.timestamp.0 -= MINUTE,
            |records| records.sketches.resize(2),
            |records| records.partials.truncate(2),
            |records| records.starts.iter_mut().for_each(|start| *start += 9000 * MINUTE),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let refused = broken(change);
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "change {number}");
        }
        let parts = tempfile::tempdir().unwrap();
        let series = SeriesRecords { position: 1, increase: true, records: &good };
        assert!(write(parts.path(), &spec(Tier::MINUTE, 9), 1, &[vec![series]]).is_err());
        assert!(write(parts.path(), &spec(Tier::MINUTE, 9), 2, &[vec![series, series]]).is_err());
        let samples = PartSpec { layout: Layout::Samples, ..spec(Tier::RAW, 9) };
        assert!(write(parts.path(), &samples, 2, &[vec![series]]).is_err());
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1000..1000_i32).prop_map(|n| f64::from(n) / 10.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(-0.0),
        ]
    }

    /// One record in some of the first buckets: any numbers, any times within the bucket.
    fn any_records() -> impl Strategy<Value = Records> {
        let numbers = [value(), value(), value(), value(), value(), value()];
        let row = (0..4_u64, numbers, 0..MINUTE, 0..MINUTE, 0..3_u64, prop::bool::weighted(0.8));
        (prop::collection::vec(row, 0..60), any::<bool>()).prop_map(|(rows, with_sketches)| {
            let mut records = Records::default();
            for (at, (count, numbers, one, other, resets, kept)) in (-20..).zip(rows) {
                let [first, last, min, max, sum, increase] = numbers;
                let start = at * MINUTE;
                let sample =
                    |time: i64, value| Sample { timestamp: Timestamp(start + time), value };
                let (first, last) = (sample(one.min(other), first), sample(one.max(other), last));
                if kept {
                    records.starts.push(start);
                    records.partials.push(Partial {
                        count,
                        sum,
                        min,
                        max,
                        first,
                        last,
                        increase,
                        resets,
                    });
                    let values = [first.value, min].repeat(count as usize);
                    if with_sketches {
                        records.sketches.push(&Sketch::of(&values));
                    }
                }
            }
            records
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_records_round_trip(
            all in prop::collection::vec((any_records(), any::<bool>()), 1..6), rows in 1..40_usize,
        ) {
            let parts = tempfile::tempdir().unwrap();
            let batch: Vec<SeriesRecords<'_>> = (0..)
                .zip(&all)
                .map(|(position, (records, increase))| {
                    SeriesRecords { position, increase: *increase, records }
                })
                .collect();
            write(parts.path(), &spec(Tier::MINUTE, rows), all.len(), &[batch]).unwrap();
            let part = open(parts.path());
            for (position, (records, increase)) in (0..).zip(&all) {
                check(&part, position, records, *increase);
            }
            prop_assert!(part.verify(&mut |_| ()).problems.is_empty());
        }
    }
}
