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
//! In one file because a watcher's states and what changes them are one machine; what it does to files and places
//! is in the files below.

mod again;
mod files;
mod send;
pub mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::error::OpError;
use lucid_store::StoreError;
use lucid_store::clock::{Clock, ClockDrift};
use lucid_store::error::CommitError;
use lucid_store::files::descriptors::{self, Keeper};
use serde::Serialize;

use crate::place::remote::is_away;
use crate::place::{Place, StorageOptions};
use files::{FileIdentity, FolderIdentity, FolderScan, Seen, State};
use spool::{OtherStore, Recording, Spool};

/// Files that are kept open between two looks, as far as descriptors go. The others are opened for each.
const FILES_KEPT: usize = 4_096;
/// What failed again and again is looked at this often.
const PAUSE_MAX: Duration = Duration::from_secs(30);
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
    /// What the ids of its sessions begin with.
    pub prefix: String,
    /// Whose recordings they are.
    pub user: String,
    /// What is to be kept with each.
    pub metadata: BTreeMap<String, String>,
    /// How long a file must be as it is to count as closed.
    pub idle: Duration,
    /// How long to wait before looking again, the first time.
    pub interval: Duration,
    /// Take files by the time of their last change, since nobody stays to see them grow.
    pub once: bool,
    /// What time it is.
    pub clock: Clock,
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
    /// A folder is not looked into, because it is a store with its keys.
    LeftOut {
        /// The folder.
        path: String,
    },
}

/// What something may be wrong with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkSubject {
    /// The watched folder itself.
    Folder,
    /// Where the recordings go.
    Store,
    /// What is at a path in the folder.
    Path(String),
    /// What is remembered in the spool under a name.
    Spool(String),
}

/// Takes what is wrong, or `None` when it is well again: each once.
pub type Remark<'a> = &'a mut dyn FnMut(&RemarkSubject, Option<&str>);

