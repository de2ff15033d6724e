//! What is found again when a chain is opened.
//!
//! Recovery starts at the index's watermark and walks to the end of the files. Up to the tip mark (`TIP`)
//! everything was acknowledged: what is wrong there is damage, kept, named, and read around. Above it,
//! a whole block that follows its parent is marked and published; anything else is torn, and cut. A
//! chain that ends before its tip mark, or whose tip mark is gone, is opened for reading only. So is one without a
//! tip mark of which something cannot be read: a crash leaves no such thing, and it may be blocks.
//!
//! Everything accepted is synced before the chain opens, since after a kill it may be in the page
//! cache alone.
//!
//! In one file because what a crash between two steps leaves is judged by all steps together.

use lucid_core::digest::BlockHash;

use crate::contract::index::Changes;
use crate::damage::DamageList;
use crate::files::chain::rows::{self, Part, Row, Totals};
use crate::files::chain::tip::{self, FilesEnd, FoundTip, Pruned, TIP, TipMark};
use crate::files::chain::walk::{FileRole, LOST_MAX, Pair, Pairs, PlacedDamage};
use crate::files::chain::{ChainParts, FOLDER};
use crate::files::disk::{self, Disk};
use crate::frame::{self, Scanner, Step};
use crate::{Damage, StoreError};

/// Index changes are written when this many keys have gathered.
const CHANGES_MAX: usize = 8_192;

/// What recovery found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The tip; where the next block goes.
    pub(super) at: Option<TipMark>,
    /// What is wrong, none of it in the way of the rest.
    pub(super) damage: DamageList,
    /// Why nothing may be appended, if so.
    pub(super) read_only: Option<String>,
}

struct Recovery<'a> {
    parts: &'a ChainParts,
    disk: &'a dyn Disk,
    damage: DamageList,
    /// The last block whose rows are in the index, or on their way there.
    at: Option<TipMark>,
    totals: Totals,
    /// Which bodies may be gone.
    pruned: Pruned,
    changes: Changes<'a>,
}

/// Brings the index up to the files, and the files to their last whole block.
pub(super) fn recover(parts: &ChainParts) -> Result<Recovered, StoreError> {
    let mut recovery = Recovery::start(parts)?;
    let tip_mark = match tip::read(parts.disk.as_ref())? {
        FoundTip::At(mark) => Some(mark),
        FoundTip::Absent => None,
        FoundTip::Damaged(damage) => {
            recovery.damage.push(damage);
            None
        }
    };
    recovery.pruned =
        recovery.pruned.later(tip_mark.map(|tip_mark| tip_mark.pruned).unwrap_or_default());
    let (bound, doubt) = recovery.bound(tip_mark)?;
    let pruned = recovery.pruned;
    let bound = bound.map(|mark| TipMark { pruned, ..mark });
    let lost = bound.map(|bound| recovery.lost(&bound)).transpose()?.flatten();
    let mut read_only = doubt.or(lost);
    let above = recovery.walk(bound, read_only.is_none())?;
    if let Some(bound) = bound
        && read_only.is_none()
    {
        read_only = recovery.reach(&bound);
    }
    if let Some(why) = read_only.as_mut().filter(|_| parts.accept_loss) {
        match Recovery::of_files(parts, recovery.pruned).last_to_keep()? {
            Ok(last) => {
                let mut damage = recovery.damage;
                let recovered = take_what_is_there(parts, last)?;
                damage.append(recovered.damage);
                return Ok(Recovered { damage, ..recovered });
            }
            Err(in_the_way) => *why = format!("{why}; {in_the_way}"),
        }
    }
    recovery.write_changes()?;
    if read_only.is_none() {
        recovery.settle(tip_mark, above)?;
    }
    // A chain that lost its end still says how long it was.
    let at = match (recovery.at, bound) {
        (Some(at), Some(bound)) if at.height >= bound.height => Some(at),
        (at, bound) => bound.or(at),
    };
    let at = at.map(|mark| TipMark { pruned, ..mark });
    Ok(Recovered { at, damage: recovery.damage, read_only })
}

