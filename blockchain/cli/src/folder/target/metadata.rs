//! Gives what was restored its owner, attributes, mode and times.
//!
//! Called by the target when content is complete. What cannot be kept is reported and is no
//! reason to fail. Invariants: only handles are used, or a link's own name, never a path that
//! could lead elsewhere; a program runs as its owner only if that owner is the archived one.

use std::{fs::File, os::fd::AsFd};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod, fchown, fstat,
        futimens, utimensat,
    },
    process::geteuid,
};

use super::report::Tally;
use crate::{
    folder::{Entry, FileTime, attributes::Place, path::split},
    text,
};

/// The bits that let a program run as its owner or group.
const SET_ID: u32 = 0o6000;
/// The attribute that gives a program rights of its own.
const CAPABILITY: &[u8] = b"security.capability";

/// Knows what this user may keep.
pub(super) struct Keeper {
    /// Only root gives files away.
    root: bool,
}

impl Keeper {
    /// Asks who we are.
    pub(super) fn new() -> Self {
        Self { root: geteuid().is_root() }
    }

    /// Sets everything on an open file or folder.
    pub(super) fn keep(&self, file: &File, entry: &Entry, tally: &Tally) {
        // Most files have the right owner and mode from the start, and looking is cheaper than setting.
        let now = fstat(file).ok();
        let owner = entry.owner;
        let is_owned = now.is_some_and(|now| (now.st_uid, now.st_gid) == (owner.uid, owner.gid));
        // First, because it takes away set-id bits and capabilities.
        let owned = self.root
            && (is_owned || {
                let kept = fchown(file, user(entry), group(entry));
                report(kept, "its owner", entry, tally)
            });
        // Before the mode, which may forbid it.
        keep_attributes(&Place::Open(file), entry, owned, tally);
        let mut mode = entry.mode & 0o7777;
        if mode & SET_ID != 0 && !owned {
            mode &= !SET_ID;
            let what =
                "its set-user-id and set-group-id bits are left off, as its owner is not kept";
            tally.warn(&entry.path, what.to_owned());
        }
        if !now.is_some_and(|now| now.st_mode & 0o7777 == mode && mode & SET_ID == 0) {
            report(fchmod(file, Mode::from_raw_mode(mode)), "its mode", entry, tally);
        }
        report(futimens(file, &times(entry.modified)), "its time", entry, tally);
    }

    /// Sets everything on a symbolic link, whose mode means nothing.
    pub(super) fn keep_link(&self, folder: impl AsFd, entry: &Entry, tally: &Tally) {
        let name = split(&entry.path).1;
        let (user, group, flags) = (user(entry), group(entry), AtFlags::SYMLINK_NOFOLLOW);
        let owned = self.root && {
            let kept = chownat(&folder, name, user, group, flags);
            report(kept, "its owner", entry, tally)
        };
        keep_attributes(&Place::link(&folder, name), entry, owned, tally);
        let kept = utimensat(&folder, name, &times(entry.modified), flags);
        report(kept, "its time", entry, tally);
    }
}

fn keep_attributes(place: &Place<'_>, entry: &Entry, owned: bool, tally: &Tally) {
    for (name, value) in &entry.attributes {
        let shown = || format!("its attribute {}", text::name(name));
        if name == CAPABILITY && !owned {
            let what = format!("{} is left off, as its owner is not kept", shown());
            tally.warn(&entry.path, what);
        } else if let Err(errno) = place.set(name, value) {
            report(Err(errno), &shown(), entry, tally);
        }
    }
}

fn report(kept: rustix::io::Result<()>, what: &str, entry: &Entry, tally: &Tally) -> bool {
    if let Err(errno) = kept {
        tally.warn(&entry.path, format!("{what} could not be restored: {errno}"));
    }
    kept.is_ok()
}

// The largest number means "leave it" to the system, and is nobody's.
fn user(entry: &Entry) -> Option<Uid> {
    (entry.owner.uid != u32::MAX).then(|| Uid::from_raw(entry.owner.uid))
}

fn group(entry: &Entry) -> Option<Gid> {
    (entry.owner.gid != u32::MAX).then(|| Gid::from_raw(entry.owner.gid))
}

fn times(modified: FileTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            // Some larger numbers have a meaning of their own to the system.
            tv_nsec: modified.nanos.min(999_999_999).into(),
        },
    }
}
