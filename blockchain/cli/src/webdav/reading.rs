//! A file that is read, from its first byte that is asked for on.
//!
//! A thread of its own reads the session chunk by chunk and is a little ahead of the caller; where that goes away, it
//! ends. Invariant: a file never ends before its length: bytes that cannot be read are an error, which breaks the
//! reply off.

use std::io::SeekFrom;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use dav_server::fs::{DavFile, DavMetaData, FsError, FsFuture};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;

use super::files::{Asked, Metadata, fs_error};
use super::sessions::{Fault, Node, Sessions};

/// Bytes that are handed over at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait for the caller.
const AHEAD: usize = 2;

type Piece = Result<Bytes, Fault>;

/// An open file.
pub(super) struct Reading {
    sessions: Arc<Sessions>,
    node: Node,
    asked: Asked,
    /// The next byte of the file.
    at: u64,
    /// What was read and not taken.
    piece: Bytes,
    coming: Option<Receiver<Piece>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("node", &self.node).field("at", &self.at).finish()
    }
}

impl Reading {
    pub(super) fn new(sessions: Arc<Sessions>, node: Node, asked: Asked) -> Self {
        Self { sessions, node, asked, at: 0, piece: Bytes::new(), coming: None }
    }

    fn length(&self) -> u64 {
        self.node.bytes.end - self.node.bytes.start
    }

    /// Begins to read where the file is at.
    fn begin(&self) -> Receiver<Piece> {
        let (hand, coming) = channel(AHEAD);
        let end = self.asked.last.map_or(u64::MAX, |last| last.saturating_add(1));
        let end = end.min(self.length());
        let start = self.node.bytes.start;
        let bytes = start + self.at.min(end)..start + end;
        let (sessions, session) = (self.sessions.clone(), self.node.session.clone());
        // The place that the request has lasts until the last byte is read.
        let place = self.asked.place.clone();
        spawn_blocking(move || {
            let _place = place;
            let Some(id) = session else { return };
            let read = sessions.read(&id, bytes, |bytes| {
                let mut pieces = bytes.chunks(PIECE_BYTES).map(Bytes::copy_from_slice);
                match pieces.all(|piece| hand.blocking_send(Ok(piece)).is_ok()) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            if let Err(fault) = read {
                // Where nobody waits, nobody is told.
                let _unheard = hand.blocking_send(Err(fault));
            }
        });
        coming
    }

    async fn next(&mut self, count: usize) -> Result<Bytes, FsError> {
        if self.piece.is_empty() {
            let mut coming = self.coming.take().unwrap_or_else(|| self.begin());
            self.piece = match coming.recv().await {
                Some(piece) => piece.map_err(fs_error)?,
                // An empty piece would be filled up with zeros.
                None => return Err(FsError::GeneralFailure),
            };
            self.coming = Some(coming);
        }
        let taken = self.piece.copy_to_bytes(count.min(self.piece.len()));
        self.at += taken.len() as u64;
        Ok(taken)
    }
}

impl DavFile for Reading {
    fn metadata(&mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let metadata: Box<dyn DavMetaData> = Box::new(Metadata(self.node.clone()));
        Box::pin(std::future::ready(Ok(metadata)))
    }

    fn write_buf(&mut self, _: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Err(FsError::Forbidden)))
    }

    fn write_bytes(&mut self, _: Bytes) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Err(FsError::Forbidden)))
    }

    fn read_bytes(&mut self, count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(self.next(count))
    }

    fn seek(&mut self, to: SeekFrom) -> FsFuture<'_, u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length().checked_add_signed(by),
        };
        if let Some(at) = at {
            (self.at, self.coming, self.piece) = (at, None, Bytes::new());
        }
        Box::pin(std::future::ready(at.ok_or(FsError::GeneralFailure)))
    }

    fn flush(&mut self) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
