//! `lucid append`: keeps a live stream, and goes on after a break.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::session::Layout;
use lucid_core::timeline::Recorded;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_store::clock::ClockDrift;

use super::keep::Keep;
use super::{DONE, Home, anchored, moment};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::stream::{InputStanding, UNSEEN, hold_against};
use crate::text;

/// Arguments of `lucid append`.
#[derive(Debug, clap::Args)]
pub struct Append {
    /// The file that is being recorded, or `-` for standard input.
    #[arg(default_value = "-")]
    path: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// The input begins where the session does: skip what is kept already. A plain file that is named
    /// always does; a pipe goes on.
    #[arg(long)]
    from_start: bool,
    /// Mark when the bytes of a plain file came: now. What is piped in is live and always marked.
    #[arg(long)]
    timeline: bool,
    /// Seal at the end of a pipe, too: the end of one does not tell whether its writer was done.
    #[arg(long, conflicts_with = "keep_open")]
    seal_on_eof: bool,
    /// Leave the session open at the end of a plain file, too.
    #[arg(long)]
    keep_open: bool,
}

/// Bytes that are made durable together, at most; less when less comes.
pub const PIECE_BYTES: usize = 1 << 20;

impl Append {
    /// Appends until the input ends. What a plain file has then is all of it, so it is sealed and
    /// anchored; what came through a pipe may be more once its writer is back.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let is_stdin = self.path.as_os_str() == "-";
        let shown = match is_stdin {
            true => "standard input".to_owned(),
            false => format!("\"{}\"", self.path.display()),
        };
        let context = || format!("{shown} cannot be read");
        let (mut input, is_plain): (Box<dyn Read>, _) = if is_stdin {
            (Box::new(std::io::stdin()), is_plain_file_on_stdin())
        } else {
            let file = File::open(&self.path).with_context(context)?;
            let is_plain = file.metadata().with_context(context)?.is_file();
            (Box::new(file), is_plain)
        };
        let place = self.keep.open(home, "append", output, true)?;
        let read: &[&Path] = if is_stdin { &[] } else { &[&self.path] };
        let session = place.stream(self.keep.new_session(Layout::Raw, false, read)?)?;
        let id = session.session_id.parse()?;
        let kept = kept_bytes(&session);
        let is_open = matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated);
        let sealed = || {
            format!("session {id} is sealed with {} and takes no more", text::many(kept, "byte"))
        };
        if (is_stdin || !is_plain) && !self.from_start {
            anyhow::ensure!(is_open, "{}: name another --session", sealed());
        } else {
            match hold_against(place.as_ref(), &id, &mut input).with_context(context)? {
                InputStanding::Same => {}
                InputStanding::Unseen => output.warn(UNSEEN),
                InputStanding::Differs => anyhow::bail!(
                    "the first {kept} bytes differ: {shown} does not begin with what session {id} \
                     keeps{}, so it is another recording: name another --session for it",
                    if is_open { "" } else { " and is sealed with" },
                ),
                InputStanding::Short(_) if !is_open => anyhow::bail!(
                    "{}, and {shown} is shorter: name another --session for it",
                    sealed()
                ),
                InputStanding::Short(length) => {
                    anyhow::bail!(
                        "session {id} has {} already and {shown} only {length}: name another --session for it",
                        text::many(kept, "byte")
                    )
                }
            }
        }
        let is_live = self.timeline || !is_plain;
        let progress = ProgressLine::start(output, "appending", None);
        let mut offset = session.offset;
        let mut drift = ClockDrift::default();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = input.read(&mut buffer).with_context(context)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            anyhow::ensure!(
                is_open,
                "{}, and {shown} has more: name another --session for it",
                sealed()
            );
            let now = moment();
            let back = drift.went_back(&now);
            let recorded = is_live.then_some(Recorded { at: now.wall, back });
            let piece = StreamPiece { offset, bytes, recorded };
            offset = place.append(&id, piece, self.keep.storage())?.offset;
            if is_live {
                drift.note(back);
            }
            progress.add(count as u64);
        }
        drop(progress);
        let (session, code) = if self.seal_on_eof || (is_plain && !self.keep_open) {
            let clock_back = drift.went_back(&moment());
            place.seal(&id, &SealRequest { clock_back, ..SealRequest::default() })?;
            let waiting = ProgressLine::waiting(output, "waiting for its block");
            let session = place.anchor(&id)?;
            drop(waiting);
            let code = anchored(place.as_ref(), &session, output);
            (session, code)
        } else {
            (place.session(&id)?, DONE)
        };
        place.close()?;
        output.result(&session, |session| {
            let root = session.merkle_root.map(|root| root.to_string());
            vec![
                format!("session    {}", session.session_id),
                format!("kept       {}", text::many(kept_bytes(session), "byte")),
                format!("root       {}", root.unwrap_or_else(|| "open".into())),
            ]
        })?;
        Ok(code)
    }
}

/// Bytes that were recorded: without the pages that sealing put behind them.
pub fn kept_bytes(session: &Session) -> u64 {
    session.content_bytes
}

/// What comes from a file has been recorded before, whenever that was.
fn is_plain_file_on_stdin() -> bool {
    std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.is_file())
}
