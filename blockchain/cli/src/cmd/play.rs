//! `lucid play SESSION`: shows a recording of a terminal in this one, at its own pace.
//!
//! This is the one verb whose output may steer the terminal, since that is what was recorded. So it goes to a
//! terminal, or elsewhere where that is said to be meant; and the terminal is left as programs expect to find it.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use lucid_api::v1::sessions::SessionStatus;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::Cursor;
use lucid_data_chain::source::SessionSource;

use super::{DONE, Home, LEFT_OUT, finish, fits, open};
use crate::cast::script::{Script, is_timing};
use crate::cast::{Cast, Event, Moment, Stop};
use crate::group::{self, PATH};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place;
use crate::text;
use crate::which::{self, Wanted};

/// Bytes that are read at once.
const READ_BYTES: u64 = 256 << 10;

/// As long as anybody waits.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Arguments of `lucid play`.
#[derive(Debug, clap::Args)]
pub struct Play {
    /// An asciicast; or what `script` or sudo recorded, with its timing as the second.
    #[arg(required_unless_present = "group", num_args = 1..=2, value_name = "SESSION")]
    sessions: Vec<Wanted>,
    /// What of this group is a recording of a terminal: an asciicast, or a timing and what it is of.
    #[arg(long, value_name = "NAME", conflicts_with = "sessions")]
    group: Option<String>,
    /// Begin so far into it: seconds, or like 1:30 or 1:02:03. What was shown until then is shown at once.
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "TIME", value_parser = span)]
    from: Duration,
    /// So many times as fast.
    #[arg(long, default_value_t = 1.0, value_name = "TIMES", value_parser = speed)]
    speed: f64,
    /// Make no pause longer than so many seconds; else as the recording says of itself.
    #[arg(long, value_name = "SECONDS", value_parser = span)]
    max_idle: Option<Duration>,
    /// Put out what was recorded though standard output is no terminal.
    #[arg(long)]
    raw: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.01..=1e6).contains(speed));
    speed.ok_or_else(|| format!("{text:?} is no number from 0.01 to 1000000"))
}

/// Reads a span of time: seconds, with minutes and hours in front of them if need be.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write it like 90, 1:30 or 1:02:03.5");
    let mut seconds = 0.0;
    for (place, part) in text.split(':').enumerate() {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let part: f64 = part.parse().ok().filter(|_| is_number && place < 3).ok_or_else(wrong)?;
        seconds = seconds * 60.0 + part;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

impl Play {
    /// Plays to the end.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            self.raw || output.is_terminal(),
            "what was recorded steers a terminal, and standard output is none: pass --raw if that is meant",
        )?;
        let place = open(home, "play", output)?;
        let cut = self.play(place.as_ref(), output)?;
        if let Some(why) = &cut {
            output.warn(&format!("the recording is cut short: {why}; what is there was played"));
        }
        finish(place, if cut.is_some() { LEFT_OUT } else { DONE })
    }

    /// Plays what there is; says why that may not be all, if so.
    fn play(&self, place: &dyn Place, output: &Output) -> anyhow::Result<Option<String>> {
        let named: Vec<SessionId> = match &self.group {
            Some(group) => of_group(place, group)?,
            None => {
                let named = self.sessions.iter().map(|wanted| which::one(place, wanted));
                named.collect::<anyhow::Result<_>>()?
            }
        };
        let [first, rest @ ..] = named.as_slice() else {
            anyhow::bail!("no session is named");
        };
        let source = content(place, first)?;
        let mut player = Player::new(self, output);
        let played = match rest.first() {
            None => {
                let Some(cast) = Cast::open(SessionReader::open(source.as_ref()))? else {
                    anyhow::bail!(
                        "session {first} is no asciicast: name the session with its timing, too, if it is what \
                         `script` recorded"
                    );
                };
                player.prepare(cast.head.size, cast.head.idle_limit, output);
                player.play(cast)?
            }
            Some(second) => {
                let other = content(place, second)?;
                let mut readers = [source.as_ref(), other.as_ref()].map(SessionReader::open);
                let [first_is, second_is] =
                    readers.each_mut().map(|reader| reader.fill_buf().map(is_timing));
                let [one, two] = readers;
                let (timing, shown) = match (first_is?, second_is?) {
                    (_, true) => (two, one),
                    (true, false) => (one, two),
                    (false, false) => anyhow::bail!(
                        "neither session {first} nor {second} is a timing: name what `script` or sudo wrote as one"
                    ),
                };
                player.prepare(None, None, output);
                player.play(Script::new(timing, shown))?
            }
        };
        Ok(match played {
            Played::Cut(why) => Some(why),
            Played::Ended => None,
            Played::Whole => unfinished(place, first)?,
        })
    }
}

