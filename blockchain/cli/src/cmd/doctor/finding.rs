//! What one check found.

use lucid_core::time::Timestamp;
use lucid_core::words::many;
use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is as it should be.
    Ok,
    /// It cannot be told from here.
    NotKnown,
    /// It works, and should be looked at.
    Look,
    /// It has to be put right.
    Wrong,
}

impl State {
    const fn shown(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotKnown => "not known",
            Self::Look => "look",
            Self::Wrong => "WRONG",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// The folder, file or server that it was looked at in.
    pub of: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that needs no remedy.
    pub fn ok(check: &'static str, of: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check, of: of.into(), state: State::Ok, found: found.into(), remedy: None }
    }

    /// Something that is otherwise.
    pub fn new(
        state: State,
        (check, of): (&'static str, &str),
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Self { check, of: of.to_owned(), state, found: found.into(), remedy }
    }

    /// Something that a sentence with its remedy at the end says.
    pub fn said(state: State, (check, of): (&'static str, &str), sentence: &str) -> Self {
        let remedy = crate::remedy::at_end(sentence);
        let found = match remedy {
            Some(remedy) => sentence.strip_suffix(remedy).unwrap_or(sentence),
            None => sentence,
        };
        let found = found.trim_end_matches([' ', ':', ';']);
        Self::new(state, (check, of), found, remedy.unwrap_or_default())
    }

    /// As it is shown: one line, and one with the remedy.
    pub fn lines(&self) -> Vec<String> {
        let Self { check, of, state, found, remedy } = self;
        let mut lines = vec![format!("{:<9} {check:<12} {of}: {found}", state.shown())];
        lines.extend(remedy.iter().map(|remedy| format!("{:<22} -> {remedy}", "")));
        lines
    }
}

/// How long ago a time is, in words.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.micros_since(at) / 1_000_000).unwrap_or(0);
    match seconds {
        0..120 => format!("{} ago", many(seconds, "second")),
        120..7_200 => format!("{} ago", many(seconds / 60, "minute")),
        7_200..172_800 => format!("{} ago", many(seconds / 3_600, "hour")),
        _ => format!("{} ago", many(seconds / DAY, "day")),
    }
}

/// A day in seconds.
pub const DAY: u64 = 86_400;

/// Whether a time is more than so many days ago.
pub fn is_older(at: Timestamp, now: Timestamp, days: u64) -> bool {
    let seconds = i64::try_from(days.saturating_mul(DAY)).unwrap_or(i64::MAX);
    at.plus_seconds(seconds) < now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_at_the_end_of_a_sentence_stands_by_itself() {
        let sentence = "the clock is wrong; it is said: set the clock";
        let found = Finding::said(State::Wrong, ("clock", "here"), sentence);
        assert_eq!(found.found, "the clock is wrong; it is said");
        assert_eq!(found.remedy.as_deref(), Some("set the clock"));
        let lines = found.lines();
        assert_eq!(lines[0], "WRONG     clock        here: the clock is wrong; it is said");
        assert_eq!(lines[1].trim_start(), "-> set the clock");
    }

    #[test]
    fn ages_are_told_in_words() {
        let now = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        for (seconds, told) in [
            (1, "1 second ago"),
            (200, "3 minutes ago"),
            (10_000, "2 hours ago"),
            (864_000, "10 days ago"),
            (-5, "0 seconds ago"),
        ] {
            assert_eq!(ago(now.plus_seconds(-seconds), now), told);
        }
        assert!(is_older(now.plus_seconds(-86_401), now, 1));
        assert!(!is_older(now.plus_seconds(-86_399), now, 1));
    }
}
