//! `lucid record -- CMD ARGS…`: runs a program, and keeps what it writes while it writes it.
//!
//! A pipe's end does not tell whether its writer was done or died; the process that ran the program
//! knows. The program has our standard input, and its output goes on to ours. [`tap`] reads it, [`child`]
//! runs the program and sees it end; here what comes is kept, and sealed with how it ended. Where our standard input
//! and output are a terminal, the program is given one of its own ([`terminal`]), and what is kept is an asciicast.
//!
//! Invariant: nothing that goes wrong with the recording ends the program or its output. It is said, and
//! the exit code is ours then, regardless of the program's own.

mod child;
mod tap;
mod terminal;

use std::ffi::OsString;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::manifest::{self, End, ExitStatus};
use lucid_core::session::{Layout, SessionId};
use lucid_core::timeline::Recorded;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_store::clock::ClockDrift;

use super::append::PIECE_BYTES;
use super::keep::Keep;
use super::play::span;
use super::{Home, moment};
use crate::ending::{NO_PROGRAM, NOT_EXECUTABLE, NOT_RECORDED};
use crate::output::Output;
use crate::place::Place;
use crate::text;
use child::{Child, Given, Missing};
use tap::{PIECES_MAX, Told};
use terminal::Terminal;
pub use terminal::become_program;

/// A program that ended by a signal has this and the signal's number for an exit code.
const BY_SIGNAL: u32 = 128;

/// Arguments of `lucid record`.
#[derive(Debug, clap::Args)]
pub struct Record {
    #[command(flatten)]
    keep: Keep,
    /// Keep the keys that are pressed, too: passwords among them.
    #[arg(long, conflicts_with = "plain")]
    input: bool,
    /// Keep the bytes that the program writes and nothing else, though there is a terminal: the program has pipes then.
    #[arg(long)]
    plain: bool,
    /// Have players of the recording make no pause longer than so many seconds; pauses are kept as they were.
    #[arg(long, visible_alias = "idle-time-limit", value_name = "SECONDS", value_parser = span, conflicts_with = "plain")]
    idle: Option<Duration>,
    /// The program to run, and its arguments.
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Record {
    /// Records, and ends as the program did.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            anyhow::bail!("no program is named");
        };
        // Of what cannot be run nothing is made.
        if let Some(missing) = child::missing(program) {
            output.error(&missing);
            return Ok(match missing {
                Missing::Absent(_) => NO_PROGRAM,
                Missing::NotExecutable(_) => NOT_EXECUTABLE,
            });
        }
        let size = terminal::size().filter(|_| !self.plain);
        if size.is_none() && self.idle.is_some() {
            output.warn("--idle is for players of a terminal, and there is none: what is written is kept as it is");
        }
        let begun = self.begin(home, size, output);
        let (place, id) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                output.error(error.as_ref());
                return Ok(NOT_RECORDED);
            }
        };
        let (tell, told) = sync_channel(PIECES_MAX);
        let given = size.map(Terminal::open).transpose().context("no terminal can be made");
        let run = given.and_then(|terminal| {
            let given = terminal.map(|terminal| Given {
                terminal,
                keeps_keys: self.input,
                idle: self.idle,
            });
            Child::run((program, arguments), given, &id, tell, output)
        });
        let child = match run {
            Ok(child) => child,
            Err(error) => {
                terminal::give_back();
                output.error(error.as_ref());
                return Ok(NOT_EXECUTABLE);
            }
        };
        let mut recording = Recording {
            place: place.as_ref(),
            id: &id,
            keep: &self.keep,
            offset: 0,
            drift: ClockDrift::default(),
            failed: false,
            output,
        };
        let status = recording.take(&told)?;
        child.ended();
        let session = recording.seal(status);
        let failed = recording.failed;
        let closed = place.close();
        if let Err(error) = &closed {
            output.error(error.as_ref());
        }
        if let Some(session) = &session {
            output.aside(session, |session| {
                format!(
                    "session {}: kept {}, ended {}",
                    session.session_id,
                    text::size(session.content_bytes),
                    text::end(session.end.as_deref(), session.exit_status)
                )
            });
        }
        if failed || session.is_none() || closed.is_err() {
            output.warn(&format!("session {id} is not whole; the program ended with {status}"));
            return Ok(NOT_RECORDED);
        }
        Ok(exit_code(status))
    }

    /// Opens the store, and begins the session: of one run, so it must be new.
    fn begin(
        &self,
        home: &Home,
        terminal: Option<manifest::Terminal>,
        output: &Output,
    ) -> anyhow::Result<(Box<dyn Place>, SessionId)> {
        let place = self.keep.open(home, "record", output, true)?;
        // Where it is run says what it is of, as the paths of an archive do. A folder that is gone says nothing.
        let folder = std::env::current_dir().ok();
        let paths: Vec<&Path> = folder.as_deref().into_iter().collect();
        let new = self.keep.new_session(Layout::Raw, false, &paths)?;
        place.may_anchor(new.id.as_ref()).context("nothing was run")?;
        let session = place.stream(NewSession { terminal, ..new })?;
        let id: SessionId = session.session_id.parse()?;
        let is_open = matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated);
        anyhow::ensure!(is_open, "session {id} is sealed: name another --session");
        anyhow::ensure!(
            session.offset == 0,
            "session {id} has {} already, of another run: name another --session for this one, \
             and end that one with `lucid seal {id} --unterminated`",
            text::many(session.offset, "byte")
        );
        Ok((place, id))
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    u8::try_from(shell_code(status)).unwrap_or(u8::MAX)
}

