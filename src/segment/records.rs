//! Records: the aggregates of one series over successive buckets, and how they stand in a segment.
//!
//! A series of records has one column or two ([`Field`]), cut into chunks at the same rows, which
//! stand at the buckets' starts: the aggregates and, where there are any, the sketches. The times
//! of the first and of the last samples are two more timestamp columns right behind the starts',
//! each left out where it follows: the first samples' where they stand at the starts, the last
//! ones' where they are the first ones. Series of a batch that have the same times share the
//! columns, so one scrape's records cost their times once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::builder::{EncodedTimestamps, EncodedValues};
use super::encoded::{EncodedGroup, ReadEncoded, lay_segments};
use super::writer::{EncodedSegment, SegmentLimits};
use crate::aggregate::{Partial, Sketches};
use crate::codec::values::ValueEncoding;
use crate::codec::{COLUMN_VALUES_MAX, partials, sketches};
use crate::error::{Error, Result};
use crate::time::{Tier, Timestamp};

/// Aggregates of one series, ascending by start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Where each bucket starts, strictly ascending; of a distribution as it was recorded, when.
    pub starts: Vec<i64>,
    /// As many: what each bucket holds. Where increase and resets are left out
    /// ([`RecordFields`](super::RecordFields)), `increase` is NaN and `resets` 0. `first` and
    /// `last` of a distribution have the value NaN, and its increase is its count.
    pub partials: Vec<Partial>,
    /// As many, or none where the records carry no sketches.
    pub sketches: Sketches,
}

impl Records {
    /// Removes all records, keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.partials.clear();
        self.sketches.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// A column of a series of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The aggregates.
    Partials = 0,
    /// The sketches.
    Sketches = 1,
}

impl Field {
    /// Columns that a series has room for.
    pub const ROOM: u32 = 16;

    /// The number of this column of the series at `position` of the part's table, as segments
    /// count series; `None` beyond 2^28 series.
    #[must_use]
    pub fn column(self, position: u32) -> Option<u32> {
        position.checked_mul(Self::ROOM)?.checked_add(self as u32)
    }
}

/// Records of one series, to be written.
#[derive(Debug, Clone, Copy)]
pub struct SeriesRecords<'a> {
    /// The series' position in the part's table.
    pub position: u32,
    /// Whether increase and resets are kept: not of a known gauge.
    pub increase: bool,
    /// What to write. A record of count 0 says that its bucket became empty, and reads back as
    /// [`Partial::EMPTY`].
    pub records: &'a Records,
}

/// Most rows of a chunk with sketches: each may take a few hundred bytes, and many thousand in
/// memory.
const SKETCH_ROWS_MAX: usize = 256;

