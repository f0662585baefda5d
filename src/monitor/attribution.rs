//! Attribution: whom a query waited for.
//!
//! Owns: the arithmetic of overlapping calls. Time in which at least one call was under way is
//! *waiting*, the rest of the query is the *engine's*. Calls run beside each other, so their
//! lengths do not add up to the waiting; what does is the *critical path*: at each moment of
//! waiting it lies with the one call, of those under way, that ends last (of those that end
//! together: that began first). Were that call shorter, the waiting would be. This is the walk
//! back from the last end that traces are read by: from a call's end to its beginning, there on
//! with the one under way that ends last.
//!
//! All times are nanoseconds of one monotonic clock, since the query's beginning.

use std::collections::BTreeMap;

/// A call to a source, for attribution: half-open, `began <= t < ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<S> {
    /// Whom it went to.
    pub source: S,
    /// When it began, ns since the query's beginning.
    pub began: u64,
    /// When it ended. A call that ends before it begins is taken for one without length.
    pub ended: u64,
}

/// Where a query's time went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution<S> {
    /// The query's length, ns: `engine + waiting`.
    pub total: u64,
    /// No call was under way, ns.
    pub engine: u64,
    /// At least one was, ns: the sum of all `critical`.
    pub waiting: u64,
    /// Each source that was called, ascending.
    pub sources: Vec<SourceTime<S>>,
}

/// A source's share of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceTime<S> {
    /// Which.
    pub source: S,
    /// Its calls, those without length among them.
    pub calls: u64,
    /// At least one of its calls was under way, ns.
    pub waiting: u64,
    /// The critical path lay with it, ns.
    pub critical: u64,
}

impl<S: Copy> Attribution<S> {
    /// The source with which the critical path lay longest; of equals the first. `None` where
    /// nothing was waited for.
    #[must_use]
    pub fn longest(&self) -> Option<S> {
        let waited = self.sources.iter().filter(|of| of.critical > 0);
        let first = |best: &SourceTime<S>, of: &SourceTime<S>| of.critical > best.critical;
        waited
            .fold(None, |best, of| match best {
                Some(best) if !first(&best, of) => Some(best),
                _ => Some(*of),
            })
            .map(|of| of.source)
    }
}

