//! What was found to be wrong with stored bytes: which file, where in it, and why.
//!
//! Damage is an answer, not a crash: reading goes on around it. [`Damage`] is what every reader,
//! recovery and the audit report.

use std::fmt;

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Damage {
    /// The file, relative to the data folder.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is wrong, as a sentence without a full stop.
    pub why: String,
}

impl Damage {
    /// Names a damaged place.
    pub fn new(file: impl Into<String>, offset: u64, why: impl fmt::Display) -> Self {
        Self { file: file.into(), offset, why: why.to_string() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.why)
    }
}
