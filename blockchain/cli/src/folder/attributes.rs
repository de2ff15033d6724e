//! Extended attributes: read with an entry, set again with it.
//!
//! Called by the walk and the target. Many file systems have none, and that is not an error.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd},
};

use rustix::{
    fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr},
    io::{self, Errno},
};

/// The kernel's own limit for a list of names and for a value.
const LARGEST: usize = 64 << 10;

/// Whose attributes are meant.
pub(super) enum Place<'a> {
    /// A file or folder that is open.
    Open(&'a File),
    /// A symbolic link: it cannot be opened, so it is reached by its folder and name.
    Link(Vec<u8>),
}

impl<'a> Place<'a> {
    /// Names a symbolic link in an open folder, however deep that folder is.
    pub(super) fn link(folder: &impl AsFd, name: &[u8]) -> Place<'a> {
        let folder = folder.as_fd().as_raw_fd();
        let mut path = format!("/proc/self/fd/{folder}/").into_bytes();
        path.extend_from_slice(name);
        Place::Link(path)
    }

    /// Reads all attributes that may be read, sorted by name.
    pub(super) fn read(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Ok(names) = grown(|buffer| self.list(buffer)) else {
            return Vec::new();
        };
        let mut attributes: Vec<_> = names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .filter_map(|name| {
                // One that vanished meanwhile or is kept from us cannot be archived.
                let value = grown(|buffer| self.get(name, buffer)).ok()?;
                Some((name.to_vec(), value))
            })
            .collect();
        attributes.sort();
        attributes
    }

    /// Sets one attribute.
    pub(super) fn set(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        match self {
            Place::Open(file) => fsetxattr(file, name, value, XattrFlags::empty()),
            Place::Link(path) => lsetxattr(path.as_slice(), name, value, XattrFlags::empty()),
        }
    }

    fn list(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Place::Open(file) => flistxattr(file, buffer),
            Place::Link(path) => llistxattr(path.as_slice(), buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Place::Open(file) => fgetxattr(file, name, buffer),
            Place::Link(path) => lgetxattr(path.as_slice(), name, buffer),
        }
    }
}

/// Reads into a small buffer, and into the largest one when that was too small.
fn grown(read: impl Fn(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
