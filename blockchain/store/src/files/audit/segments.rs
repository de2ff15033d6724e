//! Audits `chunks/`: every record, the footers, their chain, and the ranges that commits answer for.
//!
//! In one file because one walk judges segments, footers and ranges, with one state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_core::words::many_do;

use super::pool::Work;
use super::{Auditor, OtherHalf, Range};
use crate::files::disk::{Disk, DiskFile};
use crate::files::log::FileHeader;
use crate::files::rewrite::RewrittenHeader;
use crate::files::segment::{
    self, Footer, FooterEntry, REWRITTEN, TRAILER_BYTES, placement_of, read_trailer,
};
use crate::frame::{Header, HeadersDigest, RecordKind, Scanner, Step, read_header};
use crate::{Damage, StoreError};

/// What a segment's successor may name as the end of it.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    /// A footer with this digest.
    Footer([u8; 32]),
    /// None: it was left open after a failure.
    Open,
    /// It is damaged or missing, so anything may be named.
    Unknown,
}

/// What has been read of one segment.
struct SegmentWalk {
    number: u32,
    path: Arc<str>,
    length: u64,
    /// Where the first record ends, if it is sound.
    begun: u64,
    /// The records found, by offset, as a footer would list them.
    records: Vec<FooterEntry>,
    /// Places where the walk lost its way.
    damaged: Vec<u64>,
    covered: Covered,
}

/// Which segments stand for which, by what they say of themselves.
struct Family {
    there: BTreeSet<u32>,
    /// What each rewritten one replaces; `None` when its beginning cannot be read.
    replaces: BTreeMap<u32, Option<Vec<u32>>>,
    /// Which rewritten ones stand for each segment.
    replaced_by: BTreeMap<u32, Vec<u32>>,
}

impl Family {
    fn of(
        disk: &dyn Disk,
        store: &[u8; 16],
        numbers: &[u32],
        rewritten: &[u32],
    ) -> Result<Self, StoreError> {
        let mut replaces = BTreeMap::new();
        for number in rewritten {
            // One that cannot be opened is named when it is walked.
            let begin = match disk.open(&segment::path(*number)) {
                Ok(Some(file)) => RewrittenHeader::read(file.as_ref(), *number, store)?.ok(),
                _ => None,
            };
            replaces.insert(*number, begin.map(|begin| begin.replaces));
        }
        let mut replaced_by: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (by, olds) in &replaces {
            for old in olds.iter().flatten() {
                replaced_by.entry(*old).or_default().push(*by);
            }
        }
        Ok(Self { there: numbers.iter().copied().collect(), replaces, replaced_by })
    }

    /// Whether a segment stands for this one, other than `but`.
    fn is_replaced(&self, number: u32, but: Option<u32>) -> bool {
        let by = self.replaced_by.get(&number);
        by.is_some_and(|by| by.iter().any(|by| Some(*by) != but))
    }

    /// Whether a rewritten segment is all that is left of another. If not, it may be what an interrupted
    /// rewriting left, and the next start removes it.
    fn needs(&self, number: u32, lacks_one: bool) -> bool {
        match self.replaces.get(&number) {
            Some(Some(replaces)) => replaces
                .iter()
                .any(|old| !self.there.contains(old) && !self.is_replaced(*old, Some(number))),
            _ => lacks_one,
        }
    }
}

/// The ranges of commits, compared with the records as they come.
struct Covered {
    /// By where they begin.
    ranges: std::vec::IntoIter<Range>,
    current: Option<Range>,
    digest: HeadersDigest,
    /// Where the last record of the current range ends.
    end: u64,
    /// Ranges whose records are not the ones their commit was made for.
    wrong: Vec<Range>,
}

