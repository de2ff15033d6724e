//! `lucid append`: keeps a live stream, and goes on after a break.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context as _;
use lucid_api::v1::sessions::SessionStatus;
use lucid_core::session::Layout;
use lucid_data_chain::ops::append_stream::Piece;
use lucid_data_chain::ops::seal_session::SealRequest;

use super::archive::Keep;
use super::{DONE, Home, now};
use crate::output::Output;
use crate::progress::Progress;

/// Arguments of `lucid append`.
#[derive(Debug, clap::Args)]
pub struct Append {
    /// The file that is being recorded, or `-` for standard input.
    #[arg(default_value = "-")]
    path: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// The input begins where the session does: skip what is kept already. A file always does.
    #[arg(long)]
    from_start: bool,
    /// Mark when the bytes of a plain file came: now. What is piped in is live and always marked.
    #[arg(long)]
    timeline: bool,
    /// Leave the session open at the end of the input.
    #[arg(long)]
    keep_open: bool,
}

/// Bytes that are made durable together, at most; less when less comes.
const PIECE_BYTES: usize = 1 << 20;

impl Append {
    /// Appends until the input ends, then seals and anchors.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = self.keep.open(home, "append")?;
        let session = place.stream(self.keep.new_session(Layout::Raw, false))?;
        let id = session.session_id.parse()?;
        let is_stdin = self.path.as_os_str() == "-";
        let mut offset = session.offset;
        let mut input: Box<dyn Read> = if is_stdin {
            let mut input = std::io::stdin();
            if self.from_start {
                skip(&mut input, offset)?;
            }
            Box::new(input)
        } else {
            let context = || format!("\"{}\" cannot be read", self.path.display());
            let mut file = File::open(&self.path).with_context(context)?;
            let length = file.metadata().with_context(context)?.len();
            anyhow::ensure!(
                length >= offset,
                "session {id} has {offset} bytes already and \"{}\" only {length}",
                self.path.display()
            );
            file.seek(SeekFrom::Start(offset)).with_context(context)?;
            Box::new(file)
        };
        let is_live = self.timeline || (is_stdin && !is_plain_file_on_stdin());
        let progress = Progress::start(output, "appending", None);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = input.read(&mut buffer).context("the input cannot be read")?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            anyhow::ensure!(
                matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated),
                "session {id} is sealed and cannot take more bytes"
            );
            let piece = Piece { offset, bytes, recorded_at: is_live.then(now) };
            offset = place.append(&id, piece, self.keep.wish())?.offset;
            progress.add(count as u64);
        }
        drop(progress);
        let session = if self.keep_open {
            place.session(&id)?
        } else {
            place.seal(&id, &SealRequest::default())?;
            place.anchor(&id)?
        };
        place.close()?;
        output.result(&session, |session| {
            let root = session.merkle_root.map(|root| root.to_string());
            format!(
                "session    {}\nkept       {} bytes\nroot       {}",
                session.session_id,
                session.offset,
                root.unwrap_or_else(|| "open".into())
            )
        })?;
        Ok(DONE)
    }
}

/// What comes from a file has been recorded before, whenever that was.
fn is_plain_file_on_stdin() -> bool {
    std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.is_file())
}

fn skip(input: &mut impl Read, count: u64) -> anyhow::Result<()> {
    let skipped = std::io::copy(&mut input.by_ref().take(count), &mut std::io::sink())
        .context("the input cannot be read")?;
    anyhow::ensure!(
        skipped == count,
        "the session has {count} bytes already and the input only {skipped}"
    );
    Ok(())
}
