//! Reading many blocks at once: their records lie one behind the other, so a window of the file serves
//! hundreds of them.
//!
//! Used to list, to check, and to hand blocks to others. Every record must match its digest and be that of
//! its height; the first is held against its row, and each behind it against the one before. Which body is a
//! block's own is for the caller to say, which joins bodies with records.

use std::sync::Arc;

use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;

use crate::contract::chain::{Body, StoredRecord, Stretch};
use crate::files::chain::ChainFiles;
use crate::files::chain::rows::{Part, Row, Totals};
use crate::files::chain::walk::{FileRole, split_record};
use crate::files::disk::{self, DiskFile};
use crate::frame::{HEADER_BYTES, Header, RecordKind};
use crate::{Damage, StoreError};

/// Bytes of a file that are read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A part of one of the files.
struct Window {
    file: Arc<dyn DiskFile>,
    path: String,
    number: u32,
    /// Where the next record begins.
    offset: u64,
    /// Where the bytes begin.
    base: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// So many bytes from the offset on; fewer at the end of the file.
    fn read(&mut self, count: usize) -> Result<&[u8], StoreError> {
        if self.at().saturating_add(count) > self.bytes.len() {
            self.bytes.resize(count.max(WINDOW_BYTES), 0);
            // What the medium does not give back is zeros, which are no record and match no digest.
            let file = self.file.as_ref();
            let read = disk::read_around(file, self.offset, &mut self.bytes, &mut Vec::new());
            self.bytes.truncate(read.map_err(StoreError::reading(&self.path, self.offset))?);
            self.base = self.offset;
        }
        let rest = self.bytes.get(self.at()..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }

    /// Where the next record begins in the bytes.
    fn at(&self) -> usize {
        usize::try_from(self.offset - self.base).unwrap_or(usize::MAX)
    }
}

/// Payloads of one role, from a height on.
struct Walk<'a> {
    chain: &'a ChainFiles,
    role: FileRole,
    window: Window,
}

impl Walk<'_> {
    /// The next record, which must be that of the height; lends its payload.
    fn next(&mut self, height: u64) -> Result<Result<(Header, &[u8]), Damage>, StoreError> {
        let header = loop {
            match self.header()? {
                Err(why) => return Ok(Err(self.damage(why))),
                Ok(None) => match self.chain.window(self.role, self.window.number + 1, 0)? {
                    Some(next) => self.window = next,
                    None => return Ok(Err(self.damage("the file ends early"))),
                },
                Ok(Some(header)) if header.kind == RecordKind::File && self.window.offset == 0 => {
                    self.window.offset += header.record_bytes();
                }
                Ok(Some(header)) => break header,
            }
        };
        if header.kind != self.role.kind() || header.sequence != height + 1 {
            return Ok(Err(self.damage("another record is in this place")));
        }
        let damage = self.damage("the record does not match its digest");
        let length = HEADER_BYTES + header.stored_length as usize;
        self.window.read(length)?;
        let at = self.window.at();
        self.window.offset += length as u64;
        let payload = self.window.bytes.get(at + HEADER_BYTES..at + length).unwrap_or_default();
        Ok(if header.matches(payload) { Ok((header, payload)) } else { Err(damage) })
    }

    /// The header that comes next; none at the end of the file.
    fn header(&mut self) -> Result<Result<Option<Header>, &'static str>, StoreError> {
        let bytes = self.window.read(HEADER_BYTES)?;
        Ok(match bytes.first_chunk::<HEADER_BYTES>() {
            Some(bytes) => Header::decode(bytes).map(Some),
            None if bytes.is_empty() => Ok(None),
            None => Err("the file ends inside a record's header"),
        })
    }

    fn damage(&self, why: &str) -> Damage {
        self.role.damage(self.window.number, self.window.offset, why)
    }
}

impl ChainFiles {
    fn window(
        &self,
        role: FileRole,
        number: u32,
        offset: u64,
    ) -> Result<Option<Window>, StoreError> {
        let path = role.path(number);
        let opened = disk::find(self.disk.as_ref(), &path)?.ok();
        Ok(opened.map(|file| Window {
            file,
            path,
            number,
            offset,
            base: offset,
            bytes: Vec::new(),
        }))
    }

    /// Where a stretch begins, and how many blocks it has at most; none beyond the tip.
    fn begin(&self, stretch: Stretch) -> Result<Option<(Row, u64)>, StoreError> {
        let Some(row) = self.row(stretch.from)? else { return Ok(None) };
        let Some(tip) = *self.tip.read() else { return Ok(None) };
        let blocks = (tip.height - stretch.from + 1).min(stretch.blocks as u64);
        Ok((blocks > 0).then_some((row, blocks)))
    }

