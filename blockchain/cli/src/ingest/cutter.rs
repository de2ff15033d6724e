//! Cuts one piece of a session's content into chunks.
//!
//! A piece is a large file, a run of small ones, or a whole stream: boundaries are found in it from
//! its start alone, so pieces can be cut side by side.

use lucid_core::cut::ChunkProfile;

use super::ledger::{Event, FileReading};
use super::queue::Queue;

/// A chunk that was cut.
pub(super) struct Cut {
    /// The piece it is from.
    pub piece: u64,
    /// Its number in that piece.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// Bytes of a piece as they come, and the queue that its chunks go to.
pub(super) struct Cutter<'a> {
    profile: ChunkProfile,
    piece: u64,
    out: &'a Queue<Cut>,
    window: Vec<u8>,
    /// Bytes of the window that were cut already.
    start: usize,
    /// Bytes of the window that were filled.
    end: usize,
    number: u64,
    length: u64,
    stopped: bool,
}

impl<'a> Cutter<'a> {
    pub fn new(profile: ChunkProfile, piece: u64, out: &'a Queue<Cut>) -> Self {
        Self {
            profile,
            piece,
            out,
            window: Vec::new(),
            start: 0,
            end: 0,
            number: 0,
            length: 0,
            stopped: false,
        }
    }

    /// The piece's number.
    pub fn piece(&self) -> u64 {
        self.piece
    }

    /// Bytes taken so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether nobody wants the chunks any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes bytes that were read already.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(READ_BYTES) {
            if let Some(space) = self.space().get_mut(..part.len()) {
                space.copy_from_slice(part);
            }
            self.filled(part.len());
        }
    }

    /// Lets `read` fill some space, and cuts what is there then.
    pub fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        let count = read(self.space())?;
        self.filled(count);
        Ok(count)
    }

    /// Room for [`READ_BYTES`] more. What was cut is moved out of the way only when the room has run
    /// out, so a byte is moved less than once.
    fn space(&mut self) -> &mut [u8] {
        if self.window.len() < self.end + READ_BYTES {
            self.window.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            // A short piece never pays for a long window.
            let wanted = self.end + READ_BYTES;
            let roomy = (4 * self.profile.max() + READ_BYTES).min(wanted.saturating_mul(2));
            self.window.resize(self.window.len().max(wanted).max(roomy), 0);
        }
        let end = self.end;
        self.window.get_mut(end..end + READ_BYTES).unwrap_or_default()
    }

    fn filled(&mut self, count: usize) {
        self.end += count;
        self.length += count as u64;
        self.cut(false);
    }

    fn cut(&mut self, at_end: bool) {
        while let Some(window) = self.window.get(self.start..self.end) {
            let Some(length) = self.profile.next_cut(window, at_end) else { return };
            let bytes = window.get(..length).unwrap_or_default().to_vec();
            self.start += length;
            let cut = Cut { piece: self.piece, number: self.number, bytes };
            self.number += 1;
            if self.stopped || !self.out.push(cut, length as u64) {
                self.stopped = true;
                return;
            }
        }
    }

    /// Cuts what is left, and says what became of the piece.
    pub fn finish(mut self, reading: FileReading) -> Event {
        self.cut(true);
        Event::PieceDone { piece: self.piece, chunks: self.number, length: self.length, reading }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_alike_however_its_bytes_arrive() {
        let profile = ChunkProfile::content_defined(64 << 10).unwrap();
        let mut bytes = vec![0; 3_000_000];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let cut_by = |step: usize| {
            let out = Queue::new(u64::MAX);
            let mut cutter = Cutter::new(profile, 0, &out);
            for part in bytes.chunks(step) {
                cutter.push(part);
            }
            cutter.finish(FileReading::default());
            out.close();
            let mut chunks = Vec::new();
            while let Some(cut) = out.pop() {
                chunks.push(cut.bytes);
            }
            chunks
        };
        let whole = cut_by(bytes.len());
        assert_eq!(whole.concat(), bytes);
        assert!(whole.len() > 20);
        for step in [1_000, 70_001, 1 << 20] {
            assert!(cut_by(step) == whole, "step {step}");
        }
    }
}
