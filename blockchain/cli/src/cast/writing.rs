//! Makes an asciicast (version 3) while it happens: a line for each event, in the order in which they are made.

use std::time::Duration;

use serde_json::{Value, json};

/// Writes lines of an asciicast.
#[derive(Debug)]
pub struct CastWriter {
    /// When the last event was, in microseconds of a clock that nobody sets.
    last: i64,
    /// The beginning of a letter whose end has not come.
    begun: Vec<u8>,
}

impl CastWriter {
    /// The head of a recording of a command, with the longest pause that players are to make, that begins at a time, in
    /// seconds since 1970, in a terminal of so many columns and rows; and what writes the rest.
    pub fn begin(
        steady: i64,
        at: i64,
        size: (u16, u16),
        (command, idle): (&str, Option<Duration>),
    ) -> (Self, Vec<u8>) {
        let mut head = json!({
            "version": 3,
            "term": { "cols": size.0, "rows": size.1 },
            "timestamp": at,
            "command": command,
        });
        if let (Some(idle), Some(head)) = (idle, head.as_object_mut()) {
            head.insert("idle_time_limit".to_owned(), json!(idle.as_secs_f64()));
        }
        (Self { last: steady, begun: Vec::new() }, line(&head))
    }

    /// Bytes that the program wrote, as text: what is none becomes U+FFFD, as asciinema has it. Nothing, if they are
    /// only the beginning of a letter.
    pub fn output(&mut self, steady: i64, bytes: &[u8]) -> Vec<u8> {
        self.begun.extend_from_slice(bytes);
        let whole = whole_letters(&self.begun);
        let rest = self.begun.split_off(whole);
        let whole = std::mem::replace(&mut self.begun, rest);
        match whole.is_empty() {
            true => Vec::new(),
            false => self.event(steady, "o", &String::from_utf8_lossy(&whole)),
        }
    }

    /// Keys that were pressed.
    pub fn input(&mut self, steady: i64, bytes: &[u8]) -> Vec<u8> {
        self.event(steady, "i", &String::from_utf8_lossy(bytes))
    }

    /// The terminal got another size.
    pub fn resized(&mut self, steady: i64, (columns, rows): (u16, u16)) -> Vec<u8> {
        self.event(steady, "r", &format!("{columns}x{rows}"))
    }

    /// The program ended, with this for an exit code.
    pub fn ended(&mut self, steady: i64, code: u32) -> Vec<u8> {
        let begun = std::mem::take(&mut self.begun);
        let mut lines = match begun.is_empty() {
            true => Vec::new(),
            false => self.event(steady, "o", &String::from_utf8_lossy(&begun)),
        };
        lines.extend(self.event(steady, "x", &code.to_string()));
        lines
    }

    fn event(&mut self, steady: i64, code: &str, data: &str) -> Vec<u8> {
        let micros = steady.saturating_sub(self.last).max(0);
        self.last = steady;
        line(&json!([micros as f64 / 1e6, code, data]))
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

/// How many of these bytes are not the beginning of a letter at their end.
fn whole_letters(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match std::str::from_utf8(bytes.get(at..).unwrap_or_default()) {
            Ok(_) => return bytes.len(),
            Err(wrong) => match wrong.error_len() {
                None => return at + wrong.valid_up_to(),
                Some(length) => at += wrong.valid_up_to() + length,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::{Cast, Event};

    #[test]
    fn what_is_written_reads_as_what_happened_wherever_a_letter_is_cut() {
        let text = "grün \u{1b}[1m語\r\n".as_bytes();
        for cut in 0..=text.len() {
            let (mut writer, mut all) = CastWriter::begin(
                5,
                1_769_508_000,
                (80, 24),
                ("ls -l", Some(Duration::from_millis(1_500))),
            );
            let (one, other) = text.split_at(cut);
            all.extend(writer.output(250_005, one));
            all.extend(writer.input(250_005, b"k"));
            all.extend(writer.output(500_005, other));
            all.extend(writer.resized(500_005, (100, 30)));
            all.extend(writer.ended(1_000_005, 3));
            let cast = Cast::open(all.as_slice()).unwrap().unwrap();
            assert_eq!((cast.head.size, cast.head.idle_limit), (Some((80, 24)), Some(1.5)));
            let (mut shown, mut passed, mut last) = (Vec::new(), 0, None);
            for moment in cast.map(Result::unwrap) {
                passed += moment.after.as_micros();
                if let Event::Output(bytes) = &moment.event {
                    shown.extend_from_slice(bytes);
                }
                last = Some(moment.event);
            }
            assert_eq!((shown.as_slice(), passed), (text, 1_000_000), "{cut}");
            assert_eq!(last, Some(Event::Ended));
        }
        let (mut writer, _) = CastWriter::begin(0, 0, (80, 24), ("", None));
        assert_eq!(writer.output(0, b"a\xff\xe8"), "[0.0,\"o\",\"a\u{fffd}\"]\n".as_bytes());
        let ended = String::from_utf8(writer.ended(0, 143)).unwrap();
        assert_eq!(ended, "[0.0,\"o\",\"\u{fffd}\"]\n[0.0,\"x\",\"143\"]\n");
    }
}
