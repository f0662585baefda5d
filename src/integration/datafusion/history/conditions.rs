//! Which conditions of a `WHERE` the engine understands.
//!
//! A condition is taken over only where the engine passes exactly the rows that DataFusion would:
//! what is taken is not looked at again.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::scalar::ScalarValue;

use crate::integration::arrow::TIME;
use crate::model::{EventKind, EventValue};
use crate::query::EventTest;
use crate::time::{TimeRange, Timestamp};

/// Part of a condition; all parts must pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// The time is within.
    Within(TimeRange),
    /// A column passes a test.
    Column(String, EventTest),
}

/// The parts of a condition; `None` where it is not understood. `kind` says of what kind a column
/// other than the time is, and `None` of one that is to be left alone.
pub(super) fn understand(
    expr: &Expr,
    kind: &dyn Fn(&str) -> Option<EventKind>,
) -> Option<Vec<Condition>> {
    let one = |column: &str, test| Some(vec![Condition::Column(column.to_owned(), test)]);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut parts = understand(left, kind)?;
            parts.extend(understand(right, kind)?);
            Some(parts)
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) | Expr::InList(_)
            if negated_list(expr).is_none() =>
        {
            let (column, values) = alternatives(expr, kind)?;
            one(column, EventTest::In(values))
        }
        Expr::InList(list) => {
            let column = column(&list.expr)?;
            let kind = kind(column)?;
            let values = list.list.iter().map(|expr| value(expr, kind, Operator::NotEq));
            let parts = values.map(|value| {
                Some(Condition::Column(column.to_owned(), EventTest::NotEqual(value?)))
            });
            parts.collect()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            compare(left, *op, right, kind).or_else(|| compare(right, op.swap()?, left, kind))
        }
        Expr::IsNull(inner) => {
            let column = column(inner).filter(|column| kind(column).is_some())?;
            one(column, EventTest::IsNull)
        }
        Expr::IsNotNull(inner) => {
            let column = column(inner).filter(|column| kind(column).is_some())?;
            one(column, EventTest::NotNull)
        }
        Expr::Column(_) => {
            let column = column(expr).filter(|name| kind(name) == Some(EventKind::Boolean))?;
            one(column, EventTest::Equal(true.into()))
        }
        Expr::Not(inner) => {
            let column = column(inner).filter(|name| kind(name) == Some(EventKind::Boolean))?;
            one(column, EventTest::Equal(false.into()))
        }
        _ => None,
    }
}

/// For each filter whether a scan takes it over, which is exactly or not at all.
pub(super) fn pushdown(
    filters: &[&Expr],
    understands: impl Fn(&Expr) -> bool,
) -> Vec<TableProviderFilterPushDown> {
    let answer = |filter: &&Expr| match understands(filter) {
        true => TableProviderFilterPushDown::Exact,
        false => TableProviderFilterPushDown::Unsupported,
    };
    filters.iter().map(answer).collect()
}

fn negated_list(expr: &Expr) -> Option<()> {
    matches!(expr, Expr::InList(list) if list.negated).then_some(())
}

/// The name of a column; a cast of it to another type of texts changes nothing.
fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column.name()),
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            let texts = matches!(to, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
            let inner = if texts { cast.expr.as_ref() } else { return None };
            if let Expr::Column(column) = inner { Some(column.name()) } else { None }
        }
        _ => None,
    }
}

/// Whether a column is cast to texts: then it must be one of texts.
fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(_))
}

fn compare(
    left: &Expr,
    op: Operator,
    right: &Expr,
    kind: &dyn Fn(&str) -> Option<EventKind>,
) -> Option<Vec<Condition>> {
    let column = column(left)?;
    if column == TIME && !is_cast(left) {
        let Expr::Literal(moment, _) = right else { return None };
        return Some(vec![Condition::Within(within(op, nanos(moment)?)?)]);
    }
    let kind = kind(column).filter(|kind| !is_cast(left) || *kind == EventKind::Text)?;
    let value = value(right, kind, op)?;
    let test = match op {
        Operator::Eq => EventTest::Equal(value),
        Operator::NotEq => EventTest::NotEqual(value),
        Operator::Lt => EventTest::Less(value),
        Operator::LtEq => EventTest::LessOrEqual(value),
        Operator::Gt => EventTest::Greater(value),
        Operator::GtEq => EventTest::GreaterOrEqual(value),
        _ => return None,
    };
    Some(vec![Condition::Column(column.to_owned(), test)])
}

