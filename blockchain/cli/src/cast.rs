//! Recordings of terminals, as they are played and made: asciicast (versions 2 and 3) is read here and made in
//! [`writing`], what `script` and sudo write is read in [`script`].
//!
//! Whatever is read here may be cut short anywhere, since its recorder may have been killed: what is whole before that
//! is told, and then why there is no more.

pub mod script;
pub mod writing;

use std::io::{BufRead, Read as _};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a line: more than any program writes at once.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Something that happened, and how long after what happened before.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// How long after.
    pub after: Duration,
    /// What.
    pub event: Event,
}

/// What happens in a terminal.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something was written to it.
    Output(Vec<u8>),
    /// It got another size: columns and rows.
    Resized(u16, u16),
    /// The program ended.
    Ended,
    /// Something that is not seen: a key, a mark.
    Unseen,
}

/// Why there are no more moments, though it does not end here.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// What follows is none.
    #[error("{0}")]
    Cut(String),
    /// It cannot be read.
    #[error(transparent)]
    Unread(#[from] anyhow::Error),
}

/// What the first line of an asciicast says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    /// How large the terminal was, as columns and rows, if it is said.
    pub size: Option<(u16, u16)>,
    /// No pause is to be longer than so many seconds.
    pub idle_limit: Option<f64>,
}

/// The head as it stands in either version; other members are passed over.
#[derive(Debug, Deserialize)]
struct AnyHead {
    version: u64,
    width: Option<u16>,
    height: Option<u16>,
    term: Option<Term>,
    idle_time_limit: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Term {
    cols: u16,
    rows: u16,
}

/// An asciicast.
pub struct Cast<R> {
    lines: R,
    /// What its head says.
    pub head: Head,
    /// Whether times are counted from the beginning, and not from the event before: version 2.
    is_absolute: bool,
    /// When the last event was, in seconds.
    at: f64,
    /// The number of the last line.
    line: u64,
}

impl<R: BufRead> Cast<R> {
    /// Reads the head; `None` if this is no asciicast.
    pub fn open(mut lines: R) -> anyhow::Result<Option<Self>> {
        let mut line = Vec::new();
        lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let Ok(said) = serde_json::from_slice::<AnyHead>(&line) else { return Ok(None) };
        anyhow::ensure!(
            matches!(said.version, 2 | 3),
            "it is an asciicast of version {}, and only versions 2 and 3 are played: write it anew with `asciinema \
             convert`",
            said.version
        );
        let flat = said.width.zip(said.height);
        let size = said.term.map(|term| (term.cols, term.rows)).or(flat);
        let idle_limit = said.idle_time_limit.filter(|limit| *limit > 0.0);
        let head = Head { size, idle_limit };
        Ok(Some(Self { lines, head, is_absolute: said.version == 2, at: 0.0, line: 1 }))
    }

    /// The next line that is no remark; `None` at the end.
    fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            let mut some = self.lines.by_ref().take(LINE_BYTES_MAX);
            if some.read_until(b'\n', &mut line).context("the recording cannot be read")? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let is_remark = line.starts_with(b"#") || line.trim_ascii().is_empty();
            if !is_remark {
                return Ok(Some(line));
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Option<Moment> {
        let (time, code, data): (f64, String, Value) = serde_json::from_slice(line).ok()?;
        let after = if self.is_absolute { (time - self.at).max(0.0) } else { time };
        let after = Duration::try_from_secs_f64(after).ok()?;
        self.at = time;
        let text = data.as_str();
        let event = match code.as_str() {
            "o" => Event::Output(text?.as_bytes().to_vec()),
            "r" => {
                let (columns, rows) = text?.split_once('x')?;
                Event::Resized(columns.parse().ok()?, rows.parse().ok()?)
            }
            "x" => Event::Ended,
            _ => Event::Unseen,
        };
        Some(Moment { after, event })
    }
}

impl<R: BufRead> Iterator for Cast<R> {
    type Item = Result<Moment, Stop>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.next_line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error.into())),
        };
        let read = self.read(&line);
        let why = || Stop::Cut(format!("its line {} is no event of an asciicast", self.line));
        Some(read.ok_or_else(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (Vec<(u128, Event)>, Option<String>) {
        let (mut all, mut stop) = (Vec::new(), None);
        for moment in Cast::open(text.as_bytes()).unwrap().unwrap() {
            match moment {
                Ok(moment) => all.push((moment.after.as_millis(), moment.event)),
                Err(why) => {
                    stop = Some(why.to_string());
                    break;
                }
            }
        }
        (all, stop)
    }

    fn output(text: &str) -> Event {
        Event::Output(text.as_bytes().to_vec())
    }

    #[test]
    fn both_versions_tell_the_same_each_in_its_own_time() {
        let second = "{\"version\": 2, \"width\": 80, \"height\": 24, \"idle_time_limit\": 2}\n\
            [0.5, \"o\", \"a\"]\n[1.75, \"i\", \"k\"]\n[1.75, \"r\", \"100x30\"]\n[2, \"o\", \"\\u001b[1m\"]\n";
        let third = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24,\"type\":\"xterm\"},\"idle_time_limit\":2}\n\
            # a remark\n[0.5, \"o\", \"a\"]\n[1.25, \"i\", \"k\"]\n[0, \"r\", \"100x30\"]\n[0.25, \"o\", \"\\u001b[1m\"]\n";
        let wanted = vec![
            (500, output("a")),
            (1250, Event::Unseen),
            (0, Event::Resized(100, 30)),
            (250, output("\u{1b}[1m")),
        ];
        let head = Head { size: Some((80, 24)), idle_limit: Some(2.0) };
        for text in [second, third] {
            assert_eq!(told(text), (wanted.clone(), None));
            assert_eq!(Cast::open(text.as_bytes()).unwrap().unwrap().head, head);
        }
        assert_eq!(
            told(&format!("{third}[1,\"x\",\"0\"]\n")).0.last(),
            Some(&(1000, Event::Ended))
        );
    }

    #[test]
    fn wherever_it_is_cut_what_is_whole_is_told() {
        let text = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n[0.5,\"o\",\"a\"]\n[0.5,\"o\",\"bc\"]\n";
        let head = text.find('\n').unwrap() + 1;
        for cut in head..text.len() {
            let (all, stop) = told(&text[..cut]);
            let whole = [head + 15, text.len() - 1].iter().filter(|end| **end <= cut).count();
            assert!(all.len() >= whole && all.len() <= whole + 1, "{cut}: {all:?}");
            let is_whole_line = cut == head || text[..cut].ends_with(['\n', ']']);
            assert_eq!(stop.is_none(), is_whole_line, "{cut}: {stop:?}");
        }
        for wrong in
            ["[-1,\"o\",\"x\"]", "[1e300,\"o\",\"x\"]", "[1,\"o\",7]", "[1,\"r\",\"9\"]", "x"]
        {
            let (all, stop) = told(&format!("{text}{wrong}\n[1,\"o\",\"after\"]\n"));
            assert_eq!((all.len(), stop.is_some()), (2, true), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_asciicast_is_none() {
        for text in ["", "Script started on", "{}", "{\"version\":\"3\"}", "[1,\"o\",\"x\"]\n"] {
            assert!(Cast::open(text.as_bytes()).unwrap().is_none(), "{text}");
        }
        let first = "{\"version\":1,\"width\":80,\"height\":24,\"stdout\":[]}";
        assert!(Cast::open(first.as_bytes()).err().unwrap().to_string().contains("version 1"));
    }
}
