//! The loop: events to keys, questions to a thread of their own, answers to the screen.
//!
//! Whoever is asked may take its time; the screen never waits for it. The terminal is given back
//! as it was whatever ends the loop: a key, a signal, an error, a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use ratatui::crossterm::event;
use ratatui::{DefaultTerminal, crossterm};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::draw;
use super::keys::{Effect, press};
use super::source::{Refusal, Source};
use super::view::{Shown, Trouble, View};
use crate::cli::Failure;
use crate::monitor::QueryId;
use crate::overview::{Overview, QueryDetail, Question};

/// How long keys are waited for before answers and clocks are looked at.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, PartialEq)]
struct Request {
    question: Question,
    detail: Option<QueryId>,
}

struct Answer {
    request: Request,
    overview: Result<Overview, Refusal>,
    detail: Option<Result<Option<QueryDetail>, Refusal>>,
}

/// Shows the view until somebody quits. Asks again each `interval`, where the source lives.
pub(super) fn run(mut view: View, source: Source, interval: Duration) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Failure::Output)?;
    }
    let mut asker = Asker::spawn(source, interval)?;
    // Installs a hook too that gives the terminal back before a panic is told.
    let mut terminal = ratatui::try_init().map_err(Failure::Output)?;
    let shown = show(&mut terminal, &mut view, &mut asker, &ended);
    let restored = terminal.show_cursor().and(ratatui::try_restore());
    shown?;
    restored.map_err(Failure::Output)
}

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    asker: &mut Asker,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        asker.ask(view)?;
        changed |= asker.take(view)?;
        if changed {
            terminal.draw(|frame| draw::draw(frame.buffer_mut(), view)).map_err(Failure::Output)?;
        }
        // While nobody answers, the time since is counted up.
        changed = view.trouble.is_some();
        if !event::poll(TICK).map_err(Failure::Output)? {
            continue;
        }
        let event: crossterm::event::Event = event::read().map_err(Failure::Output)?;
        changed = true;
        match press(view, &event) {
            Effect::None => {}
            Effect::Ask => asker.is_due = true,
            Effect::Quit => return Ok(()),
        }
    }
    Ok(())
}

/// A thread that asks, one question at a time, and what is known of its work.
struct Asker {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
    interval: Duration,
    /// Whether an answer is waited for.
    is_asking: bool,
    /// Whether there is a question that was not asked yet.
    is_due: bool,
    asked: Instant,
    /// When the last answer came.
    seen: Option<Instant>,
}

impl Asker {
    fn spawn(source: Source, interval: Duration) -> Result<Self, Failure> {
        let (requests, asked) = bounded::<Request>(1);
        let (answered, answers) = bounded(1);
        let work = move || {
            for request in asked {
                let overview = source.overview(&request.question);
                let detail = request.detail.filter(|_| overview.is_ok());
                let detail = detail.map(|id| source.detail(id));
                if answered.send(Answer { request, overview, detail }).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("icecore-top".to_owned())
            .spawn(work)
            .map_err(|error| crate::Error::io("start a thread for", "icecore-top", error))?;
        Ok(Self {
            requests,
            answers,
            interval,
            is_asking: false,
            is_due: true,
            asked: Instant::now(),
            seen: None,
        })
    }

    /// Asks what is due, unless an answer is under way.
    fn ask(&mut self, view: &View) -> Result<(), Failure> {
        let moves = view.origin.lives() && !view.paused;
        // What is past does not change, but the way to a host that went away may come back.
        let moves = moves && (view.question.at.is_none() || view.trouble.is_some());
        let is_due = self.is_due || (moves && self.asked.elapsed() >= self.interval);
        if self.is_asking || !is_due {
            return Ok(());
        }
        let detail = view.detail.as_ref().map(Shown::id);
        let request = Request { question: view.question.clone(), detail };
        self.requests.send(request).map_err(|_| died())?;
        (self.is_asking, self.is_due, self.asked) = (true, false, Instant::now());
        Ok(())
    }

    /// Takes in an answer, if one has come; says whether there is something new to see.
    fn take(&mut self, view: &mut View) -> Result<bool, Failure> {
        let answer = match self.answers.try_recv() {
            Ok(answer) => answer,
            Err(crossbeam_channel::TryRecvError::Empty) => {
                if let Some(trouble) = &mut view.trouble {
                    trouble.seen = self.seen.map(|seen| seen.elapsed());
                }
                return Ok(false);
            }
            Err(crossbeam_channel::TryRecvError::Disconnected) => return Err(died()),
        };
        self.is_asking = false;
        match answer.overview {
            Ok(facts) => {
                self.seen = Some(Instant::now());
                // Somebody who asked something else meanwhile waits for that.
                if answer.request.question == view.question {
                    view.take(facts);
                } else {
                    view.trouble = None;
                }
            }
            Err(refusal) => self.refuse(view, refusal)?,
        }
        if let Some(detail) = answer.detail {
            self.take_detail(view, answer.request.detail, detail)?;
        }
        Ok(true)
    }

    fn take_detail(
        &mut self,
        view: &mut View,
        id: Option<QueryId>,
        detail: Result<Option<QueryDetail>, Refusal>,
    ) -> Result<(), Failure> {
        let id = id.filter(|id| view.detail.as_ref().is_some_and(|shown| shown.id() == *id));
        let Some(id) = id else { return Ok(()) };
        match (detail, &view.detail) {
            (Ok(Some(detail)), _) => view.detail = Some(Shown::Known(Box::new(detail))),
            // Between its end and its row there are milliseconds: what was known last stays.
            (Ok(None), Some(Shown::Known(_))) => {}
            (Ok(None), _) => view.detail = Some(Shown::Unknown(id)),
            (Err(refusal), _) => self.refuse(view, refusal)?,
        }
        Ok(())
    }

    /// A server that is away comes back; what else is refused will be again.
    fn refuse(&mut self, view: &mut View, refusal: Refusal) -> Result<(), Failure> {
        match refusal {
            Refusal::Server { message, lasting: false } => {
                let seen = self.seen.map(|seen| seen.elapsed());
                view.trouble = Some(Trouble { message, seen });
                Ok(())
            }
            Refusal::Server { message, lasting: true } => Err(Failure::Refused(message)),
            Refusal::Engine(error) => Err(error.into()),
        }
    }
}

/// Its panic was told by its hook.
fn died() -> Failure {
    let message = "the thread that asks has ended".to_owned();
    crate::Error::Panicked { thread: "icecore-top", message }.into()
}
