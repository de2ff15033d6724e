//! A catalogue entry as the value of a page: version 2 as it is written, and both versions as they are
//! read.
//!
//! An entry of version 1 begins with its kind, which is at most 4; one of version 2 with [`VERSION_2`],
//! which is no kind.

use super::{
    ACL_ATTRIBUTES, AclEntry, AclTag, Entry, EntryFault, EntryKind, FileTime, Hole, Owner,
    path_of_key,
};
use crate::wire::{Reader, WireFault, Writer};

/// What the value of an entry of version 2 begins with.
const VERSION_2: u8 = 0x82;

impl Entry {
    /// The page value: everything but the path. Faults are those that [`Entry::decode`] would find.
    pub fn encode(&self) -> Result<Vec<u8>, EntryFault> {
        self.check()?;
        self.check_attributes_of_2()?;
        let mut w = Writer::new();
        w.u8(VERSION_2).u8(self.kind.code()).u32(self.mode);
        w.i64(self.modified.seconds).u32(self.modified.nanos);
        w.u32(self.owner.uid).u32(self.owner.gid);
        w.u8(u8::from(self.changed)).u64(self.offset).u64(self.length).bytes(&self.target);
        count(&mut w, self.attributes.len())?;
        for (name, value) in &self.attributes {
            w.bytes(name).bytes(value);
        }
        w.bytes(&self.owner_name).bytes(&self.group_name);
        w.option(self.flags, |w, flags| {
            w.u32(flags);
        });
        count(&mut w, self.holes.len())?;
        for hole in &self.holes {
            w.u64(hole.offset).u64(hole.length);
        }
        for acl in [&self.access_acl, &self.default_acl] {
            count(&mut w, acl.len())?;
            for entry in acl {
                w.u8(entry.tag.code()).u8(entry.permissions).u32(entry.id).bytes(&entry.name);
            }
        }
        Ok(w.finish())
    }

    /// Reads an entry of either version from its page key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, EntryFault> {
        let path = path_of_key(key)?;
        let mut r = Reader::new(value);
        let first = r.u8("an entry's kind")?;
        let is_2 = first == VERSION_2;
        let kind = if is_2 { r.u8("an entry's kind")? } else { first };
        let mut entry = Self {
            path,
            kind: EntryKind::from_code(kind)
                .ok_or(WireFault::Invalid { what: "an entry's kind" })?,
            mode: r.u32("an entry's mode")?,
            modified: FileTime {
                seconds: r.i64("an entry's time")?,
                nanos: r.u32("an entry's time")?,
            },
            owner: Owner { uid: r.u32("an entry's owner")?, gid: r.u32("an entry's group")? },
            changed: match r.u8("an entry's changed mark")? {
                0 => false,
                1 => true,
                _ => return Err(WireFault::Invalid { what: "an entry's changed mark" }.into()),
            },
            offset: r.u64("an entry's offset")?,
            length: r.u64("an entry's length")?,
            target: r.bytes("an entry's target")?.to_vec(),
            attributes: list(&mut r, "an entry's attributes", |r| {
                let name = r.bytes("an attribute's name")?.to_vec();
                Ok((name, r.bytes("an attribute's value")?.to_vec()))
            })?,
            ..Self::bare()
        };
        if is_2 {
            entry.owner_name = r.bytes("an owner's name")?.to_vec();
            entry.group_name = r.bytes("a group's name")?.to_vec();
            entry.flags = r.option("an entry's flags", |r| r.u32("an entry's flags"))?;
            entry.holes = list(&mut r, "an entry's holes", |r| {
                Ok(Hole { offset: r.u64("a hole")?, length: r.u64("a hole")? })
            })?;
            entry.access_acl = list(&mut r, "an entry's ACL", acl_entry)?;
            entry.default_acl = list(&mut r, "an entry's ACL", acl_entry)?;
            entry.check_attributes_of_2()?;
        }
        r.finish()?;
        entry.check()?;
        Ok(entry)
    }

    /// An ACL has one place in version 2, so that an entry has one encoding.
    fn check_attributes_of_2(&self) -> Result<(), EntryFault> {
        let acl = |name: &[u8]| ACL_ATTRIBUTES.contains(&name);
        if self.attributes.iter().any(|(name, _)| acl(name)) {
            return Err(EntryFault::Unsound {
                path: super::shown(&self.path),
                rule: "an ACL stands among its attributes",
            });
        }
        Ok(())
    }
}

fn count(w: &mut Writer, count: usize) -> Result<(), WireFault> {
    let fault = WireFault::Invalid { what: "the length of a list of an entry" };
    w.u32(u32::try_from(count).map_err(|_| fault)?);
    Ok(())
}

fn list<'a, T>(
    r: &mut Reader<'a>,
    what: &'static str,
    each: impl Fn(&mut Reader<'a>) -> Result<T, WireFault>,
) -> Result<Vec<T>, WireFault> {
    let count = r.u32(what)?;
    // Every item takes bytes, so the input bounds the list, regardless of what the count says.
    (0..count).map(|_| each(r)).collect()
}

fn acl_entry(r: &mut Reader<'_>) -> Result<AclEntry, WireFault> {
    let tag = AclTag::from_code(r.u8("an ACL's tag")?);
    Ok(AclEntry {
        tag: tag.ok_or(WireFault::Invalid { what: "an ACL's tag" })?,
        permissions: r.u8("an ACL's permissions")?,
        id: r.u32("an ACL's id")?,
        name: r.bytes("an ACL's name")?.to_vec(),
    })
}
