//! The reader: one pass over the text, one look at each byte.
//!
//! [`Json::parse`] uses it whole. [`crate::block`] walks a block with it member by member, and
//! [`super::Canonical`] walks each transaction, so that none is ever held as a tree.

use std::borrow::Cow;

use super::{Json, JsonFault};
use crate::limits::{JSON_DEPTH_MAX, JSON_INTEGER_DIGITS_MAX, JSON_VALUES_MAX};

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Values that may still be read into a tree.
    values: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonFault> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0, values: usize::MAX }),
            Err(fault) => Err(JsonFault::NotUtf8 { at: fault.valid_up_to() }),
        }
    }

    /// Ends the reading: only white space may be left.
    pub(crate) fn finish(mut self) -> Result<(), JsonFault> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }

    /// How many bytes are not yet read.
    pub(crate) fn left(&self) -> usize {
        self.text.len() - self.at
    }

    /// The first byte of the next token.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.here() {
            self.at += 1;
        }
        self.here()
    }

    /// Lets no more values be read into trees than a transaction may have.
    pub(crate) fn within_bounds(mut self) -> Self {
        self.values = JSON_VALUES_MAX;
        self
    }

    /// One value, with all the depth that a transaction may have.
    pub(crate) fn value(&mut self) -> Result<Json, JsonFault> {
        self.value_within(JSON_DEPTH_MAX)
    }

    /// Passes over one value, read like [`Self::value`], where only that it is a value matters.
    pub(crate) fn pass_value(&mut self) -> Result<(), JsonFault> {
        let values = self.values;
        self.value()?;
        self.values = values;
        Ok(())
    }

    /// One value that nests at most `depth` levels.
    pub(crate) fn value_within(&mut self, depth: usize) -> Result<Json, JsonFault> {
        self.values = self.values.checked_sub(1).ok_or(JsonFault::TooMany { at: self.at })?;
        let inner =
            |reader: &Self| depth.checked_sub(1).ok_or(JsonFault::TooDeep { at: reader.at });
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => Ok(match self.number()? {
                (_, Some(value)) => Json::Float(value),
                (token, None) => Json::Integer(token.to_owned()),
            }),
            Some(b'{') => {
                let depth = inner(self)?;
                let mut members = Vec::new();
                self.members(|reader, key| {
                    members.push((key, reader.value_within(depth)?));
                    Ok(())
                })?;
                sort_members(&mut members)?;
                Ok(Json::Object(members))
            }
            Some(b'[') => {
                let depth = inner(self)?;
                let mut values = Vec::new();
                self.values(|reader| {
                    values.push(reader.value_within(depth)?);
                    Ok(())
                })?;
                Ok(Json::List(values))
            }
            _ => Ok(match self.word()? {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => Json::Null,
            }),
        }
    }

    /// Walks an object: `each` is called at every value with its key, and must read that value.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, String) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.sequence(b'{', b'}', |reader| {
            let (key, _) = reader.key()?;
            reader.colon()?;
            each(reader, key.into_owned())
        })
    }

    /// Walks a list: `each` is called at every value, and must read it.
    pub(crate) fn values(
        &mut self,
        each: impl FnMut(&mut Self) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.sequence(b'[', b']', each)
    }

    fn sequence(
        &mut self,
        open: u8,
        close: u8,
        mut each: impl FnMut(&mut Self) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        if self.peek() != Some(open) {
            return Err(self.unexpected(if open == b'{' { "an object" } else { "a list" }));
        }
        self.at += 1;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("a comma or the closing bracket")),
            }
        }
    }

    /// The position in the text.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from a position up to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// [`Reader::sequence`], its opening bracket being next, that also sees whether the spaces are
    /// those of the canonical text: one behind each comma, and no other.
    pub(super) fn sequence_exactly(
        &mut self,
        close: u8,
        exact: &mut bool,
        mut each: impl FnMut(&mut Self, &mut bool) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.at += 1;
        let open = self.at;
        let first = self.peek();
        *exact &= self.at == open;
        if first == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self, exact)?;
            let end = self.at;
            let next = self.peek();
            *exact &= self.at == end;
            match next {
                Some(b',') => *exact &= self.one_space(),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("a comma or the closing bracket")),
            }
        }
    }

    /// Steps over a byte and the white space behind it; says whether that is one space.
    fn one_space(&mut self) -> bool {
        self.at += 1;
        let start = self.at;
        self.peek();
        self.since(start) == " "
    }

    /// A key; and whether it stands there as it is printed.
    pub(super) fn key(&mut self) -> Result<(Cow<'a, str>, bool), JsonFault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        match self.plain_string() {
            Some(quoted) => {
                let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
                Ok((Cow::Borrowed(inner), true))
            }
            None => Ok((Cow::Owned(self.string()?), false)),
        }
    }

    /// The colon behind a key; and whether it is followed by one space and not preceded by any.
    pub(super) fn colon(&mut self) -> Result<bool, JsonFault> {
        let start = self.at;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("a colon"));
        }
        let direct = self.at == start;
        Ok(self.one_space() && direct)
    }

    /// A string in its quotes, its opening quote being next, if it stands there as it is printed:
    /// printable ASCII without escapes. Otherwise nothing is read.
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        let inner = self.text.as_bytes().get(self.at + 1..)?;
        let end = self.at + 1 + plain_run(inner);
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        let start = std::mem::replace(&mut self.at, end + 1);
        Some(self.since(start))
    }

    fn here(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self, wanted: &'static str) -> JsonFault {
        match self.rest().chars().next() {
            Some(found) => JsonFault::Unexpected { at: self.at, found, wanted },
            None => JsonFault::Ended,
        }
    }

    /// One of the three words that are values.
    pub(super) fn word(&mut self) -> Result<&'a str, JsonFault> {
        let rest = self.rest();
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        let word = word.ok_or_else(|| self.unexpected("a value"))?;
        let start = self.at;
        self.at += word.len();
        Ok(self.since(start))
    }

    /// A string, its opening quote being next.
    pub(super) fn string(&mut self) -> Result<String, JsonFault> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let run = rest.as_bytes().iter().position(stop).ok_or(JsonFault::Ended)?;
            text.push_str(rest.get(..run).unwrap_or_default());
            self.at += run;
            match self.here() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.unexpected("an escaped control character")),
            }
        }
    }

    /// The character of an escape, its backslash being next.
    fn escape(&mut self) -> Result<char, JsonFault> {
        self.at += 1;
        let character = match self.here() {
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.unexpected("one of \" \\ / b f n r t u")),
        };
        self.at += 1;
        Ok(character)
    }

    /// The character of `XXXX` or of `XXXX\uXXXX`, a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, JsonFault> {
        let unit = self.hex4()?;
        if let Some(character) = char::from_u32(unit) {
            return Ok(character);
        }
        let lone = JsonFault::LoneSurrogate { at: self.at };
        if unit >= 0xdc00 || !self.rest().starts_with("\\u") {
            return Err(lone);
        }
        self.at += 2;
        match self.hex4()? {
            low @ 0xdc00..=0xdfff => {
                char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(lone)
            }
            _ => Err(lone),
        }
    }

    fn hex4(&mut self) -> Result<u32, JsonFault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.here().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit << 4 | digit.ok_or_else(|| self.unexpected("a hex digit"))?;
            self.at += 1;
        }
        Ok(unit)
    }

    /// The token of a number, its first character being next; and its value, if it is a float: if and
    /// only if the token has a fraction or an exponent.
    pub(super) fn number(&mut self) -> Result<(&'a str, Option<f64>), JsonFault> {
        let start = self.at;
        if self.here() == Some(b'-') {
            self.at += 1;
        }
        let digits = match self.here() {
            Some(b'0') => {
                self.at += 1;
                1
            }
            _ => self.digits()?,
        };
        let whole = self.at;
        if self.here() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.here() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.here() {
                self.at += 1;
            }
            self.digits()?;
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        if self.at == whole {
            return match digits <= JSON_INTEGER_DIGITS_MAX {
                true => Ok((token, None)),
                false => Err(JsonFault::IntegerTooLong { at: start }),
            };
        }
        match token.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok((token, Some(value))),
            _ => Err(JsonFault::FloatTooLarge { at: start }),
        }
    }

    /// One digit or more; how many.
    fn digits(&mut self) -> Result<usize, JsonFault> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return Err(self.unexpected("a digit"));
        }
        self.at += count;
        Ok(count)
    }
}

/// How many bytes from the first on stand in a string as they are printed: printable ASCII but the
/// quote and the backslash. Looks at eight at a time.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest flag is exact for each of the three tests, and only the lowest one is used.
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (position, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = is_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = is_zero(word ^ (ONES * u64::from(b'\\')));
        let delete_or_beyond = word.wrapping_add(ONES) | word;
        let special = (control | quote | backslash | delete_or_beyond) & HIGH;
        if special != 0 {
            return position * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\';
    bytes.len() - rest.len() + rest.iter().take_while(|byte| plain(byte)).count()
}

/// Sorts by code point (which is the order of UTF-8's bytes) and refuses a key that stands twice.
pub(crate) fn sort_members(members: &mut [(String, Json)]) -> Result<(), JsonFault> {
    members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    let twice = members.windows(2).find_map(|pair| match pair {
        [(left, _), (right, _)] if left == right => Some(left.chars().take(60).collect()),
        _ => None,
    });
    twice.map_or(Ok(()), |key| Err(JsonFault::DuplicateKey { key }))
}
