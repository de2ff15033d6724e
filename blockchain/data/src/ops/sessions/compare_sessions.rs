//! Says in what two sessions differ: two archived folders path by path, two recordings as wholes.
//!
//! Both catalogues are walked in step, a page at a time, so memory does not depend on how many paths there are. What
//! two files hold is compared by the chunks that hold it. Their bytes are read only where that does not tell: small
//! files share chunks, so a file that stayed as it was may be in another chunk because its neighbour changed. So the
//! work beside the walk goes with what differs.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use lucid_core::catalogue::{self, Entry, EntryKind};
use lucid_core::page::Page;
use lucid_store::codec::Packer;

use super::read_session::{Cursor, Pages, decode_entry, reference_at};
use crate::ops::OpError;
use crate::row::Reference;
use crate::source::SessionSource;

/// References fetched in one go.
const REFERENCES_BATCH: usize = 1_000;
/// Bytes of a live stream's tail that are compared in one go.
const PART_BYTES: u64 = 1 << 20;

/// A path in which two folders differ.
#[derive(Debug)]
pub enum Difference<'a> {
    /// Only the second has it.
    Added(&'a Entry),
    /// Only the first has it.
    Removed(&'a Entry),
    /// Both have it, and not the same.
    Changed {
        /// What the first has.
        before: &'a Entry,
        /// What the second has.
        after: &'a Entry,
        /// In what they differ.
        in_what: Changed,
    },
}

/// In what two entries of a path differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// One is a folder, a file or a symlink, and the other is another of these.
    pub kind: bool,
    /// What the file holds, or where the symlink leads.
    pub content: bool,
    /// Everything else: mode, owner, time, attributes, ACLs, flags.
    pub metadata: bool,
}

/// Compares a path of two archived folders and everything below it, in order, and tells `hear` of each difference until
/// that breaks off. `""` is everything. Where one of both does not have the path, all of it is added or removed.
pub fn compare_folders(
    before: &dyn SessionSource,
    after: &dyn SessionSource,
    below: &[u8],
    hear: &mut dyn FnMut(Difference<'_>) -> ControlFlow<()>,
) -> Result<(), OpError> {
    let mut contents = Contents { before: Chunks::of(before), after: Chunks::of(after) };
    let mut walks = (Walk::open(before, below)?, Walk::open(after, below)?);
    let same_content = contents.are_the_same()?;
    loop {
        // Equal pages name equal places in the content; where all of that is equal, so are their files.
        while same_content && walks.0.may_skip() && walks.1.may_skip() {
            match (walks.0.next_page()?, walks.1.next_page()?) {
                (Some(one), Some(other)) if one.chunk == other.chunk => {
                    walks.0.skip();
                    walks.1.skip();
                }
                _ => break,
            }
        }
        let order = match (walks.0.peek()?, walks.1.peek()?) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => catalogue::path_order(&one.path, &other.path),
        };
        let one = if order.is_le() { walks.0.entries.pop_front() } else { None };
        let other = if order.is_ge() { walks.1.entries.pop_front() } else { None };
        let heard = match (&one, &other) {
            (Some(before), Some(after)) => {
                let in_what = changed(before, after, &mut contents)?;
                match in_what == Changed::default() {
                    true => ControlFlow::Continue(()),
                    false => hear(Difference::Changed { before, after, in_what }),
                }
            }
            (Some(before), None) => hear(Difference::Removed(before)),
            (None, Some(after)) => hear(Difference::Added(after)),
            (None, None) => ControlFlow::Continue(()),
        };
        if heard.is_break() {
            return Ok(());
        }
    }
}

