//! How numbers and names are shown to people.
//!
//! Called by [`output`](crate::output), [`progress`](crate::progress) and error messages.
//! Invariant: what [`name`] and [`fn@line`] return holds no control character, so a hostile file name can
//! neither move the cursor nor fake a line.

use std::{fmt::Write, time::Duration};

use lucid_api::v1::sessions::ExitStatus;

/// Shows a path that is spelled as in a manifest, like a file name.
#[must_use]
pub fn spelled_path(path: &str) -> String {
    lucid_core::manifest::path_bytes(path).map_or_else(|| name(path.as_bytes()), |path| name(&path))
}

/// Shows a file name of any bytes on one line.
///
/// Text stays as it is; a backslash, control and direction-changing characters are escaped like
/// in Rust, bytes that are not UTF-8 as `\xNN`.
#[must_use]
pub fn name(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        for character in part.valid().chars() {
            if character == '\\' || character.is_control() || steers(character) {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in part.invalid() {
            // Writing to a string does not fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Shows a text that others may have written on one line: control and direction-changing characters are
/// escaped, and everything else stays.
#[must_use]
pub fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || steers(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character is invisible and changes how its neighbours are shown.
fn steers(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Shows a number of bytes in three digits: `0 B`, `512 B`, `1.07 GB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // What would be rounded up to 1000 belongs to the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

/// Shows a rate: `388 MB/s`.
#[must_use]
pub fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    format!("{}/s", size((bytes as f64 / seconds) as u64))
}

/// Shows a duration: `840 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`, `3 d 04 h`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if time.as_millis() < 1000 {
        format!("{} ms", time.as_millis())
    } else if time.as_millis() < 59_950 {
        format!("{:.1} s", time.as_secs_f64())
    } else if hours == 0 {
        format!("{} min {:02} s", seconds.max(60) / 60, seconds.max(60) % 60)
    } else if days == 0 {
        format!("{hours} h {:02} min", minutes % 60)
    } else {
        format!("{days} d {:02} h", hours % 24)
    }
}

/// Shows a count with its thousands apart: `18,932`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Shows how many there are of something, in words that agree: `1 file`, `18,932 files`.
#[must_use]
pub fn many(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How a session ended, in a few words; nothing while it goes on.
#[must_use]
pub fn end(end: Option<&str>, exit_status: Option<ExitStatus>) -> String {
    let end = end.unwrap_or_default();
    match exit_status {
        Some(ExitStatus::Code(code)) => format!("{end} {code}"),
        Some(ExitStatus::Signal(signal)) => format!("{end} by signal {signal}"),
        None => end.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_on_one_line_and_cannot_steer_the_terminal() {
        assert_eq!(name("plain name.txt".as_bytes()), "plain name.txt");
        assert_eq!(name("grün".as_bytes()), "grün");
        assert_eq!(name(b"a\nb\tc\x1b[31m\x7f"), "a\\nb\\tc\\u{1b}[31m\\u{7f}");
        assert_eq!(name(b"caf\xe9"), "caf\\xe9");
        assert_eq!(name(b"a\\n"), "a\\\\n");
        assert_eq!(name("a\u{202e}b\u{9b}".as_bytes()), "a\\u{202e}b\\u{9b}");
    }

    #[test]
    fn sizes_have_three_digits() {
        let shown = [0, 999, 1000, 1234, 9_999, 65_536, 999_499, 999_500, 1_070_000_000];
        let shown: Vec<_> = shown.into_iter().map(size).collect();
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1.00 kB", "1.23 kB", "10.0 kB", "65.5 kB", "999 kB", "1.00 MB",
                "1.07 GB"
            ]
        );
        assert_eq!(size(u64::MAX), "18.4 EB");
    }

    #[test]
    fn rates_and_durations_read_naturally() {
        assert_eq!(rate(776_000_000, Duration::from_secs(2)), "388 MB/s");
        assert_eq!(rate(1, Duration::ZERO), "-");
        let shown = [0, 840, 12_340, 59_960, 245_000, 7_380_000, 273_600_000];
        let shown: Vec<_> =
            shown.into_iter().map(|ms| duration(Duration::from_millis(ms))).collect();
        assert_eq!(
            shown,
            ["0 ms", "840 ms", "12.3 s", "1 min 00 s", "4 min 05 s", "2 h 03 min", "3 d 04 h"]
        );
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(18_932), "18,932");
        assert_eq!(count(1_000_000), "1,000,000");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(many(0, "file"), "0 files");
        assert_eq!(many(1, "file"), "1 file");
        assert_eq!(many(18_932, "chunk"), "18,932 chunks");
    }
}
