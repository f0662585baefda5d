//! Scans answer as a filter over a plain list of rows does, wherever the rows are.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::{DecodeError, Error, Result};
use crate::model::{EventBuilder, EventColumn, EventKind, EventRows, EventSchema, EventValue};
use crate::query::{Limits, Resources};
use crate::segment::{
    EventSegment, EventSource, EventStretch, StoredColumn, StretchCutter, encode_stretch,
};
use crate::time::{TimeRange, Timestamp};

const KINDS: [EventKind; 4] =
    [EventKind::Integer, EventKind::Float, EventKind::Boolean, EventKind::Text];
const NAMES: [&str; 4] = ["n", "x", "b", "t"];

type Row = (i64, Vec<EventValue>);

fn schema() -> EventSchema {
    let columns = NAMES.iter().zip(KINDS).map(|(name, kind)| EventColumn::new(*name, kind));
    EventSchema::new("rows", columns.collect()).unwrap()
}

/// Rows as a part has them, or as the head has them.
#[derive(Debug)]
struct Held {
    stretches: Vec<EventStretch>,
    columns: Vec<Vec<StoredColumn>>,
}

impl Held {
    fn of(rows: &[Row], width: usize, stored: bool) -> Arc<dyn EventSource> {
        let mut built = EventBuilder::new(KINDS.into_iter().take(width));
        for (time, values) in rows {
            built.push(*time, values);
        }
        let rows = built.take();
        let rows = rows.sorted().map_or(rows, Arc::new);
        let mut held = Self { stretches: Vec::new(), columns: Vec::new() };
        if stored {
            let mut cutter = StretchCutter::new(&KINDS[..width]);
            let mut add = |rows: &EventRows| {
                held.store(rows);
                Ok(())
            };
            cutter.push(&rows, 0..rows.len(), &mut add).unwrap();
            cutter.finish(&mut add).unwrap();
        } else if !rows.is_empty() {
            held.note(&rows, 1);
            let fields = 0..=width as u32;
            held.columns.push(fields.map(|f| StoredColumn::Rows(Arc::clone(&rows), f)).collect());
        }
        Arc::new(held)
    }

    fn note(&mut self, rows: &EventRows, groups: u32) {
        let (first, last) = (rows.times[0], rows.times[rows.len() - 1]);
        self.stretches.push(EventStretch {
            first: Timestamp(first),
            last: Timestamp(last),
            rows: rows.len() as u32,
            groups,
        });
    }

    fn store(&mut self, rows: &EventRows) {
        let encoded = encode_stretch(rows).unwrap();
        self.note(rows, encoded[0].groups);
        let mut columns: Vec<StoredColumn> = Vec::new();
        for column in encoded {
            let segment = EventSegment::open(column.bytes).unwrap();
            let base = segment.base().map(|base| Box::new(columns[base as usize].clone()));
            columns.push(StoredColumn::Segment(Arc::new(segment), base));
        }
        self.columns.push(columns);
    }
}

impl EventSource for Held {
    fn stretches(&self) -> &[EventStretch] {
        &self.stretches
    }

    fn column(&self, stretch: u32, field: u32) -> Result<Option<StoredColumn>> {
        Ok(self.columns[stretch as usize].get(field as usize).cloned())
    }

    fn damaged(&self, _: u32, _: u32, source: DecodeError) -> Error {
        Error::corrupt("held", 0, source)
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![
        4 => (-4..4_i32).prop_map(|halves| f64::from(halves) / 2.0),
        1 => prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY)],
    ];
    let values = (
        prop::option::weighted(0.8, -5..5_i64),
        prop::option::weighted(0.8, float),
        prop::option::weighted(0.8, any::<bool>()),
        prop::option::weighted(0.8, "[a-c]{0,2}"),
    );
    (0..60_i64, values)
        .prop_map(|(time, (n, x, b, t))| (time, vec![n.into(), x.into(), b.into(), t.into()]))
}

/// Rows of a source, how many columns it has, and whether it is stored.
type Piece = (Vec<Row>, usize, bool);

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let rows = prop_oneof![
        prop::collection::vec(any_row(), 0..40),
        prop::collection::vec(any_row(), 150..260),
    ];
    prop::collection::vec((rows, 1..=4_usize, any::<bool>()), 0..4).prop_map(|mut pieces| {
        // Columns are only ever added.
        let mut widths: Vec<usize> = pieces.iter().map(|piece| piece.1).collect();
        widths.sort_unstable();
        pieces.iter_mut().zip(widths).for_each(|(piece, width)| piece.1 = width);
        pieces
    })
}