/// Attributes a query of `total` ns. What calls reach beyond it does not count. Cost: two sorts of
/// the calls.
///
/// ```
/// use icecore::monitor::attribution::{Call, attribute};
///
/// // The lake was read all the while that the warehouse was; then the engine joined them.
/// let calls = [
///     Call { source: "lake", began: 10, ended: 70 },
///     Call { source: "warehouse", began: 20, ended: 50 },
/// ];
/// let of = attribute(100, &calls);
/// assert_eq!((of.engine, of.waiting, of.longest()), (40, 60, Some("lake")));
/// ```
#[must_use]
pub fn attribute<S: Copy + Ord>(total: u64, calls: &[Call<S>]) -> Attribution<S> {
    let mut calls: Vec<Call<S>> = calls
        .iter()
        .map(|call| {
            let began = call.began.min(total);
            Call { began, ended: call.ended.clamp(began, total), ..*call }
        })
        .collect();
    let mut sources = BTreeMap::new();
    // From the last end back: what lies behind `reached` is attributed.
    calls.sort_by(|a, b| b.ended.cmp(&a.ended).then(a.began.cmp(&b.began)));
    let mut reached = total;
    let mut waiting = 0;
    for call in &calls {
        let of: &mut SourceTime<S> = sources.entry(call.source).or_insert(SourceTime {
            source: call.source,
            calls: 0,
            waiting: 0,
            critical: 0,
        });
        of.calls += 1;
        let critical = call.ended.min(reached).saturating_sub(call.began);
        of.critical += critical;
        waiting += critical;
        reached = reached.min(call.began);
    }
    // Forward, source by source: the union of each.
    calls.sort_by(|a, b| a.source.cmp(&b.source).then(a.began.cmp(&b.began)));
    let mut last = None;
    for call in &calls {
        let behind = last.filter(|(source, _)| *source == call.source).map_or(0, |(_, end)| end);
        if let Some(of) = sources.get_mut(&call.source) {
            of.waiting += call.ended.saturating_sub(call.began.max(behind));
        }
        last = Some((call.source, behind.max(call.ended)));
    }
    Attribution {
        total,
        engine: total - waiting,
        waiting,
        sources: sources.into_values().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `(source, began, ended)`.
    type Plain = (char, u64, u64);

    fn calls(plain: &[Plain]) -> Vec<Call<char>> {
        let call = |&(source, began, ended): &Plain| Call { source, began, ended };
        plain.iter().map(call).collect()
    }

    #[test]
    fn by_hand() {
        type Expected = (u64, Vec<(char, u64, u64, u64)>, Option<char>);
        let cases: [(u64, &[Plain], Expected); 11] = [
            // Nobody was called.
            (100, &[], (100, vec![], None)),
            // One after another, with the engine before, between and behind.
            (
                100,
                &[('a', 10, 30), ('b', 40, 90)],
                (30, vec![('a', 1, 20, 20), ('b', 1, 50, 50)], Some('b')),
            ),
            // One inside another: the inner one cost nothing.
            (
                100,
                &[('a', 10, 90), ('b', 30, 60)],
                (20, vec![('a', 1, 80, 80), ('b', 1, 30, 0)], Some('a')),
            ),
            // Overlapping: the later end takes the overlap.
            (
                100,
                &[('a', 0, 60), ('b', 40, 100)],
                (0, vec![('a', 1, 60, 40), ('b', 1, 60, 60)], Some('b')),
            ),
            // A chain of three: 0..20 a, 20..50 b, 50..90 c.
            (
                100,
                &[('a', 0, 30), ('b', 20, 60), ('c', 50, 90)],
                (10, vec![('a', 1, 30, 20), ('b', 1, 40, 30), ('c', 1, 40, 40)], Some('c')),
            ),
            // Equal ends: the one that began first is waited for all the time.
            (
                50,
                &[('b', 20, 50), ('a', 10, 50)],
                (10, vec![('a', 1, 40, 40), ('b', 1, 30, 0)], Some('a')),
            ),
            // Two calls of one source beside each other are one wait.
            (
                100,
                &[('a', 10, 50), ('a', 30, 70), ('b', 65, 80)],
                (30, vec![('a', 2, 60, 55), ('b', 1, 15, 15)], Some('a')),
            ),
            // Beyond the query's end, wholly and in part; without length; ending before it begins.
            (
                100,
                &[('a', 90, 200), ('b', 150, 160), ('c', 40, 40), ('d', 60, 20)],
                (
                    90,
                    vec![('a', 1, 10, 10), ('b', 1, 0, 0), ('c', 1, 0, 0), ('d', 1, 0, 0)],
                    Some('a'),
                ),
            ),
            // Back and forth between two sources under a long third.
            (
                100,
                &[('a', 0, 100), ('b', 0, 10), ('c', 10, 20), ('b', 20, 30)],
                (0, vec![('a', 1, 100, 100), ('b', 2, 20, 0), ('c', 1, 10, 0)], Some('a')),
            ),
            // Of equal shares the first is named.
            (
                40,
                &[('b', 0, 20), ('a', 20, 40)],
                (0, vec![('a', 1, 20, 20), ('b', 1, 20, 20)], Some('a')),
            ),
            // A query without length.
            (0, &[('a', 0, 5)], (0, vec![('a', 1, 0, 0)], None)),
        ];
        for (total, plain, (engine, sources, longest)) in cases {
            let of = attribute(total, &calls(plain));
            let found: Vec<_> =
                of.sources.iter().map(|s| (s.source, s.calls, s.waiting, s.critical)).collect();
            assert_eq!((of.engine, found, of.longest()), (engine, sources, longest), "{plain:?}");
            assert_eq!((of.total, of.engine + of.waiting), (total, total), "{plain:?}");
        }
    }

    /// As the definition says, moment by moment.
    fn by_definition(total: u64, calls: &[Call<char>]) -> Attribution<char> {
        let mut of = Attribution { total, engine: 0, waiting: 0, sources: Vec::new() };
        let mut all: Vec<char> = calls.iter().map(|call| call.source).collect();
        all.sort_unstable();
        all.dedup();
        of.sources = all
            .iter()
            .map(|&source| SourceTime {
                source,
                calls: calls.iter().filter(|call| call.source == source).count() as u64,
                waiting: 0,
                critical: 0,
            })
            .collect();
        for now in 0..total {
            let under_way: Vec<&Call<char>> =
                calls.iter().filter(|call| call.began <= now && now < call.ended).collect();
            let last = under_way.iter().max_by(|a, b| {
                let end = |call: &Call<char>| call.ended.min(total);
                end(a).cmp(&end(b)).then(b.began.cmp(&a.began))
            });
            match last {
                None => of.engine += 1,
                Some(_) => of.waiting += 1,
            }
            for source in &mut of.sources {
                let waits = under_way.iter().any(|call| call.source == source.source);
                source.waiting += u64::from(waits);
                source.critical += u64::from(last.is_some_and(|l| l.source == source.source));
            }
        }
        of
    }

    proptest! {
        #[test]
        fn any_calls_are_attributed_as_the_definition_says(
            total in 0..60_u64,
            plain in prop::collection::vec((0..4_u32, 0..70_u64, 0..70_u64), 0..12),
        ) {
            // Ties within (end, beginning) between sources are decided by order: make none.
            let mut seen = std::collections::BTreeSet::new();
            let calls: Vec<Call<char>> = plain
                .iter()
                .filter(|&&(_, began, ended)| {
                    seen.insert((began.min(total), ended.clamp(began.min(total), total.max(began.min(total)))))
                })
                .map(|&(s, began, ended)| Call { source: char::from(b'a' + s as u8), began, ended })
                .collect();
            let of = attribute(total, &calls);
            prop_assert_eq!(of.engine + of.waiting, total);
            prop_assert_eq!(of.sources.iter().map(|s| s.critical).sum::<u64>(), of.waiting);
            prop_assert!(of.sources.iter().all(|s| s.critical <= s.waiting));
            prop_assert_eq!(of, by_definition(total, &calls));
        }

        #[test]
        fn numbers_at_their_ends_do_no_harm(
            total in any::<u64>(),
            plain in prop::collection::vec((0..3_u8, any::<u64>(), any::<u64>()), 0..6),
        ) {
            let calls: Vec<_> =
                plain.iter().map(|&(source, began, ended)| Call { source, began, ended }).collect();
            let of = attribute(total, &calls);
            prop_assert_eq!(of.engine + of.waiting, total);
            prop_assert_eq!(of.sources.iter().map(|s| s.critical).sum::<u64>(), of.waiting);
        }
    }
}
