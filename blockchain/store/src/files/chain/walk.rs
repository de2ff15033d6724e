//! Walking the two kinds of files side by side, block by block.
//!
//! Recovery and the audit read the chain through [`Pairs`], so they cannot disagree about what is
//! whole. Records carry `height + 1` as their sequence: so a record that is gone from one file costs
//! its block that part, and nothing behind it.
//!
//! In one file because it is one walk over two kinds of files, which are only right side by side.

use std::ops::RangeInclusive;
use std::sync::Arc;

use lucid_core::block::Block;
use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockRecord, decode_body};
use lucid_core::transaction::Transaction;

use crate::files::chain::FOLDER;
use crate::files::chain::rows::ListedTransactions;
use crate::files::chain::tip::{FilesEnd, Pruned};
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log::{FileHeader, number_of};
use crate::frame::{self, Header, RecordKind, Scanner, Step};
use crate::{Damage, StoreError};

/// One of the two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileRole {
    Blocks,
    Bodies,
}

impl FileRole {
    pub(super) const BOTH: [Self; 2] = [Self::Blocks, Self::Bodies];

    /// The extension, and the role in the file's header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Bodies => "bodies",
        }
    }

    pub(super) fn kind(self) -> RecordKind {
        match self {
            Self::Blocks => RecordKind::Block,
            Self::Bodies => RecordKind::Body,
        }
    }

    pub(super) fn path(self, number: u32) -> String {
        format!("{FOLDER}/{number:08}.{}", self.name())
    }

    /// The numbers of the files there are, in order.
    pub(super) fn numbers(self, disk: &dyn Disk) -> Result<Vec<u32>, StoreError> {
        let names = disk.list(FOLDER).map_err(StoreError::io(format!("listing {FOLDER}/")))?;
        Ok(names.iter().filter_map(|name| number_of(name, self.name())).collect())
    }

    /// Which files of a range are neither there nor were pruned, as few ranges. `there` is in order.
    pub(super) fn gaps(
        self,
        there: &[u32],
        wanted: RangeInclusive<u32>,
        pruned: &Pruned,
    ) -> Vec<RangeInclusive<u32>> {
        let (first, last) = wanted.into_inner();
        let mut gaps = Vec::new();
        let mut from = first;
        let ends = there.iter().copied().filter(|number| (first..=last).contains(number));
        for number in ends.chain([last.saturating_add(1)]) {
            let to = number.saturating_sub(1);
            // Pruned ones are those behind the first, up to a place.
            let parts = match self {
                Self::Bodies if pruned.file > 2 => {
                    vec![from..=to.min(1), from.max(pruned.file)..=to]
                }
                _ => vec![from..=to],
            };
            gaps.extend(parts.into_iter().filter(|part| !part.is_empty()));
            from = number.saturating_add(1);
        }
        gaps
    }

    /// Bytes of one of the files; 0 when it is not there.
    pub(super) fn length(self, disk: &dyn Disk, number: u32) -> Result<u64, StoreError> {
        let path = self.path(number);
        let context = || StoreError::io(format!("reading {path}"));
        match disk::find(disk, &path)? {
            Ok(file) => file.length().map_err(context()),
            Err(_) => Ok(0),
        }
    }

    /// What is wrong in a record's payload begins at this place.
    pub(super) fn damage(self, file: u32, offset: u64, why: impl std::fmt::Display) -> Damage {
        Damage::new(self.path(file), offset, why)
    }
}

/// What is stored of a block for ever: the length of its transactions' texts, and its record. The length
/// cannot be had from the record, and is wanted when the body is gone.
pub(super) fn join_record(size_bytes: u64, record: &[u8]) -> Vec<u8> {
    [&size_bytes.to_le_bytes(), record].concat()
}

/// Takes the two apart again.
pub(super) fn split_record(payload: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let (size_bytes, record) = payload.split_first_chunk().ok_or("it ends early")?;
    Ok((u64::from_le_bytes(*size_bytes), record))
}

