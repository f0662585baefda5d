//! Conditions on columns, resolved: told from bounds where they tell, from rows where not.

use std::borrow::Borrow;
use std::sync::Arc;

use super::request::EventTest;
use crate::error::{Error, Result};
use crate::model::{Bitmap, EventColumn, EventData, EventKind, EventValue, EventVector};
use crate::segment::{Bounds, GroupBounds};

/// A condition on values of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// That there is a value, or that there is none.
    Presence(bool),
    /// Both ends inclusive.
    Integers(i64, i64),
    NotInteger(i64),
    /// Ascending.
    OneOfIntegers(Vec<i64>),
    Float(Comparison<f64>),
    /// Whether false passes, and true.
    Booleans(bool, bool),
    Text(Comparison<Arc<str>>),
}

/// A comparison: of floats as IEEE 754 has it, of texts by their bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Comparison<T> {
    Equal(T),
    NotEqual(T),
    Less(T),
    LessOrEqual(T),
    Greater(T),
    GreaterOrEqual(T),
    OneOf(Vec<T>),
}

/// What bounds tell of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No row passes.
    None,
    /// Every row does.
    All,
    /// It takes a look.
    Some,
}

impl Test {
    /// The condition on a column.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where a value is not of the column's kind.
    pub(super) fn new(test: &EventTest, column: &EventColumn) -> Result<Self> {
        let wanted = match test {
            EventTest::IsNull => return Ok(Self::Presence(false)),
            EventTest::NotNull => return Ok(Self::Presence(true)),
            EventTest::In(values) => values.as_slice(),
            EventTest::Equal(value)
            | EventTest::NotEqual(value)
            | EventTest::Less(value)
            | EventTest::LessOrEqual(value)
            | EventTest::Greater(value)
            | EventTest::GreaterOrEqual(value) => std::slice::from_ref(value),
        };
        let resolved = match column.kind {
            EventKind::Integer => integers(test, wanted),
            EventKind::Float => floats(test, wanted),
            EventKind::Boolean => booleans(test, wanted),
            EventKind::Text => texts(test, wanted),
        };
        resolved.ok_or_else(|| {
            let EventColumn { name, kind, .. } = column;
            let reason = format!("{test:?} of column {name:?}, which is {kind}");
            Error::InvalidArgument { what: "predicate", reason }
        })
    }

    /// Which texts of a dictionary pass; `None` where that is not the question.
    pub(super) fn passing(&self, dictionary: &[Arc<str>]) -> Option<Bitmap> {
        let Self::Text(test) = self else { return None };
        Some(dictionary.iter().map(|text| test.passes(&**text)).collect())
    }

    /// What the bounds of a group tell; `passing` are the texts that pass.
    pub(super) fn verdict(&self, bounds: &GroupBounds, passing: Option<&Bitmap>) -> Verdict {
        let (no_nulls, all_nulls) = (bounds.nulls == 0, bounds.nulls == bounds.rows);
        if let Self::Presence(wanted) = self {
            let certain = |passes: bool| if passes { Verdict::All } else { Verdict::None };
            return match (no_nulls, all_nulls) {
                (true, _) => certain(*wanted),
                (_, true) => certain(!*wanted),
                _ => Verdict::Some,
            };
        }
        let (some, all) = match (self, bounds.values) {
            (_, Bounds::Empty) => (false, false),
            (Self::Integers(from, to), Bounds::Integers(min, max)) => {
                (*from <= max && min <= *to, *from <= min && max <= *to)
            }
            (Self::NotInteger(not), Bounds::Integers(min, max)) => {
                (min != *not || max != *not, *not < min || max < *not)
            }
            (Self::OneOfIntegers(wanted), Bounds::Integers(min, max)) => {
                let from = wanted.partition_point(|&one| one < min);
                let some = wanted.get(from).is_some_and(|&one| one <= max);
                (some, some && min == max)
            }
            (Self::Float(test), Bounds::Floats(range, nan)) => test.verdict(range, nan),
            (Self::Booleans(no, yes), Bounds::Booleans(has_no, has_yes)) => {
                (*no && has_no || *yes && has_yes, (*no || !has_no) && (*yes || !has_yes))
            }
            (Self::Text(_), Bounds::Texts(min, max)) => {
                let ids = || min as usize..=max as usize;
                let passes = |id| passing.is_none_or(|passing| passing.get(id));
                (ids().any(passes), passing.is_some() && ids().all(passes))
            }
            _ => (true, false),
        };
        match (some, all && no_nulls) {
            (false, _) => Verdict::None,
            (true, true) => Verdict::All,
            (true, false) => Verdict::Some,
        }
    }

    /// Leaves those of `rows` that pass.
    pub(super) fn retain(&self, data: &EventData, passing: Option<&Bitmap>, rows: &mut Vec<u32>) {
        if let Self::Presence(wanted) = self {
            rows.retain(|&row| data.is_present(row as usize) == *wanted);
            return;
        }
        if data.present.is_some() {
            rows.retain(|&row| data.is_present(row as usize));
        }
        match (self, &data.values) {
            (Self::Integers(from, to), EventVector::Integer(values)) => {
                retain(rows, values, |value| (*from..=*to).contains(&value));
            }
            (Self::NotInteger(not), EventVector::Integer(values)) => {
                retain(rows, values, |value| value != *not);
            }
            (Self::OneOfIntegers(wanted), EventVector::Integer(values)) => {
                retain(rows, values, |value| wanted.binary_search(&value).is_ok());
            }
            (Self::Float(test), EventVector::Float(values)) => {
                retain(rows, values, |value| test.passes(&value));
            }
            (Self::Booleans(no, yes), EventVector::Boolean(bits)) => {
                rows.retain(|&row| if bits.get(row as usize) { *yes } else { *no });
            }
            (Self::Text(_), EventVector::Text { ids, .. }) => {
                let passes = |id: u32| passing.is_some_and(|passing| passing.get(id as usize));
                retain(rows, ids, passes);
            }
            // Conditions are resolved by the column's kind.
            _ => rows.clear(),
        }
    }
}