fn value_of(kind: EventKind) -> BoxedStrategy<EventValue> {
    match kind {
        EventKind::Integer => prop_oneof![-6..6_i64, Just(i64::MIN), Just(i64::MAX)]
            .prop_map(EventValue::Integer)
            .boxed(),
        EventKind::Float => prop_oneof![
            (-4..4_i32).prop_map(|halves| EventValue::Float(f64::from(halves) / 2.0)),
            (-2..2_i64).prop_map(EventValue::Integer),
            Just(EventValue::Float(f64::NAN)),
        ]
        .boxed(),
        EventKind::Boolean => any::<bool>().prop_map(EventValue::Boolean).boxed(),
        EventKind::Text => "[a-c]{0,2}".prop_map(EventValue::from).boxed(),
    }
}

fn predicate() -> impl Strategy<Value = EventPredicate> {
    (0..4_usize).prop_flat_map(|at| {
        let value = || value_of(KINDS[at]);
        let test = prop_oneof![
            value().prop_map(EventTest::Equal),
            value().prop_map(EventTest::NotEqual),
            value().prop_map(EventTest::Less),
            value().prop_map(EventTest::LessOrEqual),
            value().prop_map(EventTest::Greater),
            value().prop_map(EventTest::GreaterOrEqual),
            prop::collection::vec(value(), 0..4).prop_map(EventTest::In),
            Just(EventTest::IsNull),
            Just(EventTest::NotNull),
        ];
        test.prop_map(move |test| EventPredicate::new(NAMES[at], test))
    })
}

fn request() -> impl Strategy<Value = EventRequest> {
    let order = prop_oneof![
        Just(EventOrder::Time),
        (0..4_usize).prop_map(|at| EventOrder::Largest(NAMES[at].into())),
        (0..4_usize).prop_map(|at| EventOrder::Smallest(NAMES[at].into())),
    ];
    let projection = prop::option::of(prop::collection::vec(0..4_usize, 0..4));
    let range = prop_oneof![Just((i64::MIN, i64::MAX)), (0..60_i64, 0..60_i64)];
    (
        range,
        prop::collection::vec(predicate(), 0..3),
        projection,
        order,
        prop::option::of(0..30_u64),
    )
        .prop_map(|((start, end), predicates, projection, order, limit)| EventRequest {
            predicates,
            projection: projection.map(|all| all.into_iter().map(|at| NAMES[at].into()).collect()),
            limit: limit.or(if order == EventOrder::Time { None } else { Some(10) }),
            order,
            ..EventRequest::new("rows", TimeRange::new(Timestamp(start), Timestamp(end)))
        })
}

/// What the documentation of [`EventTest`] says, word by word.
fn passes(test: &EventTest, value: &EventValue) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let compared = |wanted: &EventValue| match (value, wanted) {
        (EventValue::Integer(value), EventValue::Integer(wanted)) => value.partial_cmp(wanted),
        (EventValue::Float(value), EventValue::Float(wanted)) => value.partial_cmp(wanted),
        (EventValue::Float(value), EventValue::Integer(wanted)) => {
            value.partial_cmp(&(*wanted as f64))
        }
        (EventValue::Boolean(value), EventValue::Boolean(wanted)) => value.partial_cmp(wanted),
        (EventValue::Text(value), EventValue::Text(wanted)) => value.partial_cmp(wanted),
        _ => panic!("{value:?} against {wanted:?}"),
    };
    if value.is_null() {
        return *test == EventTest::IsNull;
    }
    match test {
        EventTest::IsNull => false,
        EventTest::NotNull => true,
        EventTest::Equal(wanted) => compared(wanted) == Some(Equal),
        EventTest::NotEqual(wanted) => compared(wanted) != Some(Equal),
        EventTest::Less(wanted) => compared(wanted) == Some(Less),
        EventTest::LessOrEqual(wanted) => matches!(compared(wanted), Some(Less | Equal)),
        EventTest::Greater(wanted) => compared(wanted) == Some(Greater),
        EventTest::GreaterOrEqual(wanted) => matches!(compared(wanted), Some(Greater | Equal)),
        EventTest::In(all) => all.iter().any(|wanted| compared(wanted) == Some(Equal)),
    }
}

fn compare(one: &EventValue, other: &EventValue) -> std::cmp::Ordering {
    match (one, other) {
        (EventValue::Integer(one), EventValue::Integer(other)) => one.cmp(other),
        (EventValue::Float(one), EventValue::Float(other)) => one.partial_cmp(other).unwrap(),
        (EventValue::Boolean(one), EventValue::Boolean(other)) => one.cmp(other),
        (EventValue::Text(one), EventValue::Text(other)) => one.cmp(other),
        other => panic!("{other:?}"),
    }
}