/// When something that failed is looked at again.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Pause {
    /// The pause after one more failure: twice as long as the one before.
    fn after(last: Option<&Self>, first: Duration, most: Duration) -> Self {
        let length = last.map_or(first, |last| (last.length * 2).min(most.max(first)));
        Self { until: Instant::now() + length, length }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
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

    /// Looks at the folder once, and sends what there is. Fails only if the store is another one than the
    /// spool is of, or one of this process that writes no more; everything else that is wrong is
    /// remarked, and tried again later.
    pub fn round(
        &mut self,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
        remark: Remark<'_>,
    ) -> anyhow::Result<()> {
        let scan = match self.look() {
            Ok(scan) => scan,
            Err(error) => {
                self.trouble(RemarkSubject::Folder, &error, remark);
                return Ok(());
            }
        };
        self.well(&RemarkSubject::Folder, remark);
        self.note_unseen(&scan, remark);
        for path in &scan.stores {
            if self.stores.insert(path.clone()) {
                tell(&WatchEvent::LeftOut { path: path.clone() })?;
            }
        }
        if !self.find_store(remark)? {
            return Ok(());
        }
        let there: BTreeMap<FileIdentity, &Seen> =
            scan.files.iter().map(|file| (file.identity, file)).collect();
        self.read_again(remark);
        self.bind_again(&scan, &there, remark);
        for file in &scan.files {
            if self.open.contains_key(&file.identity) {
                continue;
            }
            let meet = |watcher: &mut Self| watcher.meet(file, tell);
            if !self.attempt(file.identity, &file.shown(), remark, meet)? {
                return Ok(());
            }
        }
        let identities: Vec<FileIdentity> = self.open.keys().copied().collect();
        for identity in identities {
            let path = self.open.get(&identity).map(|open| open.recording.path.clone());
            let path = path.unwrap_or_default();
            let seen = there.get(&identity).copied();
            let at = match seen {
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
                return Ok(());
            }
        }
        self.forget(&scan, &there, remark);
        Ok(())
    }

    /// Whether anything is wrong at the moment.
    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Lists the folder, if it is the one that it was at the start.
    fn look(&self) -> anyhow::Result<FolderScan> {
        let folder = &self.plan.folder;
        let found = FolderIdentity::of(folder).context("it is not there")?;
        anyhow::ensure!(
            found == self.root,
            "it is another folder than at the start, unmounted or replaced; if that is meant, start \
             `lucid watch` again"
        );
        files::scan(folder, &self.plan.not)
    }

    /// Remarks what could not be looked at, and what can be again.
    fn note_unseen(&mut self, scan: &FolderScan, remark: Remark<'_>) {
        let now: BTreeSet<String> = scan.troubles.iter().map(|(path, _)| path.clone()).collect();
        for (path, error) in &scan.troubles {
            self.trouble(RemarkSubject::Path(path.clone()), error, remark);
        }
        for path in std::mem::replace(&mut self.unseen, now) {
            if !self.unseen.contains(&path) {
                self.well(&RemarkSubject::Path(path), remark);
            }
        }
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

    /// Does something for one file, unless it failed a moment ago; says whether the others have their
    /// turn, which they have unless the store is away. A store of this process that stopped writing does
    /// not write again before it is opened anew, so that ends everything.
    fn attempt(
        &mut self,
        identity: FileIdentity,
        path: &str,
        remark: Remark<'_>,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        if self.paused.get(&identity).is_some_and(|(pause, _)| !pause.is_over()) {
            return Ok(true);
        }
        let Err(error) = work(self) else {
            if let Some((_, path)) = self.paused.remove(&identity) {
                self.well(&RemarkSubject::Path(path), remark);
            }
            return Ok(true);
        };
        if self.place.own_folder().is_some() && has_stopped(&error) {
            return Err(error.context("nothing more can be sent; start `lucid watch` again"));
        }
        if let Some(open) = self.open.get_mut(&identity) {
            open.offset = None;
        }
        let last = self.paused.get(&identity).map(|(pause, _)| pause);
        let pause = Pause::after(last, self.plan.interval, PAUSE_MAX);
        self.paused.insert(identity, (pause, path.to_owned()));
        if is_away(&error) {
            self.store_is_known = false;
            self.trouble(RemarkSubject::Store, &error, remark);
            return Ok(false);
        }
        self.trouble(RemarkSubject::Path(path.to_owned()), &error, remark);
        Ok(true)
    }

    fn trouble(&mut self, subject: RemarkSubject, error: &anyhow::Error, remark: Remark<'_>) {
        let text = format!("{error:#}");
        // The same trouble again is no news.
        if self.troubles.get(&subject) != Some(&text) {
            remark(&subject, Some(&text));
            self.troubles.insert(subject, text);
        }
    }

    fn well(&mut self, subject: &RemarkSubject, remark: Remark<'_>) {
        if self.troubles.remove(subject).is_some() {
            remark(subject, None);
        }
    }

    /// Whether every file was sent and sealed that there was.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets sealed recordings whose files are gone, and failures of files that are. While a folder
    /// cannot be listed, it is not known what is in it.
    fn forget(
        &mut self,
        scan: &FolderScan,
        there: &BTreeMap<FileIdentity, &Seen>,
        remark: Remark<'_>,
    ) {
        let (open, troubles) = (&self.open, &mut self.troubles);
        self.paused.retain(|identity, (_, path)| {
            let known = there.contains_key(identity) || open.contains_key(identity);
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
            .filter(|(identity, _)| !there.contains_key(identity))
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

/// Whether a store of this process stopped writing for as long as it is open.
fn has_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let commit = match cause.downcast_ref() {
            Some(StoreError::Commit { error, .. }) => Some(error),
            _ => cause.downcast_ref(),
        };
        matches!(commit, Some(CommitError::Broken(_)))
            || matches!(cause.downcast_ref(), Some(OpError::Broken(_)))
    })
}

impl Open {
    fn new(recording: Recording, file: Option<File>) -> Self {
        Self {
            recording,
            file,
            offset: None,
            state: None,
            since: Instant::now(),
            sent: None,
            gone: false,
            held: false,
            drift: ClockDrift::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::Home;
    use crate::place::local::Local;

    #[test]
    fn a_store_of_this_process_that_stopped_writing_ends_it_and_other_failures_do_not() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("recordings");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file"), "content").unwrap();
        let home = Home {
            data: room.path().join("store"),
            server: None,
            key_file: None,
            token_file: None,
            ca: None,
            pin: None,
            passphrase_file: None,
            blocks: None,
            read_only: false,
            reading: None,
            typed: None,
        };
        let place = Local::create(&home, "watch", &crate::cmd::clock(), true).unwrap();
        let plan = WatchPlan {
            folder: folder.clone(),
            not: Vec::new(),
            prefix: String::new(),
            user: String::new(),
            metadata: BTreeMap::new(),
            idle: Duration::ZERO,
            interval: Duration::ZERO,
            once: true,
            clock: Clock::system(),
        };
        let spool = Spool::open(&room.path().join("spool")).unwrap();
        let storage = StorageOptions::default();
        let mut watcher = Watcher::start(&place, storage, plan, spool).unwrap();
        let file = files::scan(&folder, &[]).unwrap().files.remove(0).identity;
        let mut fail = |error: OpError| {
            watcher.attempt(file, "file", &mut |_, _| (), |_| {
                Err(anyhow::Error::from(error).context("while it was sent"))
            })
        };
        let commit = CommitError::Broken("the disk is gone".to_owned());
        let stored = StoreError::Commit { what: "a piece", error: commit.clone() };
        for stopped in [OpError::from(commit), OpError::from(stored)] {
            let ended = format!("{:#}", fail(stopped).unwrap_err());
            assert!(ended.contains("stopped writing") && ended.contains("start"), "{ended}");
        }
        assert!(fail(OpError::from(CommitError::Failed("no room".to_owned()))).unwrap());
    }
}
