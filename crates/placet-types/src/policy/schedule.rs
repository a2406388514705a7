//! `schedule:` of a rule: at which times of the week it applies. Owns the calendar arithmetic; a zone
//! is a fixed distance from UTC, so the same instant gives the same answer on every machine.

use crate::ids::TimeMs;
use alloc::collections::BTreeSet;

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weekday {
    /// `mon`
    Mon,
    /// `tue`
    Tue,
    /// `wed`
    Wed,
    /// `thu`
    Thu,
    /// `fri`
    Fri,
    /// `sat`
    Sat,
    /// `sun`
    Sun,
}

impl Weekday {
    /// All days, Monday first.
    pub const ALL: [Self; 7] =
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// `mon` to `sun`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    /// Parses the three letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|day| day.as_str() == text)
    }
}

/// Minutes of a day.
const DAY_MINUTES: i64 = 24 * 60;

/// Times of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Days on which it begins; never empty.
    pub days: BTreeSet<Weekday>,
    /// Minute of the day from which on, 0 to 1439.
    pub from: u32,
    /// Minute of the day before which, 1 to 1440; not after `from`: until that minute of the next day.
    pub until: u32,
    /// Minutes east of UTC, from -840 to 840.
    pub offset_minutes: i32,
}

impl Schedule {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, now: TimeMs) -> bool {
        let minutes = i64::try_from(now.0 / 60_000).unwrap_or(i64::MAX);
        let local = minutes.saturating_add(i64::from(self.offset_minutes));
        let minute = local.rem_euclid(DAY_MINUTES);
        let day = local.div_euclid(DAY_MINUTES);
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        if from < until {
            return self.has(day) && (from..until).contains(&minute);
        }
        // Over midnight: the evening of one of the days, or the morning after it.
        (self.has(day) && minute >= from) || (self.has(day.saturating_sub(1)) && minute < until)
    }

    /// Days since 1970-01-01, a Thursday.
    fn has(&self, day: i64) -> bool {
        let at = usize::try_from(day.saturating_add(3).rem_euclid(7)).unwrap_or(0);
        Weekday::ALL.get(at).is_some_and(|weekday| self.days.contains(weekday))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21, a Saturday, 00:00 UTC.
    const SATURDAY: u64 = 1_795_219_200_000;
    const HOUR: u64 = 3_600_000;

    fn at(schedule: &Schedule, hours: u64) -> bool {
        schedule.contains(TimeMs(SATURDAY + hours * HOUR))
    }

    #[test]
    fn hours_of_days() {
        let days = [Weekday::Sat].into();
        let office = Schedule { days, from: 9 * 60, until: 17 * 60, offset_minutes: 0 };
        assert!(!at(&office, 8) && at(&office, 9) && at(&office, 16) && !at(&office, 17));
        assert!(!at(&office, 24 + 10));
        let east = Schedule { offset_minutes: 120, ..office.clone() };
        assert!(at(&east, 7) && !at(&east, 15));
        let west = Schedule { offset_minutes: -600, ..office };
        assert!(!at(&west, 9) && at(&west, 19) && at(&west, 26));
    }

    #[test]
    fn nights_belong_to_the_day_on_which_they_begin() {
        let days = [Weekday::Sat].into();
        let night = Schedule { days, from: 22 * 60, until: 6 * 60, offset_minutes: 0 };
        assert!(!at(&night, 3) && at(&night, 23) && at(&night, 24 + 5) && !at(&night, 24 + 6));
        let whole = Schedule { from: 0, until: 1440, ..night };
        assert!(at(&whole, 0) && at(&whole, 23) && !at(&whole, 24));
    }
}
