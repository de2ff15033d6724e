//! Why an op did not do what it was asked. Each is one answer on the wire; `problems` has the table.

use lucid_core::digest::{ChunkId, SessionRoot};
use lucid_core::session::{RESERVED, SessionId};
use lucid_core::time::Timestamp;
use lucid_core::words::many_do;
use lucid_store::{CommitError, StoreError};

use crate::document::DocumentKind;
use crate::row::TombstoneRow;

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpError {
    /// There is no such session.
    #[error("there is no session {0}")]
    NoSession(SessionId),
    /// There is no such document.
    #[error("there is no document of the {} {id:?}", .kind.as_str())]
    NoDocument {
        /// What it would be about.
        kind: DocumentKind,
        /// The id, or index, that was asked for.
        id: String,
    },
    /// There was such a session.
    #[error("session {} was removed at {}{}", .0.id, .0.removed_at, because(&.0.reason))]
    Removed(Box<TombstoneRow>),
    /// A session is one of those that only the service itself begins, fills and removes.
    #[error(
        "session ids that begin with {RESERVED:?} are the service's own, and {0} is one: choose another"
    )]
    Reserved(SessionId),
    /// What a session of the read log holds is for those alone that may read that.
    #[error("{0} is of the read log: only the roles audit and admin, not narrowed, read that")]
    OfLog(SessionId),
    /// A session is held.
    #[error("session {session} is held{}: release it first", because(reason))]
    Held {
        /// The session.
        session: SessionId,
        /// Why it is held.
        reason: String,
    },
    /// A session is kept until a time, and that it has come is not known.
    #[error(
        "session {session} is kept until {until}, which has not come by the time of the chain: wait until then"
    )]
    Retained {
        /// The session.
        session: SessionId,
        /// Until when.
        until: Timestamp,
    },
    /// There is no such file in the session.
    #[error("session {session} has no file {path:?}")]
    NoFile {
        /// The session.
        session: SessionId,
        /// The path asked for, for people.
        path: String,
    },
    /// There are no such chunks.
    #[error("{} unknown, the first is {}", many_do(.0.len(), "chunk", "is", "are"), first(.0))]
    NoChunks(Vec<ChunkId>),
    /// There is no chunk of this name.
    #[error("there is no chunk {0}")]
    NoChunk(String),
    /// There are no chunks of these names.
    #[error(
        "{} unknown, the first is {}",
        many_do(.0.len(), "chunk", "is", "are"),
        .0.first().map_or("", String::as_str)
    )]
    UnknownChunks(Vec<String>),
    /// No tree with this root was built, or it was dropped for newer ones.
    #[error("there is no tree {0}; only the latest that were built are kept")]
    NoTree(SessionRoot),
    /// Chunks wait for those in front of them.
    #[error("session {session} lacks chunks {}: send them first", ranges(.gaps))]
    Gaps {
        /// The session.
        session: SessionId,
        /// Indexes that are missing, from the first to the last of each stretch.
        gaps: Vec<(u64, u64)>,
    },
    /// It is more than may be sent.
    #[error("{0}")]
    TooLarge(String),
    /// These chunks are not there, so nothing can refer to them.
    #[error(
        "{} missing, the first is {}: send what is missing, then the references again",
        many_do(.0.len(), "chunk", "is", "are"),
        first(.0)
    )]
    Missing(Vec<ChunkId>),
    /// What was sent makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there already, in one of a few ways that programs decide by.
    #[error("{1}")]
    Conflict(Clash, String),
    /// A live stream goes on elsewhere.
    #[error("the session is at byte {current}, not at byte {given}: go on from there")]
    Offset {
        /// Where the stream is.
        current: u64,
        /// Where the writer thought it was.
        given: u64,
    },
    /// The disk has no room.
    #[error("{0}")]
    Full(String),
    /// The store failed, or bytes are damaged.
    #[error(transparent)]
    Store(StoreError),
    /// What is stored contradicts itself, though no record of it is damaged.
    #[error("{0}")]
    Unsound(String),
    /// What it rests on has changed since it was looked at; ops look again.
    #[error("what it rests on has changed meanwhile; nothing was changed")]
    Overtaken,
    /// Writing failed. What was asked surely did not happen.
    #[error("{0}; nothing was changed")]
    Unwritten(String),
    /// Writing failed on the way: this step surely did not happen, and what was done before it stays done.
    #[error("{0}; what had been done until then stays so, and asking again goes on from there")]
    Unfinished(String),
    /// The caller that wanted the bytes is gone.
    #[error("nobody waits for the bytes any more")]
    Abandoned,
    /// What others ask for takes all the memory there is for it.
    #[error("{0}")]
    Busy(String),
    /// The engine that would know does not answer.
    #[error("{0}")]
    Away(String),
    /// Something happened that never may.
    #[error("a fault in the code: {0}")]
    Fault(String),
    /// The store stopped writing; what was asked may have happened.
    #[error("{0}")]
    Broken(String),
}

