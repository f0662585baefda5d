//! Alerts: rules over what is stored, and who is told when one holds.
//!
//! Owns: what rules measure ([`Measure`]), when that is an alert ([`Level`], a pure state machine),
//! who has been told of which, silences, and the memory of all of it in the store itself. Two
//! threads of its own: one evaluates, one delivers; neither is ever waited for by what records.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use icecore::model::Selector;
//! use icecore::monitor::alert::{AlertOptions, Alerts, Callback, Level, Measure, Rule, Severity};
//! use icecore::query::Function;
//! use icecore::{Engine, Options};
//!
//! # fn main() -> icecore::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let engine = Arc::new(Engine::open(dir.path(), Options::default())?);
//! let slow = Rule {
//!     hold: Duration::from_secs(120),
//!     severity: Severity::Warning,
//!     ..Rule::new(
//!         "SlowSource",
//!         Measure::Value {
//!             selector: Selector::parse("source_response_seconds")?,
//!             function: Function::Quantile(0.99),
//!             window: Duration::from_secs(300),
//!             by: vec!["source".into()],
//!         },
//!         Level::above(1.0).until(0.8),
//!     )
//! };
//! let notifier = Callback::new(|notification| {
//!     for alert in &notification.alerts {
//!         println!("{} {:?}: {}", alert.rule, alert.labels, alert.value);
//!     }
//! });
//! let alerts = Alerts::start(engine, vec![slow], vec![Box::new(notifier)], AlertOptions::default())?;
//! assert!(alerts.active().is_empty());
//! alerts.stop()
//! # }
//! ```

#[cfg(feature = "webhook")]
mod alertmanager;
mod board;
mod delivery;
mod measure;
mod memory;
mod notify;
mod rule;
mod silence;
mod state;
mod watch;

#[cfg(feature = "webhook")]
pub use alertmanager::Alertmanager;
pub use board::{Alert, AlertState};
pub use delivery::DeliveryCounts;
pub use notify::{Callback, Log, Notification, Notifier, NotifyError};
pub use rule::{Change, Level, Measure, Rule, Severity};
pub use silence::{Silence, SilenceId};
pub use watch::{AlertOptions, Alerts};
