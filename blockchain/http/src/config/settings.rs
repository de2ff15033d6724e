//! The reader a service's settings are taken from, one call a setting. Every call returns a
//! usable value; what was wrong is collected and stops the service at the end.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::file::Values;
use lucid_api::address::{Address, STRUCK_OUT, without_credentials};
use lucid_api::client::service_url;

use super::secret::Secret;
use super::{
    ConfigError, Effective, Environment, FAMILIES, Mistake, misspelt_variables, unknown_variables,
};
use crate::Service;
use crate::credentials::SecretSource;

/// Where a value is from that stands in the file.
const FILE: &str = "file";
/// The longest time a setting may give.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// What a setting is called, and what it is for: one name in the file, one or more in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    file: &'static str,
    variables: Vec<String>,
    about: &'static str,
    otherwise: &'static str,
}

/// A setting as the manual has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the file, dotted.
    pub file: &'static str,
    /// Its variables: the first that is set counts.
    pub variables: Vec<String>,
    /// What it is if nothing sets it.
    pub default: String,
    /// What it can be; empty for any text.
    pub allowed: String,
    /// What it is for, in Markdown, with links as from `docs/`.
    pub about: &'static str,
}

impl Key {
    /// `file` is dotted: `log.level`. `about` says what it is for, in the manual: Markdown, with links as from
    /// `docs/`.
    pub fn new(file: &'static str, variable: impl Into<String>, about: &'static str) -> Self {
        Self { file, variables: vec![variable.into()], about, otherwise: "none" }
    }

    /// What holds if nothing sets it, where that is no value.
    pub fn otherwise(mut self, otherwise: &'static str) -> Self {
        self.otherwise = otherwise;
        self
    }

    /// Another variable that means the same, asked after the ones before.
    pub fn or(mut self, variable: impl Into<String>) -> Self {
        self.variables.push(variable.into());
        self
    }

    /// The documented variable, for messages.
    pub fn name(&self) -> &str {
        self.variables.first().map_or(self.file, String::as_str)
    }

    /// The variables that name a file with its value, as the manual has them.
    fn files(&self) -> String {
        let names: Vec<_> = self.variables.iter().map(|name| format!("`{name}_FILE`")).collect();
        names.join(" or ")
    }
}

/// Where settings are taken from.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Whose settings they are.
    pub service: &'a Service,
    environment: &'a Environment,
    file: Values,
    known: BTreeSet<&'static str>,
    asked: BTreeSet<String>,
    effective: Vec<Effective>,
    manual: Vec<Setting>,
    warnings: Vec<String>,
    mistakes: Vec<Mistake>,
}

/// What [`super::Loaded`] says beside the settings.
pub(super) struct Finished {
    pub(super) effective: Vec<Effective>,
    pub(super) warnings: Vec<String>,
    pub(super) asked: BTreeSet<String>,
    pub(super) manual: Vec<Setting>,
}

struct GivenSetting {
    values: Vec<String>,
    source: String,
}

impl<'a> Settings<'a> {
    pub(super) fn new(
        service: &'a Service,
        environment: &'a Environment,
        file: Values,
        mistakes: Vec<Mistake>,
    ) -> Self {
        let (known, asked, effective, manual) = Default::default();
        let mut warnings = unknown_variables(environment, FAMILIES);
        warnings.extend(misspelt_variables(environment));
        Self { service, environment, file, known, asked, effective, manual, warnings, mistakes }
    }

    /// A key of this service's own: `port` and `DATA_CHAIN_PORT`.
    pub fn own(&self, file: &'static str, suffix: &str, about: &'static str) -> Key {
        Key::new(file, format!("{}_{suffix}", self.service.prefix), about)
    }

    /// What sets a value, if anything does: a variable, or the setting's name in the file.
    pub fn set_by(&mut self, key: &Key) -> Option<String> {
        let GivenSetting { source, .. } = self.find(key)?;
        Some(if source == FILE { key.file.to_owned() } else { source })
    }

    /// A text.
    pub fn text(&mut self, key: &Key, default: &str) -> String {
        self.describe(key, default, String::new());
        self.given(key).unwrap_or_else(|| {
            self.show(key, default.to_owned(), "default");
            default.to_owned()
        })
    }

    /// A text that may be absent.
    pub fn optional(&mut self, key: &Key) -> Option<String> {
        self.describe(key, key.otherwise, String::new());
        self.given(key)
    }

    fn given(&mut self, key: &Key) -> Option<String> {
        let found = self.find(key)?;
        let text = found.values.join(",");
        self.show(key, text.clone(), &found.source);
        Some(text)
    }

