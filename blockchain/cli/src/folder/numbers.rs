//! The numbers that users and groups have on this host, by their names.
//!
//! Asked by the target of a restore: the same name may have another number than where it was archived.
//! Every name is looked up once.

use std::collections::HashMap;

use nix::unistd::{Group, User};
use parking_lot::Mutex;

use crate::text;

/// What a name is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    /// A user.
    User,
    /// A group.
    Group,
}

/// What looking a name up brought: its number, that there is none, or why nobody knows.
type LookedUp = Result<Option<u32>, String>;

/// Names that were looked up.
pub(crate) struct Numbers {
    /// Whether names are passed over.
    numeric: bool,
    known: Mutex<HashMap<(Named, Vec<u8>), LookedUp>>,
}

impl Numbers {
    /// Nothing was looked up yet. With `numeric`, nothing is.
    pub(crate) fn new(numeric: bool) -> Self {
        Self { numeric, known: Mutex::default() }
    }

    /// The number of a name here, or `number` where there is no such name. An error says in a sentence
    /// that nobody knows whether there is.
    pub(crate) fn find(&self, named: Named, name: &[u8], number: u32) -> Result<u32, String> {
        if self.numeric || name.is_empty() {
            return Ok(number);
        }
        let mut known = self.known.lock();
        let found = match known.get(&(named, name.to_vec())) {
            Some(found) => found.clone(),
            None => {
                let found = look_up(named, name);
                known.insert((named, name.to_vec()), found.clone());
                found
            }
        };
        found.map(|found| found.unwrap_or(number))
    }
}

fn look_up(named: Named, name: &[u8]) -> LookedUp {
    // Systems look up text only.
    let Ok(text) = std::str::from_utf8(name) else { return Ok(None) };
    let (kind, found) = match named {
        Named::User => {
            ("user", User::from_name(text).map(|user| user.map(|user| user.uid.as_raw())))
        }
        Named::Group => {
            ("group", Group::from_name(text).map(|group| group.map(|group| group.gid.as_raw())))
        }
    };
    found.map_err(|errno| {
        let (name, why) = (text::name(name), std::io::Error::from(errno));
        format!("{kind} \"{name}\" cannot be looked up, so its number is used as it was: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_known_here_has_its_number_and_another_one_the_number_it_had() {
        let numbers = Numbers::new(false);
        for _ in 0..2 {
            assert_eq!(numbers.find(Named::User, b"root", 7), Ok(0));
            assert_eq!(numbers.find(Named::Group, b"root", 7), Ok(0));
            assert_eq!(numbers.find(Named::User, b"nobody-of-this-name", 7), Ok(7));
            assert_eq!(numbers.find(Named::User, b"\xff", 7), Ok(7));
            assert_eq!(numbers.find(Named::User, b"", 7), Ok(7));
        }
        assert_eq!(Numbers::new(true).find(Named::User, b"root", 7), Ok(7));
    }
}
