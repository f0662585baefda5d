//! The policy as a file: TOML in, [`Policy`] out, and back.
//!
//! ```
//! use icecore::integration::policy;
//! let policy = policy::parse("
//!     bytes_max = '10GiB'
//!     [keep]
//!     raw = '15d'
//!     1m = '90d'
//! ")?;
//! assert_eq!(policy.bytes_max, Some(10 << 30));
//! # Ok::<(), icecore::Error>(())
//! ```
//!
//! Nothing is passed over: an unknown key is an error that tells its line and column, for a typing
//! error in a limit would else keep, or drop, what nobody meant. `docs/policy.md` shows every key.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::quantity::{Bytes, Length, parse_bytes, parse_duration, parse_tier};
use crate::error::{Error, Result};
use crate::model::Selector;
use crate::options::{Keep, Policy, RetentionRule, TableRule};
use crate::time::Tier;

/// Longest text of a policy, bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyTable {
    tiers: Option<Vec<TierName>>,
    #[serde(default)]
    sketches: Vec<SelectorText>,
    #[serde(default)]
    keep: BTreeMap<TierName, Age>,
    #[serde(default)]
    keep_bytes: BTreeMap<TierName, ByteCount>,
    #[serde(default)]
    rules: Vec<RuleTable>,
    #[serde(default)]
    events: Vec<EventTable>,
    bytes_max: Option<ByteCount>,
    lateness: Option<LengthText>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    selector: SelectorText,
    keep: BTreeMap<TierName, Age>,
    #[serde(default)]
    keep_bytes: BTreeMap<TierName, ByteCount>,
}

/// How long the rows of a table of events are kept, and within how many bytes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EventTable {
    table: String,
    keep: Option<Age>,
    keep_bytes: Option<ByteCount>,
}

#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct SelectorText(Selector);

#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct LengthText(Duration);

/// `None` is for ever.
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct Age(Option<Duration>);

#[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct TierName(Tier);

#[derive(serde::Deserialize)]
#[serde(try_from = "NumberOrText")]
struct ByteCount(u64);

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a number of bytes such as 4096 or \"10GiB\"")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl TryFrom<String> for SelectorText {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Selector::parse(&text).map(Self)
    }
}

impl TryFrom<String> for LengthText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("{text:?} is no length of time such as 90s, 1h30m, 15d, 1y");
        parse_duration(&text).map(Self).ok_or_else(expected)
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let LengthText(age) = LengthText::try_from(text).map_err(|error| error + ", or forever")?;
        Ok(Self(Some(age)))
    }
}

impl TryFrom<String> for TierName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("{text:?} is no tier such as raw, 1m, 1h");
        parse_tier(&text).map(Self).ok_or_else(expected)
    }
}

impl TryFrom<NumberOrText> for ByteCount {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        // One rule for both: what a text may not say, no number may.
        let text = match value {
            NumberOrText::Number(bytes) => bytes.to_string(),
            NumberOrText::Text(text) => text,
        };
        let expected = || format!("{text:?} is no number of bytes such as 10GiB");
        parse_bytes(&text).map(Self).ok_or_else(expected)
    }
}

fn keep_of(ages: BTreeMap<TierName, Age>, bytes: BTreeMap<TierName, ByteCount>) -> Keep {
    let limits = ages.into_iter().filter_map(|(tier, age)| Some((tier.0, age.0?)));
    let aged = limits.fold(Keep::FOREVER, |keep, (tier, age)| keep.with(tier, age));
    bytes.into_iter().fold(aged, |keep, (tier, bytes)| keep.with_bytes(tier.0, bytes.0))
}

/// Reads a policy. What the text leaves out is as in [`Policy::default`].
///
/// # Errors
/// [`Error::InvalidArgument`] that tells line and column of what does not parse, of a key that
/// there is not, or of a value that is none; [`Error::InvalidOption`] where the values contradict
/// each other.
pub fn parse(text: &str) -> Result<Policy> {
    let invalid = |reason: String| Error::InvalidArgument { what: "policy", reason };
    if text.len() > POLICY_BYTES_MAX {
        return Err(invalid(format!("longer than {POLICY_BYTES_MAX} bytes")));
    }
    let table: PolicyTable = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start)).unwrap_or_default();
        invalid(format!("{place}{}", error.message()))
    })?;
    let default = Policy::default();
    let tiers = table.tiers.map(|tiers| tiers.into_iter().map(|tier| tier.0).collect());
    let rule = |rule: RuleTable| RetentionRule {
        selector: rule.selector.0,
        keep: keep_of(rule.keep, rule.keep_bytes),
    };
    let table_rule = |EventTable { table, keep, keep_bytes }: EventTable| {
        let age = keep.and_then(|age| age.0);
        let keep = age.map_or(Keep::FOREVER, |age| Keep::FOREVER.with(Tier::RAW, age));
        let keep = match keep_bytes {
            Some(bytes) => keep.with_bytes(Tier::RAW, bytes.0),
            None => keep,
        };
        TableRule { table, keep }
    };
    let policy = Policy {
        tables: table.events.into_iter().map(table_rule).collect(),
        tiers: tiers.unwrap_or(default.tiers),
        sketches: table.sketches.into_iter().map(|selector| selector.0).collect(),
        keep: keep_of(table.keep, table.keep_bytes),
        rules: table.rules.into_iter().map(rule).collect(),
        bytes_max: table.bytes_max.map(|bytes| bytes.0),
        lateness: table.lateness.map_or(default.lateness, |lateness| lateness.0),
    };
    policy.check(0)?;
    Ok(policy)
}