/// A record with a sound header.
#[derive(Debug, Clone)]
pub(super) struct RecordAt {
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) header: Header,
}

impl RecordAt {
    pub(super) fn end(&self) -> FilesEnd {
        FilesEnd { file: self.file, offset: self.offset + self.header.record_bytes() }
    }

    fn hash(&self) -> BlockHash {
        BlockHash::new(self.header.name)
    }
}

/// Damage with its place, so that it can be compared with the tip mark's.
pub(super) type PlacedDamage = (FileRole, FilesEnd, Damage);

struct OpenFile {
    number: u32,
    file: Arc<dyn DiskFile>,
    path: String,
    offset: u64,
    length: u64,
    /// Where the next record was looked for: rubbish between many records is read once.
    window: (Vec<u8>, u64),
}

/// Damage that is named between two records.
const NOISE_MAX: usize = 1_000;

/// Blocks in a row that are lost, and told of one by one; behind so many comes the next that is there,
/// however far ahead it claims to be.
pub(super) const LOST_MAX: u64 = 10_000;

/// The records of one role, in order.
struct Cursor<'a> {
    disk: &'a dyn Disk,
    store: [u8; 16],
    role: FileRole,
    waiting: std::vec::IntoIter<u32>,
    expected: u32,
    from: FilesEnd,
    pruned: Pruned,
    open: Option<OpenFile>,
    peeked: Option<RecordAt>,
    /// The block before, where that is known.
    last: Option<BlockHash>,
    /// Where the last file ended.
    ended: FilesEnd,
    /// Damage met on the way to what was peeked.
    noise: Vec<PlacedDamage>,
}

impl<'a> Cursor<'a> {
    fn new(
        disk: &'a dyn Disk,
        store: [u8; 16],
        role: FileRole,
        from: FilesEnd,
        last: Option<BlockHash>,
        pruned: Pruned,
    ) -> Result<Self, StoreError> {
        let mut numbers = role.numbers(disk)?;
        numbers.retain(|number| *number >= from.file);
        let waiting = numbers.into_iter();
        Ok(Self {
            disk,
            store,
            role,
            waiting,
            expected: from.file.max(1),
            from,
            pruned,
            open: None,
            peeked: None,
            last,
            ended: FilesEnd { file: from.file.max(1), offset: from.offset },
            noise: Vec::new(),
        })
    }

    fn note(&mut self, file: u32, offset: u64, why: impl std::fmt::Display) {
        let damage = self.role.damage(file, offset, why);
        self.note_damage(file, offset, damage);
    }

    fn note_damage(&mut self, file: u32, offset: u64, damage: Damage) {
        if self.noise.len() < NOISE_MAX {
            self.noise.push((self.role, FilesEnd { file, offset }, damage));
        }
    }

    /// The next record of this role, without taking it.
    fn peek(&mut self) -> Result<Option<&RecordAt>, StoreError> {
        while self.peeked.is_none() {
            if self.open.is_none() && !self.open_next()? {
                break;
            }
            self.step()?;
        }
        Ok(self.peeked.as_ref())
    }

    fn take(&mut self) -> Result<Option<RecordAt>, StoreError> {
        self.peek()?;
        let taken = self.peeked.take();
        if let Some(found) = &taken {
            self.last = Some(found.hash());
        }
        Ok(taken)
    }