/// What of a group is played: its asciicast, or its timing and the one that is called as what was shown is called.
fn of_group(place: &dyn Place, group: &str) -> anyhow::Result<Vec<SessionId>> {
    /// sudo's name for what was shown, and the first word of `script`'s.
    const SHOWN: [&str; 2] = ["ttyout", "typescript"];
    let (mut casts, mut timings, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for session in group::members(place, group)? {
        let id: SessionId = session.session_id.parse()?;
        let source = place.source(&id)?;
        if source.shape().layout != Layout::Raw {
            continue;
        }
        let mut reader = SessionReader::open(source.as_ref());
        let kind = match () {
            () if is_timing(reader.fill_buf()?) => &mut timings,
            () if Cast::open(reader)?.is_some() => &mut casts,
            () => &mut others,
        };
        let path = session.metadata.get(PATH).map(Path::new).and_then(Path::file_name);
        kind.push((id, path.unwrap_or_default().to_string_lossy().into_owned()));
    }
    let is_shown = |(_, name): &(_, String)| SHOWN.iter().any(|shown| name.starts_with(shown));
    if others.iter().filter(|other| is_shown(other)).count() == 1 {
        others.retain(is_shown);
    }
    match (casts.as_slice(), timings.as_slice(), others.as_slice()) {
        ([(cast, _)], _, _) => Ok(vec![cast.clone()]),
        ([], [(timing, _)], [(shown, _)]) => Ok(vec![shown.clone(), timing.clone()]),
        (casts, timings, others) => anyhow::bail!(
            "group {} has {}, {} and {} besides, so it is not known what to play: name the sessions",
            text::name(group.as_bytes()),
            text::many(casts.len() as u64, "asciicast"),
            text::many(timings.len() as u64, "timing"),
            text::many(others.len() as u64, "recording"),
        ),
    }
}

/// Why what a session holds may not be all, though it reads well to its end.
fn unfinished(place: &dyn Place, id: &SessionId) -> anyhow::Result<Option<String>> {
    let session = place.session(id)?;
    let is_open = matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated);
    Ok(match session.end.as_deref() {
        Some("unterminated") => Some(format!("nobody ended session {id}")),
        _ if is_open => Some(format!("session {id} is not sealed yet")),
        _ => None,
    })
}

/// A raw session's content.
fn content<'a>(
    place: &'a dyn Place,
    id: &SessionId,
) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
    let source = place.source(id)?;
    anyhow::ensure!(
        source.shape().layout == Layout::Raw,
        "session {id} is a folder: a recording is what is played"
    );
    Ok(source)
}

/// A session's content as a stream.
struct SessionReader<'a> {
    cursor: Cursor<'a>,
    left: std::ops::Range<u64>,
    buffer: io::Cursor<Vec<u8>>,
}

impl<'a> SessionReader<'a> {
    fn open(source: &'a dyn SessionSource) -> BufReader<Self> {
        let left = 0..source.shape().content_bytes;
        let reader = Self { cursor: Cursor::new(source), left, buffer: io::Cursor::default() };
        BufReader::with_capacity(1 << 16, reader)
    }
}

