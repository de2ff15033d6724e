//! Everything the command says: results to standard output, remarks to standard error.
//!
//! The verbs hold one [`Output`]; nothing else prints. Results are tables or sentences for
//! people, or JSON for programs. Invariants: remarks never stand in the way of progress bars;
//! standard output carries nothing but the result; and what others wrote (names, reasons, metadata,
//! answers of servers) can neither begin a line nor steer the terminal, since everything that is
//! said to people is [`Lines`].

mod lines;

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use clap::error::ErrorKind;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::lines::Lines;
use crate::progress::{ProgressMode, ProgressSaid};
use crate::{interrupt, remedy, text};

/// How the user wants to be spoken to.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputMode {
    /// Results as JSON, for programs.
    pub json: bool,
    /// Only results and errors.
    pub quiet: bool,
    /// Also what is done or passed over, one by one.
    pub verbose: bool,
    /// How progress is told.
    pub progress: ProgressMode,
    /// Without colours.
    pub plain: bool,
    /// Only results, and nothing of what is wrong: a shell asks, in the middle of its user's line.
    pub silent: bool,
}

/// The way to the terminal.
#[derive(Debug, Clone)]
pub struct Output {
    mode: OutputMode,
    bars: MultiProgress,
    unheard: Arc<AtomicBool>,
}

/// Standard output as a stream, which notes when nobody reads it any more.
#[derive(Debug)]
pub struct OutputStream {
    out: io::Stdout,
    unheard: Arc<AtomicBool>,
}

impl OutputStream {
    fn note<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &written
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.unheard.store(true, Ordering::Relaxed);
        }
        written
    }
}

impl Write for OutputStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.out.flush();
        self.note(written)
    }
}

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names and words.
    Left,
    /// Numbers.
    Right,
}

impl Output {
    /// Opens the terminal; bars are drawn only on one, and only for people.
    #[must_use]
    pub fn new(mode: OutputMode) -> Self {
        let target =
            if mode.json || mode.quiet || mode.silent || mode.progress != ProgressMode::Auto {
                ProgressDrawTarget::hidden()
            } else {
                // Hides itself when standard error is not a terminal.
                ProgressDrawTarget::stderr()
            };
        Self { mode, bars: MultiProgress::with_draw_target(target), unheard: Arc::default() }
    }

    /// How progress is said where nothing is drawn.
    #[must_use]
    pub fn says_progress(&self) -> ProgressSaid {
        match self.mode {
            OutputMode { progress: ProgressMode::Json, .. } => ProgressSaid::Events,
            OutputMode { progress: ProgressMode::None, .. } => ProgressSaid::No,
            OutputMode { json: false, quiet: false, .. } if self.bars.is_hidden() => {
                ProgressSaid::Lines
            }
            _ => ProgressSaid::No,
        }
    }

    /// Tells a program how far work has come.
    pub fn event<T: Serialize>(&self, event: &T) {
        if let Ok(json) = serde_json::to_string(event) {
            self.to_stderr(&Lines(json));
        }
    }

    /// How the user wants to be spoken to.
    #[must_use]
    pub fn mode(&self) -> OutputMode {
        self.mode
    }

    /// Says a result: the value as JSON, or what `human` makes of it.
    pub fn result<T: Serialize, L: Into<Lines>>(
        &self,
        value: &T,
        human: impl FnOnce(&T) -> L,
    ) -> io::Result<()> {
        let mut text = match self.mode.json {
            true => serde_json::to_string_pretty(value)?,
            false => human(value).into().0,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match self.bytes(text.as_bytes()) {
            // The work is done, and how it went is told by the exit code.
            Err(_) if self.is_unheard() => Ok(()),
            written => written,
        }
    }

    /// Says one of many results in a line of JSON of its own, or what `human` makes of it.
    pub fn item<T: Serialize, L: Into<Lines>>(
        &self,
        value: &T,
        human: impl FnOnce(&T) -> L,
    ) -> io::Result<()> {
        match self.mode.json {
            true => self.lines(&Lines(serde_json::to_string(value)?)),
            false => self.lines(&human(value).into()),
        }
    }

    /// Says a result that is for people only.
    pub fn lines(&self, lines: &Lines) -> io::Result<()> {
        self.bytes(format!("{lines}\n").as_bytes())
    }

    /// Writes raw content to standard output.
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut out = self.content();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    fn content(&self) -> OutputStream {
        OutputStream { out: io::stdout(), unheard: self.unheard.clone() }
    }

    /// Whether nobody reads standard output any more: the reader that closed the pipe has seen enough.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.unheard.load(Ordering::Relaxed)
    }

