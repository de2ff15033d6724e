//! Watching a folder of recordings: files that appear and grow, each sent on as a session.
//!
//! [`spool`] remembers which file is which session; everything else is asked for: how much was sent is
//! the session's offset, how much there is to send is the file's length. So a break of any kind, of
//! this process, of the server or of the network, costs nothing but time.
//!
//! A file is known by its identity, not by its name: one that is renamed stays the same recording, and
//! a new one under an old name is another.
//!
//! Nothing that is wrong with one file, folder or path stops or slows the others: each is named once,
//! looked at again with pauses of its own, and named again when it is well. What is wrong with the
//! watched folder or the store is waited out; only a store of this process that stopped writing ends it.
//!
//! A round is either a look at everything or at what the system tells of ([`rhythm`]).

mod again;
mod files;
mod notices;
mod rhythm;
mod send;
pub mod spool;
mod troubles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_core::manifest::Source;
use lucid_core::time::Timestamp;
use lucid_store::clock::{Clock, ClockDrift};
use lucid_store::files::descriptors::{self, Keeper};
use serde::Serialize;

use crate::naming::Naming;
use crate::place::{Place, StorageOptions};
use files::{FileIdentity, FolderIdentity, FolderScan, Seen, State};
use rhythm::Rhythm;
use spool::{OtherStore, Recording, Spool};
pub(crate) use troubles::{Pause, has_stopped, kind};
pub use troubles::{Remark, RemarkSubject};

/// Files that are kept open between two looks, as far as descriptors go. The others are opened for each.
const FILES_KEPT: usize = 4_096;
/// A server that nothing is sent to is asked after so many looks whether it is still there.
const LOOKS_A_QUESTION: u32 = 10;
/// A store that is away, this often: everything waits for it.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is watched, and how.
#[derive(Debug, Clone)]
pub struct WatchPlan {
    /// The folder.
    pub folder: PathBuf,
    /// Folders in it that hold none of its recordings: the spool, and the store.
    pub not: Vec<PathBuf>,
    /// The ids of its sessions, which have a tail.
    pub naming: Naming,
    /// Recordings that belong together, if any do.
    pub group_by: Option<GroupBy>,
    /// Whose recordings they are.
    pub user: String,
    /// What is to be kept with each.
    pub metadata: BTreeMap<String, String>,
    /// Where they come from, but for the path, which is each file's.
    pub source: Source,
    /// How long a file must be as it is to count as closed.
    pub idle: Duration,
    /// How long to wait before looking again where nothing tells of changes, and after a first failure.
    pub interval: Duration,
    /// Look again and again, whatever the system tells.
    pub polls: bool,
    /// Take files by the time of their last change, since nobody stays to see them grow.
    pub once: bool,
    /// What time it is.
    pub clock: Clock,
}

/// Which recordings are a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// Those of one folder, as sudo writes `log`, `timing` and `ttyout` of one recording. What stands in the watched
    /// folder itself is in none.
    Folder,
}

/// Something that was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum WatchEvent {
    /// A file became a session.
    Began {
        /// The session.
        session: String,
        /// The file.
        path: String,
    },
    /// A session is whole.
    Sealed {
        /// The session.
        session: String,
        /// The file.
        path: String,
        /// How many bytes it has.
        bytes: u64,
        /// Whether bytes may be missing: the file was gone or replaced before all of it was sent.
        unterminated: bool,
    },
    /// The folder is looked at again and again, since not all changes in it are told.
    Polled {
        /// Why not.
        why: String,
    },
    /// A folder is not looked into, because it is a store with its keys.
    LeftOut {
        /// The folder.
        path: String,
    },
}

