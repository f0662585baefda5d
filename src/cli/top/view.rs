//! What the screen shows beside facts: where it looks, what is chosen, what is typed.

use std::time::Duration;

use crate::monitor::{OutcomeKind, QueryId};
use crate::overview::{Overview, QueryDetail, QueryLine, Question};

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    Running,
    Recent,
    Sources,
    Alerts,
}

impl Panel {
    pub(super) const ALL: [Self; 4] = [Self::Running, Self::Recent, Self::Sources, Self::Alerts];

    pub(super) fn rows(self, facts: &Overview) -> usize {
        match self {
            Self::Running => facts.running.len(),
            Self::Recent => facts.recent.len(),
            Self::Sources => facts.sources.len(),
            Self::Alerts => facts.alerts.len(),
        }
    }

    /// Its queries, where it is one of queries.
    fn queries(self, facts: &Overview) -> Option<&[QueryLine]> {
        match self {
            Self::Running => Some(&facts.running),
            Self::Recent => Some(&facts.recent),
            Self::Sources | Self::Alerts => None,
        }
    }
}

/// Where the facts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A store at rest: its directory.
    Store(String),
    /// A host's server: its address.
    Server(String),
}

impl Origin {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Store(name) | Self::Server(name) => name,
        }
    }

    /// Whether it moves on by itself.
    pub(super) fn lives(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

/// The row that is chosen: queries by their number, since new ones push them down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) row: usize,
    query: Option<QueryId>,
}

/// What is known of the query that is shown in full.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    Asked(QueryId),
    /// Nothing is known of it.
    Unknown(QueryId),
    Known(Box<QueryDetail>),
}

impl Shown {
    pub(super) fn id(&self) -> QueryId {
        match self {
            Self::Asked(id) | Self::Unknown(id) => *id,
            Self::Known(detail) => detail.line.id,
        }
    }
}

/// What went wrong the last time somebody was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) message: String,
    /// How long ago the last answer came; `None` where none ever did.
    pub(super) seen: Option<Duration>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) origin: Origin,
    pub(super) question: Question,
    pub(super) facts: Option<Overview>,
    pub(super) detail: Option<Shown>,
    pub(super) trouble: Option<Trouble>,
    pub(super) panel: Panel,
    /// In the order of [`Panel::ALL`].
    cursors: [Cursor; Panel::ALL.len()],
    /// The filter, while it is typed.
    pub(super) typing: Option<String>,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// Whether the panel takes the whole screen.
    pub(super) zoomed: bool,
    pub(super) colour: bool,
}

impl View {
    pub(super) fn new(origin: Origin, question: Question, colour: bool) -> Self {
        Self {
            origin,
            question,
            facts: None,
            detail: None,
            trouble: None,
            panel: Panel::Recent,
            cursors: Default::default(),
            typing: None,
            paused: false,
            help: false,
            zoomed: false,
            colour,
        }
    }

    /// Takes in what was answered; cursors stay with their queries.
    pub(super) fn take(&mut self, facts: Overview) {
        self.trouble = None;
        for (panel, cursor) in Panel::ALL.into_iter().zip(&mut self.cursors) {
            let Some(queries) = panel.queries(&facts) else { continue };
            let found = queries.iter().position(|line| Some(line.id) == cursor.query);
            cursor.row = found.unwrap_or(cursor.row);
        }
        self.facts = Some(facts);
    }

    /// The row of the panel that is chosen; 0 where there is none.
    pub(super) fn row(&self, panel: Panel) -> usize {
        let rows = self.facts.as_ref().map_or(0, |facts| panel.rows(facts));
        let cursor = self.cursors.get(panel as usize).copied().unwrap_or_default();
        cursor.row.min(rows.saturating_sub(1))
    }

    /// Chooses a row of the panel that keys go to. The first row is a place, not a query: who stays
    /// there sees what is newest.
    pub(super) fn choose(&mut self, row: usize) {
        let Some(facts) = &self.facts else { return };
        let row = row.min(self.panel.rows(facts).saturating_sub(1));
        let query = (row > 0).then(|| self.query_at(row)).flatten();
        if let Some(cursor) = self.cursors.get_mut(self.panel as usize) {
            *cursor = Cursor { row, query };
        }
    }

    fn query_at(&self, row: usize) -> Option<QueryId> {
        let queries = self.panel.queries(self.facts.as_ref()?)?;
        queries.get(row).map(|line| line.id)
    }

    /// The query that is chosen, where the panel is one of queries.
    pub(super) fn chosen(&self) -> Option<QueryId> {
        self.query_at(self.row(self.panel))
    }
}

/// Which ends of queries are listed, as `o` goes through them.
pub(super) const FILTERS: [(&str, &[OutcomeKind]); 7] = [
    ("all", &[]),
    (
        "not ok",
        &[
            OutcomeKind::Error,
            OutcomeKind::Cancelled,
            OutcomeKind::TimedOut,
            OutcomeKind::Abandoned,
        ],
    ),
    ("error", &[OutcomeKind::Error]),
    ("timed_out", &[OutcomeKind::TimedOut]),
    ("cancelled", &[OutcomeKind::Cancelled]),
    ("abandoned", &[OutcomeKind::Abandoned]),
    ("ok", &[OutcomeKind::Ok]),
];