/// Whether two sessions hold the same bytes, regardless of how they are cut; what a live stream has not cut yet
/// included.
pub fn have_same_content(
    before: &dyn SessionSource,
    after: &dyn SessionSource,
) -> Result<bool, OpError> {
    let length = before.shape().content_bytes;
    if after.shape().content_bytes != length {
        return Ok(false);
    }
    let cut = |source: &dyn SessionSource| source.shape().total_bytes.min(length);
    let in_chunks = cut(before).min(cut(after));
    let mut contents = Contents { before: Chunks::of(before), after: Chunks::of(after) };
    if !contents.same(0, 0, in_chunks)? {
        return Ok(false);
    }
    let mut cursors = (Cursor::new(before), Cursor::new(after));
    let mut at = in_chunks;
    while at < length {
        let part = at..length.min(at + PART_BYTES);
        at = part.end;
        if read(&mut cursors.0, part.clone())? != read(&mut cursors.1, part)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read(cursor: &mut Cursor<'_>, part: Range<u64>) -> Result<Vec<u8>, OpError> {
    let mut bytes = Vec::new();
    cursor.read(part, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// In what two entries of the same path differ.
fn changed(before: &Entry, after: &Entry, contents: &mut Contents<'_>) -> Result<Changed, OpError> {
    let kind = is_file(before) != is_file(after) || (!is_file(before) && before.kind != after.kind);
    let content = match kind {
        true => false,
        false if is_file(before) => {
            before.length != after.length
                || !contents.same(before.offset, after.offset, before.length)?
        }
        false => before.target != after.target,
    };
    Ok(Changed { kind, content, metadata: differs_otherwise(before, after) })
}

/// Another name of a file is a file to those who read it.
fn is_file(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File | EntryKind::HardLink)
}

/// Whether what is known of two paths besides kind and content differs. What one of both was never asked for, as
/// catalogues of version 1 were not for names and flags, is no difference.
fn differs_otherwise(before: &Entry, after: &Entry) -> bool {
    let named = |one: &[u8], other: &[u8]| !one.is_empty() && !other.is_empty() && one != other;
    let flags = before.flags.zip(after.flags);
    let owners = before.owner != after.owner
        || named(&before.owner_name, &after.owner_name)
        || named(&before.group_name, &after.group_name);
    owners
        || before.mode != after.mode
        || before.modified != after.modified
        || flags.is_some_and(|(one, other)| one != other)
        || with_acls(before).attributes != with_acls(after).attributes
        || with_acls(before).access_acl != with_acls(after).access_acl
        || with_acls(before).default_acl != with_acls(after).default_acl
}

/// An entry whose ACLs stand where version 2 has them.
fn with_acls(entry: &Entry) -> Cow<'_, Entry> {
    let has_old =
        |(name, _): &(Vec<u8>, Vec<u8>)| catalogue::ACL_ATTRIBUTES.iter().any(|acl| acl == name);
    match entry.attributes.iter().any(has_old) {
        true => Cow::Owned(entry.clone().with_acls()),
        false => Cow::Borrowed(entry),
    }
}

/// The entries of a catalogue, in order.
struct Walk<'a> {
    source: &'a dyn SessionSource,
    packer: Packer,
    own_key: Vec<u8>,
    prefix: Vec<u8>,
    /// The chunk that is the next page.
    at: u64,
    /// References of pages, fetched in advance.
    coming: VecDeque<Reference>,
    entries: VecDeque<Entry>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    /// Goes to the page where the path is, if it is anywhere.
    fn open(source: &'a dyn SessionSource, below: &[u8]) -> Result<Self, OpError> {
        let own_key = catalogue::path_key(below);
        let mut pages = Pages::open(source)?;
        let (ordinal, _) = pages.leaf_page(&own_key)?;
        Ok(Self {
            source,
            packer: Packer::new(),
            prefix: catalogue::folder_prefix(below),
            at: pages.first_chunk() + u64::from(ordinal),
            own_key,
            coming: VecDeque::new(),
            entries: VecDeque::new(),
            is_over: false,
        })
    }

    fn peek(&mut self) -> Result<Option<&Entry>, OpError> {
        while self.entries.is_empty() && !self.is_over {
            self.load()?;
        }
        Ok(self.entries.front())
    }

    /// Whether nothing is left of the page before, and all of the next one would be looked at: below a path, not all of
    /// a page is.
    fn may_skip(&self) -> bool {
        self.entries.is_empty() && !self.is_over && self.prefix.is_empty()
    }

    /// The chunk that is the next page, of entries or of the index behind them.
    fn next_page(&mut self) -> Result<Option<Reference>, OpError> {
        if self.coming.is_empty() {
            self.coming = self.source.references(self.at, REFERENCES_BATCH)?.into();
        }
        Ok(self.coming.front().copied())
    }

    fn skip(&mut self) {
        self.coming.pop_front();
        self.at += 1;
    }

    fn load(&mut self) -> Result<(), OpError> {
        let Some(reference) = self.next_page()? else {
            self.is_over = true;
            return Ok(());
        };
        self.skip();
        let bytes = self.source.chunk(&mut self.packer, &reference)?;
        let page = Page::decode(&bytes)
            .map_err(|fault| OpError::Unsound(format!("the catalogue: {fault}")))?;
        // Leaf pages stand in a row before all index pages.
        self.is_over = page.level() > 0;
        for (key, value) in page.entries() {
            if *key < self.own_key.as_slice() {
                continue;
            }
            if *key != self.own_key && !key.starts_with(&self.prefix) {
                self.is_over = true;
                break;
            }
            self.entries.push_back(decode_entry(key, value)?);
        }
        Ok(())
    }
}

/// What two sessions hold, by their chunks.
struct Contents<'a> {
    before: Chunks<'a>,
    after: Chunks<'a>,
}

