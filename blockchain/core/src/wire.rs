//! How structures become bytes: fixed-width little-endian numbers and length-prefixed bytes.
//!
//! Every binary format of Lucid is written with [`Writer`] and read with [`Reader`]. A reader never
//! panics, never allocates more than its input holds, and [`Reader::finish`] refuses what is left
//! over, so one value has one encoding.

use crate::time::Timestamp;
use crate::words::many_do;

/// Why bytes are not what they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// The input ended inside a value.
    #[error("the input ends inside {what}")]
    Short {
        /// The value that was being read.
        what: &'static str,
    },
    /// The input goes on after the last value.
    #[error("{} the end", many_do(*count, "byte", "follows", "follow"))]
    Trailing {
        /// How many bytes are left over.
        count: usize,
    },
    /// A value is outside what the format allows.
    #[error("{what} is not valid")]
    Invalid {
        /// The value that was being read.
        what: &'static str,
    },
}

/// Appends values to a buffer.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for so many bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.push(value);
        self
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// How many values follow, in four bytes: the only place that writes such a number.
    ///
    /// A count that four bytes cannot say stands before values that take more than 4 GiB, so what is
    /// being written is longer than that. The code that keeps or sends it bounds it far below (a record
    /// 64 MiB, a fact 8 MiB, a proof 256 MiB) and refuses it whole: a wrong count is never read.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A `u32` length and that many bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    /// A text, as [`Writer::bytes`] of its UTF-8.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// `0`, or `1` and the value.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => {
                self.u8(0);
            }
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
        self
    }

    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

/// Takes values from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Exactly `count` bytes.
    pub fn raw(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireFault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireFault::Short { what })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireFault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireFault::Short { what })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireFault> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, WireFault> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireFault> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireFault> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Eight bytes, little-endian two's complement.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, WireFault> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// An instant, as its microseconds since 1970: refused outside the years that a [`Timestamp`] has,
    /// or two spellings would mean one.
    pub fn time(&mut self, what: &'static str) -> Result<Timestamp, WireFault> {
        Timestamp::from_micros_exactly(self.i64(what)?).ok_or(WireFault::Invalid { what })
    }

    /// A `u32` length and that many bytes.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireFault> {
        let length = self.u32(what)? as usize;
        self.raw(length, what)
    }

    /// A text: [`Reader::bytes`] that are UTF-8.
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, WireFault> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| WireFault::Invalid { what })
    }

    /// `0`, or `1` and the value.
    pub fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, WireFault>,
    ) -> Result<Option<T>, WireFault> {
        match self.u8(what)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(WireFault::Invalid { what }),
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading, and refuses anything left over.
    pub fn finish(self) -> Result<(), WireFault> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(WireFault::Trailing { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_its_years_is_refused_and_not_moved_to_their_edge() {
        let edges = [i64::MIN, i64::MAX].map(|micros| Timestamp::from_micros(micros).as_micros());
        for (edge, beyond) in edges.into_iter().zip([-1, 1]) {
            let read = |micros: i64| Reader::new(&micros.to_le_bytes()).time("a time");
            assert_eq!(read(edge).map(Timestamp::as_micros), Ok(edge));
            assert_eq!(read(edge + beyond), Err(WireFault::Invalid { what: "a time" }));
        }
    }

    #[test]
    fn every_value_reads_back_and_every_cut_is_short() {
        let mut w = Writer::new();
        w.u8(7).u16(8).u32(9).u64(10).i64(-11).bytes(b"abc").text("é").option(Some(3u8), |w, v| {
            w.u8(v);
        });
        let bytes = w.finish();
        let read = |bytes: &[u8]| -> Result<(), WireFault> {
            let mut r = Reader::new(bytes);
            assert_eq!(r.u8("a")?, 7);
            assert_eq!(r.u16("b")?, 8);
            assert_eq!(r.u32("c")?, 9);
            assert_eq!(r.u64("d")?, 10);
            assert_eq!(r.i64("e")?, -11);
            assert_eq!(r.bytes("f")?, b"abc");
            assert_eq!(r.text("g")?, "é");
            assert_eq!(r.option("h", |r| r.u8("h"))?, Some(3));
            r.finish()
        };
        assert_eq!(read(&bytes), Ok(()));
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut]), Err(WireFault::Short { .. })), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(read(&longer), Err(WireFault::Trailing { count: 1 }));
    }
}
