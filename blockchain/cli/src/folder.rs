//! Folders of the user: read into entries, made again from entries, or written as a tar stream.
//!
//! The verbs that archive call [`walk`], those that restore call [`target`] or [`tarball`]. All
//! three speak in [`Entry`]: a name in raw bytes, what it is, and what was known about it.

mod attributes;
pub mod entry;
pub mod path;
pub mod tarball;
pub mod target;
pub mod walk;

pub use entry::{Entry, FileTime, Kind, Owner};
