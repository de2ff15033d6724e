//! Straight from a spelling to the canonical text, without a tree in between.
//!
//! Transactions take this way ([`crate::transaction`]), by the million: what is spelled canonically
//! already is copied as it stands, and only what is not is printed anew. It accepts, refuses and prints
//! exactly what [`Json::parse`](super::Json::parse) and [`Json::canonical`](super::Json::canonical) do,
//! which a property test holds it to.
//!
//! Invariant: memory stays within a few times the length of the text, regardless of how values nest.

use std::borrow::Cow;

use super::read::Reader;
use super::write::{write_float, write_text};
use super::{Json, JsonFault};
use crate::limits::JSON_VALUES_MAX;

/// Where a canonical text is.
#[derive(Debug, Clone, Copy)]
enum CanonicalPiece<'a> {
    /// In the text that is read, just as it stands there.
    Given(&'a str),
    /// Among what was made.
    Made { start: usize, end: usize },
}

/// An element of a list, or a member of an object.
#[derive(Debug)]
struct Member<'a> {
    /// Empty for an element.
    key: Cow<'a, str>,
    /// The key in quotes and `": "`; where `joined`, the value too. Empty for an element.
    head: CanonicalPiece<'a>,
    value: CanonicalPiece<'a>,
    joined: bool,
}

/// A member of the outermost object, as it stands in the canonical text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopMember<'c> {
    /// Its key, unescaped.
    pub(crate) key: &'c str,
    /// Where its text begins, from the beginning of the object.
    pub(crate) start: usize,
    /// Where the text of its value begins, and ends.
    pub(crate) value: (usize, usize),
}

/// Makes canonical texts; one serves any number of values, so that its buffers are made once.
#[derive(Debug, Default)]
pub(crate) struct Canonical<'a> {
    members: Vec<Member<'a>>,
    made: String,
    scratch: String,
}

impl<'a> Canonical<'a> {
    /// Reads one value that nests at most `depth` levels, and appends its canonical text to `out`.
    /// If it is an object, `each` is given its members, in order.
    pub(crate) fn append(
        &mut self,
        reader: &mut Reader<'a>,
        depth: usize,
        out: &mut String,
        mut each: impl FnMut(TopMember<'_>),
    ) -> Result<(), JsonFault> {
        self.members.clear();
        self.made.clear();
        let begin = out.len();
        if reader.peek() != Some(b'{') {
            let piece = self.value(reader, depth)?;
            out.push_str(text_of(&self.made, piece));
            return Ok(());
        }
        let whole = self.object(reader, depth)?;
        if let Some(whole) = whole {
            out.push_str(whole);
        }
        let mut at = begin + 1;
        for member in &self.members {
            let head = text_of(&self.made, member.head);
            let value = text_of(&self.made, member.value);
            if whole.is_none() {
                out.push_str(if at == begin + 1 { "{" } else { ", " });
                out.push_str(head);
                if !member.joined {
                    out.push_str(value);
                }
            }
            let end = at + head.len() + if member.joined { 0 } else { value.len() };
            each(TopMember {
                key: &member.key,
                start: at - begin,
                value: (end - value.len() - begin, end - begin),
            });
            at = end + 2;
        }
        if whole.is_none() {
            out.push_str(if self.members.is_empty() { "{}" } else { "}" });
        }
        Ok(())
    }

    fn value(
        &mut self,
        reader: &mut Reader<'a>,
        depth: usize,
    ) -> Result<CanonicalPiece<'a>, JsonFault> {
        match reader.peek() {
            Some(b'"') => match reader.plain_string() {
                Some(quoted) => Ok(CanonicalPiece::Given(quoted)),
                None => {
                    let text = reader.string()?;
                    Ok(self.make(|made| write_text(made, &text)))
                }
            },
            Some(b'-' | b'0'..=b'9') => {
                let (token, float) = reader.number()?;
                match float {
                    Some(value) => Ok(self.make(|made| write_float(made, value))),
                    None if token == "-0" => Ok(self.make(|made| made.push('0'))),
                    None => Ok(CanonicalPiece::Given(token)),
                }
            }
            Some(b'{') => {
                let (base, made) = (self.members.len(), self.made.len());
                let whole = self.object(reader, depth)?;
                Ok(self.close(base, made, whole, ("{", "}")))
            }
            Some(b'[') => {
                let (base, made) = (self.members.len(), self.made.len());
                let whole = self.list(reader, depth)?;
                Ok(self.close(base, made, whole, ("[", "]")))
            }
            _ => reader.word().map(CanonicalPiece::Given),
        }
    }

