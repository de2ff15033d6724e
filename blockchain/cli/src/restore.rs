//! The way out: files put back from the chunks that hold them.
//!
//! One thread lists the catalogue and deals out work chunk by chunk, so that each chunk is read and
//! opened once, however many small files are in it; one thread per core reads chunks and writes files.
//! What cannot be read or written is named and costs the files it concerns, never the rest. Files that stand in the
//! target already are compared (`compare`), and those that differ are dealt out once more.

pub mod choice;
mod compare;
mod known;
pub mod proof;
pub mod raw;
pub mod several;
pub mod tar;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use lucid_core::catalogue::{Entry, EntryKind};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::chosen::Chosen;
use lucid_data_chain::ops::sessions::read_session::{reference_at, visit_entries};
use lucid_data_chain::row::Reference;
use lucid_data_chain::source::SessionSource;
use lucid_store::codec::Packer;
use lucid_store::{StoreError, threads};
use parking_lot::Mutex;

use self::known::Known;
use crate::folder::target::{
    Deleted, FileSlot, Foreseen, Identity, RestoreReport, Standing, Target, TargetError,
};
use crate::ingest::queue::Queue;
use crate::progress::ProgressLine;
use crate::text;

/// Plaintext of chunks that may wait for a worker.
const QUEUE_BYTES: u64 = 64 << 20;
/// References fetched in one go.
const REFERENCES_BATCH: usize = 256;

const NO_SUCH_PATH: &str = "there is no such path in the session";

/// What came of a restore.
#[derive(Debug)]
pub struct RestoreOutcome {
    /// What the target says.
    pub report: RestoreReport,
    /// What could not be read or written: each path once, and the first reason.
    pub failed: BTreeMap<Vec<u8>, String>,
    /// What was removed, where that was asked for.
    pub deleted: Deleted,
    /// What would be done, by path, of a run that changes nothing.
    pub plan: BTreeMap<Vec<u8>, Planned>,
}

impl RestoreOutcome {
    /// Nothing else is to be said than what the target says.
    pub fn of(report: RestoreReport) -> Self {
        let (failed, deleted, plan) = (BTreeMap::new(), Deleted::default(), BTreeMap::new());
        Self { report, failed, deleted, plan }
    }
}

/// What would become of an entry, and what it is.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// What would become of it.
    pub foreseen: Foreseen,
    /// What it is.
    pub kind: EntryKind,
    /// How many bytes it has, if it is a file.
    pub length: u64,
}

/// What is asked for besides writing.
#[derive(Default)]
pub struct Wishes {
    /// Only find out what would be done.
    pub dry_run: bool,
    /// Remove what the session does not have, but for these folders.
    pub delete: Option<Vec<Identity>>,
}

/// Part of a chunk that belongs to a file.
struct Part {
    landing: Landing,
    /// Where the part begins in the chunk.
    from: usize,
    length: usize,
}

enum Landing {
    /// A file that lies wholly in this chunk.
    Whole(Box<Entry>),
    /// A file that spans chunks, and where this part goes in it.
    Slice(Arc<FileSlot>, u64),
    /// A file that stands in the target and may be the same, and where the part is in it.
    Stands(Arc<Standing>, u64),
}

impl Landing {
    fn path(&self) -> &[u8] {
        match self {
            Self::Whole(entry) => &entry.path,
            Self::Slice(slot, _) => &slot.entry().path,
            Self::Stands(standing, _) => &standing.entry().path,
        }
    }
}

/// A chunk and the files that need it.
struct Job {
    reference: Reference,
    parts: Vec<Part>,
}

struct Restoring<'a> {
    source: &'a dyn SessionSource,
    target: &'a Target,
    wishes: &'a Wishes,
    failed: Mutex<BTreeMap<Vec<u8>, String>>,
    /// Files that stand in the target and turned out not to be the same.
    different: Mutex<Vec<Entry>>,
    plan: Mutex<BTreeMap<Vec<u8>, Planned>>,
    progress: &'a ProgressLine,
}

