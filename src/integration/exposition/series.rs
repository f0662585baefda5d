//! Reading a series as the formats write it: `name{label="value",...}`, and with quoted UTF-8
//! names `{"http.status",label="value"}` (Prometheus 3).

use std::borrow::Cow;

use crate::model::Series;

/// Bytes of `text` that are a series: the name, and the braces if any follow it (blanks between
/// them included). `None` where braces do not close. What the bytes say is not checked.
#[inline]
pub(super) fn series_end(text: &[u8]) -> Option<usize> {
    let name = text.iter().position(|&byte| matches!(byte, b' ' | b'\t' | b'{'));
    let name_end = name.unwrap_or(text.len());
    let rest = text.get(name_end..).unwrap_or_default();
    let blanks = blanks(rest);
    let open = name_end + blanks;
    if text.get(open) != Some(&b'{') {
        return Some(name_end);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

pub(super) fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Reads a series. Not [`Series::parse`], which reads Go's escapes as PromQL has them: here a
/// backslash before anything but `\\`, `"` and `n` stands for itself.
///
/// # Errors
/// Says what is wrong, for people: the grammar, or a rule of names and labels.
pub(super) fn parse_series(text: &str) -> Result<Series, String> {
    let text = text.trim_matches([' ', '\t']);
    let (bare, mut rest) = match text.find('{') {
        Some(open) => text.split_at_checked(open).unwrap_or((text, "")),
        None => (text, ""),
    };
    let bare = bare.trim_end_matches([' ', '\t']);
    if !bare.is_empty() && !is_bare(bare, true) {
        return Err("the metric name needs quotes".to_owned());
    }
    let mut name = (!bare.is_empty()).then_some(Cow::Borrowed(bare));
    let mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = skip_blanks(inside);
        while !rest.starts_with('}') {
            let (label, quoted) = take_name(&mut rest)?;
            if let Some(after) = skip_blanks(rest).strip_prefix('=') {
                rest = skip_blanks(after);
                labels.push((label, take_quoted(&mut rest)?));
            } else if quoted && name.is_none() && labels.is_empty() {
                name = Some(label);
            } else {
                return Err("a label needs = and a value".to_owned());
            }
            rest = skip_blanks(rest);
            match rest.strip_prefix(',') {
                Some(after) => rest = skip_blanks(after),
                None if rest.starts_with('}') => {}
                None => return Err("expected , or } after a label".to_owned()),
            }
        }
        if rest != "}" {
            return Err("text after the closing brace".to_owned());
        }
    }
    let name = name.ok_or("there is no metric name")?;
    Series::new(&name, labels.iter().map(|(label, value)| (&**label, &**value)))
        .map_err(|error| error.to_string())
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn is_bare(name: &str, colons: bool) -> bool {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    let mut chars = name.chars();
    chars.next().is_some_and(head) && chars.all(|c| head(c) || c.is_ascii_digit())
}

/// A name inside the braces, and whether it was quoted.
fn take_name<'a>(rest: &mut &'a str) -> Result<(Cow<'a, str>, bool), String> {
    if rest.starts_with('"') {
        return Ok((take_quoted(rest)?, true));
    }
    let end = rest.find(['=', ',', '}', ' ', '\t', '"']).unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if !is_bare(name, false) {
        return Err("a label name needs quotes, or is missing".to_owned());
    }
    *rest = after;
    Ok((Cow::Borrowed(name), false))
}

/// A quoted text, with `\\`, `\"` and `\n` read; a backslash before anything else stands for
/// itself, as in Prometheus' own parser.
fn take_quoted<'a>(rest: &mut &'a str) -> Result<Cow<'a, str>, String> {
    let inside = rest.strip_prefix('"').ok_or("expected a quoted text")?;
    let mut escaped = false;
    let end = inside
        .bytes()
        .position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })
        .ok_or("a quote does not close")?;
    let (text, after) = inside.split_at_checked(end).ok_or("a quote does not close")?;
    *rest = after.get(1..).unwrap_or_default();
    Ok(unescape(text))
}

/// With `\\`, `\"` and `\n` read; a backslash before anything else stands for itself.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(&next @ ('\\' | '"'))) => out.push(next),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn series_of_all_spellings() {
        let display = |text| parse_series(text).map(|series| series.to_string());
        let plain = Ok("up{a=\"1\",b=\"2\"}".to_owned());
        for text in [
            r#"up{a="1",b="2"}"#,
            r#"up{b="2",a="1"}"#,
            r#"up { a = "1" , b="2", }"#,
            r#"{"up",a="1","b"="2"}"#,
        ] {
            assert_eq!(display(text), plain, "{text}");
        }
        assert_eq!(display("up"), Ok("up".to_owned()));
        assert_eq!(display("up{}"), Ok("up".to_owned()));
        assert_eq!(parse_series(r#"f{p="C:\\x\n\"q\"\d"}"#).unwrap().label("p"), "C:\\x\n\"q\"\\d");
        assert_eq!(parse_series(r#"{"http.status","a.b"="é"}"#).unwrap().label("a.b"), "é");
    }

    #[test]
    fn what_is_not_a_series_is_refused() {
        for text in [
            "",
            "{}",
            "{a=\"1\"}",
            "up{",
            "up{a}",
            "up{a=1}",
            "up{a=\"1\"",
            "up{a=\"1}",
            "a.b",
            "up{a=\"1\"}x",
            "up{a=\"1\" b=\"2\"}",
            "up{a=\"1\",a=\"2\"}",
            "up{__name__=\"x\"}",
            "up{,}",
            "{\"up\",\"down\"}",
            "up{\"down\"}",
            "1up",
        ] {
            assert!(parse_series(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn the_end_of_a_series_is_found_behind_quotes() {
        let end = |text: &str| series_end(text.as_bytes());
        assert_eq!(end("up 1"), Some(2));
        assert_eq!(end("up"), Some(2));
        assert_eq!(end("up {a=\"} \\\" }\"} 1"), Some(15));
        assert_eq!(end("up{a=\"x 1"), None);
    }

    proptest! {
        #[test]
        fn what_a_series_displays_as_is_read_back(
            name in "[a-z.é]{1,8}",
            labels in proptest::collection::btree_map("[a-zA-Z_.\" ]{1,6}", "[ -~\n\\\\é]{1,8}", 0..5),
        ) {
            let labels = labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
            let series = Series::new(&name, labels).unwrap();
            let text = series.to_string();
            prop_assert_eq!(parse_series(&text), Ok(series));
            prop_assert_eq!(series_end(text.as_bytes()), Some(text.len()));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_series(&text);
            let _ = series_end(text.as_bytes());
        }
    }
}
