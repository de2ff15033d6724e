//! Settings: defaults, then an optional YAML file, then files with variables, then the environment.
//!
//! A service declares a struct that embeds [`CommonConfig`] and fills it from [`Settings`] inside
//! [`load`]. Invariants: every mistake is reported, not only the first; nothing secret is ever
//! written out; nothing outside this module reads the process environment.

mod backend;
mod common;
mod env_file;
mod file;
pub mod keys;
mod known;
mod secret;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use backend::{BackEnds, BucketSettings, MongoSettings, back_ends};
pub use common::{Auth, CommonConfig, Outbound, TOKENS};
pub use env_file::{Origins, with_files};
pub use known::{FAMILIES, OTHERS, VARIABLES, misspelt_variables, unknown_variables};
pub use secret::Secret;
pub use settings::{Key, Setting, Settings};

use self::file::Values;
use self::settings::Finished;
use crate::Service;

/// Variables and their values. Handed in, so tests need no process environment.
pub type Environment = BTreeMap<String, String>;

/// Names the YAML file, when the command line does not.
pub const CONFIG_FILE: &str = "LUCID_CONFIG_FILE";

/// The environment of this process; what is not text is left out.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the environment")]
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    /// A value is not one that the setting can have.
    Invalid {
        /// The variable.
        name: String,
        /// What it says; nothing for secrets, and without the credentials of an URL.
        value: String,
        /// What it should say.
        reason: Option<String>,
    },
    /// Anything else, as one sentence.
    Other(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { name, value, reason: None } => {
                write!(f, "ERROR: Invalid {name} value: {value}")
            }
            Self::Invalid { name, value, reason: Some(reason) } => {
                write!(f, "ERROR: Invalid {name} value: {value} ({reason})")
            }
            Self::Other(sentence) => write!(f, "ERROR: {sentence}"),
        }
    }
}

/// Every mistake, one a line: what `main` prints before it ends with 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the settings.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.mistakes.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One setting as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The variable that sets it.
    pub name: String,
    /// Its value, struck out where it is secret.
    pub value: String,
    /// Where the value is from: `default`, `file`, or the variable's name, with the file that has it.
    pub source: String,
}

/// Settings that are sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The service's own struct.
    pub config: T,
    /// Every setting, for the log and `--check-config`.
    pub effective: Vec<Effective>,
    /// What is allowed and odd.
    pub warnings: Vec<String>,
    /// Every variable that was looked at.
    pub asked: BTreeSet<String>,
    /// Every setting, as the manual has it.
    pub manual: Vec<Setting>,
}

impl<T> Loaded<T> {
    /// Writes the settings and the warnings to the log, once it is set up.
    pub fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        let settings: Vec<_> = self.effective.iter().map(ToString::to_string).collect();
        tracing::info!(settings = settings.join(" "), "Configuration loaded");
    }

    /// Says of each setting that is from a file of variables which file that is.
    pub fn name_files(mut self, origins: &Origins) -> Self {
        for Effective { source, .. } in &mut self.effective {
            if let Some(file) = origins.get(source) {
                *source = format!("{source} in {}", file.display());
            }
        }
        self
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Reads a service's settings. `file` is the command line's; without it [`CONFIG_FILE`] may name
/// one.
pub fn load<T>(
    service: &Service,
    environment: &Environment,
    file: Option<&Path>,
    read: impl FnOnce(&mut Settings<'_>) -> T,
) -> Result<Loaded<T>, ConfigError> {
    let named = environment.get(CONFIG_FILE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let (values, mistakes) = match file.map(Path::to_path_buf).or(named) {
        None => (BTreeMap::new(), Vec::new()),
        Some(path) => file::read(&path, environment),
    };
    let mut settings = Settings::new(service, environment, values, mistakes);
    let config = read(&mut settings);
    let finished = settings.finish()?;
    let Finished { effective, warnings, asked, manual } = finished;
    Ok(Loaded { config, effective, warnings, asked, manual })
}