impl Restoring<'_> {
    fn fail(&self, path: &[u8], why: impl ToString) {
        // A large file has many chunks, and is named once.
        self.failed.lock().entry(path.to_vec()).or_insert_with(|| why.to_string());
    }

    /// Finds out what would become of an entry.
    fn foresee(&self, entry: &Entry) -> Result<(), TargetError> {
        self.plan(entry, self.target.foresee(entry)?);
        Ok(())
    }

    /// A file stands in the target as it should.
    fn stands(&self, entry: &Entry) {
        if self.wishes.dry_run {
            self.plan(entry, Foreseen::Stands);
        }
    }

    fn plan(&self, entry: &Entry, foreseen: Foreseen) {
        let planned = Planned { foreseen, kind: entry.kind, length: entry.length };
        self.plan.lock().insert(entry.path.clone(), planned);
    }

    /// Has workers do what `deal` gives to its dealer.
    fn run<T>(
        &self,
        chosen: &mut Chosen,
        deal: impl FnOnce(&mut Dealer<'_>) -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = Queue::new(QUEUE_BYTES);
        std::thread::scope(|scope| {
            let jobs = &jobs;
            let workers = threads::start_some(scope, cores, "restore", move || work(self, jobs))
                .map_err(StoreError::io("starting a thread"))?;
            let mut dealer =
                Dealer { restoring: self, jobs, chosen, ahead: VecDeque::new(), job: None };
            let dealt = deal(&mut dealer);
            dealer.send();
            jobs.close();
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            dealt
        })
    }
}

/// Puts what is chosen into the target.
pub fn restore(
    source: &dyn SessionSource,
    target: Target,
    mut chosen: Chosen,
    wishes: &Wishes,
    progress: &ProgressLine,
) -> Result<RestoreOutcome, OpError> {
    let restoring = Restoring {
        source,
        target: &target,
        wishes,
        failed: Mutex::default(),
        different: Mutex::default(),
        plan: Mutex::default(),
        progress,
    };
    let dealt = restoring.run(&mut chosen, deal).and_then(|known| {
        let mut different = std::mem::take(&mut *restoring.different.lock());
        if different.is_empty() {
            return Ok(known);
        }
        different.sort_by_key(|entry| entry.offset);
        restoring.run(&mut chosen, |dealer| {
            different.into_iter().for_each(|entry| dealer.deal_file(entry, false));
            Ok(known)
        })
    });
    let deleted = match (&dealt, &wishes.delete) {
        (Ok(known), Some(not)) => delete(&restoring, known, &chosen, not),
        _ => Deleted::default(),
    };
    let (failed, plan) = (restoring.failed.into_inner(), restoring.plan.into_inner());
    // What was dealt out is finished in any case.
    let report = target.finish();
    dealt?;
    Ok(RestoreOutcome { report, failed, deleted, plan })
}

/// Removes what the session does not have, where it is known what that is.
fn delete(restoring: &Restoring<'_>, known: &Known, chosen: &Chosen, not: &[Identity]) -> Deleted {
    if !known.is_whole() {
        restoring.fail(b"", "nothing was removed, as not all paths of the session can be read");
        return Deleted::default();
    }
    let stays = |path: &[u8]| known.has(path) || chosen.leaves_out(path);
    restoring.target.delete(known.folders(), not, &stays).unwrap_or_else(|error| {
        restoring.fail(b"", describe(&error));
        Deleted::default()
    })
}

