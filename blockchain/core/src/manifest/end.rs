//! How a session ended, and what that says about whether more was to come.
//!
//! [`super::Manifest`] holds it, so it is part of what the anchor names and every proof shows.

use std::fmt;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Version 1 only: its recorder said that this was all. Nothing tells whether the writer of what
    /// was recorded had come to its own end.
    Complete,
    /// The recorder ran the program that was recorded, and saw it end like this.
    Exit(ExitStatus),
    /// The input ended: all of it is here, but nobody knows how its writer ended.
    Eof,
    /// It was sealed because nothing came any more.
    Unterminated,
}

impl End {
    /// The marker's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Exit(_) => "exit",
            Self::Eof => "eof",
            Self::Unterminated => "unterminated",
        }
    }

    /// How the recorded program ended, where the recorder saw it.
    pub const fn exit_status(self) -> Option<ExitStatus> {
        match self {
            Self::Exit(status) => Some(status),
            Self::Complete | Self::Eof | Self::Unterminated => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self.exit_status() {
            Some(status) => write!(f, " ({status})"),
            None => Ok(()),
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(u32),
    /// By a signal of this number, at least 1 and at most [`SIGNAL_MAX`].
    Signal(u32),
}

/// The highest number of a signal that a status may name.
pub const SIGNAL_MAX: u32 = 127;

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
