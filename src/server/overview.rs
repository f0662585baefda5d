//! `/api/v1/overview` and `/api/v1/overview/queries/<id>`: what a monitored host does, for
//! `icecore top` and whoever else looks on.
//!
//! Both tell of every tenant's queries, of sources and of the store, so a tenant's token is refused.

use super::failure::Failure;
use super::output::Output;
use super::status::tell;
use super::work::Ask;
use crate::monitor::OutcomeKind;
use crate::overview::{Order, Overview, QueryDetail, Question, Reading, parse_id};
use crate::time::Timestamp;

fn reading(ask: &Ask) -> Result<Reading<'_>, Failure> {
    Ok(Reading {
        engine: &ask.app.engine,
        limits: ask.app.options.limits,
        deadline: Some(ask.deadline()?),
        cancel: ask.cancel.clone(),
    })
}

fn question(ask: &Ask) -> Result<Question, Failure> {
    let (given, default) = (&ask.parameters, Question::default());
    let at = match given.get("time") {
        "" => None,
        _ => Some(given.time("time", Timestamp::MAX)?),
    };
    let order = match given.get("order") {
        "" => default.order,
        name => Order::parse(name).ok_or_else(|| {
            let known = Order::ALL.map(Order::name).join(", ");
            Failure::parameter("order", format!("{name:?} is none of {known}"))
        })?,
    };
    let outcomes = given.get("outcome").split(',').filter(|name| !name.is_empty());
    let outcomes = outcomes.map(|name| {
        let known = || OutcomeKind::ALL.map(OutcomeKind::name).join(", ");
        OutcomeKind::parse(name).ok_or_else(|| {
            Failure::parameter("outcome", format!("{name:?} is none of {}", known()))
        })
    });
    let limit = match given.get("limit") {
        "" => default.limit,
        _ => given.limit("limit")? as u64,
    };
    Ok(Question {
        at,
        window: given.length("window")?.unwrap_or(default.window),
        order,
        outcomes: outcomes.collect::<Result<_, _>>()?,
        text: given.get("text").to_owned(),
        limit,
    })
}

pub(super) fn overview(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    ask.caller.check_whole_store()?;
    let live = ask.app.options.live.as_ref();
    tell(out, &Overview::of(&reading(ask)?, &question(ask)?, live)?)
}

pub(super) fn query(ask: &Ask, out: &mut Output) -> Result<(), Failure> {
    ask.caller.check_whole_store()?;
    let name = &ask.name;
    let id = parse_id(name).ok_or_else(|| {
        Failure::bad_data(format!("{name:?} is no query's id: at most 16 hexadecimal digits"))
    })?;
    let detail = QueryDetail::of(&reading(ask)?, id, ask.app.options.live.as_ref())?;
    let detail = detail.ok_or_else(|| Failure::not_found("nothing is known of this query"))?;
    tell(out, &detail)
}
