//! Compression: chosen by the caller, recorded in each record, undone by what the record says.
//!
//! A [`Packer`] keeps the contexts of one worker thread; making one for each chunk would cost more
//! than compressing a small chunk does. A result that does not save three per cent is dropped and the
//! bytes are stored raw: reading them back then costs nothing.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::str::FromStr;

use crate::frame::CodecId;

/// How new records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard, as fast or as tight as keeps pace with the input: the caller that feeds the packer says
    /// which, with [`Compression::at`]. If it does not, it is level 3.
    #[default]
    Adaptive,
    /// Zstandard set up to be a quarter faster than level 3, for two and a half per cent more bytes.
    Fast,
    /// Zstandard at this level, 1 to 19.
    Zstd(i32),
    /// LZ4.
    Lz4,
    /// Gzip at its default level.
    Gzip,
}

/// How pressing the input is, for [`Compression::Adaptive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Input waits for packers.
    Pressed,
    /// Packers keep up with it. That they wait for it does not mean that a processor does, so there is
    /// no level beyond.
    Even,
}

impl Compression {
    /// What to do at this pace.
    pub fn at(self, pressure: Pressure) -> Self {
        match (self, pressure) {
            (Self::Adaptive, Pressure::Pressed) => Self::Fast,
            (Self::Adaptive, Pressure::Even) => Self::Zstd(3),
            _ => self,
        }
    }
}

/// A text that names no way to compress.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a compression: zstd, zstd:1 to zstd:19, lz4, gzip or none are")]
pub struct CompressionFault(String);

impl FromStr for Compression {
    type Err = CompressionFault;

    fn from_str(text: &str) -> Result<Self, CompressionFault> {
        let fault = || CompressionFault(text.to_owned());
        match text {
            "none" => Ok(Self::None),
            "zstd" => Ok(Self::Adaptive),
            "lz4" => Ok(Self::Lz4),
            "gzip" => Ok(Self::Gzip),
            _ => {
                let level = text.strip_prefix("zstd:").ok_or_else(fault)?;
                let level = level.parse().map_err(|_| fault())?;
                if (1..=19).contains(&level) { Ok(Self::Zstd(level)) } else { Err(fault()) }
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Adaptive | Self::Fast => f.write_str("zstd"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Lz4 => f.write_str("lz4"),
            Self::Gzip => f.write_str("gzip"),
        }
    }
}

/// Compresses chunks before they are written ([`Self::pack`]) and expands them when they are read
/// ([`Self::unpack`]), with the contexts that one thread keeps for both.
#[derive(Default)]
pub struct Packer {
    compressor: Option<(Compression, zstd::bulk::Compressor<'static>)>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// Contexts are made when they are first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses, or hands the bytes back raw when that gains nothing.
    pub fn pack(&mut self, how: Compression, plain: &[u8]) -> (CodecId, Vec<u8>) {
        let packed = match how {
            Compression::None => None,
            Compression::Adaptive => {
                self.zstd(Compression::Zstd(3), plain).map(|p| (CodecId::Zstd, p))
            }
            Compression::Fast | Compression::Zstd(_) => {
                self.zstd(how, plain).map(|p| (CodecId::Zstd, p))
            }
            Compression::Lz4 => Some((CodecId::Lz4, lz4_flex::block::compress(plain))),
            Compression::Gzip => gzip(plain).map(|p| (CodecId::Gzip, p)),
        };
        match packed {
            Some((codec, packed)) if packed.len() < plain.len() - plain.len() / 32 => {
                (codec, packed)
            }
            _ => (CodecId::Raw, plain.to_vec()),
        }
    }

    fn zstd(&mut self, how: Compression, plain: &[u8]) -> Option<Vec<u8>> {
        if self.compressor.as_ref().is_none_or(|(made_for, _)| *made_for != how) {
            self.compressor = Some((how, compressor(how)?));
        }
        let (_, compressor) = self.compressor.as_mut()?;
        // Room for the payload's tag, so that encryption in place does not move the bytes again.
        let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(plain.len()) + 16);
        compressor.compress_to_buffer(plain, &mut packed).ok()?;
        Some(packed)
    }

    /// Undoes [`Packer::pack`]. `plain_length` bounds what is produced, so a few hostile bytes cannot
    /// become gigabytes.
    pub fn unpack(
        &mut self,
        codec: CodecId,
        packed: Vec<u8>,
        plain_length: usize,
    ) -> Result<Vec<u8>, &'static str> {
        if codec == CodecId::Raw {
            return if packed.len() == plain_length { Ok(packed) } else { Err(OTHER_LENGTH) };
        }
        let mut room = Vec::new();
        self.unpack_to(codec, &packed, plain_length, &mut room)?;
        Ok(room)
    }

    /// [`Packer::unpack`] into a buffer that is used again; raw bytes are handed back where they are.
    pub fn unpack_to<'a>(
        &mut self,
        codec: CodecId,
        packed: &'a [u8],
        plain_length: usize,
        room: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], &'static str> {
        const FAULT: &str = "the payload does not decompress";
        room.clear();
        if plain_length > packed.len().saturating_mul(gain_most(codec)) {
            return Err(FAULT);
        }
        let plain = match codec {
            CodecId::Raw => packed,
            CodecId::Zstd => {
                if self.decompressor.is_none() {
                    self.decompressor = zstd::bulk::Decompressor::new().ok();
                }
                let decompressor = self.decompressor.as_mut().ok_or("zstd cannot be set up")?;
                room.reserve(plain_length);
                decompressor.decompress_to_buffer(packed, room).map_err(|_| FAULT)?;
                room.as_slice()
            }
            CodecId::Lz4 => {
                room.resize(plain_length, 0);
                let count = lz4_flex::block::decompress_into(packed, room).map_err(|_| FAULT)?;
                room.truncate(count);
                room.as_slice()
            }
            CodecId::Gzip => {
                flate2::read::GzDecoder::new(packed)
                    .take(plain_length as u64 + 1)
                    .read_to_end(room)
                    .map_err(|_| FAULT)?;
                room.as_slice()
            }
        };
        if plain.len() == plain_length { Ok(plain) } else { Err(OTHER_LENGTH) }
    }
}

