//! Reads everything that a store keeps, by its contracts, and says what is wrong; nothing is written, and nothing is
//! quarantined.
//!
//! For stores that are not all in files: of those, every byte of every file is looked at (`files/audit`). Here it is
//! every record of the log, and of the chunks each that the rows say is there, so an object that is missing is noticed,
//! and one that nothing names is not.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use crate::codec::Packer;
use crate::contract::blobs::Placement;
use crate::contract::fact_log::Reread;
use crate::crypt::Unopened;
use crate::damage::DamageList;
use crate::frame::{self, Header, RecordKind};
use crate::vault::{Vault, chunk_rows};
use crate::{Damage, StoreError};

/// Rows that are taken at a time.
const ROWS: usize = 4_096;
/// Chunks that are read at once: reading one is mostly waiting.
const READERS: usize = 8;

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Audited {
    /// Records that were read, opened and hashed again.
    pub records: u64,
    /// Bytes that came out of them.
    pub plain_bytes: u64,
    /// What is wrong, by place.
    pub damage: DamageList,
    /// Records whose data key is not here, and objects that are not there now: nobody knows whether they are sound.
    pub unknown: Vec<String>,
}

/// What came of one record.
enum Found {
    Sound(u64),
    Damaged(Damage),
    Unknown(String),
}

/// So many of those of which nothing is known are named.
const UNKNOWN_MAX: usize = 1_000;

impl Audited {
    fn note(&mut self, found: Found) {
        self.records += 1;
        match found {
            Found::Sound(bytes) => self.plain_bytes += bytes,
            Found::Damaged(damage) => {
                self.damage.note(damage);
            }
            Found::Unknown(why) if self.unknown.len() < UNKNOWN_MAX => self.unknown.push(why),
            Found::Unknown(_) => {}
        }
    }
}

impl Vault {
    /// Reads all of it. `progress` hears how many bytes of how many are read, as they are stored.
    pub fn audit(&self, progress: &dyn Fn(u64, u64)) -> Result<Audited, StoreError> {
        let total = self.stored_bytes()?;
        let (mut audited, mut done) = (Audited::default(), 0);
        let (mut packer, mut room) = (Packer::new(), Vec::new());
        self.log().reread((0, 0), &mut |found| {
            audited.note(match found {
                Reread::Damaged(damage) => Found::Damaged(damage),
                Reread::Record { header, payload, file, offset } => {
                    done += header.record_bytes();
                    progress(done.min(total), total);
                    match payload {
                        Ok(payload) => {
                            self.judge(&mut packer, &mut room, &header, payload, file, offset)
                        }
                        Err(why) => Found::Damaged(Damage::new(file, offset, why)),
                    }
                }
            });
            Ok(true)
        })?;
        let audited = Mutex::new((audited, done));
        let mut behind = None;
        loop {
            let mut rows = chunk_rows::page(self.index(), behind.as_ref(), ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            behind = Some(*last);
            // Those of one unit lie together.
            rows.sort_by_key(|(_, at)| at.place());
            self.read_rows(&rows, &audited, &|done| progress(done.min(total), total))?;
        }
        Ok(audited.into_inner().0)
    }

    /// Reads the chunks of these rows, several at once.
    fn read_rows(
        &self,
        rows: &[(ChunkName, Placement)],
        audited: &Mutex<(Audited, u64)>,
        progress: &dyn Fn(u64),
    ) -> Result<(), StoreError> {
        let share = rows.len().div_ceil(READERS).max(1);
        let ended: Result<(), StoreError> = std::thread::scope(|scope| {
            let read = |rows: &'_ [(ChunkName, Placement)]| {
                let (mut packer, mut room) = (Packer::new(), Vec::new());
                for (name, at) in rows {
                    let found = match self.read_one(&mut packer, &mut room, name, at)? {
                        ControlFlow::Continue(found) => found,
                        // It was dropped, or moved, since the rows were looked at.
                        ControlFlow::Break(()) => continue,
                    };
                    let mut audited = audited.lock();
                    audited.0.note(found);
                    audited.1 += at.record_bytes();
                }
                Ok(())
            };
            let mut waiting = Vec::new();
            for part in rows.chunks(share) {
                let named = std::thread::Builder::new().name("audit".into());
                match named.spawn_scoped(scope, move || read(part)) {
                    Ok(reader) => waiting.push(reader),
                    // Without another thread it is done here.
                    Err(_) => read(part)?,
                }
            }
            for reader in waiting {
                let failed = || StoreError::Folder("a reader of the audit ended early".into());
                reader.join().unwrap_or_else(|_| Err(failed()))?;
            }
            Ok(())
        });
        progress(audited.lock().1);
        ended
    }

    fn read_one(
        &self,
        packer: &mut Packer,
        room: &mut Vec<u8>,
        name: &ChunkName,
        at: &Placement,
    ) -> Result<ControlFlow<(), Found>, StoreError> {
        let unit = self.blobs().title(at.unit);
        let found = match self.blobs().read(name, at) {
            Ok((header, payload)) => self.judge(packer, room, &header, payload, &unit, at.offset),
            Err(StoreError::Damaged(damage)) => Found::Damaged(damage),
            Err(StoreError::Io { kind: ErrorKind::NotFound, .. }) => Found::Unknown(format!(
                "{unit} at byte {}: the object is not there now; `lucid scrub` tells, hours apart, whether it is lost",
                at.offset
            )),
            Err(error) => return Err(error),
        };
        if let Found::Sound(_) = found {
            return Ok(ControlFlow::Continue(found));
        }
        Ok(match chunk_rows::placement(self.index(), name)? {
            Some(now) if now == *at => ControlFlow::Continue(found),
            _ => ControlFlow::Break(()),
        })
    }

    /// Opens a record and hashes what comes out.
    fn judge(
        &self,
        packer: &mut Packer,
        room: &mut Vec<u8>,
        header: &Header,
        mut payload: Vec<u8>,
        file: &str,
        offset: u64,
    ) -> Found {
        let damaged = |why: String| Found::Damaged(Damage::new(file, offset, why));
        if !header.matches(&payload) {
            return damaged(frame::UNSOUND.into());
        }
        if !matches!(header.kind, RecordKind::Fact | RecordKind::Chunk) {
            return Found::Sound(payload.len() as u64);
        }
        match self.cipher().check(packer, header, &mut payload, room) {
            Ok(()) => Found::Sound(u64::from(header.plain_length)),
            Err(Unopened::Damaged(why)) => damaged(why),
            Err(why @ Unopened::NoKey(_)) => {
                Found::Unknown(format!("{file} at byte {offset}: {why}"))
            }
        }
    }
}