impl Read for SessionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.buffer.position() == self.buffer.get_ref().len() as u64 && !self.left.is_empty() {
            let part = self.left.start..self.left.end.min(self.left.start + READ_BYTES);
            self.left.start = part.end;
            let mut bytes = Vec::new();
            let read = self.cursor.read(part, |piece| {
                bytes.extend_from_slice(piece);
                Ok::<(), OpError>(())
            });
            read.map_err(io::Error::other)?;
            self.buffer = io::Cursor::new(bytes);
        }
        self.buffer.read(buffer)
    }
}

/// How playing ended.
enum Played {
    /// The recording says itself that it ended.
    Ended,
    /// There is no more.
    Whole,
    /// What follows cannot be played, and why.
    Cut(String),
}

/// Shows moments when their time has come.
struct Player<'a> {
    asked: &'a Play,
    output: &'a Output,
    max_idle: Option<Duration>,
    /// How far into the recording, without what pauses are shortened by.
    at: Duration,
    /// When, of what is shown at its pace, the last was due.
    due: Option<Instant>,
}

impl<'a> Player<'a> {
    fn new(asked: &'a Play, output: &'a Output) -> Self {
        Self { asked, output, max_idle: asked.max_idle, at: Duration::ZERO, due: None }
    }

    /// Heeds what the recording says of itself.
    fn prepare(&mut self, size: Option<(u16, u16)>, idle_limit: Option<f64>, output: &Output) {
        let limit = idle_limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
        self.max_idle = self.max_idle.or(limit);
        if let (Some((columns, rows)), Some((across, down))) = (size, output.window())
            && (across < columns || down < rows)
        {
            output.remark(&format!(
                "it was recorded in a terminal of {columns} columns and {rows} rows, and this one has \
                 {across} and {down}"
            ));
        }
    }

    fn play(
        &mut self,
        moments: impl Iterator<Item = Result<Moment, Stop>>,
    ) -> anyhow::Result<Played> {
        let is_terminal = self.output.is_terminal();
        if is_terminal {
            interrupt::calm(true);
        }
        let played = self.show(moments);
        if is_terminal {
            interrupt::calm(false);
            self.output.bytes(interrupt::CALM)?;
        }
        played
    }

    fn show(
        &mut self,
        moments: impl Iterator<Item = Result<Moment, Stop>>,
    ) -> anyhow::Result<Played> {
        let mut out = self.output.stream();
        for moment in moments {
            let Moment { after, event } = match moment {
                Ok(moment) => moment,
                Err(Stop::Cut(why)) => return Ok(Played::Cut(why)),
                Err(Stop::Unread(error)) => return Err(error),
            };
            self.wait(after);
            match event {
                Event::Output(bytes) => {
                    out.write_all(&bytes)?;
                    out.flush()?;
                }
                Event::Ended => return Ok(Played::Ended),
                Event::Resized(..) | Event::Unseen => {}
            }
        }
        Ok(Played::Whole)
    }

    /// Waits until what comes so long after the last is due.
    fn wait(&mut self, after: Duration) {
        let before = self.at;
        self.at = self.at.saturating_add(after);
        // Of a pause in which playing begins, only what is left of it counts.
        let left = self.at.saturating_sub(before.max(self.asked.from));
        if left.is_zero() {
            return;
        }
        let pause = self.max_idle.map_or(left, |most| left.min(most));
        let pause = Duration::try_from_secs_f64(pause.as_secs_f64() / self.asked.speed);
        let due = self.due.unwrap_or_else(Instant::now);
        // Longer than any clock can tell is until it is interrupted.
        let due = due.checked_add(pause.unwrap_or(Duration::MAX)).unwrap_or(due + FOR_EVER);
        self.due = Some(due);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90.0), ("1:30", 90.0), ("1:02:03.5", 3723.5), ("0", 0.0)] {
            assert_eq!(span(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for wrong in ["", "-1", "1:", ":1", "1:2:3:4", "1e3", "soon", "nan"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
