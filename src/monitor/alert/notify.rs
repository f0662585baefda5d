//! Who is told: the seam that hosts implement, and two that need nothing.

use std::fmt;
use std::time::Duration;

use super::board::{Alert, AlertState};
use crate::time::Timestamp;

/// Alerts that are told together: those whose group has the same values.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// What they share: the labels of [`AlertOptions::group_by`](super::AlertOptions), and values.
    pub group: Vec<(String, String)>,
    /// Those that fired or resolved, and those that are told again; never empty.
    pub alerts: Vec<Alert>,
    /// When they were measured.
    pub at: Timestamp,
}

/// Why somebody could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotifyError {
    /// In words.
    pub reason: String,
    /// Whether another attempt may succeed.
    pub transient: bool,
}

/// Tells somebody. Called on the thread that delivers, one notification after another: it may take
/// its time, but what waits behind it is bounded.
pub trait Notifier: Send + fmt::Debug {
    /// Tells of these alerts.
    ///
    /// # Errors
    /// [`NotifyError`]: one that is transient is tried again, thrice.
    fn notify(&mut self, notification: &Notification) -> Result<(), NotifyError>;

    /// How often it wants to be told again of what still fires; `None` leaves it to
    /// [`AlertOptions::repeat_every`](super::AlertOptions).
    fn repeat_every(&self) -> Option<Duration> {
        None
    }
}

/// Calls a function.
pub struct Callback<F>(F);

impl<F: FnMut(&Notification) + Send> Callback<F> {
    /// Of the host's.
    pub const fn new(tell: F) -> Self {
        Self(tell)
    }
}

impl<F> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl<F: FnMut(&Notification) + Send> Notifier for Callback<F> {
    fn notify(&mut self, notification: &Notification) -> Result<(), NotifyError> {
        (self.0)(notification);
        Ok(())
    }
}

/// Writes a line for each alert to the `log` facade, target `icecore::alert`: what fires as an
/// error or a warning by its severity, what is resolved as information.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Notifier for Log {
    fn notify(&mut self, notification: &Notification) -> Result<(), NotifyError> {
        for alert in &notification.alerts {
            let level = match (alert.state, alert.severity) {
                (AlertState::Resolved, _) | (_, super::Severity::Info) => log::Level::Info,
                (_, super::Severity::Warning) => log::Level::Warn,
                (_, super::Severity::Critical) => log::Level::Error,
            };
            log::log!(target: "icecore::alert", level, "{alert}");
        }
        Ok(())
    }
}
