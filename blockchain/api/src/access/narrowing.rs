//! The sessions that a token is narrowed to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use lucid_core::session::SessionId;

use crate::percent;

/// Ids, beginnings of ids, and users: a session is within where any of them fits. As text they stand behind each
/// other, `session:ID,prefix:BEGINNING,user:USER`, each value percent-encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrowing {
    sessions: BTreeSet<String>,
    prefixes: BTreeSet<String>,
    users: BTreeSet<String>,
}

/// A text that narrows to nothing that there can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarrowingFault {
    /// It is not made as such texts are.
    #[error("{0:?} is none of session:ID, prefix:BEGINNING and user:USER, percent-encoded")]
    Unreadable(String),
    /// An id or a beginning of one that no session has.
    #[error("{0:?} is no session's id, nor the beginning of one: 1 to 128 of A-Z a-z 0-9 . _ : -")]
    Session(String),
    /// A user without a name has all sessions of which nobody said whose they are.
    #[error("a user has a name")]
    User,
}

impl Narrowing {
    /// To sessions, beginnings of their ids, and users. Without any it is `None`: that is no narrowing.
    pub fn new(
        sessions: impl IntoIterator<Item = String>,
        prefixes: impl IntoIterator<Item = String>,
        users: impl IntoIterator<Item = String>,
    ) -> Result<Option<Self>, NarrowingFault> {
        let id = |text: String| match text.parse::<SessionId>() {
            Ok(_) => Ok(text),
            Err(_) => Err(NarrowingFault::Session(text.chars().take(160).collect())),
        };
        let user = |text: String| match text.is_empty() {
            false => Ok(text),
            true => Err(NarrowingFault::User),
        };
        let new = Self {
            sessions: sessions.into_iter().map(id).collect::<Result<_, _>>()?,
            prefixes: prefixes.into_iter().map(id).collect::<Result<_, _>>()?,
            users: users.into_iter().map(user).collect::<Result<_, _>>()?,
        };
        Ok(Some(new).filter(|new| *new != Self::default()))
    }

    /// Whether a session of this id and this user is within.
    pub fn has(&self, id: &str, user: &str) -> bool {
        self.users.contains(user) || self.has_id(id)
    }

    /// Whether it is within regardless of whose it is.
    fn has_id(&self, id: &str) -> bool {
        self.sessions.contains(id)
            || self.prefixes.iter().any(|prefix| id.starts_with(prefix.as_str()))
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, prefixes, users) = (&self.sessions, &self.prefixes, &self.users);
        let all = [("session", sessions), ("prefix", prefixes), ("user", users)];
        let mut texts = Vec::new();
        for (what, values) in all {
            for value in values {
                let mut text = format!("{what}:");
                percent::encode(value.as_bytes(), &mut text);
                texts.push(text);
            }
        }
        f.write_str(&texts.join(","))
    }
}

impl FromStr for Narrowing {
    type Err = NarrowingFault;

    fn from_str(text: &str) -> Result<Self, NarrowingFault> {
        let unreadable = || NarrowingFault::Unreadable(text.chars().take(160).collect());
        let (mut sessions, mut prefixes, mut users) = (Vec::new(), Vec::new(), Vec::new());
        for one in text.split(',') {
            let (what, value) = one.split_once(':').ok_or_else(unreadable)?;
            let value = percent::decode(value).and_then(|bytes| String::from_utf8(bytes).ok());
            let value = value.ok_or_else(unreadable)?;
            match what {
                "session" => sessions.push(value),
                "prefix" => prefixes.push(value),
                "user" => users.push(value),
                _ => return Err(unreadable()),
            }
        }
        Self::new(sessions, prefixes, users)?.ok_or_else(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_is_within_by_its_id_a_beginning_of_it_or_its_user() {
        let within: Narrowing = "session:a,prefix:cam-,user:a%20b".parse().unwrap();
        for (id, user, is_within) in [
            ("a", "", true),
            ("ab", "", false),
            ("cam-1", "x", true),
            ("cam", "x", false),
            ("xcam-1", "", false),
            ("z", "a b", true),
            ("z", "", false),
            ("z", "a b c", false),
        ] {
            assert_eq!(within.has(id, user), is_within, "{id} {user}");
        }
    }

    #[test]
    fn what_narrows_to_nothing_is_refused() {
        for wrong in [
            "",
            ",",
            "session:",
            "prefix:",
            "user:",
            "prefix:a/b",
            "session:a,",
            "host:a",
            "session=a",
            "user:%zz",
            "user:%ff",
        ] {
            assert!(wrong.parse::<Narrowing>().is_err(), "{wrong:?}");
        }
        assert_eq!(Narrowing::new([], [], []), Ok(None));
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_is_written(
            sessions in proptest::collection::vec("[A-Za-z0-9._:-]{1,9}", 0..3),
            prefixes in proptest::collection::vec("[A-Za-z0-9._:-]{1,9}", 0..3),
            users in proptest::collection::vec("\\PC{1,9}", 0..3),
        ) {
            if let Some(within) = Narrowing::new(sessions, prefixes, users).unwrap() {
                let text = within.to_string();
                prop_assert!(!text.contains(char::is_whitespace));
                prop_assert_eq!(text.parse(), Ok(within));
            }
        }
    }
}
