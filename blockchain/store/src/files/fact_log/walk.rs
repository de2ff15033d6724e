//! The walk through a log that is known to be whole: replaying, reading again and condensing go this way. Recovery
//! and the audit do not, since they judge what may be torn.

use std::sync::Arc;

use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log;
use crate::files::watermark::Watermark;
use crate::frame::{self, Header, Scanner, Step};
use crate::{Damage, StoreError};

/// Where a record begins, at a place or behind it: the file may have been condensed since the place was
/// noted, and then it is in the middle of one.
fn boundary(file: &dyn DiskFile, path: &str, at: u64, end: u64) -> Result<u64, StoreError> {
    if at == 0 || !matches!(frame::read_header(file, path, at)?, Some(Err(_))) {
        return Ok(at);
    }
    let mut scanner = Scanner::new(file, path, 0, end);
    while scanner.offset() < at && scanner.step()?.is_some() {}
    Ok(scanner.offset())
}

/// From one place of the log to another.
pub(super) struct Walk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) store: &'a [u8; 16],
    pub(super) from: (u32, u64),
    pub(super) to: Watermark,
}

/// What a walk meets.
pub(super) enum Met<'a> {
    /// A record with a sound header.
    Record { walked: &'a Walked, offset: u64, header: Header },
    /// Something cannot be read, or is missing.
    Damaged(Damage),
    /// A file is there that is no part of the log.
    Foreign(Damage),
}

impl Walk<'_> {
    /// Shows what is there, in order, and how many bytes have been passed; what is damaged or missing in its
    /// place. `false` ends it behind that; then it says where it was.
    pub(super) fn each(
        &self,
        visit: &mut dyn FnMut(Met<'_>, u64) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let listed = log::listed(self.disk, self.store, self.to.log)?;
        let (first, mut passed) = (self.from.0.max(1), 0);
        let mut next = first;
        // One at a time: there may be more of them than may be open.
        for number in listed.files.iter().copied().filter(|number| *number >= first) {
            if !self.gap(&listed, next..number, passed, visit)? {
                return Ok(Some((number, 0)));
            }
            next = number.saturating_add(1);
            match self.open(number)? {
                Err(damage) => {
                    if !visit(Met::Damaged(damage), passed)? {
                        return Ok(Some((next, 0)));
                    }
                }
                Ok(walked) => {
                    if let Some(stopped_at) = walked.each(passed, visit)? {
                        return Ok(Some((number, stopped_at)));
                    }
                    passed += walked.bytes();
                }
            }
        }
        let end = self.to.log.saturating_add(1);
        let goes_on = self.gap(&listed, next..end, passed, visit)?;
        Ok((!goes_on).then_some((end, 0)))
    }

    /// Shows which of these files are missing, and which are there and none of this log's.
    fn gap(
        &self,
        listed: &log::LogListing,
        files: std::ops::Range<u32>,
        passed: u64,
        visit: &mut dyn FnMut(Met<'_>, u64) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let missing = listed.missing.iter().filter_map(|gap| {
            let gap = files.start.max(*gap.start())..=files.end.saturating_sub(1).min(*gap.end());
            (!gap.is_empty()).then(|| Met::Damaged(Damage::missing(gap, log::path)))
        });
        let foreign = listed.foreign.range(files.start..files.end.max(files.start));
        for met in missing.chain(foreign.map(|(_, damage)| Met::Foreign(damage.clone()))) {
            if !visit(met, passed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many bytes it passes.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let listed = log::listed(self.disk, self.store, self.to.log)?;
        let mut bytes = 0;
        for number in listed.files.into_iter().filter(|number| *number >= self.from.0) {
            bytes += self.open(number)?.map_or(0, |walked| walked.bytes());
        }
        Ok(bytes)
    }

    pub(super) fn open(&self, number: u32) -> Result<Result<Walked, Damage>, StoreError> {
        let path = log::path(number);
        let file = match disk::find(self.disk, &path)? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let end = if number == self.to.log { self.to.offset.min(length) } else { length };
        let begin = match number == self.from.0 {
            true => boundary(file.as_ref(), &path, self.from.1.min(end), end)?,
            false => 0,
        };
        Ok(Ok(Walked { number, path, file, begin, end }))
    }
}

/// A file that is gone through.
pub(super) struct Walked {
    pub(super) number: u32,
    pub(super) path: String,
    file: Arc<dyn DiskFile>,
    begin: u64,
    end: u64,
}

impl Walked {
    pub(super) fn each(
        &self,
        passed: u64,
        visit: &mut dyn FnMut(Met<'_>, u64) -> Result<bool, StoreError>,
    ) -> Result<Option<u64>, StoreError> {
        let mut scanner = Scanner::new(self.file.as_ref(), &self.path, self.begin, self.end);
        while let Some(step) = scanner.step()? {
            let done = passed + scanner.offset().saturating_sub(self.begin);
            let met = match step {
                Step::Damaged(damage) => Met::Damaged(damage),
                Step::Record(offset, header) => Met::Record { walked: self, offset, header },
            };
            if !visit(met, done)? {
                return Ok(Some(scanner.offset()));
            }
        }
        Ok(None)
    }

    pub(super) fn payload(
        &self,
        offset: u64,
        header: &Header,
    ) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
        frame::read_payload(self.file.as_ref(), &self.path, offset, header)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }
}
