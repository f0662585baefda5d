//! Writing Prometheus text.

use std::io::{self, Write};

use crate::integration::notation::ExactValue;
use crate::model::{Metadata, MetricKind, Series, is_stale};
use crate::time::Timestamp;

/// Writes Prometheus text with timestamps, series by series.
///
/// What the format cannot hold is refused or counted, never changed in silence: a timestamp that
/// is not of whole milliseconds is an error, stale markers are left out (in an exposition a
/// stale series is an absent one) and other NaNs lose their payload, both counted.
pub struct ExpositionWriter<W> {
    output: W,
    metric: Option<String>,
    stale_left_out: u64,
    nan_payloads_lost: u64,
}

impl<W: Write> ExpositionWriter<W> {
    /// Writes to `output`, unbuffered.
    pub fn new(output: W) -> Self {
        Self { output, metric: None, stale_left_out: 0, nan_payloads_lost: 0 }
    }

    /// Writes samples of one series; `values.len() == timestamps.len()`. Series of one metric
    /// come one after the other, as in the order of [`Series`].
    ///
    /// # Errors
    /// The output's own; `InvalidInput` for a timestamp that is not of whole milliseconds.
    pub fn write(
        &mut self,
        series: &Series,
        metadata: &Metadata,
        timestamps: &[i64],
        values: &[f64],
    ) -> io::Result<()> {
        if self.metric.as_deref() != Some(series.name()) {
            self.header(series, metadata)?;
            self.metric = Some(series.name().to_owned());
        }
        let text = series.to_string();
        for (&nanos, &value) in timestamps.iter().zip(values) {
            if nanos % 1_000_000 != 0 {
                let message = format!(
                    "{text} at {}: Prometheus text holds whole milliseconds; csv and jsonl are exact",
                    Timestamp(nanos)
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            if is_stale(value) {
                self.stale_left_out += 1;
                continue;
            }
            let value = if value.is_nan() && value.to_bits() != f64::NAN.to_bits() {
                self.nan_payloads_lost += 1;
                f64::NAN
            } else {
                value
            };
            writeln!(self.output, "{text} {} {}", ExactValue(value), nanos / 1_000_000)?;
        }
        Ok(())
    }

    fn header(&mut self, series: &Series, metadata: &Metadata) -> io::Result<()> {
        // The name as the series writes it, which is quoted where it must be.
        let bare = Series::new(series.name(), []).map_err(io::Error::other)?.to_string();
        let name = bare.trim_start_matches('{').trim_end_matches('}');
        if !metadata.help.is_empty() {
            let help = metadata.help.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(self.output, "# HELP {name} {help}")?;
        }
        let word = match metadata.kind {
            MetricKind::Untyped => "untyped",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Distribution => "histogram",
        };
        writeln!(self.output, "# TYPE {name} {word}")?;
        if !metadata.unit.is_empty() {
            writeln!(self.output, "# UNIT {name} {}", metadata.unit)?;
        }
        Ok(())
    }

    /// Stale markers left out so far.
    #[must_use]
    pub fn stale_left_out(&self) -> u64 {
        self.stale_left_out
    }

    /// NaNs written as the canonical one so far.
    #[must_use]
    pub fn nan_payloads_lost(&self) -> u64 {
        self.nan_payloads_lost
    }

    /// Flushes the output and gives it back.
    ///
    /// # Errors
    /// The output's own.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}
