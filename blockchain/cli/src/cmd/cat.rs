//! `lucid cat SESSION [PATH]`: prints bytes, reading only the chunks that hold them.

use std::io::Write as _;
use std::path::PathBuf;

use lucid_core::catalogue::EntryKind;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::{find_entry, read_range};

use super::ls::given_path;
use super::span::Between;
use super::{DONE, Home, finish, open, session_id};
use crate::output::Output;
use crate::text;

/// Arguments of `lucid cat`.
#[derive(Debug, clap::Args)]
pub struct Cat {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    /// The file in it; a raw session has none.
    path: Option<PathBuf>,
    #[command(flatten)]
    between: Between,
}

impl Cat {
    /// Prints the bytes.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "cat", output)?;
        let source = place.source(&self.session)?;
        let path = given_path(self.path.as_ref());
        let range = if let Some(bytes) =
            self.between.bytes_in(place.as_ref(), source.as_ref(), output)?
        {
            bytes
        } else if source.shape().layout == Layout::Raw {
            anyhow::ensure!(path.is_empty(), "session {} is raw: it has no files", self.session);
            0..source.shape().content_bytes
        } else {
            anyhow::ensure!(
                !path.is_empty(),
                "session {} is a folder: name a file in it, as `lucid ls` shows them",
                self.session
            );
            let (entry, _) = find_entry(source.as_ref(), &path)?.ok_or_else(|| {
                anyhow::anyhow!(
                    "session {} has no file \"{}\": `lucid ls {}` lists them",
                    self.session,
                    text::name(&path),
                    self.session
                )
            })?;
            anyhow::ensure!(
                matches!(entry.kind, EntryKind::File | EntryKind::HardLink),
                "\"{}\" is a {}",
                text::name(&path),
                entry.kind
            );
            entry.offset..entry.offset + entry.length
        };
        let mut out = output.stream();
        let mut failed = None;
        let read = read_range(source.as_ref(), range, |bytes| {
            out.write_all(bytes).map_err(|error| {
                let text = error.to_string();
                failed = Some(error);
                OpError::Invalid(text)
            })
        });
        if let Some(error) = failed {
            // The reader that closed the pipe has seen enough.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Ok(DONE);
            }
            return Err(error.into());
        }
        read?;
        out.flush()?;
        drop(out);
        drop(source);
        finish(place, DONE)
    }
}