/// A file whose session is open.
struct Open {
    recording: Recording,
    /// Kept open as far as descriptors go, so that what is removed can still be read to its end.
    file: Option<File>,
    /// How much the session has; asked for after every break.
    offset: Option<u64>,
    /// How the file was when it was last looked at, and since when.
    state: Option<State>,
    since: Instant,
    /// When something is to be done for it though nothing tells of it, if that is known.
    due: Option<Instant>,
    /// When the file had been changed as it was last held against the session or sent to its end.
    sent: Option<Timestamp>,
    /// Whether the file is not where it was any more.
    gone: bool,
    /// Whether the file was found to begin with what the session keeps.
    held: bool,
    /// Of the clock that times what is sent.
    drift: ClockDrift,
}

/// The recordings of one folder on their way.
pub struct Watcher<'a> {
    place: &'a dyn Place,
    storage: StorageOptions,
    plan: WatchPlan,
    spool: Spool,
    open: BTreeMap<FileIdentity, Open>,
    /// What was sealed, and how much of the file that was.
    done: BTreeMap<FileIdentity, Recording>,
    /// The folder as it was at the start.
    root: FolderIdentity,
    /// What the last look found in it.
    scan: FolderScan,
    /// When the next one is.
    rhythm: Rhythm,
    /// Whether the store is the one that the spool is of, and answers.
    store_is_known: bool,
    /// When the store was last asked which one it is.
    asked: Instant,
    /// When a store that is away is asked again.
    away: Option<Pause>,
    /// Files that failed, and where they were then.
    paused: BTreeMap<FileIdentity, (Pause, String)>,
    /// What is wrong at the moment.
    troubles: BTreeMap<RemarkSubject, String>,
    /// Paths that the last look could not look at.
    unseen: BTreeSet<String>,
    /// Stores in the folder that were spoken of.
    stores: BTreeSet<String>,
    /// Names in the spool that could not be read.
    unread: BTreeSet<String>,
    /// How many files are kept open, and how many may be.
    kept: usize,
    kept_max: usize,
}

impl<'a> Watcher<'a> {
    /// Finds again what was on its way.
    pub fn start(
        place: &'a dyn Place,
        storage: StorageOptions,
        plan: WatchPlan,
        spool: Spool,
    ) -> anyhow::Result<Self> {
        let root = FolderIdentity::of(&plan.folder)
            .with_context(|| format!("\"{}\" cannot be watched", plan.folder.display()))?;
        let mut watcher = Self {
            place,
            storage,
            scan: FolderScan::default(),
            rhythm: Rhythm::start(plan.interval, plan.polls),
            plan,
            spool,
            open: BTreeMap::new(),
            done: BTreeMap::new(),
            root,
            store_is_known: false,
            asked: Instant::now(),
            away: None,
            paused: BTreeMap::new(),
            troubles: BTreeMap::new(),
            unseen: BTreeSet::new(),
            stores: BTreeSet::new(),
            unread: BTreeSet::new(),
            kept: 0,
            kept_max: descriptors::share(Keeper::Watched, FILES_KEPT),
        };
        let (recordings, unread) = watcher.spool.recordings()?;
        watcher.unread = unread;
        for recording in recordings {
            watcher.remember(recording);
        }
        Ok(watcher)
    }

    /// Looks at what changed, and sends what there is. Fails only if the store is another one than the
    /// spool is of, or one of this process that writes no more; everything else that is wrong is
    /// remarked, and tried again later.
    pub fn round(
        &mut self,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
        remark: Remark<'_>,
    ) -> anyhow::Result<()> {
        let mut scan = std::mem::take(&mut self.scan);
        let changed = self.rhythm.take_files();
        let looked: Vec<_> = changed.iter().map(|path| scan.look_again(path)).collect();
        // At a path that is known is another file, or at one that is not.
        if looked.contains(&None) {
            self.rhythm.look_soon();
        }
        let done = if self.rhythm.is_due() {
            self.look_at_everything(&mut scan, tell, remark)
        } else {
            let changed = looked.into_iter().flatten().collect();
            self.see_to(&scan, Some(&changed), tell, remark).map(|is_whole| {
                if !is_whole {
                    self.rhythm.miss();
                }
            })
        };
        self.scan = scan;
        done
    }