    /// Whether people see standard output as it is written.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// How many columns and rows people see of standard output, if they do.
    #[must_use]
    pub fn window(&self) -> Option<(u16, u16)> {
        let window = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some((window.ws_col, window.ws_row))
    }

    /// Standard output as a stream, for content of any length. No bar is drawn beside it.
    #[must_use]
    pub fn stream(&self) -> io::BufWriter<OutputStream> {
        io::BufWriter::with_capacity(1 << 16, self.content())
    }

    /// Whether progress bars are shown.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Asks the user whether to go on. Where nobody can answer, this fails, and says to pass `--yes`.
    pub fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        anyhow::ensure!(
            io::stdin().is_terminal() && !self.mode.json,
            "nobody is there to be asked: pass --yes if that is meant"
        );
        self.bars.suspend(|| {
            let mut err = io::stderr().lock();
            write!(err, "{} [y/N] ", text::line(question))?;
            err.flush()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
        })
    }

    /// Whether a user is there to answer.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && !self.mode.json
    }

    /// Asks for something that must not stand on the screen. Meanwhile Ctrl-C is a key that ends the line,
    /// not a signal, so that the screen shows again what is typed before this ends; so it does when a signal
    /// ends this.
    pub fn ask_secret(&self, question: &str) -> anyhow::Result<Zeroizing<String>> {
        use rustix::termios::{
            LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        anyhow::ensure!(self.can_ask(), "nobody is there to be asked for a passphrase");
        interrupt::listen_once();
        self.bars.suspend(|| {
            let (stdin, mut err) = (io::stdin(), io::stderr().lock());
            write!(err, "{question}")?;
            err.flush()?;
            let before = tcgetattr(&stdin)?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
            let ctrl_c = before.special_codes[SpecialCodeIndex::VINTR];
            silent.special_codes[SpecialCodeIndex::VEOL] = ctrl_c;
            interrupt::put_back(Some(before.clone()));
            tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
            let mut answer = Zeroizing::new(Vec::new());
            let read = read_secret(&mut stdin.lock(), ctrl_c, &mut answer);
            tcsetattr(&stdin, OptionalActions::Flush, &before)?;
            interrupt::put_back(None);
            writeln!(err)?;
            if read? == Typed::CtrlC {
                drop(err);
                interrupt::interrupted();
            }
            let text = std::str::from_utf8(&answer).context("what was typed is not UTF-8")?;
            Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
        })
    }

    /// Makes a remark to people.
    pub fn remark(&self, text: &str) {
        if !self.mode.json && !self.mode.quiet {
            self.to_stderr(&text.into());
        }
    }

    /// Names one of the things that are done or passed over, to people who want to see each.
    pub fn detail(&self, text: &str) {
        if self.mode.verbose {
            self.remark(text);
        }
    }

    /// Says what the reader of the result should know, be it a person or a program.
    pub fn note(&self, text: &str) {
        if self.mode.json {
            self.to_stderr(&Lines(serde_json::json!({ "note": text }).to_string()));
        } else {
            self.remark(text);
        }
    }

    /// Says a result on standard error, where standard output is for what another program writes.
    pub fn aside<T: Serialize, L: Into<Lines>>(&self, value: &T, human: impl FnOnce(&T) -> L) {
        match (self.mode.json, serde_json::to_string(value)) {
            (true, Ok(json)) => self.to_stderr(&Lines(json)),
            _ if self.mode.json || self.mode.quiet => {}
            _ => self.to_stderr(&human(value).into()),
        }
    }

    /// Warns of something that did not stop the work.
    pub fn warn(&self, text: &str) {
        if self.mode.json {
            self.to_stderr(&Lines(serde_json::json!({ "warning": text }).to_string()));
        } else {
            self.to_stderr(&format!("warning: {text}").into());
        }
    }

    /// Says why the work could not be done, and what the user can do about it.
    pub fn error(&self, error: &(dyn Error + 'static)) {
        let said = sentence(error);
        let known = remedy::at_end(&said);
        let text = match self.mode.json {
            true => {
                let remedy = known.map(str::to_owned).or_else(|| remedy::of(error));
                Lines(serde_json::json!({ "error": said, "remedy": remedy }).to_string())
            }
            false => {
                let remedy = if known.is_none() { remedy::of(error) } else { None };
                complaint(error, remedy.as_deref()).into()
            }
        };
        self.to_stderr(&text);
    }

    /// Says what is wrong with the arguments, as the one who read them does: to people as it stands, with
    /// the usage, and to programs in a sentence.
    pub fn misuse(&self, error: &clap::Error) {
        if !self.mode.json {
            let _ = error.print();
            return;
        }
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let (said, remedy) = ("no verb is given", "`--help` lists them");
            let value = serde_json::json!({ "error": said, "remedy": remedy });
            return self.to_stderr(&Lines(value.to_string()));
        }
        let rendered = error.render().to_string();
        let mut parts = rendered.split("\n\n");
        let lines = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = lines(parts.next().unwrap_or_default());
        let said = said.strip_prefix("error: ").unwrap_or(&said).to_owned();
        let tips: Vec<&str> =
            rendered.lines().filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
        let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: "));
        let remedy = match (remedy::at_end(&said), tips.is_empty(), usage) {
            (Some(remedy), ..) => remedy.to_owned(),
            (None, false, _) => tips.join("; "),
            (None, true, Some(usage)) => format!("use it so: {usage}"),
            (None, true, None) => "`lucid --help` says how it is used".to_owned(),
        };
        let value = serde_json::json!({ "error": said, "remedy": remedy });
        self.to_stderr(&Lines(value.to_string()));
    }

    /// Where progress bars are drawn.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    fn to_stderr(&self, text: &Lines) {
        if self.mode.silent {
            return;
        }
        self.bars.suspend(|| {
            // If nobody listens, there is nobody to tell.
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }
}

/// Sets rows in columns, as wide as the terminal at most.
#[must_use]
pub fn table(columns: &[(&str, Align)], rows: impl IntoIterator<Item = Vec<String>>) -> Lines {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(name, _)| *name));
    let cells = |row: Vec<String>| row.iter().map(|cell| text::line(cell)).collect::<Vec<_>>();
    table.add_rows(rows.into_iter().map(cells));
    for (column, (_, align)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if *align == Align::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Lines(table.trim_fmt())
}