/// All rows that pass, by time, then arrival, all columns.
fn passing(pieces: &[Piece], request: &EventRequest) -> Vec<Row> {
    let mut rows: Vec<Row> = pieces
        .iter()
        .flat_map(|(rows, width, _)| {
            rows.iter().map(|(time, values)| {
                let mut values = values[..*width].to_vec();
                values.resize(4, EventValue::Null);
                (*time, values)
            })
        })
        .filter(|(time, _)| request.range.contains(Timestamp(*time)))
        .filter(|(_, values)| {
            let at = |name: &str| NAMES.iter().position(|known| *known == name).unwrap();
            request.predicates.iter().all(|p| passes(&p.test, &values[at(&p.column)]))
        })
        .collect();
    rows.sort_by_key(|(time, _)| *time);
    rows
}

/// What is to be answered.
fn expected(pieces: &[Piece], request: &EventRequest) -> Vec<Row> {
    let mut rows = passing(pieces, request);
    let at = |name: &str| NAMES.iter().position(|known| *known == name).unwrap();
    let has_key = |value: &EventValue| match value {
        EventValue::Null => false,
        EventValue::Float(value) => !value.is_nan(),
        _ => true,
    };
    match &request.order {
        EventOrder::Time => {}
        EventOrder::Largest(name) => {
            rows.retain(|(_, values)| has_key(&values[at(name)]));
            rows.sort_by(|one, other| compare(&other.1[at(name)], &one.1[at(name)]));
        }
        EventOrder::Smallest(name) => {
            rows.retain(|(_, values)| has_key(&values[at(name)]));
            rows.sort_by(|one, other| compare(&one.1[at(name)], &other.1[at(name)]));
        }
    }
    rows.truncate(request.limit.map_or(usize::MAX, |limit| limit as usize));
    projected(rows, request)
}

fn projected(rows: Vec<Row>, request: &EventRequest) -> Vec<Row> {
    let at = |name: &String| NAMES.iter().position(|known| known == name).unwrap();
    let Some(names) = &request.projection else { return rows };
    let project = |values: &[EventValue]| names.iter().map(|n| values[at(n)].clone()).collect();
    rows.into_iter().map(|(time, values)| (time, project(&values))).collect()
}

