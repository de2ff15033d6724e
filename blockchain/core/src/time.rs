//! An instant, to the microsecond, and the two ways a text becomes one.
//!
//! Everything that carries a time uses [`Timestamp`]; the clock itself is read elsewhere and handed
//! in. [`Timestamp::parse`] is generous (what clients send), [`parse_block_time`] is the format lock
//! of a block: since a block's hash joins its fields without separators, only one grammar for each
//! field keeps two blocks from sharing a pre-image.
//!
//! Invariant: a `Timestamp` lies in the years 1 to 9999, so its text always reads back.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 0001-01-01T00:00:00.
const FIRST: i64 = -719_162 * DAY;
/// 9999-12-31T23:59:59.999999.
const LAST: i64 = 2_932_897 * DAY - 1;

/// A text that is not the time it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeFault {
    /// Not a date and time at all, or one that no calendar has.
    #[error("{given:?} is not a time: write it like 2025-01-27T10:00:00Z")]
    NotATime {
        /// The beginning of what was given.
        given: String,
    },
    /// Perhaps a time, but not spelled the one way a block may spell it.
    #[error(
        "{given:?} is not a block's time: write YYYY-MM-DDTHH:MM:SS, then no fraction or six digits, \
         then nothing, Z or +00:00"
    )]
    NotABlockTime {
        /// The beginning of what was given.
        given: String,
    },
}

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that many microseconds after 1970, held within the years 1 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < FIRST {
            Self(FIRST)
        } else if micros > LAST {
            Self(LAST)
        } else {
            Self(micros)
        }
    }

    /// The instant that many microseconds after 1970, if it lies in the years 1 to 9999.
    pub fn from_micros_exactly(micros: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// How much later this instant is than `other`, in microseconds.
    pub const fn micros_since(self, other: Self) -> i64 {
        // Both lie within four digits of years, which is far from overflowing.
        self.0 - other.0
    }

    /// The instant so many seconds later (or earlier), held within the years 1 to 9999.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(SECOND)))
    }

    /// Its year, month and day, in UTC.
    pub fn date(self) -> (i64, i64, i64) {
        date(self.0.div_euclid(DAY))
    }

    /// Reads any ISO 8601 calendar date and time: extended or basic form, a date alone (its
    /// midnight), no offset (meaning UTC) or any, fraction digits beyond the sixth cut off.
    pub fn parse(text: &str) -> Result<Self, TimeFault> {
        let mut scan = Scan { rest: text.as_bytes() };
        match scan.iso8601() {
            Some(time) if scan.rest.is_empty() => Ok(time),
            _ => Err(TimeFault::NotATime { given: beginning(text) }),
        }
    }
}

/// Reads a block's timestamp: `YYYY-MM-DDTHH:MM:SS`, then no fraction or exactly six digits, then
/// nothing, `Z` or `+00:00`; a real date; no second 60.
pub fn parse_block_time(text: &str) -> Result<Timestamp, TimeFault> {
    let mut scan = Scan { rest: text.as_bytes() };
    match scan.block_time() {
        Some(time) if matches!(scan.rest, b"" | b"Z" | b"+00:00") => Ok(time),
        _ => Err(TimeFault::NotABlockTime { given: beginning(text) }),
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Takes digits and signs from the front of a text.
struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn eat(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        any_of.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    fn digit(&mut self) -> Option<i64> {
        self.eat(b"0123456789").map(|byte| i64::from(byte - b'0'))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |sum, _| Some(sum * 10 + self.digit()?))
    }

    /// A number below a bound: minutes, seconds, hours.
    fn below(&mut self, bound: i64) -> Option<i64> {
        self.number(2).filter(|value| *value < bound)
    }

    fn block_time(&mut self) -> Option<Timestamp> {
        let year = self.number(4)?;
        self.eat(b"-")?;
        let month = self.number(2)?;
        self.eat(b"-")?;
        let day = self.number(2)?;
        self.eat(b"T")?;
        let mut seconds = self.below(24)? * 3_600;
        self.eat(b":")?;
        seconds += self.below(60)? * 60;
        self.eat(b":")?;
        seconds += self.below(60)?;
        let fraction = match self.eat(b".") {
            Some(_) => self.number(6)?,
            None => 0,
        };
        Some(Timestamp(days(year, month, day)? * DAY + seconds * SECOND + fraction))
    }

    fn iso8601(&mut self) -> Option<Timestamp> {
        let year = self.number(4)?;
        let extended = self.eat(b"-").is_some();
        let month = self.number(2)?;
        if extended {
            self.eat(b"-")?;
        }
        let midnight = days(year, month, self.number(2)?)? * DAY;
        if self.rest.is_empty() {
            return Some(Timestamp(midnight));
        }
        self.eat(b"Tt ")?;
        let (seconds, had_seconds) = self.clock()?;
        let fraction = match self.eat(b".,") {
            Some(_) if had_seconds => self.fraction()?,
            Some(_) => return None,
            None => 0,
        };
        let micros = midnight + (seconds - self.offset()?) * SECOND + fraction;
        (FIRST..=LAST).contains(&micros).then_some(Timestamp(micros))
    }

    /// `HH`, `HH:MM`, `HHMM`, `HH:MM:SS` or `HHMMSS`, in seconds; and whether seconds were given.
    fn clock(&mut self) -> Option<(i64, bool)> {
        let mut seconds = self.below(24)? * 3_600;
        let extended = self.eat(b":").is_some();
        if !extended && !self.at_digit() {
            return Some((seconds, false));
        }
        seconds += self.below(60)? * 60;
        let more = if extended { self.eat(b":").is_some() } else { self.at_digit() };
        if more {
            seconds += self.below(60)?;
        }
        Some((seconds, more))
    }

    fn at_digit(&self) -> bool {
        self.rest.first().is_some_and(u8::is_ascii_digit)
    }

    /// One digit or more, as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let (mut micros, mut unit) = (self.digit()? * 100_000, 10_000);
        while let Some(digit) = self.digit() {
            micros += digit * unit;
            unit /= 10;
        }
        Some(micros)
    }

    /// Nothing or `Z` (zero), or a sign and `HH`, `HHMM`, `HH:MM`, `HHMMSS` or `HH:MM:SS`.
    fn offset(&mut self) -> Option<i64> {
        if self.rest.is_empty() || self.eat(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.eat(b"+-")? == b'-' { -1 } else { 1 };
        self.clock().map(|(seconds, _)| sign * seconds)
    }
}

/// Days since 1970-01-01 of a date that exists (proleptic Gregorian, years 1 to 9999).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if year < 1 || !(1..=length).contains(&day) {
        return None;
    }
    // The year starts in March, so that the leap day comes last.
    let shifted = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468)
}

/// The date that lies so many days after 1970-01-01: the inverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month < 3), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let within = self.0.rem_euclid(DAY);
        let (seconds, micros) = (within / SECOND, within % SECOND);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimeFault;

    fn from_str(text: &str) -> Result<Self, TimeFault> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
