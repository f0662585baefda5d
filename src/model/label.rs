//! The rules that metric names, label names and label values obey.
//!
//! Names are any non-empty UTF-8, as Prometheus 3 and OpenTelemetry write them (`http.status`),
//! without control characters; the label `__name__` is the metric name and is never stored as a
//! pair. An empty label value means that the label is absent.

use crate::error::{Error, Result};

/// The label that is the metric name; never stored as a pair.
pub const METRIC_NAME_LABEL: &str = "__name__";
/// Longest metric or label name, bytes. Prometheus' own families stay below 100.
pub const NAME_BYTES_MAX: usize = 512;
/// Longest label value, bytes: a URL or a file path fits, a query text does not.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Most label pairs of a series. Kubernetes targets carry 20 to 30.
pub const LABEL_PAIRS_MAX: usize = 64;

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "must not be empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 512 bytes"
    } else if name.chars().any(char::is_control) {
        "holds a control character"
    } else {
        return Ok(());
    };
    Err(invalid(what, name, reason))
}

pub(crate) fn check_value(value: &str) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(invalid("label value", value, "is longer than 4096 bytes"));
    }
    Ok(())
}

pub(crate) fn invalid(what: &'static str, value: &str, reason: &'static str) -> Error {
    Error::InvalidName { what, value: value.chars().take(80).collect(), reason }
}
