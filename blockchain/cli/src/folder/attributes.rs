//! Extended attributes: read with an entry, set again with it.
//!
//! Called by the walk and the target. Many file systems have none, and that is not an error; one
//! that is there and cannot be read is named.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
};

use rustix::{
    fs::{
        XattrFlags, fgetxattr, flistxattr, fsetxattr, ioctl_getflags, lgetxattr, llistxattr,
        lsetxattr,
    },
    io::{self, Errno},
};

use crate::text;

/// Where growing ends: Linux has 64 KiB for a list of names and for a value, others have more.
const LARGEST: usize = 16 << 20;

/// What a file has besides its bytes and its mode.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Names and values, names ascending.
    pub read: Vec<(Vec<u8>, Vec<u8>)>,
    /// Those of the flags that `chattr` sets; `None` where the file system has none.
    pub flags: Option<u32>,
    /// What could not be read, in sentences.
    pub lacking: Vec<String>,
}

/// What `chattr` sets: `sucSiadAmjtDTCxPF`. Other flags say how a file system keeps a file, not what
/// the user wants of it.
const FLAGS: u32 = 0x6283_c4ff;

/// Whose attributes are meant.
pub(super) enum AttributesOf<'a> {
    /// A file or folder that is open.
    Open(&'a File),
    /// A symbolic link: it cannot be opened, so it is reached by its folder and name.
    Link(Vec<u8>),
}

impl<'a> AttributesOf<'a> {
    /// Names a symbolic link in an open folder, however deep that folder is.
    pub(super) fn link(folder: &impl AsFd, name: &[u8]) -> AttributesOf<'a> {
        let folder = folder.as_fd().as_raw_fd();
        let mut path = format!("/proc/self/fd/{folder}/").into_bytes();
        path.extend_from_slice(name);
        AttributesOf::Link(path)
    }

    /// Reads all attributes, sorted by name, and says which of them it could not read.
    pub(super) fn read(&self) -> Attributes {
        let mut attributes = Attributes::default();
        match self.flags() {
            Ok(flags) => attributes.flags = flags,
            Err(errno) => {
                let why = std::io::Error::from(errno);
                attributes.lacking.push(format!("its flags cannot be read: {why}"));
            }
        }
        let names = match grown(|buffer| self.list(buffer)) {
            Ok(names) => names,
            Err(Errno::NOTSUP) => return attributes,
            Err(Errno::TOOBIG) => {
                let why = "the system does not tell that many names";
                attributes.lacking.push(format!("its extended attributes cannot be read: {why}"));
                return attributes;
            }
            Err(errno) => {
                let why = std::io::Error::from(errno);
                attributes.lacking.push(format!("its extended attributes cannot be read: {why}"));
                return attributes;
            }
        };
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match grown(|buffer| self.get(name, buffer)) {
                Ok(value) => attributes.read.push((name.to_vec(), value)),
                // It was taken away meanwhile.
                Err(Errno::NODATA) => {}
                Err(errno) => {
                    let (name, why) = (text::name(name), std::io::Error::from(errno));
                    attributes
                        .lacking
                        .push(format!("its extended attribute {name} cannot be read: {why}"));
                }
            }
        }
        attributes.read.sort();
        attributes
    }

    /// Sets one attribute.
    pub(super) fn set(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        match self {
            AttributesOf::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
            AttributesOf::Link(path) => {
                lsetxattr(path.as_slice(), name, value, XattrFlags::empty())
            }
        }
    }

    /// Flags, of which many file systems know nothing.
    fn flags(&self) -> io::Result<Option<u32>> {
        // A link cannot be opened, and has none.
        let AttributesOf::Open(file) = self else { return Ok(None) };
        match ioctl_getflags(file) {
            Ok(flags) => Ok(Some(flags.bits() & FLAGS)),
            Err(Errno::NOTTY | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn list(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            AttributesOf::Open(file) => flistxattr(file, buffer),
            AttributesOf::Link(path) => llistxattr(path.as_slice(), buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            AttributesOf::Open(file) => fgetxattr(file, name, buffer),
            AttributesOf::Link(path) => lgetxattr(path.as_slice(), name, buffer),
        }
    }
}

/// Reads into a small buffer, and into larger ones as long as they are too small.
fn grown(read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut size = 8 << 10;
    loop {
        let mut large = vec![0; size];
        match read(&mut large) {
            Ok(length) => {
                large.truncate(length);
                return Ok(large);
            }
            Err(Errno::RANGE) if size < LARGEST => size *= 2,
            Err(error) => return Err(error),
        }
    }
}
