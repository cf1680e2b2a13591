//! The date and time of a run, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: u64,
}

impl Moment {
    /// The present.
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { unix_seconds: since.as_secs() }
    }

    /// `2026-11-22T10:28:05Z`.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// `2026-11-22T10-28-05Z`: the same without colons, which some file systems and shells mind.
    pub fn file_name(self) -> String {
        self.rfc3339().replace(':', "-")
    }

    fn time(self) -> (u64, u64, u64) {
        let second = self.unix_seconds % 86_400;
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// Year, month, day. Years are counted from 1 March, so that the leap day comes last: the day of the year then
    /// fixes the month without a table, as 5 months are always 153 days. Example: 2024-02-29 is day 365 of the year
    /// that began on 2023-03-01.
    fn date(self) -> (u64, u64, u64) {
        const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;
        const DAYS_OF_400_YEARS: u64 = 146_097;
        let days = self.unix_seconds / 86_400 + DAYS_FROM_YEAR_0_TO_1970;
        let era = days / DAYS_OF_400_YEARS;
        let day_of_era = days % DAYS_OF_400_YEARS;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let (month, carry) = match month_from_march {
            0..=9 => (month_from_march + 3, 0),
            _ => (month_from_march - 9, 1),
        };
        (era * 400 + year_of_era + carry, month, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_right() {
        for (unix_seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment { unix_seconds }.rfc3339(), text);
        }
    }

    #[test]
    fn file_names_hold_no_colon() {
        assert!(!Moment::now().file_name().contains(':'));
    }
}
