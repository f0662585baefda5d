//! `icecore delete`: samples that should never have been there.

use std::io::{IsTerminal, stdin};

use serde_json::json;

use super::arguments::Between;
use super::screen::Screen;
use super::{Failure, StoreArguments, figures, open_to_maintain, open_to_read};
use crate::engine::Engine;
use crate::integration::notation::Rfc3339;
use crate::model::Selector;
use crate::options::Policy;
use crate::query::{Function, Grouping, Limits, Request};
use crate::time::TimeRange;

/// Delete the samples of some series in a range of time, in every tier
///
/// They are gone for every query at once; their bytes go with the next `compact`, or by themselves
/// where an engine runs. There is no way back but a snapshot. Asks before it does anything.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  icecore delete --db history 'debug_metric'
  icecore delete --db history 'node_load1{instance=\"a\"}' --from 2026-11-23T14:00:00Z --to now
  icecore delete --db history 'up' --from now-1h --yes --json")]
pub(super) struct Delete {
    #[command(flatten)]
    store: StoreArguments,
    /// Which series
    selector: String,
    #[command(flatten)]
    between: Between,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What is there to delete.
struct Victims {
    series: u64,
    samples: u64,
}

impl Delete {
    pub(super) fn run(self, screen: &mut Screen) -> Result<(), Failure> {
        let selector = Selector::parse(&self.selector)?;
        let reader = open_to_read(&self.store.db)?;
        let found = match self.between.resolve(&reader)? {
            Some(range) => Some((range, count(&reader, &selector, range)?)),
            None => None,
        };
        drop(reader);
        let Some((range, victims)) = found.filter(|(_, victims)| victims.samples > 0) else {
            return self.tell(screen, None, &Victims { series: 0, samples: 0 });
        };
        if !self.yes {
            ask(screen, &selector, range, &victims)?;
        }
        let engine = open_to_maintain(&self.store.db, Policy::default(), None)?;
        engine.delete(&selector, range)?;
        engine.close()?;
        self.tell(screen, Some(range), &victims)
    }

    fn tell(
        &self,
        screen: &mut Screen,
        range: Option<TimeRange>,
        victims: &Victims,
    ) -> Result<(), Failure> {
        if self.store.json {
            screen.json(&json!({
                "series": victims.series,
                "samples": victims.samples,
                "from": range.map(|range| Rfc3339(range.start).to_string()),
                "to": range.map(|range| Rfc3339(range.end).to_string()),
            }))?;
        } else if range.is_none() {
            screen.line("Nothing to delete.")?;
        } else {
            screen.line(format!(
                "{} samples of {} series are deleted. `icecore compact` frees their bytes.",
                figures::count(victims.samples),
                figures::count(victims.series),
            ))?;
        }
        Ok(())
    }
}

/// How many samples of how many series there are: from the coarsest tiers that tell.
fn count(engine: &Engine, selector: &Selector, range: TimeRange) -> Result<Victims, Failure> {
    let limits = Limits { series_max: u64::MAX, samples_max: u64::MAX, ..Limits::default() };
    let group_by = Grouping::Labels(Vec::new());
    let request = Request { group_by, limits, ..Request::new(range, vec![Function::Count]) };
    let answer = engine.query(selector, &request)?;
    let samples = answer.groups.iter().flat_map(|group| &group.counts).sum();
    Ok(Victims { series: engine.series(selector, range)?.len() as u64, samples })
}

/// Goes on only where somebody says yes.
fn ask(
    screen: &mut Screen,
    selector: &Selector,
    range: TimeRange,
    victims: &Victims,
) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        let message = "nobody to ask: say --yes to delete without being asked".to_owned();
        return Err(Failure::Usage(message));
    }
    screen.note(&format!(
        "This deletes {} samples of {} series of {selector}\nfrom {} until {}. Type yes to go on:",
        figures::count(victims.samples),
        figures::count(victims.series),
        Rfc3339(range.start),
        Rfc3339(range.end),
    ));
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    read.map_err(|error| Failure::Input("stdin".to_owned(), error))?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::Usage("nothing was deleted".to_owned()))
}
