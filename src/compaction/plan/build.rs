//! Tiers: what they have not taken in yet, finer ones first.

use super::cells::{cell, cells, stretch_ns};
use super::coverage::Coverage;
use super::{Plan, Task, meets};
use crate::retention::{PartView, horizon};
use crate::time::{Tier, TimeRange, Timestamp};

/// Stretches that one task builds, at most: what a year of history, brought in at once, is cut
/// into.
const STRETCHES_MAX: i64 = 8;

impl Plan<'_> {
    /// The finest tier's oldest buckets that are dirty or missing.
    pub(super) fn build(&self) -> Option<Task> {
        self.tiers().find_map(|(tier, coverage)| {
            self.patch(tier, coverage).or_else(|| self.downsample(tier, coverage))
        })
    }

    /// Parts that the tier's records come from.
    fn sources(&self, tier: Tier) -> impl Iterator<Item = &PartView> {
        self.situation.parts.iter().filter(move |part| part.entry.tier < tier)
    }

    /// Those of them that are a reason to build.
    fn reasons(&self, tier: Tier) -> impl Iterator<Item = &PartView> {
        let counts =
            |part: &&PartView| self.only.as_ref().is_none_or(|only| only.contains(&part.entry.id));
        self.sources(tier).filter(counts)
    }

    /// The classes that have something about the window in the tier or below it, ascending.
    fn classes(&self, tier: Tier, window: TimeRange) -> Vec<usize> {
        let parts = self.situation.parts.iter().filter(|part| part.entry.tier <= tier);
        let near = parts.filter(|part| meets(part.entry.window, window));
        let mut classes: Vec<usize> = near.flat_map(|part| part.classes.iter().copied()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// Parts that hold series of the class.
    fn of_class(&self, class: usize) -> impl Iterator<Item = &PartView> {
        let parts = self.situation.parts.iter();
        parts.filter(move |part| part.classes.binary_search(&class).is_ok())
    }

    /// Cuts a window that parts of the tier account for to where the same classes have such parts
    /// all the way; with the classes that a patch of it is written of. Those with parts are, kept or
    /// not: what they hold counts as corrected.
    fn patched(&self, tier: Tier, window: TimeRange) -> (TimeRange, Vec<usize>) {
        let (mut end, mut with, mut without) = (window.end, Vec::new(), Vec::new());
        for class in self.classes(tier, window) {
            let own = self.of_class(class).filter(|part| part.entry.tier == tier);
            let own = connected(own.map(|part| part.entry.window));
            match own.iter().find(|hull| hull.end > window.start) {
                Some(hull) if hull.start <= window.start => {
                    with.push(class);
                    end = end.min(hull.end);
                }
                next => {
                    without.push(class);
                    end = next.map_or(end, |hull| end.min(hull.start));
                }
            }
        }
        let window = TimeRange::new(window.start, end);
        without.retain(|&class| self.wants(class, tier, window));
        with.append(&mut without);
        with.sort_unstable();
        (window, with)
    }

    /// Whether a class without parts of the tier there gets some: nothing is written that would go at
    /// once.
    fn wants(&self, class: usize, tier: Tier, window: TimeRange) -> bool {
        self.keeps(&[class], tier, window) && !self.given_up_by(class, tier, window)
    }

    /// Whether the class has no parts there since bytes were short, or would not have them long:
    /// what comes late is for coarser tiers. Written again, it would be the first to go.
    fn given_up_by(&self, class: usize, tier: Tier, window: TimeRange) -> bool {
        let policy = self.situation.policy;
        let allowance = policy.keep_of(class).bytes(tier);
        let mut coarser = self.of_class(class).filter(|part| part.entry.tier > tier);
        let mut own = self.of_class(class).filter(|part| part.entry.tier == tier);
        policy.bytes_max.or(allowance).is_some()
            && coarser.any(|part| meets(part.entry.window, window))
            || allowance.is_some() && own.any(|part| part.entry.window.start >= window.end)
    }

    /// Whether records of the tier that end there would be kept for any of the classes.
    fn keeps(&self, classes: &[usize], tier: Tier, window: TimeRange) -> bool {
        let oldest = horizon(self.situation.policy, classes, tier, self.situation.frontier);
        oldest.is_none_or(|oldest| window.end > oldest)
    }

    /// The buckets from the first to the last dirty one of the oldest connected windows that have
    /// any.
    fn patch(&self, tier: Tier, coverage: &Coverage) -> Option<Task> {
        let mut dirty = self.masked(tier);
        for part in self.reasons(tier) {
            let late = self.unabsorbed(part, tier, coverage);
            let late = late.filter_map(|(piece, rank)| rank.map(|_| piece));
            dirty.extend(late.filter(|piece| self.corrects(part, tier, *piece)));
        }
        let oldest = dirty.iter().map(|piece| piece.start).min()?;
        let connected = self.connected(tier).into_iter().find(|hull| hull.contains(oldest))?;
        let end =
            dirty.iter().filter(|piece| meets(**piece, connected)).map(|piece| piece.end).max()?;
        let (window, classes) = self.patched(tier, TimeRange::new(oldest, end.min(connected.end)));
        let source = self.sources_of(tier, window);
        let source = source.into_iter().find(|finer| self.knows(*finer, window, &classes));
        let source = source.unwrap_or(Tier::RAW);
        Some(Task::Patch { tier, source, window, rank: self.rank, classes })
    }

    /// Whether what came late is taken in: where the tier is kept for it, or holds what is wrong
    /// without it.
    fn corrects(&self, part: &PartView, tier: Tier, piece: TimeRange) -> bool {
        let goes =
            |own: &PartView| self.only.as_ref().is_some_and(|only| only.contains(&own.entry.id));
        let wrong = |own: &PartView| {
            own.entry.tier == tier
                && meets(own.entry.window, piece)
                && own.shares_a_class(part)
                && !goes(own)
        };
        self.keeps(&part.classes, tier, piece) || self.situation.parts.iter().any(wrong)
    }

    /// The windows of the tier's parts, those that overlap made one, ascending.
    pub(super) fn connected(&self, tier: Tier) -> Vec<TimeRange> {
        let of_tier = self.situation.parts.iter().filter(|part| part.entry.tier == tier);
        connected(of_tier.map(|part| part.entry.window))
    }

    /// Buckets whose records deletes affect and that were not written again since.
    fn masked(&self, tier: Tier) -> Vec<TimeRange> {
        let of_tier = || self.situation.parts.iter().filter(|part| part.entry.tier == tier);
        let mut masked = Vec::new();
        for part in of_tier() {
            for tombstone in self.situation.tombstones {
                if part.purgeable.binary_search(&tombstone.id).is_err() {
                    continue;
                }
                let window = part.entry.window;
                let range = TimeRange::new(
                    tier.floor(tombstone.range.start).max(window.start),
                    tier.ceil(tombstone.range.end).min(window.end),
                );
                let since = of_tier().filter(|other| other.entry.tombstones >= tombstone.id);
                let since = Coverage::of(since.map(|other| (other.entry.window, other.entry.rank)));
                let pieces = since.pieces(range);
                masked.extend(pieces.filter(|(_, rank)| rank.is_none()).map(|(piece, _)| piece));
            }
        }
        masked
    }

    /// The oldest stretch that samples lie in and the tier does not account for, and those that
    /// follow it at once.
    fn downsample(&self, tier: Tier, coverage: &Coverage) -> Option<Task> {
        let policy = self.situation.policy;
        if !policy.tiers.contains(&tier) {
            return None;
        }
        let length = stretch_ns(&policy.tiers, tier, self.situation.partition_ns);
        let oldest = self.reasons(tier).filter_map(|part| {
            let gaps = self.unabsorbed(part, tier, coverage).filter(|(_, rank)| rank.is_none());
            let mut cells = gaps.flat_map(|(gap, _)| cells(gap, length));
            cells.find_map(|cell| self.missing(part, tier, coverage, cell))
        });
        let mut window = oldest.min_by_key(|stretch| stretch.start)?;
        let source = self.source_of(tier, window);
        for _ in 1..STRETCHES_MAX {
            let next = cell(window.end, length);
            let mut parts = self.sources(tier);
            let Some(next) = parts.find_map(|part| self.missing(part, tier, coverage, next)) else {
                break;
            };
            let longer = TimeRange::new(window.start, next.end);
            if next.start != window.end
                || self.source_of(tier, longer) != source
                || self.bytes(source, longer) > self.situation.input_bytes_max
            {
                break;
            }
            window = longer;
        }
        let mut classes = self.classes(tier, window);
        classes.retain(|&class| self.wants(class, tier, window));
        Some(Task::Downsample { tier, source, window, rank: self.rank, classes })
    }

    /// The stretch of the cell that the part has samples in, that is over, that the tier does not
    /// account for, and that it shall account for.
    fn missing(
        &self,
        part: &PartView,
        tier: Tier,
        coverage: &Coverage,
        cell: TimeRange,
    ) -> Option<TimeRange> {
        if cell.end > tier.floor(self.settled) {
            return None;
        }
        let span = Self::span(part, tier);
        let gaps = coverage.pieces(cell).filter(|(_, rank)| rank.is_none());
        let mut gaps = gaps.map(|(gap, _)| gap).filter(|gap| meets(*gap, span));
        gaps.find(|gap| {
            let mut classes = part.classes.iter();
            classes.any(|&class| self.wants(class, tier, *gap)) && !self.given_up(tier, *gap)
        })
    }

    /// Whether a coarser tier accounts for any of it: finer tiers are built first, so this one did
    /// too, and was dropped for want of bytes. It would be again.
    fn given_up(&self, tier: Tier, window: TimeRange) -> bool {
        self.tiers().any(|(coarser, coverage)| coarser > tier && coverage.touches(window))
    }

    /// What the tier is built of: the coarsest finer tier that has taken in everything below it in
    /// the window; raw where none has.
    fn source_of(&self, tier: Tier, window: TimeRange) -> Tier {
        self.sources_of(tier, window).first().copied().unwrap_or(Tier::RAW)
    }

    /// Whether the tier has parts of each class all over the window, as far as any other has:
    /// otherwise a record may know what is gone there, and is corrected by raw samples.
    fn knows(&self, tier: Tier, window: TimeRange, classes: &[usize]) -> bool {
        classes.iter().all(|&class| {
            let own = self.of_class(class).filter(|part| part.entry.tier == tier);
            let own = Coverage::of(own.map(|part| (part.entry.window, part.entry.rank)));
            let mut others = self.of_class(class).filter(|part| part.entry.tier != tier);
            others.all(|part| {
                let (first, last) = part.span();
                let span = TimeRange::new(
                    first.max(window.start),
                    Timestamp(last.0.saturating_add(1)).min(window.end),
                );
                own.pieces(span).all(|(_, rank)| rank.is_some())
            })
        })
    }

    /// The finer tiers that have taken in everything below them in the window, from coarse to fine.
    fn sources_of(&self, tier: Tier, window: TimeRange) -> Vec<Tier> {
        let whole = |finer: Tier, coverage: &Coverage| {
            let mut below = self.sources(finer);
            let any = self
                .situation
                .parts
                .iter()
                .any(|part| part.entry.tier == finer && meets(part.entry.window, window));
            any && below.all(|part| {
                self.unabsorbed(part, finer, coverage).all(|(piece, _)| !meets(piece, window))
            })
        };
        let finer = self
            .tiers()
            .rev()
            .filter(|(finer, _)| *finer < tier && tier.nanos() % finer.nanos() == 0);
        let whole = finer.filter(|(finer, coverage)| whole(*finer, coverage));
        whole.map(|(finer, _)| finer).collect()
    }

    /// Bytes of the tier's parts that meet the window.
    fn bytes(&self, tier: Tier, window: TimeRange) -> u64 {
        let parts = self.situation.parts.iter().filter(|part| part.entry.tier == tier);
        let met = parts.filter(|part| meets(part.entry.window, window));
        met.map(|part| part.entry.bytes).fold(0, u64::saturating_add)
    }
}

/// Windows, those that overlap made one, ascending.
pub(super) fn connected(windows: impl Iterator<Item = TimeRange>) -> Vec<TimeRange> {
    let mut windows: Vec<TimeRange> = windows.collect();
    windows.sort_unstable_by_key(|window| window.start);
    let mut connected: Vec<TimeRange> = Vec::new();
    for window in windows {
        match connected.last_mut() {
            Some(hull) if window.start < hull.end => hull.end = hull.end.max(window.end),
            _ => connected.push(window),
        }
    }
    connected
}
