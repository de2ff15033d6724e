//! Audits the half of a store that is not in its folder, through its contract.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

use super::pool::{Bench, Checked, Work};
use super::{Auditor, OtherHalf, Range};
use crate::contract::blobs::{Blobs, Contents, Placement, UnitKind};
use crate::contract::fact_log::{FactLog, Replayed, Reread};
use crate::crypt::Cipher;
use crate::frame::{Header, HeadersDigest, RecordKind};
use crate::{Damage, StoreError, threads};

/// So many records are asked for at once.
const ASKED_AT_ONCE: usize = 8;

impl OtherHalf<'_> {
    /// How many bytes there are to be read.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        match self {
            Self::Log(log) => log.bytes(),
            Self::Chunks(blobs) => blobs.bytes(),
        }
    }
}

/// What was read of a record: its header, or nothing where that is damaged.
type Judged = ((ChunkName, Placement), Option<Header>);

impl Auditor<'_> {
    /// Reads a log that is kept elsewhere, and notes which ranges of segments its commits answer for.
    pub(super) fn log_elsewhere(
        &mut self,
        log: &dyn FactLog,
        work: &mut Work<'_>,
    ) -> Result<(), StoreError> {
        let (mut bench, mut checked) = (Bench::default(), Checked::default());
        let cipher = self.cipher;
        let found = &mut self.found;
        let mut is_damaged = false;
        log.reread((0, 0), &mut |read| {
            match read {
                Reread::Damaged(damage) => {
                    is_damaged = true;
                    found.damage.push(damage);
                }
                Reread::Record { header, payload, file, offset } => {
                    found.records += 1;
                    found.facts += u64::from(header.kind == RecordKind::Fact);
                    found.bytes += header.record_bytes();
                    checked.bytes += header.record_bytes();
                    match payload {
                        Ok(mut payload) => {
                            let place = (file, offset);
                            bench.check_one(cipher, &header, &mut payload, place, &mut checked);
                        }
                        Err(why) => checked.damage.push(Damage::new(file, offset, why)),
                    }
                }
            }
            Ok(true)
        })?;
        work.take(checked);
        let (mut commits, ranges) = (0, &mut self.ranges);
        let replayed = log.replay(None, &mut |shown, _| {
            if let Replayed::Commit { chunks, .. } = shown {
                commits += 1;
                if let Some(extent) = chunks {
                    ranges.entry(extent.unit).or_default().push(Range {
                        commit: commits,
                        from: extent.from,
                        to: extent.to,
                        digest: extent.digest,
                        log: "of the log elsewhere".into(),
                    });
                }
            }
            Ok(true)
        });
        match replayed {
            Ok(_) => {}
            // Commits behind it are not known, nor which chunks they answer for.
            Err(StoreError::Damaged(damage)) => {
                is_damaged = true;
                self.found.damage.push(damage);
            }
            Err(error) => return Err(error),
        }
        self.found.commits += commits;
        self.log_was_damaged = is_damaged;
        let ends = self
            .ranges
            .iter()
            .flat_map(|(segment, ranges)| ranges.iter().map(|range| (*segment, range.to)));
        self.chunk_zone = ends.max().unwrap_or((0, 0));
        self.chunk_end = self.chunk_zone;
        Ok(())
    }

    /// Reads every unit of chunks that are kept elsewhere, and compares them with what commits say of them.
    pub(super) fn units_elsewhere(
        &mut self,
        blobs: &dyn Blobs,
        work: &mut Work<'_>,
    ) -> Result<(), StoreError> {
        let there = BTreeSet::from_iter(blobs.numbers()?);
        let mut replaced = BTreeSet::new();
        for unit in there.iter().filter(|unit| blobs.kind(**unit) == Some(UnitKind::Made)) {
            match blobs.origin(*unit)? {
                Ok(origin) => replaced.extend(origin.replaces),
                Err(damage) => self.found.damage.push(damage),
            }
        }
        let ranges = std::mem::take(&mut self.ranges);
        for (unit, ranges) in &ranges {
            // One that is not there, and that another stands for, was removed when that was committed.
            if there.contains(unit) || replaced.contains(unit) {
                continue;
            }
            let title = blobs.title(*unit);
            let commit = ranges.last().map_or(0, |range| range.commit);
            let why = format!("it is missing, and commit {commit} names chunks in it");
            self.found.damage.push(Damage::new(title, 0, why));
        }
        for unit in there {
            let ranges = ranges.get(&unit).map(Vec::as_slice).unwrap_or_default();
            self.unit_elsewhere(blobs, unit, ranges, work)?;
        }
        Ok(())
    }

    fn unit_elsewhere(
        &mut self,
        blobs: &dyn Blobs,
        unit: u32,
        ranges: &[Range],
        work: &mut Work<'_>,
    ) -> Result<(), StoreError> {
        let title = blobs.title(unit);
        let Contents { mut chunks, damage } = match blobs.contents(unit, 0) {
            Ok(Ok(contents)) => contents,
            Ok(Err(damage)) => {
                self.found.damage.push(damage);
                return Ok(());
            }
            // That something is not found once is no damage yet: a scrub finds out whether it stays so.
            Err(StoreError::Io { kind: ErrorKind::NotFound, .. }) => {
                self.found.not_checked.push(format!("{title}, which was not found just now"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.found.files += 1;
        self.found.damage.extend(damage);
        chunks.sort_by_key(|(_, place)| place.offset);
        let (judged, checked) = read_all(blobs, self.cipher, &title, &chunks)?;
        self.found.bytes += checked.bytes;
        work.take(checked);
        self.found.records += judged.len() as u64;
        self.found.chunks += judged.len() as u64;
        for range in ranges {
            let of =
                judged.iter().filter(|((_, at), _)| (range.from..range.to).contains(&at.offset));
            let mut digest = HeadersDigest::new();
            let mut is_whole = true;
            for (_, header) in of {
                match header {
                    Some(header) => digest.add(header),
                    None => is_whole = false,
                }
            }
            if is_whole && digest.finish() != range.digest {
                let (commit, log) = (range.commit, &range.log);
                let why = format!(
                    "the records are not the ones that commit {commit} ({log}) was made for"
                );
                self.found.damage.push(Damage::new(title.as_str(), range.from, why));
            }
        }
        Ok(())
    }
}

/// Reads records, several at once; answers in their order.
fn read_all(
    blobs: &dyn Blobs,
    cipher: Option<&Cipher>,
    title: &str,
    chunks: &[(ChunkName, Placement)],
) -> Result<(Vec<Judged>, Checked), StoreError> {
    let next = Mutex::new(chunks.iter());
    let work = || -> Result<(Vec<Judged>, Checked), StoreError> {
        let (mut bench, mut checked, mut judged) =
            (Bench::default(), Checked::default(), Vec::new());
        loop {
            let Some((name, place)) = next.lock().next() else { return Ok((judged, checked)) };
            checked.bytes += place.record_bytes();
            let header = match blobs.read(name, place) {
                Ok((header, mut payload)) => {
                    let at = (title, place.offset);
                    bench.check_one(cipher, &header, &mut payload, at, &mut checked);
                    Some(header)
                }
                Err(StoreError::Damaged(damage)) => {
                    checked.damage.push(damage);
                    None
                }
                Err(error) => return Err(error),
            };
            judged.push(((*name, *place), header));
        }
    };
    let (mut all, mut sum) = (Vec::new(), Checked::default());
    for part in threads::run_on(ASKED_AT_ONCE, "audit", work) {
        let (judged, checked) = part?;
        all.extend(judged);
        sum.opened += checked.opened;
        sum.plain_bytes += checked.plain_bytes;
        sum.bytes += checked.bytes;
        sum.damage.extend(checked.damage);
        sum.unopened.append(checked.unopened);
    }
    all.sort_by_key(|((_, place), _)| place.offset);
    Ok((all, sum))
}
