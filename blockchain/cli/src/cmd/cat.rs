//! `lucid cat SESSION [PATH]`: prints bytes, reading only the chunks that hold them.

use std::io::Write as _;
use std::path::PathBuf;

use lucid_core::catalogue::EntryKind;
use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::{find_entry, read_range};

use super::ls::given_path;
use super::span::Between;
use super::{DONE, Home, finish, open};
use crate::output::Output;
use crate::text;
use crate::which::OneSession;

/// Arguments of `lucid cat`.
#[derive(Debug, clap::Args)]
pub struct Cat {
    #[command(flatten)]
    session: OneSession,
    /// The file in it; a raw session has none.
    path: Option<PathBuf>,
    #[command(flatten)]
    between: Between,
}

impl Cat {
    /// Prints the bytes.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "cat", output)?;
        let id = self.session.choose(place.as_ref())?;
        let source = place.source(&id)?;
        let path = given_path(self.path.as_ref());
        let range =
            if let Some(bytes) = self.between.bytes_in(place.as_ref(), source.as_ref(), output)? {
                bytes
            } else if source.shape().layout == Layout::Raw {
                anyhow::ensure!(path.is_empty(), "session {id} is raw: it has no files");
                0..source.shape().content_bytes
            } else {
                anyhow::ensure!(
                    !path.is_empty(),
                    "session {id} is a folder: name a file in it, as `lucid ls` shows them"
                );
                let (entry, _) = find_entry(source.as_ref(), &path)?.ok_or_else(|| {
                    anyhow::anyhow!(
                        "session {id} has no file \"{}\": `lucid ls {id}` lists them",
                        text::name(&path)
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
