//! Gives what was restored its owner, attributes, mode, ACLs, times and flags.
//!
//! Called by the target when content is complete. What cannot be kept is reported, once an entry, and is
//! no reason to fail. Invariants: only handles are used, or a link's own name, never a path that
//! could lead elsewhere; a program runs as its owner only if that owner is the archived one; nobody
//! gets more than an ACL gave when the ACL itself cannot be kept.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, IFlags, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat,
        fchmod, fchown, fstat, futimens, ioctl_getflags, ioctl_setflags, utimensat,
    },
    io::Errno,
    process::geteuid,
};

use super::report::Tally;
use crate::{
    folder::{
        Entry, FileTime,
        attributes::AttributesOf,
        numbers::{Named, Numbers},
        path::split,
    },
    text,
};
use lucid_core::catalogue::{ACL_ATTRIBUTES, AclEntry, AclTag, attribute_of_acl};

/// The bits that let a program run as its owner or group.
const SET_ID: u32 = 0o6000;
/// The attribute that gives a program rights of its own.
const CAPABILITY: &[u8] = b"security.capability";
/// Flags that a user may set, with the letters of `chattr`. Others tell how a file lies on its disk.
const FLAGS: [(u32, char); 17] = [
    (0x1, 's'),
    (0x2, 'u'),
    (0x4, 'c'),
    (0x8, 'S'),
    (0x10, 'i'),
    (0x20, 'a'),
    (0x40, 'd'),
    (0x80, 'A'),
    (0x400, 'm'),
    (0x4000, 'j'),
    (0x8000, 't'),
    (0x1_0000, 'D'),
    (0x2_0000, 'T'),
    (0x80_0000, 'C'),
    (0x200_0000, 'x'),
    (0x2000_0000, 'P'),
    (0x4000_0000, 'F'),
];
/// With these a file takes no further names, so they are set last.
const SEALING: u32 = 0x10 | 0x20;
/// These count only for what is written after them.
const EARLY: u32 = 0x4 | 0x400 | 0x80_0000;

/// Knows what this user may keep.
pub(super) struct Keeper {
    /// Only root gives files away.
    root: bool,
    numbers: Numbers,
}

/// What could not be kept of an entry.
#[derive(Default)]
struct Lost(Vec<String>);

impl Lost {
    fn unless(&mut self, kept: Result<(), Errno>, what: &str) -> bool {
        if let Err(errno) = kept {
            self.0.push(format!("{what} could not be restored: {}", std::io::Error::from(errno)));
        }
        kept.is_ok()
    }

    fn tell(self, entry: &Entry, tally: &Tally) {
        if !self.0.is_empty() {
            tally.warn(&entry.path, self.0.join("; "));
        }
    }
}

impl Keeper {
    /// Asks who we are. Owners are found by name, or with `numeric` by number alone.
    pub(super) fn new(numeric: bool) -> Self {
        Self { root: geteuid().is_root(), numbers: Numbers::new(numeric) }
    }

    /// Lets its owner into a folder that was there and whose mode is set again at the end. Where that
    /// cannot be done, making something in it reports the error.
    pub(super) fn let_in(&self, folder: &OwnedFd) {
        let Ok(now) = fstat(folder) else { return };
        let wanted = now.st_mode & 0o7777 | 0o700;
        if !self.root && now.st_uid == geteuid().as_raw() && now.st_mode & 0o700 != 0o700 {
            // The handle only stands for a place, so it is reached by its number.
            let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
            let _ = chmod(path, Mode::from_raw_mode(wanted));
        }
    }

    /// Sets everything but flags on an open file or folder.
    pub(super) fn keep(&self, file: &File, entry: &Entry, tally: &Tally) {
        let mut lost = Lost::default();
        // Most files have the right owner and mode from the start, and looking is cheaper than setting.
        let now = fstat(file).ok();
        // First, because it takes away set-id bits and capabilities.
        let owned = self.root && {
            let (user, group) = self.owner(entry, &mut lost);
            now.is_some_and(|now| (now.st_uid, now.st_gid) == (user, group))
                || lost.unless(fchown(file, uid(user), gid(group)), "its owner")
        };
        // Before the mode, which may forbid it.
        keep_attributes(&AttributesOf::Open(file), entry, owned, &mut lost);
        let mut mode = entry.plain_mode() & 0o7777;
        if mode & SET_ID != 0 && !owned {
            mode &= !SET_ID;
            let what =
                "its set-user-id and set-group-id bits are left off, as its owner is not kept";
            lost.0.push(what.to_owned());
        }
        if !now.is_some_and(|now| now.st_mode & 0o7777 == mode && mode & SET_ID == 0) {
            lost.unless(fchmod(file, Mode::from_raw_mode(mode)), "its mode");
        }
        // Behind the mode, whose group it changes to the mask.
        self.keep_acls(file, entry, &mut lost);
        // Of what stands there as it should and is sealed by its flags, nothing can be set.
        if !now.is_some_and(|now| has_time(&now, entry)) {
            lost.unless(futimens(file, &times(entry.modified)), "its time");
        }
        lost.tell(entry, tally);
    }

    /// Whether something that stands there has owner, mode and time, so that only what cannot be seen from
    /// outside is left to be set.
    pub(super) fn is_right(&self, seen: &Stat, entry: &Entry) -> bool {
        let owner = || self.owner(entry, &mut Lost::default());
        (!self.root || (seen.st_uid, seen.st_gid) == owner())
            && seen.st_mode & 0o7777 == entry.plain_mode() & 0o7777
            && has_time(seen, entry)
    }

