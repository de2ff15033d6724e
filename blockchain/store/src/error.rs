//! Why the store could not do what was asked.
//!
//! A [`StoreError`] is about reading and opening; a [`CommitError`] is the answer to a write, and says
//! the one thing a writer must know: whether it may have happened.

use lucid_core::words::many_do;

use std::fmt::Display;
use std::io;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use crate::Damage;
use crate::files::disk;

/// A failure of the store. Absence is never one of these.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{context}: {reason}")]
    Io {
        /// What was being done.
        context: String,
        /// What the operating system said.
        reason: String,
        /// Its kind, so that a full disk can be told from a broken one.
        kind: io::ErrorKind,
    },
    /// Stored bytes are not what they were.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// The keys do not fit, are missing, or cannot be made.
    #[error("{0}")]
    Key(String),
    /// The data folder may be read, and not written to.
    #[error("{folder} cannot be written to ({why}): {remedy}, or name another folder with --data")]
    Unwritable {
        /// The folder.
        folder: String,
        /// What forbids it.
        why: &'static str,
        /// What would allow it.
        remedy: String,
    },
    /// Another process has the data folder.
    #[error("{folder} is in use by {by}: stop that first, then run the same again")]
    InUse {
        /// The folder.
        folder: String,
        /// Who has it, as it says itself.
        by: String,
    },
    /// The data folder, or the database, cannot be used as asked, and why.
    #[error("{0}")]
    Folder(String),
    /// It was asked to stop before it was done; what is stored is as sound as before.
    #[error("it was told to stop before it was done")]
    Stopped,
    /// The index failed.
    #[error("index: {0}")]
    Index(String),
    /// The index cannot go on from where it stands, and nothing is lost: thrown away, it is made anew by the next
    /// opening.
    #[error("{0}")]
    Anew(String),
    /// What was to be written is more than any reader takes. Nothing was written.
    #[error("{what} of {bytes} bytes is over the limit of {most}, and was not written")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        most: u64,
    },
    /// A commit on the way failed. What it says of having happened stays said.
    #[error("{what}: {error}")]
    Commit {
        /// What was being committed.
        what: &'static str,
        /// Why it was not acknowledged.
        error: CommitError,
    },
}

impl StoreError {
    /// Says of something stored that only a later version knows what it is. It is sound, so it is neither damage nor
    /// torn, and nothing is written behind it.
    pub fn newer(what: impl Display) -> Self {
        let why =
            "was written by a newer version of Lucid, and nothing is damaged: use that version";
        Self::Folder(format!("{what} {why}"))
    }

    /// Says what was being done when the operating system refused.
    pub fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |error| Self::Io { context, kind: error.kind(), reason: error.to_string() }
    }

    /// Whether the disk has no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { kind, .. } => {
                matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Commit { error, .. } => matches!(error, CommitError::Full(_)),
            _ => false,
        }
    }

    /// Whether a server did not answer: it may later, and nothing is wrong with what is stored.
    pub fn is_unanswered(&self) -> bool {
        use io::ErrorKind::{NotConnected, TimedOut};
        matches!(self, Self::Io { kind: NotConnected | TimedOut, .. })
    }

    /// Says what was being committed when a commit failed.
    pub fn commit(what: &'static str) -> impl FnOnce(CommitError) -> Self {
        move |error| Self::Commit { what, error }
    }

    /// Whether something may have been written in spite of the error.
    pub fn maybe_applied(&self) -> bool {
        matches!(self, Self::Commit { error, .. } if error.maybe_applied())
    }

    /// Says that a folder may not be written to, if that is what the operating system said.
    pub fn unwritable(folder: &Path, error: Self) -> Self {
        let Some(why) = error.forbids_writing() else { return error };
        let remedy = match why {
            READ_ONLY => "mount it for writing".to_owned(),
            _ => give_to_this_user(folder),
        };
        Self::Unwritable { folder: folder.display().to_string(), why, remedy }
    }

    /// What forbids to write, if that is all that stands in the way: the one place that decides when a
    /// folder is only read. A full disk or a lack of descriptors passes, so it does not count.
    pub fn forbids_writing(&self) -> Option<&'static str> {
        match self {
            Self::Unwritable { why, .. } => Some(why),
            Self::Io { kind: io::ErrorKind::ReadOnlyFilesystem, .. } => Some(READ_ONLY),
            Self::Io { kind: io::ErrorKind::PermissionDenied, .. } => Some(NO_PERMISSION),
            _ => None,
        }
    }

    /// Says at which place of a file reading failed: it is damaged if the medium did not give its bytes
    /// back, and otherwise nothing is known about it.
    pub fn reading(file: &str, offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            if disk::is_media_error(&error) {
                Self::Damaged(Damage::unreadable(file, offset, &error))
            } else {
                Self::io(format!("reading {file}"))(error)
            }
        }
    }
}

/// The command that lets this user write to a folder: where none is there, it is to be made first.
fn give_to_this_user(folder: &Path) -> String {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let command = match folder.exists() {
        true => format!("chown -R {user}:{group}"),
        false => format!("install -d -m 0700 -o {user} -g {group}"),
    };
    format!("run this as its owner, or give it to this user by `sudo {command} {}`", path.display())
}

pub(crate) const READ_ONLY: &str = "read-only file system";
pub(crate) const NO_PERMISSION: &str = "no permission";

/// Why a submission was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// It refers to chunks that are not there. It surely did not happen.
    #[error("{} missing", many_do(.0.len(), "referenced chunk", "is", "are"))]
    Missing(Vec<lucid_core::digest::ChunkName>),
    /// Rows that it rests on, of these keys, are not what they were when they were seen: the caller looks
    /// again. It surely did not happen.
    #[error("what it rests on has changed meanwhile")]
    Overtaken(Vec<Vec<u8>>),
    /// It drops chunks that another caller has asked for meanwhile. It surely did not happen.
    #[error("{} wanted again", many_do(.0.len(), "chunk", "is", "are"))]
    InUse(Vec<lucid_core::digest::ChunkName>),
    /// The disk has no room. It surely did not happen, and what was written of it was cut off again.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Writing failed; what was written of it was cut off again. It surely did not happen.
    #[error("writing failed: {0}")]
    Failed(String),
    /// It happened, and what follows from it failed on the way: asking again goes on from there.
    #[error("it was done in part: {0}")]
    Partly(String),
    /// No answer came, so it may have happened. The store writes on, and its log tells in the end.
    #[error("it is not known whether it happened: {0}")]
    Maybe(String),
    /// The store stopped writing after a failure that it could not undo: it may have happened.
    #[error("the store stopped writing: {0}; restart to recover what was acknowledged")]
    Broken(String),
}

impl CommitError {
    /// Whether the write may have happened in spite of the error.
    pub fn maybe_applied(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Maybe(_) | Self::Partly(_))
    }
}
