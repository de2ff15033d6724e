//! JSON as the chain knows it: read strictly, printed the one canonical way.
//!
//! A transaction *is* its canonical text, and that text is what CPython's
//! `json.dumps(value, sort_keys=True)` prints, to the byte. No general JSON library does: they differ
//! in floats, in escapes, in the order of keys, and some read ordinary objects as numbers. So this is
//! our own small reader and writer, and nothing stands between them.
//!
//! Called by [`crate::transaction`] and [`crate::block`], and by code that builds a transaction.
//!
//! Invariant: what [`Json::parse`] accepts, [`Json::canonical`] prints so that it reads back equal,
//! and prints the same again.

mod canonical;
mod read;
mod write;

pub(crate) use canonical::{Canonical, TopMember, unquoted};
pub(crate) use read::{Reader, sort_members};
pub(crate) use write::write_text;
use write::write_value;

use crate::limits::{JSON_DEPTH_MAX, JSON_INTEGER_DIGITS_MAX, JSON_VALUES_MAX};

/// One JSON value. Values that were read are sound; values that were built are checked when they
/// become a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent, of any size, in the digits it came in. `-0` is kept
    /// (a block's index must not be spelled so) and printed as `0`.
    Integer(String),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its members sorted by key in code points, no key twice.
    Object(Vec<(String, Json)>),
}

/// Why a text is not JSON that the chain takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not UTF-8.
    #[error("byte {at} is not UTF-8: send JSON in UTF-8")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// The text ends inside a value.
    #[error("the JSON text ends too early")]
    Ended,
    /// Something stands where the grammar wants something else.
    #[error("unexpected {found:?} at byte {at}: {wanted} is wanted")]
    Unexpected {
        /// Offset of the character.
        at: usize,
        /// The character.
        found: char,
        /// What the grammar wants there.
        wanted: &'static str,
    },
    /// A key stands twice in one object.
    #[error("the key {key:?} stands twice in one object: keep one of them")]
    DuplicateKey {
        /// The beginning of the key.
        key: String,
    },
    /// Half of a surrogate pair.
    #[error("the escape at byte {at} is half a surrogate pair: it names no character")]
    LoneSurrogate {
        /// Offset after the escape.
        at: usize,
    },
    /// A float that no double holds.
    #[error("the number at byte {at} is too large for a float: write it as a string")]
    FloatTooLarge {
        /// Offset of the number.
        at: usize,
    },
    /// An integer that Python itself would not convert.
    #[error(
        "the integer at byte {at} has over {JSON_INTEGER_DIGITS_MAX} digits: write it as a string"
    )]
    IntegerTooLong {
        /// Offset of the number.
        at: usize,
    },
    /// More values than a transaction can have.
    #[error("there are over {JSON_VALUES_MAX} values at byte {at}: no transaction has so many")]
    TooMany {
        /// Offset behind the one too many.
        at: usize,
    },
    /// Nested too deep.
    #[error("the value at byte {at} is nested over {JSON_DEPTH_MAX} levels deep: flatten it")]
    TooDeep {
        /// Offset of the innermost bracket.
        at: usize,
    },
}

impl Json {
    /// Reads one JSON text (RFC 8259), refusing what has no canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonFault> {
        let mut reader = Reader::new(bytes)?.within_bounds();
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    }

    /// Reads a text whose values of interest lie inside `levels` lists or objects, which then do not
    /// count as depth: a batch of transactions, for instance.
    pub fn parse_wrapped(bytes: &[u8], levels: usize) -> Result<Self, JsonFault> {
        let mut reader = Reader::new(bytes)?;
        let value = reader.value_within(JSON_DEPTH_MAX.saturating_add(levels))?;
        reader.finish()?;
        Ok(value)
    }

    /// The canonical text: ASCII, keys sorted by code point, separators `", "` and `": "`, floats as
    /// Python prints them.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        write_value(&mut text, self);
        text
    }

    /// An object of these members, sorted. Of two equal keys the later one stays.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Json)>) -> Self {
        let sorted: std::collections::BTreeMap<String, Json> =
            members.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self::Object(sorted.into_iter().collect())
    }

    /// A list of these values.
    pub fn list<V: Into<Json>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }

    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        let members = self.as_object()?;
        let position = members.binary_search_by(|(name, _)| name.as_str().cmp(key)).ok()?;
        members.get(position).map(|(_, value)| value)
    }

    /// The members of an object, in order.
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The values of a list.
    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The characters of a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer that fits; `-0` does not count as one.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The value of `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Integer(value.to_string())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Integer(value.to_string())
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Self::Integer(value.to_string())
    }
}

impl<V: Into<Json>> From<Option<V>> for Json {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<V: Into<Json>> From<Vec<V>> for Json {
    fn from(values: Vec<V>) -> Self {
        Self::list(values)
    }
}

#[cfg(test)]
mod tests;
