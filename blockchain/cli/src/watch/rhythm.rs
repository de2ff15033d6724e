//! When a watched folder is looked at: as the system tells of changes, or again and again where it does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::notices::Notices;

/// Everything is looked at this often, whatever is told: programs that write through mapped memory are told of by
/// nobody.
const UNTOLD: Duration = Duration::from_secs(30);
/// Looking at everything takes at most this part of the time, however much changes.
const SHARE: u32 = 20;
/// What grows all the time is sent on this often: each time something is made durable.
const GROWTH: Duration = Duration::from_millis(100);

/// When to look.
#[derive(Debug)]
pub struct Rhythm {
    interval: Duration,
    /// Not there where changes are not told.
    notices: Option<Notices>,
    /// Why not, until it is said.
    why: Option<String>,
    /// When the last look at everything was over, and how long it took.
    looked: Option<(Instant, Duration)>,
    /// When files were last sent on.
    went_on: Instant,
    /// Whether the last look left out something.
    missed: bool,
}

impl Rhythm {
    /// By what the system tells, or every `interval` if it `polls`.
    pub fn start(interval: Duration, polls: bool) -> Self {
        let (notices, why) = match polls {
            true => (None, None),
            false => match Notices::start() {
                Ok(notices) => (Some(notices), None),
                Err(error) => (None, Some(format!("the system tells of no changes: {error}"))),
            },
        };
        Self { interval, notices, why, looked: None, went_on: Instant::now(), missed: false }
    }

    /// Whether everything is to be looked at now.
    pub fn is_due(&self) -> bool {
        self.next_look().is_none_or(|next| Instant::now() >= next)
    }

    /// When everything is looked at next, as far as is known now: at once, before the first look.
    fn next_look(&self) -> Option<Instant> {
        let (looked, took) = self.looked?;
        let pause = match &self.notices {
            Some(notices) if !self.missed && notices.is_everything() => {
                self.interval.min(took * SHARE)
            }
            Some(_) if !self.missed => UNTOLD.max(self.interval),
            _ => self.interval,
        };
        Some(looked + pause)
    }

    /// What was told of can only be seen by a look at everything.
    pub fn look_soon(&mut self) {
        if let Some(notices) = &mut self.notices {
            notices.note_everything();
        }
    }

    /// The last look left out something, or what it found has to be tried again.
    pub fn miss(&mut self) {
        self.missed = true;
    }

    /// A look at everything begins.
    pub fn begin_look(&mut self) {
        let begun = self.notices.as_mut().map(Notices::begin_look);
        if let Some(Err(error)) = begun {
            self.poll(format!("the system stopped telling of changes: {error}"));
        }
    }

    /// A folder is about to be listed.
    pub fn list(&mut self, folder: &Path) {
        if let Some(Err(why)) = self.notices.as_mut().map(|notices| notices.list(folder)) {
            self.poll(why);
        }
    }

    /// Every folder was listed.
    pub fn end_look(&mut self) {
        if let Some(notices) = &mut self.notices {
            notices.end_look();
        }
    }

    /// What the look that began then found was seen to, or not all of it.
    pub fn looked(&mut self, begun: Instant, is_whole: bool) {
        let now = Instant::now();
        self.looked = Some((now, now.duration_since(begun)));
        (self.went_on, self.missed) = (now, !is_whole);
    }

    /// Files that changed since the last time.
    pub fn take_files(&mut self) -> BTreeSet<PathBuf> {
        self.went_on = Instant::now();
        self.notices.as_mut().map(Notices::take_files).unwrap_or_default()
    }

    /// Waits until something changed, everything is to be looked at, or this moment has come.
    pub fn wait(&mut self, until: Option<Instant>) {
        loop {
            let Some(next) = self.next_look() else { return };
            let until = until.map_or(next, |until| until.min(next));
            if Instant::now() >= until {
                return;
            }
            let Some(notices) = &mut self.notices else {
                return std::thread::sleep(until.saturating_duration_since(Instant::now()));
            };
            let gathered = self.went_on + GROWTH.min(self.interval);
            if let Err(error) = notices.wait(until, gathered) {
                self.poll(format!("the system stopped telling of changes: {error}"));
            } else if notices.has_files() {
                return;
            }
        }
    }

    /// Why the folder is looked at again and again, once.
    pub fn take_why(&mut self) -> Option<String> {
        self.why.take()
    }

    fn poll(&mut self, why: String) {
        (self.notices, self.why) = (None, Some(why));
    }
}