    /// Reads an object's members onto the stack and sorts them. Says its text where that is
    /// canonical as it stands.
    fn object(
        &mut self,
        reader: &mut Reader<'a>,
        depth: usize,
    ) -> Result<Option<&'a str>, JsonFault> {
        let depth = depth.checked_sub(1).ok_or(JsonFault::TooDeep { at: reader.at() })?;
        let (base, start) = (self.members.len(), reader.at());
        let mut exact = true;
        reader.sequence_exactly(b'}', &mut exact, |reader, exact| {
            reader.peek();
            let from = reader.at();
            let (key, plain) = reader.key()?;
            let spaced = reader.colon()?;
            let mut head = CanonicalPiece::Given(reader.since(from));
            if !plain || !spaced {
                head = self.make(|made| {
                    write_text(made, &key);
                    made.push_str(": ");
                });
            }
            let value = self.value(reader, depth)?;
            // What is canonical as it stands is copied in one piece.
            let joined =
                matches!((head, value), (CanonicalPiece::Given(_), CanonicalPiece::Given(_)));
            if joined {
                head = CanonicalPiece::Given(reader.since(from));
            }
            *exact &= joined;
            self.push(reader, Member { key, head, value, joined })
        })?;
        let members = self.members.get_mut(base..).unwrap_or_default();
        if !members.is_sorted_by(|left, right| left.key < right.key) {
            exact = false;
            members.sort_unstable_by(|left, right| left.key.cmp(&right.key));
            let twice = members.windows(2).find_map(|pair| match pair {
                [left, right] if left.key == right.key => Some(&left.key),
                _ => None,
            });
            if let Some(key) = twice {
                return Err(JsonFault::DuplicateKey { key: key.chars().take(60).collect() });
            }
        }
        Ok(exact.then(|| reader.since(start)))
    }

    fn list(
        &mut self,
        reader: &mut Reader<'a>,
        depth: usize,
    ) -> Result<Option<&'a str>, JsonFault> {
        let depth = depth.checked_sub(1).ok_or(JsonFault::TooDeep { at: reader.at() })?;
        let start = reader.at();
        let mut exact = true;
        reader.sequence_exactly(b']', &mut exact, |reader, exact| {
            let value = self.value(reader, depth)?;
            *exact &= matches!(value, CanonicalPiece::Given(_));
            let (key, head) = (Cow::Borrowed(""), CanonicalPiece::Given(""));
            self.push(reader, Member { key, head, value, joined: false })
        })?;
        Ok(exact.then(|| reader.since(start)))
    }

    fn push(&mut self, reader: &Reader<'a>, member: Member<'a>) -> Result<(), JsonFault> {
        if self.members.len() >= JSON_VALUES_MAX {
            return Err(JsonFault::TooMany { at: reader.at() });
        }
        self.members.push(member);
        Ok(())
    }

    /// Takes members off the stack and makes one text of them, in place of what was made for them.
    fn close(
        &mut self,
        base: usize,
        made: usize,
        whole: Option<&'a str>,
        (open, close): (&str, &str),
    ) -> CanonicalPiece<'a> {
        if let Some(whole) = whole {
            self.members.truncate(base);
            return CanonicalPiece::Given(whole);
        }
        self.scratch.clear();
        self.scratch.push_str(open);
        for (position, member) in self.members.drain(base..).enumerate() {
            if position > 0 {
                self.scratch.push_str(", ");
            }
            self.scratch.push_str(text_of(&self.made, member.head));
            if !member.joined {
                self.scratch.push_str(text_of(&self.made, member.value));
            }
        }
        self.scratch.push_str(close);
        self.made.truncate(made);
        self.made.push_str(&self.scratch);
        CanonicalPiece::Made { start: made, end: self.made.len() }
    }

    fn make(&mut self, write: impl FnOnce(&mut String)) -> CanonicalPiece<'a> {
        let start = self.made.len();
        write(&mut self.made);
        CanonicalPiece::Made { start, end: self.made.len() }
    }
}

fn text_of<'t>(made: &'t str, piece: CanonicalPiece<'t>) -> &'t str {
    match piece {
        CanonicalPiece::Given(text) => text,
        CanonicalPiece::Made { start, end } => made.get(start..end).unwrap_or_default(),
    }
}

/// The characters of a canonical string, in its quotes.
pub(crate) fn unquoted(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    match Json::parse(quoted.as_bytes()) {
        Ok(Json::Text(text)) => Some(Cow::Owned(text)),
        _ => None,
    }
}
