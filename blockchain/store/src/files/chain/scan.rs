//! A whole chain read from its files, front to back, with neither its index nor its tip mark: for judging it
//! at the pace of the disk.
//!
//! Called by `lucid chain validate`. It looks up nothing and repairs nothing, so it knows one answer only:
//! every record and body from genesis to the tip mark is there and is the one that was written. Anything else (a
//! gap, damage, pruned bodies, a tail that no tip mark speaks of) is [`Unsound`], and opening the chain says what
//! it is. Invariant: what was committed when it began does not change beside an owner that goes on writing, but
//! for pruning, which is `Unsound` too.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use lucid_core::digest::BlockHash;
use lucid_core::record::Head;

use crate::contract::chain::Tip;
use crate::files::chain::tip::{self, FoundTip, Pruned, TipMark};
use crate::files::chain::walk::{FileRole, split_record};
use crate::files::disk::real::RealDisk;
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::folder::{self, Beside};
use crate::files::log::FileHeader;
use crate::frame::{HEADER_BYTES, Header, RecordKind};

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Something is not as it must be to be read this way. The chain says what, when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsound;

/// A chain that is read from its files.
pub struct ChainScan {
    mark: TipMark,
    next: u64,
    records: Stream,
    bodies: Stream,
    /// Who writes to the chain meanwhile.
    owner: Option<String>,
    /// Why nobody could write to it from here, if so.
    unwritable: Option<&'static str>,
    /// Keeps owners away while it is read, where there is none.
    _lock: Option<File>,
}

/// Blocks in a row, as bytes that nobody has looked at.
pub struct Raw {
    first: u64,
    records: Frames,
    bodies: Frames,
}

/// Records of one role in a row.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    each: Vec<(Header, Range<usize>)>,
}

impl ChainScan {
    /// Begins with the chain of a folder of a block-manager.
    pub fn begin(root: &Path) -> Result<Self, Unsound> {
        let beside = folder::beside(root).map_err(|_| Unsound)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::for_reading(root));
        let store = folder::store_id(disk.as_ref()).ok_or(Unsound)?;
        let Ok(FoundTip::At(mark)) = tip::read(disk.as_ref()) else { return Err(Unsound) };
        let (owner, lock) = match beside {
            Beside::Owner(owner) => (Some(owner), None),
            Beside::Nobody(lock) => (None, lock),
        };
        let scan = Self {
            mark,
            next: 0,
            records: Stream::begin(disk.clone(), store, FileRole::Blocks)?,
            bodies: Stream::begin(disk, store, FileRole::Bodies)?,
            owner,
            unwritable: folder::unwritable(root),
            _lock: lock,
        };
        // Which bodies may be gone is for the index to say.
        if mark.pruned == Pruned::default() { Ok(scan) } else { Err(Unsound) }
    }

    /// The newest block that is read.
    pub fn tip(&self) -> Tip {
        Tip { height: self.mark.height, hash: self.mark.hash }
    }

    /// Who writes to the chain meanwhile, if there is such an owner.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Why the folder could not be written to, if so.
    pub fn unwritable(&self) -> Option<&'static str> {
        self.unwritable
    }

    /// The next blocks, with not much more than so many bytes of bodies; none behind the last one.
    pub fn next(&mut self, blocks: usize, bytes: usize) -> Result<Option<Raw>, Unsound> {
        let first = self.next;
        let left = (self.mark.height + 1).saturating_sub(first);
        if left == 0 {
            return self.end().map(|()| None);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(blocks);
        let bodies = self.bodies.take(first, most, bytes)?;
        let records = self.records.take(first, bodies.each.len(), usize::MAX)?;
        self.next += bodies.each.len() as u64;
        Ok(Some(Raw { first, records, bodies }))
    }

    /// Behind the last block there is nothing, unless an owner is just writing it.
    fn end(&self) -> Result<(), Unsound> {
        let ends = [(self.records.end(), self.mark.blocks), (self.bodies.end(), self.mark.bodies)];
        let at_the_tip_mark = ends.iter().all(|(end, mark)| *end == (mark.file, mark.offset));
        let is_tip = self.records.last == Some(*self.mark.hash.as_bytes());
        let is_last = || self.records.is_last() && self.bodies.is_last();
        match at_the_tip_mark && is_tip && (self.owner.is_some() || is_last()) {
            true => Ok(()),
            false => Err(Unsound),
        }
    }
}

impl Raw {
    /// Checks the bytes against their digests, and hands over each block's head, record and body. Of the
    /// record the head alone was looked at.
    pub fn open<'a, T>(
        &'a self,
        mut take: impl FnMut(Head, &'a [u8], &'a [u8]) -> Result<T, Unsound>,
    ) -> Result<Vec<T>, Unsound> {
        if self.records.each.len() != self.bodies.each.len() {
            return Err(Unsound);
        }
        let mut taken = Vec::with_capacity(self.bodies.each.len());
        let pairs = self.records.sound().zip(self.bodies.sound());
        for (height, (record, body)) in (self.first..).zip(pairs) {
            let ((named, record), (body_of, body)) = (record?, body?);
            let (_, record) = split_record(record).map_err(|_| Unsound)?;
            let head = Head::of_bytes(record).map_err(|_| Unsound)?;
            let is_this = head.entry.index == height
                && head.entry.hash == BlockHash::new(named)
                && named == body_of;
            if !is_this {
                return Err(Unsound);
            }
            taken.push(take(head, record, body)?);
        }
        Ok(taken)
    }
}