/// How a request contradicts what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// Something else has this id, index or name.
    Exists,
    /// It is sealed, or kept by a session.
    Sealed,
    /// It is not sealed yet.
    Unsealed,
    /// It is of another kind: a stream, a folder, one without times.
    WrongLayout,
    /// The session's next chunk has another index, this one.
    Next(u64),
    /// The same is being done already.
    Running,
    /// It could mean too much; the sentence says what to add.
    Unclear,
    /// What is needed for it was lost to damage.
    Lost,
}

impl OpError {
    /// Whether something may have been written in spite of the error.
    pub fn maybe_applied(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Unfinished(_) => true,
            Self::Store(error) => error.maybe_applied(),
            _ => false,
        }
    }

    /// Whether bytes are wrong or gone, so that others may still be sound. Everything else that keeps
    /// something from being read says nothing about it.
    pub fn is_damage(&self) -> bool {
        use StoreError::Damaged;
        matches!(self, Self::Store(Damaged(_)) | Self::Unsound(_) | Self::Missing(_))
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

fn ranges(gaps: &[(u64, u64)]) -> String {
    let range = |(from, to): &(u64, u64)| match from == to {
        true => from.to_string(),
        false => format!("{from} to {to}"),
    };
    let named: Vec<String> = gaps.iter().take(10).map(range).collect();
    let more = if gaps.len() > named.len() { ", ..." } else { "" };
    named.join(", ") + more
}

fn first(ids: &[ChunkId]) -> String {
    ids.first().map_or_else(String::new, ToString::to_string)
}

impl From<CommitError> for OpError {
    fn from(error: CommitError) -> Self {
        let text = error.to_string();
        uncommitted(&error, text)
    }
}

/// The error for a write that was not acknowledged, made by an op itself or as one step of many.
fn uncommitted(error: &CommitError, text: String) -> OpError {
    match error {
        CommitError::Full(_) => OpError::Full(text),
        CommitError::Broken(_) => OpError::Broken(text),
        CommitError::Maybe(_) | CommitError::Partly(_) => OpError::Unfinished(text),
        // Ops turn missing names into chunk ids, or look again where they have the bytes at hand.
        CommitError::Missing(_) | CommitError::InUse(_) => OpError::Unwritten(text),
        CommitError::Overtaken(_) => OpError::Overtaken,
        CommitError::Failed(_) => OpError::Unwritten(text),
    }
}

impl From<StoreError> for OpError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            // One step of many failed, and nobody knows here whether others had gone before it.
            StoreError::Commit { error, .. } => match uncommitted(&error, text) {
                OpError::Unwritten(text) => Self::Unfinished(text),
                OpError::Overtaken => Self::Unfinished(error.to_string()),
                other => other,
            },
            StoreError::TooLarge { .. } => Self::TooLarge(text),
            error => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_commit_says_of_having_happened_stays_said() {
        let broken = CommitError::Broken("the disk is gone".into());
        let failed = CommitError::Failed("the disk is gone".into());
        let step = StoreError::commit("collecting");
        for (error, maybe_applied) in [
            (OpError::from(broken.clone()), true),
            (OpError::from(failed.clone()), false),
            (OpError::from(step(broken)), true),
            (OpError::from(CommitError::Partly("a file stays".into())), true),
            (OpError::from(CommitError::Missing(vec![])), false),
        ] {
            assert_eq!(error.maybe_applied(), maybe_applied, "{error}");
            assert_eq!(error.to_string().ends_with("nothing was changed"), !maybe_applied);
        }
        // Of work of many commits the ones before have happened.
        let error = OpError::from(StoreError::commit("collecting")(failed));
        assert!(error.maybe_applied());
        let text = error.to_string();
        assert!(
            text.starts_with("collecting: writing failed: the disk is gone; what had"),
            "{text}"
        );
        assert!(!text.contains("nothing was changed"), "{text}");
    }
}
