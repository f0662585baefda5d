//! Operators, aggregations and functions of instant vectors.

use super::evaluate::Evaluation;
use super::plan::{Aggregate, Binary, Node};
use super::steps::Steps;
use super::value::{Value, ValueType};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub(super) struct AggregateOp;
#[derive(Debug, Clone)]
pub(super) struct Grouping;
#[derive(Debug, Clone)]
pub(super) struct BinaryOp;
#[derive(Debug, Clone)]
pub(super) struct Matching;
#[derive(Debug, Clone)]
pub(super) struct Function;

impl Function {
    pub(super) fn value_type(&self) -> ValueType {
        ValueType::Vector
    }
    pub(super) fn depends_on_step(&self) -> bool {
        true
    }
}

fn not_built<T>() -> Result<T> {
    Err(Error::Evaluation { reason: "not built yet".into() })
}

pub(super) fn orders(_node: &Node) -> bool {
    false
}
pub(super) fn aggregate(_: &Evaluation<'_>, _: &Aggregate, _: Steps) -> Result<Value> {
    not_built()
}
pub(super) fn binary(_: &Evaluation<'_>, _: &Binary, _: Steps) -> Result<Value> {
    not_built()
}
pub(super) fn call(_: &Evaluation<'_>, _: &Function, _: &[Node], _: Steps) -> Result<Value> {
    not_built()
}
