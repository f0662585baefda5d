//! What is the same at every step is computed once: numbers, texts, and what `@` pins.

use super::{Node, RangeSource, Ranged};

/// Puts [`Node::Once`] around the largest parts that do not depend on the step but are worth it.
pub(super) fn mark(node: &mut Node) {
    if is_invariant(node) {
        once(node);
    } else {
        for child in children(node) {
            mark(child);
        }
    }
}

fn once(node: &mut Node) {
    // Numbers and texts are cheaper as they are; a range vector by itself has one step.
    if !matches!(node, Node::Number(_) | Node::Text(_) | Node::Range(_)) {
        let inner = std::mem::replace(node, Node::Time);
        *node = Node::Once(Box::new(inner));
    }
}

fn is_invariant(node: &Node) -> bool {
    match node {
        Node::Number(_) | Node::Text(_) | Node::Once(_) => true,
        Node::Time | Node::OfDistribution(_) => false,
        Node::Latest(selection) | Node::LatestTime(selection) => selection.moment.pin.is_some(),
        Node::Range(ranged) => is_pinned(ranged),
        Node::OverRange(over) => {
            !over.function.depends_on_step()
                && is_pinned(&over.ranged)
                && over.parameters.iter().all(is_invariant)
        }
        Node::AbsentOverRange(over, _) => is_pinned(&over.ranged),
        Node::Negate(inner) => is_invariant(inner),
        Node::Aggregate(aggregate) => {
            is_invariant(&aggregate.inner)
                && aggregate.parameter.as_deref().is_none_or(is_invariant)
        }
        Node::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        Node::Call(function, arguments) => {
            !function.depends_on_step() && arguments.iter().all(is_invariant)
        }
    }
}

fn is_pinned(ranged: &Ranged) -> bool {
    match &ranged.source {
        RangeSource::Selector(selection) => selection.moment.pin.is_some(),
        RangeSource::Subquery(subquery) => subquery.moment.pin.is_some(),
    }
}

fn children(node: &mut Node) -> Vec<&mut Node> {
    match node {
        Node::Range(ranged) => inner_of(ranged).into_iter().collect(),
        Node::OverRange(over) => {
            inner_of(&mut over.ranged).into_iter().chain(&mut over.parameters).collect()
        }
        Node::AbsentOverRange(over, _) => inner_of(&mut over.ranged).into_iter().collect(),
        Node::Negate(inner) => vec![inner],
        Node::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_deref_mut();
            std::iter::once(&mut *aggregate.inner).chain(parameter).collect()
        }
        Node::Binary(binary) => vec![&mut binary.left, &mut binary.right],
        Node::Call(_, arguments) => arguments.iter_mut().collect(),
        Node::OfDistribution(of) => of.otherwise.as_deref_mut().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn inner_of(ranged: &mut Ranged) -> Option<&mut Node> {
    match &mut ranged.source {
        RangeSource::Selector(_) => None,
        RangeSource::Subquery(subquery) => Some(&mut subquery.inner),
    }
}