    fn open_next(&mut self) -> Result<bool, StoreError> {
        let Some(number) = self.waiting.next() else { return Ok(false) };
        for gap in self.role.gaps(&[], self.expected..=number.saturating_sub(1), &self.pruned) {
            let role = self.role;
            let first = *gap.start();
            self.note_damage(first, 0, Damage::missing(gap, |number| role.path(number)));
        }
        if number > self.expected {
            self.last = None;
        }
        self.expected = number.saturating_add(1);
        let path = self.role.path(number);
        let context = || StoreError::io(format!("reading {path}"));
        let file = match disk::find(self.disk, &path)? {
            Ok(file) => file,
            Err(damage) => {
                self.note_damage(number, 0, damage);
                self.last = None;
                return Ok(true);
            }
        };
        let length = file.length().map_err(context())?;
        let offset = if number == self.from.file { self.from.offset } else { 0 };
        if offset == 0 {
            self.check_beginning(file.as_ref(), &path, number)?;
        }
        let window = (Vec::new(), 0);
        self.open = Some(OpenFile { number, file, path, offset, length, window });
        Ok(true)
    }

    /// A file begins with a record that says which store and file it is, and which block was before.
    fn check_beginning(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        number: u32,
    ) -> Result<(), StoreError> {
        let why = match frame::read_header(file, path, 0)? {
            Some(Ok(header)) if header.kind == RecordKind::File => {
                let payload = frame::read_payload(file, path, 0, &header)?;
                match payload.map(|payload| FileHeader::decode(&payload)) {
                    Ok(Ok(facts)) if facts.store != self.store => {
                        "the file belongs to another store"
                    }
                    Ok(Ok(facts)) if (facts.role, facts.number) != (self.role.name(), number) => {
                        "the file was another one before it was renamed"
                    }
                    // After damage it is not known which block was before.
                    Ok(Ok(facts))
                        if self.last.is_some_and(|last| facts.previous != *last.as_bytes())
                            && self.noise.is_empty() =>
                    {
                        "the file does not go on where the one before it ended"
                    }
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(_)) => "the file's first record is none of a chain's file",
                    Err(why) => why,
                }
            }
            // Only the last file may hold nothing: a crash left it before it held a block.
            None if !self.waiting.as_slice().is_empty() => {
                "the file is empty, and others follow it"
            }
            // The scan names what is wrong with a header.
            Some(Err(_)) | None => return Ok(()),
            Some(Ok(_)) => "the file does not begin as it should",
        };
        self.note(number, 0, why);
        Ok(())
    }

    fn step(&mut self) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut scanner = Scanner::new(open.file.as_ref(), &open.path, open.offset, open.length)
            .with_window(std::mem::take(&mut open.window));
        let step = scanner.step()?;
        let (number, before) = (open.number, open.offset);
        open.offset = scanner.offset();
        open.window = scanner.into_window();
        match step {
            None => {
                self.ended = FilesEnd { file: number, offset: before };
                self.open = None;
            }
            Some(Step::Damaged(damage)) => self.note(number, damage.offset, damage.why),
            Some(Step::Record(0, header)) if header.kind == RecordKind::File => {}
            Some(Step::Record(offset, header)) if header.kind == self.role.kind() => {
                self.peeked = Some(RecordAt { file: number, offset, header });
            }
            Some(Step::Record(..)) => {
                self.note(number, before, "the record does not belong in this file");
            }
        }
        Ok(())
    }

    /// Takes the record of a height, if it is there; skips what lies below.
    fn take_height(&mut self, height: u64) -> Result<Option<RecordAt>, StoreError> {
        while let Some(found) = self.peek()? {
            let sequence = found.header.sequence;
            if sequence == height + 1 {
                return self.take();
            }
            if sequence > height + 1 {
                break;
            }
            let (file, offset) = (found.file, found.offset);
            self.peeked = None;
            self.note(file, offset, "the record repeats an earlier block's place");
        }
        Ok(None)
    }

    /// The height of the record that comes next.
    fn next_height(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(self.peek()?.and_then(|found| found.header.sequence.checked_sub(1)))
    }

    fn payload(&self, found: &RecordAt) -> Result<Result<Vec<u8>, Damage>, StoreError> {
        let path = self.role.path(found.file);
        let file = match disk::find(self.disk, &path)? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let payload = frame::read_payload(file.as_ref(), &path, found.offset, &found.header)?;
        Ok(payload.map_err(|why| self.role.damage(found.file, found.offset, why)))
    }
}

