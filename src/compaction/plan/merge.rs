//! Merges: fewer, longer parts, without making anything dirty that no late sample touched.

use super::build::connected;
use super::cells::{cell, ladder};
use super::{MergeCause, Plan, Task, ids, meets, order_of_writes};
use crate::retention::PartView;
use crate::time::{Tier, TimeRange};

/// So many parts of one window are merged even while more may come.
const MANY: usize = 4;
/// A part joins younger ones where it is at most so many times as large as they are together: each
/// sample is written again a logarithmic number of times.
const GROWTH: u64 = 8;
/// What a part costs whatever it holds, bytes.
const PART_BYTES: u64 = 64 << 10;
/// Chunks are short where rewriting makes them longer by more than this.
const CHUNK_GROWTH: u64 = 4;

impl Plan<'_> {
    /// A raw part that deletes affect, or a tier part that they affect with its patches.
    pub(super) fn purge(&self) -> Option<Task> {
        let mut affected: Vec<&PartView> =
            self.situation.parts.iter().filter(|part| !part.purgeable.is_empty()).collect();
        // Coarser ones first: see `raises`.
        affected.sort_by_key(|part| (std::cmp::Reverse(part.entry.tier), part.entry.id));
        affected.into_iter().find_map(|part| {
            let mut parts = vec![part];
            if !part.entry.tier.is_raw() {
                parts = self.overlapping(part);
            }
            parts.sort_by_key(|part| order_of_writes(part));
            let mut tombstones: Vec<u64> =
                parts.iter().flat_map(|part| part.purgeable.iter().copied()).collect();
            tombstones.sort_unstable();
            tombstones.dedup();
            let fits = bytes(&parts) <= self.situation.input_bytes_max;
            fits.then(|| Task::Purge { parts: ids(&parts), tombstones })
        })
    }

    /// The part and all others of its kind that overlap it, directly or through others.
    fn overlapping(&self, part: &PartView) -> Vec<&PartView> {
        let kind = || self.situation.parts.iter().filter(|other| same_kind(part, other));
        let hulls = connected(kind().map(|other| other.entry.window));
        let hull = hulls.into_iter().find(|hull| meets(*hull, part.entry.window));
        kind().filter(|other| hull.is_some_and(|hull| meets(hull, other.entry.window))).collect()
    }

    /// The coarsest tier's: a merge of finer parts raises their rank, which coarser ones must have
    /// reached.
    pub(super) fn merge_tiers(&self) -> Option<Task> {
        self.tiers().rev().find_map(|(tier, _)| {
            let kinds = self.kinds(tier);
            let longer = kinds.iter().find_map(|kind| self.merge_adjacent(tier, kind));
            longer.or_else(|| kinds.iter().find_map(|kind| self.merge_patches(kind)))
        })
    }

    /// The tier's parts by what may be merged with each other, in the order of writes.
    fn kinds(&self, tier: Tier) -> Vec<Vec<&PartView>> {
        let of_tier = self.situation.parts.iter().filter(|part| part.entry.tier == tier);
        let mut parts: Vec<&PartView> = of_tier.collect();
        parts.sort_by(|one, next| {
            let kind = |part: &PartView| part.entry.layout as u8;
            let key = (kind(one), &one.classes).cmp(&(kind(next), &next.classes));
            key.then(order_of_writes(one).cmp(&order_of_writes(next)))
        });
        parts.chunk_by(|one, next| same_kind(one, next)).map(<[_]>::to_vec).collect()
    }

    /// All parts that follow one another without a gap in a cell of the tier's ladder, the longest
    /// cells first.
    fn merge_adjacent(&self, tier: Tier, kind: &[&PartView]) -> Option<Task> {
        let hulls = connected(kind.iter().map(|part| part.entry.window));
        let lengths = ladder(&self.tiers, tier, self.situation.partition_ns);
        for length in lengths.into_iter().rev() {
            let mut done = None;
            for hull in &hulls {
                let cell = cell(hull.start, length);
                let over = cell.end <= tier.floor(self.settled);
                if done == Some(cell) || !over || hull.end > cell.end {
                    continue;
                }
                done = Some(cell);
                let within =
                    hulls.iter().filter(|hull| cell.start <= hull.start && hull.end <= cell.end);
                let within: Vec<&TimeRange> = within.collect();
                for run in within.chunk_by(|one, next| one.end == next.start) {
                    let (Some(first), Some(last), 2..) = (run.first(), run.last(), run.len())
                    else {
                        continue;
                    };
                    let run = TimeRange::new(first.start, last.end);
                    let parts: Vec<&PartView> =
                        kind.iter().copied().filter(|part| meets(part.entry.window, run)).collect();
                    let largest = parts.iter().map(|part| weight(part)).max().unwrap_or(0);
                    let all: u64 = parts.iter().map(|part| weight(part)).sum();
                    if largest <= (all - largest).saturating_mul(GROWTH) && self.admits(&parts) {
                        return Some(Task::Merge { parts: ids(&parts), why: MergeCause::Adjacent });
                    }
                }
            }
        }
        None
    }

    /// Patches with each other, and with what they patch where they are large enough.
    fn merge_patches(&self, kind: &[&PartView]) -> Option<Task> {
        connected(kind.iter().map(|part| part.entry.window)).into_iter().find_map(|hull| {
            let stack = kind.iter().copied().filter(|part| meets(part.entry.window, hull));
            let parts = self.youngest(&stack.collect::<Vec<_>>(), true)?;
            Some(Task::Merge { parts: ids(&parts), why: MergeCause::Patches })
        })
    }

    /// Raw parts of one window.
    pub(super) fn merge_raw(&self) -> Option<Task> {
        let mut short = None;
        for kind in self.kinds(Tier::RAW) {
            let mut kind = kind;
            // Stable: in the order of writes within each window.
            kind.sort_by_key(|part| (part.entry.window.start, part.entry.window.end));
            for stack in kind.chunk_by(|one, next| one.entry.window == next.entry.window) {
                let over = self.situation.everything
                    || stack.first().is_some_and(|part| part.entry.window.end <= self.settled);
                if let Some(parts) = self.youngest(stack, over) {
                    let why = if over { MergeCause::Closed } else { MergeCause::Many };
                    return Some(Task::Merge { parts: ids(&parts), why });
                }
                if over && short.is_none() {
                    short = stack.iter().find(|part| self.has_short_chunks(part)).copied();
                }
            }
        }
        short.map(|part| Task::Merge { parts: ids(&[part]), why: MergeCause::ShortChunks })
    }

    /// Of parts in the order of writes, the youngest that may be merged and are worth it: all of
    /// them where `whole` allows that, or at least [`MANY`].
    fn youngest<'b>(&self, stack: &[&'b PartView], whole: bool) -> Option<Vec<&'b PartView>> {
        let growth = if self.situation.everything { u64::MAX } else { GROWTH };
        for end in (2..=stack.len()).rev() {
            let older = stack.get(..end).unwrap_or_default();
            let (mut sum, mut length) = (0_u64, 0);
            for part in older.iter().rev() {
                if length > 0 && weight(part) > sum.saturating_mul(growth) {
                    break;
                }
                sum = sum.saturating_add(weight(part));
                length += 1;
            }
            while length >= 2 && (length >= MANY || whole && length == stack.len()) {
                let run = older.get(end - length..).unwrap_or_default();
                if self.admits(run) {
                    return Some(run.to_vec());
                }
                length -= 1;
            }
        }
        None
    }

    /// Whether parts of one kind, in the order of writes, may become one of their highest rank.
    fn admits(&self, parts: &[&PartView]) -> bool {
        bytes(parts) <= self.situation.input_bytes_max / 2
            && parts.iter().all(|part| part.purgeable.is_empty())
            && !self.reorders(parts)
            && !self.raises(parts)
            && !self.hides(parts)
    }

    /// Whether a part that is not among these would no longer win against one that it overrides.
    fn reorders(&self, parts: &[&PartView]) -> bool {
        let highest = parts.iter().map(|part| order_of_writes(part)).max();
        let others = self.situation.parts.iter().filter(|other| {
            Some(order_of_writes(other)) < highest
                && !parts.iter().any(|part| part.entry.id == other.entry.id)
        });
        others.into_iter().any(|other| parts.iter().any(|part| other.overrides(part)))
    }

    /// Whether a coarser tier has taken in what one of the parts holds, but not up to the rank that
    /// it would have: all of its buckets would be dirty.
    fn raises(&self, parts: &[&PartView]) -> bool {
        let highest = parts.iter().map(|part| part.entry.rank).max().unwrap_or(0);
        parts.iter().any(|part| {
            let (tier, rank) = (part.entry.tier, part.entry.rank);
            self.tiers().filter(|(coarser, _)| *coarser > tier).any(|(coarser, coverage)| {
                let mut pieces = coverage.pieces(Self::span(part, coarser));
                pieces.any(|(_, covered)| covered.is_some_and(|c| rank <= c && c < highest))
            })
        })
    }

    /// Whether samples that the tier has not taken in would count as taken in by the merged part.
    fn hides(&self, parts: &[&PartView]) -> bool {
        let Some(tier) = parts.first().map(|part| part.entry.tier).filter(|tier| !tier.is_raw())
        else {
            return false;
        };
        let starts = parts.iter().map(|part| part.entry.window.start);
        let ends = parts.iter().map(|part| part.entry.window.end);
        let (Some(start), Some(end)) = (starts.min(), ends.max()) else { return false };
        let hull = TimeRange::new(start, end);
        let finer = self.situation.parts.iter().filter(|part| {
            part.entry.tier < tier && parts.iter().any(|merged| merged.shares_a_class(part))
        });
        let coverage = self.tiers().find(|(of, _)| *of == tier);
        coverage.is_some_and(|(_, coverage)| {
            finer.into_iter().any(|part| {
                self.unabsorbed(part, tier, coverage).any(|(piece, _)| meets(piece, hull))
            })
        })
    }

    fn has_short_chunks(&self, part: &PartView) -> bool {
        let entry = &part.entry;
        let columns = u64::from(entry.series) * u64::from(entry.layout.columns_per_series());
        let possible =
            (entry.samples / columns.max(1)).min(self.situation.chunk_samples_max as u64);
        let found = entry.samples / part.chunks.max(1);
        !part.rewritten
            && found.saturating_mul(CHUNK_GROWTH) < possible
            && entry.bytes <= self.situation.input_bytes_max / 2
            && part.purgeable.is_empty()
    }
}

/// Whether parts differ in nothing but time and rank.
fn same_kind(one: &PartView, other: &PartView) -> bool {
    (one.entry.tier, one.entry.layout) == (other.entry.tier, other.entry.layout)
        && one.classes == other.classes
}

const fn weight(part: &PartView) -> u64 {
    part.entry.bytes.saturating_add(PART_BYTES)
}

fn bytes(parts: &[&PartView]) -> u64 {
    parts.iter().map(|part| part.entry.bytes).fold(0, u64::saturating_add)
}
