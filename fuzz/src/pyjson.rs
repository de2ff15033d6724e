//! The chain's JSON against Python's, of which it must be the same to the byte.
//!
//! Where there is a `python3`, every text that we take is given to it: its canonical text must be ours, and
//! so must the moment that it reads in a time. Where there is none, what was frozen of its answers is held to
//! by a test (`golden/`), and here what is ours alone: a canonical text is read as itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use lucid_core::json::Json;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;

use crate::bounds::within;
use crate::draw::{Draw, alter};

/// Reads lines (`j` and the hex of a JSON text, or `t` and that of a time) and answers each with one: the hex
/// of the canonical text, or microseconds since 1970, or nothing where it refuses.
pub const PYTHON: &str = include_str!("../golden/python.py");

/// JSON and times: bytes as they are, or texts that are built.
pub fn pyjson(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let text = match draw.below(4) {
        0 => draw.rest().to_vec(),
        1 => {
            let text = time(&mut draw);
            compare_time(&text);
            return;
        }
        _ => {
            let mut text = Vec::new();
            value(&mut draw, &mut text, 0);
            if draw.once_in(6) {
                alter(&mut draw, &mut text);
            }
            text
        }
    };
    let ours = within("JSON", text.len(), (80, 64 << 10), || canonical(&text));
    if let Some(ours) = ours
        && let Some(theirs) = asked('j', &text)
    {
        assert_eq!(theirs, Some(hex_of(ours.as_bytes())), "{}", String::from_utf8_lossy(&text));
    }
}

/// What we make of a text, by every way there is.
fn canonical(text: &[u8]) -> Option<String> {
    let read = Json::parse(text);
    if let Ok(transaction) = Transaction::parse(text) {
        let tree = read.as_ref().map(Json::canonical);
        assert_eq!(tree.as_deref(), Ok(transaction.text()), "two ways lead to two texts");
    }
    let canonical = read.ok()?.canonical();
    assert!(canonical.is_ascii());
    let again = Json::parse(canonical.as_bytes()).map(|json| json.canonical());
    assert_eq!(again.as_deref(), Ok(canonical.as_str()), "a canonical text is another one's");
    Some(canonical)
}

fn compare_time(text: &str) {
    if let Ok(ours) = Timestamp::parse(text)
        && let Some(Some(theirs)) = asked('t', text.as_bytes())
    {
        assert_eq!(theirs, ours.as_micros().to_string(), "{text:?}");
    }
}

/// A text that is nearly a time.
fn time(draw: &mut Draw<'_>) -> String {
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        draw.short() % 10_001,
        draw.byte() % 14,
        draw.byte() % 33,
        draw.byte() % 25,
        draw.byte() % 61,
        draw.byte() % 61
    );
    if draw.flag() {
        text += &format!(".{}", "123456789".get(..draw.below(8) + 1).unwrap_or("1"));
    }
    match draw.below(5) {
        0 => text.push('Z'),
        1 => text += &format!("+{:02}:{:02}", draw.byte() % 26, draw.byte() % 61),
        2 => text += &format!("-{:02}{:02}", draw.byte() % 26, draw.byte() % 61),
        3 => text = text.replace(['-', ':'], ""),
        _ => {}
    }
    text
}

/// A JSON text that is sound, and spelled in one of many ways.
fn value(draw: &mut Draw<'_>, text: &mut Vec<u8>, depth: usize) {
    let space = |draw: &mut Draw<'_>, text: &mut Vec<u8>| {
        if draw.once_in(6) {
            text.extend([b" ", b"\t", b"\n", b"\r"].get(draw.below(4)).copied().unwrap_or(b" "));
        }
    };
    space(draw, text);
    match draw.below(if depth < 6 { 9 } else { 7 }) {
        0 => text.extend(b"null"),
        1 => text.extend(if draw.flag() { b"true".as_slice() } else { b"false" }),
        2 => text.extend(draw.number().cast_signed().to_string().as_bytes()),
        3 => {
            // Every double there is, in the digits that Rust would use.
            let number = f64::from_bits(draw.number() ^ (u64::from(draw.byte()) << 52));
            let number = if number.is_finite() { number } else { 1e16 };
            let spelled = if draw.flag() { format!("{number:e}") } else { format!("{number:?}") };
            text.extend(spelled.as_bytes());
        }
        4 => {
            for _ in 0..=draw.below(30) {
                text.push(b'1' + draw.byte() % 9);
            }
            if draw.flag() {
                text.extend(
                    format!(".{}e{}", draw.short(), i32::from(draw.byte()) - 128).as_bytes(),
                );
            }
        }
        5 | 6 => string(draw, text),
        7 => {
            text.push(b'[');
            for at in 0..draw.below(5) {
                if at > 0 {
                    text.push(b',');
                }
                value(draw, text, depth + 1);
            }
            space(draw, text);
            text.push(b']');
        }
        _ => {
            text.push(b'{');
            for at in 0..draw.below(5) {
                if at > 0 {
                    text.push(b',');
                }
                space(draw, text);
                string(draw, text);
                space(draw, text);
                text.push(b':');
                value(draw, text, depth + 1);
            }
            text.push(b'}');
        }
    }
    space(draw, text);
}

fn string(draw: &mut Draw<'_>, text: &mut Vec<u8>) {
    text.push(b'"');
    for _ in 0..draw.below(6) {
        match draw.below(6) {
            0 => text.extend(format!("\\u{:04x}", draw.short() & 0xffff).as_bytes()),
            1 => {
                let escapes: [&[u8]; 8] =
                    [b"\\\"", b"\\\\", b"\\/", b"\\b", b"\\f", b"\\n", b"\\r", b"\\t"];
                text.extend(draw.of(&escapes).copied().unwrap_or_default());
            }
            2 => {
                // A pair that is one character.
                let (high, low) =
                    (0xd800 + (draw.short() & 0x3ff), 0xdc00 + (draw.short() & 0x3ff));
                text.extend(format!("\\u{high:04X}\\u{low:04x}").as_bytes());
            }
            3 => {
                let character = char::from_u32(draw.short() % 0x11_0000).unwrap_or('é');
                let character =
                    if matches!(character, '"' | '\\' | '\0'..='\x1f') { 'x' } else { character };
                text.extend(character.to_string().as_bytes());
            }
            _ => text.push(b'a' + draw.byte() % 26),
        }
    }
    text.push(b'"');
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A Python that answers as long as this process asks.
struct Asked {
    _child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static ASKED: LazyLock<Mutex<Option<Asked>>> = LazyLock::new(|| {
    let child = Command::new("python3")
        .args(["-u", "-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Mutex::new(child.ok().and_then(|mut child| {
        let (ask, answers) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Asked { _child: child, ask, answers })
    }))
});

/// What Python says: nothing if there is none, and an answer that may be a refusal.
fn asked(kind: char, bytes: &[u8]) -> Option<Option<String>> {
    let mut asked = ASKED.lock().ok()?;
    let python = asked.as_mut()?;
    let sent = python.ask.write_all(format!("{kind}{}\n", hex_of(bytes)).as_bytes());
    let mut line = String::new();
    let read = sent.and_then(|()| python.answers.read_line(&mut line));
    assert!(read.is_ok_and(|count| count > 0), "Python went away");
    let line = line.trim_end();
    Some(line.strip_prefix('=').map(str::to_owned))
}
