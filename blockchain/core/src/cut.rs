//! Where a stream of bytes is cut into chunks.
//!
//! Ingest keeps a window of bytes that are not cut yet and asks [`ChunkProfile::next_cut`] for the
//! next chunk's length. The profile's text is stored in the session's manifest.
//!
//! The same bytes under the same profile are cut at the same places, however they arrive: that is
//! what lets content that is already known be found again. No proof depends on it: any boundary is
//! legal, and a leaf states the one that was taken.

use std::fmt;
use std::str::FromStr;

use fastcdc::v2020::{FastCDC, Normalization};

use crate::limits::CHUNK_BYTES_MAX;

/// The smallest average: below it, naming the chunks costs more than sharing them saves.
pub const AVERAGE_BYTES_MIN: u32 = 64 << 10;
/// The largest average: its largest chunk is just a legal chunk.
pub const AVERAGE_BYTES_MAX: u32 = 4 << 20;
/// The smallest fixed size.
pub const FIXED_BYTES_MIN: u32 = 1 << 10;
/// The largest fixed size: a legal chunk.
pub const FIXED_BYTES_MAX: u32 = CHUNK_BYTES_MAX as u32;

const FASTCDC: &str = "fastcdc-v2020/5.0/";
const LEVEL: &str = "/nc1";
const FIXED: &str = "fixed/";

/// Sizes or a text that make no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileFault {
    /// An average that FastCDC is not run with.
    #[error(
        "{given} bytes is no average chunk size: a power of two from 65536 to 4194304 is wanted"
    )]
    Average {
        /// The average asked for.
        given: u32,
    },
    /// A fixed size that is too small or too large.
    #[error("{given} bytes is no fixed chunk size: 1024 to 16777216 is wanted")]
    Fixed {
        /// The size asked for.
        given: u32,
    },
    /// A text that no profile has.
    #[error("{given:?} is not a chunk profile")]
    Unknown {
        /// The beginning of the text.
        given: String,
    },
}

/// A way of cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkProfile(CutRule);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum CutRule {
    ContentDefined { average: u32 },
    Fixed { size: u32 },
}

impl Default for ChunkProfile {
    fn default() -> Self {
        Self(CutRule::ContentDefined { average: 1 << 20 })
    }
}

impl ChunkProfile {
    /// Cuts where the content says so: chunks of a quarter of the average to four times of it.
    pub fn content_defined(average: u32) -> Result<Self, ProfileFault> {
        let range = AVERAGE_BYTES_MIN..=AVERAGE_BYTES_MAX;
        if !average.is_power_of_two() || !range.contains(&average) {
            return Err(ProfileFault::Average { given: average });
        }
        Ok(Self(CutRule::ContentDefined { average }))
    }

    /// Cuts after every `size` bytes.
    pub fn fixed(size: u32) -> Result<Self, ProfileFault> {
        if !(FIXED_BYTES_MIN..=FIXED_BYTES_MAX).contains(&size) {
            return Err(ProfileFault::Fixed { given: size });
        }
        Ok(Self(CutRule::Fixed { size }))
    }

    /// The longest chunk: a window of this many bytes always yields a cut.
    pub const fn max(&self) -> usize {
        match self.0 {
            CutRule::ContentDefined { average } => average as usize * 4,
            CutRule::Fixed { size } => size as usize,
        }
    }

    /// The length that chunks have on average.
    pub const fn average(&self) -> usize {
        match self.0 {
            CutRule::ContentDefined { average } => average as usize,
            CutRule::Fixed { size } => size as usize,
        }
    }

    /// The shortest chunk, but for the last one.
    pub const fn min(&self) -> usize {
        match self.0 {
            CutRule::ContentDefined { average } => average as usize / 4,
            CutRule::Fixed { size } => size as usize,
        }
    }

    /// The length of the chunk at the front of `window`; `None` if more bytes are needed to tell,
    /// or, at the end, if none are left.
    ///
    /// A window that is not the end needs [`ChunkProfile::max`] bytes: scanning a shorter one could
    /// find a cut too, but not finding one would have to be repeated with every byte that arrives.
    pub fn next_cut(&self, window: &[u8], at_end: bool) -> Option<usize> {
        let most = self.max();
        if window.is_empty() || (window.len() < most && !at_end) {
            return None;
        }
        let window = window.get(..most).unwrap_or(window);
        Some(match self.0 {
            CutRule::Fixed { .. } => window.len(),
            CutRule::ContentDefined { .. } => {
                // Level 1 keeps the spread wide, so few chunks end at the hard maximum, where
                // boundaries do not follow the content.
                let (min, average) = (self.min(), self.average());
                let cutter = FastCDC::with_level(window, min, average, most, Normalization::Level1);
                cutter.cut(0, window.len()).1
            }
        })
    }
}

impl fmt::Display for ChunkProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CutRule::Fixed { size } => write!(f, "{FIXED}{size}"),
            CutRule::ContentDefined { .. } => {
                write!(f, "{FASTCDC}{}-{}-{}{LEVEL}", self.min(), self.average(), self.max())
            }
        }
    }
}

impl FromStr for ChunkProfile {
    type Err = ProfileFault;

