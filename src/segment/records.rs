//! Records: the aggregates of one series over successive buckets, and how they stand in a segment.
//!
//! A series of records has up to four columns ([`Field`]), cut into chunks at the same rows: the
//! aggregates and, where there are any, the sketches stand at the buckets' starts; the times of
//! the first and of the last samples are two more timestamp columns, under chunks whose values say
//! nothing. Timestamp columns are shared by all series of a batch that have the same, so one
//! scrape's records cost their times once. A column of times that follows is left out: the first
//! samples' where they stand at the starts, the last ones' where they are the first ones.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::builder::{EncodedTimestamps, EncodedValues};
use super::encoded::{EncodedGroup, ReadEncoded, lay_segments};
use super::writer::{EncodedSegment, SegmentLimits};
use crate::aggregate::{Partial, Sketch};
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
    pub sketches: Vec<Sketch>,
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
    /// The aggregates, at the starts.
    Partials = 0,
    /// The times of the first samples; its values say nothing. Missing where these are the starts.
    Firsts = 1,
    /// The times of the last samples; its values say nothing. Missing where these are the first
    /// samples' times.
    Lasts = 2,
    /// The sketches, at the starts.
    Sketches = 3,
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
    let mut shared = [Shared::default(), Shared::default(), Shared::default()];
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
        let times = Times::of(records);
        let [starts, firsts, lasts] = &mut shared;
        let member = |field: Field| -> Result<Member> {
            let column = field.column(*position).ok_or_else(|| invalid("too many".to_owned()))?;
            let (firsts, lasts) = (!times.firsts.is_empty(), !times.lasts.is_empty());
            Ok(Member { column, index, field, firsts, lasts })
        };
        starts.add(&records.starts, rows_max, member(Field::Partials)?);
        if !records.sketches.is_empty() {
            starts.add(&records.starts, rows_max, member(Field::Sketches)?);
        }
        if !times.firsts.is_empty() {
            firsts.add(&times.firsts, rows_max, member(Field::Firsts)?);
        }
        if !times.lasts.is_empty() {
            lasts.add(&times.lasts, rows_max, member(Field::Lasts)?);
        }
    }
    lay(batch, shared.iter().flat_map(|shared| &shared.stretches), limits, sink)
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

/// The samples' times of a series' records, empty where they follow.
struct Times {
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
        let lasts = if lasts == firsts { Vec::new() } else { lasts };
        let firsts = if firsts == *starts { Vec::new() } else { firsts };
        Self { firsts, lasts }
    }
}

/// A column of a series of the batch.
#[derive(Clone, Copy)]
struct Member {
    column: u32,
    /// Into the batch.
    index: usize,
    field: Field,
    /// Whether the series has columns of times.
    firsts: bool,
    lasts: bool,
}

/// Columns at the same timestamps, cut at the same rows.
struct Stretch {
    times: Vec<i64>,
    rows_max: usize,
    members: Vec<Member>,
}

/// Stretches of one kind of time, by their times.
#[derive(Default)]
struct Shared {
    stretches: Vec<Stretch>,
    /// Which stretches have this hash.
    by_hash: HashMap<u64, Vec<usize>>,
}

impl Shared {
    fn add(&mut self, times: &[i64], rows_max: usize, member: Member) {
        let mut hasher = DefaultHasher::new();
        (times, rows_max).hash(&mut hasher);
        let alike = self.by_hash.entry(hasher.finish()).or_default();
        let same = alike.iter().copied().find(|&at| {
            self.stretches.get(at).is_some_and(|s| s.times == times && s.rows_max == rows_max)
        });
        match same.and_then(|at| self.stretches.get_mut(at)) {
            Some(stretch) => stretch.members.push(member),
            None => {
                alike.push(self.stretches.len());
                let members = vec![member];
                self.stretches.push(Stretch { times: times.to_vec(), rows_max, members });
            }
        }
    }
}

fn lay<'a>(
    batch: &[SeriesRecords<'_>],
    stretches: impl Iterator<Item = &'a Stretch>,
    limits: &SegmentLimits,
    sink: &mut dyn FnMut(EncodedSegment) -> Result<()>,
) -> Result<()> {
    struct Laid<'a> {
        columns: Vec<u32>,
        timestamps: Vec<EncodedTimestamps>,
        read: Box<ReadEncoded<'a>>,
    }
    let laid: Vec<Laid<'_>> = stretches
        .map(|stretch| {
            let Stretch { times, rows_max, members } = stretch;
            let read = move |at: usize, chunk: usize| {
                let member = members.get(at).ok_or_else(|| invalid("beyond the batch".into()))?;
                let start = chunk * rows_max;
                let rows = start..times.len().min(start + rows_max);
                Ok(encode_chunk(batch, *member, rows))
            };
            Laid {
                columns: members.iter().map(|member| member.column).collect(),
                timestamps: times.chunks(*rows_max).map(EncodedTimestamps::of).collect(),
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

fn encode_chunk(batch: &[SeriesRecords<'_>], member: Member, rows: Range<usize>) -> EncodedValues {
    let empty = Records::default();
    let (records, increase) = match batch.get(member.index) {
        Some(series) => (series.records, series.increase),
        None => (&empty, false),
    };
    let mut bytes = Vec::new();
    let samples = rows.len() as u32;
    let encoding = match member.field {
        Field::Partials => {
            let partials = records.partials.get(rows).unwrap_or_default();
            partials::encode(partials, increase, &mut bytes);
            let Member { firsts, lasts, .. } = member;
            ValueEncoding::Partials { increase, firsts, lasts }
        }
        Field::Sketches => {
            sketches::encode(records.sketches.get(rows).unwrap_or_default(), &mut bytes);
            ValueEncoding::Sketches
        }
        Field::Firsts | Field::Lasts => ValueEncoding::Constant,
    };
    EncodedValues::without_statistics(encoding, samples, bytes)
}
