//! tmp
use super::Node;
use crate::promql::operate::{AggregateOp, Grouping};
use promql_parser::parser::token::TokenType;
use promql_parser::parser::{BinaryExpr, LabelModifier};
pub(super) fn aggregate(_op: &TokenType) -> Result<AggregateOp, String> {
    Err("not built yet".into())
}
pub(super) fn grouping(_m: Option<&LabelModifier>) -> Grouping {
    Grouping
}
pub(super) fn binary(_b: &BinaryExpr, _l: Node, _r: Node) -> Result<Node, String> {
    Err("not built yet".into())
}
pub(super) fn call(_n: &str, _a: Vec<Node>) -> Result<Node, String> {
    Err("not built yet".into())
}
