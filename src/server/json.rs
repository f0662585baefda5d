//! JSON as Prometheus writes it, straight into bytes: a range query's time is mostly spent here.

use super::number::{push_time, push_value};
use crate::promql::{Column, Labels, Run, Steps, is_absent};

/// A text with its quotes.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// `[...]` of what `push` writes for each item.
pub(super) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

/// A list of texts.
pub(super) fn push_texts<T: AsRef<str>>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = T>) {
    push_list(out, texts, |out, text| push_text(out, text.as_ref()));
}

/// `{"name":"value",...}`.
pub(super) fn push_pairs<'a>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    out.push(b'{');
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        push_text(out, value);
    }
    out.push(b'}');
}

/// `[time,"value"]`.
pub(super) fn push_sample(out: &mut Vec<u8>, nanos: i64, value: f64) {
    out.push(b'[');
    push_time(out, nanos);
    out.extend_from_slice(b",\"");
    push_value(out, value);
    out.extend_from_slice(b"\"]");
}

/// One series of an instant vector.
pub(super) fn push_element(out: &mut Vec<u8>, labels: &Labels, nanos: i64, value: f64) {
    out.extend_from_slice(b"{\"metric\":");
    push_pairs(out, labels.iter());
    out.extend_from_slice(b",\"value\":");
    push_sample(out, nanos, value);
    out.push(b'}');
}

/// One series of stored samples.
pub(super) fn push_run(out: &mut Vec<u8>, run: &Run) {
    out.extend_from_slice(b"{\"metric\":");
    push_pairs(out, run.labels.iter());
    out.extend_from_slice(b",\"values\":");
    let samples = run.timestamps.iter().zip(&run.values);
    push_list(out, samples, |out, (&nanos, &value)| push_sample(out, nanos, value));
    out.push(b'}');
}

/// The texts of a query's steps, written once: `,[time,"` each.
pub(super) struct StepTexts {
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl StepTexts {
    pub(super) fn new(steps: &Steps) -> Self {
        let (mut text, mut ends) = (Vec::new(), Vec::with_capacity(steps.len()));
        for time in steps.iter() {
            text.extend_from_slice(b",[");
            push_time(&mut text, time.nanos());
            text.extend_from_slice(b",\"");
            ends.push(text.len());
        }
        Self { text, ends }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| self.text.get(start..end).unwrap_or_default())
    }

    /// One series of a matrix: its labels, and a value for each step that has one.
    pub(super) fn push_column<'a>(
        &self,
        out: &mut Vec<u8>,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        values: &[f64],
    ) {
        out.extend_from_slice(b"{\"metric\":");
        push_pairs(out, labels);
        out.extend_from_slice(b",\"values\":");
        let begin = out.len();
        // Enough for most: a time, and a value of 20 characters.
        out.reserve(self.text.len() + values.len() * 24);
        for (step, &value) in self.iter().zip(values) {
            if is_absent(value) {
                continue;
            }
            out.extend_from_slice(step);
            push_value(out, value);
            out.extend_from_slice(b"\"]");
        }
        // The first comma is the list's beginning.
        match out.get_mut(begin) {
            Some(comma) => *comma = b'[',
            None => out.push(b'['),
        }
        out.extend_from_slice(b"]}");
    }

    /// As [`push_column`](Self::push_column).
    pub(super) fn push_series(&self, out: &mut Vec<u8>, column: &Column) {
        self.push_column(out, column.labels.iter(), &column.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::ABSENT;
    use crate::time::Timestamp;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_escaped() {
        let hostile = "a\"b\\c\nd\te\u{1}f\u{7f}é<&>";
        let written = text(|out| push_text(out, hostile));
        assert_eq!(written, "\"a\\\"b\\\\c\\nd\\te\\u0001f\u{7f}é<&>\"");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), hostile);
        assert_eq!(text(|out| push_text(out, "")), "\"\"");
    }

    #[test]
    fn a_column_leaves_out_what_is_absent() {
        let steps = Steps::new(Timestamp(0), Timestamp::from_secs(2), 500_000_000).unwrap();
        let texts = StepTexts::new(&steps);
        let labels = Labels::new([("__name__", "up"), ("job", "a")]);
        let column = Column { labels, values: vec![ABSENT, 1.0, f64::NAN, ABSENT, -0.5] };
        assert_eq!(
            text(|out| texts.push_series(out, &column)),
            r#"{"metric":{"__name__":"up","job":"a"},"values":[[0.500,"1"],[1,"NaN"],[2,"-0.5"]]}"#
        );
        let none = Column { labels: Labels::default(), values: vec![ABSENT; 5] };
        assert_eq!(text(|out| texts.push_series(out, &none)), r#"{"metric":{},"values":[]}"#);
    }
}
