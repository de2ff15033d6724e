//! Percent-encoding of bytes: paths in an archived folder are bytes, and need not be text.
//! `paths` and the queries encode with it, the porch decodes with it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Bytes that do not stand for themselves in a path segment or a query value.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// Appends the encoding of one segment or query value.
pub fn encode(value: &[u8], into: &mut String) {
    into.extend(percent_encode(value, ENCODED));
}

/// Appends the encoding of a path, slash by slash.
pub fn encode_path(path: &[u8], into: &mut String) {
    for (position, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if position > 0 {
            into.push('/');
        }
        encode(segment, into);
    }
}

/// The bytes an encoded text stands for; `None` when an escape is not two hex digits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    // The library would let such an escape pass as it is.
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_escape).then(|| percent_decode_str(text).collect())
}

/// The pairs of a query string, decoded (`+` is a space). `None` on a wrong escape or a name that
/// is not text.
pub fn query_pairs(query: &str) -> Option<Vec<(String, Vec<u8>)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8(decode(&name.replace('+', " "))?).ok()?;
            Some((name, decode(&value.replace('+', " "))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        encode(&all, &mut text);
        assert_eq!(decode(&text), Some(all));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for wrong in ["%", "%4", "%zz", "a%+1", "%%41", "%41%"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn query_values_are_bytes() {
        assert_eq!(
            query_pairs("path=a%FF+b&limit=3&x"),
            Some(vec![
                ("path".into(), b"a\xff b".to_vec()),
                ("limit".into(), b"3".to_vec()),
                ("x".into(), vec![]),
            ])
        );
    }
}