/// The operator has accepted the loss: what is there, up to this block, becomes the chain, and the index
/// follows it.
fn take_what_is_there(parts: &ChainParts, last: TipMark) -> Result<Recovered, StoreError> {
    rows::clear(parts.index.as_ref())?;
    tip::write(parts.disk.as_ref(), &last).map_err(StoreError::io(format!("writing {TIP}")))?;
    recover(&ChainParts { accept_loss: false, ..parts.clone() })
}

impl<'a> Recovery<'a> {
    fn start(parts: &'a ChainParts) -> Result<Self, StoreError> {
        let index = parts.index.as_ref();
        let mut at = rows::watermark(index)?;
        let mut totals = Totals::default();
        if let Some(mark) = at {
            match rows::row(index, mark.height)? {
                Some(row) => totals = row.before.and(&row),
                None => {
                    rows::clear(index)?;
                    at = None;
                }
            }
        }
        let disk = parts.disk.as_ref();
        let changes = Changes::new(index);
        let pruned = at.map(|at| at.pruned).unwrap_or_default();
        let recovery =
            Self { parts, disk, damage: DamageList::default(), at, totals, pruned, changes };
        recovery.check_watermark()?;
        Ok(recovery)
    }

    /// Knows nothing but the files.
    fn of_files(parts: &'a ChainParts, pruned: Pruned) -> Self {
        Self {
            parts,
            disk: parts.disk.as_ref(),
            damage: DamageList::default(),
            at: None,
            totals: Totals::default(),
            pruned,
            changes: Changes::new(parts.index.as_ref()),
        }
    }

    /// The block that an accepted loss leaves as the last. An error where none is left to go on with (they are
    /// not mounted, or lie elsewhere), or where files would have to go that may be of later ones.
    fn last_to_keep(&self) -> Result<Result<TipMark, String>, StoreError> {
        let Some(last) = self.last_found()? else {
            return Ok(Err("no block can be read to go on from".to_owned()));
        };
        for (role, end) in [(FileRole::Blocks, last.blocks), (FileRole::Bodies, last.bodies)] {
            for number in role.numbers(self.disk)?.into_iter().filter(|number| *number > end.file) {
                if let Some(damage) = self.unreadable(role, FilesEnd { file: number, offset: 0 })? {
                    return Ok(Err(format!(
                        "{damage}: it may hold later blocks, and is not removed; move it out of \
                         {FOLDER}/ to go on from block {}",
                        last.height
                    )));
                }
            }
        }
        Ok(Ok(last))
    }

