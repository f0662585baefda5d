//! From the parser's tree to ours.

use std::time::{Duration, UNIX_EPOCH};

use promql_parser::label::{MatchOp as ParsedOp, Matchers};
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Expr, Offset, SubqueryExpr, VectorSelector,
};

use super::{Aggregate, Moment, Node, Pin, RangeSource, Ranged, Selection, Subquery};
use super::{call, invariant, operators};
use crate::model::{METRIC_NAME_LABEL, MatchOp, Matcher, Selector};
use crate::promql::value::ValueType;
use crate::time::{Timestamp, duration_nanos};

/// Lowers a whole query.
///
/// # Errors
/// What is wrong with it, or not supported.
pub(in crate::promql) fn lower(expression: &Expr) -> Result<Node, String> {
    let mut node = Lowering::default().node(expression)?;
    invariant::mark(&mut node);
    Ok(node)
}

/// Goes through the tree in the order of the text.
#[derive(Default)]
pub(super) struct Lowering {
    selectors: usize,
}

impl Lowering {
    pub(super) fn node(&mut self, expression: &Expr) -> Result<Node, String> {
        match expression {
            Expr::Paren(paren) => self.node(&paren.expr),
            Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
            Expr::VectorSelector(selector) => Ok(Node::Latest(self.selection(selector)?)),
            Expr::MatrixSelector(matrix) => {
                let range = positive(matrix.range, "range")?;
                let source = RangeSource::Selector(self.selection(&matrix.vs)?);
                Ok(Node::Range(Ranged { range, source }))
            }
            Expr::Subquery(subquery) => Ok(Node::Range(self.subquery(subquery)?)),
            Expr::Unary(unary) => {
                let inner = self.node(&unary.expr)?;
                let found = inner.value_type();
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    return Err(format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got {found}"
                    ));
                }
                Ok(match inner {
                    Node::Number(number) => Node::Number(-number),
                    inner => Node::Negate(Box::new(inner)),
                })
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call(parsed) => call::lower(self, parsed),
            Expr::Extension(_) => Err("extensions are not supported".to_owned()),
        }
    }

    fn aggregate(&mut self, parsed: &AggregateExpr) -> Result<Node, String> {
        let op = operators::aggregate_op(parsed.op)?;
        let parameter = parsed.param.as_deref().map(|parameter| {
            let parameter = self.node(parameter)?;
            expect(&parameter, operators::parameter_type(op), "aggregation parameter")?;
            Ok::<_, String>(Box::new(parameter))
        });
        let parameter = parameter.transpose()?;
        let inner = Box::new(self.node(&parsed.expr)?);
        expect(&inner, ValueType::Vector, "aggregation expression")?;
        let grouping = operators::grouping(parsed.modifier.as_ref());
        Ok(Node::Aggregate(Aggregate { op, grouping, parameter, inner }))
    }

    fn binary(&mut self, parsed: &BinaryExpr) -> Result<Node, String> {
        let (left, right) = (self.node(&parsed.lhs)?, self.node(&parsed.rhs)?);
        operators::binary(parsed, left, right)
    }

    fn subquery(&mut self, parsed: &SubqueryExpr) -> Result<Ranged, String> {
        let inner = self.node(&parsed.expr)?;
        expect(&inner, ValueType::Vector, "subquery")?;
        let step = parsed.step.map(|step| positive(step, "step")).transpose()?;
        let moment = moment(parsed.at.as_ref(), parsed.offset.as_ref())?;
        let subquery = Subquery { inner: Box::new(inner), moment, step };
        let range = positive(parsed.range, "range")?;
        Ok(Ranged { range, source: RangeSource::Subquery(subquery) })
    }

    pub(super) fn selection(&mut self, parsed: &VectorSelector) -> Result<Selection, String> {
        let index = self.selectors;
        self.selectors += 1;
        let selector = selector(parsed.name.as_deref(), &parsed.matchers)?;
        let moment = moment(parsed.at.as_ref(), parsed.offset.as_ref())?;
        Ok(Selection { index, selector, moment })
    }
}

/// # Errors
/// Where the node is not of this type.
pub(super) fn expect(node: &Node, wanted: ValueType, context: &str) -> Result<(), String> {
    let found = node.value_type();
    if found == wanted {
        return Ok(());
    }
    Err(format!("expected type {wanted} in {context}, got {found}"))
}

/// The matchers by our own rules: their patterns' text is taken, not what the parser compiled.
fn selector(name: Option<&str>, parsed: &Matchers) -> Result<Selector, String> {
    if !parsed.or_matchers.is_empty() {
        return Err("`or` between label matchers is not PromQL".to_owned());
    }
    let named = name.map(|name| (METRIC_NAME_LABEL, MatchOp::Equal, name));
    let others = parsed.matchers.iter().map(|matcher| {
        let op = match matcher.op {
            ParsedOp::Equal => MatchOp::Equal,
            ParsedOp::NotEqual => MatchOp::NotEqual,
            ParsedOp::Re(_) => MatchOp::Matches,
            ParsedOp::NotRe(_) => MatchOp::NotMatches,
        };
        (matcher.name.as_str(), op, matcher.value.as_str())
    });
    let matchers = named.into_iter().chain(others);
    let matchers: Vec<Matcher> = matchers
        .map(|(name, op, value)| Matcher::new(name, op, value).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    if matchers.iter().all(|matcher| matcher.accepts("")) {
        return Err("vector selector must contain at least one non-empty matcher".to_owned());
    }
    Selector::new(matchers).map_err(|error| error.to_string())
}

fn moment(at: Option<&AtModifier>, offset: Option<&Offset>) -> Result<Moment, String> {
    let pin = at.map(|at| match at {
        AtModifier::Start => Ok(Pin::Start),
        AtModifier::End => Ok(Pin::End),
        AtModifier::At(time) => {
            let since = time.duration_since(UNIX_EPOCH).map_err(|before| before.duration());
            timestamp(since).map(Pin::At)
        }
    });
    let offset = offset.map_or(0, |offset| match offset {
        Offset::Pos(back) => duration_nanos(*back),
        Offset::Neg(forward) => -duration_nanos(*forward),
    });
    Ok(Moment { pin: pin.transpose()?, offset })
}

/// From the time since the epoch, or before it.
fn timestamp(since: Result<Duration, Duration>) -> Result<Timestamp, String> {
    let (sign, distance) = match since {
        Ok(after) => (1, after),
        Err(before) => (-1, before),
    };
    match duration_nanos(distance) {
        i64::MAX => Err(format!("timestamp out of bounds for @ modifier: {}", distance.as_secs())),
        nanos => Ok(Timestamp(sign * nanos)),
    }
}

fn positive(duration: Duration, what: &str) -> Result<i64, String> {
    match duration_nanos(duration) {
        nanos @ 1.. => Ok(nanos),
        _ => Err(format!("{what}: duration must be greater than 0")),
    }
}
