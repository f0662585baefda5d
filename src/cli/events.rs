//! `icecore events`: rows of a table of events, or which tables there are.

use serde_json::{Value, json};

use super::arguments::Between;
use super::screen::Screen;
use super::table::Columns;
use super::{Failure, StoreArguments, figures, open_to_read};
use crate::engine::Engine;
use crate::integration::notation::Rfc3339;
use crate::model::{EventColumn, EventKind, EventSchema, EventValue, TIME_COLUMN};
use crate::query::{EventAnswer, EventOrder, EventPredicate, EventRequest, EventTest};
use crate::time::Timestamp;

/// Longest text of a cell, characters; `--json` has all of it.
const CELL_CHARACTERS: usize = 60;

/// Show rows of a table of events, or which tables there are
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore events --db history                                   which tables there are
  icecore events --db history queries --from now-1d --top 20 --by duration_us
  icecore events --db history queries --where 'outcome=error' --where 'duration_us>=1000000' \\
      --columns fingerprint,error_class,duration_us
  icecore events --db history source_calls --where 'error_class is not null' --json")]
pub(super) struct ShowEvents {
    #[command(flatten)]
    store: StoreArguments,
    /// The table [default: list them]
    table: Option<String>,
    #[command(flatten)]
    between: Between,
    /// A condition: COLUMN=VALUE (also !=, <, <=, >, >=), 'COLUMN is null', 'COLUMN is not null'; all
    /// that are given must hold
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// The columns to show, beside the time [default: all]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// The N rows with the largest value of --by, largest first
    #[arg(long, value_name = "N", requires = "by", conflicts_with_all = ["bottom", "limit"])]
    top: Option<u64>,
    /// The N rows with the smallest value of --by, smallest first
    #[arg(long, value_name = "N", requires = "by", conflicts_with = "limit")]
    bottom: Option<u64>,
    /// The column that --top and --bottom order by
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// The most rows, the earliest ones
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u64,
}

impl ShowEvents {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let engine = open_to_read(&self.store.db)?;
        let Some(table) = &self.table else { return self.list(&engine, screen) };
        let Some(schema) = engine.event_schema(table) else {
            return Err(Failure::Usage(format!("there is no table {table:?}")));
        };
        let answer = engine.scan_events(&self.request(&engine, &schema)?)?;
        if self.store.json {
            screen.json(&to_json(table, &answer))?;
            return Ok(());
        }
        for line in rows(&answer).lines() {
            screen.line(line)?;
        }
        let evidence = &answer.evidence;
        screen.line(format!(
            "{} rows; {} of {} groups read, {} values decoded",
            figures::count(answer.rows.len() as u64),
            figures::count(evidence.groups - evidence.groups_skipped),
            figures::count(evidence.groups),
            figures::count(evidence.values_decoded),
        ))?;
        Ok(())
    }

    fn list(&self, engine: &Engine, screen: &mut Screen) -> Result<(), Failure> {
        let tables = engine.event_tables();
        if self.store.json {
            let column = |column: &EventColumn| {
                let EventColumn { name, kind, unit, help } = column;
                json!({ "name": name, "kind": kind.name(), "unit": unit, "help": help })
            };
            let tables: Vec<Value> = tables
                .iter()
                .map(|schema| {
                    let columns: Vec<Value> = schema.columns().iter().map(column).collect();
                    let (table, version) = (schema.table(), schema.version());
                    json!({ "table": table, "version": version, "columns": columns })
                })
                .collect();
            screen.json(&json!({ "tables": tables }))?;
            return Ok(());
        }
        for schema in &tables {
            screen.line(format!("{}, version {}", schema.table(), schema.version()))?;
            for EventColumn { name, kind, unit, help } in schema.columns() {
                let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
                let line = format!("  {name} ({kind}{unit}): {help}");
                screen.line(line.trim_end_matches([':', ' ']))?;
            }
        }
        Ok(())
    }

    fn request(&self, engine: &Engine, schema: &EventSchema) -> Result<EventRequest, Failure> {
        let conditions = self.conditions.iter().map(|text| condition(text, schema));
        let (order, limit) = match (&self.by, self.top, self.bottom) {
            (Some(by), Some(top), _) => (EventOrder::Largest(by.clone()), top),
            (Some(by), _, Some(bottom)) => (EventOrder::Smallest(by.clone()), bottom),
            (Some(_), None, None) => {
                return Err(Failure::Usage("--by wants --top or --bottom".to_owned()));
            }
            _ => (EventOrder::Time, self.limit),
        };
        Ok(EventRequest {
            predicates: conditions.collect::<Result<_, _>>().map_err(Failure::Usage)?,
            projection: self.columns.clone(),
            order,
            limit: Some(limit),
            ..EventRequest::new(schema.table(), self.between.of_all_time(engine.now())?)
        })
    }
}

