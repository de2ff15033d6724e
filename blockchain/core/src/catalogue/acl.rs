//! POSIX access control lists, as entries of a catalogue have them, and as Linux keeps them in extended
//! attributes, which is how version 1 of the catalogue has them.

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

    /// Whether an entry of this kind names a user or a group.
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

/// What Linux's form begins with.
const VERSION: u32 = 2;
/// What Linux's form has where nobody is named.
const NOBODY: u32 = u32::MAX;
/// Kinds of entries, and their numbers in Linux's form.
const TAGS: [(AclTag, u16); 6] = [
    (AclTag::UserObj, 0x01),
    (AclTag::User, 0x02),
    (AclTag::GroupObj, 0x04),
    (AclTag::Group, 0x08),
    (AclTag::Mask, 0x10),
    (AclTag::Other, 0x20),
];

/// Reads the value of one of the [`super::ACL_ATTRIBUTES`]; `None` if it is no sound ACL. Names are left
/// empty.
pub fn acl_of_attribute(value: &[u8]) -> Option<Vec<AclEntry>> {
    let (version, entries) = value.split_first_chunk()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() || entries.is_empty() {
        return None;
    }
    let read = |&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; 8]| {
        let number = u16::from_le_bytes([t0, t1]);
        let tag = TAGS.into_iter().find(|(_, known)| *known == number)?.0;
        let permissions = u8::try_from(u16::from_le_bytes([p0, p1])).ok()?;
        let id = if tag.is_named() { u32::from_le_bytes([i0, i1, i2, i3]) } else { 0 };
        Some(AclEntry { tag, permissions, id, name: Vec::new() })
    };
    let mut acl = entries.iter().map(read).collect::<Option<Vec<_>>>()?;
    // Linux asks for no order among those that are named.
    acl.sort_by_key(|entry| (entry.tag, entry.id));
    fault(&acl).is_none().then_some(acl)
}

/// Writes an ACL as the value of one of the [`super::ACL_ATTRIBUTES`]. Names are not in it.
pub fn attribute_of_acl(acl: &[AclEntry]) -> Vec<u8> {
    let mut value = VERSION.to_le_bytes().to_vec();
    for entry in acl {
        let number = TAGS.into_iter().find(|(tag, _)| *tag == entry.tag).map_or(0, |(_, n)| n);
        value.extend_from_slice(&number.to_le_bytes());
        value.extend_from_slice(&u16::from(entry.permissions).to_le_bytes());
        let id = if entry.tag.is_named() { entry.id } else { NOBODY };
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// The rule that an ACL breaks, if it breaks one: POSIX.1e has one order of entries, one owner, one
/// owning group and one for everyone else, and a mask wherever a user or a group is named.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_read_from_its_attribute_and_written_as_it_was() {
        // `setfacl -m u:1000:r,g:100:rw,m::r f`, as Linux gives it.
        let value: Vec<u8> = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 232, 3, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[8, 0, 6, 0, 100, 0, 0, 0],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ]
        .concat();
        let acl = acl_of_attribute(&value).unwrap();
        let shown: Vec<_> = acl.iter().map(|e| (e.tag, e.permissions, e.id)).collect();
        let wanted = [
            (AclTag::UserObj, 6, 0),
            (AclTag::User, 4, 1000),
            (AclTag::GroupObj, 4, 0),
            (AclTag::Group, 6, 100),
            (AclTag::Mask, 4, 0),
            (AclTag::Other, 0, 0),
        ];
        assert_eq!(shown, wanted);
        assert_eq!(attribute_of_acl(&acl), value);
    }

    #[test]
    fn what_is_no_acl_is_not_read_as_one() {
        let sound = attribute_of_acl(&[
            AclEntry { tag: AclTag::UserObj, permissions: 6, id: 0, name: Vec::new() },
            AclEntry { tag: AclTag::GroupObj, permissions: 4, id: 0, name: Vec::new() },
            AclEntry { tag: AclTag::Other, permissions: 0, id: 0, name: Vec::new() },
        ]);
        assert!(acl_of_attribute(&sound).is_some());
        for length in 0..sound.len() {
            assert!(acl_of_attribute(&sound[..length]).is_none(), "{length} bytes");
        }
        for (at, byte) in [(0, 1), (4, 3), (6, 8), (12, 1)] {
            let mut wrong = sound.clone();
            wrong[at] = byte;
            assert!(acl_of_attribute(&wrong).is_none(), "byte {at}");
        }
    }
}
