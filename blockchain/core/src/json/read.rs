//! The reader: one pass over the text, one look at each byte.
//!
//! [`Json::parse`] uses it whole. [`crate::block`] walks a block with it member by member, so that
//! of ten thousand transactions only one is ever held as a tree.

use super::{Json, JsonFault};
use crate::limits::{JSON_DEPTH_MAX, JSON_INTEGER_DIGITS_MAX};

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonFault> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0 }),
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

    /// The first byte of the next token.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.here() {
            self.at += 1;
        }
        self.here()
    }

    /// One value, with all the depth that a transaction may have.
    pub(crate) fn value(&mut self) -> Result<Json, JsonFault> {
        self.value_within(JSON_DEPTH_MAX)
    }

    /// One value that nests at most `depth` levels.
    pub(crate) fn value_within(&mut self, depth: usize) -> Result<Json, JsonFault> {
        let inner =
            |reader: &Self| depth.checked_sub(1).ok_or(JsonFault::TooDeep { at: reader.at });
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
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
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Walks an object: `each` is called at every value with its key, and must read that value.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, String) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.sequence(b'{', b'}', |reader| {
            if reader.peek() != Some(b'"') {
                return Err(reader.unexpected("a key in quotes"));
            }
            let key = reader.string()?;
            if reader.peek() != Some(b':') {
                return Err(reader.unexpected("a colon"));
            }
            reader.at += 1;
            each(reader, key)
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

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, JsonFault> {
        if !self.rest().starts_with(word) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// A string, its opening quote being next.
    fn string(&mut self) -> Result<String, JsonFault> {
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

    /// A number, its first character being next. It is a float if and only if the token has a
    /// fraction or an exponent.
    fn number(&mut self) -> Result<Json, JsonFault> {
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
                true => Ok(Json::Integer(token.to_owned())),
                false => Err(JsonFault::IntegerTooLong { at: start }),
            };
        }
        match token.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Json::Float(value)),
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

/// Sorts by code point (which is the order of UTF-8's bytes) and refuses a key that stands twice.
pub(crate) fn sort_members(members: &mut [(String, Json)]) -> Result<(), JsonFault> {
    members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    let twice = members.windows(2).find_map(|pair| match pair {
        [(left, _), (right, _)] if left == right => Some(left.chars().take(60).collect()),
        _ => None,
    });
    twice.map_or(Ok(()), |key| Err(JsonFault::DuplicateKey { key }))
}
