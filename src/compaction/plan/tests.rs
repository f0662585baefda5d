//! The plan carried out on a model of parts: sets of samples instead of bytes.

mod checks;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use self::world::{Key, World, tier};
use super::*;
use crate::model::Selector;
use crate::options::{Keep, RetentionRule};
use crate::retention::over_budget;

#[derive(Debug, Clone)]
enum Step {
    /// So many samples one after another, for all series.
    Go(i64),
    /// Late samples of a series, so far back.
    Late(usize, Vec<i64>),
    Delete(usize, i64, i64),
    /// What is too old goes, once tiers have taken it in.
    Retain,
    /// What is too old goes at once.
    Expire,
    Budget(u64),
    Tasks(usize),
}

fn steps(drops: bool) -> impl Strategy<Value = Vec<Step>> {
    let late = (0_usize..3, prop::collection::vec(0_i64..3000, 1..6));
    let kept = prop_oneof![
        6 => (1_i64..60).prop_map(Step::Go),
        3 => late.prop_map(|(series, times)| Step::Late(series, times)),
        2 => (0_usize..3, 0_i64..3000, 1_i64..400).prop_map(|(s, at, l)| Step::Delete(s, at, l)),
        3 => (0_usize..20).prop_map(Step::Tasks),
    ];
    let dropped = prop_oneof![
        2 => Just(Step::Retain),
        1 => Just(Step::Expire),
        2 => (0_u64..200).prop_map(Step::Budget),
    ];
    let step = prop_oneof![8 => kept, (if drops { 2 } else { 0 }) => dropped];
    prop::collection::vec(step, 1..40)
}

fn play(world: &mut World, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        match step {
            Step::Go(count) => {
                let start = world.frontier;
                let times = (1..=*count).map(|i| start + i * 7);
                let samples: Vec<Key> = times.flat_map(|t| (0..3).map(move |s| (s, t))).collect();
                world.freeze(&samples);
            }
            Step::Late(series, times) => {
                let at = |back: &i64| (world.frontier - back).max(0);
                let samples: Vec<Key> = times.iter().map(|back| (*series, at(back))).collect();
                world.freeze(&samples);
            }
            Step::Delete(series, back, length) => {
                world.delete(*series, (world.frontier - back).max(0), *length);
            }
            Step::Retain => world.retain()?,
            Step::Expire => {
                let gone = world.due();
                world.drop_parts(&gone);
            }
            Step::Budget(kilobytes) => {
                let drops = over_budget(&world.views(), kilobytes * 1000, 0);
                prop_assert_eq!(drops.short_bytes, 0);
                world.drop_parts(&drops.dropped);
            }
            Step::Tasks(count) => {
                for _ in 0..*count {
                    let Some(task) = world.next() else { break };
                    world.run(&task);
                }
                world.forget();
            }
        }
    }
    Ok(())
}

/// Retention, a budget and all work in turn, until nothing goes: what goes is not built again.
fn ends_within(world: &mut World, budget: u64) -> Result<(), TestCaseError> {
    for _ in 0..30 {
        world.retain()?;
        let drops = over_budget(&world.views(), budget, 0);
        world.drop_parts(&drops.dropped);
        world.settle()?;
        world.check()?;
        if drops.dropped.is_empty() && world.due().is_empty() {
            return Ok(());
        }
    }
    Err(TestCaseError::fail("does not end"))
}

fn policy(keep: Keep, rules: Vec<Keep>) -> Policy {
    let selector = Selector::parse("any").unwrap();
    let rules = rules.into_iter().map(|keep| RetentionRule { selector: selector.clone(), keep });
    Policy {
        tiers: vec![tier(10), tier(20), tier(100), tier(400)],
        keep,
        rules: rules.collect(),
        lateness: Duration::from_nanos(30),
        ..Policy::default()
    }
}

/// A world where parts go, for their age and for want of bytes.
fn dropping(mut policy: Policy, partition: i64) -> World {
    policy.bytes_max = Some(0);
    let mut world = World::new(policy, partition);
    world.whole = false;
    world
}

fn days(tier_ns: i64, age: u64) -> (Tier, Duration) {
    (tier(tier_ns), Duration::from_nanos(age))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tiers_hold_what_raw_holds_whatever_comes_and_work_ends(
        steps in steps(false), partition in prop::sample::select(vec![40_i64, 100, 130, 400, 1000]),
    ) {
        let mut world = World::new(policy(Keep::FOREVER, vec![Keep::FOREVER]), partition);
        play(&mut world, &steps)?;
        world.settle()?;
        world.check()?;
    }

    #[test]
    fn drops_bring_nothing_back_and_work_ends(
        steps in steps(true), partition in prop::sample::select(vec![40_i64, 100, 400]),
        ages in prop::collection::vec(200_u64..4000, 4),
        allowance in prop::option::of(0_u64..60_000),
        budget in 0_u64..300_000,
    ) {
        let keep = |ages: &[u64]| {
            let limits = [days(0, ages[0]), days(10, ages[1])];
            limits.into_iter().fold(Keep::FOREVER, |keep, (tier, age)| keep.with(tier, age))
        };
        let rule = keep(&ages[2..]);
        let rule = allowance.map_or(rule.clone(), |bytes| rule.with_bytes(tier(10), bytes));
        let mut world = dropping(policy(keep(&ages), vec![rule]), partition);
        play(&mut world, &steps)?;
        world.settle()?;
        world.check()?;
        let before: BTreeSet<u64> = world.parts.iter().map(|part| part.view.entry.id).collect();
        world.retain()?;
        world.settle()?;
        let again = world.due();
        let built: Vec<_> = again.iter().filter(|dropped| !before.contains(&dropped.id)).collect();
        prop_assert!(built.is_empty(), "built to be dropped at once: {built:?}");
        ends_within(&mut world, budget)?;
    }
}

/// The youngest raw part of a sparse class reaches far back: tiers of its older half were dropped as
/// the oldest, and built again from it, for ever.
#[test]
fn a_tier_outlives_the_long_part_that_it_is_made_of() {
    let keep = || Keep::FOREVER.with(Tier::RAW, Duration::from_nanos(200));
    let mut world = dropping(policy(keep(), vec![keep()]), 40);
    play(&mut world, &[Step::Go(54), Step::Go(20)]).unwrap();
    for budget in (4..60).rev().map(|kilobytes| kilobytes * 1000) {
        ends_within(&mut world, budget).unwrap();
    }
}

/// What the last call is for was built, a finer tier's late sample in its window was not, and went:
/// the coarser record was then made of the finer ones, without it.
#[test]
fn a_last_call_puts_no_tier_ahead_of_a_finer_one() {
    let keep = |raw: u64, fine: u64| {
        let keep = Keep::FOREVER.with(Tier::RAW, Duration::from_nanos(raw));
        keep.with(tier(10), Duration::from_nanos(fine))
    };
    let mut world = dropping(policy(keep(693, 200), vec![keep(882, 202)]), 40);
    let mut steps = [7, 7, 27, 20, 21, 1].map(Step::Go).to_vec();
    steps.extend([Step::Tasks(7), Step::Go(23), Step::Late(2, vec![343, 736]), Step::Retain]);
    steps.extend([Step::Go(35), Step::Go(42), Step::Expire]);
    play(&mut world, &steps).unwrap();
    world.settle().unwrap();
    world.check().unwrap();
}
