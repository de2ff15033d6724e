//! Lines for people: what is in a text begins no line of its own.

use std::fmt;

use crate::text;

/// What is said to people: only the caller that makes it divides it into lines. A text becomes one line,
/// regardless of what is in it, and several texts become as many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(pub(super) String);

impl Lines {
    /// Adds a line.
    fn push(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&text::line(text));
    }
}

impl From<&str> for Lines {
    fn from(text: &str) -> Self {
        Self(text::line(text))
    }
}

impl From<String> for Lines {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Vec<String>> for Lines {
    fn from(texts: Vec<String>) -> Self {
        texts.into_iter().collect()
    }
}

impl FromIterator<String> for Lines {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let mut lines = Self::default();
        texts.into_iter().for_each(|text| lines.push(&text));
        lines
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
