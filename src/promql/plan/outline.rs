//! The plan for people: one line a node, operands below and further in.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{Aggregate, Moment, Node, Operator, OverRange, Pin, RangeSource, Ranged, Selection};
use crate::promql::pushdown;

impl Node {
    /// The lines, each ended.
    pub(in crate::promql) fn outline(&self) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = self.write(0, &mut text);
        text
    }

    fn write(&self, depth: usize, out: &mut String) -> fmt::Result {
        let indent = "  ".repeat(depth);
        write!(out, "{indent}")?;
        match self {
            Self::Number(number) => writeln!(out, "number {number}"),
            Self::Text(text) => writeln!(out, "text {text:?}"),
            Self::Time => writeln!(out, "time of the step"),
            Self::Latest(selection) => writeln!(out, "latest sample of {}", Looked(selection)),
            Self::LatestTime(selection) => {
                writeln!(out, "time of the latest sample of {}", Looked(selection))
            }
            Self::Range(ranged) => write_ranged("samples", ranged, depth, out),
            Self::OverRange(call) => write_call("", call, depth, out),
            Self::AbsentOverRange(call, _) => write_call("absence: ", call, depth, out),
            Self::OfDistribution(of) => {
                let each = if of.per_second { " by the second" } else { "" };
                writeln!(
                    out,
                    "{:?}{each} of the sketches of {}",
                    of.summary,
                    Looked(&of.selection)
                )?;
                let Some(otherwise) = &of.otherwise else { return Ok(()) };
                writeln!(out, "{indent}or, where those are no distributions")?;
                otherwise.write(depth + 1, out)
            }
            Self::Negate(inner) => {
                writeln!(out, "negated")?;
                inner.write(depth + 1, out)
            }
            Self::Aggregate(aggregate) => write_aggregate(aggregate, depth, out),
            Self::Binary(binary) => {
                match binary.op {
                    Operator::Number(op) => writeln!(out, "{op:?}")?,
                    Operator::Set(op) => writeln!(out, "{op:?}")?,
                }
                binary.left.write(depth + 1, out)?;
                binary.right.write(depth + 1, out)
            }
            Self::Call(function, arguments) => {
                writeln!(out, "{function:?}")?;
                arguments.iter().try_for_each(|argument| argument.write(depth + 1, out))
            }
            Self::Once(inner) => {
                writeln!(out, "once, the same at every step")?;
                inner.write(depth + 1, out)
            }
        }
    }
}

fn write_aggregate(aggregate: &Aggregate, depth: usize, out: &mut String) -> fmt::Result {
    let grouping = &aggregate.grouping;
    let kept = if grouping.without { "without" } else { "by" };
    write!(out, "{:?} {kept} ({})", aggregate.op, grouping.labels.join(", "))?;
    writeln!(
        out,
        "{}",
        if pushdown::folds(aggregate) { ", folded while series are read" } else { "" }
    )?;
    if let Some(parameter) = &aggregate.parameter {
        parameter.write(depth + 1, out)?;
    }
    aggregate.inner.write(depth + 1, out)
}

fn write_call(what: &str, call: &OverRange, depth: usize, out: &mut String) -> fmt::Result {
    let name = format!("{what}{:?}", call.function);
    write_ranged(&name, &call.ranged, depth, out)?;
    call.parameters.iter().try_for_each(|parameter| parameter.write(depth + 1, out))
}

fn write_ranged(what: &str, ranged: &Ranged, depth: usize, out: &mut String) -> fmt::Result {
    let range = Duration::from_nanos(ranged.range.unsigned_abs());
    match &ranged.source {
        RangeSource::Selector(selection) => {
            writeln!(out, "{what} over {range:?} of {}", Looked(selection))
        }
        RangeSource::Subquery(subquery) => {
            write!(out, "{what} over {range:?} of a subquery{}", Looks(subquery.moment))?;
            match subquery.step {
                Some(step) => {
                    writeln!(out, " every {:?}", Duration::from_nanos(step.unsigned_abs()))?
                }
                None => writeln!(out)?,
            }
            subquery.inner.write(depth + 1, out)
        }
    }
}

/// A selector with its modifiers.
struct Looked<'a>(&'a Selection);

impl fmt::Display for Looked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.selector, Looks(self.0.moment))
    }
}

/// The modifiers.
struct Looks(Moment);

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.pin {
            Some(Pin::Start) => f.write_str(" @ start()")?,
            Some(Pin::End) => f.write_str(" @ end()")?,
            Some(Pin::At(time)) => write!(f, " @ {time}")?,
            None => {}
        }
        match self.0.offset {
            0 => Ok(()),
            back @ 1.. => write!(f, " offset {:?}", Duration::from_nanos(back.unsigned_abs())),
            ahead => write!(f, " offset -{:?}", Duration::from_nanos(ahead.unsigned_abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::promql::Query;

    #[test]
    fn a_plan_is_read_from_the_outside_in() {
        let query = Query::parse("sum by(job)(rate(m{a=\"b\"}[5m] offset 1h)) > 2 * scalar(x)");
        assert_eq!(
            query.unwrap().plan(),
            "Greater\n  \
               Sum by (job), folded while series are read\n    \
                 Rate over 300s of m{a=\"b\"} offset 3600s\n  \
               Mul\n    \
                 number 2\n    \
                 Scalar\n      \
                   latest sample of x\n"
        );
        let subquery = Query::parse("max_over_time(rate(m[1m])[1h:30s] @ end())").unwrap().plan();
        assert!(subquery.contains("Max over 3600s of a subquery @ end() every 30s"), "{subquery}");
    }
}
