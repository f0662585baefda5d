//! The groups that rank first, and arithmetic between answers.

use std::sync::Arc;
use std::time::Duration;

use icecore::Error;
use icecore::query::{
    Answer, Comparison, Function, GroupKey, Grouping, Operation, Request, Resources, Top, TopScope,
    combine, execute,
};
use icecore::segment::Sources;

use crate::memory_source::MemorySource;
use crate::{range, selected};

/// Series `i` of `count` holds `i * 7 % count` and, in a second window, `i`.
fn store(count: u32) -> Sources {
    let mut source = MemorySource::new(1, true);
    for (id, _) in selected(count) {
        source.push(id, &[(0, f64::from(id.0 * 7 % count)), (10, f64::from(id.0))], 1);
    }
    vec![Arc::new(source) as Arc<_>].into()
}

fn request(functions: &str, step: Option<u64>) -> Request {
    let functions = functions.split(' ').map(|name| name.parse().unwrap()).collect();
    let step = step.map(Duration::from_nanos);
    Request {
        step,
        group_by: Grouping::Labels(vec!["core".into()]),
        ..Request::new(range(0, 20), functions)
    }
}

fn ask(request: &Request) -> Answer {
    execute(request, &selected(20), &store(20), Resources::default()).unwrap()
}

fn core(key: &GroupKey) -> &str {
    match key {
        GroupKey::Labels(labels) => &labels[0].1,
        GroupKey::Series(_) => panic!("grouped by labels"),
    }
}

fn cores(answer: &Answer) -> Vec<&str> {
    answer.groups.iter().map(|group| core(&group.key)).collect()
}

fn top(count: usize, largest: bool, by: Function, scope: TopScope) -> Option<Top> {
    Some(Top { count, largest, by, scope })
}

#[test]
fn of_the_whole_range_the_first_stand_first() {
    // Sums: 7 i mod 20 + i; the largest are of 19 (13 + 19), 17 (19 + 17), 14 (18 + 14).
    let by_sum = |largest| top(3, largest, Function::Sum, TopScope::Range);
    let whole = ask(&Request { top: by_sum(true), ..request("sum", None) });
    assert_eq!(cores(&whole), ["17", "14", "19"]);
    assert_eq!(whole.groups[0].values, [[36.0]]);
    let windows = ask(&Request { top: by_sum(true), ..request("last count", Some(10)) });
    assert_eq!(cores(&windows), ["17", "14", "19"]);
    assert_eq!(windows.groups[0].values, [[19.0, 17.0], [1.0, 1.0]]);
    assert_eq!(windows.evidence.series, 20);
    let smallest = ask(&Request { top: by_sum(false), ..request("sum", None) });
    // 0; 1 + 7; 3 + 1.
    assert_eq!(cores(&smallest), ["00", "03", "01"]);
}

#[test]
fn of_each_window_the_others_are_as_if_empty() {
    let by_last = top(2, true, Function::Last, TopScope::Window);
    let answer = ask(&Request { top: by_last, ..request("last count", Some(10)) });
    // 7 i mod 20: 19 of 17, 18 of 14; then i itself: 19 and 18.
    assert_eq!(cores(&answer), ["14", "17", "18", "19"]);
    for group in &answer.groups {
        let first = ["14", "17"].contains(&core(&group.key));
        assert_eq!(group.counts, if first { [1, 0] } else { [0, 1] });
        assert_eq!(group.values[0][0].is_nan(), !first);
        assert_eq!(group.values[1], if first { [1.0, 0.0] } else { [0.0, 1.0] });
    }
}

#[test]
fn more_than_there_are_is_all_and_none_is_refused() {
    let all = ask(&Request {
        top: top(99, false, Function::Sum, TopScope::Range),
        ..request("sum", None)
    });
    assert_eq!(all.groups.len(), 20);
    for refused in [
        top(0, true, Function::Sum, TopScope::Range),
        top(1, true, Function::Max, TopScope::Window),
    ] {
        let refused = Request { top: refused, ..request("sum", None) };
        let refused = execute(&refused, &selected(20), &store(20), Resources::default());
        assert!(matches!(refused, Err(Error::InvalidArgument { what: "top", .. })));
    }
}

#[test]
fn groups_with_equal_labels_are_combined_window_by_window() {
    let (by_core, all) = (
        ask(&request("sum max", Some(10))),
        ask(&Request { group_by: Grouping::Labels(vec![]), ..request("sum", Some(10)) }),
    );
    let share = combine((&by_core, 0), (&all, 0), Operation::Divide, Some(&[])).unwrap();
    assert_eq!(share.groups.len(), 20);
    assert_eq!(share.groups[1].values, [7.0 / 190.0, 1.0 / 190.0]);
    let same = combine((&by_core, 0), (&by_core, 1), Operation::Subtract, None).unwrap();
    assert!(same.groups.iter().all(|group| group.values == [0.0, 0.0]));
    let above = Operation::Compare(Comparison::Greater);
    let above = combine((&by_core, 0), (&all, 0), above, Some(&[])).unwrap();
    assert!(above.groups.iter().all(|group| group.values.iter().all(|value| value.is_nan())));
}

#[test]
fn what_cannot_be_combined_is_told() {
    let (one, other) = (ask(&request("sum", Some(10))), ask(&request("sum", Some(5))));
    let of = |left: (&Answer, usize), right: (&Answer, usize), on: Option<&[&str]>| {
        combine(left, right, Operation::Add, on).unwrap_err().to_string()
    };
    assert!(of((&one, 0), (&other, 0), None).contains("windows differ"));
    assert!(of((&one, 0), (&one, 1), None).contains("no column 1"));
    assert!(of((&one, 0), (&one, 0), Some(&[])).contains("the same labels"));
}
