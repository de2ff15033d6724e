//! What `script` and sudo write: the bytes of the terminal in one file, and when they came in another.
//!
//! A timing is a line for each: `DELAY COUNT` (classic), `O DELAY COUNT` (`script --log-timing` with several
//! streams), or `4 DELAY COUNT` (sudo, where 4 is the output of the terminal). Other lines let time pass.

use std::io::{BufRead, Read};
use std::time::Duration;

use anyhow::Context as _;

use super::{Event, Moment, Stop};

/// Bytes that are written at once: far more than a terminal is given by one call.
const COUNT_MAX: u64 = 64 << 20;
/// A line of a timing is short.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What the first line of `script` begins with, which the terminal never showed.
const STARTED: &[u8] = b"Script started";

/// What a line of a timing says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// So many bytes came.
    Output(u64),
    Resized(u16, u16),
    Passed,
}

/// Reads a line of a timing: how long after, and what.
fn read(line: &str) -> Option<(Duration, Step)> {
    let mut words = line.split_ascii_whitespace();
    let words: [Option<&str>; 5] = std::array::from_fn(|_| words.next());
    let [first, second, third, fourth, fifth] = words;
    let (kind, delay) = match third {
        None => ("O", first?),
        Some(_) => (first?, second?),
    };
    let after = Duration::try_from_secs_f64(delay.parse().ok()?).ok()?;
    let count = third.or(second);
    let size = |rows: Option<&str>, columns: Option<&str>| {
        Some(Step::Resized(columns?.parse().ok()?, rows?.parse().ok()?))
    };
    let step = match kind {
        "O" | "4" => Step::Output(count?.parse().ok().filter(|count| *count <= COUNT_MAX)?),
        "S" if third == Some("SIGWINCH") => {
            size(fourth?.strip_prefix("ROWS="), fifth?.strip_prefix("COLS="))?
        }
        "5" => size(third, fourth)?,
        "I" | "H" | "S" | "0" | "1" | "2" | "3" | "6" | "7" => Step::Passed,
        _ => return None,
    };
    Some((after, step))
}

/// Whether something is a timing, by how it begins.
pub fn is_timing(beginning: &[u8]) -> bool {
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).is_ok_and(|line| read(line).is_some())
}

/// A recording in two files.
pub struct Script<T, O> {
    timing: T,
    output: O,
    /// Whether the first line of the output was looked at.
    begun: bool,
    /// Whether bytes of the last line were not there.
    lacks: bool,
    line: u64,
}

impl<T: BufRead, O: BufRead> Script<T, O> {
    /// From its timing and its output.
    pub fn new(timing: T, output: O) -> Self {
        Self { timing, output, begun: false, lacks: false, line: 0 }
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            let beginning = self.output.fill_buf().context("the output cannot be read")?;
            if beginning.starts_with(STARTED) {
                let mut some = self.output.by_ref().take(LINE_BYTES_MAX);
                some.skip_until(b'\n')?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Moment>, Stop> {
        self.begin()?;
        if self.lacks {
            let why = format!("bytes that line {} of its timing is of are not there", self.line);
            return Err(Stop::Cut(why));
        }
        let mut line = String::new();
        let read_line = self.timing.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        if read_line.context("the timing cannot be read")? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let cut = |why: &str| Stop::Cut(format!("line {} of its timing {why}", self.line));
        // A line without its end may have had more digits.
        let (after, step) =
            read(&line).filter(|_| line.ends_with('\n')).ok_or_else(|| cut("is none"))?;
        let event = match step {
            Step::Resized(columns, rows) => Event::Resized(columns, rows),
            Step::Passed => Event::Unseen,
            Step::Output(count) => {
                let mut bytes = Vec::new();
                let output = self.output.by_ref().take(count).read_to_end(&mut bytes);
                output.context("the output cannot be read")?;
                // What is there of them is shown; then it ends.
                self.lacks |= (bytes.len() as u64) < count;
                Event::Output(bytes)
            }
        };
        Ok(Some(Moment { after, event }))
    }
}

impl<T: BufRead, O: BufRead> Iterator for Script<T, O> {
    type Item = Result<Moment, Stop>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(timing: &str, output: &str) -> (String, Duration, Option<String>) {
        let (mut text, mut passed, mut stop) = (String::new(), Duration::ZERO, None);
        for moment in Script::new(timing.as_bytes(), output.as_bytes()) {
            match moment {
                Ok(Moment { after, event }) => {
                    passed += after;
                    if let Event::Output(bytes) = event {
                        text.push_str(std::str::from_utf8(&bytes).unwrap());
                    }
                }
                Err(why) => {
                    stop = Some(why.to_string());
                    break;
                }
            }
        }
        (text, passed, stop)
    }

    #[test]
    fn every_sort_of_timing_tells_what_was_shown_and_when() {
        let typescript = "Script started on 2026-01-27 10:00:00+00:00 [TERM=\"xterm\"]\n$ ls\r\na\r\n\nScript done";
        let classic = "0.25 2\n0.5 4\n0.25 3\n";
        let advanced = "H 0.000000 START_TIME 2026-01-27 10:00:00+00:00\nH 0.000000 COLUMNS 80\nO 0.25 2\n\
            I 0.100000 3\nS 0.100000 SIGWINCH ROWS=30 COLS=100\nO 0.3 4\nO 0.25 3\n";
        let sudo = "4 0.25 2\n3 0.1 1\n5 0.1 30 100\n4 0.3 4\n7 0.00 SIGTSTP\n4 0.25 3\n";
        let shown = ("$ ls\r\na\r\n".to_owned(), Duration::from_secs(1), None);
        for timing in [classic, advanced] {
            assert_eq!(told(timing, typescript), shown);
            assert!(is_timing(timing.as_bytes()));
        }
        assert_eq!(told(sudo, "$ ls\r\na\r\n"), shown);
        for no in ["", "Script started", "$ ls", "1", "x 1 2", "4 x 1", "{\"version\":3}"] {
            assert!(!is_timing(no.as_bytes()), "{no}");
        }
        let mut script = Script::new("S 0 SIGWINCH ROWS=30 COLS=100\n".as_bytes(), &b""[..]);
        assert_eq!(script.next().unwrap().unwrap().event, Event::Resized(100, 30));
    }

    #[test]
    fn what_is_cut_short_in_either_file_is_told_up_to_there() {
        let timing = "0.25 2\n0.5 12\n";
        assert_eq!(told(timing, "ab").0, "ab");
        let (text, _, stop) = told(timing, "ab");
        assert_eq!((text.as_str(), stop.unwrap().contains("line 2")), ("ab", true));
        // Part of what a line is of is there, and that is the end.
        let (text, _, stop) = told("0.25 2\n0.5 12\n0.5 1\n", "abcd");
        assert_eq!((text.as_str(), stop.unwrap().contains("line 2")), ("abcd", true));
        let (text, _, stop) = told("0.25 2\n0.5 1", "ab and more");
        assert_eq!((text.as_str(), stop.unwrap().contains("line 2")), ("ab", true));
        for wrong in ["0.1 99999999999", "-1 2", "nan 1", "inf 1", "O 1", "S 1 SIGWINCH ROWS=1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
