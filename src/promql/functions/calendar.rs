//! Parts of dates: values are seconds since the epoch, in UTC.

use super::math::map;

const SECONDS_PER_DAY: i64 = 86_400;

/// What of a date is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::promql) enum Part {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl Part {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day_of_week" => Self::DayOfWeek,
            "day_of_month" => Self::DayOfMonth,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    pub(super) fn apply(self, values: &mut [f64]) {
        map(values, |value| self.of(value as i64) as f64);
    }

    fn of(self, seconds: i64) -> i64 {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil(days);
        match self {
            Self::Minute => of_day / 60 % 60,
            Self::Hour => of_day / 3600,
            // The epoch was a Thursday; Sunday is 0.
            Self::DayOfWeek => (days + 4).rem_euclid(7),
            Self::DayOfMonth => day,
            Self::DayOfYear => days - days_before(year, 1) + 1,
            Self::DaysInMonth => {
                let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                days_before(next_year, next) - days_before(year, month)
            }
            Self::Month => month,
            Self::Year => year,
        }
    }
}

/// Year, month and day of month of a day since the epoch: Howard Hinnant's `civil_from_days`, by
/// years that begin in March, of eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since the epoch on which a month begins: Hinnant's `days_from_civil`.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_known_dates() {
        // 2016-02-29T10:13:20Z, a leap day and Monday; 1969-12-31T23:59:59Z, a Wednesday.
        let parts = |seconds| {
            use Part as P;
            let parts = [P::Year, P::Month, P::DayOfMonth, P::Hour, P::Minute, P::DayOfWeek];
            parts.map(|part| part.of(seconds))
        };
        assert_eq!(parts(1_456_740_800), [2016, 2, 29, 10, 13, 1]);
        assert_eq!(parts(-1), [1969, 12, 31, 23, 59, 3]);
        assert_eq!(Part::DaysInMonth.of(1_456_740_800), 29);
        assert_eq!(Part::DayOfYear.of(1_456_740_800), 60);
        assert_eq!(Part::DayOfYear.of(-1), 365);
        assert_eq!(Part::DaysInMonth.of(-1), 31);
    }

    #[test]
    fn no_number_of_seconds_overflows() {
        for part in [Part::DayOfYear, Part::DaysInMonth, Part::Year, Part::DayOfWeek] {
            let mut values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
            part.apply(&mut values);
        }
    }
}