/// A body, unless it was pruned.
pub(super) type FoundBody = Option<(RecordAt, Vec<Transaction>)>;

/// A record, and the length of the block's texts that is kept beside it.
pub(super) type FoundRecord = (RecordAt, BlockRecord, u64);

/// One block as the files have it. A part that is lost says where and why.
pub(super) struct Pair {
    pub(super) height: u64,
    pub(super) record: Result<FoundRecord, Damage>,
    pub(super) body: Result<FoundBody, Damage>,
    /// The hash, as far as anything names it.
    pub(super) hash: BlockHash,
    /// The ends of the two records, as far as their headers are sound.
    pub(super) ends: (Option<FilesEnd>, Option<FilesEnd>),
    /// What was found to be wrong on the way here, the lost parts included.
    pub(super) damage: Vec<PlacedDamage>,
}

impl Pair {
    /// What rows say of its transactions, from whichever part is sound.
    pub(super) fn listed(&self) -> Option<ListedTransactions> {
        match (&self.record, &self.body) {
            (Ok((_, record, _)), _) => Some(ListedTransactions::of_record(record)),
            (_, Ok(Some((_, body)))) => Some(ListedTransactions::of_body(body)),
            _ => None,
        }
    }

    /// Whether both parts are there, each other's, and follow the block before.
    pub(super) fn is_whole(&self, parent: BlockHash) -> bool {
        let (Ok((_, record, _)), Ok(Some(_))) = (&self.record, &self.body) else { return false };
        record.entry.previous_hash == parent && record.check().is_ok()
    }
}

/// The blocks of the files, in order.
pub(super) struct Pairs<'a> {
    blocks: Cursor<'a>,
    bodies: Cursor<'a>,
    pruned: Pruned,
    next: u64,
    /// How many blocks in a row were lost.
    lost: u64,
}

impl<'a> Pairs<'a> {
    /// Starts at a height whose records begin at these places, behind the block `last`.
    pub(super) fn new(
        disk: &'a dyn Disk,
        store: [u8; 16],
        height: u64,
        (blocks, bodies): (FilesEnd, FilesEnd),
        last: BlockHash,
        pruned: Pruned,
    ) -> Result<Self, StoreError> {
        let last = Some(last);
        Ok(Self {
            blocks: Cursor::new(disk, store, FileRole::Blocks, blocks, last, pruned)?,
            bodies: Cursor::new(disk, store, FileRole::Bodies, bodies, last, pruned)?,
            pruned,
            next: height,
            lost: 0,
        })
    }

    /// The next block; `None` when both kinds of files have ended.
    pub(super) fn next(&mut self) -> Result<Option<Pair>, StoreError> {
        let mut height = self.next;
        let mut record = self.blocks.take_height(height)?;
        let mut body = self.bodies.take_height(height)?;
        if record.is_none() && body.is_none() {
            let ahead = [self.blocks.next_height()?, self.bodies.next_height()?];
            let Some(ahead) = ahead.into_iter().flatten().min() else { return Ok(None) };
            self.lost += 1;
            if self.lost > LOST_MAX {
                height = height.max(ahead);
                record = self.blocks.take_height(height)?;
                body = self.bodies.take_height(height)?;
            }
        } else {
            self.lost = 0;
        }
        self.next = height + 1;
        let ends = (record.as_ref().map(RecordAt::end), body.as_ref().map(RecordAt::end));
        let named = record.as_ref().or(body.as_ref()).map(RecordAt::hash);
        let mut damage: Vec<PlacedDamage> = Vec::new();
        let record = self.read_record(height, record)?;
        let body =
            self.read_body(height, body, record.as_ref().ok().map(|(_, record, _)| record))?;
        damage.append(&mut self.blocks.noise);
        damage.append(&mut self.bodies.noise);
        for (role, part) in
            [(FileRole::Blocks, record.as_ref().err()), (FileRole::Bodies, body.as_ref().err())]
        {
            let known = |lost: &Damage| damage.iter().any(|(_, _, known)| known == lost);
            if let Some(lost) = part.filter(|lost| !known(lost)) {
                let cursor = if role == FileRole::Blocks { &self.blocks } else { &self.bodies };
                let file = cursor.file_of(lost);
                damage.push((role, FilesEnd { file, offset: lost.offset }, lost.clone()));
            }
        }
        let hash = named.unwrap_or(BlockHash::ZERO);
        Ok(Some(Pair { height, record, body, hash, ends, damage }))
    }