impl Contents<'_> {
    /// Whether both hold the same in the same chunks.
    fn are_the_same(&mut self) -> Result<bool, OpError> {
        let bytes = [&self.before, &self.after].map(|chunks| chunks.source.shape().content_bytes);
        let mut at = 0;
        while bytes[0] == bytes[1] && at < bytes[0] {
            let (one, other) = (self.before.at(at)?, self.after.at(at)?);
            if (one.chunk, one.offset) != (other.chunk, other.offset) {
                return Ok(false);
            }
            at = one.end();
        }
        Ok(bytes[0] == bytes[1])
    }

    /// Whether so many bytes from these places on are the same.
    fn same(&mut self, before: u64, after: u64, length: u64) -> Result<bool, OpError> {
        let mut done = 0;
        while done < length {
            let (one, other) = (self.before.at(before + done)?, self.after.at(after + done)?);
            let (from, to) = (before + done - one.offset, after + done - other.offset);
            let left = (u64::from(one.length) - from).min(u64::from(other.length) - to);
            let piece = left.min(length - done);
            done += piece;
            if one.chunk == other.chunk && from == to {
                continue;
            }
            let is_whole = |of: &Reference, from| from == 0 && u64::from(of.length) == piece;
            if is_whole(&one, from) && is_whole(&other, to) {
                return Ok(false);
            }
            if self.before.bytes(&one, from, piece)? != self.after.bytes(&other, to, piece)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A session's chunks, most of them asked for in order.
struct Chunks<'a> {
    source: &'a dyn SessionSource,
    packer: Packer,
    /// References in a row.
    known: Vec<Reference>,
    /// The chunk that was read last.
    read: Option<(u64, Vec<u8>)>,
}

impl<'a> Chunks<'a> {
    fn of(source: &'a dyn SessionSource) -> Self {
        Self { source, packer: Packer::new(), known: Vec::new(), read: None }
    }

    /// The reference whose chunk holds the byte at `offset`.
    fn at(&mut self, offset: u64) -> Result<Reference, OpError> {
        if let Some(found) = self.find(offset) {
            return Ok(found);
        }
        let first = match self.known.last() {
            None if offset == 0 => 0,
            Some(last) if last.end() == offset => last.index + 1,
            _ => reference_at(self.source, offset)?.index,
        };
        self.known = self.source.references(first, REFERENCES_BATCH)?;
        self.find(offset).ok_or_else(|| {
            let id = &self.source.shape().id;
            OpError::Unsound(format!("session {id} has no chunk for its byte {offset}"))
        })
    }

    fn find(&self, offset: u64) -> Option<Reference> {
        let after = self.known.partition_point(|reference| reference.offset <= offset);
        let found = self.known.get(after.checked_sub(1)?)?;
        found.holds(offset).then_some(*found)
    }

    /// Bytes of a chunk.
    fn bytes(&mut self, of: &Reference, from: u64, length: u64) -> Result<&[u8], OpError> {
        if self.read.as_ref().is_none_or(|(index, _)| *index != of.index) {
            self.read = Some((of.index, self.source.chunk(&mut self.packer, of)?));
        }
        let bytes = self.read.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(bytes.get(from as usize..(from + length) as usize).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
