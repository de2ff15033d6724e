//! `application/x-lucid-chunks`: many chunks in one body, each as its length (four bytes,
//! little-endian) and its bytes, until the body ends.
//!
//! Clients and routes both speak it. Invariant: no length is believed before it is compared with
//! the limit and with what is there, so hostile input costs an error and never memory.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

/// The media type.
pub const CONTENT_TYPE: &str = "application/x-lucid-chunks";
/// Bytes before each chunk.
pub const HEADER_BYTES: usize = 4;

/// Why a body is not a row of framed chunks. Positions count chunks from zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// The body ends inside a header or a chunk.
    #[error("the body ends inside chunk {position}")]
    Truncated {
        /// Which chunk.
        position: usize,
    },
    /// A chunk is larger than a chunk may be.
    #[error("chunk {position} has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Which chunk.
        position: usize,
        /// What its header says.
        length: u64,
        /// What is allowed.
        limit: usize,
    },
}

impl FramingFault {
    /// Which chunk is at fault.
    pub fn position(&self) -> usize {
        match self {
            Self::Truncated { position } | Self::TooLong { position, .. } => *position,
        }
    }
}

/// The header of a chunk of `length` bytes; `None` when four bytes cannot say it.
pub fn header(length: usize) -> Option<[u8; HEADER_BYTES]> {
    u32::try_from(length).ok().map(u32::to_le_bytes)
}

/// Frames chunks into one body; `None` when one of them is too long for its header.
pub fn encode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(&header(chunk.len())?);
        body.extend_from_slice(chunk);
    }
    Some(body)
}

/// Iterates over the chunks of a whole body, without copying them. Ends after the first fault.
#[derive(Debug, Clone)]
pub struct Frames {
    body: Bytes,
    limit: usize,
    position: usize,
}

impl Frames {
    /// Reads `body`, whose chunks may have up to `limit` bytes.
    pub fn new(body: Bytes, limit: usize) -> Self {
        Self { body, limit, position: 0 }
    }

    fn step(&mut self) -> Result<Bytes, FramingFault> {
        let position = self.position;
        let truncated = FramingFault::Truncated { position };
        let length = self.body.try_get_u32_le().map_err(|_| truncated.clone())?;
        let length = within(length, self.limit, position)?;
        if length > self.body.len() {
            return Err(truncated);
        }
        self.position += 1;
        Ok(self.body.split_to(length))
    }
}

fn within(length: u32, limit: usize, position: usize) -> Result<usize, FramingFault> {
    usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(FramingFault::TooLong {
        position,
        length: length.into(),
        limit,
    })
}

impl Iterator for Frames {
    type Item = Result<Bytes, FramingFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let chunk = self.step();
        if chunk.is_err() {
            self.body.clear();
        }
        Some(chunk)
    }
}

/// Iterates over the chunks of a stream, one in memory at a time. Ends after the first error;
/// a fault of the framing is `InvalidData` and carries its [`FramingFault`].
#[derive(Debug)]
pub struct ReadFrames<R> {
    stream: R,
    limit: usize,
    position: usize,
    ended: bool,
}

impl<R: Read> ReadFrames<R> {
    /// Reads `stream`, whose chunks may have up to `limit` bytes.
    pub fn new(stream: R, limit: usize) -> Self {
        Self { stream, limit, position: 0, ended: false }
    }

    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        let fault = |fault: FramingFault| io::Error::new(io::ErrorKind::InvalidData, fault);
        let position = self.position;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        (&mut self.stream).take(HEADER_BYTES as u64).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let header = <[u8; HEADER_BYTES]>::try_from(header.as_slice())
            .map_err(|_| fault(FramingFault::Truncated { position }))?;
        let length = within(u32::from_le_bytes(header), self.limit, position).map_err(fault)?;
        let mut chunk = Vec::with_capacity(length.min(1 << 20));
        (&mut self.stream).take(length as u64).read_to_end(&mut chunk)?;
        if chunk.len() != length {
            return Err(fault(FramingFault::Truncated { position }));
        }
        self.position += 1;
        Ok(Some(chunk))
    }
}

impl<R: Read> Iterator for ReadFrames<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.step().transpose();
        self.ended = !matches!(chunk, Some(Ok(_)));
        chunk
    }
}