    /// Sets everything on a symbolic link, whose mode means nothing.
    pub(super) fn keep_link(&self, folder: impl AsFd, entry: &Entry, tally: &Tally) {
        let mut lost = Lost::default();
        let (name, flags) = (split(&entry.path).1, AtFlags::SYMLINK_NOFOLLOW);
        let owned = self.root && {
            let (user, group) = self.owner(entry, &mut lost);
            lost.unless(chownat(&folder, name, uid(user), gid(group), flags), "its owner")
        };
        keep_attributes(&AttributesOf::link(&folder, name), entry, owned, &mut lost);
        lost.unless(utimensat(&folder, name, &times(entry.modified), flags), "its time");
        lost.tell(entry, tally);
    }

    /// Sets those flags of a file without content that count for what is written. Whether all flags came
    /// to be is asked when they are kept.
    pub(super) fn prepare(file: &File, entry: &Entry) {
        let early = entry.flags.unwrap_or(0) & EARLY;
        if early != 0 {
            let _ = add_flags(file, early);
        }
    }

    /// Sets the flags of a file or folder that has everything else.
    pub(super) fn keep_flags(file: &File, entry: &Entry, tally: &Tally) {
        let wanted = wanted_flags(entry);
        if wanted == 0 {
            return;
        }
        let letters = FLAGS.iter().filter(|(bit, _)| wanted & bit != 0).map(|(_, letter)| letter);
        let what =
            format!("not all of its flags ({}, as chattr has them)", letters.collect::<String>());
        let mut lost = Lost::default();
        lost.unless(add_flags(file, wanted), &what);
        lost.tell(entry, tally);
    }

    /// Whether an entry's flags have to wait until all links are made.
    pub(super) fn is_sealed(entry: &Entry) -> bool {
        wanted_flags(entry) & SEALING != 0
    }

    /// Whom an entry is to belong to.
    fn owner(&self, entry: &Entry, lost: &mut Lost) -> (u32, u32) {
        let mut number = |named, name, number| {
            self.numbers.find(named, name, number).unwrap_or_else(|why| {
                lost.0.push(why);
                number
            })
        };
        (
            number(Named::User, &entry.owner_name, entry.owner.uid),
            number(Named::Group, &entry.group_name, entry.owner.gid),
        )
    }

    fn keep_acls(&self, file: &File, entry: &Entry, lost: &mut Lost) {
        let [access, default] = ACL_ATTRIBUTES;
        for (name, acl, what) in [
            (access, &entry.access_acl, "its access control list"),
            (default, &entry.default_acl, "its default access control list"),
        ] {
            if !acl.is_empty() {
                let value = attribute_of_acl(&self.here(acl, lost));
                lost.unless(AttributesOf::Open(file).set(name, &value), what);
            }
        }
    }

    /// An ACL with the numbers that its names have on this host.
    fn here(&self, acl: &[AclEntry], lost: &mut Lost) -> Vec<AclEntry> {
        let mut acl = acl.to_vec();
        for entry in &mut acl {
            let named = match entry.tag {
                AclTag::User => Named::User,
                AclTag::Group => Named::Group,
                _ => continue,
            };
            match self.numbers.find(named, &entry.name, entry.id) {
                Ok(number) => entry.id = number,
                Err(why) => lost.0.push(why),
            }
        }
        acl
    }
}

/// Whether something was changed last when its entry says.
pub(super) fn has_time(seen: &Stat, entry: &Entry) -> bool {
    let wanted = times(entry.modified).last_modification;
    let nanos = i64::try_from(seen.st_mtime_nsec).unwrap_or(-1);
    (seen.st_mtime, nanos) == (wanted.tv_sec, wanted.tv_nsec)
}

/// Whether an entry has nothing but what every file has.
pub(super) fn is_bare(entry: &Entry) -> bool {
    let acls = [&entry.access_acl, &entry.default_acl];
    entry.attributes.is_empty() && acls.iter().all(|acl| acl.is_empty()) && wanted_flags(entry) == 0
}

fn wanted_flags(entry: &Entry) -> u32 {
    FLAGS.iter().fold(0, |all, (bit, _)| all | bit) & entry.flags.unwrap_or(0)
}

/// Sets flags, and finds out whether they are set: some file systems pass over what they cannot do.
fn add_flags(file: &File, wanted: u32) -> Result<(), Errno> {
    let wanted = IFlags::from_bits_retain(wanted);
    let now = ioctl_getflags(file)?;
    if now.contains(wanted) {
        return Ok(());
    }
    ioctl_setflags(file, now | wanted)?;
    if ioctl_getflags(file)?.contains(wanted) { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

fn keep_attributes(place: &AttributesOf<'_>, entry: &Entry, owned: bool, lost: &mut Lost) {
    for (name, value) in &entry.attributes {
        let shown = || format!("its attribute {}", text::name(name));
        if name == CAPABILITY && !owned {
            lost.0.push(format!("{} is left off, as its owner is not kept", shown()));
        } else if let Err(errno) = place.set(name, value) {
            lost.unless(Err(errno), &shown());
        }
    }
}

// The largest number means "leave it" to the system, and is nobody's.
fn uid(user: u32) -> Option<Uid> {
    (user != u32::MAX).then(|| Uid::from_raw(user))
}

fn gid(group: u32) -> Option<Gid> {
    (group != u32::MAX).then(|| Gid::from_raw(group))
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
