//! Progress of long work: bytes, rate and time left.
//!
//! The verbs make one for anything long and count into it from any thread; it is drawn through
//! [`Output`], or not at all. Invariant: counting never waits for the terminal.

use std::{sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::{output::Output, text};

/// A line that tells how far work has come. Dropping it clears the line.
#[derive(Debug, Clone)]
pub struct ProgressLine {
    bar: Arc<Bar>,
}

#[derive(Debug)]
struct Bar(ProgressBar);

impl ProgressLine {
    /// Begins to show work; without a total there is no bar and no time left.
    #[must_use]
    pub fn start(output: &Output, label: &str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let bar = output.bars().add(bar);
        bar.set_style(style(total.is_some()));
        bar.set_message(label.to_owned());
        if !bar.is_hidden() {
            // Draws on its own, so that a pause shows as a pause.
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar: Arc::new(Bar(bar)) }
    }

    /// Begins to show that work elsewhere is waited for, and for how long.
    #[must_use]
    pub fn waiting(output: &Output, label: &str) -> Self {
        let progress = Self::start(output, label, None);
        if let Ok(style) = style(false).template("{msg} {spinner}  {time}") {
            progress.bar.0.set_style(style);
        }
        progress
    }

    /// Begins to show work that is counted in something else than bytes.
    #[must_use]
    pub fn counting(output: &Output, label: &str, noun: &str) -> Self {
        let progress = Self::start(output, label, None);
        let template = format!(
            "{{msg}} [{{bar:30}}] {{percent:>3}}%  {{human_pos}} of {{human_len}} {noun}  {{left}} left"
        );
        if let Ok(style) = style(true).template(&template) {
            progress.bar.0.set_style(style);
        }
        progress
    }

    /// How many of how many are done.
    pub fn set_count(&self, done: u64, total: u64) {
        self.bar.0.set_length(total);
        self.bar.0.set_position(done);
    }

    /// Shows the stage that a longer work reports: its name, and how many bytes of how many are done.
    pub fn show(&self, stage: &str, done: u64, total: u64) {
        if self.bar.0.message() != stage {
            self.bar.0.reset();
            self.bar.0.set_message(stage.to_owned());
        }
        if total > 0 {
            self.set_total(total);
        }
        self.bar.0.set_position(done);
    }

    /// Counts bytes that are done.
    pub fn add(&self, bytes: u64) {
        self.bar.0.inc(bytes);
    }

    /// Raises or sets the total, when more is learnt about it.
    pub fn set_total(&self, total: u64) {
        self.bar.0.set_length(total);
        self.bar.0.set_style(style(true));
    }

    /// How many bytes are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.bar.0.position()
    }

    /// How long it has taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.bar.0.elapsed()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(bounded: bool) -> ProgressStyle {
    let template = if bounded {
        "{msg} [{bar:30}] {percent:>3}%  {done} of {total}  {rate}  {left} left"
    } else {
        "{msg} {spinner}  {done}  {rate}  {time}"
    };
    ProgressStyle::with_template(template)
        // A fixed text that tests draw; the plain style is there if it were wrong.
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&text::size(state.pos()));
        })
        .with_key("total", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&text::size(state.len().unwrap_or_default()));
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}/s", text::size(state.per_sec() as u64));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&left(state));
        })
        .with_key("time", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&coarse(state.elapsed()));
        })
}

fn left(state: &ProgressState) -> String {
    // Nothing was measured yet, or everything stands still.
    if state.per_sec() < 1.0 {
        return "?".to_owned();
    }
    coarse(state.eta())
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
        progress.bar.0.force_draw();
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
    fn quiet_and_json_draw_nothing() {
        for (json, quiet) in [(true, false), (false, true)] {
            let output = Output::new(OutputMode { json, quiet });
            let progress = ProgressLine::start(&output, "archiving", Some(2));
            progress.add(1);
            assert!(progress.bar.0.is_hidden());
            assert_eq!(progress.done(), 1);
        }
    }
}