/// Where a byte stands, both from 1: `line 3, column 7: `.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

/// The policy as a text that [`parse`] reads back to an equal one, as long as no age is beyond a
/// thousand years.
#[must_use]
pub fn to_text(policy: &Policy) -> String {
    PolicyText(policy).to_string()
}

struct PolicyText<'a>(&'a Policy);

impl fmt::Display for PolicyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { tiers, sketches, keep, rules, tables, bytes_max, lateness } = self.0;
        let tiers: Vec<String> = tiers.iter().map(|tier| format!("\"{tier}\"")).collect();
        writeln!(f, "tiers = [{}]", tiers.join(", "))?;
        writeln!(f, "lateness = \"{}\"", Length(*lateness))?;
        if let Some(bytes) = bytes_max {
            writeln!(f, "bytes_max = \"{}\"", Bytes(*bytes))?;
        }
        if !sketches.is_empty() {
            let sketches: Vec<String> =
                sketches.iter().map(|text| quoted(&text.to_string())).collect();
            writeln!(f, "sketches = [{}]", sketches.join(", "))?;
        }
        writeln!(f, "\n[keep]")?;
        for (tier, age) in keep.limits() {
            writeln!(f, "{tier} = \"{}\"", Length(age))?;
        }
        if keep.byte_limits().next().is_some() {
            writeln!(f, "\n[keep_bytes]")?;
        }
        for (tier, bytes) in keep.byte_limits() {
            writeln!(f, "{tier} = \"{}\"", Bytes(bytes))?;
        }
        for rule in rules {
            writeln!(f, "\n[[rules]]\nselector = {}", quoted(&rule.selector.to_string()))?;
            let limits = rule.keep.limits();
            let limits: Vec<String> =
                limits.map(|(tier, age)| format!("{tier} = \"{}\"", Length(age))).collect();
            writeln!(f, "keep = {{ {} }}", limits.join(", "))?;
            let limits = rule.keep.byte_limits();
            let limits: Vec<String> =
                limits.map(|(tier, bytes)| format!("{tier} = \"{}\"", Bytes(bytes))).collect();
            if !limits.is_empty() {
                writeln!(f, "keep_bytes = {{ {} }}", limits.join(", "))?;
            }
        }
        for TableRule { table, keep } in tables {
            writeln!(f, "\n[[events]]\ntable = {}", quoted(table))?;
            if let Some(age) = keep.age(Tier::RAW) {
                writeln!(f, "keep = \"{}\"", Length(age))?;
            }
            if let Some(bytes) = keep.bytes(Tier::RAW) {
                writeln!(f, "keep_bytes = \"{}\"", Bytes(bytes))?;
            }
        }
        Ok(())
    }
}

