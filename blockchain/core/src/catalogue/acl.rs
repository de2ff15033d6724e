//! POSIX access control lists, as entries of a catalogue have them.

/// Read, write and execute: the bits of an ACL entry's permissions.
pub const PERMISSIONS_MAX: u8 = 0o7;

/// Whom an ACL entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclTag {
    /// The file's owner.
    UserObj,
    /// A user by number and name.
    User,
    /// The file's group.
    GroupObj,
    /// A group by number and name.
    Group,
    /// The most that named users and all groups get.
    Mask,
    /// Everyone else.
    Other,
}

impl AclTag {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::UserObj => 1,
            Self::User => 2,
            Self::GroupObj => 3,
            Self::Group => 4,
            Self::Mask => 5,
            Self::Other => 6,
        }
    }

    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::UserObj),
            2 => Some(Self::User),
            3 => Some(Self::GroupObj),
            4 => Some(Self::Group),
            5 => Some(Self::Mask),
            6 => Some(Self::Other),
            _ => None,
        }
    }

    /// Whether an entry of this kind names somebody.
    pub const fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

/// What one user, one group or everyone else may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AclEntry {
    /// Whom it is about.
    pub tag: AclTag,
    /// 4 to read, 2 to write, 1 to execute; at most [`PERMISSIONS_MAX`].
    pub permissions: u8,
    /// The number of the user or group that is named; otherwise 0.
    pub id: u32,
    /// Its name, empty where the host had none for the number; otherwise empty.
    pub name: Vec<u8>,
}

/// The rule that an ACL breaks, if it breaks one: POSIX.1e has one order of entries, one owner, one
/// owning group and one for everyone else, and a mask wherever somebody is named.
pub(super) fn fault(acl: &[AclEntry]) -> Option<&'static str> {
    if acl.is_empty() {
        return None;
    }
    let order = |entry: &AclEntry| (entry.tag, entry.id);
    let once = |tag| acl.iter().filter(|entry| entry.tag == tag).count() == 1;
    let has = |wanted: fn(AclTag) -> bool| acl.iter().any(|entry| wanted(entry.tag));
    let plain = |entry: &AclEntry| entry.tag.is_named() || (entry.id == 0 && entry.name.is_empty());
    let named = |entry: &AclEntry| {
        entry.name.len() <= super::OWNER_NAME_BYTES_MAX && !entry.name.contains(&0)
    };
    let rules = [
        (acl.iter().all(|entry| entry.permissions <= PERMISSIONS_MAX), "an ACL's bits are not rwx"),
        (acl.is_sorted_by(|a, b| order(a) < order(b)), "an ACL's entries do not ascend"),
        (
            once(AclTag::UserObj) && once(AclTag::GroupObj) && once(AclTag::Other),
            "an ACL lacks its owner, its group or everyone else",
        ),
        (
            has(|tag| tag == AclTag::Mask) || !has(AclTag::is_named),
            "an ACL names somebody and has no mask",
        ),
        (acl.iter().all(plain), "an ACL's entry names somebody where nobody is named"),
        (acl.iter().all(named), "an ACL's name is none"),
    ];
    rules.into_iter().find(|(kept, _)| !kept).map(|(_, rule)| rule)
}
