//! A recording's timeline: where in its bytes each moment is.
//!
//! Appending adds a [`Mark`] whenever one is [`due`]; reading asks the pages of the appendix
//! ([`crate::page::find_floor`]) for the last mark at or before a moment.
//!
//! Keys are times that sort as bytes, so marks ascend in time; [`due`] makes offsets ascend with
//! them.

use crate::wire::{Reader, WireFault, Writer};

/// At most one mark a second: a day's recording has a timeline of some megabytes.
pub const MARK_MICROS_MIN: i64 = 1_000_000;

/// The sign bit, flipped so that times before 1970 sort before those after.
const SIGN: u64 = 1 << 63;

/// A moment and how many bytes had been recorded by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Microseconds since 1970.
    pub micros: i64,
    /// Bytes of content before this moment.
    pub offset: u64,
}

impl Mark {
    /// The page key of a moment.
    pub fn key_at(micros: i64) -> [u8; 8] {
        (micros.cast_unsigned() ^ SIGN).to_be_bytes()
    }

    /// The page key of this mark.
    pub fn key(&self) -> [u8; 8] {
        Self::key_at(self.micros)
    }

    /// The page value of this mark.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.offset);
        w.finish()
    }

    /// Reads a mark from its page key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, WireFault> {
        let mut r = Reader::new(key);
        let micros = (u64::from_be_bytes(r.array("a mark's time")?) ^ SIGN).cast_signed();
        r.finish()?;
        let mut r = Reader::new(value);
        let offset = r.u64("a mark's offset")?;
        r.finish()?;
        Ok(Self { micros, offset })
    }
}

/// Whether a mark is wanted after `last`: a second has passed, and bytes have come. A clock that was
/// set back marks nothing until it has caught up.
pub fn due(last: Option<&Mark>, next: &Mark) -> bool {
    last.is_none_or(|last| {
        next.micros.saturating_sub(last.micros) >= MARK_MICROS_MIN && next.offset > last.offset
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_a_second_apart_and_move_on() {
        let mark = |micros, offset| Mark { micros, offset };
        assert!(due(None, &mark(0, 0)));
        let last = mark(5_000_000, 10);
        assert!(due(Some(&last), &mark(6_000_000, 11)));
        assert!(!due(Some(&last), &mark(5_999_999, 11)));
        assert!(!due(Some(&last), &mark(7_000_000, 10)));
        assert!(!due(Some(&last), &mark(1_000_000, 11)));
    }

    #[test]
    fn marks_are_frozen() {
        let mark = Mark { micros: 1_700_000_000_000_000, offset: 258 };
        assert_eq!(hex::encode(mark.key()), "80060a24181e4000");
        assert_eq!(hex::encode(mark.encode()), "0201000000000000");
    }

    proptest! {
        #[test]
        fn marks_read_back_and_sort_by_time(a in any::<i64>(), b in any::<i64>(), offset in any::<u64>()) {
            let mark = Mark { micros: a, offset };
            prop_assert_eq!(Mark::decode(&mark.key(), &mark.encode()), Ok(mark));
            prop_assert_eq!(Mark::key_at(a).cmp(&Mark::key_at(b)), a.cmp(&b));
        }

        #[test]
        fn other_lengths_are_refused(key in proptest::collection::vec(any::<u8>(), 0..12), value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let sound = key.len() == 8 && value.len() == 8;
            prop_assert_eq!(Mark::decode(&key, &value).is_ok(), sound);
        }
    }
}
