//! Calls: which function is meant, and whether its arguments fit.

use promql_parser::parser::value::ValueType as Parsed;
use promql_parser::parser::{Call, Expr, VectorSelector};

use super::lower::{Lowering, expect};
use super::{Node, OverRange, RangeSource, Ranged, Summary, distribution};
use crate::model::{METRIC_NAME_LABEL, MatchOp, Selector};
use crate::promql::functions::Function;
use crate::promql::labels::Labels;
use crate::promql::range::RangeFunction;
use crate::promql::value::ValueType;

/// Functions of Prometheus that need native histograms' buckets.
const NATIVE_HISTOGRAMS: [&str; 2] = ["histogram_stddev", "histogram_stdvar"];

pub(super) fn lower(lowering: &mut Lowering, parsed: &Call) -> Result<Node, String> {
    let name = parsed.func.name;
    if name == "time" {
        return Ok(Node::Time);
    }
    if NATIVE_HISTOGRAMS.contains(&name) {
        return Err(format!("{name} is not supported: there are no native histograms"));
    }
    if let ("timestamp", [argument]) = (name, parsed.args.args.as_slice())
        && let Some(selector) = plain_selector(argument)
    {
        return Ok(Node::LatestTime(lowering.selection(selector)?));
    }
    let arguments = parsed.args.args.iter().map(|argument| lowering.node(argument));
    let arguments: Vec<Node> = arguments.collect::<Result<_, _>>()?;
    if let Some(function) = RangeFunction::named(name) {
        return over_range(name, function, arguments);
    }
    let summary = match name {
        "histogram_count" => Some(Summary::Count),
        "histogram_sum" => Some(Summary::Sum),
        "histogram_avg" => Some(Summary::Avg),
        _ => None,
    };
    if let (Some(summary), [of]) = (summary, arguments.as_slice()) {
        return distribution::node(summary, of, None).ok_or_else(|| {
            format!(
                "{name} is supported of distributions only: of a selector, its rate or increase, \
                 or the sum of either"
            )
        });
    }
    let Some(function) = Function::named(name) else {
        return Err(format!("function {name:?} is experimental and not supported"));
    };
    of_vectors(parsed, function, arguments)
}

fn of_vectors(parsed: &Call, function: Function, mut arguments: Vec<Node>) -> Result<Node, String> {
    let context = format!("call to function {:?}", parsed.func.name);
    let types = &parsed.func.arg_types;
    for (argument, wanted) in
        arguments.iter().zip(types.iter().chain(types.iter().last().into_iter().cycle()))
    {
        let wanted = match wanted {
            Parsed::Scalar => ValueType::Scalar,
            Parsed::String => ValueType::Text,
            Parsed::Vector => ValueType::Vector,
            Parsed::Matrix => ValueType::Matrix,
        };
        expect(argument, wanted, &context)?;
    }
    let function = match (function, parsed.args.args.as_slice(), arguments.as_slice()) {
        (Function::Absent(_), [plain], [Node::Latest(selection)])
            if matches!(**plain, Expr::VectorSelector(_)) =>
        {
            Function::Absent(labels_of_absent(&selection.selector))
        }
        (function, ..) => function,
    };
    if arguments.is_empty() && matches!(function, Function::Date(_)) {
        arguments.push(Node::Call(Function::Vector, vec![Node::Time]));
    }
    if let (Function::HistogramQuantile, [phi, of]) = (&function, arguments.as_slice()) {
        let summary = Summary::Quantile(Box::new(phi.clone()));
        let classic = Node::Call(function, arguments.clone());
        let node = distribution::node(summary, of, Some(classic.clone()));
        return Ok(node.unwrap_or(classic));
    }
    Ok(Node::Call(function, arguments))
}

/// A selector in any number of brackets.
fn plain_selector(expression: &Expr) -> Option<&VectorSelector> {
    match expression {
        Expr::Paren(paren) => plain_selector(&paren.expr),
        Expr::VectorSelector(selector) => Some(selector),
        _ => None,
    }
}

fn over_range(name: &str, function: RangeFunction, arguments: Vec<Node>) -> Result<Node, String> {
    let mut ranged: Option<Ranged> = None;
    let mut parameters = Vec::new();
    let context = format!("call to function {name:?}");
    for argument in arguments {
        match argument {
            Node::Range(found) if ranged.is_none() => ranged = Some(found),
            parameter => {
                expect(&parameter, ValueType::Scalar, &context)?;
                parameters.push(parameter);
            }
        }
    }
    let Some(ranged) = ranged else {
        return Err(format!("expected type range vector in {context}"));
    };
    if function != RangeFunction::Absent {
        return Ok(Node::OverRange(OverRange { function, ranged, parameters }));
    }
    let labels = match &ranged.source {
        RangeSource::Selector(selection) => labels_of_absent(&selection.selector),
        RangeSource::Subquery(_) => Labels::default(),
    };
    let present = OverRange { function: RangeFunction::Present, ranged, parameters };
    Ok(Node::AbsentOverRange(present, labels))
}

/// What is known of a series that is not there: the labels that a selector fixes. Of several
/// matchers on one label the first `=` counts if it is the last of them: as Prometheus has it.
pub(super) fn labels_of_absent(selector: &Selector) -> Labels {
    let mut fixed: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers() {
        let name = matcher.name();
        if name == METRIC_NAME_LABEL {
            continue;
        }
        if matcher.op() == MatchOp::Equal && !seen.contains(&name) {
            fixed.push((name, matcher.value()));
            seen.push(name);
        } else {
            fixed.retain(|(other, _)| *other != name);
        }
    }
    Labels::new(fixed)
}
