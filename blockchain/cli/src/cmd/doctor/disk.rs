//! The disks that a folder is on: whether they keep what they were asked to, as far as that can be told, and how much
//! room they have.
//!
//! What a disk does with a request to make something durable no program can see. Only what is known to break the
//! promise is named: a file system in memory or on another machine, one that was told not to wait, one whose data may
//! come behind its names.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lucid_store::files::room::Space;
use rustix::fs::{major, minor};

use super::finding::{Finding, State};
use crate::cmd::Home;
use crate::place::local::reserve;
use crate::text;

/// File systems that are on another machine, which keeps its own promises.
const REMOTE: [&str; 8] =
    ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"];
/// File systems in memory.
const MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// Options by which a file system does not ask the disk to keep what it was given.
const UNSAFE: [&str; 5] = ["nobarrier", "barrier=0", "norecovery", "nolog", "volatile"];

/// Looks at the disks of a folder: its own, and the one that its bulk may be linked to.
pub fn look_at(name: &str, root: &Path, bulk: &str, home: &Home, checks: &mut Vec<Finding>) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut seen = Vec::new();
    for path in [root.to_owned(), root.join(bulk)] {
        let Ok(facts) = std::fs::metadata(&path) else { continue };
        // One disk is looked at once.
        if seen.contains(&facts.dev()) {
            continue;
        }
        seen.push(facts.dev());
        let of = match path == root {
            true => name.to_owned(),
            false => format!("{name}/{bulk}"),
        };
        let device = (major(facts.dev()), minor(facts.dev()));
        checks.push(keeps(&of, &path, device, &mounts));
        checks.push(room(&of, &path, home));
    }
}

/// Whether the file system is one that keeps what it synced.
fn keeps(of: &str, path: &Path, device: (u32, u32), mounts: &str) -> Finding {
    let about = ("disk", of);
    let Some(mount) = mount_of(mounts, path, device) else {
        return Finding::new(
            State::NotKnown,
            about,
            "which file system it is on cannot be told here",
            "",
        );
    };
    let kind = mount.kind;
    if MEMORY.contains(&kind) {
        return Finding::new(
            State::Look,
            about,
            format!("{kind} is in memory, and gone with the power"),
            "move the folder to a disk",
        );
    }
    if REMOTE.contains(&kind) {
        return Finding::new(
            State::Look,
            about,
            format!("{kind} is on another machine, and keeps what that machine keeps"),
            "have that machine write synchronously",
        );
    }
    let options = mount.options.split(',');
    if let Some(bad) = options.clone().find(|option| UNSAFE.contains(option)) {
        return Finding::new(
            State::Wrong,
            about,
            format!("{kind} is mounted with {bad}, and may lose what it synced"),
            format!("mount it without {bad}"),
        );
    }
    if options.clone().any(|option| option == "data=writeback") {
        return Finding::new(
            State::Look,
            about,
            format!(
                "{kind} is mounted with data=writeback: after a power cut files may hold old bytes"
            ),
            "mount it with data=ordered",
        );
    }
    match write_cache(device) {
        Some(cache) => Finding::ok("disk", of, format!("{kind} on a disk with {cache}")),
        None => Finding::new(
            State::NotKnown,
            about,
            format!("{kind}, and whether its disk has a write cache cannot be told here"),
            "",
        ),
    }
}

/// How much room there is beside what stays free.
fn room(of: &str, path: &Path, home: &Home) -> Finding {
    let about = ("room", of);
    let space = match Space::of(path, reserve(home)) {
        Ok(space) => space,
        Err(error) => return Finding::new(State::NotKnown, about, error.to_string(), ""),
    };
    let (free, stays) = (text::size(space.free), text::size(space.reserve));
    let remedy = "`lucid rm` what is not needed and `lucid gc`, or give the disk more room";
    match (space.above(0), space.above(space.reserve)) {
        (None, _) => {
            let found = format!("{free} are free, and {stays} stay free: nothing is taken in");
            Finding::new(State::Wrong, about, found, remedy)
        }
        (_, None) => {
            let found = format!("{free} are free, of which {stays} stay free");
            Finding::new(State::Look, about, found, remedy)
        }
        _ => Finding::ok("room", of, format!("{free} are free, of which {stays} stay free")),
    }
}

/// A line of the system's list of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    kind: &'a str,
    options: String,
}

/// The mount that a path is on: of those of its device, the one that is nearest above it.
fn mount_of<'a>(mounts: &'a str, path: &Path, device: (u32, u32)) -> Option<Mount<'a>> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let wanted = format!("{}:{}", device.0, device.1);
    let mut nearest: Option<(usize, Mount<'_>)> = None;
    for line in mounts.lines() {
        let (head, tail) = line.split_once(" - ")?;
        let head: Vec<&str> = head.split(' ').collect();
        let tail: Vec<&str> = tail.split(' ').collect();
        let ([_, _, id, _, at, options, ..], [kind, _, more, ..]) = (&head[..], &tail[..]) else {
            continue;
        };
        let at = PathBuf::from(at.replace("\\040", " "));
        let depth = at.components().count();
        let is_nearer = nearest.as_ref().is_none_or(|(known, _)| *known <= depth);
        if *id == wanted && path.starts_with(&at) && is_nearer {
            nearest = Some((depth, Mount { kind, options: format!("{options},{more}") }));
        }
    }
    nearest.map(|(_, mount)| mount)
}

/// What the system says of the write cache of a device, or of the disk that it is a part of.
fn write_cache((major, minor): (u32, u32)) -> Option<&'static str> {
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}")).canonicalize().ok()?;
    let told = [device.as_path(), device.parent()?]
        .into_iter()
        .find_map(|disk| std::fs::read_to_string(disk.join("queue/write_cache")).ok())?;
    match told.trim() {
        "write back" => Some("a write cache that is emptied when that is asked for"),
        "write through" => Some("no write cache"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw,noatime - ext4 /dev/sda2 rw,nobarrier
31 22 8:3 / /old rw - ext3 /dev/sda3 rw,data=writeback
32 22 0:40 / /far rw - nfs4 host:/far rw,sync
33 22 0:41 / /mem rw - tmpfs tmpfs rw,size=1k
34 22 8:1 /x /bound rw - ext4 /dev/sda1 rw
";

    #[test]
    fn what_is_known_to_break_the_promise_is_named() {
        let of = |path: &str, device| keeps("x", Path::new(path), device, MOUNTS);
        for (path, device, state, said) in [
            ("/srv/lucid", (8, 2), State::Wrong, "nobarrier"),
            ("/old/lucid", (8, 3), State::Look, "data=writeback"),
            ("/far/lucid", (0, 40), State::Look, "another machine"),
            ("/mem/lucid", (0, 41), State::Look, "in memory"),
            ("/nowhere", (9, 9), State::NotKnown, "cannot be told"),
        ] {
            let found = of(path, device);
            assert_eq!(found.state, state, "{path}: {found:?}");
            assert!(found.found.contains(said), "{path}: {found:?}");
        }
        // Nothing speaks against it, and no disk of that number is asked for its cache.
        let mount = mount_of(MOUNTS, Path::new("/var/lib"), (8, 1)).unwrap();
        assert_eq!((mount.kind, mount.options.as_str()), ("ext4", "rw,relatime,rw"));
    }
}
