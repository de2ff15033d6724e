//! Patterns of paths, with the meaning that restic gives them.
//!
//! A pattern has parts between slashes. It takes a path some of whose components, one behind the other,
//! its parts take: so it takes everything below what it names, too. `**` takes any number of components. A
//! leading slash stands for the root of the file system, so that the first part has to take the first component.
//! Each part is matched like a name of Go's `filepath.Match`. Names need not be UTF-8: a byte that is part
//! of no character counts as one.

use std::fmt;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Whether it takes back what patterns before it excluded.
    negated: bool,
    ignores_case: bool,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// Nothing could be meant by it.
    #[error("it is empty")]
    Empty,
    /// `[` without what ends it, or with nothing in it.
    #[error("a [ in it has no end, or nothing sound within")]
    Bracket,
    /// A backslash that escapes nothing.
    #[error("it ends with a \\ that escapes nothing")]
    Escape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`.
    AnyNumber,
    /// A name without anything special in it.
    Plain(Vec<u8>),
    Glob(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`.
    Any,
    /// `?`.
    One,
    Text(Vec<u8>),
    /// `[a-z]`, `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(Symbol, Symbol)>,
    },
}

/// A character, or behind all characters a byte that is part of none.
type Symbol = u32;

const FIRST_STRAY: Symbol = char::MAX as Symbol + 1;

/// The components of a path, ready to be matched against many patterns.
pub struct Components<'a> {
    as_is: Vec<&'a [u8]>,
    lower: Vec<Vec<u8>>,
}

impl<'a> Components<'a> {
    /// Of an absolute path; the root is a component that is empty. `with_lower` also prepares for patterns that
    /// ignore case.
    pub fn of(path: &'a [u8], with_lower: bool) -> Self {
        let as_is: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let lower = match with_lower {
            true => as_is.iter().map(|name| lowered(name)).collect(),
            false => Vec::new(),
        };
        Self { as_is, lower }
    }
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &[u8], ignores_case: bool) -> Result<Self, PatternFault> {
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        let text = if ignores_case { lowered(text) } else { text.to_vec() };
        let mut parts = Vec::new();
        for part in cleaned(&text) {
            let part = Part::parse(part)?;
            // One says as much as several.
            if part != Part::AnyNumber || parts.last() != Some(&Part::AnyNumber) {
                parts.push(part);
            }
        }
        Ok(Self { parts, negated, ignores_case })
    }

    /// Whether it takes back what others excluded.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether it takes the path with these components, or something above it.
    pub fn takes(&self, path: &Components<'_>) -> bool {
        match self.ignores_case {
            false => anywhere(&self.parts, &path.as_is),
            true => anywhere(&self.parts, &path.lower),
        }
    }
}

/// A name of one component with what `*`, `?` and brackets mean, for lists of paths.
#[derive(Debug)]
pub struct NamePattern(Part);

impl NamePattern {
    /// Reads it.
    pub fn parse(text: &[u8]) -> Result<Self, PatternFault> {
        // Two of them in one name are no more than one.
        let text = if text == b"**" { b"*" } else { text };
        Part::parse(text).map(Self)
    }

    /// The name, if it can be only one.
    pub fn plain(&self) -> Option<&[u8]> {
        match &self.0 {
            Part::Plain(name) => Some(name),
            Part::AnyNumber | Part::Glob(_) => None,
        }
    }

    /// Whether it takes a name.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.0.takes(name)
    }
}

impl Part {
    fn parse(text: &[u8]) -> Result<Self, PatternFault> {
        if text == b"**" {
            return Ok(Self::AnyNumber);
        }
        let is_special = |byte: &u8| br"*?[]\".contains(byte);
        if !text.iter().any(is_special) {
            return Ok(Self::Plain(text.to_vec()));
        }
        let (mut tokens, mut rest) = (Vec::new(), text);
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match first {
                b'*' => tokens.push(Token::Any),
                b'?' => tokens.push(Token::One),
                b'[' => {
                    let (class, behind) = class(rest)?;
                    tokens.push(class);
                    rest = behind;
                }
                _ => {
                    let mut byte = *first;
                    if byte == b'\\' {
                        (byte, rest) =
                            rest.split_first().map(|(b, r)| (*b, r)).ok_or(PatternFault::Escape)?;
                    }
                    match tokens.last_mut() {
                        Some(Token::Text(text)) => text.push(byte),
                        _ => tokens.push(Token::Text(vec![byte])),
                    }
                }
            }
        }
        match tokens.as_mut_slice() {
            // All that was special in it was escaped.
            [Token::Text(text)] => Ok(Self::Plain(std::mem::take(text))),
            _ => Ok(Self::Glob(tokens)),
        }
    }

    fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::AnyNumber => true,
            Self::Plain(plain) => plain == name,
            Self::Glob(tokens) => glob(tokens, name),
        }
    }
}

