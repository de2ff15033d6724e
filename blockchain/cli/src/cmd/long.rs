//! What a file looks like in a long listing, as `ls -l` has it.

use lucid_core::catalogue::{Entry, EntryKind};

use crate::text;

/// Kind and permissions, as in `drwxr-xr-x`; `+` behind them says that an ACL decides, too.
pub fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        EntryKind::Folder => 'd',
        EntryKind::File | EntryKind::HardLink => '-',
        EntryKind::Symlink => 'l',
    };
    let mut shown = String::from(kind);
    // Of each three: may be executed, and the bit that means more, with the letters for both and for it alone.
    let threes = [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')];
    for (shift, special, both, alone) in threes {
        let bits = entry.mode >> shift;
        shown.push(if bits & 4 != 0 { 'r' } else { '-' });
        shown.push(if bits & 2 != 0 { 'w' } else { '-' });
        shown.push(match (bits & 1 != 0, entry.mode & special != 0) {
            (true, true) => both,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    if !entry.access_acl.is_empty() || !entry.default_acl.is_empty() {
        shown.push('+');
    }
    shown
}

/// Whom it belongs to, by name where the host had one: user and group.
pub fn owners(entry: &Entry) -> [String; 2] {
    let called = |name: &[u8], number: u32| match name {
        [] => number.to_string(),
        name => text::name(name),
    };
    [called(&entry.owner_name, entry.owner.uid), called(&entry.group_name, entry.owner.gid)]
}

/// A size in bytes, or in three digits.
pub fn size(bytes: u64, human: bool) -> String {
    if human { text::size(bytes) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use lucid_core::catalogue::{AclEntry, AclTag, Owner};

    use super::*;

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        for (kind, bits, wanted) in [
            (EntryKind::Folder, 0o755, "drwxr-xr-x"),
            (EntryKind::File, 0o640, "-rw-r-----"),
            (EntryKind::Symlink, 0o777, "lrwxrwxrwx"),
            (EntryKind::HardLink, 0o000, "----------"),
            (EntryKind::File, 0o6755, "-rwsr-sr-x"),
            (EntryKind::File, 0o6644, "-rwSr-Sr--"),
            (EntryKind::Folder, 0o1777, "drwxrwxrwt"),
            (EntryKind::Folder, 0o1776, "drwxrwxrwT"),
        ] {
            assert_eq!(mode(&Entry { kind, mode: bits, ..Entry::bare() }), wanted);
        }
        let entry = AclEntry { tag: AclTag::UserObj, permissions: 7, id: 0, name: Vec::new() };
        let with_acl = Entry { mode: 0o700, access_acl: vec![entry], ..Entry::bare() };
        assert_eq!(mode(&with_acl), "drwx------+");
    }

    #[test]
    fn an_owner_without_a_name_is_a_number() {
        let entry = Entry {
            owner: Owner { uid: 1000, gid: 7 },
            owner_name: b"ann".to_vec(),
            ..Entry::bare()
        };
        assert_eq!(owners(&entry), ["ann".to_owned(), "7".to_owned()]);
    }
}
