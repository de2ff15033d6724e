//! Writes entries and their bytes as a tar stream in the PAX format.
//!
//! The service and the verbs of the command line hand archived folders to other programs with it.
//! What the old header cannot hold (long names, names that are not UTF-8, fractions of seconds, large
//! files, extended attributes, ACLs) goes into PAX records. Holes are written as the zeros that they are. Invariants:
//! names that could lead out of a folder are refused; every entry is followed by exactly the bytes it announced, or by
//! an error.

use std::io::{self, Write};

use lucid_core::catalogue::{AclEntry, AclTag, Entry, EntryKind, FileTime, PathFault, check_path};
use tar::{EntryType, Header};
use thiserror::Error;

/// Everything in a tar stream is padded to this.
const BLOCK: u64 = 512;
/// What twelve bytes of octal digits hold.
const LARGEST_NUMBER: u64 = 0o77_777_777_777;
/// What eight bytes of octal digits hold.
const LARGEST_OWNER: u32 = 0o7_777_777;

/// The longest name of a user or group in the old header.
const OWNER_ROOM: usize = 31;

/// Why a tar stream cannot go on.
#[derive(Debug, Error)]
pub enum TarError {
    /// The name could lead out of the folder it is unpacked in.
    #[error(transparent)]
    Unsafe(#[from] PathFault),
    /// More or fewer bytes came than the entry announced.
    #[error("a file got {} bytes than were announced", if *more { "more" } else { "fewer" })]
    Length {
        /// Whether there were more.
        more: bool,
    },
    /// The stream cannot be written.
    #[error("the tar stream cannot be written")]
    Io(#[from] io::Error),
}

/// A tar stream in the making.
pub struct Tarball<W: Write> {
    out: W,
    /// Bytes still to come for the current entry.
    left: u64,
    padding: usize,
}

impl<W: Write> Tarball<W> {
    /// Begins a stream.
    pub fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0 }
    }

