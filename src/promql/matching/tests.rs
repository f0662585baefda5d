use super::*;

fn column(labels: &[(&str, &str)], values: &[f64]) -> Column {
    Column { labels: Labels::new(labels.iter().copied()), values: values.to_vec() }
}

fn ok() -> Result<()> {
    Ok(())
}

fn shown(columns: &[Column]) -> Vec<(String, Vec<Option<f64>>)> {
    let value = |value: &f64| (!is_absent(*value)).then_some(*value);
    let column = |c: &Column| (in_braces(&c.labels), c.values.iter().map(value).collect());
    columns.iter().map(column).collect()
}

fn run(
    op: BinaryOp,
    left: &[Column],
    right: &[Column],
    matching: &Matching,
) -> Result<Vec<Column>> {
    vectors(op, left.to_vec(), right.to_vec(), matching, &ok)
}

fn reason(result: Result<Vec<Column>>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn one_to_one_needs_a_value_on_both_sides() {
    let left = [column(&[("__name__", "a"), ("l", "x")], &[1.0, 2.0, ABSENT])];
    let right = [column(&[("__name__", "b"), ("l", "x")], &[ABSENT, 3.0, 4.0])];
    let found = run(BinaryOp::Mul, &left, &right, &Matching::default()).unwrap();
    assert_eq!(shown(&found), [(r#"{l="x"}"#.to_owned(), vec![None, Some(6.0), None])]);
}

#[test]
fn a_comparison_keeps_the_left_name_unless_on_or_bool() {
    let left = [column(&[("__name__", "a"), ("l", "x")], &[5.0])];
    let right = [column(&[("__name__", "b"), ("l", "x")], &[1.0])];
    let names = |matching: Matching| {
        let found = run(BinaryOp::Greater, &left, &right, &matching).unwrap();
        (in_braces(&found[0].labels), found[0].values[0])
    };
    let on = Matching { on: true, labels: vec!["l".into()], ..Matching::default() };
    let returns_bool = Matching { returns_bool: true, ..Matching::default() };
    assert_eq!(names(Matching::default()), (r#"{__name__="a", l="x"}"#.to_owned(), 5.0));
    assert_eq!(names(on), (r#"{l="x"}"#.to_owned(), 5.0));
    assert_eq!(names(returns_bool), (r#"{l="x"}"#.to_owned(), 1.0));
}

#[test]
fn group_left_takes_labels_over() {
    let left = [
        column(&[("__name__", "a"), ("l", "x"), ("i", "1")], &[1.0]),
        column(&[("__name__", "a"), ("l", "x"), ("i", "2"), ("v", "old")], &[2.0]),
    ];
    let right = [column(&[("__name__", "info"), ("l", "x"), ("v", "new")], &[10.0])];
    let matching = Matching {
        on: true,
        labels: vec!["l".into()],
        cardinality: Cardinality::ManyToOne(vec!["v".into()]),
        ..Matching::default()
    };
    let found = run(BinaryOp::Sub, &left, &right, &matching).unwrap();
    let want = [
        (r#"{i="1", l="x", v="new"}"#.to_owned(), vec![Some(-9.0)]),
        (r#"{i="2", l="x", v="new"}"#.to_owned(), vec![Some(-8.0)]),
    ];
    assert_eq!(shown(&found), want);
    // The other way round the sides of the operator stay.
    let matching = Matching { cardinality: Cardinality::OneToMany(vec!["v".into()]), ..matching };
    let found = run(BinaryOp::Sub, &right, &left, &matching).unwrap();
    assert_eq!(found[0].values, [9.0]);
}

#[test]
fn a_filter_with_group_right_keeps_the_left_value() {
    let one = [column(&[("l", "x")], &[7.0])];
    let many = [column(&[("l", "x"), ("i", "1")], &[3.0])];
    let matching = Matching {
        on: true,
        labels: vec!["l".into()],
        cardinality: Cardinality::OneToMany(Vec::new()),
        ..Matching::default()
    };
    let found = run(BinaryOp::Greater, &one, &many, &matching).unwrap();
    assert_eq!(shown(&found), [(r#"{i="1", l="x"}"#.to_owned(), vec![Some(7.0)])]);
}

#[test]
fn duplicates_are_refused_only_where_they_meet() {
    let on = Matching { on: true, labels: vec!["l".into()], ..Matching::default() };
    let left = [column(&[("l", "x")], &[1.0, 1.0])];
    let right = |values: [&[f64]; 2]| {
        [column(&[("l", "x"), ("i", "1")], values[0]), column(&[("l", "x"), ("i", "2")], values[1])]
    };
    let found = run(BinaryOp::Add, &left, &right([&[1.0, ABSENT], &[ABSENT, 2.0]]), &on).unwrap();
    assert_eq!(shown(&found), [(r#"{l="x"}"#.to_owned(), vec![Some(2.0), Some(3.0)])]);
    let error = reason(run(BinaryOp::Add, &left, &right([&[1.0, 1.0], &[ABSENT, 2.0]]), &on));
    let want = r#"found duplicate series for the match group {l="x"} on the right hand-side of the operation: [{i="2", l="x"}, {i="1", l="x"}];many-to-many matching not allowed: matching labels must be unique on one side"#;
    assert!(error.contains(want), "{error}");
    // Nothing on the left at that step.
    let left = [column(&[("l", "x")], &[1.0, ABSENT])];
    assert!(run(BinaryOp::Add, &left, &right([&[1.0, 1.0], &[ABSENT, 2.0]]), &on).is_ok());
}

#[test]
fn many_to_one_has_to_be_asked_for() {
    let on = Matching { on: true, labels: vec!["l".into()], ..Matching::default() };
    let left =
        [column(&[("l", "x"), ("i", "1")], &[1.0]), column(&[("l", "x"), ("i", "2")], &[5.0])];
    let right = [column(&[("l", "x")], &[2.0])];
    let error = reason(run(BinaryOp::Add, &left, &right, &on));
    assert!(error.contains("many-to-one matching must be explicit"), "{error}");
    // What a filter leaves out does not count.
    assert!(run(BinaryOp::Greater, &left, &right, &on).is_ok());
}

#[test]
fn fills_stand_in_for_the_side_that_is_missing() {
    let left = [column(&[("l", "x")], &[1.0, 1.0]), column(&[("l", "y")], &[2.0, ABSENT])];
    let right = [column(&[("l", "x")], &[10.0, ABSENT]), column(&[("l", "z")], &[30.0, ABSENT])];
    let matching = Matching { fill_left: Some(0.0), fill_right: Some(5.0), ..Matching::default() };
    let mut found = shown(&run(BinaryOp::Add, &left, &right, &matching).unwrap());
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let want = [
        (r#"{l="x"}"#.to_owned(), vec![Some(11.0), Some(6.0)]),
        (r#"{l="y"}"#.to_owned(), vec![Some(7.0), None]),
        (r#"{l="z"}"#.to_owned(), vec![Some(30.0), None]),
    ];
    assert_eq!(found, want);
}

#[test]
fn sets_go_step_by_step() {
    let left = vec![column(&[("__name__", "a"), ("l", "x")], &[1.0, 2.0, ABSENT])];
    let right = vec![column(&[("__name__", "b"), ("l", "x")], &[9.0, ABSENT, 8.0])];
    let of = |op| shown(&set(op, left.clone(), right.clone(), &Matching::default(), &ok).unwrap());
    let a = r#"{__name__="a", l="x"}"#.to_owned();
    let b = r#"{__name__="b", l="x"}"#.to_owned();
    assert_eq!(of(SetOp::And), [(a.clone(), vec![Some(1.0), None, None])]);
    assert_eq!(of(SetOp::Unless), [(a.clone(), vec![None, Some(2.0), None])]);
    let or = [(a, vec![Some(1.0), Some(2.0), None]), (b, vec![None, None, Some(8.0)])];
    assert_eq!(of(SetOp::Or), or);
}