/// Lists what is wanted and deals it out; says what there is.
fn deal(dealer: &mut Dealer<'_>) -> Result<Known, OpError> {
    let restoring = dealer.restoring;
    let mut known = Known::new(restoring.wishes.delete.is_some());
    let wanted = dealer.chosen.visits().to_vec();
    for path in dealer.chosen.absent(restoring.source)? {
        restoring.fail(&path, NO_SUCH_PATH);
    }
    for below in &wanted {
        let mut found = false;
        let visited = visit_entries(restoring.source, below, None, |entry| {
            found = true;
            known.note(&entry);
            if !dealer.chosen.leaves_out(&entry.path) {
                dealer.take(entry);
            }
            ControlFlow::Continue(())
        });
        match visited {
            Ok(()) if !found && !below.is_empty() => {
                restoring.fail(below, NO_SUCH_PATH);
            }
            Ok(()) => {}
            // Entries on other pages of the catalogue have been dealt out all the same.
            Err(error) if found => {
                known.lacks();
                restoring.fail(below, format!("not all of it: {error}"));
            }
            // Nor does one path stand in the way of the others.
            Err(error) if wanted.len() > 1 => {
                known.lacks();
                restoring.fail(below, error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

struct Dealer<'a> {
    restoring: &'a Restoring<'a>,
    jobs: &'a Queue<Job>,
    chosen: &'a mut Chosen,
    /// References from the current chunk on.
    ahead: VecDeque<Reference>,
    job: Option<Job>,
}

impl Dealer<'_> {
    fn take(&mut self, entry: Entry) {
        let (restoring, target) = (self.restoring, self.restoring.target);
        let path = entry.path.clone();
        let entry = match self.chosen.settle(restoring.source, entry) {
            Ok(entry) => entry,
            Err(error) => return restoring.fail(&path, error),
        };
        let done = match entry.kind {
            EntryKind::File => return self.deal_file(entry, true),
            _ if restoring.wishes.dry_run => restoring.foresee(&entry),
            EntryKind::Folder => target.folder(&entry),
            EntryKind::Symlink => target.symlink(&entry),
            EntryKind::HardLink => target.hard_link(&entry),
        };
        if let Err(error) = done {
            restoring.fail(&path, describe(&error));
        }
    }

    /// Deals a file out: to be compared, if it `may_stand` in the target already; else to be written.
    fn deal_file(&mut self, entry: Entry, may_stand: bool) {
        let restoring = self.restoring;
        if may_stand && let Some(standing) = restoring.target.standing(&entry) {
            let done = match entry.length {
                0 => standing.same(0).map(drop),
                _ if standing.is_trusted() => standing.trust(),
                _ => return self.deal_standing(Arc::new(standing)),
            };
            return match done {
                Ok(()) => restoring.stands(&entry),
                Err(error) => restoring.fail(&entry.path, describe(&error)),
            };
        }
        let done = match entry.length {
            _ if restoring.wishes.dry_run => restoring.foresee(&entry),
            0 => restoring.target.small_file(&entry, &[]),
            _ => return self.deal_bytes(entry),
        };
        if let Err(error) = done {
            restoring.fail(&entry.path, describe(&error));
        }
    }

    fn deal_standing(&mut self, standing: Arc<Standing>) {
        let (start, length) = (standing.entry().offset, standing.entry().length);
        let (mut at, end) = (start, start + length);
        while at < end {
            let reference = match self.seek(at) {
                Ok(reference) => reference,
                Err(error) => return self.restoring.fail(&standing.entry().path, error),
            };
            let to = end.min(reference.end());
            let landing = Landing::Stands(standing.clone(), at - start);
            let from = (at - reference.offset) as usize;
            self.add(reference, Part { landing, from, length: (to - at) as usize });
            at = to;
        }
    }

    fn deal_bytes(&mut self, entry: Entry) {
        let end = entry.offset + entry.length;
        let first = match self.seek(entry.offset) {
            Ok(first) => first,
            Err(error) => return self.restoring.fail(&entry.path, error),
        };
        if end <= first.end() {
            let from = (entry.offset - first.offset) as usize;
            let length = entry.length as usize;
            return self
                .add(first, Part { landing: Landing::Whole(Box::new(entry)), from, length });
        }
        let slot = match self.restoring.target.open_file(&entry) {
            Ok(slot) => Arc::new(slot),
            Err(error) => return self.restoring.fail(&entry.path, describe(&error)),
        };
        let mut at = entry.offset;
        while at < end {
            let reference = match self.seek(at) {
                Ok(reference) => reference,
                Err(error) => return self.restoring.fail(&entry.path, error),
            };
            let to = end.min(reference.end());
            let landing = Landing::Slice(slot.clone(), at - entry.offset);
            let from = (at - reference.offset) as usize;
            self.add(reference, Part { landing, from, length: (to - at) as usize });
            at = to;
        }
    }

    /// The reference whose chunk holds `offset`. Files lie in the session in catalogue order, so it is
    /// nearly always this one or the next.
    fn seek(&mut self, offset: u64) -> Result<Reference, OpError> {
        while let Some(front) = self.ahead.front().copied() {
            if front.holds(offset) {
                return Ok(front);
            }
            if offset < front.offset {
                break;
            }
            self.ahead.pop_front();
            if self.ahead.is_empty() {
                let next = front.index + 1;
                self.ahead = self.restoring.source.references(next, REFERENCES_BATCH)?.into();
                if self.ahead.front().is_none_or(|front| front.end() <= offset) {
                    break;
                }
            }
        }
        let found = reference_at(self.restoring.source, offset)?;
        self.ahead = self.restoring.source.references(found.index, REFERENCES_BATCH)?.into();
        Ok(found)
    }

    fn add(&mut self, reference: Reference, part: Part) {
        match &mut self.job {
            Some(job) if job.reference.index == reference.index => job.parts.push(part),
            _ => {
                self.send();
                self.job = Some(Job { reference, parts: vec![part] });
            }
        }
    }

    fn send(&mut self) {
        if let Some(job) = self.job.take() {
            let weight = u64::from(job.reference.length);
            self.jobs.push(job, weight);
        }
    }
}

fn describe(error: &TargetError) -> String {
    let mut text = crate::output::sentence(error);
    if let Some(remedy) = error.remedy() {
        text.push_str(": ");
        text.push_str(remedy);
    }
    text
}

fn work(restoring: &Restoring<'_>, jobs: &Queue<Job>) {
    let (mut packer, mut buffer) = (Packer::new(), Vec::new());
    while let Some(job) = jobs.pop() {
        if compare::is_settled(restoring, &job, &mut buffer) {
            continue;
        }
        let Job { reference, parts } = job;
        let bytes = match restoring.source.chunk(&mut packer, &reference) {
            Ok(bytes) => bytes,
            Err(error) => {
                for part in &parts {
                    restoring.fail(part.landing.path(), &error);
                }
                continue;
            }
        };
        for Part { landing, from, length } in parts {
            let part = bytes.get(from..from + length).unwrap_or_default();
            let written = match &landing {
                Landing::Whole(entry) => restoring.target.small_file(entry, part),
                Landing::Slice(slot, at) => slot.write_at(*at, part),
                Landing::Stands(standing, at) => {
                    compare::compare(restoring, standing, *at, part, &mut buffer);
                    continue;
                }
            };
            match written {
                Ok(()) => restoring.progress.add(length as u64),
                Err(error) => restoring.fail(landing.path(), describe(&error)),
            }
        }
    }
}

/// Says what could not be restored, one line a path.
pub fn complaints(outcome: &RestoreOutcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome
        .failed
        .iter()
        .map(|(path, why)| match path.is_empty() {
            true => why.clone(),
            false => format!("\"{}\" was not restored: {why}", text::name(path)),
        })
        .collect();
    let stays = outcome.deleted.stays.iter();
    lines.extend(
        stays.map(|(path, why)| format!("\"{}\" was not removed: {why}", text::name(path))),
    );
    // What is incomplete because a chunk could not be read was named with its reason.
    let told: BTreeSet<&[u8]> = outcome.failed.keys().map(Vec::as_slice).collect();
    let is_told = |error: &&TargetError| error.path().is_some_and(|path| told.contains(path));
    let refused = outcome.report.refused.first.iter();
    lines.extend(refused.filter(|error| !is_told(error)).map(describe));
    if outcome.report.refused.more > 0 {
        lines.push(format!("{} more were not restored", text::count(outcome.report.refused.more)));
    }
    lines
}
