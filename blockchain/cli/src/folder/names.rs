//! The names that users and groups have on this host, by their numbers.
//!
//! Asked by the walk for every entry; every number is looked up once, because that may mean to ask
//! another machine.

use std::collections::HashMap;
use std::io;

use lucid_core::catalogue::{AclTag, OWNER_NAME_BYTES_MAX};
use lucid_store::files::descriptors::patiently;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use super::Entry;

/// Names that were looked up; empty for who has none.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Vec<u8>>,
    groups: HashMap<u32, Vec<u8>>,
}

/// Gives one entry the names of its owner, as far as they can be looked up.
pub(crate) fn name_owner(entry: &mut Entry) {
    Names::default().give(entry, &mut Vec::new());
}

impl Names {
    /// Gives an entry the names of its owner and of everybody in its ACLs. What cannot be looked up is
    /// said with the first entry that wants it.
    pub(super) fn give(&mut self, entry: &mut Entry, lacks: &mut Vec<String>) {
        entry.owner_name = self.user(entry.owner.uid, lacks);
        entry.group_name = self.group(entry.owner.gid, lacks);
        for named in entry.access_acl.iter_mut().chain(&mut entry.default_acl) {
            match named.tag {
                AclTag::User => named.name = self.user(named.id, lacks),
                AclTag::Group => named.name = self.group(named.id, lacks),
                AclTag::UserObj | AclTag::GroupObj | AclTag::Mask | AclTag::Other => {}
            }
        }
    }

    fn user(&mut self, uid: u32, lacks: &mut Vec<String>) -> Vec<u8> {
        let ask = || User::from_uid(Uid::from_raw(uid)).map(|user| user.map(|user| user.name));
        let found = self.users.entry(uid).or_insert_with(|| look_up("user", uid, ask, lacks));
        found.clone()
    }

    fn group(&mut self, gid: u32, lacks: &mut Vec<String>) -> Vec<u8> {
        let ask = || Group::from_gid(Gid::from_raw(gid)).map(|group| group.map(|group| group.name));
        let found = self.groups.entry(gid).or_insert_with(|| look_up("group", gid, ask, lacks));
        found.clone()
    }
}

fn look_up(
    what: &str,
    number: u32,
    ask: impl Fn() -> Result<Option<String>, Errno>,
    lacks: &mut Vec<String>,
) -> Vec<u8> {
    let name = match patiently(|| ask().map_err(io::Error::from)) {
        Ok(name) => name.unwrap_or_default().into_bytes(),
        Err(why) if is_absence(&why) => Vec::new(),
        Err(why) => {
            lacks.push(format!("the name of {what} {number} cannot be looked up: {why}"));
            Vec::new()
        }
    };
    // What no catalogue holds is no name.
    if name.len() > OWNER_NAME_BYTES_MAX || name.contains(&0) { Vec::new() } else { name }
}

/// The errors by which systems say that there is no such user; POSIX wants none, getpwuid(3) lists these.
fn is_absence(why: &io::Error) -> bool {
    let errno = why.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_number_that_has_a_name_here_gets_it_and_another_one_has_none() {
        let (mut names, mut lacks) = (Names::default(), Vec::new());
        for _ in 0..2 {
            assert_eq!(names.user(0, &mut lacks), b"root");
            assert_eq!(names.group(0, &mut lacks), b"root");
            assert_eq!(names.user(4_000_000_007, &mut lacks), b"");
        }
        assert_eq!(lacks, Vec::<String>::new());
    }

    #[test]
    fn a_name_that_cannot_be_looked_up_is_said_and_one_that_is_not_there_is_not() {
        let mut lacks = Vec::new();
        let failing = |errno| move || Err(errno);
        assert_eq!(look_up("user", 7, failing(Errno::ENOENT), &mut lacks), b"");
        assert_eq!(lacks, Vec::<String>::new());
        assert_eq!(look_up("user", 7, failing(Errno::EIO), &mut lacks), b"");
        assert_eq!(lacks.len(), 1);
        assert!(lacks[0].starts_with("the name of user 7 cannot be looked up: "), "{lacks:?}");
        let calls = Cell::new(0);
        let busy = || {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(Errno::EMFILE) } else { Ok(Some("ann".to_owned())) }
        };
        assert_eq!(look_up("user", 7, busy, &mut lacks), b"ann");
        let long = || Ok(Some("x".repeat(OWNER_NAME_BYTES_MAX + 1)));
        assert_eq!(look_up("user", 7, long, &mut lacks), b"");
    }
}
