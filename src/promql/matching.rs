//! Which series of two vectors belong together, and the operators of vectors and of sets.
//!
//! Series are matched once, by the labels that count, and not step by step; what Prometheus refuses
//! at a step is refused where the values of that step meet.

use std::collections::HashMap;

use super::binary::{self, BinaryOp, Side};
use super::evaluate::merge_same;
use super::labels::{Labels, grouped};
use super::value::{ABSENT, Column, is_absent};
use crate::error::{Error, Result};
use crate::model::METRIC_NAME_LABEL;

/// An operator of sets of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOp {
    And,
    Or,
    Unless,
}

/// How many series of either side one of the other may match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`, with the labels taken over from the right side.
    ManyToOne(Vec<String>),
    /// `group_right`, with the labels taken over from the left side.
    OneToMany(Vec<String>),
}

/// Which labels have to agree, and what to make of series that match.
#[derive(Debug, Clone, Default)]
pub(super) struct Matching {
    /// Whether `labels` are those that count (`on`) or those that do not (`ignoring`).
    pub(super) on: bool,
    pub(super) labels: Vec<String>,
    pub(super) cardinality: Cardinality,
    /// Whether a comparison returns 0 or 1.
    pub(super) returns_bool: bool,
    /// What stands in where the left side has no series.
    pub(super) fill_left: Option<f64>,
    /// What stands in where the right side has no series.
    pub(super) fill_right: Option<f64>,
}

impl Matching {
    fn lists(&self, name: &str) -> bool {
        self.labels.iter().any(|label| label == name)
    }

    /// The labels that count.
    fn signature(&self, labels: &Labels) -> Labels {
        labels.without(|name| {
            if self.on { !self.lists(name) } else { name == METRIC_NAME_LABEL || self.lists(name) }
        })
    }

    /// The labels of what `many` and `one` make.
    fn result_labels(&self, op: BinaryOp, many: &Labels, one: &Labels) -> Labels {
        let drops_name = !op.is_comparison();
        let include = match &self.cardinality {
            Cardinality::OneToOne => {
                let kept = many.without(|name| {
                    (drops_name && name == METRIC_NAME_LABEL) || self.on != self.lists(name)
                });
                return if self.returns_bool { kept.without_name() } else { kept };
            }
            Cardinality::ManyToOne(include) | Cardinality::OneToMany(include) => include,
        };
        let own = many.iter().filter(|(name, _)| !(drops_name && *name == METRIC_NAME_LABEL));
        let taken = include.iter().map(|name| (name.as_str(), one.get(name)));
        // Where `one` lacks a label, the empty value takes it from `many` too.
        let labels = Labels::new(own.chain(taken));
        if self.returns_bool { labels.without_name() } else { labels }
    }
}

/// Columns of one signature.
#[derive(Default)]
struct Group {
    many: Vec<Column>,
    one: Vec<Column>,
}

fn failed(reason: String) -> Error {
    Error::Evaluation { reason }
}

/// As Prometheus' messages write labels.
fn in_braces(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Whether any column has a value, a step.
fn presence<'a>(columns: impl IntoIterator<Item = &'a Column>, steps: usize) -> Vec<bool> {
    let mut there = vec![false; steps];
    columns.into_iter().for_each(|column| add_presence(column, &mut there));
    there
}

fn add_presence(column: &Column, there: &mut [bool]) {
    for (there, value) in there.iter_mut().zip(&column.values) {
        *there |= !is_absent(*value);
    }
}

fn groups(
    many: Vec<Column>,
    one: Vec<Column>,
    matching: &Matching,
) -> impl Iterator<Item = (Labels, Group)> {
    let side =
        |is_many| move |column: Column| (matching.signature(&column.labels), (is_many, column));
    let sides = many.into_iter().map(side(true)).chain(one.into_iter().map(side(false)));
    grouped(sides).into_iter().map(|(signature, columns)| {
        let mut group = Group::default();
        for (is_many, column) in columns {
            if is_many { group.many.push(column) } else { group.one.push(column) }
        }
        (signature, group)
    })
}

/// Arithmetic or comparison of two vectors. All columns have as many values.
///
/// # Errors
/// [`Error::Evaluation`] where, at a step, a series matches more than the cardinality allows or two
/// results have the same labels; what `check`, asked once a pair of columns, gives.
pub(super) fn vectors(
    op: BinaryOp,
    left: Vec<Column>,
    right: Vec<Column>,
    matching: &Matching,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    let steps = left.first().or(right.first()).map_or(0, |column| column.values.len());
    let swapped = matches!(matching.cardinality, Cardinality::OneToMany(_));
    let (side, fill_many, fill_one) = if swapped {
        (Side::Right, matching.fill_right, matching.fill_left)
    } else {
        (Side::Left, matching.fill_left, matching.fill_right)
    };
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let fills = fill_many.or(fill_one).is_some();
    // Without a series on the other side Prometheus does not look for duplicates.
    let compared = if fills { vec![true; steps] } else { presence(&many, steps) };
    let mut results = Vec::new();
    for (signature, group) in groups(many, one, matching) {
        check()?;
        ones_are_unique(&signature, &group.one, &compared, swapped)?;
        let pairing = Pairing { op, matching, side, signature, steps };
        results.extend(pairing.columns(group, fill_many, fill_one, check)?);
    }
    merge_same(results)
}