/// Says an error and its causes in one sentence, with what can be done about it.
#[must_use]
pub fn complaint(error: &(dyn Error + 'static), remedy: Option<&str>) -> String {
    let mut text = format!("error: {}", sentence(error));
    if let Some(remedy) = remedy {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}

/// Joins an error and its causes, leaving out a cause that was said already.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// How a line that was typed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Typed {
    /// By Enter, or because no more comes.
    Line,
    /// By Ctrl-C.
    CtrlC,
}

fn read_secret(from: &mut dyn io::BufRead, ctrl_c: u8, to: &mut Vec<u8>) -> io::Result<Typed> {
    loop {
        let given = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            given => given?,
        };
        let end = given.iter().position(|byte| *byte == b'\n' || *byte == ctrl_c);
        let taken = end.map_or(given.len(), |end| end + 1);
        let last = end.and_then(|end| given.get(end).copied());
        let is_over = given.is_empty() || end.is_some();
        to.extend_from_slice(given.get(..taken).unwrap_or_default());
        from.consume(taken);
        match last {
            Some(byte) if byte != b'\n' => return Ok(Typed::CtrlC),
            _ if is_over => return Ok(Typed::Line),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_core::catalogue::check_path;

    use crate::folder::target::TargetError;

    #[test]
    fn an_error_is_one_sentence_with_cause_and_remedy() {
        let error =
            TargetError::Io { path: b"a\nb".to_vec(), source: io::Error::other("disk on fire") };
        assert_eq!(
            complaint(&error, Some("call the fire brigade")),
            "error: \"a\\nb\" cannot be restored: disk on fire; call the fire brigade"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        let error = TargetError::from(check_path(b"/a").unwrap_err());
        assert_eq!(
            complaint(&error, None),
            "error: \"/a\" is not a path in an archive: a component is empty"
        );
    }

    #[test]
    fn tables_stand_in_columns() {
        let rows = [["a", "1"], ["long name", "1,000"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let columns = [("name", Align::Left), ("bytes", Align::Right)];
        assert_eq!(
            table(&columns, rows).to_string(),
            "name       bytes\na              1\nlong name  1,000"
        );
    }

    #[test]
    fn what_others_wrote_begins_no_line_and_steers_no_terminal() {
        let forged = "ann\nblock key  AAAA=\u{1b}[2J\u{202e}";
        let said = "user       ann\\nblock key  AAAA=\\u{1b}[2J\\u{202e}";
        assert_eq!(Lines::from(format!("user       {forged}")).to_string(), said);
        let lines = Lines::from(vec![format!("user       {forged}"), "next".to_owned()]);
        assert_eq!(lines.to_string(), format!("{said}\nnext"));
        let cells = table(&[("user", Align::Left)], [vec![forged.to_owned()]]);
        assert_eq!(cells.to_string(), "user\nann\\nblock key  AAAA=\\u{1b}[2J\\u{202e}");
    }
}
