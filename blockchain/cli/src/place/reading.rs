//! Opening a folder to read from it: as its owner, or without writing where that cannot or must not be.
//!
//! `cmd` decides which verbs only read; every one of them opens its folders through [`open`], so that
//! there is one answer to when nothing is written.

use lucid_store::StoreError;
use lucid_store::files::folder::{OnlyRead, ToRead};
use lucid_store::files::index::temporary::{MEMORY_BYTES_MAX, Room};

use crate::interrupt;
use crate::output::Output;

/// Why nothing is written where the user says so.
pub const FORBIDDEN: &str = "--read-only forbids it";

/// When a verb that only reads opens a folder without writing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// If it cannot be written to.
    WhereUnwritable,
    /// In any case: it must not be touched.
    Always,
}

/// Opens a folder: as its owner with `own`, or without writing to it with `read`. `fault` finds the store's
/// error in the error of `own`.
pub fn open<T, E>(
    reading: Option<Reading>,
    own: impl FnOnce() -> Result<T, E>,
    read: impl FnOnce(&ToRead) -> Result<T, E>,
    fault: impl Fn(&E) -> Option<&StoreError>,
) -> Result<T, E> {
    let why = match reading {
        None => return own(),
        Some(Reading::Always) => FORBIDDEN,
        Some(Reading::WhereUnwritable) => {
            let opened = own();
            match opened.as_ref().err().and_then(&fault).and_then(StoreError::forbids_writing) {
                None => return opened,
                Some(why) => why,
            }
        }
    };
    interrupt::listen_once();
    let room = Room { scratch: std::env::temp_dir(), memory_bytes_max: MEMORY_BYTES_MAX };
    read(&ToRead { why: why.to_owned(), room })
}

/// Says that a folder is only read: once, and as a warning where another process may be writing to it.
pub fn say(output: &Output, only_read: Option<&OnlyRead>) {
    let Some(only_read) = only_read else { return };
    match only_read.doubt() {
        None => output.note(only_read.why()),
        Some(doubt) => output.warn(&format!("{}; {doubt}", only_read.why())),
    }
}
