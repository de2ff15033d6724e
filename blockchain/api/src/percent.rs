//! Percent-encoding of bytes: paths in an archived folder are bytes, and need not be text.
//! `paths` and the queries encode with it, the porch decodes with it.

/// Bytes that stand for themselves in a path segment or a query value.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':')
}

/// Appends the encoding of one segment or query value.
pub fn encode(value: &[u8], into: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |four_bits: u8| DIGITS.get(usize::from(four_bits)).copied().unwrap_or('0');
    for &byte in value {
        if plain(byte) {
            into.push(char::from(byte));
        } else {
            into.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
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
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
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
        for wrong in ["%", "%4", "%zz", "a%+1"] {
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