/// A context. Figures for [`Compression::Fast`] are from binaries in pieces of 1 MiB.
fn compressor(how: Compression) -> Option<zstd::bulk::Compressor<'static>> {
    use zstd::zstd_safe::{CParameter, Strategy};
    let Compression::Fast = how else {
        let level = if let Compression::Zstd(level) = how { level } else { 3 };
        return zstd::bulk::Compressor::new(level).ok();
    };
    let mut compressor = zstd::bulk::Compressor::new(1).ok()?;
    for parameter in [
        CParameter::Strategy(Strategy::ZSTD_fast),
        CParameter::WindowLog(20),
        CParameter::HashLog(16),
        CParameter::MinMatch(5),
    ] {
        compressor.set_parameter(parameter).ok()?;
    }
    Some(compressor)
}

/// Bytes that one packed byte stands for at most. A zstd block has a header of three bytes and one more, and
/// makes 128 KiB (RFC 8878, 3.1.1.2); a byte of a length makes 255 in LZ4 and two bits make 258 in deflate.
/// So no room is made for what cannot be in so few bytes, regardless of what a header claims.
fn gain_most(codec: CodecId) -> usize {
    match codec {
        CodecId::Raw => usize::MAX,
        CodecId::Zstd => 1 << 15,
        CodecId::Lz4 => 255,
        CodecId::Gzip => 1_032,
    }
}

const OTHER_LENGTH: &str = "the payload has another length";

fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_reads_back_whatever_is_configured_later() {
        let text = b"the same words over and over, ".repeat(200);
        let noise: Vec<u8> = (0..4096u32)
            .flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..4].to_vec())
            .collect();
        for how in ["none", "zstd", "zstd:9", "lz4", "gzip"] {
            let how: Compression = how.parse().unwrap();
            let mut packer = Packer::new();
            for plain in [&text[..], &noise[..], b""] {
                let (codec, packed) = packer.pack(how, plain);
                assert!(packed.len() <= plain.len());
                let back = Packer::new().unpack(codec, packed, plain.len()).unwrap();
                assert_eq!(back, plain, "{how}");
            }
        }
        assert!("zstd:99".parse::<Compression>().is_err());
    }

    #[test]
    fn only_what_adapts_goes_with_the_pace() {
        let text: Vec<u8> = (0..40_000u32)
            .flat_map(|n| {
                format!("{} ", blake3::hash(&(n % 700).to_le_bytes()).to_hex()).into_bytes()
            })
            .collect();
        let size = |how: Compression| Packer::new().pack(how, &text).1.len();
        let pressed = Compression::default().at(Pressure::Pressed);
        assert_eq!(size(Compression::default().at(Pressure::Even)), size(Compression::Zstd(3)));
        assert_eq!(pressed, Compression::Fast);
        let (codec, packed) = Packer::new().pack(pressed, &text);
        assert_eq!(Packer::new().unpack(codec, packed, text.len()).unwrap(), text);
        for fixed in [Compression::Zstd(7), Compression::Lz4, Compression::None] {
            assert_eq!(fixed.at(Pressure::Pressed), fixed);
        }
    }

    #[test]
    fn no_room_is_made_for_what_cannot_be_in_so_few_bytes() {
        for (how, codec) in [
            (Compression::Zstd(19), CodecId::Zstd),
            (Compression::Lz4, CodecId::Lz4),
            (Compression::Gzip, CodecId::Gzip),
        ] {
            // The best that there is to be packed is below what is taken for possible.
            let zeros = vec![0; 32 << 20];
            let (packed_as, packed) = Packer::new().pack(how, &zeros);
            assert_eq!(packed_as, codec);
            assert_eq!(Packer::new().unpack(codec, packed.clone(), zeros.len()).unwrap(), zeros);
            let mut room = Vec::new();
            let beyond = packed.len() * gain_most(codec) + 1;
            let refused = Packer::new().unpack_to(codec, &packed, beyond, &mut room);
            assert!(refused.is_err());
            assert_eq!(room.capacity(), 0, "{how:?}");
        }
    }

    #[test]
    fn a_payload_that_grows_beyond_its_length_is_refused() {
        let (codec, packed) = Packer::new().pack(Compression::Gzip, &[0; 10_000]);
        assert!(Packer::new().unpack(codec, packed, 100).is_err());
    }
}
