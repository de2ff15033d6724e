//! Progress of long work: bytes, rate and time left.
//!
//! The verbs make one for anything long and count into it from any thread. On a terminal it is drawn; where there is
//! none it is said in a line now and then, and with `--progress=json` in events. Invariant: counting never waits for
//! the terminal.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use crate::output::Output;
use crate::text;

/// How often a line is said where nothing is drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often an event is said.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// Before so much time has passed, a rate is chance.
const RATE_AFTER: Duration = Duration::from_secs(1);

/// How the user wants to be told of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, elsewhere a line every ten seconds.
    #[default]
    Auto,
    /// An object a line on standard error, every second, for programs.
    Json,
    /// Not at all.
    None,
}

/// How progress is said beside what is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressSaid {
    /// Not at all.
    No,
    /// In lines for people.
    Lines,
    /// In events for programs.
    Events,
}

/// A line that tells how far work has come. Dropping it clears the line.
#[derive(Debug, Clone)]
pub struct ProgressLine {
    bar: Arc<Bar>,
}

#[derive(Debug)]
struct Bar {
    drawn: ProgressBar,
    /// What says it in lines or events; it ends when this is dropped.
    said: Option<(Output, Unit, Sender<()>)>,
}

/// What is counted.
#[derive(Debug, Clone)]
enum Unit {
    Bytes,
    /// Nothing: something is waited for.
    Moments,
    Things(String),
}

/// An event of `--progress=json`.
#[derive(Debug, Serialize)]
struct Event<'a> {
    /// `progress`, or `finished` when the stage is over, regardless of how.
    event: &'a str,
    stage: String,
    /// `bytes`, or what else is counted; absent while something is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    done: u64,
    total: Option<u64>,
    /// Absent until it can be told.
    per_second: Option<u64>,
    seconds_left: Option<u64>,
    seconds: f64,
}

impl ProgressLine {
    /// Begins to show work; without a total there is no bar and no time left.
    #[must_use]
    pub fn start(output: &Output, label: &str, total: Option<u64>) -> Self {
        Self::begin(output, label, total, Unit::Bytes, style(total.is_some()))
    }

    /// Begins to show that work elsewhere is waited for, and for how long.
    #[must_use]
    pub fn waiting(output: &Output, label: &str) -> Self {
        Self::begin(output, label, None, Unit::Moments, with(false, "{msg} {spinner}  {time}"))
    }

    /// Begins to show work that is counted in something else than bytes.
    #[must_use]
    pub fn counting(output: &Output, label: &str, noun: &str) -> Self {
        let template = format!(
            "{{msg}} [{{bar:30}}] {{percent:>3}}%  {{human_pos}} of {{human_len}} {noun}  {{left}} left"
        );
        Self::begin(output, label, None, Unit::Things(noun.to_owned()), with(true, &template))
    }

    fn begin(
        output: &Output,
        label: &str,
        total: Option<u64>,
        unit: Unit,
        style: ProgressStyle,
    ) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let drawn = output.bars().add(bar);
        drawn.set_style(style);
        drawn.set_message(label.to_owned());
        if !drawn.is_hidden() {
            // Draws on its own, so that a pause shows as a pause.
            drawn.enable_steady_tick(Duration::from_millis(200));
        }
        let said = match output.says_progress() {
            ProgressSaid::No => None,
            how => say_on(output, how, &drawn, &unit).map(|sender| (output.clone(), unit, sender)),
        };
        Self { bar: Arc::new(Bar { drawn, said }) }
    }

    /// How many of how many are done.
    pub fn set_count(&self, done: u64, total: u64) {
        self.bar.drawn.set_length(total);
        self.bar.drawn.set_position(done);
    }

    /// Shows the stage that a longer work reports: its name, and how many bytes of how many are done.
    pub fn show(&self, stage: &str, done: u64, total: u64) {
        if self.bar.drawn.message() != stage {
            self.bar.drawn.reset();
            self.bar.drawn.set_message(stage.to_owned());
        }
        if total > 0 {
            self.set_total(total);
        }
        self.bar.drawn.set_position(done);
    }

    /// Counts bytes that are done.
    pub fn add(&self, bytes: u64) {
        self.bar.drawn.inc(bytes);
    }

    /// Raises or sets the total, when more is learnt about it.
    pub fn set_total(&self, total: u64) {
        self.bar.drawn.set_length(total);
        self.bar.drawn.set_style(style(true));
    }

    /// How many bytes are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.bar.drawn.position()
    }

    /// How long it has taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.bar.drawn.elapsed()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
        if let Some((output, unit, _)) = &self.said
            && output.says_progress() == ProgressSaid::Events
        {
            output.event(&event("finished", &self.drawn, unit));
        }
    }
}

/// Starts what says it now and then, until the sender is dropped. Without a thread nothing is said, and the work goes
/// on.
fn say_on(
    output: &Output,
    how: ProgressSaid,
    drawn: &ProgressBar,
    unit: &Unit,
) -> Option<Sender<()>> {
    let (sender, ended) = channel();
    let (output, bar, unit) = (output.clone(), drawn.downgrade(), unit.clone());
    let say = move || {
        let every = match how {
            ProgressSaid::Events => EVENT_EVERY,
            _ => LINE_EVERY,
        };
        while !is_over(&ended, every) {
            let Some(bar) = bar.upgrade() else { return };
            match how {
                ProgressSaid::Events => output.event(&event("progress", &bar, &unit)),
                _ => output.remark(&line(&bar, &unit)),
            }
        }
    };
    let started = std::thread::Builder::new().name("progress".to_owned()).spawn(say);
    started.is_ok().then_some(sender)
}