/// Rows as text, so that a NaN equals itself.
fn shown(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn listed(rows: &EventRows) -> Vec<Row> {
    let values = |row| (0..rows.columns.len()).map(|at| rows.value(row, at)).collect();
    rows.times.iter().enumerate().map(|(row, &time)| (time, values(row))).collect()
}

fn sources(pieces: &[Piece]) -> Vec<Arc<dyn EventSource>> {
    pieces.iter().map(|(rows, width, stored)| Held::of(rows, *width, *stored)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_scan_is_a_filter_over_a_list(pieces in pieces(), request in request()) {
        let (schema, sources) = (schema(), sources(&pieces));
        let expected = expected(&pieces, &request);
        let mut evidence = Vec::new();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let resources = Resources { pool: Some(&pool), memory: None };
            let answer = scan_events(&request, &schema, &sources, resources).unwrap();
            prop_assert_eq!(shown(&listed(&answer.rows)), shown(&expected));
            prop_assert_eq!(answer.columns.len(), answer.rows.columns.len());
            prop_assert!(answer.evidence.groups_skipped <= answer.evidence.groups);
            evidence.push(answer.evidence);
        }
        prop_assert_eq!(evidence[0], evidence[1]);
    }

    #[test]
    fn rows_are_handed_over_by_time_and_folded_each_once(
        pieces in pieces(), request in request(), limited in any::<bool>(),
    ) {
        let (schema, sources) = (schema(), sources(&pieces));
        let limit = request.limit.filter(|_| limited);
        let request = EventRequest { order: EventOrder::Time, limit, ..request };
        let mut handed = Vec::new();
        let visit = |rows: EventRows| {
            assert!(!rows.is_empty());
            handed.extend(listed(&rows));
            Ok(())
        };
        let resources = Resources::default();
        let streamed = for_each_event_group(&request, &schema, &sources, resources, visit).unwrap();
        prop_assert_eq!(shown(&handed), shown(&expected(&pieces, &request)));

        let fold = |state: &mut Vec<Row>, rows: &EventRows| {
            state.extend(listed(rows));
            Ok(())
        };
        let folded = fold_events(&request, &schema, &sources, resources, Vec::new, fold).unwrap();
        let mut all: Vec<Row> = folded.0.into_iter().flatten().collect();
        all.sort_by_key(|(time, _)| *time);
        prop_assert_eq!(shown(&all), shown(&projected(passing(&pieces, &request), &request)));
        if limit.is_none() {
            prop_assert_eq!(streamed, folded.1);
        }
    }
}

/// Rows 0 to 1,000, one a nanosecond, the number growing, three names in turn.
fn thousand(stored: bool) -> Vec<Arc<dyn EventSource>> {
    let row = |i: i64| {
        let name = ["a", "b", "c"][i as usize / 400];
        (i, vec![i.into(), (i as f64).into(), EventValue::Null, name.into()])
    };
    vec![Held::of(&(0..1000).map(row).collect::<Vec<_>>(), 4, stored)]
}

#[test]
fn groups_that_hold_nothing_wanted_are_not_read() {
    let (schema, sources) = (schema(), thousand(true));
    let ask = |request: EventRequest| {
        scan_events(&request, &schema, &sources, Resources::default()).unwrap()
    };
    let all = EventRequest::new("rows", TimeRange::ALL);
    let where_ = |column: &str, test| EventRequest {
        predicates: vec![EventPredicate::new(column, test)],
        ..all.clone()
    };
    // Stretches of 100 rows are groups of 32, 32, 32 and 4.
    let groups = 40;
    let found = ask(where_("n", EventTest::Equal(500.into())));
    assert_eq!((found.rows.len(), found.evidence.groups), (1, groups));
    assert_eq!((found.evidence.groups_skipped, found.evidence.rows_read), (groups - 1, 32));
    let found = ask(where_("t", EventTest::Equal("nobody".into())));
    assert_eq!((found.rows.len(), found.evidence.groups_skipped), (0, groups));
    assert_eq!(found.evidence.values_decoded, 0);
    let found = ask(where_("b", EventTest::NotNull));
    assert_eq!((found.rows.len(), found.evidence.groups_skipped), (0, groups));
    let range = TimeRange::new(Timestamp(250), Timestamp(260));
    let found = ask(EventRequest::new("rows", range));
    assert_eq!((found.rows.len(), found.evidence.groups, found.evidence.rows_read), (10, 4, 32));
    // Of an order by a column only the groups at its end, and the other columns only of those.
    let order = EventOrder::Largest("x".into());
    let found = ask(EventRequest { order, limit: Some(3), ..all.clone() });
    assert_eq!(found.rows.times, [999, 998, 997]);
    assert!(found.evidence.groups_skipped >= groups - 8, "{:?}", found.evidence);
    // Of a limit by time only the first stretches.
    let found = ask(EventRequest { limit: Some(5), ..all });
    assert_eq!(found.rows.times, [0, 1, 2, 3, 4]);
    assert_eq!(found.evidence.groups_skipped, groups - 16);
}

#[test]
fn what_does_not_fit_is_refused_and_limits_hold() {
    let (schema, sources) = (schema(), thousand(true));
    let refused = |request: EventRequest| {
        let resources = Resources::default();
        scan_events(&request, &schema, &sources, resources).map(|_| ()).unwrap_err()
    };
    let all = EventRequest::new("rows", TimeRange::ALL);
    let wrong = |column: &str, test| EventRequest {
        predicates: vec![EventPredicate::new(column, test)],
        ..all.clone()
    };
    for request in [
        wrong("n", EventTest::Equal("5".into())),
        wrong("n", EventTest::Less(0.5.into())),
        wrong("t", EventTest::In(vec!["a".into(), 1.into()])),
        wrong("nowhere", EventTest::IsNull),
        wrong("n", EventTest::Equal(EventValue::Null)),
        EventRequest { projection: Some(vec!["nowhere".into()]), ..all.clone() },
        EventRequest { order: EventOrder::Largest("n".into()), ..all.clone() },
    ] {
        let error = refused(request);
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    }
    let few = Limits { samples_max: 999, ..Limits::default() };
    assert!(matches!(refused(EventRequest { limits: few, ..all.clone() }), Error::Limit { .. }));
    let small = Limits { memory_bytes_max: 1000, ..Limits::default() };
    assert!(matches!(refused(EventRequest { limits: small, ..all.clone() }), Error::Limit { .. }));
    let cancelled = EventRequest::new("rows", TimeRange::ALL);
    cancelled.cancel.cancel();
    assert!(matches!(refused(cancelled), Error::Cancelled));
    let deadline = Some(std::time::Instant::now());
    assert!(matches!(refused(EventRequest { deadline, ..all }), Error::Deadline { .. }));
}