    /// Begins an entry; a file's bytes follow by [`content`](Self::content).
    pub fn entry(&mut self, entry: &Entry) -> Result<(), TarError> {
        self.end_entry()?;
        check_path(&entry.path)?;
        let mut path = entry.path.clone();
        let (kind, target, length) = match entry.kind {
            EntryKind::Folder => (EntryType::Directory, &[][..], 0),
            EntryKind::File => (EntryType::Regular, &[][..], entry.length),
            EntryKind::Symlink => (EntryType::Symlink, entry.target.as_slice(), 0),
            EntryKind::HardLink => {
                check_path(&entry.target)?;
                (EntryType::Link, entry.target.as_slice(), 0)
            }
        };
        if entry.kind == EntryKind::Folder {
            if path.is_empty() {
                path.push(b'.');
            }
            path.push(b'/');
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        // A reader that knows ACLs sets the ACL after this mode.
        header.set_mode(entry.plain_mode() & 0o7777);
        let mut records = Records::default();
        records.name("path", &path, 100);
        records.name("linkpath", target, 100);
        records.time(entry.modified, &mut header);
        records.owners(entry, &mut header);
        if length > LARGEST_NUMBER {
            records.add(b"size", length.to_string().as_bytes());
        }
        header.set_size(if length > LARGEST_NUMBER { 0 } else { length });
        records.name("uname", &entry.owner_name, OWNER_ROOM);
        records.name("gname", &entry.group_name, OWNER_ROOM);
        if entry.kind != EntryKind::HardLink {
            records.acl(b"SCHILY.acl.access", &entry.access_acl);
            records.acl(b"SCHILY.acl.default", &entry.default_acl);
            for (name, value) in &entry.attributes {
                records.attribute(name, value);
            }
        }
        self.records(&records)?;
        if let Some(fields) = header.as_ustar_mut() {
            fill(&mut fields.uname, named(&entry.owner_name));
            fill(&mut fields.gname, named(&entry.group_name));
        }
        self.header(header, &path, target)?;
        self.left = length;
        self.padding = padding(length);
        Ok(())
    }

    /// Writes the next bytes of the current entry.
    pub fn content(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.left =
            self.left.checked_sub(bytes.len() as u64).ok_or(TarError::Length { more: true })?;
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Ends the stream and flushes it.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.end_entry()?;
        // Two empty blocks.
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_entry(&mut self) -> Result<(), TarError> {
        if self.left > 0 {
            return Err(TarError::Length { more: false });
        }
        let padding = std::mem::take(&mut self.padding);
        self.out.write_all([0; BLOCK as usize].get(..padding).unwrap_or_default())?;
        Ok(())
    }

    fn records(&mut self, records: &Records) -> Result<(), TarError> {
        if records.bytes.is_empty() {
            return Ok(());
        }
        let length = records.bytes.len() as u64;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(length);
        self.header(header, b"PaxHeaders/entry", b"")?;
        self.out.write_all(&records.bytes)?;
        self.padding = padding(length);
        self.end_entry()
    }

    fn header(&mut self, mut header: Header, path: &[u8], target: &[u8]) -> Result<(), TarError> {
        if let Some(fields) = header.as_ustar_mut() {
            // What does not fit is in the records.
            fill(&mut fields.name, path);
            fill(&mut fields.linkname, target);
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        Ok(())
    }
}

/// A name for the old header, if it has room for it.
fn named(name: &[u8]) -> &[u8] {
    if name.len() <= OWNER_ROOM && name.is_ascii() { name } else { &[] }
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    for (place, byte) in field.iter_mut().zip(bytes) {
        *place = *byte;
    }
}

fn padding(length: u64) -> usize {
    // Less than a block, so it fits.
    (length.next_multiple_of(BLOCK) - length) as usize
}

/// PAX records: `length key=value` and a line feed, the length counting itself.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    binary: bool,
}

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + digits(length) != length {
            length = rest + digits(length);
        }
        self.bytes.extend_from_slice(length.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    /// Adds a name, unless every reader understands it in the old header.
    fn name(&mut self, key: &str, name: &[u8], room: usize) {
        if name.len() <= room && name.is_ascii() {
            return;
        }
        if std::str::from_utf8(name).is_err() && !self.binary {
            // Records are in UTF-8 unless they say otherwise.
            self.binary = true;
            self.add(b"hdrcharset", b"BINARY");
        }
        self.add(key.as_bytes(), name);
    }

    fn time(&mut self, time: FileTime, header: &mut Header) {
        let fits = u64::try_from(time.seconds).ok();
        let fits = fits.filter(|seconds| *seconds <= LARGEST_NUMBER);
        header.set_mtime(fits.unwrap_or_default());
        if fits.is_none() || time.nanos > 0 {
            self.add(b"mtime", decimal(time).as_bytes());
        }
    }

    fn owners(&mut self, entry: &Entry, header: &mut Header) {
        let mut number = |key: &[u8], number: u32| {
            if number <= LARGEST_OWNER {
                return u64::from(number);
            }
            self.add(key, number.to_string().as_bytes());
            0
        };
        header.set_uid(number(b"uid", entry.owner.uid));
        header.set_gid(number(b"gid", entry.owner.gid));
    }

    /// Adds an ACL in the words of POSIX.1e, with the number of a named user or group behind, as `star` does.
    fn acl(&mut self, key: &[u8], acl: &[AclEntry]) {
        if acl.is_empty() {
            return;
        }
        let mut text = Vec::new();
        for entry in acl {
            if !text.is_empty() {
                text.push(b',');
            }
            let tag: &[u8] = match entry.tag {
                AclTag::UserObj | AclTag::User => b"user:",
                AclTag::GroupObj | AclTag::Group => b"group:",
                AclTag::Mask => b"mask:",
                AclTag::Other => b"other:",
            };
            text.extend_from_slice(tag);
            let is_name = is_plain_name(&entry.name);
            if entry.tag.is_named() {
                let number = entry.id.to_string();
                text.extend_from_slice(if is_name { &entry.name } else { number.as_bytes() });
            }
            text.push(b':');
            for (bit, letter) in [(4, b'r'), (2, b'w'), (1, b'x')] {
                text.push(if entry.permissions & bit == 0 { b'-' } else { letter });
            }
            if entry.tag.is_named() && is_name {
                text.push(b':');
                text.extend_from_slice(entry.id.to_string().as_bytes());
            }
        }
        self.add(key, &text);
    }

    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            match byte {
                // GNU tar's way to keep the sign that ends a key out of it.
                b'=' => key.extend_from_slice(b"%3D"),
                b'%' => key.extend_from_slice(b"%25"),
                byte => key.push(*byte),
            }
        }
        self.add(&key, value);
    }
}

/// Whether a name can stand in the text of an ACL, and is not taken for a number.
fn is_plain_name(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b":,#\\\"".contains(byte);
    name.iter().all(is_plain) && name.iter().any(|byte| !byte.is_ascii_digit())
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Writes a time as a decimal number of seconds.
fn decimal(time: FileTime) -> String {
    let nanos = time.nanos.min(999_999_999);
    if time.seconds < 0 && nanos > 0 {
        // Half a second before 1970 is second -1 and 500,000,000 ns, but the number -0.5.
        let whole = (time.seconds + 1).unsigned_abs();
        return format!("-{whole}.{:09}", 1_000_000_000 - nanos);
    }
    format!("{}.{nanos:09}", time.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value in ["", "1", &"x".repeat(90), &"x".repeat(91), &"x".repeat(986)] {
            let mut records = Records::default();
            records.add(b"path", value.as_bytes());
            let text = String::from_utf8(records.bytes).unwrap();
            let length: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, text.len());
        }
    }

    #[test]
    fn times_before_1970_are_negative_numbers() {
        let shown = |seconds, nanos| decimal(FileTime { seconds, nanos });
        assert_eq!(shown(-1, 500_000_000), "-0.500000000");
        assert_eq!(shown(-2, 250_000_000), "-1.750000000");
        assert_eq!(shown(-2, 0), "-2.000000000");
        assert_eq!(shown(7, 1), "7.000000001");
        assert_eq!(shown(i64::MIN, 1), "-9223372036854775807.999999999");
    }
}
