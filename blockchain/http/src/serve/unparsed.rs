//! Requests that the parser refuses: their replies, which the library writes without a body, leave
//! as problem documents like every other.
//!
//! Invariant: only what the library writes of its own accord is changed. A request that reaches the
//! service marks the connection as busy before the first byte of its reply (`answering`); the
//! connection is idle again once everything of that reply has been handed over. What is written in
//! between passes untouched, regardless of what it looks like and how long it takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::StatusCode;
use lucid_api::{headers, problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answering::Answering;
use crate::Service;
use crate::layers::refused_document;

/// A connection on whose idle moments the library's own refusals get their document.
#[derive(Debug)]
pub(super) struct Worded<S> {
    inner: S,
    answering: Answering,
    service: &'static Service,
    /// What stands in the place of such a refusal, how much of it is written, and how long the
    /// refusal was.
    instead: Option<Instead>,
}

#[derive(Debug)]
struct Instead {
    text: Vec<u8>,
    written: usize,
    stands_for: usize,
}

impl<S> Worded<S> {
    pub(super) fn new(inner: S, service: &'static Service, answering: Answering) -> Self {
        Self { inner, answering, service, instead: None }
    }
}

/// The document for what the library would write; `None` when that is no refusal of its own.
fn worded(written: &[u8], service: &Service) -> Option<Vec<u8>> {
    let text = str::from_utf8(written).ok()?;
    let head = text.strip_suffix("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let status = StatusCode::from_bytes(code.as_bytes()).ok()?;
    if !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let (id, document) = refused_document(service, status);
    let length = document.len();
    let mut reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         {}: {id}\r\n\r\n",
        problem::CONTENT_TYPE,
        headers::REQUEST_ID,
    )
    .into_bytes();
    reply.extend_from_slice(&document);
    Some(reply)
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answering.in_time()?;
        let this = &mut *self;
        if this.instead.is_none() && this.answering.is_idle() {
            this.instead = worded(bytes, this.service).map(|text| Instead {
                text,
                written: 0,
                stands_for: bytes.len(),
            });
        }
        let Some(instead) = &mut this.instead else {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        };
        while let Some(rest) = instead.text.get(instead.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut this.inner).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => instead.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let whole = instead.stands_for;
        this.instead = None;
        Poll::Ready(Ok(whole))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.answering.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.answering.is_idle() {
            self.answering.in_time()?;
            return Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        }
        match parts.iter().find(|part| !part.is_empty()) {
            Some(part) => self.poll_write(cx, part),
            None => Poll::Ready(Ok(0)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
