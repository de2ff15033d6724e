//! Times as people write and read them: in the zone of this machine (`TZ`, else what the system is set to), which is
//! shown. What is stored, sent and printed as JSON is UTC.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan as _, ZonedDateTime};
use lucid_core::time::Timestamp;

/// Reads a moment: `2026-03-01T14:03:30Z` or with another zone; or `2026-03-01`, `2026-03-01 14:03` and the like, of
/// this machine's zone. A day means its beginning.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    moment_in(text, &TimeZone::system())
}

fn moment_in(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{text:?} is no time: write it like 2026-03-01, \"2026-03-01 14:03\" or 2026-03-01T14:03:30+01:00"
        )
    };
    if let Ok(instant) = text.parse::<Instant>() {
        return Ok(Timestamp::from_micros(instant.as_microsecond()));
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    let zoned = local.to_zoned_datetime(zone.clone()).map_err(|_| wrong())?;
    Ok(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
}

/// A time of day, in this machine's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(jiff::civil::Time);

impl TimeOfDay {
    /// Reads `14:03` or `14:03:30`; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        // The parser would take 14 for an hour, and this is to be told from a number.
        let is_one = text.contains(':') && !text.contains(['-', '+', 'T', 'Z']);
        is_one.then(|| text.parse().ok().map(Self)).flatten()
    }

    /// When it was, on the day of that moment or the next one: the first time that it was after `after`, where that
    /// is said.
    pub fn on_day_of(self, moment: Timestamp, after: Option<Timestamp>) -> Option<Timestamp> {
        self.on_day_in(moment, after, &TimeZone::system())
    }

    fn on_day_in(
        self,
        moment: Timestamp,
        after: Option<Timestamp>,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let day = zoned(moment, zone)?.date();
        let at = |day: jiff::civil::Date| {
            let zoned = day.to_datetime(self.0).to_zoned_datetime(zone.clone()).ok()?;
            Some(Timestamp::from_micros(zoned.timestamp().as_microsecond()))
        };
        let that_day = at(day)?;
        match after.is_some_and(|after| that_day <= after) {
            true => at(day.checked_add(1.day()).ok()?),
            false => Some(that_day),
        }
    }
}

/// A time of a reply, to the second, as it was in this machine's zone: `2026-03-01T15:03:30+01:00`, which can be given
/// back as it stands. What is no time stays as it is.
pub fn shown(text: &str) -> String {
    match Timestamp::parse(text) {
        Ok(time) => shown_time(time),
        Err(_) => text.to_owned(),
    }
}

/// A time, to the second, as [`shown`].
pub fn shown_time(time: Timestamp) -> String {
    shown_in(time, &TimeZone::system())
}

fn shown_in(time: Timestamp, zone: &TimeZone) -> String {
    let Some(zoned) = zoned(time, zone) else { return time.to_string() };
    let zone = match zoned.offset().is_zero() {
        true => "Z".to_owned(),
        false => zoned.strftime("%:z").to_string(),
    };
    format!("{}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn zoned(time: Timestamp, zone: &TimeZone) -> Option<ZonedDateTime> {
    let instant = Instant::from_microsecond(time.as_micros()).ok()?;
    Some(instant.to_zoned_datetime(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour ahead of UTC in winter, and two in summer.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn a_time_without_a_zone_is_of_this_one() {
        for (given, utc) in [
            ("2026-03-01", "2026-02-28T23:00:00.000000Z"),
            ("2026-07-01", "2026-06-30T22:00:00.000000Z"),
            ("2026-03-01T14:03", "2026-03-01T13:03:00.000000Z"),
            ("2026-03-01 14:03:30.5", "2026-03-01T13:03:30.500000Z"),
            ("2026-03-01T14:03:30Z", "2026-03-01T14:03:30.000000Z"),
            ("2026-03-01T14:03:30-05:00", "2026-03-01T19:03:30.000000Z"),
            // The hour that there is twice means the first, and the one that there is not its end.
            ("2026-10-25 02:30", "2026-10-25T00:30:00.000000Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:00.000000Z"),
        ] {
            assert_eq!(
                moment_in(given, &berlin()).map(|time| time.to_string()),
                Ok(utc.to_owned())
            );
        }
        for wrong in ["", "soon", "14:03", "2026-13-01", "2026-03-01T25:00", "2026", "-1"] {
            let said = moment_in(wrong, &berlin()).unwrap_err();
            assert!(said.contains("write it like"), "{said}");
        }
    }

    #[test]
    fn what_is_shown_tells_its_zone_and_can_be_given_back() {
        let time = Timestamp::parse("2026-07-01T22:30:05.75Z").unwrap();
        assert_eq!(shown_in(time, &berlin()), "2026-07-02T00:30:05+02:00");
        assert_eq!(shown_in(time, &TimeZone::UTC), "2026-07-01T22:30:05Z");
        let half = TimeZone::posix("<+0530>-5:30").unwrap();
        assert_eq!(shown_in(time, &half), "2026-07-02T04:00:05+05:30");
        let back = moment_in("2026-07-02T00:30:05+02:00", &half).unwrap();
        assert_eq!(back.to_string(), "2026-07-01T22:30:05.000000Z");
        // What no calendar has is told all the same.
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(shown_in(end, &berlin()), end.to_string());
        assert_eq!(shown("never"), "never");
    }

    #[test]
    fn a_time_of_day_is_of_the_day_that_is_meant_here() {
        // Half past midnight of the second, in Berlin.
        let began = Timestamp::parse("2026-07-01T22:30:05Z").unwrap();
        let at = |text: &str, after| {
            let time = TimeOfDay::parse(text).unwrap().on_day_in(began, after, &berlin()).unwrap();
            time.to_string()
        };
        assert_eq!(at("00:31", None), "2026-07-01T22:31:00.000000Z");
        assert_eq!(at("23:00", None), "2026-07-02T21:00:00.000000Z");
        assert_eq!(at("00:31:30.5", Some(began)), "2026-07-01T22:31:30.500000Z");
        assert_eq!(at("00:30", Some(began)), "2026-07-02T22:30:00.000000Z");
        for wrong in ["25:00", "14:60", "soon", "", "14", "2026-03-01"] {
            assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
        }
    }
}
