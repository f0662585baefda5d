//! Confining a query to series of one label's value, whatever its own selectors say.

use promql_parser::label::{MatchOp, Matcher as Written};
use promql_parser::parser::{Expr, VectorSelector};

use super::{Query, plan};
use crate::error::{Error, Result};
use crate::model::Matcher;

impl Query {
    /// This query with one more condition on every selector: the series' label has exactly the
    /// matcher's text as its value, whatever the matcher's operator. No way of writing a query gets
    /// around it, since all that a query reads it reads by selectors.
    ///
    /// # Errors
    /// [`Error::InvalidQuery`] where a selector has too many matchers then.
    pub fn confined(self, to: &Matcher) -> Result<Self> {
        let condition = Written::new(MatchOp::Equal, to.name(), to.value());
        let mut tree = self.tree;
        confine(&mut tree, &condition);
        let plan = plan::lower(&tree)
            .map_err(|reason| Error::InvalidQuery { text: tree.to_string(), reason })?;
        Ok(Self { tree, plan })
    }
}

fn confine(expression: &mut Expr, condition: &Written) {
    match expression {
        Expr::Aggregate(aggregate) => {
            confine(&mut aggregate.expr, condition);
            if let Some(parameter) = &mut aggregate.param {
                confine(parameter, condition);
            }
        }
        Expr::Unary(unary) => confine(&mut unary.expr, condition),
        Expr::Binary(binary) => {
            confine(&mut binary.lhs, condition);
            confine(&mut binary.rhs, condition);
        }
        Expr::Paren(paren) => confine(&mut paren.expr, condition),
        Expr::Subquery(subquery) => confine(&mut subquery.expr, condition),
        Expr::VectorSelector(selector) => confine_selector(selector, condition),
        Expr::MatrixSelector(matrix) => confine_selector(&mut matrix.vs, condition),
        Expr::Call(call) => {
            for argument in &mut call.args.args {
                confine(argument, condition);
            }
        }
        // An extension is none that the parser makes, and reads nothing of itself.
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn confine_selector(selector: &mut VectorSelector, condition: &Written) {
    let matchers = &mut selector.matchers;
    matchers.matchers.push(condition.clone());
    // `{a="b" or c="d"}`, which only the parser knows so far: each alternative by itself.
    for alternative in &mut matchers.or_matchers {
        alternative.push(condition.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;

    #[test]
    fn every_selector_is_confined() {
        let tenant = Matcher::new("tenant", MatchOp::Equal, "x\"y").unwrap();
        for text in [
            "up",
            "-up",
            "(up)",
            "up + on(job) group_left up",
            "up or {tenant=\"z\"}",
            "sum by(tenant) (rate(up{tenant!=\"x\"}[5m] offset 1h))",
            "quantile(scalar(up), up)",
            "count_values(\"tenant\", up)",
            "max_over_time(up[1h:1m])",
            "max_over_time(sum(up)[1h:1m] @ start())",
            "label_replace(up, \"tenant\", \"z\", \"\", \"\")",
            "absent(up) unless absent_over_time(up[5m])",
            "{__name__=~\".+\", tenant=~\".*\"}",
        ] {
            let query = Query::parse(text).unwrap();
            let confined = query.clone().confined(&tenant).unwrap();
            let selectors = count(&format!("{:?}", query.tree), "Matchers {");
            let conditions = count(&format!("{:?}", confined.tree), r#"x\"y"#);
            assert!(selectors > 0);
            assert!(conditions == selectors, "{text}: {conditions} of {selectors}");
        }
    }

    fn count(text: &str, word: &str) -> usize {
        text.matches(word).count()
    }
}