impl Auditor<'_> {
    pub(super) fn segments(
        &mut self,
        numbers: &[u32],
        work: &mut Work<'_>,
    ) -> Result<(), StoreError> {
        let at = numbers.partition_point(|number| number & REWRITTEN == 0);
        let (appended, rewritten) = numbers.split_at_checked(at).unwrap_or((numbers, &[]));
        let family = Family::of(self.disk, &self.store, numbers, rewritten)?;
        let named = self.ranges.keys().next_back().copied().unwrap_or(0);
        let marked = self.marks.iter().map(|mark| mark.segment).max().unwrap_or(0);
        let newest =
            appended.last().copied().unwrap_or(0).max(named).max(marked).max(self.summed.0);
        // What is there, and what commits or marks say is: files between that are not there are no more
        // than a gap, however many.
        let mut known = BTreeSet::from_iter(appended.iter().chain(self.ranges.keys()).copied());
        known.extend(Some(newest).filter(|newest| *newest > 0));
        known.extend(family.replaced_by.keys().filter(|number| **number <= newest));
        let mut before = Ending::Open;
        let mut lacks_one = false;
        let mut last = 0;
        for number in known {
            if self.name_gap(last, number, segment::path) {
                lacks_one = true;
                before = Ending::Unknown;
            }
            last = number;
            let ranges = self.ranges.remove(&number).unwrap_or_default();
            if family.is_replaced(number, None) && !family.there.contains(&number) {
                before = Ending::Unknown;
                continue;
            }
            lacks_one |= !family.there.contains(&number);
            before = self.audit_segment(number, ranges, before, work)?;
        }
        let mut last = REWRITTEN;
        let replaced = family.replaced_by.keys().copied().filter(|number| *number > REWRITTEN);
        let end = rewritten.last().copied().unwrap_or(0);
        let known = BTreeSet::from_iter(rewritten.iter().copied().chain(replaced));
        for number in known.into_iter().filter(|number| *number <= end) {
            lacks_one |= self.name_gap(last, number, segment::path);
            last = number;
            if family.there.contains(&number) {
                if !family.needs(number, lacks_one) {
                    self.needless.insert(number);
                }
                self.audit_segment(number, Vec::new(), Ending::Unknown, work)?;
            }
        }
        Ok(())
    }

    fn audit_segment(
        &mut self,
        number: u32,
        ranges: Vec<Range>,
        before: Ending,
        work: &mut Work<'_>,
    ) -> Result<Ending, StoreError> {
        let path: Arc<str> = segment::path(number).into();
        let Some((file, length)) = self.open(&path)? else { return Ok(Ending::Unknown) };
        self.found.bytes += length;
        if number & REWRITTEN == 0
            && let Some(why) = segment::foreign(file.as_ref(), number, &self.store)?
        {
            // Recovery passes it over: nothing in it is anyone's chunk, or torn.
            work.passed(length);
            self.damage(&path, 0, why);
            return Ok(Ending::Unknown);
        }
        let mut walk = SegmentWalk {
            number,
            path,
            length,
            begun: 0,
            records: Vec::new(),
            damaged: Vec::new(),
            covered: Covered::new(ranges),
        };
        let ending = self.segment(&file, &mut walk, before, work)?;
        if walk.is_rewritten() {
            self.is_whole(&walk, &ending);
        } else {
            self.ranges_match(&mut walk);
            self.ends_where_marked(&walk);
        }
        Ok(ending)
    }

    /// A rewritten segment is whole, or was never switched to: then those it was to replace are there.
    fn is_whole(&mut self, walk: &SegmentWalk, ending: &Ending) {
        if matches!(ending, Ending::Footer(_)) {
            return;
        }
        let why = "the footer of a rewritten segment is missing or damaged";
        self.damage(&walk.path, walk.length, why);
    }

    fn segment(
        &mut self,
        file: &Arc<dyn DiskFile>,
        walk: &mut SegmentWalk,
        before: Ending,
        work: &mut Work<'_>,
    ) -> Result<Ending, StoreError> {
        let trailer = self.trailer(file.as_ref(), walk)?;
        // A sound trailer says where the footer begins, even if the footer itself is damaged.
        let end = trailer.unwrap_or(walk.length);
        let mut footer = None;
        let path = walk.path.clone();
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, end);
        while let Some(step) = scanner.step()? {
            let (offset, header) = match step {
                Step::Damaged(damage) => {
                    walk.damaged.push(damage.offset);
                    if was_footer(file.as_ref(), &path, damage.offset)? {
                        self.vouch_if_closed(walk.number, damage.offset);
                    }
                    self.found.damage.push(damage);
                    continue;
                }
                Step::Record(offset, header) => (offset, header),
            };
            self.found.records += 1;
            match header.kind {
                RecordKind::File if offset == 0 => {
                    work.passed(header.record_bytes());
                    walk.begun = header.record_bytes();
                    self.segment_begins(file.as_ref(), walk, &header, before)?;
                }
                RecordKind::Chunk => {
                    self.found.chunks += 1;
                    walk.note(offset, &header);
                    work.add(file, &path, offset, header);
                }
                RecordKind::Footer => {
                    footer = Some((offset, header));
                    break;
                }
                _ => {
                    work.passed(header.record_bytes());
                    self.damage(&path, offset, "the record does not belong in a segment");
                    walk.damaged.push(offset);
                }
            }
        }
        match (footer, trailer) {
            (Some((at, header)), _) => {
                // Reached by walking: the trailer is damaged, or names another place.
                self.vouch_if_closed(walk.number, at);
                let behind = at + header.record_bytes();
                self.damage(&path, behind, "the trailer behind the footer is damaged");
                work.passed(walk.length.saturating_sub(at));
                let zone = self.chunk_zone;
                let ending = self.footer(file.as_ref(), walk, at, &header);
                if self.is_log_elsewhere() {
                    // Both are written at once: without the trailer, the footer was not synced.
                    self.chunk_zone = zone;
                }
                ending
            }
            (None, Some(at)) => {
                work.passed(walk.length.saturating_sub(at));
                self.ended(file.as_ref(), walk, at)
            }
            (None, None) => {
                Ok(if walk.damaged.is_empty() { Ending::Open } else { Ending::Unknown })
            }
        }
    }

    /// Where the trailer says the footer begins.
    fn trailer(
        &mut self,
        file: &dyn DiskFile,
        walk: &SegmentWalk,
    ) -> Result<Option<u64>, StoreError> {
        let Some(at) = walk.length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; TRAILER_BYTES];
        match file.read_at(at, &mut bytes).map_err(StoreError::reading(&walk.path, at)) {
            Ok(TRAILER_BYTES) => Ok(read_trailer(&bytes).filter(|footer| *footer < at)),
            Ok(_) => Ok(None),
            Err(StoreError::Damaged(damage)) => {
                self.found.damage.push(damage);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A segment with a sound trailer, whose records have been walked.
    fn ended(
        &mut self,
        file: &dyn DiskFile,
        walk: &SegmentWalk,
        at: u64,
    ) -> Result<Ending, StoreError> {
        self.vouch_if_closed(walk.number, at);
        match read_header(file, &walk.path, at)? {
            Some(Ok(header)) if header.kind == RecordKind::Footer => {
                self.found.records += 1;
                let end = at + header.record_bytes() + TRAILER_BYTES as u64;
                if end != walk.length {
                    self.damage(
                        &walk.path,
                        at + header.record_bytes(),
                        "the trailer does not follow the footer",
                    );
                }
                self.footer(file, walk, at, &header)
            }
            Some(Err(why)) => {
                self.damage(&walk.path, at, why);
                Ok(Ending::Unknown)
            }
            _ => {
                self.damage(&walk.path, at, "the footer is not where the trailer says");
                Ok(Ending::Unknown)
            }
        }
    }

    /// Compares a footer with the records that were found.
    fn footer(
        &mut self,
        file: &dyn DiskFile,
        walk: &SegmentWalk,
        at: u64,
        header: &Header,
    ) -> Result<Ending, StoreError> {
        let path = &walk.path;
        let Some(payload) = self.small_payload(file, path, at, header)? else {
            return Ok(Ending::Unknown);
        };
        let footer = match Footer::decode(&payload) {
            Ok(footer) => footer,
            Err(fault) => {
                self.damage(path, at, &format!("the footer: {fault}"));
                return Ok(Ending::Unknown);
            }
        };
        if footer.segment != walk.number {
            self.damage(path, at, "the footer is another segment's");
            return Ok(Ending::Unknown);
        }
        let sorted = footer
            .entries
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if (a.name, a.sequence) <= (b.name, b.sequence)));
        if !sorted {
            self.damage(path, at, "the footer is not sorted");
        }
        self.footer_lists(walk, &footer);
        // A ended segment was synced before anything else happened: nothing in it is torn.
        if walk.is_rewritten() {
            return Ok(Ending::Footer(header.name));
        }
        self.chunk_zone = self.chunk_zone.max((walk.number + 1, 0));
        Ok(Ending::Footer(header.name))
    }

    fn footer_lists(&mut self, walk: &SegmentWalk, footer: &Footer) {
        let path = &walk.path;
        let listed: BTreeMap<u64, &FooterEntry> =
            footer.entries.iter().map(|entry| (entry.placement.offset, entry)).collect();
        for record in &walk.records {
            let offset = record.placement.offset;
            match listed.get(&offset) {
                Some(entry) if *entry == record => {}
                Some(_) => self.damage(path, offset, "the record is not the one the footer lists"),
                // A footer leaves out what was found damaged when it was made; this one is not.
                None => self.damage(path, offset, "the footer does not list the record"),
            }
        }
        for offset in listed.keys() {
            // Where the walk lost its way, the damage has been named.
            let named = walk.damaged.first().is_some_and(|damaged| damaged <= offset);
            let found = walk.records.binary_search_by_key(offset, |r| r.placement.offset).is_ok();
            if !found && !named {
                self.damage(path, *offset, "the record that the footer lists is missing");
            }
        }
    }

    /// When the store was closed in order behind a footer, a footer that is not whole is damage, not
    /// a crash while it was being written.
    fn vouch_if_closed(&mut self, number: u32, at: u64) {
        let closed = self.marks.iter().any(|mark| {
            mark.place() == self.log_end && (mark.segment, mark.segment_offset) == (number, at)
        });
        if closed {
            self.chunk_zone = self.chunk_zone.max((number + 1, 0));
        }
    }

    /// The first record of a segment: this store's, this number's, behind that footer.
    fn segment_begins(
        &mut self,
        file: &dyn DiskFile,
        walk: &SegmentWalk,
        header: &Header,
        before: Ending,
    ) -> Result<(), StoreError> {
        let path = &walk.path;
        let payload = self.small_payload(file, path, 0, header)?;
        let Some(payload) = payload else { return Ok(()) };
        if walk.is_rewritten() {
            let begin = RewrittenHeader::read(file, walk.number, &self.store)?;
            self.found.damage.extend(begin.err());
            return Ok(());
        }
        let begin = match FileHeader::decode(&payload) {
            Ok(begin) => begin,
            Err(fault) => {
                self.damage(path, 0, &fault.to_string());
                return Ok(());
            }
        };
        let was_ended = begin.previous != [0; 32];
        match before {
            Ending::Footer(digest) if begin.previous != digest => {
                self.damage(path, 0, "the segment does not follow the footer before it");
            }
            Ending::Open if was_ended => {
                let before = segment::path(walk.number.saturating_sub(1).max(1));
                let length = self.disk.open(&before).ok().flatten().and_then(|f| f.length().ok());
                self.damage(&before, length.unwrap_or(0), "the segment's footer is missing");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the records that each commit answers for are the ones it was made for.
    fn ranges_match(&mut self, walk: &mut SegmentWalk) {
        for range in walk.covered.finish() {
            let first = walk.damaged.partition_point(|at| *at < range.from);
            if walk.damaged.get(first).is_some_and(|at| *at < range.to) {
                // Its digest cannot be made any more; the damage has been named.
                continue;
            }
            if range.to > walk.length {
                let why = format!(
                    "the file ends early: commit {} goes to byte {}",
                    range.commit, range.to
                );
                self.damage(&walk.path, walk.length, &why);
                continue;
            }
            let why = format!(
                "the records are not the ones that commit {} ({}) was made for",
                range.commit, range.log
            );
            self.damage(&walk.path, range.from, &why);
        }
    }

    fn is_log_elsewhere(&self) -> bool {
        matches!(self.other, Some(OtherHalf::Log(_)))
    }

    /// Whether the segment goes as far as a mark says, and whether something follows the last commit.
    fn ends_where_marked(&mut self, walk: &SegmentWalk) {
        let marked = self.marks.iter().filter(|mark| mark.segment == walk.number);
        let wanted = marked.map(|mark| mark.segment_offset).max().unwrap_or(0);
        if walk.length < wanted {
            let why =
                format!("the segment reached byte {wanted} once, and what was there is missing");
            self.damage(&walk.path, walk.length, &why);
        }
        let (number, offset) = self.chunk_end;
        let from = if walk.number == number { offset } else { walk.begun };
        // Behind the last commit there is nothing in an open segment, and a footer in one that ended.
        let open = walk.number >= number.max(self.chunk_zone.0);
        // Under a log that is kept elsewhere whole records may stand there, whose commits may still come.
        if !self.is_log_elsewhere() && open && walk.length > from && !self.log_was_damaged {
            self.found.torn.push(Damage::new(
                &*walk.path,
                from,
                format!(
                    "{} to no commit",
                    many_do(walk.length - from, "byte", "belongs", "belong")
                ),
            ));
        }
    }
}

fn was_footer(file: &dyn DiskFile, path: &str, offset: u64) -> Result<bool, StoreError> {
    let header = read_header(file, path, offset)?;
    Ok(matches!(header, Some(Ok(header)) if header.kind == RecordKind::Footer))
}

impl SegmentWalk {
    fn is_rewritten(&self) -> bool {
        self.number & REWRITTEN != 0
    }

    fn note(&mut self, offset: u64, header: &Header) {
        self.records.push(FooterEntry {
            name: ChunkName::new(header.name),
            sequence: header.sequence,
            placement: placement_of(self.number, offset, header),
            header_digest: *blake3::hash(&header.encode()).as_bytes(),
        });
        self.covered.add(offset, header);
    }
}

impl Covered {
    fn new(mut ranges: Vec<Range>) -> Self {
        ranges.sort_by_key(|range| range.from);
        let mut ranges = ranges.into_iter();
        let current = ranges.next();
        Self { ranges, current, digest: HeadersDigest::new(), end: 0, wrong: Vec::new() }
    }

    /// Takes in the next record.
    fn add(&mut self, offset: u64, header: &Header) {
        while self.current.as_ref().is_some_and(|range| range.to <= offset) {
            self.next();
        }
        if self.current.as_ref().is_some_and(|range| range.from <= offset) {
            self.digest.add(header);
            self.end = offset + header.record_bytes();
        }
    }

    /// Judges the current range and goes on to the next.
    fn next(&mut self) {
        let digest = std::mem::take(&mut self.digest).finish();
        if let Some(range) = self.current.take()
            && (self.end != range.to || digest != range.digest)
        {
            self.wrong.push(range);
        }
        self.current = self.ranges.next();
    }

    /// The ranges that do not match.
    fn finish(&mut self) -> Vec<Range> {
        while self.current.is_some() {
            self.next();
        }
        std::mem::take(&mut self.wrong)
    }
}
