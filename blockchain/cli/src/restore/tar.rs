//! A session as a tar stream.

use std::io::{self, Write};
use std::ops::Range;

use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::Cursor;
use lucid_data_chain::ops::sessions::write_tar::{self, Unreadable, write_tar};
use lucid_data_chain::source::SessionSource;
use lucid_data_chain::tarball::Tarball;

use super::choice::Choice;
use super::raw::{raw_entry, refuse_paths_of_raw};
use crate::text;

/// Writes what is wanted as a tar stream; says what of it could not be read and is not there.
pub fn write(
    source: &dyn SessionSource,
    choice: &Choice,
    part: Range<u64>,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<String>> {
    refuse_paths_of_raw(source, choice)?;
    let mut out = Remembering { out, failed: None };
    let written = match source.shape().layout {
        Layout::Tree => write_tar(source, choice.chosen(), Unreadable::IsLeftOut, &mut out)
            .map(|(_, left_out)| left_out),
        Layout::Raw => {
            let mut tarball = Tarball::new(&mut out);
            write_tar::add(&mut Cursor::new(source), &mut tarball, &raw_entry(source, &part))
                .and_then(|()| tarball.finish().map(drop).map_err(|_| OpError::Abandoned))
                .map(|()| Vec::new())
        }
    };
    match (out.failed, written) {
        (Some(error), _) => Err(anyhow::Error::new(error).context("the tar cannot be written")),
        (None, written) => {
            let line = |(path, why): (Vec<u8>, OpError)| {
                format!("\"{}\" was not restored: {why}", text::name(&path))
            };
            Ok(written?.into_iter().map(line).collect())
        }
    }
}

/// Knows why writing failed when all that is told is that it did.
struct Remembering<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl Remembering<'_> {
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

impl Write for Remembering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.note(done)
    }
}
