//! What was done with a store as a whole, and when it was done last: that every byte was verified, that another store
//! has the same.
//!
//! It is no fact of the log: nothing that is stored follows from it. A line in a file of `run/` survives whatever
//! becomes of the index, and can be read beside the process that has the folder.

use std::path::Path;

use lucid_core::time::Timestamp;

use super::{DataFolder, RUN};
use crate::StoreError;
use crate::files::disk;
use crate::files::disk::real::RealDisk;

/// Longer ones are none of ours.
const NOTE_BYTES_MAX: usize = 4_096;

/// What is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Every byte was verified.
    Verified,
    /// A second store was given what this one has.
    Mirrored,
}

impl Noted {
    const fn file(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Mirrored => "mirrored",
        }
    }
}

/// When something was done last, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Whether nothing was wrong.
    pub is_sound: bool,
    /// What else is to be known of it, in one line.
    pub about: String,
}

impl Note {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(3, ' ');
        let at = Timestamp::parse(words.next()?).ok()?;
        let is_sound = match words.next()? {
            "sound" => true,
            "wrong" => false,
            _ => return None,
        };
        Some(Self { at, is_sound, about: words.next().unwrap_or_default().to_owned() })
    }

    /// What a folder has noted last, whichever process has it open; `None` where nothing is, or cannot be read.
    pub fn read(root: &Path, what: Noted) -> Option<Self> {
        let path = disk::join(RUN, what.file());
        let bytes = disk::read_all(&RealDisk::for_reading(root), &path).ok()??;
        Self::parse(std::str::from_utf8(&bytes).ok()?)
    }
}

impl DataFolder {
    /// Notes that something was done. In a folder that is only read nothing is.
    pub fn note(&self, what: Noted, note: &Note) -> Result<(), StoreError> {
        if self.only_read.is_some() {
            return Ok(());
        }
        let how = if note.is_sound { "sound" } else { "wrong" };
        let about: String = note.about.chars().filter(|c| !c.is_control()).collect();
        let mut line = format!("{} {how} {about}", note.at);
        line.truncate(line.floor_char_boundary(NOTE_BYTES_MAX));
        line.push('\n');
        disk::replace(self.disk.as_ref(), RUN, what.file(), line.as_bytes())
            .map_err(StoreError::io(format!("writing {RUN}/{}", what.file())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_is_written_and_anything_else_is_none() {
        let line = "2026-11-30T10:00:00.000000Z wrong to /a folder\n";
        let note = Note::parse(line).unwrap();
        assert_eq!((note.is_sound, note.about.as_str()), (false, "to /a folder"));
        assert_eq!(note.at.to_string(), "2026-11-30T10:00:00.000000Z");
        let bare = Note::parse("2026-11-30T10:00:00Z sound \n").unwrap();
        assert_eq!((bare.is_sound, bare.about.as_str()), (true, ""));
        for wrong in
            ["", "sound", "2026-11-30T10:00:00Z", "2026-11-30T10:00:00Z fine x", "soon sound"]
        {
            assert_eq!(Note::parse(wrong), None, "{wrong}");
        }
    }
}
