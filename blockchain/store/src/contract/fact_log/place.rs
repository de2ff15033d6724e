//! Places in logs of numbered commits, in memory and in a database: which commit an index has followed up to.
//!
//! A number alone does not say which commit is meant: a database can be put back to older data and go on from there, so
//! that another commit gets the number. So a place has the commit's digest, which differs then, and the *incarnation*:
//! which history of the log it is of. A new one begins when the loss of commits is accepted, and every commit names its
//! own.

use std::fmt;
use std::str::FromStr;

use lucid_core::wire::{Reader, WireFault, Writer};

use super::Position;
use super::snapshot::is_unfinished;
use crate::StoreError;

/// A history of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incarnation {
    /// Its number, from 1 on: how often one was begun.
    pub number: u32,
    /// Random bytes: a log that is put back twice has two incarnations of the same number.
    pub id: [u8; 16],
}

impl Incarnation {
    /// The one that a log without commits has.
    pub fn first(id: [u8; 16]) -> Self {
        Self { number: 1, id }
    }

    /// The one behind it, if numbers go so far.
    pub fn next(&self, id: [u8; 16]) -> Option<Self> {
        Some(Self { number: self.number.checked_add(1)?, id })
    }

    /// Whether a commit of that one may follow a commit of this one: it goes on with it, or begins the next.
    pub fn leads_to(&self, other: &Self) -> bool {
        self == other || self.number.checked_add(1) == Some(other.number)
    }
}

impl fmt::Display for Incarnation {
    /// The number, and enough of the id to tell two of the same number apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.id;
        write!(f, "{}-{a:02x}{b:02x}{c:02x}{d:02x}", self.number)
    }
}

/// The place behind a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The commit's number, from 1 on; 0 in front of all.
    pub n: u64,
    /// The commit's digest.
    pub digest: [u8; 32],
    /// The history that it is of.
    pub incarnation: Incarnation,
}

impl Place {
    /// As a log knows it.
    pub fn position(&self) -> Position {
        Position::new(self.encode())
    }

    /// The place that a log knew so.
    pub fn of(position: &Position) -> Result<Self, StoreError> {
        if is_unfinished(position) {
            return Err(StoreError::Anew(
                "the index was being made from a snapshot, and that ended half-way".into(),
            ));
        }
        Self::decode(position.as_bytes())
            .map_err(|_| StoreError::Index("its place is in no log of numbered commits".into()))
    }

    /// Of two places the one that is further: in a later incarnation, or in the same one behind more commits.
    pub fn higher(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).max_by_key(|place| (place.incarnation.number, place.n))
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.n).raw(&self.digest).u32(self.incarnation.number).raw(&self.incarnation.id);
        to.finish()
    }

    /// Reads [`Place::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let (n, digest) = (from.u64("commit")?, from.array("digest")?);
        let incarnation = Incarnation { number: from.u32("incarnation")?, id: from.array("id")? };
        from.finish()?;
        Ok(Self { n, digest, incarnation })
    }

    /// As callers are told it.
    pub fn told(&self) -> Told {
        let [a, b, c, d, ..] = self.incarnation.id;
        Told {
            n: self.n,
            incarnation: self.incarnation.number,
            id: u32::from_be_bytes([a, b, c, d]),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told().fmt(f)
    }
}

/// What is said of an index that stands at a place which a log, called `log`, does not have any more: whether another
/// commit is there, and where that log ends.
///
/// A place of an incarnation before the log's was given up when the log's own began.
pub(crate) fn gone(log: &str, at: &Place, is_other: bool, end: &Place) -> StoreError {
    let what = if is_other { "which is a different one there" } else { "which is not there" };
    let ends = match end.n {
        0 => "that log is empty".to_owned(),
        _ => format!("that log ends at commit {end}"),
    };
    let sentence = format!("the index has followed {log} to commit {at}, {what}, and {ends}");
    match at.incarnation.number < end.incarnation.number {
        true => StoreError::Anew(format!("{sentence}: what was lost was accepted as lost")),
        false => StoreError::Folder(format!(
            "{sentence}: it was put back to older data, or is another one; restore what is newer, or go on without it by \
             `lucid reindex --accept-loss`"
        )),
    }
}