/// How a program ended, as a shell tells it.
fn shell_code(status: ExitStatus) -> u32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => BY_SIGNAL + signal,
    }
}

/// A session that takes what a program writes.
struct Recording<'a> {
    place: &'a dyn Place,
    id: &'a SessionId,
    keep: &'a Keep,
    offset: u64,
    /// Of the clock that times what comes.
    drift: ClockDrift,
    failed: bool,
    output: &'a Output,
}

impl Recording<'_> {
    /// Keeps what comes until the program has ended, and says how it did. What has come by the time one
    /// piece is durable is the next piece.
    fn take(&mut self, told: &Receiver<Told>) -> anyhow::Result<ExitStatus> {
        let mut gathered = Vec::new();
        let mut since = None;
        loop {
            let next = match gathered.is_empty() {
                true => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => told.recv_timeout(Duration::ZERO),
            };
            match next {
                Ok(Told::Bytes { at, bytes }) => {
                    let back = self.drift.went_back(&at);
                    since.get_or_insert(Recorded { at: at.wall, back });
                    gathered.extend_from_slice(&bytes);
                    if gathered.len() < PIECE_BYTES {
                        continue;
                    }
                }
                Ok(Told::Ended(status)) => {
                    self.keep_bytes(&gathered, since);
                    return status.context("how the program ended is not known");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the program is lost"),
            }
            self.keep_bytes(&gathered, since.take());
            gathered.clear();
        }
    }

    /// Makes bytes durable. Once that failed, what comes is let go: the program writes on.
    fn keep_bytes(&mut self, bytes: &[u8], recorded: Option<Recorded>) {
        if bytes.is_empty() || self.failed {
            return;
        }
        let piece = StreamPiece { offset: self.offset, bytes, recorded };
        match self.place.append(self.id, piece, self.keep.storage()) {
            Ok(appended) => {
                self.offset = appended.offset;
                self.drift.note(recorded.map_or(0, |recorded| recorded.back));
            }
            Err(error) => {
                self.failed = true;
                let text = format!(
                    "recording ends at byte {} of session {}, and the program goes on",
                    self.offset, self.id
                );
                self.output.error(error.context(text).as_ref());
            }
        }
    }

    /// Ends the session as the program ended. A server anchors it by itself; a folder has nobody else.
    fn seal(&mut self, status: ExitStatus) -> Option<Session> {
        if self.failed {
            return None;
        }
        let clock_back = self.drift.went_back(&moment());
        let end = End::Exit(status);
        let request = SealRequest { end, clock_back, ..SealRequest::default() };
        let sealed = self.place.seal(self.id, &request).and_then(|()| self.place.session(self.id));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                let text = format!("session {} is kept, and not sealed", self.id);
                self.output.error(error.context(text).as_ref());
                return None;
            }
        };
        if self.place.own_folder().is_none() {
            return Some(sealed);
        }
        match self.place.anchor(self.id) {
            Ok(anchored) => {
                self.place.undelivered().iter().for_each(|why| self.output.warn(why));
                Some(anchored)
            }
            Err(error) => {
                self.output.warn(&format!("{error:#}"));
                Some(sealed)
            }
        }
    }
}
