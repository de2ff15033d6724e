//! The writer: what CPython's `json.dumps(value, sort_keys=True)` prints.
//!
//! Called by [`Json::canonical`] and, member by member, by [`crate::transaction`].

use std::fmt::Write as _;

use super::Json;

/// Appends a value's canonical text.
pub(crate) fn write_value(out: &mut String, value: &Json) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(true) => out.push_str("true"),
        Json::Bool(false) => out.push_str("false"),
        Json::Integer(digits) if digits == "-0" => out.push('0'),
        Json::Integer(digits) => out.push_str(digits),
        Json::Float(value) => write_float(out, *value),
        Json::Text(text) => write_text(out, text),
        Json::List(values) => {
            out.push('[');
            for (position, value) in values.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (position, (key, value)) in members.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_text(out, key);
                out.push_str(": ");
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

/// Appends a string in quotes: everything but printable ASCII is escaped, characters beyond the
/// first plane as a surrogate pair.
pub(crate) fn write_text(out: &mut String, text: &str) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    out.push('"');
    let mut rest = text;
    loop {
        let run = rest.bytes().position(|byte| !plain(byte)).unwrap_or(rest.len());
        let (as_is, escaped) = rest.split_at_checked(run).unwrap_or((rest, ""));
        out.push_str(as_is);
        let mut characters = escaped.chars();
        match characters.next() {
            Some(character) => write_escape(out, character),
            None => break,
        }
        rest = characters.as_str();
    }
    out.push('"');
}

fn write_escape(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

/// Appends a float as Python's `repr` does: the shortest digits that read back, with an exponent of
/// a sign and at least two digits below 1e-4 and from 1e16 on, otherwise with a fraction.
pub(super) fn write_float(out: &mut String, value: f64) {
    let magnitude = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value.is_sign_positive() { "Infinity" } else { "-Infinity" });
    } else if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        let shortest = value.to_string();
        match shortest.split_once('.') {
            None => {
                out.push_str(&shortest);
                out.push_str(".0");
            }
            Some((_, fraction)) => {
                let nearest = format!("{value:.*}", fraction.len());
                out.push_str(halfway_to_even(&shortest, &nearest, value));
            }
        }
    } else {
        let shortest = format!("{value:e}");
        let (digits, _) = shortest.split_once('e').unwrap_or((&shortest, ""));
        let nearest = format!("{value:.*e}", digits.split_once('.').map_or(0, |(_, f)| f.len()));
        let text = halfway_to_even(&shortest, &nearest, value);
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
    }
}

/// Where a float lies exactly between two shortest texts, Rust's shortest form takes the upper one
/// and Python the even one, as does Rust when told how many digits to print. (Those digits may not
/// read back just above a power of two, where floats below lie closer; then the shortest form is it.)
fn halfway_to_even<'a>(shortest: &'a str, nearest: &'a str, value: f64) -> &'a str {
    if nearest.parse() == Ok(value) { nearest } else { shortest }
}
