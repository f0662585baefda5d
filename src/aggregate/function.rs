//! What a finished aggregate answers.

use std::fmt;
use std::str::FromStr;

use super::accumulator::{Accumulator, Needs};
use crate::error::{Error, Result};

/// A function over the samples of one window, of one series or of several pooled.
///
/// Written as the lower-case name; quantiles as `p99`, `p99.9` or `quantile(0.99)`. Stale markers
/// are left out; other NaNs count, make sum, average and deviation NaN, and are passed over by
/// `min`, `max` and quantiles unless there is nothing else.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// Samples.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The value of the earliest sample; of several series', the first series' at equal times.
    First,
    /// The value of the latest sample; of several series', the last series' at equal times.
    Last,
    /// The population's standard deviation.
    Stddev,
    /// The population's variance.
    Variance,
    /// Increase per second of the window's length, whether or not samples fill it.
    Rate,
    /// Growth of a counter, a fall taken as a reset to zero; several series' add up. The step from
    /// the last sample before the window belongs to it where the request's range holds that
    /// sample, so the increases of all windows add up to the increase of the whole range.
    Increase,
    /// Growth of a counter a second over the last step of the window, a fall taken as a reset to
    /// zero; several series' add up. NaN where no series has two samples.
    Irate,
    /// The last value of the window less the first, of a gauge; several series' add up.
    Delta,
    /// The slope a second of the least squares line through the window's samples (Prometheus'
    /// `simple_linear_regression`); several series' add up. NaN where no series has two samples.
    Deriv,
    /// The exact quantile, `0 <= q <= 1`, linear between order statistics.
    Quantile(f64),
}

impl Function {
    /// The functions that are only a name.
    const NAMED: [(&'static str, Self); 14] = [
        ("count", Self::Count),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("first", Self::First),
        ("last", Self::Last),
        ("stddev", Self::Stddev),
        ("variance", Self::Variance),
        ("rate", Self::Rate),
        ("increase", Self::Increase),
        ("irate", Self::Irate),
        ("delta", Self::Delta),
        ("deriv", Self::Deriv),
    ];

    /// What a fold must compute so that all of the functions can be answered.
    #[must_use]
    pub fn needs(functions: &[Self]) -> Needs {
        let mut needs = Needs::default();
        for function in functions {
            match function {
                Self::Min | Self::Max => needs.extremes = true,
                Self::Rate | Self::Increase => needs.increase = true,
                Self::Stddev | Self::Variance => needs.moments = true,
                Self::Delta => needs.delta = true,
                Self::Irate | Self::Deriv => needs.line = true,
                Self::Quantile(_) => needs.values = true,
                Self::First | Self::Last => needs.ends = true,
                Self::Count | Self::Sum | Self::Avg => {}
            }
        }
        needs
    }

    /// The answer for a window of `seconds`, NaN where it holds no sample (but a count of 0).
    /// Quantiles come from `values`, the window's values in any order, NaNs not needed; they are
    /// reordered.
    #[must_use]
    pub fn finish(self, window: &Accumulator, values: &mut Vec<f64>, seconds: f64) -> f64 {
        let partial = &window.partial;
        match self {
            Self::Count => partial.count as f64,
            _ if partial.count == 0 => f64::NAN,
            Self::Sum => partial.sum,
            Self::Avg => partial.sum / partial.count as f64,
            Self::Min => partial.min,
            Self::Max => partial.max,
            Self::First => partial.first.value,
            Self::Last => partial.last.value,
            Self::Stddev => window.stddev(),
            Self::Variance => window.variance(),
            Self::Rate => partial.increase / seconds,
            Self::Increase => partial.increase,
            Self::Irate => window.trend.irate,
            Self::Delta => window.trend.delta,
            Self::Deriv => window.trend.slope,
            Self::Quantile(q) => super::quantile(q, values),
        }
    }

    /// Whether the function is well-formed: a quantile lies within 0 and 1.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where not.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Quantile(q) if !(0.0..=1.0).contains(&q) => {
                Err(invalid(format!("quantile {q} is not between 0 and 1")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Quantile(q) = *self {
            // Ten decimals of a percent hide the rounding of the product, and no more.
            let percent = format!("{}", (q * 1e12).round() / 1e10);
            return match percentile(&percent) {
                Some(same) if same == q => write!(f, "p{percent}"),
                _ => write!(f, "quantile({q})"),
            };
        }
        let name = Self::NAMED.iter().find(|(_, function)| function == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// The quantile of a percentage written in decimal; the point is moved in the text, since 99.9
/// has no exact double to divide.
fn percentile(percent: &str) -> Option<f64> {
    let decimal = !percent.is_empty() && percent.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if decimal { format!("{percent}e-2").parse().ok() } else { None }
}

impl FromStr for Function {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidArgument`] where the text names no function or a quantile lies outside 0
    /// and 1.
    ///
    /// ```
    /// # use icecore::aggregate::Function;
    /// assert_eq!("p99.9".parse::<Function>()?, Function::Quantile(0.999));
    /// assert_eq!(Function::Quantile(0.999).to_string(), "p99.9");
    /// # Ok::<(), icecore::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self> {
        if let Some(&(_, function)) = Self::NAMED.iter().find(|&&(name, _)| name == text) {
            return Ok(function);
        }
        let quantile = match text.strip_prefix("quantile(").and_then(|rest| rest.strip_suffix(')'))
        {
            Some(q) => q.trim().parse().ok(),
            None => text.strip_prefix('p').and_then(percentile),
        };
        let Some(q) = quantile else {
            let known: Vec<&str> = Self::NAMED.iter().map(|&(name, _)| name).collect();
            let shown: String = text.chars().take(40).collect();
            return Err(invalid(format!(
                "{shown:?} is none of {}, p99, quantile(0.99)",
                known.join(", ")
            )));
        };
        let function = Self::Quantile(q);
        function.check()?;
        Ok(function)
    }
}

fn invalid(reason: String) -> Error {
    Error::InvalidArgument { what: "function", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in [
            "count", "avg", "rate", "variance", "irate", "deriv", "delta", "p50", "p99", "p99.9",
            "p7", "p0", "p100", "p99.99",
        ] {
            assert_eq!(text.parse::<Function>().unwrap().to_string(), text);
        }
        let third = Function::Quantile(1.0 / 3.0);
        assert_eq!(third.to_string().parse::<Function>().unwrap(), third);
        assert_eq!("quantile( 0.5 )".parse::<Function>().unwrap().to_string(), "p50");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "p", "p101", "p-1", "pinf", "p1e1", "quantile(2)", "quantile(NaN)", "median"]
        {
            let refused = text.parse::<Function>();
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{text}: {refused:?}");
        }
    }
}