/// Reads a class behind its bracket.
fn class(text: &[u8]) -> Result<(Token, &[u8]), PatternFault> {
    let (negated, mut rest) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    while ranges.is_empty() || !rest.starts_with(b"]") {
        let from = member(&mut rest)?;
        let to = match rest.strip_prefix(b"-") {
            Some(behind) => {
                rest = behind;
                member(&mut rest)?
            }
            None => from,
        };
        ranges.push((from, to));
    }
    Ok((Token::Class { negated, ranges }, rest.get(1..).unwrap_or_default()))
}

/// One end of a range.
fn member(rest: &mut &[u8]) -> Result<Symbol, PatternFault> {
    let escaped = rest.strip_prefix(b"\\");
    match (escaped, rest.first()) {
        (Some(behind), _) => *rest = behind,
        (None, Some(b'-' | b']')) => return Err(PatternFault::Bracket),
        _ => {}
    }
    let (symbol, length) = symbol(rest).ok_or(PatternFault::Bracket)?;
    *rest = rest.get(length..).unwrap_or_default();
    Ok(symbol)
}

/// The parts of a pattern, without those that say nothing: `a//b/./c/../` has the parts of `a/b`. The
/// first is empty if it begins with a slash.
fn cleaned(text: &[u8]) -> Vec<&[u8]> {
    let is_rooted = text.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in text.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|above| *above != b"..") => {
                parts.pop();
            }
            // There is nothing above the root.
            b".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    if is_rooted {
        parts.insert(0, b"");
    }
    parts
}

fn anywhere<T: AsRef<[u8]>>(parts: &[Part], path: &[T]) -> bool {
    (0..=path.len()).any(|from| here(parts, path.get(from..).unwrap_or_default()))
}

/// Whether parts take the components that a path begins with.
fn here<T: AsRef<[u8]>>(parts: &[Part], path: &[T]) -> bool {
    match (parts.split_first(), path.split_first()) {
        (None, _) => true,
        (Some((Part::AnyNumber, rest)), _) => anywhere(rest, path),
        (Some((part, rest)), Some((name, below))) => part.takes(name.as_ref()) && here(rest, below),
        (Some(_), None) => false,
    }
}

/// Goes back only to the last `*`: what is before it was matched as early as can be.
fn glob(tokens: &[Token], name: &[u8]) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut last: Option<(usize, &[u8])> = None;
    loop {
        let next = match tokens.get(at) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Token::Any) => {
                last = Some((at, rest));
                at += 1;
                continue;
            }
            Some(token) => token.takes(rest),
        };
        if let Some(behind) = next {
            (at, rest) = (at + 1, behind);
            continue;
        }
        let Some((any, from)) = last else { return false };
        let Some((_, length)) = symbol(from) else { return false };
        let from = from.get(length..).unwrap_or_default();
        last = Some((any, from));
        (at, rest) = (any + 1, from);
    }
}

impl Token {
    /// What is behind that which the token takes.
    fn takes<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let taken = match self {
            Self::Any => 0,
            Self::Text(text) => return name.strip_prefix(text.as_slice()),
            Self::One => symbol(name)?.1,
            Self::Class { negated, ranges } => {
                let (symbol, length) = symbol(name)?;
                let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&symbol));
                if is_in == *negated {
                    return None;
                }
                length
            }
        };
        name.get(taken..)
    }
}

/// The first symbol of a text, and how many bytes it has.
fn symbol(text: &[u8]) -> Option<(Symbol, usize)> {
    let first = *text.first()?;
    if first.is_ascii() {
        return Some((first.into(), 1));
    }
    let head = text.get(..4).unwrap_or(text);
    let chunk = head.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(character) => Some((character.into(), character.len_utf8())),
        None => Some((FIRST_STRAY + Symbol::from(first), 1)),
    }
}

/// A text in lower case, as far as it is text.
fn lowered(text: &[u8]) -> Vec<u8> {
    let mut lower = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        lower.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lower.extend_from_slice(chunk.invalid());
    }
    lower
}

impl fmt::Debug for Components<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_is.iter().map(|name| name.escape_ascii())).finish()
    }
}

#[cfg(test)]
mod tests;