/// Equalities of one column, any of which must pass: how short lists arrive.
fn alternatives<'a>(
    expr: &'a Expr,
    kind: &dyn Fn(&str) -> Option<EventKind>,
) -> Option<(&'a str, Vec<EventValue>)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (column, mut values) = alternatives(left, kind)?;
            let (other, more) = alternatives(right, kind)?;
            values.extend(more);
            (column == other).then_some((column, values))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (expr, literal) =
                if column(left).is_some() { (left, right) } else { (right, left) };
            let name = column(expr)?;
            let kind = kind(name).filter(|kind| !is_cast(expr) || *kind == EventKind::Text)?;
            Some((name, vec![value(literal, kind, Operator::Eq)?]))
        }
        Expr::InList(list) if !list.negated => {
            let name = column(&list.expr)?;
            let kind =
                kind(name).filter(|kind| !is_cast(&list.expr) || *kind == EventKind::Text)?;
            let values = list.list.iter().map(|literal| value(literal, kind, Operator::Eq));
            Some((name, values.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// The times that pass a comparison; `None` of those that are no range.
fn within(op: Operator, moment: i64) -> Option<TimeRange> {
    let (start, end) = (TimeRange::ALL.start, TimeRange::ALL.end);
    let at = Timestamp(moment);
    let after = Timestamp(moment.checked_add(1)?);
    Some(match op {
        Operator::Eq => TimeRange::new(at, after),
        Operator::Lt => TimeRange::new(start, at),
        Operator::LtEq => TimeRange::new(start, after),
        Operator::Gt => TimeRange::new(after, end),
        Operator::GtEq => TimeRange::new(at, end),
        _ => return None,
    })
}

fn nanos(moment: &ScalarValue) -> Option<i64> {
    match moment {
        ScalarValue::TimestampNanosecond(moment, _) => *moment,
        ScalarValue::TimestampMicrosecond(moment, _) => (*moment)?.checked_mul(1_000),
        ScalarValue::TimestampMillisecond(moment, _) => (*moment)?.checked_mul(1_000_000),
        ScalarValue::TimestampSecond(moment, _) => (*moment)?.checked_mul(1_000_000_000),
        _ => None,
    }
}

/// A constant as a value of a column's kind, where the engine compares it as DataFusion does.
fn value(expr: &Expr, kind: EventKind, op: Operator) -> Option<EventValue> {
    let Expr::Literal(literal, _) = expr else { return None };
    match kind {
        EventKind::Text => Some(EventValue::Text(Arc::from(text(literal)?))),
        EventKind::Boolean => {
            let ScalarValue::Boolean(Some(value)) = literal else { return None };
            Some(EventValue::Boolean(*value))
        }
        EventKind::Integer => integer(literal).map(EventValue::Integer),
        EventKind::Float => {
            // DataFusion orders floats by all their bits: NaN is the greatest, -0 below 0.
            let ScalarValue::Float64(Some(value)) = literal else { return None };
            let alike =
                value.is_finite() && *value != 0.0 && matches!(op, Operator::Eq | Operator::NotEq);
            alike.then_some(EventValue::Float(*value))
        }
    }
}

fn integer(literal: &ScalarValue) -> Option<i64> {
    match literal {
        ScalarValue::Int64(value) => *value,
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(value) => (*value)?.try_into().ok(),
        _ => None,
    }
}

/// The text of a constant.
pub(super) fn text(literal: &ScalarValue) -> Option<&str> {
    match literal {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_deref()
        }
        ScalarValue::Dictionary(_, value) => text(value),
        _ => None,
    }
}

/// The times that two ranges share.
pub(super) fn both(one: TimeRange, other: TimeRange) -> TimeRange {
    TimeRange::new(one.start.max(other.start), one.end.min(other.end))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn kinds(name: &str) -> Option<EventKind> {
        match name {
            "n" => Some(EventKind::Integer),
            "x" => Some(EventKind::Float),
            "b" => Some(EventKind::Boolean),
            "t" => Some(EventKind::Text),
            _ => None,
        }
    }

    fn of(column: &str, test: EventTest) -> Option<Vec<Condition>> {
        Some(vec![Condition::Column(column.to_owned(), test)])
    }

    #[test]
    fn what_is_understood_and_what_is_left() {
        let moment = |nanos| lit(ScalarValue::TimestampNanosecond(Some(nanos), None));
        let range = |a: i64, b: i64| {
            Some(vec![Condition::Within(TimeRange::new(Timestamp(a), Timestamp(b)))])
        };
        for (expr, expected) in [
            (col("n").gt(lit(5_i64)), of("n", EventTest::Greater(5.into()))),
            (lit(5_i64).gt(col("n")), of("n", EventTest::Less(5.into()))),
            (col("t").eq(lit("a")), of("t", EventTest::Equal("a".into()))),
            (
                col("t").eq(lit("a")).or(col("t").eq(lit("b"))),
                of("t", EventTest::In(vec!["a".into(), "b".into()])),
            ),
            (
                col("n").in_list(vec![lit(1_i64), lit(2_i64)], false),
                of("n", EventTest::In(vec![1.into(), 2.into()])),
            ),
            (col("n").in_list(vec![lit(1_i64)], true), of("n", EventTest::NotEqual(1.into()))),
            (col("b"), of("b", EventTest::Equal(true.into()))),
            (Expr::Not(Box::new(col("b"))), of("b", EventTest::Equal(false.into()))),
            (col("x").is_null(), of("x", EventTest::IsNull)),
            (col("x").eq(lit(1.5)), of("x", EventTest::Equal(1.5.into()))),
            (col("time").gt_eq(moment(7)), range(7, i64::MAX)),
            (col("time").eq(moment(7)), range(7, 8)),
            (col("time").lt_eq(moment(7)), range(i64::MIN, 8)),
            // Left alone: NaN and zeros, what no range is, two columns, other columns.
            (col("x").gt(lit(1.5)), None),
            (col("x").eq(lit(0.0)), None),
            (col("x").not_eq(lit(f64::NAN)), None),
            (col("time").not_eq(moment(7)), None),
            (col("time").gt(moment(i64::MAX)), None),
            (col("t").eq(lit("a")).or(col("n").eq(lit(1_i64))), None),
            (col("n").eq(col("n")), None),
            (col("other").eq(lit(1_i64)), None),
            (col("n").eq(lit(ScalarValue::Int64(None))), None),
        ] {
            assert_eq!(understand(&expr, &kinds), expected, "{expr}");
        }
    }
}