    /// Waits until there is something to be done.
    pub fn wait(&mut self) {
        if self.paused.values().any(|(pause, _)| pause.is_over()) {
            self.rhythm.miss();
        }
        let moment = match self.away {
            Some(pause) => Some(pause.until),
            None => {
                let open =
                    self.open.iter().filter(|(identity, _)| !self.paused.contains_key(identity));
                let due = open.filter_map(|(_, open)| open.due);
                let pauses = self.paused.values().map(|(pause, _)| pause.until);
                let is_asked = self.place.own_folder().is_none();
                let asked = is_asked.then(|| self.asked + self.plan.interval * LOOKS_A_QUESTION);
                due.chain(pauses.filter(|until| *until > Instant::now())).chain(asked).min()
            }
        };
        self.rhythm.wait(moment);
    }

    fn look_at_everything(
        &mut self,
        scan: &mut FolderScan,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
        remark: Remark<'_>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        *scan = match self.look() {
            Ok(scan) => scan,
            Err(error) => {
                self.trouble(RemarkSubject::Folder, &error, remark);
                self.rhythm.looked(begun, false);
                return Ok(());
            }
        };
        self.well(&RemarkSubject::Folder, remark);
        self.note_unseen(scan, remark);
        if let Some(why) = self.rhythm.take_why() {
            tell(&WatchEvent::Polled { why })?;
        }
        for path in &scan.stores {
            if self.stores.insert(path.clone()) {
                tell(&WatchEvent::LeftOut { path: path.clone() })?;
            }
        }
        let is_whole = self.see_to(scan, None, tell, remark)?;
        self.rhythm.looked(begun, is_whole);
        Ok(())
    }

    /// Meets what is new and sends what there is: of everything that was seen, or `only` of what changed, and of what
    /// is due. Says whether all of it had its turn.
    fn see_to(
        &mut self,
        scan: &FolderScan,
        only: Option<&BTreeSet<FileIdentity>>,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
        remark: Remark<'_>,
    ) -> anyhow::Result<bool> {
        if !self.find_store(remark)? {
            return Ok(false);
        }
        if only.is_none() {
            self.read_again(remark);
            self.bind_again(scan, remark);
        }
        let files: Vec<&Seen> = match only {
            None => scan.files.iter().collect(),
            Some(changed) => changed.iter().filter_map(|identity| scan.of(identity)).collect(),
        };
        for file in files {
            if self.open.contains_key(&file.identity) {
                continue;
            }
            let meet = |watcher: &mut Self| watcher.meet(file, tell);
            if !self.attempt(file.identity, &file.shown(), remark, meet)? {
                return Ok(false);
            }
        }
        let now = Instant::now();
        let has_turn = |(identity, open): (&FileIdentity, &Open)| {
            let has_turn = only.is_none_or(|changed| changed.contains(identity))
                || open.due.is_some_and(|due| due <= now);
            has_turn.then_some(*identity)
        };
        let identities: Vec<FileIdentity> = self.open.iter().filter_map(has_turn).collect();
        for identity in identities {
            let path = self.open.get(&identity).map(|open| open.recording.path.clone());
            let path = path.unwrap_or_default();
            let at = match scan.of(&identity) {
                Some(seen) => At::Seen(seen),
                None if scan.is_away(&identity) => At::Away,
                None if scan.is_gone(&path, &identity) => At::Gone,
                None => At::Unseen,
            };
            let was_kept = self.keeps(&identity);
            let advance = |watcher: &mut Self| watcher.advance(identity, at, tell);
            let go_on = self.attempt(identity, &path, remark, advance)?;
            self.let_go(&identity, was_kept);
            if !go_on {
                return Ok(false);
            }
        }
        if only.is_none() {
            self.forget(scan, remark);
        }
        Ok(true)
    }

    /// Lists the folder, if it is the one that it was at the start.
    fn look(&mut self) -> anyhow::Result<FolderScan> {
        let (folder, rhythm) = (&self.plan.folder, &mut self.rhythm);
        let found = FolderIdentity::of(folder).context("it is not there")?;
        anyhow::ensure!(
            found == self.root,
            "it is another folder than at the start, unmounted or replaced; if that is meant, start \
             `lucid watch` again"
        );
        rhythm.begin_look();
        let scan = files::scan(folder, &self.plan.not, &mut |folder| rhythm.list(folder));
        rhythm.end_look();
        scan
    }

    /// Whether the store answers. It may be another one each time it was away. A server may be away, and
    /// come back, while there is nothing to send; the user is told even so.
    fn find_store(&mut self, remark: Remark<'_>) -> anyhow::Result<bool> {
        let is_due = self.asked.elapsed() >= self.plan.interval * LOOKS_A_QUESTION;
        if self.store_is_known && !(is_due && self.place.own_folder().is_none()) {
            return Ok(true);
        }
        if self.away.is_some_and(|pause| !pause.is_over()) {
            return Ok(false);
        }
        let found = self.place.store().and_then(|store| match store {
            Some(store) => self.spool.belongs_to(&store),
            None => Ok(()),
        });
        match found {
            Ok(()) => {
                (self.store_is_known, self.away, self.asked) = (true, None, Instant::now());
                self.well(&RemarkSubject::Store, remark);
                Ok(true)
            }
            Err(error) if error.is::<OtherStore>() => Err(error),
            Err(error) => {
                self.store_is_known = false;
                self.trouble(RemarkSubject::Store, &error, remark);
                let pause = Pause::after(self.away.as_ref(), self.plan.interval, AWAY_PAUSE_MAX);
                self.away = Some(pause);
                Ok(false)
            }
        }
    }

    fn keeps(&self, identity: &FileIdentity) -> bool {
        self.open.get(identity).is_some_and(|open| open.file.is_some())
    }

    /// Closes a file that was opened, if as many are open as may be. One that is gone is read to its end.
    fn let_go(&mut self, identity: &FileIdentity, was_kept: bool) {
        match (was_kept, self.open.get_mut(identity)) {
            (false, Some(open)) if open.file.is_some() => {
                if self.kept < self.kept_max || open.gone {
                    self.kept += 1;
                } else {
                    open.file = None;
                }
            }
            (true, open) if open.as_ref().is_none_or(|open| open.file.is_none()) => {
                self.kept = self.kept.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// Forgets sealed recordings whose files are gone, and failures of files that are. While a folder
    /// cannot be listed, it is not known what is in it.
    fn forget(&mut self, scan: &FolderScan, remark: Remark<'_>) {
        let (open, troubles) = (&self.open, &mut self.troubles);
        self.paused.retain(|identity, (_, path)| {
            let known = scan.of(identity).is_some() || open.contains_key(identity);
            if !known {
                troubles.remove(&RemarkSubject::Path(path.clone()));
            }
            known
        });
        if !scan.troubles.is_empty() {
            return;
        }
        let gone: Vec<Recording> = self
            .done
            .iter()
            .filter(|(identity, _)| scan.of(identity).is_none())
            .filter(|(identity, recording)| scan.is_gone(&recording.path, identity))
            .map(|(_, recording)| recording.clone())
            .collect();
        for recording in gone {
            match self.spool.forget(&recording) {
                Ok(()) => drop(self.done.remove(&recording.identity)),
                Err(error) => self.trouble(RemarkSubject::Path(recording.path), &error, remark),
            }
        }
    }
}

/// Where a file is.
#[derive(Debug, Clone, Copy)]
enum At<'a> {
    /// Here.
    Seen(&'a Seen),
    /// Not there any more.
    Gone,
    /// On a file system that is not there.
    Away,
    /// In a folder that cannot be looked at.
    Unseen,
}

impl Open {
    fn new(recording: Recording, file: Option<File>) -> Self {
        Self {
            recording,
            file,
            offset: None,
            state: None,
            since: Instant::now(),
            due: Some(Instant::now()),
            sent: None,
            gone: false,
            held: false,
            drift: ClockDrift::default(),
        }
    }
}

#[cfg(test)]
mod tests;
