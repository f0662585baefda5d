//! What the `# HELP`, `# TYPE` and `# UNIT` lines say, and of which metrics they say it.

use std::collections::HashMap;

use super::Refused;
use super::series::unescape;
use crate::integration::RejectReason;
use crate::model::{Metadata, MetricKind};

/// Most families remembered; real expositions have hundreds.
const FAMILIES_MAX: usize = 1_000_000;

/// The types of both formats, as far as they lead to different kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum FamilyType {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    Summary,
}

#[derive(Debug, Default)]
struct Family {
    family_type: FamilyType,
    unit: String,
    help: String,
}

#[derive(Debug, Default)]
pub(super) struct Families(HashMap<String, Family>);

impl Families {
    /// Takes in a line that begins with `#`; comments without meaning are passed over.
    pub(super) fn comment(&mut self, line: &[u8]) -> Result<(), Refused> {
        let after = line.strip_prefix(b"#").unwrap_or(line).trim_ascii_start();
        let Some(keyword) = [&b"HELP"[..], b"TYPE", b"UNIT"].into_iter().find(|keyword| {
            after
                .strip_prefix(*keyword)
                .is_some_and(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"))
        }) else {
            return Ok(());
        };
        let Ok(rest) = std::str::from_utf8(after.get(keyword.len()..).unwrap_or_default()) else {
            return Err((RejectReason::Syntax, "the comment is not UTF-8".to_owned()));
        };
        let (name, said) = split_name(rest.trim_start_matches([' ', '\t']))
            .ok_or((RejectReason::Syntax, "the comment names no metric".to_owned()))?;
        if self.0.len() >= FAMILIES_MAX && !self.0.contains_key(&name) {
            return Ok(());
        }
        let family = self.0.entry(name).or_default();
        match keyword {
            b"HELP" => family.help = unescape(said).into_owned(),
            b"UNIT" => family.unit = said.trim().to_owned(),
            _ => {
                family.family_type = match said.trim() {
                    "counter" => FamilyType::Counter,
                    "gauge" | "gaugehistogram" | "info" | "stateset" => FamilyType::Gauge,
                    "histogram" => FamilyType::Histogram,
                    "summary" => FamilyType::Summary,
                    _ => FamilyType::Unknown,
                }
            }
        }
        Ok(())
    }

    /// What is known of a series' metric: its own family's, or that of the family whose name it
    /// carries with a suffix (`_total`, `_bucket`, `_sum`, `_count`, ...).
    pub(super) fn metadata(&self, metric: &str) -> Metadata {
        const SUFFIXES: [&str; 8] =
            ["_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount", "_gsum"];
        let own = self.0.get(metric).map(|family| (family, ""));
        let found = own.or_else(|| {
            SUFFIXES
                .iter()
                .find_map(|suffix| Some((self.0.get(metric.strip_suffix(suffix)?)?, *suffix)))
        });
        let Some((family, suffix)) = found else { return Metadata::default() };
        let kind = match (family.family_type, suffix) {
            (FamilyType::Unknown, _) => MetricKind::Untyped,
            (FamilyType::Gauge, _) | (_, "_created") => MetricKind::Gauge,
            (FamilyType::Counter, _) => MetricKind::Counter,
            // The quantiles of a summary; a histogram has no samples of its own name, so one
            // that has is our own distribution, written as one.
            (FamilyType::Summary, "") => MetricKind::Gauge,
            (FamilyType::Histogram, "") => MetricKind::Distribution,
            (FamilyType::Summary | FamilyType::Histogram, _) => MetricKind::Counter,
        };
        // Buckets and counts are numbers of observations, whatever the unit observed.
        let unit = match suffix {
            "_bucket" | "_count" | "_gcount" => String::new(),
            "_created" => "seconds".to_owned(),
            _ => family.unit.clone(),
        };
        Metadata { kind, unit, help: family.help.clone() }
    }
}

/// The metric's name, quoted or not, and what is said of it.
fn split_name(text: &str) -> Option<(String, &str)> {
    if let Some(inside) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = inside.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        let said = inside.get(end + 1..)?;
        return Some((
            unescape(inside.get(..end)?).into_owned(),
            said.get(1..).unwrap_or_default(),
        ));
    }
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (name, said) = text.split_at_checked(end)?;
    (!name.is_empty()).then(|| (name.to_owned(), said.get(1..).unwrap_or_default()))
}
