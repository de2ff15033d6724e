//! The body of a long reply with content: how it ends is noted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use lucid_api::v1::audit::{AuditEnd, AuditEntry};
use lucid_store::clock::Clock;

use super::{ReadLog, UnderWay};

/// Replies of up to so many bytes end before long, unless they stall.
const SOON_BYTES: u64 = 16 << 20;

/// Such a body.
pub(super) struct RecordedBody {
    inner: Body,
    log: ReadLog,
    clock: Clock,
    /// What is noted when it ends.
    entry: Option<AuditEntry>,
    /// How many bytes there are, where that is known.
    length: Option<u64>,
    /// How many were given.
    given: u64,
    /// While it may end before long, and its caller ask for more.
    under_way: Option<UnderWay>,
}

impl RecordedBody {
    /// A body about which an entry says already that it has begun.
    pub(super) fn new(
        inner: Body,
        (log, clock): (ReadLog, Clock),
        entry: AuditEntry,
        length: Option<u64>,
    ) -> Self {
        let is_soon = length.is_some_and(|length| length <= SOON_BYTES);
        let under_way = is_soon.then(|| log.follow());
        Self { inner, log, clock, entry: Some(entry), length, given: 0, under_way }
    }

    fn end(&mut self, ended: AuditEnd) {
        self.under_way = None;
        if let Some(entry) = self.entry.take() {
            let (at, bytes) = (self.clock.now().to_string(), Some(self.given));
            self.log.note(AuditEntry { at, bytes, ended, ..entry });
        }
    }
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            None => self.end(AuditEnd::Whole),
            Some(Err(_)) => self.end(AuditEnd::Cut),
            Some(Ok(frame)) => {
                self.given += frame.data_ref().map_or(0, |data| data.len() as u64);
                // Nothing more is asked of a body that has given all it said.
                if self.length.is_some_and(|length| self.given >= length) {
                    self.end(AuditEnd::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        self.end(if self.inner.is_end_stream() { AuditEnd::Whole } else { AuditEnd::Cut });
    }
}