    /// A value that may be absent, of a type that has one spelling of its own.
    pub fn optional_value<T: FromStr<Err: Display>>(&mut self, key: &Key) -> Option<T> {
        let text = self.optional(key)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid(key, text, Some(error.to_string()));
                None
            }
        }
    }

    /// The address of a service, which may have a password in it.
    pub fn address(&mut self, key: &Key) -> Option<Address> {
        self.describe(key, key.otherwise, "an address".to_owned());
        let found = self.find(key)?;
        let address = Address::from(found.values.join(","));
        self.show(key, address.to_string(), &found.source);
        Some(address)
    }

    /// The address of a service that is spoken to over HTTP: `http://host:port`, without a path.
    pub fn service_address(&mut self, key: &Key) -> Option<Address> {
        let allowed = "an address without a path, like `http://block-manager:8086`";
        self.describe(key, key.otherwise, allowed.to_owned());
        let address = self.address(key)?.bare();
        if service_url(address.expose()).is_err() {
            self.invalid(key, address.to_string(), Some(allowed.replace('`', "")));
        }
        Some(address)
    }

    /// A path.
    pub fn path(&mut self, key: &Key, default: &str) -> PathBuf {
        self.text(key, default).into()
    }

    /// Anything that can be read from a text.
    pub fn value<T>(&mut self, key: &Key, default: T) -> T
    where
        T: FromStr<Err: Display> + Display,
    {
        self.describe(key, &default.to_string(), String::new());
        self.parsed(key, default, |text| {
            text.parse().map_err(|error: T::Err| Some(error.to_string()))
        })
    }

    /// A number between two others.
    pub fn within<T>(&mut self, key: &Key, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: FromStr + Display + PartialOrd,
    {
        let bounds = format!("from {} to {}", allowed.start(), allowed.end());
        self.describe(key, &default.to_string(), bounds.clone());
        self.parsed(key, default, |text| match text.parse() {
            Ok(value) if allowed.contains(&value) => Ok(value),
            _ => Err(Some(bounds)),
        })
    }

    /// Yes or no: `true`, `1`, `yes`, `on`, `enabled`, and their opposites.
    pub fn flag(&mut self, key: &Key, default: bool) -> bool {
        self.describe(key, &default.to_string(), "`true` or `false`".to_owned());
        self.parsed(key, default, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "enabled" => Ok(true),
            "false" | "0" | "no" | "off" | "disabled" => Ok(false),
            _ => Err(Some("true or false".to_owned())),
        })
    }

    /// One of a few words, in any case; the first is the default.
    pub fn choice<T: Copy>(&mut self, key: &Key, first: (&str, T), others: &[(&str, T)]) -> T {
        let words = || std::iter::once(&first).chain(others);
        let listed: Vec<_> = words().map(|(word, _)| format!("`{word}`")).collect();
        self.describe(key, first.0, listed.join(", "));
        let chosen = self.parsed(key, first.0.to_owned(), |text| {
            match words().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
                Some((word, _)) => Ok((*word).to_owned()),
                None => {
                    let words: Vec<_> = words().map(|(word, _)| *word).collect();
                    Err(Some(format!("one of {}", words.join(", "))))
                }
            }
        });
        words().find(|(word, _)| **word == chosen).map_or(first.1, |(_, value)| *value)
    }

    /// A time of at least `least` seconds, with or without a fraction.
    pub fn seconds(&mut self, key: &Key, default: f64, least: f64) -> Duration {
        self.describe(key, &default.to_string(), format!("seconds, at least {least}"));
        Duration::from_secs_f64(self.within(key, default, least..=SECONDS_MAX))
    }

    /// A port. The message for a wrong one is documented, and has no reason in it.
    pub fn port(&mut self, key: &Key, default: u16) -> u16 {
        self.describe(key, &default.to_string(), "a port; 0 takes any that is free".to_owned());
        self.parsed(key, default, |text| text.parse().map_err(|_| None))
    }

    /// A list: separated by commas in the environment, a list in the file. `None` when not set.
    pub fn list(&mut self, key: &Key) -> Option<Vec<String>> {
        self.describe(key, key.otherwise, "several, with commas between them".to_owned());
        let found = self.find(key)?;
        let items: Vec<_> = found
            .values
            .iter()
            .flat_map(|value| value.split(','))
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect();
        self.show(key, items.join(","), &found.source);
        Some(items)
    }

    /// A secret: the setting itself, or the file that `<NAME>_FILE` names, which is read when it is needed.
    pub fn secret(&mut self, key: &Key) -> Option<SecretSource> {
        let or_file = format!("a secret; or {}, a file with it", key.files());
        self.describe(key, key.otherwise, or_file);
        if let Some((variable, source)) = self.secret_file(key)? {
            self.show(key, STRUCK_OUT.to_owned(), &variable);
            return Some(source);
        }
        let found = self.find(key)?;
        self.show(key, STRUCK_OUT.to_owned(), &found.source);
        Some(SecretSource::Text(Secret::new(found.values.concat())))
    }

    /// The address of a service that may have a password in it, and what says so: the setting itself, or the file that
    /// `<NAME>_FILE` names.
    pub fn secret_address(&mut self, key: &Key) -> Option<(Address, String)> {
        let or_file = format!("an address; or {}, a file with it", key.files());
        self.describe(key, key.otherwise, or_file);
        let (text, source) = match self.secret_file(key)? {
            Some((variable, source)) => (source.read().ok()?.expose().to_owned(), variable),
            None => {
                let GivenSetting { values, source } = self.find(key)?;
                (values.join(","), source)
            }
        };
        let address = Address::from(text);
        self.show(key, address.to_string(), &source);
        let said_by = if source == FILE { key.file.to_owned() } else { source };
        Some((address, said_by))
    }

    /// The file that a variable names with a secret, if one does: the variable, and the file. Nothing at all where it
    /// cannot be read, which is noted.
    fn secret_file(&mut self, key: &Key) -> Option<Option<(String, SecretSource)>> {
        for variable in &key.variables {
            let variable = format!("{variable}_FILE");
            self.asked.insert(variable.clone());
            let path = self.environment.get(&variable).filter(|path| !path.is_empty());
            let Some(path) = path.cloned() else { continue };
            self.known.insert(key.file);
            let source = SecretSource::File(path.clone().into());
            return match source.read() {
                Ok(_) => Some(Some((variable, source))),
                Err(error) => {
                    let (value, reason) = (path, Some(error.to_string()));
                    self.mistakes.push(Mistake::Invalid { name: variable, value, reason });
                    None
                }
            };
        }
        Some(None)
    }

    /// Notes that a setting cannot have this value.
    pub fn invalid(&mut self, key: &Key, value: impl Into<String>, reason: Option<String>) {
        let (name, value) = (key.name().to_owned(), without_credentials(&value.into()));
        self.mistakes.push(Mistake::Invalid { name, value, reason });
    }

    /// Notes that settings do not go together.
    pub fn refuse(&mut self, sentence: impl Into<String>) {
        self.mistakes.push(Mistake::Other(sentence.into()));
    }

    /// Notes something that is allowed and odd.
    pub fn warn(&mut self, sentence: impl Into<String>) {
        self.warnings.push(sentence.into());
    }

    /// Puts the setting into the manual. The first that is said of one counts: what is asked for in general terms was
    /// asked for in its own before.
    fn describe(&mut self, key: &Key, default: &str, allowed: String) {
        let is_there = |setting: &Setting| {
            setting.file == key.file && setting.variables.first() == key.variables.first()
        };
        if !self.manual.iter().any(is_there) {
            let Key { file, variables, about, .. } = key.clone();
            let default = default.to_owned();
            self.manual.push(Setting { file, variables, default, allowed, about });
        }
    }

    fn show(&mut self, key: &Key, value: String, source: &str) {
        let (name, source) = (key.name().to_owned(), source.to_owned());
        let value = without_credentials(&value);
        // One that is asked for twice is one setting.
        if !self.effective.iter().any(|shown| shown.name == name) {
            self.effective.push(Effective { name, value, source });
        }
    }

    /// `read` may give a reason with its refusal.
    fn parsed<T: Display>(
        &mut self,
        key: &Key,
        default: T,
        read: impl FnOnce(&str) -> Result<T, Option<String>>,
    ) -> T {
        let Some(found) = self.find(key) else {
            self.show(key, default.to_string(), "default");
            return default;
        };
        let text = found.values.join(",");
        match read(text.trim()) {
            Ok(value) => {
                self.show(key, value.to_string(), &found.source);
                value
            }
            Err(reason) => {
                self.invalid(key, text, reason);
                default
            }
        }
    }

    /// The first variable that is not empty, else the file.
    fn find(&mut self, key: &Key) -> Option<GivenSetting> {
        self.known.insert(key.file);
        self.asked.extend(key.variables.iter().cloned());
        let set = |name: &&String| self.environment.get(*name).is_some_and(|text| !text.is_empty());
        if let Some(name) = key.variables.iter().find(set) {
            let values = self.environment.get(name).cloned().into_iter().collect();
            return Some(GivenSetting { values, source: name.clone() });
        }
        let values = self.file.get(key.file)?.clone()?;
        Some(GivenSetting { values, source: FILE.to_owned() })
    }

    pub(super) fn finish(mut self) -> Result<Finished, ConfigError> {
        for (key, values) in &self.file {
            // A section whose settings are all commented out has no value itself.
            let is_section = || {
                let within = |known: &&str| {
                    known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'))
                };
                values.is_none() && self.known.iter().any(within)
            };
            if !self.known.contains(key.as_str()) && !is_section() {
                let sentence = format!("unknown setting {key} in the configuration file");
                self.mistakes.push(Mistake::Other(sentence));
            }
        }
        match self.mistakes.is_empty() {
            true => {
                let Self { effective, warnings, asked, manual, .. } = self;
                Ok(Finished { effective, warnings, asked, manual })
            }
            false => Err(ConfigError { mistakes: self.mistakes }),
        }
    }
}
