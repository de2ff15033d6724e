//! A span of a recording's time, as `cat`, `restore` and `prove` are given it.

use std::ops::Range;

use anyhow::Context as _;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::timeline::Span;
use lucid_data_chain::ops::sessions::read_timeline::find_span;
use lucid_data_chain::source::SessionSource;

use crate::output::Output;
use crate::place::ReadSessions;
use crate::when::{self, TimeOfDay};

/// `--from` and `--to`.
#[derive(Debug, Clone, clap::Args)]
pub struct Between {
    /// Only what was recorded at this time or later: 14:03, 14:03:30 (in this machine's
    /// zone, on the day when the recording began), or 2026-03-01T14:03:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// Only what was recorded before this time; a time of day that is not after `--from` is of the
    /// next day.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
}

/// The bytes of a span. That nobody knows when they came is said; they are handed out all the same.
fn bytes_of(
    source: &dyn SessionSource,
    span: &Span,
    output: &Output,
) -> anyhow::Result<Range<u64>> {
    let within = find_span(source, span)?.within;
    if within.is_doubtful() {
        output.warn(&format!(
            "time not known: the clock went back while this was recorded, so its times may be wrong by \
             {} s; whatever came in this time is among the bytes that follow, with what came around it",
            within.doubt_seconds()
        ));
    }
    Ok(within.bytes)
}

/// A time as it was given.
#[derive(Debug, Clone, Copy)]
enum Moment {
    OfDay(TimeOfDay),
    Full(Timestamp),
}

fn moment(text: &str) -> Result<Moment, String> {
    match TimeOfDay::parse(text) {
        Some(time) => Ok(Moment::OfDay(time)),
        None if text.contains(':') && text.len() <= 8 => {
            Err(format!("{text:?} is no time of day: write it like 14:03 or 14:03:30"))
        }
        None => when::moment(text).map(Moment::Full),
    }
}

impl Between {
    /// The span that is meant in this session; none, if neither end was given.
    pub fn in_session(
        &self,
        place: &dyn ReadSessions,
        id: &SessionId,
    ) -> anyhow::Result<Option<Span>> {
        if self.from.is_none() && self.to.is_none() {
            return Ok(None);
        }
        let started = place.session(id)?.started_at;
        let started = Timestamp::parse(&started)
            .with_context(|| format!("session {id} began at no time: {started:?}"))?;
        self.of(started).map(Some)
    }

    /// The bytes of the span that is meant in this session; none, if neither end was given. Where nothing
    /// was recorded, that is said, and is an error beyond the recording.
    pub fn bytes_in(
        &self,
        place: &dyn ReadSessions,
        source: &dyn SessionSource,
        output: &Output,
    ) -> anyhow::Result<Option<Range<u64>>> {
        let id = &source.shape().id;
        let Some(span) = self.in_session(place, id)? else { return Ok(None) };
        let bytes = bytes_of(source, &span, output)?;
        if bytes.is_empty() {
            let session = place.session(id)?;
            let (began, ended) = (session.started_at, session.ended_at.unwrap_or_default());
            let at = |text: &str| Timestamp::parse(text).map(|time| time.as_micros());
            let is_beyond = at(&began).is_ok_and(|began| span.to <= began)
                || at(&ended).is_ok_and(|ended| span.from > ended);
            let (from, to) = (when::shown(&began), when::shown(&ended));
            let goes = format!("session {id} goes from {from} to {to}");
            anyhow::ensure!(
                !is_beyond,
                "nothing was recorded then, since {goes}: give --from and --to in between"
            );
            output.note(&format!("nothing was recorded in that time; {goes}"));
        }
        Ok(Some(bytes))
    }

    fn of(&self, started: Timestamp) -> anyhow::Result<Span> {
        let at = |moment: Moment, after: Option<Timestamp>| match moment {
            Moment::OfDay(time) => time
                .on_day_of(started, after)
                .with_context(|| format!("no calendar has the day when it began, {started}")),
            Moment::Full(time) => Ok(time),
        };
        let begins = self.from.map(|from| at(from, None)).transpose()?;
        let ends = self.to.map(|to| at(to, begins)).transpose()?;
        let from = begins.map_or(i64::MIN, Timestamp::as_micros);
        let to = ends.map_or(i64::MAX, Timestamp::as_micros);
        anyhow::ensure!(from < to, "--to is not after --from: a span of time ends after it begins");
        Ok(Span { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &str, to: &str) -> Result<(String, String), String> {
        let started = Timestamp::parse("2026-03-01T23:50:10Z").unwrap();
        let between = Between { from: Some(moment(from)?), to: Some(moment(to)?) };
        let span = between.of(started).map_err(|error| error.to_string())?;
        let text = |micros| Timestamp::from_micros(micros).to_string();
        Ok((text(span.from), text(span.to)))
    }

    #[test]
    fn times_of_day_are_of_the_day_when_the_recording_began() {
        let wanted = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(
            span("23:50", "23:55:30.5"),
            wanted("2026-03-01T23:50:00.000000Z", "2026-03-01T23:55:30.500000Z")
        );
        assert_eq!(
            span("23:50", "00:10"),
            wanted("2026-03-01T23:50:00.000000Z", "2026-03-02T00:10:00.000000Z")
        );
        assert_eq!(
            span("2026-03-02T00:00:00+01:00", "23:59"),
            wanted("2026-03-01T23:00:00.000000Z", "2026-03-01T23:59:00.000000Z")
        );
        assert!(span("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z").unwrap_err().contains("--to"));
        for wrong in ["25:00", "14:60", "soon", "", "14"] {
            assert!(span(wrong, "23:00").is_err(), "{wrong}");
        }
    }
}
