//! The way out: files put back from the chunks that hold them.
//!
//! One thread lists the catalogue and deals out work chunk by chunk, so that each chunk is read and
//! opened once, however many small files are in it; one thread per core reads chunks and writes files.
//! What cannot be read or written is named and costs the files it concerns, never the rest.

pub mod raw;
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

use crate::folder::target::{FileSlot, RestoreReport, Target, TargetError};
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
}

impl Landing {
    fn path(&self) -> &[u8] {
        match self {
            Self::Whole(entry) => &entry.path,
            Self::Slice(slot, _) => &slot.entry().path,
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
    jobs: Queue<Job>,
    failed: Mutex<BTreeMap<Vec<u8>, String>>,
    progress: &'a ProgressLine,
}

impl Restoring<'_> {
    fn fail(&self, path: &[u8], why: impl ToString) {
        // A large file has many chunks, and is named once.
        self.failed.lock().entry(path.to_vec()).or_insert_with(|| why.to_string());
    }
}

/// Puts `paths` and everything below them into the target; no paths means everything.
pub fn restore(
    source: &dyn SessionSource,
    target: Target,
    paths: &[Vec<u8>],
    progress: &ProgressLine,
) -> Result<RestoreOutcome, OpError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let restoring = Restoring {
        source,
        target: &target,
        jobs: Queue::new(QUEUE_BYTES),
        failed: Mutex::default(),
        progress,
    };
    let dealt = std::thread::scope(|scope| {
        let restoring = &restoring;
        let workers = threads::start_some(scope, cores, "restore", move || work(restoring))
            .map_err(StoreError::io("starting a thread"))?;
        let dealt = deal(restoring, paths);
        restoring.jobs.close();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        dealt
    });
    let failed = restoring.failed.into_inner();
    // What was dealt out is finished in any case.
    let report = target.finish();
    dealt?;
    Ok(RestoreOutcome { report, failed })
}

/// Lists what is wanted and deals it out.
fn deal(restoring: &Restoring<'_>, paths: &[Vec<u8>]) -> Result<(), OpError> {
    let chosen = Chosen::new(paths);
    let wanted = chosen.paths().to_vec();
    for path in chosen.absent(restoring.source)? {
        restoring.fail(&path, NO_SUCH_PATH);
    }
    let mut dealer = Dealer { restoring, chosen, ahead: VecDeque::new(), job: None };
    for below in &wanted {
        let mut found = false;
        let visited = visit_entries(restoring.source, below, None, |entry| {
            found = true;
            dealer.take(entry);
            ControlFlow::Continue(())
        });
        match visited {
            Ok(()) if !found && !below.is_empty() => {
                restoring.fail(below, NO_SUCH_PATH);
            }
            Ok(()) => {}
            // Entries on other pages of the catalogue have been dealt out all the same.
            Err(error) if found => restoring.fail(below, format!("not all of it: {error}")),
            // Nor does one path stand in the way of the others.
            Err(error) if wanted.len() > 1 => restoring.fail(below, error),
            Err(error) => return Err(error),
        }
    }
    dealer.send();
    Ok(())
}

struct Dealer<'a> {
    restoring: &'a Restoring<'a>,
    chosen: Chosen,
    /// References from the current chunk on.
    ahead: VecDeque<Reference>,
    job: Option<Job>,
}

impl Dealer<'_> {
    fn take(&mut self, entry: Entry) {
        let (target, path) = (self.restoring.target, entry.path.clone());
        let entry = match self.chosen.settle(self.restoring.source, entry) {
            Ok(entry) => entry,
            Err(error) => return self.restoring.fail(&path, error),
        };
        let done = match entry.kind {
            EntryKind::Folder => target.folder(&entry),
            EntryKind::Symlink => target.symlink(&entry),
            EntryKind::HardLink => target.hard_link(&entry),
            EntryKind::File if entry.length == 0 => target.small_file(&entry, &[]),
            EntryKind::File => return self.deal_file(entry),
        };
        if let Err(error) = done {
            self.restoring.fail(&path, describe(&error));
        }
    }

    fn deal_file(&mut self, entry: Entry) {
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
            self.restoring.jobs.push(job, weight);
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

fn work(restoring: &Restoring<'_>) {
    let mut packer = Packer::new();
    while let Some(Job { reference, parts }) = restoring.jobs.pop() {
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
        .map(|(path, why)| format!("\"{}\" was not restored: {why}", text::name(path)))
        .collect();
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