    /// What the medium does not give back of a file, from a place on, if anything.
    fn unreadable(&self, role: FileRole, from: FilesEnd) -> Result<Option<Damage>, StoreError> {
        let path = role.path(from.file);
        let file = match disk::find(self.disk, &path)? {
            Ok(file) => file,
            Err(damage) => return Ok(Some(damage)),
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let mut scanner = Scanner::new(file.as_ref(), &path, from.offset, length);
        while let Some(step) = scanner.step()? {
            let (offset, cannot_be_read) = match step {
                Step::Damaged(damage) => (damage.offset, scanner.unreadable_to() > 0),
                Step::Record(offset, header) => {
                    let read = frame::read_payload(file.as_ref(), &path, offset, &header)?;
                    (offset, read == Err(frame::UNREADABLE))
                }
            };
            if cannot_be_read {
                return Ok(Some(Damage::new(path, offset, frame::UNREADABLE)));
            }
        }
        Ok(None)
    }

    /// What is behind the watermark and cannot be torn: something that cannot be read, or a file that is not
    /// begun before there is a tip mark.
    fn no_tear(&self) -> Result<Option<Damage>, StoreError> {
        let (blocks, bodies) =
            self.at.map_or((FilesEnd::START, FilesEnd::START), |m| (m.blocks, m.bodies));
        for (role, end) in [(FileRole::Blocks, blocks), (FileRole::Bodies, bodies)] {
            for number in role.numbers(self.disk)?.into_iter().filter(|number| *number >= end.file)
            {
                let offset = if number == end.file { end.offset } else { 0 };
                if let Some(damage) = self.unreadable(role, FilesEnd { file: number, offset })? {
                    return Ok(Some(damage));
                }
                if self.at.is_none() && number > 1 {
                    let why = "blocks came before this file, and there is no tip mark";
                    return Ok(Some(Damage::new(role.path(number), 0, why)));
                }
            }
        }
        Ok(None)
    }

    /// The block the index stopped at must be where the index says, or the two are not of one chain.
    fn check_watermark(&self) -> Result<(), StoreError> {
        let Some(mark) = self.at else { return Ok(()) };
        let Some(row) = rows::row(self.parts.index.as_ref(), mark.height)? else { return Ok(()) };
        let Part::At { file, offset } = row.record else { return Ok(()) };
        let path = FileRole::Blocks.path(file);
        let Ok(file) = disk::find(self.disk, &path)? else { return Ok(()) };
        match frame::read_header(file.as_ref(), &path, offset)? {
            Some(Ok(header)) if header.name != *mark.hash.as_bytes() => Err(StoreError::Index(
                "it belongs to another chain; run `lucid reindex` to rebuild it".into(),
            )),
            Some(Err(why @ frame::NEWER_RECORD)) => Err(frame::unread(&path, offset, why)),
            _ => Ok(()),
        }
    }

    /// Up to which block everything was acknowledged, and why nothing may be appended if that is in
    /// doubt.
    fn bound(
        &mut self,
        tip_mark: Option<TipMark>,
    ) -> Result<(Option<TipMark>, Option<String>), StoreError> {
        match (tip_mark, self.at) {
            (Some(tip_mark), Some(at)) if at.height > tip_mark.height => {
                self.damage.push(Damage::new(
                    TIP,
                    0,
                    format!(
                        "it names block {}, and block {} was known",
                        tip_mark.height, at.height
                    ),
                ));
                Ok((Some(at), None))
            }
            (Some(tip_mark), _) => Ok((Some(tip_mark), None)),
            (None, at) => {
                let found = self.last_found()?;
                let no_tear = self.no_tear()?;
                match (at, found) {
                    // The power failed before the first block was marked.
                    (None, found)
                        if found.is_none_or(|found| found.height == 0)
                            && self.damage.is_empty()
                            && no_tear.is_none() =>
                    {
                        Ok((None, None))
                    }
                    // The index vouches for exactly what is there, so the tip mark can be made anew.
                    (Some(at), None) if no_tear.is_none() => {
                        self.missing_tip_mark();
                        Ok((Some(at), None))
                    }
                    (at, found) => {
                        self.missing_tip_mark();
                        self.damage.extend(no_tear);
                        let last = found.or(at);
                        let why = last.map_or_else(
                            || {
                                format!(
                                    "{TIP} is missing or damaged, and no block can be read: put {TIP} \
                                     and the files in {FOLDER}/ back from a copy"
                                )
                            },
                            |last| {
                                format!(
                                    "{TIP} is missing or damaged, so nothing says whether block {} ({}) \
                                     was the last; put {TIP} back from a copy, or run `lucid reindex \
                                     --accept-loss` to go on from there",
                                    last.height, last.hash
                                )
                            },
                        );
                        Ok((last, Some(why)))
                    }
                }
            }
        }
    }

    fn missing_tip_mark(&mut self) {
        if self.damage.is_empty() {
            self.damage.push(Damage::new(TIP, 0, "the file is missing"));
        }
    }

    fn pairs(&self) -> Result<Pairs<'a>, StoreError> {
        let (height, ends, hash) = match self.at {
            None => (0, (FilesEnd::START, FilesEnd::START), BlockHash::ZERO),
            Some(at) => (at.height + 1, (at.blocks, at.bodies), at.hash),
        };
        Pairs::new(self.disk, self.parts.store, height, ends, hash, self.pruned)
    }

    /// The last block behind the watermark of which anything is there.
    fn last_found(&self) -> Result<Option<TipMark>, StoreError> {
        let mut last: Option<TipMark> = None;
        let mut pairs = self.pairs()?;
        while let Some(pair) = pairs.next()? {
            if pair.record.is_ok() || pair.body.is_ok() {
                last = Some(mark_of(&pair, last.or(self.at), self.pruned));
            }
        }
        Ok(last)
    }