    /// Damage met behind the last block.
    pub(super) fn rest(&mut self) -> Vec<PlacedDamage> {
        let mut rest = std::mem::take(&mut self.blocks.noise);
        rest.append(&mut self.bodies.noise);
        rest
    }

    fn read_record(
        &mut self,
        height: u64,
        found: Option<RecordAt>,
    ) -> Result<Result<FoundRecord, Damage>, StoreError> {
        let Some(found) = found else { return Ok(Err(self.blocks.absent(height))) };
        let payload = match self.blocks.payload(&found)? {
            Ok(payload) => payload,
            Err(damage) => return Ok(Err(damage)),
        };
        let damage = |why: String| FileRole::Blocks.damage(found.file, found.offset, why);
        let (size_bytes, bytes) = match split_record(&payload) {
            Ok(parts) => parts,
            Err(why) => return Ok(Err(damage(why.to_owned()))),
        };
        Ok(match BlockRecord::decode(bytes) {
            Err(fault) => Err(damage(fault.to_string())),
            Ok(record) if record.entry.index != height || record.entry.hash != found.hash() => {
                Err(damage("the record is of another block than its header says".to_owned()))
            }
            Ok(record) => Ok((found, record, size_bytes)),
        })
    }

    fn read_body(
        &mut self,
        height: u64,
        found: Option<RecordAt>,
        record: Option<&BlockRecord>,
    ) -> Result<Result<FoundBody, Damage>, StoreError> {
        let Some(found) = found else {
            let pruned = 0 < height && height < self.pruned.below;
            return Ok(if pruned { Ok(None) } else { Err(self.bodies.absent(height)) });
        };
        let payload = match self.bodies.payload(&found)? {
            Ok(payload) => payload,
            Err(damage) => return Ok(Err(damage)),
        };
        let damage = |why: String| FileRole::Bodies.damage(found.file, found.offset, why);
        let body = match decode_body(&payload) {
            Err(fault) => return Ok(Err(damage(fault.to_string()))),
            Ok(body) => body,
        };
        let Some(record) = record else { return Ok(Ok(Some((found, body)))) };
        if record.entry.hash != found.hash() {
            return Ok(Err(damage("the body is another block's than the record".to_owned())));
        }
        Ok(match Block::from_parts(record, body) {
            Err(fault) => Err(damage(fault.to_string())),
            Ok(block) => Ok(Some((found, block.transactions))),
        })
    }
}

impl Cursor<'_> {
    /// Why there is no record of a height: the damage met while looking for it, or simply that.
    fn absent(&self, height: u64) -> Damage {
        if let Some((_, _, damage)) = self.noise.last() {
            return damage.clone();
        }
        let (file, offset) = match (&self.peeked, &self.open) {
            (Some(found), _) => (found.file, found.offset),
            (None, Some(open)) => (open.number, open.offset),
            (None, None) => (self.ended.file, self.ended.offset),
        };
        self.role.damage(file, offset, format!("the record of block {height} is missing"))
    }

    fn file_of(&self, damage: &Damage) -> u32 {
        let name = damage.file.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        name.and_then(|name| number_of(name, self.role.name())).unwrap_or(0)
    }
}