/// A TOML basic string: `"` and `\` escaped, control characters as `\uXXXX`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out += &format!("\\u{:04X}", u32::from(control)),
            plain => out.push(plain),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn every_key_is_read() {
        let policy = parse(
            r#"
            tiers = ["1m", "1h"]
            lateness = "90m"
            bytes_max = "10GiB"
            sketches = ['latency{job="api"}']
            [keep]
            raw = "15d"
            1m = "90d"
            1h = "forever"
            [keep_bytes]
            1m = "2GiB"
            [[rules]]
            selector = '{__name__=~"debug_.*"}'
            keep = { raw = "1d" }
            keep_bytes = { raw = 4096 }
            [[events]]
            table = "source_calls"
            keep = "7d"
            keep_bytes = "1GiB"
            "#,
        )
        .unwrap();
        assert_eq!(policy.tiers, [Tier::MINUTE, Tier::HOUR]);
        assert_eq!(policy.lateness, Duration::from_secs(5_400));
        assert_eq!(policy.bytes_max, Some(10 << 30));
        assert_eq!(policy.sketches[0].to_string(), r#"latency{job="api"}"#);
        assert_eq!(policy.keep.age(Tier::RAW), Some(Duration::from_secs(15 * DAY)));
        assert_eq!(policy.keep.age(Tier::HOUR), None);
        assert_eq!(policy.keep.bytes(Tier::MINUTE), Some(2 << 30));
        assert_eq!(policy.rules[0].keep.bytes(Tier::RAW), Some(4096));
        let calls = &policy.tables[0];
        assert_eq!(calls.table, "source_calls");
        assert_eq!(calls.keep.age(Tier::RAW), Some(Duration::from_secs(7 * DAY)));
        assert_eq!(calls.keep.bytes(Tier::RAW), Some(1 << 30));
        assert_eq!(policy.rules[0].keep.age(Tier::RAW), Some(Duration::from_secs(DAY)));
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(parse("").unwrap(), Policy::default());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, place, word) in [
            ("kepe = 1", "line 1, column 1", "unknown field `kepe`"),
            ("[keep]\nraw = \"15 dogs\"", "line 2, column 7", "15 dogs"),
            ("[keep]\nwar = \"1d\"", "line 2, column 1", "\"war\" is no tier"),
            ("tiers = [\"1m\", 7]", "line 1, column 16", "a string"),
            ("[[rules]]\nselector = 'a{'\nkeep = {}", "line 2, column 12", "selector"),
            ("[[rules]]\nselector = 'a'", "line 1, column 1", "missing field `keep`"),
            ("[[rules]]\nselector = 'a'\nkeep = {}\nwhy = 1", "line 4, column 1", "`why`"),
            ("bytes_max = -1", "line 1, column 13", "10GiB"),
            ("bytes_max = \"10 Gigs\"", "line 1, column 13", "10 Gigs"),
            ("bytes_max = 777777777777777777", "line 1, column 13", "777777777777777777"),
            ("lateness = ", "line 1, column 12", ""),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(place) && message.contains(word), "{text:?}: {message}");
        }
        let contradiction = parse("tiers = [\"1m\"]\n[keep]\n1h = \"1d\"").unwrap_err();
        assert!(contradiction.to_string().contains("no tier 1h"), "{contradiction}");
    }

    /// The page's example is a policy, and says all there is to say.
    #[test]
    fn the_documented_example_is_read() {
        let page = include_str!("../../docs/policy.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let policy = parse(example).unwrap();
        assert!(policy.rules.len() >= 2 && !policy.sketches.is_empty());
        assert!(policy.bytes_max.is_some() && policy.keep.limits().count() >= 3);
    }

    prop_compose! {
        fn keeps()(
            ages in prop::collection::btree_map(0_usize..5, 1_u64..1 << 34, 0..5),
            bytes in prop::collection::btree_map(0_usize..4, 0_u64..1 << 50, 0..4),
        ) -> Keep {
            let tiers = [Tier::RAW, Tier::MINUTE, Tier::FIVE_MINUTES, Tier::HOUR, Tier::DAY];
            let aged = ages.into_iter().fold(Keep::FOREVER, |keep, (tier, seconds)| {
                keep.with(tiers[tier], Duration::from_secs(seconds))
            });
            bytes.into_iter().fold(aged, |keep, (tier, bytes)| keep.with_bytes(tiers[tier], bytes))
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            keep in keeps(),
            rules in prop::collection::vec((".{0,12}", keeps()), 0..4),
            tables in prop::collection::btree_map(
                ".{1,9}",
                (prop::option::of(1_u64..1 << 34), prop::option::of(0_u64..1 << 50)),
                0..3,
            ),
            bytes_max in prop::option::of(0_u64..1 << 50),
            lateness in 0_u64..1 << 33,
        ) {
            let selector = |value: &str| {
                let matcher = crate::model::Matcher::new("l", crate::model::MatchOp::Equal, value);
                Selector::new(vec![matcher.unwrap()]).unwrap()
            };
            let policy = Policy {
                sketches: rules.iter().map(|(value, _)| selector(value)).collect(),
                keep,
                rules: rules
                    .into_iter()
                    .map(|(value, keep)| RetentionRule { selector: selector(&value), keep })
                    .collect(),
                tables: tables
                    .into_iter()
                    .map(|(table, (age, bytes))| {
                        let keep = Keep::FOREVER;
                        let keep = match age {
                            Some(age) => keep.with(Tier::RAW, Duration::from_secs(age)),
                            None => keep,
                        };
                        let keep = match bytes {
                            Some(bytes) => keep.with_bytes(Tier::RAW, bytes),
                            None => keep,
                        };
                        TableRule { table, keep }
                    })
                    .collect(),
                bytes_max,
                lateness: Duration::from_millis(lateness),
                ..Policy::default()
            };
            let text = to_text(&policy);
            prop_assert_eq!(parse(&text).unwrap(), policy, "{}", text);
        }
    }
}