    /// Whether the files end before the tip mark does; if so, what that means.
    fn lost(&mut self, bound: &TipMark) -> Result<Option<String>, StoreError> {
        let mut lost = None;
        for (role, end) in [(FileRole::Blocks, bound.blocks), (FileRole::Bodies, bound.bodies)] {
            let numbers = role.numbers(self.disk)?;
            for gap in role.gaps(&numbers, 1..=end.file.saturating_sub(1), &self.pruned) {
                self.damage.push(Damage::missing(gap, |number| role.path(number)));
            }
        }
        for (role, end) in [(FileRole::Blocks, bound.blocks), (FileRole::Bodies, bound.bodies)] {
            let path = role.path(end.file);
            let length = role.length(self.disk, end.file)?;
            if length < end.offset {
                let why = format!("{} bytes were here once, and {length} are left", end.offset);
                self.damage.push(Damage::new(path.as_str(), length, &why));
                lost = lost.or_else(|| {
                    Some(format!(
                        "the chain was committed up to block {} ({}), and {path} has lost its end: \
                         {why}; put the file back from a copy, or run `lucid reindex --accept-loss` \
                         to go on without it",
                        bound.height, bound.hash
                    ))
                });
            }
        }
        Ok(lost)
    }

    /// Takes in everything up to the bound, and returns the whole blocks above it.
    fn walk(&mut self, bound: Option<TipMark>, above_too: bool) -> Result<Vec<Pair>, StoreError> {
        let mut above: Vec<Pair> = Vec::new();
        let mut pairs = self.pairs()?;
        while let Some(mut pair) = pairs.next()? {
            if bound.is_some_and(|bound| pair.height <= bound.height) {
                self.name_damage(std::mem::take(&mut pair.damage), bound);
                self.take_in(&pair);
                if self.changes.len() >= CHANGES_MAX {
                    self.write_changes()?;
                }
                continue;
            }
            // Noise before the pair may lie below the bound.
            self.name_damage(std::mem::take(&mut pair.damage), bound);
            let parent = above.last().map(|pair| pair.hash).or(self.at.map(|at| at.hash));
            if !above_too || !pair.is_whole(parent.unwrap_or(BlockHash::ZERO)) {
                break;
            }
            above.push(pair);
        }
        self.name_damage(pairs.rest(), bound);
        Ok(above)
    }

    /// Only what lies below the bound was acknowledged; the rest is a tear.
    fn name_damage(&mut self, placed: Vec<PlacedDamage>, bound: Option<TipMark>) {
        let Some(bound) = bound else { return };
        for (role, at, damage) in placed {
            let end = if role == FileRole::Blocks { bound.blocks } else { bound.bodies };
            if at < end {
                self.damage.push(damage);
            }
        }
    }

    /// Goes on to the bound where damage hides the last blocks; says why that cannot be done.
    fn reach(&mut self, bound: &TipMark) -> Option<String> {
        let mut lost = 0;
        while self.at.map_or(0, |at| at.height + 1) <= bound.height {
            let next = self.at.map_or(0, |at| at.height + 1);
            lost += 1;
            let height = if lost > LOST_MAX { bound.height } else { next };
            let damage = |role: FileRole, end: FilesEnd| {
                role.damage(end.file, end.offset, format!("block {height} cannot be read"))
            };
            let pair = Pair {
                height,
                record: Err(damage(FileRole::Blocks, bound.blocks)),
                body: Err(damage(FileRole::Bodies, bound.bodies)),
                hash: if height == bound.height { bound.hash } else { BlockHash::ZERO },
                ends: (None, None),
                damage: Vec::new(),
            };
            self.take_in(&pair);
        }
        let at = self.at.filter(|at| at.height == bound.height)?;
        if at.hash != bound.hash && at.hash != BlockHash::ZERO {
            let why =
                format!("it names block {} as {}, and {} is there", at.height, bound.hash, at.hash);
            self.damage.push(Damage::new(TIP, 0, &why));
            return Some(format!(
                "{TIP}: {why}; put the files of one time back from a copy, or run `lucid reindex \
                 --accept-loss` to go on with what is there"
            ));
        }
        self.at = Some(*bound);
        rows::set_watermark(&mut self.changes, bound);
        None
    }

    /// Makes the rows of a block.
    fn take_in(&mut self, pair: &Pair) {
        let mark = mark_of(pair, self.at, self.pruned);
        let row = self.row_of(pair);
        self.totals = self.totals.and(&row);
        rows::publish(&mut self.changes, pair.height, &row, pair.listed().as_ref());
        rows::set_watermark(&mut self.changes, &mark);
        self.at = Some(mark);
    }