    fn from_str(text: &str) -> Result<Self, ProfileFault> {
        let average = text
            .strip_prefix(FASTCDC)
            .and_then(|rest| rest.strip_suffix(LEVEL))
            .and_then(|sizes| sizes.split('-').nth(1))
            .and_then(|average| average.parse().ok())
            .and_then(|average| Self::content_defined(average).ok());
        let size = text
            .strip_prefix(FIXED)
            .and_then(|size| size.parse().ok())
            .and_then(|size| Self::fixed(size).ok());
        average
            .or(size)
            // Writing it again is the shortest way to refuse `+65536`, leading zeros and sizes that
            // do not belong together.
            .filter(|profile| profile.to_string() == text)
            .ok_or_else(|| ProfileFault::Unknown { given: text.chars().take(80).collect() })
    }
}

impl serde::Serialize for ChunkProfile {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ChunkProfile {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that anyone can make again: the BLAKE3 stream of a seed.
    fn corpus(seed: &[u8], length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cuts(profile: &ChunkProfile, bytes: &[u8]) -> Vec<usize> {
        let mut rest = bytes;
        let mut lengths = Vec::new();
        while let Some(length) = profile.next_cut(rest, true) {
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    fn small() -> ChunkProfile {
        ChunkProfile::content_defined(65_536).unwrap()
    }

    #[test]
    fn profiles_are_written_as_documented_and_read_from_nothing_else() {
        let default = ChunkProfile::default();
        assert_eq!(default.to_string(), "fastcdc-v2020/5.0/262144-1048576-4194304/nc1");
        assert_eq!(ChunkProfile::fixed(1 << 20).unwrap().to_string(), "fixed/1048576");
        for text in [default.to_string(), "fixed/1048576".into(), small().to_string()] {
            assert_eq!(text.parse::<ChunkProfile>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "fixed/",
            "fixed/+4096",
            "fixed/04096",
            "fixed/1023",
            "fixed/16777217",
            "fixed/99999999999",
            "fastcdc-v2020/5.0/262144-1048576-4194304/nc2",
            "fastcdc-v2020/5.0/262144-1048576-4194305/nc1",
            "fastcdc-v2020/5.0/1048576/nc1",
            "fastcdc-v2020/5.0/25000-100000-400000/nc1",
        ] {
            assert!(wrong.parse::<ChunkProfile>().is_err(), "{wrong}");
        }
        assert!(ChunkProfile::content_defined(8 << 20).is_err());
        assert!(ChunkProfile::content_defined(32 << 10).is_err());
    }

    // Frozen: other boundaries would store everything that is already known once more.
    #[test]
    fn cut_points_are_frozen() {
        let vectors = include_str!("../tests/vectors/cuts.txt");
        let random = corpus(b"lucid cut vector", 2 << 20);
        let mut mixed = corpus(b"lucid cut vector 2", 6 << 20);
        mixed[1 << 20..3 << 20].fill(0);
        let large = ChunkProfile::default();
        let found = format!(
            "{} random {:?}\n{} mixed {:?}\n",
            small(),
            cuts(&small(), &random),
            large,
            cuts(&large, &mixed)
        );
        assert!(vectors.ends_with(&found), "{found}");
    }

    #[test]
    fn cutting_agrees_with_the_library_over_the_whole_input() {
        let bytes = corpus(b"whole", 3 << 20);
        let profile = small();
        let whole: Vec<usize> =
            FastCDC::new(&bytes, profile.min(), profile.average(), profile.max())
                .map(|chunk| chunk.length)
                .collect();
        assert_eq!(cuts(&profile, &bytes), whole);
    }

    #[test]
    fn sizes_stay_between_the_bounds() {
        for bytes in [corpus(b"bounds", 4 << 20), vec![0; 4 << 20]] {
            let lengths = cuts(&small(), &bytes);
            let (_, but_last) = lengths.split_last().unwrap();
            assert!(but_last.iter().all(|l| (small().min()..=small().max()).contains(l)));
            assert_eq!(lengths.iter().sum::<usize>(), bytes.len());
        }
        assert_eq!(cuts(&ChunkProfile::fixed(1024).unwrap(), &[7; 2500]), [1024, 1024, 452]);
    }

    #[test]
    fn nothing_and_too_little_give_no_cut() {
        assert_eq!(small().next_cut(&[], true), None);
        assert_eq!(small().next_cut(&[], false), None);
        assert_eq!(small().next_cut(&vec![0; small().max() - 1], false), None);
        assert_eq!(small().next_cut(&[1], true), Some(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_stream_is_cut_like_the_whole(
            seed in any::<[u8; 4]>(),
            length in 0usize..1_500_000,
            pieces in proptest::collection::vec(1usize..400_000, 1..12),
        ) {
            let profile = small();
            let bytes = corpus(&seed, length);
            let (mut window, mut lengths, mut given) = (Vec::new(), Vec::new(), 0);
            let mut sizes = pieces.iter().cycle();
            while given < length {
                let end = (given + sizes.next().unwrap()).min(length);
                window.extend_from_slice(&bytes[given..end]);
                given = end;
                while let Some(cut) = profile.next_cut(&window, given == length) {
                    lengths.push(cut);
                    window.drain(..cut);
                }
            }
            prop_assert!(window.is_empty());
            prop_assert_eq!(lengths, cuts(&profile, &bytes));
        }
    }
}
