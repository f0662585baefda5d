//! Operators, aggregations and functions of instant vectors: which is meant, and whether its
//! operands fit.

use promql_parser::parser::token::{self, TokenId, TokenType};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::{Binary, Node, Operator};
use crate::promql::aggregate::{AggregateOp, Grouping};
use crate::promql::binary::{self, BinaryOp};
use crate::promql::matching::{Cardinality, Matching, SetOp};
use crate::promql::value::ValueType;

/// An operator of two operands that are lowered already.
///
/// # Errors
/// Where they do not fit.
pub(super) fn binary(parsed: &BinaryExpr, left: Node, right: Node) -> Result<Node, String> {
    let Some(op) = operator(parsed.op.id()) else {
        return Err(format!("operator {} is not supported", parsed.op));
    };
    let types = (left.value_type(), right.value_type());
    let is_operand = |kind| matches!(kind, ValueType::Scalar | ValueType::Vector);
    if !(is_operand(types.0) && is_operand(types.1)) {
        let reason = "binary expression must contain only scalar and instant vector types";
        return Err(reason.to_owned());
    }
    let matching = matching(parsed.modifier.as_ref());
    let both_vectors = types == (ValueType::Vector, ValueType::Vector);
    match op {
        Operator::Set(_) if !both_vectors => {
            let reason =
                format!("set operator {} not allowed in binary scalar expression", parsed.op);
            return Err(reason);
        }
        Operator::Set(_) if matching.cardinality != Cardinality::OneToOne => {
            return Err(format!("no grouping allowed for {} operation", parsed.op));
        }
        Operator::Number(number) if matching.returns_bool && !number.is_comparison() => {
            return Err("bool modifier can only be used on comparison operators".to_owned());
        }
        Operator::Number(number)
            if types == (ValueType::Scalar, ValueType::Scalar)
                && number.is_comparison()
                && !matching.returns_bool =>
        {
            return Err("comparisons between scalars must use BOOL modifier".to_owned());
        }
        _ => {}
    }
    if let (Node::Number(left), Node::Number(right), Operator::Number(op)) = (&left, &right, op) {
        let folded = binary::scalars(op, vec![*left], &[*right]);
        return Ok(Node::Number(folded.first().copied().unwrap_or(f64::NAN)));
    }
    Ok(Node::Binary(Box::new(Binary { op, matching, left, right })))
}

fn operator(token: TokenId) -> Option<Operator> {
    use BinaryOp as B;
    let number = match token {
        token::T_ADD => B::Add,
        token::T_SUB => B::Sub,
        token::T_MUL => B::Mul,
        token::T_DIV => B::Div,
        token::T_MOD => B::Mod,
        token::T_POW => B::Pow,
        token::T_ATAN2 => B::Atan2,
        token::T_EQLC => B::Equal,
        token::T_NEQ => B::NotEqual,
        token::T_LSS => B::Less,
        token::T_LTE => B::LessEqual,
        token::T_GTR => B::Greater,
        token::T_GTE => B::GreaterEqual,
        token::T_LAND => return Some(Operator::Set(SetOp::And)),
        token::T_LOR => return Some(Operator::Set(SetOp::Or)),
        token::T_LUNLESS => return Some(Operator::Set(SetOp::Unless)),
        _ => return None,
    };
    Some(Operator::Number(number))
}

fn matching(parsed: Option<&BinModifier>) -> Matching {
    let Some(parsed) = parsed else { return Matching::default() };
    let (on, labels) = match &parsed.matching {
        Some(LabelModifier::Include(labels)) => (true, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (false, labels.labels.clone()),
        None => (false, Vec::new()),
    };
    let cardinality = match &parsed.card {
        VectorMatchCardinality::ManyToOne(taken) => Cardinality::ManyToOne(taken.labels.clone()),
        VectorMatchCardinality::OneToMany(taken) => Cardinality::OneToMany(taken.labels.clone()),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
            Cardinality::OneToOne
        }
    };
    let (fill_left, fill_right) = (parsed.fill_values.lhs, parsed.fill_values.rhs);
    let returns_bool = parsed.return_bool;
    Matching { on, labels, cardinality, returns_bool, fill_left, fill_right }
}

/// The aggregator, and whether it takes a parameter.
///
/// # Errors
/// Where it is not supported.
pub(super) fn aggregate_op(op: TokenType) -> Result<AggregateOp, String> {
    use AggregateOp as A;
    Ok(match op.id() {
        token::T_SUM => A::Sum,
        token::T_AVG => A::Avg,
        token::T_COUNT => A::Count,
        token::T_MIN => A::Min,
        token::T_MAX => A::Max,
        token::T_GROUP => A::Group,
        token::T_STDDEV => A::Stddev,
        token::T_STDVAR => A::Stdvar,
        token::T_TOPK => A::TopK,
        token::T_BOTTOMK => A::BottomK,
        token::T_QUANTILE => A::Quantile,
        token::T_COUNT_VALUES => A::CountValues,
        _ => return Err(format!("{op} is experimental and not supported")),
    })
}

/// What an aggregator's parameter has to be.
pub(super) fn parameter_type(op: AggregateOp) -> ValueType {
    if op == AggregateOp::CountValues { ValueType::Text } else { ValueType::Scalar }
}

pub(super) fn grouping(parsed: Option<&LabelModifier>) -> Grouping {
    let (without, labels) = match parsed {
        Some(LabelModifier::Include(labels)) => (false, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (true, labels.labels.clone()),
        None => (false, Vec::new()),
    };
    Grouping { without, labels }
}