/// Waits for the end of the work, for so long.
fn is_over(ended: &Receiver<()>, wait: Duration) -> bool {
    ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout)
}

fn event<'a>(event: &'a str, bar: &ProgressBar, unit: &'a Unit) -> Event<'a> {
    let rate = rate(bar.per_sec(), bar.elapsed());
    let total = bar.length();
    Event {
        event,
        stage: bar.message(),
        unit: match unit {
            Unit::Bytes => Some("bytes"),
            Unit::Moments => None,
            Unit::Things(noun) => Some(noun),
        },
        done: bar.position(),
        total,
        per_second: rate.map(|rate| rate as u64),
        seconds_left: rate.and(total).map(|_| bar.eta().as_secs()),
        seconds: bar.elapsed().as_secs_f64(),
    }
}

/// The same in a sentence.
fn line(bar: &ProgressBar, unit: &Unit) -> String {
    let label = bar.message();
    let count = |count: u64| match unit {
        Unit::Things(_) => text::count(count),
        _ => text::size(count),
    };
    let mut said = match unit {
        Unit::Moments => return format!("{label} for {}", coarse(bar.elapsed())),
        _ => format!("{label}: {}", count(bar.position())),
    };
    if let Some(total) = bar.length() {
        said.push_str(&format!(" of {}", count(total)));
    }
    if let Unit::Things(noun) = unit {
        said.push_str(&format!(" {noun}"));
    }
    if let Some(rate) = rate(bar.per_sec(), bar.elapsed()) {
        said.push_str(&format!(", {}/s", count(rate as u64)));
        if bar.length().is_some() {
            said.push_str(&format!(", {} left", coarse(bar.eta())));
        }
    }
    said
}

/// The rate, once it can be told: not before some time, and not while everything stands still.
fn rate(per_second: f64, elapsed: Duration) -> Option<f64> {
    (elapsed >= RATE_AFTER && per_second >= 1.0).then_some(per_second)
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{msg} [{bar:30}] {percent:>3}%  {done} of {total}  {rate}  {left} left"
    } else {
        "{msg} {spinner}  {done}  {rate}  {time}"
    };
    with(bounded, template)
}

fn with(bounded: bool, template: &str) -> ProgressStyle {
    let plain = match bounded {
        true => ProgressStyle::default_bar(),
        false => ProgressStyle::default_spinner(),
    };
    // Fixed texts that tests draw; the plain style is there if one were wrong.
    ProgressStyle::with_template(template)
        .unwrap_or(plain)
        .progress_chars("=> ")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&text::size(state.pos()));
        })
        .with_key("total", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&text::size(state.len().unwrap_or_default()));
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = match rate(state.per_sec(), state.elapsed()) {
                Some(rate) => write!(out, "{}/s", text::size(rate as u64)),
                None => out.write_str("?/s"),
            };
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&left(state));
        })
        .with_key("time", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&coarse(state.elapsed()));
        })
}

fn left(state: &ProgressState) -> String {
    match rate(state.per_sec(), state.elapsed()) {
        Some(_) => coarse(state.eta()),
        None => "?".to_owned(),
    }
}

/// A line that is redrawn all the time should not flicker in its fractions.
fn coarse(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => text::duration(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    use super::*;
    use crate::output::OutputMode;

    fn drawn(total: Option<u64>) -> String {
        let output = Output::new(OutputMode::default());
        let terminal = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        output.bars().set_draw_target(target);
        let progress = ProgressLine::start(&output, "archiving", total);
        progress.add(500_000);
        progress.bar.drawn.force_draw();
        terminal.contents()
    }

    #[test]
    fn a_bar_tells_bytes_rate_and_time_left() {
        let line = drawn(Some(1_000_000));
        assert!(line.starts_with("archiving [===============> "), "{line}");
        assert!(line.contains(" 50%  500 kB of 1.00 MB  "), "{line}");
        assert!(line.contains("/s  ") && line.ends_with(" left"), "{line}");
    }

    #[test]
    fn without_a_total_there_is_no_time_left() {
        let line = drawn(None);
        assert!(line.contains("500 kB  "), "{line}");
        assert!(!line.contains("left"), "{line}");
    }

    #[test]
    fn a_line_and_an_event_hold_back_what_is_not_known_yet() {
        let unit = Unit::Things("blocks".to_owned());
        let bar = ProgressBar::hidden();
        bar.set_length(2_000);
        bar.set_position(1_000);
        bar.set_message("synchronising");
        assert_eq!(line(&bar, &unit), "synchronising: 1,000 of 2,000 blocks");
        let told = serde_json::to_value(event("progress", &bar, &unit)).unwrap();
        assert_eq!(told["unit"], "blocks");
        assert_eq!((&told["done"], &told["total"]), (&1_000.into(), &2_000.into()));
        assert!(told["per_second"].is_null() && told["seconds_left"].is_null(), "{told}");
        // A minute at a steady rate.
        assert_eq!(rate(50.0, Duration::from_secs(60)), Some(50.0));
        assert_eq!(rate(0.5, Duration::from_secs(60)), None, "it stands still");
        assert_eq!(rate(50.0, Duration::from_millis(10)), None, "chance");
    }

    #[test]
    fn quiet_and_json_draw_nothing() {
        for (json, quiet) in [(true, false), (false, true)] {
            let output = Output::new(OutputMode { json, quiet, ..OutputMode::default() });
            let progress = ProgressLine::start(&output, "archiving", Some(2));
            progress.add(1);
            assert!(progress.bar.drawn.is_hidden());
            assert_eq!(progress.done(), 1);
        }
    }
}
