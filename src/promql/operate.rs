//! Operators, aggregations and functions of instant vectors: their operands evaluated, handed to
//! whoever computes.

use super::aggregate::{self, AggregateOp, Groups};
use super::binary::{self, Side};
use super::budget::{value_bytes, values_bytes};
use super::evaluate::Evaluation;
use super::functions::Function;
use super::matching;
use super::plan::{Aggregate, Binary, Node, Operator};
use super::pushdown;
use super::steps::Steps;
use super::value::{Column, Value};
use crate::error::{Error, Result};
use crate::query::FOLD_SERIES;

/// # Errors
/// Those of the arguments, and of the function.
pub(super) fn call(
    evaluation: &Evaluation<'_>,
    function: &Function,
    arguments: &[Node],
    steps: Steps,
) -> Result<Value> {
    let arguments = arguments.iter().map(|argument| evaluation.node(argument, steps));
    let arguments: Vec<Value> = arguments.collect::<Result<_>>()?;
    let mut bytes: u64 = arguments.iter().map(value_bytes).sum();
    if arguments.is_empty() {
        // A scalar, the only thing made of nothing.
        evaluation.budget.reserve(values_bytes(steps.len()))?;
        bytes = values_bytes(steps.len());
    }
    let check = || evaluation.budget.check();
    let value = function.call(arguments, steps, &evaluation.notes, &check)?;
    evaluation.replace(bytes, value)
}

/// Whether a node's series of an instant query come in an order of their own.
pub(super) fn orders(node: &Node) -> bool {
    match node {
        Node::Aggregate(aggregate) => {
            matches!(aggregate.op, AggregateOp::TopK | AggregateOp::BottomK)
        }
        Node::Call(function, _) => function.orders(),
        Node::Once(inner) => orders(inner),
        _ => false,
    }
}

/// # Errors
/// Those of the operands, and of the aggregator.
pub(super) fn aggregate(
    evaluation: &Evaluation<'_>,
    node: &Aggregate,
    steps: Steps,
) -> Result<Value> {
    if let Some(columns) = pushdown::aggregate(evaluation, node, steps)? {
        return evaluation.replace(0, Value::Vector(columns));
    }
    let columns = evaluation.vector_node(&node.inner, steps)?;
    let value = Value::Vector(columns);
    let mut bytes = value_bytes(&value);
    let Value::Vector(columns) = value else { return Ok(value) };
    let check = || evaluation.budget.check();
    let mut scalars = || -> Result<Vec<f64>> {
        let parameter = node.parameter.as_deref().unwrap_or(&Node::Number(f64::NAN));
        let values = evaluation.scalar_node(parameter, steps)?;
        bytes += values_bytes(values.len());
        Ok(values)
    };
    let grouping = &node.grouping;
    let columns = match node.op {
        AggregateOp::TopK => aggregate::ranked(true, &scalars()?, grouping, columns, &check)?,
        AggregateOp::BottomK => aggregate::ranked(false, &scalars()?, grouping, columns, &check)?,
        AggregateOp::Quantile => {
            let phis = scalars()?;
            aggregate::quantile(&phis, grouping, &columns, &evaluation.notes, &check)?
        }
        AggregateOp::CountValues => {
            let Some(Node::Text(label)) = node.parameter.as_deref() else {
                let reason = "count_values needs the text of a label".to_owned();
                return Err(Error::Evaluation { reason });
            };
            aggregate::count_values(label, grouping, &columns, &check)?
        }
        _ => folded(evaluation, node, &columns, steps)?,
    };
    evaluation.replace(bytes, Value::Vector(columns))
}

/// By shards as long as those of what is folded while it is read.
fn folded(
    evaluation: &Evaluation<'_>,
    node: &Aggregate,
    columns: &[Column],
    steps: Steps,
) -> Result<Vec<Column>> {
    let groups = || Groups::new(node.op, &node.grouping, steps.len());
    let (mut merged, mut held) = (groups(), 0);
    for shard in columns.chunks(FOLD_SERIES) {
        let mut folded = groups();
        for column in shard {
            evaluation.budget.check()?;
            folded.add(&column.labels, &column.values);
        }
        let before = merged.len();
        merged.merge(folded);
        let more = (merged.len() - before) as u64 * merged.group_bytes();
        evaluation.budget.reserve(more)?;
        held += more;
    }
    evaluation.budget.release(held);
    Ok(merged.finish())
}

/// # Errors
/// Those of the operands, and of matching.
pub(super) fn binary(evaluation: &Evaluation<'_>, node: &Binary, steps: Steps) -> Result<Value> {
    let left = evaluation.node(&node.left, steps)?;
    let right = evaluation.node(&node.right, steps)?;
    let bytes = value_bytes(&left) + value_bytes(&right);
    let check = || evaluation.budget.check();
    let (matching, returns_bool) = (&node.matching, node.matching.returns_bool);
    let value = match (node.op, left, right) {
        (Operator::Number(op), Value::Scalar(left), Value::Scalar(right)) => {
            Value::Scalar(binary::scalars(op, left, &right))
        }
        (Operator::Number(op), Value::Vector(left), Value::Scalar(right)) => {
            let left = (left, Side::Left);
            Value::Vector(binary::vector_scalar(op, returns_bool, left, &right, &check)?)
        }
        (Operator::Number(op), Value::Scalar(left), Value::Vector(right)) => {
            let right = (right, Side::Right);
            Value::Vector(binary::vector_scalar(op, returns_bool, right, &left, &check)?)
        }
        (Operator::Number(op), Value::Vector(left), Value::Vector(right)) => {
            Value::Vector(matching::vectors(op, left, right, matching, &check)?)
        }
        (Operator::Set(op), Value::Vector(left), Value::Vector(right)) => {
            Value::Vector(matching::set(op, left, right, matching, &check)?)
        }
        _ => {
            let reason = "operands are no scalars and instant vectors".to_owned();
            return Err(Error::Evaluation { reason });
        }
    };
    evaluation.replace(bytes, value)
}
