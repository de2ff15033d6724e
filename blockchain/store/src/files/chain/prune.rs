//! Pruning: whole files of bodies go, and the tip mark says so before they do.
//!
//! A file goes when all its bodies lie below the height that is asked for, nothing in it is known to be
//! damaged, and the record of every block in it was just read: it is what answers for the block from
//! then on. What a crash leaves of it goes with the next call.

use crate::contract::chain::{Pruning, Stretch};
use crate::files::chain::ChainFiles;
use crate::files::chain::tip::Pruned;
use crate::files::chain::walk::FileRole;
use crate::files::disk;
use crate::frame;
use crate::{CommitError, Damage, StoreError};

/// Records that are read at once.
const RECORDS: Stretch = Stretch { from: 0, blocks: 4_096, bytes: 4 << 20 };

/// A file of bodies, and the heights in it.
struct File {
    number: u32,
    from: u64,
    to: u64,
}

impl ChainFiles {
    pub(super) fn remove_bodies(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        if let Some(why) = &self.read_only {
            return Err(CommitError::Failed(why.clone()));
        }
        let failed = |error: StoreError| CommitError::Failed(error.to_string());
        let mut pruning = Pruning::default();
        let (files, behind) = self.prunable(keep_from, &mut pruning).map_err(failed)?;
        let mut going = Vec::new();
        for file in files {
            match self.reason_to_keep(&file).map_err(failed)? {
                Some(damage) => pruning.spared.push(damage),
                None => going.push(file),
            }
        }
        if going.is_empty() {
            return Ok(pruning);
        }
        self.note(behind)?;
        // The tip mark says that they may be gone: what is not removed now is by the next call.
        let partly = |error: StoreError| CommitError::Partly(error.to_string());
        for file in going {
            let path = FileRole::Bodies.path(file.number);
            let bytes = FileRole::Bodies.length(self.disk.as_ref(), file.number).map_err(partly)?;
            self.disk
                .unlink(&path)
                .map_err(StoreError::io(format!("removing {path}")))
                .map_err(partly)?;
            pruning.blocks += file.to - file.from;
            pruning.files += 1;
            pruning.bytes += bytes;
        }
        Ok(pruning)
    }

    /// Says durably that the files before one may be missing.
    fn note(&self, behind: Pruned) -> Result<(), CommitError> {
        let mut writer = self.writer.lock();
        if let Some(why) = writer.broken() {
            return Err(CommitError::Broken(why.to_owned()));
        }
        let known = writer.tip().map(|tip| tip.pruned).unwrap_or_default();
        if behind > known {
            let noted = writer.note_pruned(behind);
            // The tip mark decides, whether or not the index has followed.
            *self.pruned.write() = writer.tip().map(|tip| tip.pruned).unwrap_or_default();
            noted?;
        }
        Ok(())
    }

    /// The files whose bodies all lie below a height, and what comes behind them.
    fn prunable(
        &self,
        keep_from: u64,
        pruning: &mut Pruning,
    ) -> Result<(Vec<File>, Pruned), StoreError> {
        let numbers = FileRole::Bodies.numbers(self.disk.as_ref())?;
        let (mut files, mut behind) = (Vec::new(), Pruned::default());
        let mut last: Option<(u32, u64)> = None;
        for number in numbers.into_iter().filter(|number| *number > 1) {
            let from = match self.first_height(number)? {
                Ok(from) => from,
                Err(damage) => {
                    // Where it begins is not known, so neither is where the one before it ends.
                    pruning.spared.push(damage);
                    last = None;
                    continue;
                }
            };
            if let Some((number, before)) = last
                && from <= keep_from
            {
                files.push(File { number, from: before, to: from });
            }
            if from > keep_from {
                break;
            }
            behind = Pruned { file: number, below: from };
            last = Some((number, from));
        }
        Ok((files, behind))
    }

    /// The height of the first body of a file, which its first record says.
    fn first_height(&self, number: u32) -> Result<Result<u64, Damage>, StoreError> {
        let path = FileRole::Bodies.path(number);
        let header = match disk::find(self.disk.as_ref(), &path)? {
            Ok(file) => frame::read_header(file.as_ref(), &path, 0)?,
            Err(damage) => return Ok(Err(damage)),
        };
        Ok(match header {
            Some(Ok(header)) if header.sequence > 0 => Ok(header.sequence - 1),
            Some(Err(why)) => Err(Damage::new(path, 0, why)),
            _ => Err(Damage::new(path, 0, "the file does not begin as it should")),
        })
    }

    /// Why a file of bodies must stay.
    fn reason_to_keep(&self, file: &File) -> Result<Option<Damage>, StoreError> {
        let path = FileRole::Bodies.path(file.number);
        let known = self.damage.lock().iter().find(|damage| damage.file == path).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let mut from = file.from;
        while from < file.to {
            let blocks = RECORDS.blocks.min(usize::try_from(file.to - from).unwrap_or(usize::MAX));
            match self.stretch_of_records(Stretch { from, blocks, ..RECORDS }) {
                Ok(records) if !records.is_empty() => from += records.len() as u64,
                Ok(_) => {
                    return Ok(Some(Damage::new(path, 0, format!("block {from} is not there"))));
                }
                Err(StoreError::Damaged(damage)) => return Ok(Some(damage)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
