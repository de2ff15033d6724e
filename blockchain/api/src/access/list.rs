//! The list of tokens: `lucid token` keeps it in a data folder, and operators write such files.
//!
//! One line a token: `id role[,role] blake3-of-token [narrowing] [expiry]`, blanks between. Empty lines, and lines that
//! begin with `#`, say nothing. A list with one line that cannot be read is no list: what that line was to allow, or
//! to forbid, is not guessed.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use lucid_core::time::Timestamp;

use super::narrowing::Narrowing;
use super::role::Roles;
use super::token::TokenHash;

/// Bytes of a list that is read.
pub const LIST_BYTES_MAX: u64 = 16 << 20;

/// What services call those that need no token of a list.
const RESERVED: [&str; 2] = ["local", "peer"];

/// What a token is called: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, but neither `local` nor `peer`. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(String);

/// A text that is no token's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no token's id: 1 to 64 characters of A-Z a-z 0-9 . _ - are wanted, and neither \"local\" nor \"peer\""
)]
pub struct TokenNameFault(String);

impl TokenName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = TokenNameFault;

    fn from_str(text: &str) -> Result<Self, TokenNameFault> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        match is_name && !RESERVED.contains(&text) {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenNameFault(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// What it is called.
    pub name: TokenName,
    /// What its holder may do.
    pub roles: Roles,
    /// The hash of its text.
    pub hash: TokenHash,
    /// The sessions it is narrowed to; without them it is for all.
    pub narrowing: Option<Narrowing>,
    /// From when on it counts no more.
    pub expires: Option<Timestamp>,
}

impl fmt::Display for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.roles, self.hash)?;
        if let Some(narrowing) = &self.narrowing {
            write!(f, " {narrowing}")?;
        }
        self.expires.map_or(Ok(()), |expires| write!(f, " {expires}"))
    }
}

impl FromStr for TokenEntry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let mut word = |what: &str| words.next().ok_or_else(|| format!("it has no {what}"));
        let shown = |error: &dyn fmt::Display| error.to_string();
        let name = word("id")?.parse::<TokenName>().map_err(|error| shown(&error))?;
        let roles = word("role")?.parse::<Roles>().map_err(|error| shown(&error))?;
        let hash = word("hash")?.parse::<TokenHash>().map_err(|error| shown(&error))?;
        let rest: Vec<&str> = words.collect();
        let (narrowing, expires) = match rest.as_slice() {
            [] => (None, None),
            // A narrowing begins with a letter, a time does not.
            [one] if one.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                (Some(*one), None)
            }
            [one] => (None, Some(*one)),
            [narrowing, expires] => (Some(*narrowing), Some(*expires)),
            [_, _, other, ..] => return Err(format!("{other:?} is one word too many")),
        };
        let narrowing = narrowing.map(str::parse).transpose();
        let expires = expires.map(Timestamp::parse).transpose();
        Ok(Self {
            name,
            roles,
            hash,
            narrowing: narrowing.map_err(|error: super::NarrowingFault| shown(&error))?,
            expires: expires.map_err(|error| format!("expiry: {error}"))?,
        })
    }
}

/// All tokens of one list, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenList(Vec<TokenEntry>);

/// Why a text is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ListFault {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl TokenList {
    /// Its entries.
    pub fn entries(&self) -> &[TokenEntry] {
        &self.0
    }
}

impl FromStr for TokenList {
    type Err = ListFault;

    fn from_str(text: &str) -> Result<Self, ListFault> {
        let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
        for (line, said) in (1..).zip(text.lines()) {
            let said = said.trim();
            if said.is_empty() || said.starts_with('#') {
                continue;
            }
            let entry: TokenEntry = said.parse().map_err(|why| ListFault { line, why })?;
            if !names.insert(entry.name.clone()) {
                let why = format!("{} is the id of an earlier line, too", entry.name);
                return Err(ListFault { line, why });
            }
            entries.push(entry);
        }
        Ok(Self(entries))
    }
}

/// Takes a line out of a list, and leaves all others as they are. `None` if it has no such token.
pub fn without(list: &str, name: &TokenName) -> Option<String> {
    let is_it = |line: &str| line.split_ascii_whitespace().next() == Some(name.as_str());
    let mut rest = String::new();
    for line in list.lines().filter(|line| !is_it(line)) {
        // Writing into a text cannot fail.
        let _written = writeln!(rest, "{line}");
    }
    list.lines().any(is_it).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Token};
    use super::*;

    fn line(rest: &str) -> String {
        format!("camera-1 append {}{rest}", Token::given("lucid_x").hash())
    }

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let until = "2027-01-01T00:00:00.000000Z";
        let list = [
            line(""),
            line(" prefix:cam-,user:a%20b").replace("camera-1", "two"),
            line(&format!(" {until}")).replace("camera-1", "three").replace("append", "admin"),
            line(&format!(" session:a {until}")).replace("camera-1", "four"),
        ];
        let text = format!("# tokens\n\n{}\n", list.join("\n"));
        let read: TokenList = text.parse().unwrap();
        let written: Vec<String> = read.entries().iter().map(ToString::to_string).collect();
        assert_eq!(written, list);
        let third = read.entries().get(2).unwrap();
        assert_eq!(third.roles, Role::Admin.into());
        assert_eq!(third.expires, Timestamp::parse(until).ok());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_none_of_the_list_counts() {
        for (wrong, why) in [
            ("x".to_owned(), "no role"),
            ("x read".to_owned(), "no hash"),
            ("x root 00".to_owned(), "no role"),
            ("a/b read 00".to_owned(), "no token's id"),
            (line(" soon").replace("camera-1", "b"), "session:ID"),
            (line(" 2027-99").replace("camera-1", "b"), "expiry"),
            (line(" session:a 2027-01-01T00:00:00Z more").replace("camera-1", "b"), "too many"),
            (line(""), "earlier line"),
            ("x read 0g".to_owned(), "64 hex digits"),
        ] {
            let fault = format!("{}\n{wrong}\n", line("")).parse::<TokenList>().unwrap_err();
            assert_eq!(fault.line, 2, "{wrong}");
            assert!(fault.to_string().contains(why), "{wrong}: {fault}");
        }
    }

    #[test]
    fn one_line_is_taken_out_and_comments_stay() {
        let text = format!("# ours\n{}\n{}\n", line(""), line("").replace("camera-1", "two"));
        let rest = without(&text, &"camera-1".parse().unwrap()).unwrap();
        assert_eq!(rest, format!("# ours\n{}\n", line("").replace("camera-1", "two")));
        assert_eq!(without(&rest, &"camera-1".parse().unwrap()), None);
    }
}
