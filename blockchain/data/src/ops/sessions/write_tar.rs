//! Writes an archived folder, or some paths of it, as a tar stream.
//!
//! A tar says how long a file is before its bytes come, and takes nothing back. So the caller says what happens
//! at something that cannot be read ([`Unreadable`]): the stream ends there, for readers who see that it broke
//! off; or all of a file is read before it is announced, and what cannot be read is left out.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;

use lucid_core::catalogue::{Entry, EntryKind};

use crate::ops::OpError;
use crate::ops::sessions::chosen::Chosen;
use crate::ops::sessions::read_session::{Cursor, visit_entries};
use crate::source::SessionSource;
use crate::tarball::{TarError, Tarball};

/// Files up to this size are read once, into memory; larger ones twice.
const BUFFERED_BYTES_MAX: u64 = 32 << 20;

/// What happens at something that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The stream ends with that error.
    Ends,
    /// It is left out, and named at the end.
    IsLeftOut,
}

/// Writes one entry, and the bytes of a file.
pub fn add<W: Write>(
    cursor: &mut Cursor<'_>,
    tarball: &mut Tarball<W>,
    entry: &Entry,
) -> Result<(), OpError> {
    tarball.entry(entry).map_err(refuse)?;
    if entry.kind != EntryKind::File {
        return Ok(());
    }
    cursor.read(bytes_of(entry), |piece| tarball.content(piece).map_err(refuse))
}

fn bytes_of(entry: &Entry) -> std::ops::Range<u64> {
    entry.offset..entry.offset.saturating_add(entry.length)
}

/// What was left out: the path, and why.
pub type LeftOut = Vec<(Vec<u8>, OpError)>;

/// Writes what is chosen. Where there is nothing to write, the first reason is the error. An error of `out` ends the
/// writing: the reader of the stream is gone.
pub fn write_tar<W: Write>(
    source: &dyn SessionSource,
    mut chosen: Chosen,
    unreadable: Unreadable,
    out: W,
) -> Result<(W, LeftOut), OpError> {
    let mut tarball = Tarball::new(out);
    let mut packing = Packing {
        cursor: Cursor::new(source),
        unreadable,
        buffer: Vec::new(),
        gone: HashSet::new(),
        is_empty: true,
    };
    let mut left_out = LeftOut::new();
    let no_file = |path: Vec<u8>| {
        let name = String::from_utf8_lossy(&path).into_owned();
        (path, OpError::NoFile { session: source.shape().id.clone(), path: name })
    };
    left_out.extend(chosen.absent(source)?.into_iter().map(no_file));
    for below in chosen.visits().to_vec() {
        let (mut found, mut ended) = (false, Ok(()));
        let visited = visit_entries(source, &below, None, |entry| {
            found = true;
            if chosen.leaves_out(&entry.path) {
                return ControlFlow::Continue(());
            }
            let path = entry.path.clone();
            let settled = chosen.settle(source, entry).map_err(Unwritten::of_entry);
            let error = match settled.and_then(|entry| packing.add(&mut tarball, &entry)) {
                Ok(()) => return ControlFlow::Continue(()),
                Err(Unwritten::Entry(error)) if unreadable == Unreadable::IsLeftOut => {
                    packing.gone.insert(path.clone());
                    left_out.push((path, error));
                    return ControlFlow::Continue(());
                }
                Err(Unwritten::Entry(error) | Unwritten::Stream(error)) => error,
            };
            if error.is_damage() {
                let path = String::from_utf8_lossy(&path);
                tracing::error!(%path, %error, "a tar ends at a file that cannot be read");
            }
            ended = Err(error);
            ControlFlow::Break(())
        });
        ended?;
        match visited {
            Ok(()) if !found && !below.is_empty() => left_out.push(no_file(below)),
            Ok(()) => {}
            Err(error) if error.is_damage() && unreadable == Unreadable::IsLeftOut => {
                left_out.push((below, error));
            }
            Err(error) => return Err(error),
        }
    }
    let is_refused = packing.is_empty || unreadable == Unreadable::Ends;
    if is_refused && !left_out.is_empty() {
        return Err(left_out.swap_remove(0).1);
    }
    Ok((tarball.finish().map_err(refuse)?, left_out))
}

/// Why an entry was not written: it is its own matter, or the end of the stream.
enum Unwritten {
    Entry(OpError),
    Stream(OpError),
}

impl Unwritten {
    /// Damage of an entry is its own matter. What fails for another reason may fail for all of them, and a
    /// tar that ends as a whole one would hide that.
    fn of_entry(error: OpError) -> Self {
        if error.is_damage() { Self::Entry(error) } else { Self::Stream(error) }
    }
}

struct Packing<'a> {
    cursor: Cursor<'a>,
    unreadable: Unreadable,
    /// The bytes of a file that is to be written.
    buffer: Vec<u8>,
    /// What was left out, for other names of it.
    gone: HashSet<Vec<u8>>,
    is_empty: bool,
}

impl Packing<'_> {
    /// Writes one entry; where what cannot be read is left out, only if all of it can be read.
    fn add<W: Write>(&mut self, tarball: &mut Tarball<W>, entry: &Entry) -> Result<(), Unwritten> {
        if entry.kind == EntryKind::HardLink && self.gone.contains(&entry.target) {
            let first = String::from_utf8_lossy(&entry.target);
            let why = format!("it is another name of {first:?}, which was left out");
            return Err(Unwritten::Entry(OpError::Unsound(why)));
        }
        let (cursor, buffer) = (&mut self.cursor, &mut self.buffer);
        let is_read_first = self.unreadable == Unreadable::IsLeftOut;
        let is_buffered = is_read_first && entry.length <= BUFFERED_BYTES_MAX;
        if entry.kind == EntryKind::File && is_read_first {
            buffer.clear();
            let read = cursor.read(bytes_of(entry), |piece| {
                if is_buffered {
                    buffer.extend_from_slice(piece);
                }
                Ok(())
            });
            read.map_err(Unwritten::of_entry)?;
        }
        match tarball.entry(entry) {
            Err(error @ TarError::Unsafe(_)) => return Err(Unwritten::Entry(refuse(error))),
            announced => announced.map_err(|error| Unwritten::Stream(refuse(error)))?,
        }
        self.is_empty = false;
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let written = match is_buffered {
            true => tarball.content(buffer).map_err(refuse),
            // What cannot be read here ends the stream, for it is announced.
            false => cursor.read(bytes_of(entry), |piece| tarball.content(piece).map_err(refuse)),
        };
        written.map_err(Unwritten::Stream)
    }
}

fn refuse(error: TarError) -> OpError {
    match error {
        TarError::Io(_) => OpError::Abandoned,
        TarError::Unsafe(_) | TarError::Length { .. } => {
            OpError::Unsound(format!("the catalogue: {error}"))
        }
    }
}