    fn walk(&self, role: FileRole, part: &Part) -> Result<Option<Walk<'_>>, StoreError> {
        let Part::At { file, offset } = part else { return Ok(None) };
        let window = self.window(role, *file, *offset)?;
        Ok(window.map(|window| Walk { chain: self, role, window }))
    }

    /// Walks over records, and hands each to `take`, which says why it is wrong.
    fn each_record(
        &self,
        stretch: Stretch,
        mut take: impl FnMut(u64, &Row, &Header, &[u8]) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let Some((row, blocks)) = self.begin(stretch)? else { return Ok(()) };
        // A single read says most exactly what is wrong.
        let first = |damage| {
            self.read(FileRole::Blocks, stretch.from, &row)?;
            Err(self.name(damage))
        };
        let Some(mut walk) = self.walk(FileRole::Blocks, &row.record)? else {
            // A single read says what is wrong.
            return self.read(FileRole::Blocks, stretch.from, &row).map(|_| ());
        };
        let mut bytes = 0_usize;
        for height in stretch.from..stretch.from + blocks {
            let begun = (walk.window.number, walk.window.offset);
            let wrong = match walk.next(height)? {
                Err(damage) => Some(damage),
                Ok((header, payload)) => {
                    bytes += payload.len();
                    let named = height > stretch.from || header.name == *row.hash.as_bytes();
                    let taken = match named {
                        true => take(height, &row, &header, payload),
                        false => Err("another record is in this place".to_owned()),
                    };
                    taken.err().map(|why| FileRole::Blocks.damage(begun.0, begun.1, why))
                }
            };
            match wrong {
                Some(damage) if height == stretch.from => return first(damage),
                // The next call begins here, and names it.
                Some(_) => return Ok(()),
                None if bytes >= stretch.bytes => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn stretch_of_records(
        &self,
        stretch: Stretch,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut records: Vec<StoredRecord> = Vec::new();
        let mut before: Option<Totals> = None;
        self.each_record(stretch, |height, row, header, payload| {
            let (size_bytes, bytes) = split_record(payload)?;
            let record = BlockRecord::decode(bytes).map_err(|fault| fault.to_string())?;
            if record.entry.index != height || record.entry.hash != BlockHash::new(header.name) {
                return Err("the record is of another block than its header says".to_owned());
            }
            if let Some(last) = records.last()
                && last.record.entry.hash != record.entry.previous_hash
            {
                return Err("the block does not follow the one before it".to_owned());
            }
            let totals = before.unwrap_or(row.before);
            before = Some(Totals {
                transactions: totals.transactions + record.transactions.len() as u64,
                bytes: totals.bytes + size_bytes,
            });
            let (transactions_before, bytes_before) = (totals.transactions, totals.bytes);
            records.push(StoredRecord { record, size_bytes, transactions_before, bytes_before });
            Ok(())
        })?;
        Ok(records)
    }

    pub(super) fn stretch_of_record_bytes(
        &self,
        stretch: Stretch,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut records = Vec::new();
        self.each_record(stretch, |_, _, _, payload| {
            records.push(split_record(payload)?.1.to_vec());
            Ok(())
        })?;
        Ok(records)
    }

    pub(super) fn stretch_of_bodies(
        &self,
        stretch: Stretch,
    ) -> Result<Vec<Body<Vec<u8>>>, StoreError> {
        let (mut bodies, mut bytes) = (Vec::new(), 0_usize);
        let Some((_, blocks)) = self.begin(stretch)? else { return Ok(bodies) };
        let mut walk: Option<Walk<'_>> = None;
        for height in stretch.from..stretch.from + blocks {
            if let Some(Ok((_, payload))) =
                walk.as_mut().map(|walk| walk.next(height)).transpose()?
            {
                bytes += payload.len();
                bodies.push(Body::Here(payload.to_vec()));
            } else {
                // At the beginning, and behind what was pruned or is damaged.
                let Some(row) = self.row(height)? else { break };
                match self.read(FileRole::Bodies, height, &row) {
                    Ok(body) => {
                        bytes += if let Body::Here(payload) = &body { payload.len() } else { 0 };
                        bodies.push(body);
                    }
                    Err(error) if bodies.is_empty() => return Err(error),
                    Err(_) => break,
                }
                walk = self.walk(FileRole::Bodies, &row.body)?;
                if let Some(walk) = &mut walk {
                    // Passes over what was just read.
                    let _read_already = walk.next(height)?;
                }
            }
            if bytes >= stretch.bytes {
                break;
            }
        }
        Ok(bodies)
    }
}