/// A place as callers are told it and give it back: `N@INCARNATION-ID`, as in `1042@1-9f3a12bc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The commit's number.
    pub n: u64,
    /// The number of its incarnation.
    pub incarnation: u32,
    /// The first four bytes of that one's id, as a number, big-endian.
    pub id: u32,
}

impl Told {
    /// Whether an index that stands here has taken in what that place names; `None` where that is of another history,
    /// so that no number says anything.
    pub fn has_reached(&self, wanted: &Self) -> Option<bool> {
        ((self.incarnation, self.id) == (wanted.incarnation, wanted.id))
            .then_some(self.n >= wanted.n)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}-{:08x}", self.n, self.incarnation, self.id)
    }
}

impl FromStr for Told {
    type Err = StoreError;

    /// Reads what [`Told`] is shown as, and nothing else.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let read = || {
            let (n, rest) = text.split_once('@')?;
            let (incarnation, id) = rest.split_once('-')?;
            let told = Self {
                n: n.parse().ok()?,
                incarnation: incarnation.parse().ok()?,
                id: u32::from_str_radix(id, 16).ok()?,
            };
            (told.to_string() == text).then_some(told)
        };
        read().ok_or_else(|| {
            StoreError::Folder(format!(
                "{text:?} is no place in a log: give one as it was told, as in 1042@1-9f3a12bc"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(n: u64, number: u32) -> Place {
        let id = std::array::from_fn(|at| 0x9f_u8.wrapping_add(u8::try_from(at).unwrap()));
        Place { n, digest: [7; 32], incarnation: Incarnation { number, id } }
    }

    #[test]
    fn a_place_is_these_bytes_and_this_text() {
        let place = place(1_042, 2);
        let hex = format!(
            "1204000000000000{}02000000{}",
            "07".repeat(32),
            "9fa0a1a2a3a4a5a6a7a8a9aaabacadae"
        );
        assert_eq!(hex::encode(place.encode()), hex);
        assert_eq!(place.to_string(), "1042@2-9fa0a1a2");
        assert_eq!(Place::of(&place.position()).unwrap(), place);
    }

    #[test]
    fn numbers_are_compared_within_one_incarnation_only() {
        let told = |n, number| place(n, number).told();
        assert_eq!(told(5, 1).has_reached(&told(5, 1)), Some(true));
        assert_eq!(told(4, 1).has_reached(&told(5, 1)), Some(false));
        assert_eq!(told(9, 2).has_reached(&told(5, 1)), None);
        let other = Told { id: 1, ..told(9, 1) };
        assert_eq!(other.has_reached(&told(5, 1)), None);
    }

    #[test]
    fn what_is_told_is_read_back_and_nothing_else_is() {
        for text in
            ["", "1", "1@1", "1@1-9F3A12BC", "01@1-9f3a12bc", "1@1-9f3a12b", "+1@1-9f3a12bc"]
        {
            assert!(text.parse::<Told>().is_err(), "{text}");
        }
        let first = Incarnation::first([1; 16]);
        let second = first.next([2; 16]).unwrap();
        assert!(first.leads_to(&first) && first.leads_to(&second) && !second.leads_to(&first));
        assert!(!first.leads_to(&Incarnation { id: [3; 16], ..first }));
        assert!(!first.leads_to(&second.next([3; 16]).unwrap()));
    }

    proptest! {
        #[test]
        fn places_read_back(n: u64, number: u32, id: [u8; 16], noise in prop::collection::vec(any::<u8>(), 0..70)) {
            let place = Place { n, digest: [3; 32], incarnation: Incarnation { number, id } };
            prop_assert_eq!(Place::decode(&place.encode()), Ok(place));
            prop_assert_eq!(place.to_string().parse::<Told>().unwrap(), place.told());
            if let Ok(read) = Place::decode(&noise) {
                prop_assert_eq!(read.encode(), noise);
            }
        }
    }
}
