//! What was found to be wrong with stored bytes: which file, where in it, and why.
//!
//! Damage is an answer, not a crash: reading goes on around it. [`Damage`] is what every reader,
//! recovery and the audit report.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

/// Places that are remembered by name; the audit names all of them, and a scrub does little by little.
const LISTED_MAX: usize = 1_000;

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Damage {
    /// The file, relative to the data folder.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What is wrong, as a sentence without a full stop.
    pub why: String,
}

impl Damage {
    /// Names a damaged place.
    pub fn new(file: impl Into<String>, offset: u64, why: impl fmt::Display) -> Self {
        Self { file: file.into(), offset, why: why.to_string() }
    }

    /// Names a place whose bytes the medium does not give back.
    pub fn unreadable(file: impl Into<String>, offset: u64, error: &std::io::Error) -> Self {
        Self::new(file, offset, format_args!("the disk cannot read it: {error}"))
    }

    /// Names numbered files that are missing, from one number to another: one place, however many.
    pub fn missing(files: RangeInclusive<u32>, path: impl Fn(u32) -> String) -> Self {
        let (first, last) = files.into_inner();
        let why = match last.saturating_sub(first) {
            0 => "the file is missing".to_owned(),
            more => format!("the file is missing, and so are the {more} up to {}", path(last)),
        };
        Self::new(path(first), 0, why)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.why)
    }
}

/// Damage as it is found: each place once, and so many of them that a disk full of rubbish fills no
/// memory. What is beyond that is counted.
#[derive(Debug, Clone, Default)]
pub struct DamageList {
    listed: Vec<Damage>,
    known: HashSet<Damage>,
    more: u64,
}

impl DamageList {
    /// Adds a place.
    pub fn push(&mut self, damage: Damage) {
        self.note(damage);
    }

    /// Adds a place; says whether it was new, and is listed.
    pub fn note(&mut self, damage: Damage) -> bool {
        if self.known.contains(&damage) {
            return false;
        }
        if self.listed.len() >= LISTED_MAX {
            self.more = self.more.saturating_add(1);
            return false;
        }
        self.known.insert(damage.clone());
        self.listed.push(damage);
        true
    }

    /// Adds places.
    pub fn extend(&mut self, damage: impl IntoIterator<Item = Damage>) {
        damage.into_iter().for_each(|damage| self.push(damage));
    }

    /// Adds what another list has, and what it counts besides.
    pub fn append(&mut self, other: Self) {
        self.more = self.more.saturating_add(other.more);
        self.extend(other.listed);
    }

    /// Keeps those of which `stays` is true.
    pub fn retain(&mut self, stays: impl Fn(&Damage) -> bool) {
        self.listed.retain(&stays);
        self.known.retain(stays);
    }

    /// Those that are listed, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Damage> {
        self.listed.iter()
    }

    /// How many more there were.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl From<Vec<Damage>> for DamageList {
    fn from(damage: Vec<Damage>) -> Self {
        let mut list = Self::default();
        list.extend(damage);
        list
    }
}

/// The last one says how many more there were: a list that ends is not taken for all of it.
impl From<DamageList> for Vec<Damage> {
    fn from(mut list: DamageList) -> Self {
        if let Some(last) = list.listed.last_mut().filter(|_| list.more > 0) {
            let more = list.more;
            last.why.push_str(&format!("; and {more} more places, not listed here"));
        }
        list.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_and_says_how_many_places_it_leaves_out() {
        let place = |offset: u64| Damage::new("log/00000001.log", offset, "wrong");
        let mut list = DamageList::default();
        list.extend((0..LISTED_MAX as u64 + 5).map(place));
        list.push(place(0));
        let mut around = DamageList::from(vec![Damage::new("CLOSED", 0, "gone")]);
        around.append(list.clone());
        assert_eq!((list.more(), around.more()), (5, 6));
        for (list, more) in [(list, 5), (around, 6)] {
            let told = Vec::from(list);
            assert_eq!(told.len(), LISTED_MAX);
            let (last, others) = told.split_last().unwrap();
            assert_eq!(last.why, format!("wrong; and {more} more places, not listed here"));
            assert!(others.iter().all(|damage| !damage.why.contains("more places")));
        }
        assert_eq!(Vec::from(DamageList::from(vec![place(1)])), [place(1)]);
    }
}