/// Encodes records into segments and hands each to `sink`, in order: [`encode_segments`] for
/// columns `position * 16 + field`. Equal input gives equal bytes, whatever the number of threads.
/// Series without records are passed over.
///
/// # Errors
/// As [`encode_segments`]; [`Error::InvalidArgument`] where positions do not ascend strictly or
/// reach 2^28, lists are not as long as they should be, starts do not ascend strictly or are not
/// buckets of the tier, or the samples' times are not within theirs.
///
/// [`encode_segments`]: super::encode_segments
pub fn encode_records(
    batch: &[SeriesRecords<'_>],
    tier: Tier,
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    if !(1..=COLUMN_VALUES_MAX).contains(&limits.chunk_samples_max) {
        let reason = format!("{} is not within 1..=65536", limits.chunk_samples_max);
        return Err(Error::InvalidOption { option: "chunk_samples_max", reason });
    }
    if !batch.is_sorted_by(|a, b| a.position < b.position) {
        return Err(invalid("do not ascend strictly by position".to_owned()));
    }
    let mut stretches = Stretches::default();
    for (index, series) in batch.iter().enumerate() {
        let SeriesRecords { position, records, .. } = series;
        check(records, tier)
            .map_err(|reason| invalid(format!("of series {position}: {reason}")))?;
        if records.is_empty() {
            continue;
        }
        let rows_max = match records.sketches.len() {
            0 => limits.chunk_samples_max,
            _ => limits.chunk_samples_max.min(SKETCH_ROWS_MAX),
        };
        let stretch = stretches.of(Times::of(records), rows_max);
        let sketches = (!records.sketches.is_empty()).then_some(Field::Sketches);
        for field in [Some(Field::Partials), sketches].into_iter().flatten() {
            let column = field.column(*position).ok_or_else(|| invalid("too many".to_owned()))?;
            stretch.members.push(Member { column, index, field });
        }
    }
    lay(batch, &stretches.list, limits, sink)
}

fn invalid(reason: String) -> Error {
    Error::InvalidArgument { what: "records", reason }
}

/// What is wrong with the records, if anything is.
fn check(records: &Records, tier: Tier) -> Result<(), String> {
    let Records { starts, partials, sketches } = records;
    if partials.len() != starts.len() || !matches!(sketches.len(), n if n == 0 || n == starts.len())
    {
        let (starts, partials, sketches) = (starts.len(), partials.len(), sketches.len());
        return Err(format!("{starts} starts, {partials} partials, {sketches} sketches"));
    }
    if !starts.is_sorted_by(|a, b| a < b) {
        return Err("starts do not ascend strictly".to_owned());
    }
    for (&start, partial) in starts.iter().zip(partials) {
        if tier.floor(Timestamp(start)).0 != start {
            return Err(format!("{start} starts no bucket"));
        }
        let (first, last) = (partial.first.timestamp.0, partial.last.timestamp.0);
        if partial.count > 0 && !within_bucket(start, first, last, tier) {
            return Err(format!("{first} to {last} are not within the bucket at {start}"));
        }
    }
    Ok(())
}

/// Whether the first and last sample's times lie in the bucket; raw ones are points.
pub(crate) const fn within_bucket(start: i64, first: i64, last: i64, tier: Tier) -> bool {
    let length = if tier.is_raw() { 1 } else { tier.nanos() };
    start <= first && first <= last && (last.wrapping_sub(start) as u64) < length as u64
}

/// The times of a series' records, as many of each.
#[derive(PartialEq, Eq, Hash)]
struct Times {
    starts: Vec<i64>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

impl Times {
    fn of(records: &Records) -> Self {
        let Records { starts, partials, .. } = records;
        let times = |time: fn(&Partial) -> Timestamp| -> Vec<i64> {
            let rows = starts.iter().zip(partials);
            rows.map(|(&start, p)| if p.count == 0 { start } else { time(p).0 }).collect()
        };
        let firsts = times(|partial| partial.first.timestamp);
        let lasts = times(|partial| partial.last.timestamp);
        Self { starts: starts.clone(), firsts, lasts }
    }

    fn has_firsts(&self) -> bool {
        self.firsts != self.starts
    }

    fn has_lasts(&self) -> bool {
        self.lasts != self.firsts
    }

    fn rows(&self, rows: Range<usize>) -> partials::Times<'_> {
        let firsts = self.firsts.get(rows.clone()).unwrap_or_default();
        partials::Times { firsts, lasts: self.lasts.get(rows).unwrap_or_default() }
    }

    /// The columns of each cut.
    fn encode(&self, rows_max: usize) -> Vec<EncodedTimestamps> {
        let companions = |start: usize| {
            let column =
                |times: &[i64]| times.chunks(rows_max).nth(start).map(EncodedTimestamps::of);
            let firsts = self.has_firsts().then(|| column(&self.firsts)).flatten();
            let lasts = self.has_lasts().then(|| column(&self.lasts)).flatten();
            firsts.into_iter().chain(lasts).collect()
        };
        let starts = self.starts.chunks(rows_max).enumerate();
        starts.map(|(at, cut)| EncodedTimestamps::of(cut).followed_by(companions(at))).collect()
    }
}

/// A column of a series of the batch.
#[derive(Clone, Copy)]
struct Member {
    column: u32,
    /// Into the batch.
    index: usize,
    field: Field,
}

/// Columns at the same times, cut at the same rows.
struct Stretch {
    times: Times,
    rows_max: usize,
    members: Vec<Member>,
}

/// All stretches of a batch, in the order of their first series.
#[derive(Default)]
struct Stretches {
    list: Vec<Stretch>,
    /// Which of them have this hash.
    by_hash: HashMap<u64, Vec<usize>>,
}

impl Stretches {
    /// The stretch of these times, a new one where there is none.
    fn of(&mut self, times: Times, rows_max: usize) -> &mut Stretch {
        let mut hasher = DefaultHasher::new();
        (&times, rows_max).hash(&mut hasher);
        let alike = self.by_hash.entry(hasher.finish()).or_default();
        let same = |at: &usize| {
            self.list.get(*at).is_some_and(|s| s.times == times && s.rows_max == rows_max)
        };
        let at = alike.iter().copied().find(same).unwrap_or(self.list.len());
        if at == self.list.len() {
            alike.push(at);
            self.list.push(Stretch { times, rows_max, members: Vec::new() });
        }
        #[expect(clippy::indexing_slicing, reason = "found, or pushed just now")]
        &mut self.list[at]
    }
}

fn lay(
    batch: &[SeriesRecords<'_>],
    stretches: &[Stretch],
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    struct Laid<'a> {
        columns: Vec<u32>,
        timestamps: Vec<EncodedTimestamps>,
        read: Box<ReadEncoded<'a>>,
    }
    let laid: Vec<Laid<'_>> = stretches
        .iter()
        .map(|stretch| {
            let Stretch { times, rows_max, members } = stretch;
            let read = move |at: usize, chunk: usize| {
                let member = members.get(at);
                let series = member.and_then(|member| batch.get(member.index));
                let (member, series) =
                    member.zip(series).ok_or_else(|| invalid("beyond the batch".to_owned()))?;
                let start = chunk * rows_max;
                let rows = start..times.starts.len().min(start + rows_max);
                Ok(encode_chunk(series, member.field, times, rows))
            };
            Laid {
                columns: members.iter().map(|member| member.column).collect(),
                timestamps: times.encode(*rows_max),
                read: Box::new(read),
            }
        })
        .collect();
    let groups: Vec<EncodedGroup<'_>> = laid
        .iter()
        .map(|laid| EncodedGroup {
            series: &laid.columns,
            timestamps: &laid.timestamps,
            read: &*laid.read,
        })
        .collect();
    lay_segments(&groups, limits, sink)
}

fn encode_chunk(
    series: &SeriesRecords<'_>,
    field: Field,
    times: &Times,
    rows: Range<usize>,
) -> EncodedValues {
    let SeriesRecords { records, increase, .. } = *series;
    let (mut bytes, samples) = (Vec::new(), rows.len());
    if field == Field::Sketches {
        sketches::encode(records.sketches.range(rows), &mut bytes);
        return EncodedValues::without_statistics(ValueEncoding::Sketches, samples, 0.0, bytes);
    }
    let partials = records.partials.get(rows.clone()).unwrap_or_default();
    let cut = times.rows(rows);
    let constant = partials::constant_of(partials, cut, increase);
    if constant.is_none() {
        partials::encode(partials, cut, increase, &mut bytes);
    }
    let encoding = ValueEncoding::Partials {
        constant: constant.is_some(),
        increase,
        firsts: times.has_firsts(),
        lasts: times.has_lasts(),
    };
    EncodedValues::without_statistics(encoding, samples, constant.unwrap_or_default(), bytes)
}
