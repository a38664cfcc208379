//! Packet time: nanoseconds since 1970-01-01T00:00:00Z, signed.
//!
//! The engine judges everything by the capture's own clock. Today's date is
//! known to the manifest alone, so nothing here can read the system clock.

use std::fmt;

/// A moment on the capture's clock, in nanoseconds since the Unix epoch (UTC).
///
/// Covers 1677 to 2262; captures that claim a time outside that range are
/// held at its border (see [`CaptureTime::from_unix`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaptureTime(i64);

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

impl CaptureTime {
    /// The earliest moment that can be held.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment that can be held.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds and nanoseconds since the epoch; saturates.
    pub const fn from_unix(seconds: i64, nanos: i64) -> Self {
        Self(
            seconds
                .saturating_mul(NANOS_PER_SECOND)
                .saturating_add(nanos),
        )
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Nanoseconds from `earlier` to `self`; negative when the clock ran
    /// backwards, saturating at the ends of `i64`.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `nanos` later; saturates.
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Calendar date and time of day in UTC:
    /// `(year, month 1-12, day 1-31, hour, minute, second, nanosecond)`.
    pub fn to_civil(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        let nanos = self.0.rem_euclid(NANOS_PER_SECOND) as u32;
        let days = seconds.div_euclid(86_400);
        let second_of_day = seconds.rem_euclid(86_400) as u32;
        // Days to proleptic Gregorian date, counting years from March so that
        // the leap day comes last (Howard Hinnant, "chrono-Compatible
        // Low-Level Date Algorithms", civil_from_days).
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (
            year,
            month,
            day,
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
            nanos,
        )
    }
}

impl fmt::Display for CaptureTime {
    /// RFC 3339 in UTC with all nine digits: `2026-11-22T13:04:05.000000001Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second, nanos) = self.to_civil();
        // By hand: every finding says two times, and the formatter's padding
        // takes ten times as long. Years have four digits, see above.
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: usize, digits: usize, mut number: u32| {
            let places = text.get_mut(at..at + digits).unwrap_or_default();
            for place in places.iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, u32::try_from(year).unwrap_or_default());
        for (at, number) in [(5, month), (8, day), (11, hour), (14, minute), (17, second)] {
            put(at, 2, number);
        }
        put(20, 9, nanos);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(nanos: i64, expected: &str) {
        assert_eq!(CaptureTime::from_nanos(nanos).to_string(), expected);
    }

    #[test]
    fn prints_rfc_3339_in_utc() {
        shows(0, "1970-01-01T00:00:00.000000000Z");
        shows(-1, "1969-12-31T23:59:59.999999999Z");
        shows(951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z");
        shows(1_459_367_043_348_758_000, "2016-03-30T19:44:03.348758000Z");
        shows(i64::MAX, "2262-04-11T23:47:16.854775807Z");
        shows(i64::MIN, "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn saturates_instead_of_wrapping() {
        assert_eq!(CaptureTime::from_unix(i64::MAX, 1), CaptureTime::MAX);
        assert_eq!(CaptureTime::MIN.nanos_since(CaptureTime::MAX), i64::MIN);
    }
}