impl Frames {
    /// What each is called and holds, if it matches its digest.
    fn sound(&self) -> impl Iterator<Item = Result<([u8; 32], &[u8]), Unsound>> {
        self.each.iter().map(|(header, range)| {
            let payload = self.bytes.get(range.clone()).unwrap_or_default();
            if header.matches(payload) { Ok((header.name, payload)) } else { Err(Unsound) }
        })
    }
}

/// The records of one role, through all files.
struct Stream {
    disk: Arc<dyn Disk>,
    store: [u8; 16],
    role: FileRole,
    /// Files behind the one that is open.
    waiting: VecDeque<u32>,
    number: u32,
    file: Arc<dyn DiskFile>,
    /// Where in the file the bytes end.
    read: u64,
    bytes: Vec<u8>,
    at: usize,
    /// Whether the file's first record is still to come.
    is_new: bool,
    /// The block before.
    last: Option<[u8; 32]>,
}

impl Stream {
    fn begin(disk: Arc<dyn Disk>, store: [u8; 16], role: FileRole) -> Result<Self, Unsound> {
        let mut waiting: VecDeque<u32> = role.numbers(disk.as_ref()).map_err(|_| Unsound)?.into();
        let number = waiting.pop_front().filter(|number| *number == 1).ok_or(Unsound)?;
        let file = open(disk.as_ref(), role, number)?;
        let (bytes, last) = (Vec::new(), None);
        Ok(Self {
            disk,
            store,
            role,
            waiting,
            number,
            file,
            read: 0,
            bytes,
            at: 0,
            is_new: true,
            last,
        })
    }

    /// Where the next record begins: the file, and the place in it.
    fn end(&self) -> (u32, u64) {
        (self.number, self.read - (self.bytes.len() - self.at) as u64)
    }

    /// Whether nothing follows.
    fn is_last(&self) -> bool {
        let end = self.end().1;
        self.waiting.is_empty() && self.file.length().is_ok_and(|length| length == end)
    }

    /// Takes the records of so many blocks, or until they have so many bytes.
    fn take(&mut self, first: u64, blocks: usize, bytes: usize) -> Result<Frames, Unsound> {
        let (mut each, mut taken) = (Vec::new(), 0_usize);
        while each.len() < blocks && taken < bytes {
            match self.frame()? {
                Next::File => self.open_next()?,
                Next::Record(header, range) => {
                    let height = first + each.len() as u64;
                    if header.kind != self.role.kind() || header.sequence != height + 1 {
                        return Err(Unsound);
                    }
                    self.last = Some(header.name);
                    taken += range.len();
                    self.at = range.end;
                    each.push((header, range));
                }
            }
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut next = Vec::with_capacity(READ_BYTES + rest.len());
        next.extend_from_slice(rest);
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        bytes.truncate(self.at);
        self.at = 0;
        Ok(Frames { bytes, each })
    }

    /// The record that comes next, and where its payload is in the bytes.
    fn frame(&mut self) -> Result<Next, Unsound> {
        loop {
            if !self.reach(HEADER_BYTES)? {
                return Ok(Next::File);
            }
            let head = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
            let header = Header::decode(head.ok_or(Unsound)?).map_err(|_| Unsound)?;
            let length = HEADER_BYTES.saturating_add(header.stored_length as usize);
            if !self.reach(length)? {
                return Err(Unsound);
            }
            let range = self.at + HEADER_BYTES..self.at + length;
            if !self.is_new {
                return Ok(Next::Record(header, range));
            }
            let payload = self.bytes.get(range.clone()).unwrap_or_default();
            self.check_beginning(&header, payload)?;
            (self.is_new, self.at) = (false, range.end);
        }
    }

    /// A file says which it is, and which block was before.
    fn check_beginning(&self, header: &Header, payload: &[u8]) -> Result<(), Unsound> {
        let is_sound = header.kind == RecordKind::File && header.matches(payload);
        let facts = FileHeader::decode(payload).ok().filter(|_| is_sound).ok_or(Unsound)?;
        let is_this = facts.store == self.store
            && (facts.role, facts.number) == (self.role.name(), self.number)
            && facts.previous == self.last.unwrap_or_default();
        if is_this { Ok(()) } else { Err(Unsound) }
    }

    /// Reads until there are so many bytes from here; none at all at the end of the file.
    fn reach(&mut self, wanted: usize) -> Result<bool, Unsound> {
        while self.bytes.len() - self.at < wanted {
            let filled = self.bytes.len();
            self.bytes.resize(filled + READ_BYTES.max(wanted), 0);
            let room = self.bytes.get_mut(filled..).unwrap_or_default();
            let count = self.file.read_some(self.read, room).map_err(|_| Unsound)?;
            self.bytes.truncate(filled + count);
            self.read += count as u64;
            match (count, self.bytes.len() == self.at) {
                (0, true) => return Ok(false),
                (0, false) => return Err(Unsound),
                _ => {}
            }
        }
        Ok(true)
    }

    fn open_next(&mut self) -> Result<(), Unsound> {
        let number = self.waiting.pop_front().filter(|number| *number == self.number + 1);
        self.number = number.ok_or(Unsound)?;
        self.file = open(self.disk.as_ref(), self.role, self.number)?;
        // What is read of it follows what is read already.
        (self.read, self.is_new) = (0, true);
        Ok(())
    }
}

/// What comes next in a file.
enum Next {
    Record(Header, Range<usize>),
    /// Another file, or nothing.
    File,
}

fn open(disk: &dyn Disk, role: FileRole, number: u32) -> Result<Arc<dyn DiskFile>, Unsound> {
    disk::find(disk, &role.path(number)).ok().and_then(Result::ok).ok_or(Unsound)
}