/// Reads `COLUMN=VALUE` and the like.
fn condition(text: &str, schema: &EventSchema) -> Result<EventPredicate, String> {
    for (suffix, test) in [(" is not null", EventTest::NotNull), (" is null", EventTest::IsNull)] {
        if let Some(column) = text.strip_suffix(suffix) {
            return Ok(EventPredicate::new(column.trim(), test));
        }
    }
    type Compare = fn(EventValue) -> EventTest;
    let operators: [(&str, Compare); 6] = [
        ("!=", EventTest::NotEqual),
        ("<=", EventTest::LessOrEqual),
        (">=", EventTest::GreaterOrEqual),
        ("=", EventTest::Equal),
        ("<", EventTest::Less),
        (">", EventTest::Greater),
    ];
    // The operator that comes first; of two that begin together, the longer.
    let found = operators.iter().filter_map(|(name, test)| Some((text.find(name)?, name, test)));
    let (at, name, test) =
        found.min_by_key(|(at, name, _)| (*at, std::cmp::Reverse(name.len()))).ok_or_else(
            || format!("{text:?} is no condition such as outcome=error or 'user is null'"),
        )?;
    let (column, value) = text.split_at(at);
    let (column, value) = (column.trim(), value.get(name.len()..).unwrap_or_default().trim());
    let known = schema.position(column).and_then(|at| schema.columns().get(at));
    let kind = known
        .map(|known| known.kind)
        .ok_or_else(|| format!("table {:?} has no column {column:?}", schema.table()))?;
    let expected = || format!("{value:?} is no {kind}, which {column:?} is");
    let value = match kind {
        EventKind::Integer => value.parse().ok().map(EventValue::Integer),
        EventKind::Float => value.parse().ok().map(EventValue::Float),
        EventKind::Boolean => value.parse().ok().map(EventValue::Boolean),
        EventKind::Text => Some(value.into()),
    };
    Ok(EventPredicate::new(column, test(value.ok_or_else(expected)?)))
}

fn rows(answer: &EventAnswer) -> Columns {
    let right = |column: &EventColumn| match column.kind {
        EventKind::Integer | EventKind::Float => format!(">{}", column.name),
        EventKind::Boolean | EventKind::Text => column.name.clone(),
    };
    let names: Vec<String> =
        std::iter::once(TIME_COLUMN.to_owned()).chain(answer.columns.iter().map(right)).collect();
    let mut table = Columns::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (row, &time) in answer.rows.times.iter().enumerate() {
        let cells = (0..answer.columns.len()).map(|column| cell(&answer.rows.value(row, column)));
        table.row(std::iter::once(Rfc3339(Timestamp(time)).to_string()).chain(cells).collect());
    }
    table
}

fn cell(value: &EventValue) -> String {
    match value {
        EventValue::Null => String::new(),
        EventValue::Integer(value) => value.to_string(),
        EventValue::Float(value) => value.to_string(),
        EventValue::Boolean(value) => value.to_string(),
        EventValue::Text(text) => {
            let shown = |character: char| if character.is_control() { ' ' } else { character };
            let cut: String = text.chars().take(CELL_CHARACTERS).map(shown).collect();
            if cut.len() < text.len() { cut + "…" } else { cut }
        }
    }
}

fn to_json(table: &str, answer: &EventAnswer) -> Value {
    let value = |value: EventValue| match value {
        EventValue::Null => Value::Null,
        EventValue::Integer(value) => json!(value),
        // JSON has no NaN and no infinity: they are told by name.
        EventValue::Float(value) if value.is_finite() => json!(value),
        EventValue::Float(value) => json!(value.to_string()),
        EventValue::Boolean(value) => json!(value),
        EventValue::Text(text) => json!(&*text),
    };
    let rows = answer.rows.times.iter().enumerate().map(|(row, &time)| {
        let mut object = serde_json::Map::new();
        object.insert(TIME_COLUMN.to_owned(), json!(Rfc3339(Timestamp(time)).to_string()));
        for (at, column) in answer.columns.iter().enumerate() {
            object.insert(column.name.clone(), value(answer.rows.value(row, at)));
        }
        Value::Object(object)
    });
    let evidence = &answer.evidence;
    json!({
        "table": table,
        "rows": rows.collect::<Vec<_>>(),
        "evidence": {
            "groups": evidence.groups,
            "groups_skipped": evidence.groups_skipped,
            "rows_read": evidence.rows_read,
            "rows_matched": evidence.rows_matched,
            "values_decoded": evidence.values_decoded,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_by_the_kind_of_their_column() {
        let kinds = [EventKind::Integer, EventKind::Float, EventKind::Boolean, EventKind::Text];
        let columns = kinds.iter().map(|&kind| EventColumn::new(kind.name(), kind));
        let schema = EventSchema::new("t", columns.collect()).unwrap();
        let read = |text| condition(text, &schema);
        let expected = |column: &str, test| Ok(EventPredicate::new(column, test));
        assert_eq!(
            read("integer>=-5"),
            expected("integer", EventTest::GreaterOrEqual((-5).into()))
        );
        assert_eq!(read("float < 0.5"), expected("float", EventTest::Less(0.5.into())));
        assert_eq!(read("boolean!=true"), expected("boolean", EventTest::NotEqual(true.into())));
        assert_eq!(read("text=a>=b"), expected("text", EventTest::Equal("a>=b".into())));
        assert_eq!(read("text = "), expected("text", EventTest::Equal("".into())));
        assert_eq!(read("text is not null"), expected("text", EventTest::NotNull));
        assert_eq!(read("text is null"), expected("text", EventTest::IsNull));
        for (text, word) in [
            ("integer=x", "no integer"),
            ("nowhere=1", "no column"),
            ("integer", "no condition"),
            ("boolean=2", "no boolean"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
