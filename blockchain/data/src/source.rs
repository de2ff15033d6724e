//! Where a session can be read from: what reading needs is its shape, its references and checked chunks.
//!
//! A data folder is one source (`StoredSession` in `ops/sessions/read_session.rs`), a server behind HTTP
//! another (in the command line).

use std::borrow::Cow;
use std::ops::Range;

use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;

use crate::ops::OpError;
use crate::row::{Reference, SessionRow};

/// What a session looks like to a reader.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Its id.
    pub id: SessionId,
    /// What it consists of.
    pub layout: Layout,
    /// How many chunks it has, appendix included.
    pub chunk_count: u64,
    /// Bytes of its content.
    pub content_bytes: u64,
    /// Bytes of its chunks, appendix included.
    pub total_bytes: u64,
    /// When its last bytes came, as far as that is known.
    pub ended_at: Option<Timestamp>,
}

impl Shape {
    /// The shape of a session in a store.
    pub fn of(session: &SessionRow) -> Self {
        let content = session.sealed.as_ref().map_or(session.cut_bytes, |s| s.content_bytes);
        Self {
            id: session.id.clone(),
            layout: session.layout,
            chunk_count: session.chunk_count(),
            content_bytes: content,
            total_bytes: session.cut_bytes,
            ended_at: session.sealed.as_ref().map(|s| s.ended_at).or(session.appended_at),
        }
    }
}

/// Chunks of a session that come one after the other, each checked.
pub type ChunkRun<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, OpError>> + Send + 'a>;

/// Where a session can be read from.
pub trait SessionSource: Send + Sync {
    /// The session.
    fn shape(&self) -> &Shape;

    /// Up to `limit` references from `start` on.
    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError>;

    /// A chunk's bytes, checked against its id.
    fn chunk(&self, packer: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError>;

    /// Several chunks, each checked against its id, one in memory at a time: for a reader that wants them in this
    /// order, and may leave off at any of them. Nothing from a source that gives single ones as fast, or cannot give
    /// all of them: then each is asked for alone, which says what is wrong.
    fn chunks(&self, _wanted: &[Reference]) -> Option<ChunkRun<'_>> {
        None
    }

    /// How many bytes of content lie behind the last chunk that is told: what a live stream has not cut
    /// yet.
    fn tail_bytes(&self) -> u64 {
        0
    }

    /// Bytes of the tail, counted from its beginning; all of the range is in it.
    fn tail(&self, _range: Range<u64>) -> Result<Cow<'_, [u8]>, OpError> {
        Ok(Cow::Borrowed(&[]))
    }
}