fn ones_are_unique(
    signature: &Labels,
    ones: &[Column],
    compared: &[bool],
    swapped: bool,
) -> Result<()> {
    let [first, others @ ..] = ones else { return Ok(()) };
    // Which column a step's value is of.
    let mut owners: Vec<Option<&Labels>> = Vec::new();
    if !others.is_empty() {
        let owner = |value: &f64| (!is_absent(*value)).then_some(&first.labels);
        owners = first.values.iter().map(owner).collect();
    }
    for column in others {
        for ((owner, value), compared) in owners.iter_mut().zip(&column.values).zip(compared) {
            if is_absent(*value) {
                continue;
            }
            if let (Some(owner), true) = (*owner, *compared) {
                let side = if swapped { "left" } else { "right" };
                return Err(failed(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the \
                     operation: [{}, {}];many-to-many matching not allowed: matching labels must \
                     be unique on one side",
                    in_braces(signature),
                    in_braces(&column.labels),
                    in_braces(owner),
                )));
            }
            *owner = Some(&column.labels);
        }
    }
    Ok(())
}

/// What the columns of one signature make.
struct Pairing<'a> {
    op: BinaryOp,
    matching: &'a Matching,
    /// Where the many stand.
    side: Side,
    signature: Labels,
    steps: usize,
}

impl Pairing<'_> {
    fn columns(
        &self,
        group: Group,
        fill_many: Option<f64>,
        fill_one: Option<f64>,
        check: &impl Fn() -> Result<()>,
    ) -> Result<Vec<Column>> {
        let filled = |fill: Option<f64>, columns: &[Column]| {
            let fill = fill?;
            let there = presence(columns, self.steps);
            let values = there.iter().map(|there| if *there { ABSENT } else { fill }).collect();
            Some(Column { labels: self.signature.clone(), values })
        };
        let filled_many = filled(fill_many, &group.many);
        let filled_one = filled(fill_one, &group.one);
        let mut results = Results::new(self.matching, self.steps, group.many.len() > 1);
        for many in &group.many {
            for one in group.one.iter().chain(&filled_one) {
                check()?;
                results.add(self.pair(many, one))?;
            }
        }
        for (many, one) in
            filled_many.iter().flat_map(|many| group.one.iter().map(move |one| (many, one)))
        {
            check()?;
            results.add(self.pair(many, one))?;
        }
        Ok(results.columns)
    }

    fn pair(&self, many: &Column, one: &Column) -> Column {
        let mut values = many.values.clone();
        let returns_bool = self.matching.returns_bool;
        binary::apply(self.op, returns_bool, (&mut values, self.side), &one.values, false);
        let labels = self.matching.result_labels(self.op, &many.labels, &one.labels);
        Column { labels, values }
    }
}

/// The results of one signature, held against the cardinality.
struct Results {
    columns: Vec<Column>,
    /// One to one: the steps that have a result; empty where only one series can give any.
    taken: Vec<bool>,
    /// Many to one: the place of each label set.
    places: Option<HashMap<Labels, usize>>,
}

impl Results {
    fn new(matching: &Matching, steps: usize, several: bool) -> Self {
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let taken = if one_to_one && several { vec![false; steps] } else { Vec::new() };
        Self { columns: Vec::new(), taken, places: (!one_to_one).then(HashMap::new) }
    }

    fn add(&mut self, column: Column) -> Result<()> {
        if column.is_empty() {
            return Ok(());
        }
        for (taken, value) in self.taken.iter_mut().zip(&column.values) {
            let there = !is_absent(*value);
            if *taken && there {
                return Err(failed(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)"
                        .to_owned(),
                ));
            }
            *taken |= there;
        }
        let Some(places) = &mut self.places else {
            self.columns.push(column);
            return Ok(());
        };
        let place = *places.entry(column.labels.clone()).or_insert(self.columns.len());
        let Some(kept) = self.columns.get_mut(place) else {
            self.columns.push(column);
            return Ok(());
        };
        for (kept, value) in kept.values.iter_mut().zip(column.values) {
            if is_absent(value) {
                continue;
            }
            if !is_absent(*kept) {
                return Err(failed(
                    "multiple matches for labels: grouping labels must ensure unique matches"
                        .to_owned(),
                ));
            }
            *kept = value;
        }
        Ok(())
    }
}

/// `and`, `or`, `unless`: series are kept or left out step by step, by whether the other side has
/// one of the same signature. All columns have as many values.
///
/// # Errors
/// What `check`, asked once a column, gives.
pub(super) fn set(
    op: SetOp,
    left: Vec<Column>,
    right: Vec<Column>,
    matching: &Matching,
    check: &impl Fn() -> Result<()>,
) -> Result<Vec<Column>> {
    let steps = left.first().or(right.first()).map_or(0, |column| column.values.len());
    let (kept, mut filtered, judges) = match op {
        SetOp::And | SetOp::Unless => (Vec::new(), left, right),
        SetOp::Or => (left.clone(), right, left),
    };
    let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
    for column in &judges {
        check()?;
        let signature = matching.signature(&column.labels);
        add_presence(column, there.entry(signature).or_insert_with(|| vec![false; steps]));
    }
    drop(judges);
    let wanted = op == SetOp::And;
    for column in &mut filtered {
        check()?;
        let Some(there) = there.get(&matching.signature(&column.labels)) else {
            if wanted {
                column.values.clear();
            }
            continue;
        };
        for (value, there) in column.values.iter_mut().zip(there) {
            if *there != wanted {
                *value = ABSENT;
            }
        }
    }
    filtered.retain(|column| !column.is_empty());
    if op != SetOp::Or {
        return Ok(filtered);
    }
    // A series of the right side may go on where the same of the left has no value.
    merge_same(kept.into_iter().chain(filtered).collect())
}

#[cfg(test)]
mod tests;
