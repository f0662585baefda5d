//! Lines of bounded length from any byte stream, without copying them out of the read buffer.

use std::io::{self, Read};

/// First size of the buffer, and the smallest read asked of the input, bytes.
const BUFFER_BYTES: usize = 256 * 1024;

pub(crate) enum Line<'a> {
    /// Without its line end (`\n` or `\r\n`).
    Text(&'a [u8]),
    /// Passed over.
    TooLong,
}

pub(crate) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// `buffer[start..end]` is read and not yet handed out.
    start: usize,
    end: usize,
    line_bytes_max: usize,
    number: u64,
    at_end: bool,
}

impl<R: Read> LineReader<R> {
    /// Memory stays below `2 * line_bytes_max + 256 KiB`.
    pub(crate) fn new(input: R, line_bytes_max: usize) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { input, buffer, start: 0, end: 0, line_bytes_max, number: 0, at_end: false }
    }

    /// Number of the line handed out last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut searched = 0;
        let mut too_long = false;
        let (line, next) = loop {
            let unread = self.buffer.get(self.start..self.end).unwrap_or_default();
            let found = memchr::memchr(b'\n', unread.get(searched..).unwrap_or_default());
            match found {
                Some(at) => break (self.start..self.start + searched + at, searched + at + 1),
                None if self.at_end && unread.is_empty() && !too_long => return Ok(None),
                None if self.at_end => break (self.start..self.end, unread.len()),
                None => searched = unread.len(),
            }
            if searched > self.line_bytes_max {
                (self.start, self.end, searched, too_long) = (0, 0, 0, true);
            }
            self.fill()?;
        };
        self.start += next;
        self.number += 1;
        if too_long || line.len() > self.line_bytes_max {
            return Ok(Some(Line::TooLong));
        }
        let text = self.buffer.get(line).unwrap_or_default();
        Ok(Some(Line::Text(text.strip_suffix(b"\r").unwrap_or(text))))
    }

    /// Reads once more behind what is unread, which moves to the front of the buffer.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() - self.end < BUFFER_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.at_end = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out `step` bytes at a time, so that lines straddle reads.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn lines(text: &[u8], step: usize, max: usize) -> Vec<Option<Vec<u8>>> {
        let mut reader = LineReader::new(Trickle(text, step), max);
        let mut out = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            out.push(match line {
                Line::Text(text) => Some(text.to_vec()),
                Line::TooLong => None,
            });
        }
        assert_eq!(reader.number(), out.len() as u64);
        out
    }

    #[test]
    fn lines_do_not_depend_on_how_the_input_is_cut() {
        let text = b"one\r\n\ntwo three\nlast";
        let expected: Vec<Option<Vec<u8>>> =
            [&b"one"[..], b"", b"two three", b"last"].map(|l| Some(l.to_vec())).to_vec();
        for step in 1..text.len() + 1 {
            assert_eq!(lines(text, step, 100), expected, "step {step}");
        }
        assert_eq!(lines(b"", 1, 100), Vec::<Option<Vec<u8>>>::new());
        assert_eq!(lines(b"\n", 1, 100), vec![Some(Vec::new())]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_passed_over_and_the_next_is_read() {
        for step in [1, 2, 3, 5, 64] {
            assert_eq!(
                lines(b"0123456789abcdefghij\nok\n0123456789abcdefghij", step, 10),
                vec![None, Some(b"ok".to_vec()), None],
                "step {step}"
            );
        }
    }
}
