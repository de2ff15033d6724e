//! Folders of the user: read into entries, and made again from entries.
//!
//! The verbs that archive call [`walk`], those that restore call [`target`]. Both speak in the catalogue's
//! [`Entry`]: a name in raw bytes, what it is, and what was known about it.

mod attributes;
pub(crate) mod draft;
mod names;
pub(crate) mod numbers;
mod path;
pub mod target;
pub mod walk;

pub use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