fn retain<T: Copy>(rows: &mut Vec<u32>, values: &[T], passes: impl Fn(T) -> bool) {
    rows.retain(|&row| values.get(row as usize).is_some_and(|&value| passes(value)));
}

/// A list without one value in a range, both ends inclusive; nothing passes where `from` is above
/// `to`.
const NOTHING: Test = Test::Integers(1, 0);

fn integers(test: &EventTest, wanted: &[EventValue]) -> Option<Test> {
    let mut all = wanted
        .iter()
        .map(|value| if let EventValue::Integer(value) = value { Some(*value) } else { None })
        .collect::<Option<Vec<i64>>>()?;
    let one = all.first().copied();
    Some(match test {
        EventTest::Equal(_) => Test::Integers(one?, one?),
        EventTest::NotEqual(_) => Test::NotInteger(one?),
        EventTest::Less(_) => {
            one?.checked_sub(1).map_or(NOTHING, |last| Test::Integers(i64::MIN, last))
        }
        EventTest::LessOrEqual(_) => Test::Integers(i64::MIN, one?),
        EventTest::Greater(_) => {
            one?.checked_add(1).map_or(NOTHING, |first| Test::Integers(first, i64::MAX))
        }
        EventTest::GreaterOrEqual(_) => Test::Integers(one?, i64::MAX),
        _ => {
            all.sort_unstable();
            Test::OneOfIntegers(all)
        }
    })
}

fn floats(test: &EventTest, wanted: &[EventValue]) -> Option<Test> {
    let all = wanted
        .iter()
        .map(|value| match value {
            EventValue::Float(value) => Some(*value),
            EventValue::Integer(value) => Some(*value as f64),
            _ => None,
        })
        .collect::<Option<Vec<f64>>>()?;
    Comparison::of(test, all).map(Test::Float)
}

fn booleans(test: &EventTest, wanted: &[EventValue]) -> Option<Test> {
    let all = wanted
        .iter()
        .map(|value| if let EventValue::Boolean(value) = value { Some(*value) } else { None })
        .collect::<Option<Vec<bool>>>()?;
    let test = Comparison::of(test, all)?;
    Some(Test::Booleans(test.passes(&false), test.passes(&true)))
}

fn texts(test: &EventTest, wanted: &[EventValue]) -> Option<Test> {
    let all = wanted
        .iter()
        .map(|value| if let EventValue::Text(text) = value { Some(Arc::clone(text)) } else { None })
        .collect::<Option<Vec<Arc<str>>>>()?;
    Comparison::of(test, all).map(Test::Text)
}

impl<T> Comparison<T> {
    /// With one of these, or with all where the test has a list; `None` where it compares nothing.
    fn of(test: &EventTest, mut all: Vec<T>) -> Option<Self> {
        if let EventTest::In(_) = test {
            return Some(Self::OneOf(all));
        }
        let one = all.pop()?;
        Some(match test {
            EventTest::Equal(_) => Self::Equal(one),
            EventTest::NotEqual(_) => Self::NotEqual(one),
            EventTest::Less(_) => Self::Less(one),
            EventTest::LessOrEqual(_) => Self::LessOrEqual(one),
            EventTest::Greater(_) => Self::Greater(one),
            EventTest::GreaterOrEqual(_) => Self::GreaterOrEqual(one),
            EventTest::In(_) | EventTest::IsNull | EventTest::NotNull => return None,
        })
    }

    fn passes<V: PartialOrd + ?Sized>(&self, value: &V) -> bool
    where
        T: Borrow<V>,
    {
        match self {
            Self::Equal(one) => value == one.borrow(),
            Self::NotEqual(one) => value != one.borrow(),
            Self::Less(one) => value < one.borrow(),
            Self::LessOrEqual(one) => value <= one.borrow(),
            Self::Greater(one) => value > one.borrow(),
            Self::GreaterOrEqual(one) => value >= one.borrow(),
            Self::OneOf(all) => all.iter().any(|one| value == one.borrow()),
        }
    }
}

impl Comparison<f64> {
    /// Whether a value within the bounds may pass, and whether every one does.
    fn verdict(&self, range: Option<(f64, f64)>, nan: bool) -> (bool, bool) {
        let Some((min, max)) = range else {
            // Nothing but NaN.
            let passes = self.passes(&f64::NAN);
            return (passes, passes);
        };
        let (some, all) = match self {
            Self::Equal(one) => (min <= *one && *one <= max, min == *one && max == *one),
            Self::NotEqual(one) => (min != *one || max != *one, *one < min || max < *one),
            Self::Less(one) => (min < *one, max < *one),
            Self::LessOrEqual(one) => (min <= *one, max <= *one),
            Self::Greater(one) => (max > *one, min > *one),
            Self::GreaterOrEqual(one) => (max >= *one, min >= *one),
            Self::OneOf(all) => (all.iter().any(|one| min <= *one && *one <= max), false),
        };
        if nan {
            let passes = self.passes(&f64::NAN);
            return (some || passes, all && passes);
        }
        (some, all)
    }
}
