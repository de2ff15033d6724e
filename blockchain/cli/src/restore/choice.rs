//! What of a session is restored: paths as they are named, and patterns as `lucid find` reads them.
//!
//! Invariant: a pattern that names what is wanted and hits nothing is an error, found before anything is written.

use std::ops::ControlFlow;

use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::chosen::{Chosen, Patterns};
use lucid_data_chain::ops::sessions::find_files::PathPattern;
use lucid_data_chain::ops::sessions::read_session::{find_entry, visit_entries};
use lucid_data_chain::source::SessionSource;

use crate::text;

/// Patterns that say what comes along.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Only files and folders like this, and what is in them, as `lucid find` reads patterns; may be given several
    /// times.
    #[arg(long, value_name = "PATTERN", value_parser = exact)]
    include: Vec<PathPattern>,
    /// Like --include, with capital letters taken as small ones.
    #[arg(long, value_name = "PATTERN", value_parser = any_case)]
    iinclude: Vec<PathPattern>,
    /// No files and folders like this; may be given several times.
    #[arg(long, value_name = "PATTERN", value_parser = exact)]
    exclude: Vec<PathPattern>,
    /// Like --exclude, with capital letters taken as small ones.
    #[arg(long, value_name = "PATTERN", value_parser = any_case)]
    iexclude: Vec<PathPattern>,
}

fn exact(text: &str) -> Result<PathPattern, OpError> {
    PathPattern::new(text, false)
}

fn any_case(text: &str) -> Result<PathPattern, OpError> {
    PathPattern::new(text, true)
}

/// What is to be restored.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    paths: Vec<Vec<u8>>,
    patterns: Patterns,
}

impl Filter {
    /// What is chosen where nothing is named.
    pub fn choice(&self) -> Choice {
        let both = |one: &[PathPattern], other: &[PathPattern]| [one, other].concat();
        let included = both(&self.include, &self.iinclude);
        let excluded = both(&self.exclude, &self.iexclude);
        let patterns = Patterns { named: Vec::new(), included, excluded };
        Choice { paths: Vec::new(), patterns }
    }

    /// What is chosen of a session by what is named. What has a sign of a pattern in it and is no path of the session
    /// is a pattern.
    pub fn chosen_by(
        &self,
        source: &dyn SessionSource,
        named: Vec<Vec<u8>>,
    ) -> anyhow::Result<Choice> {
        let mut choice = self.choice();
        if named.iter().any(Vec::is_empty) || source.shape().layout == Layout::Raw {
            return Ok(Choice { paths: named, ..choice }.tidy());
        }
        for path in named {
            let is_path = || matches!(find_entry(source, &path), Ok(Some(_)));
            let signs = path.iter().any(|byte| b"*?[{".contains(byte));
            match std::str::from_utf8(&path) {
                Ok(text) if signs && !is_path() => {
                    choice.patterns.named.push(PathPattern::new(text, false)?);
                }
                _ => choice.paths.push(path),
            }
        }
        Ok(choice)
    }
}

impl Choice {
    /// The folder itself is everything.
    fn tidy(mut self) -> Self {
        if self.paths.iter().any(Vec::is_empty) {
            self.paths.clear();
        }
        self
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.paths.is_empty() && self.patterns.is_empty()
    }

    /// As a session is gone through.
    pub fn chosen(&self) -> Chosen {
        Chosen::narrowed(&self.paths, self.patterns.clone())
    }
}

/// Which patterns hit something so far, of those that are to.
pub struct Hits<'a> {
    missing: Vec<&'a PathPattern>,
}

impl<'a> Hits<'a> {
    /// None did.
    pub fn of(choice: &'a Choice) -> Self {
        let Patterns { named, included, .. } = &choice.patterns;
        Self { missing: named.iter().chain(included).collect() }
    }

    /// Looks for them in a session. Where not all of its catalogue can be read, they may be in the rest.
    pub fn look(&mut self, source: &dyn SessionSource) -> Result<(), OpError> {
        if self.missing.is_empty() || source.shape().layout == Layout::Raw {
            return Ok(());
        }
        let visited = visit_entries(source, b"", None, |entry| {
            self.missing.retain(|pattern| entry.path.is_empty() || !pattern.takes(&entry.path));
            match self.missing.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        match visited {
            Err(error) if error.is_damage() => {
                self.missing.clear();
                Ok(())
            }
            visited => visited,
        }
    }

    /// Refuses a pattern that hit nothing; `of` says where it was looked for.
    pub fn refuse_missing(&self, of: &str) -> anyhow::Result<()> {
        match self.missing.first() {
            None => Ok(()),
            Some(pattern) => anyhow::bail!(
                "nothing in {of} is like \"{}\": `lucid ls SESSION` lists what is there",
                text::line(pattern.text())
            ),
        }
    }
}