    fn row_of(&self, pair: &Pair) -> Row {
        let at =
            |found: &super::walk::RecordAt| Part::At { file: found.file, offset: found.offset };
        let (count, size_bytes) = match (&pair.record, &pair.body) {
            (Ok((_, record, size_bytes)), _) => (record.transactions.len(), *size_bytes),
            (_, Ok(Some((_, body)))) => {
                (body.len(), body.iter().map(|transaction| transaction.text().len() as u64).sum())
            }
            _ => (0, 0),
        };
        Row {
            hash: pair.hash,
            record: match &pair.record {
                Ok((found, ..)) => at(found),
                Err(damage) => Part::Lost(damage.clone()),
            },
            body: match &pair.body {
                Ok(Some((found, _))) => at(found),
                Ok(None) => Part::Pruned,
                Err(damage) => Part::Lost(damage.clone()),
            },
            size_bytes,
            transactions: count,
            before: self.totals,
        }
    }

    fn write_changes(&mut self) -> Result<(), StoreError> {
        let fresh = Changes::new(self.parts.index.as_ref());
        std::mem::replace(&mut self.changes, fresh).write()
    }

    /// Cuts what is torn, makes durable what is kept, marks what is whole, and publishes it.
    fn settle(&mut self, tip_mark: Option<TipMark>, above: Vec<Pair>) -> Result<(), StoreError> {
        let mut mark = self.at;
        let from = tip_mark.or(mark);
        for pair in &above {
            mark = Some(mark_of(pair, mark, self.pruned));
        }
        let mark = mark.map(|mark| TipMark { pruned: self.pruned, ..mark });
        let ends =
            mark.map_or((FilesEnd::START, FilesEnd::START), |mark| (mark.blocks, mark.bodies));
        let start =
            from.map_or((FilesEnd::START, FilesEnd::START), |mark| (mark.blocks, mark.bodies));
        self.cut(FileRole::Blocks, start.0.file, ends.0)?;
        self.cut(FileRole::Bodies, start.1.file, ends.1)?;
        // What a crash left of a tip mark that was being written.
        let unfinished = format!("{TIP}.new");
        self.disk.unlink(&unfinished).map_err(StoreError::io(format!("removing {unfinished}")))?;
        for folder in [FOLDER, ""] {
            self.disk.sync_folder(folder).map_err(StoreError::io(format!("syncing {folder}/")))?;
        }
        if let Some(mark) = mark
            && tip_mark != Some(mark)
        {
            tip::write(self.disk, &mark).map_err(StoreError::io(format!("writing {TIP}")))?;
        }
        for pair in &above {
            tracing::info!(height = pair.height, "a whole block was found above the tip mark");
            self.take_in(pair);
        }
        self.write_changes()
    }

    fn cut(&self, role: FileRole, from: u32, end: FilesEnd) -> Result<(), StoreError> {
        for number in role.numbers(self.disk)? {
            let path = role.path(number);
            let context = || StoreError::io(format!("cutting {path}"));
            if number > end.file {
                self.disk.unlink(&path).map_err(context())?;
                continue;
            }
            if number < from {
                continue;
            }
            let Ok(file) = disk::find(self.disk, &path)? else { continue };
            if number == end.file && file.length().map_err(context())? > end.offset {
                match file.truncate(end.offset) {
                    // It stays as it is then, and is not written on.
                    Err(error) if disk::is_media_error(&error) => {}
                    cut => cut.map_err(context())?,
                }
            }
            file.sync().map_err(context())?;
        }
        Ok(())
    }
}

/// The mark behind a block; a part without a sound header ends where the part before it did.
fn mark_of(pair: &Pair, before: Option<TipMark>, pruned: Pruned) -> TipMark {
    let (blocks, bodies) =
        before.map_or((FilesEnd::START, FilesEnd::START), |m| (m.blocks, m.bodies));
    TipMark {
        height: pair.height,
        hash: pair.hash,
        blocks: pair.ends.0.unwrap_or(blocks),
        bodies: pair.ends.1.unwrap_or(bodies),
        pruned,
    }
}
