//! `lucid config`: the settings of both services, as they come out and as they can be.

mod manual;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use lucid_http::config::{
    ConfigError, Effective, Environment, Loaded, Origins, process_environment, with_files,
};
use serde::Serialize;

use super::DONE;
use crate::output::Output;

/// Arguments of `lucid config`.
#[derive(Debug, clap::Args)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say what a service would be told, and where each value is from. Secrets are struck out.
    Show(Show),
    /// Print every setting with what it is for: docs/CONFIGURATION.md.
    Manual,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The service; without one, both.
    #[arg(value_name = "SERVICE")]
    service: Option<Service>,
    /// A YAML file with settings; environment variables override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    files: EnvFiles,
}

/// Files with variables, for what heeds the settings of services.
#[derive(Debug, clap::Args)]
pub struct EnvFiles {
    /// A file with a variable a line, which counts where the environment says nothing; of several, the later wins.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

impl EnvFiles {
    /// The environment of the process, with what the files say beside it.
    pub fn environment(&self) -> anyhow::Result<(Environment, Origins)> {
        sound(with_files(process_environment(), &self.env_file))
    }
}

/// The settings of two services, or the mistakes of both: what both say is said once.
pub fn both_sound<T, U>(
    one: Result<Loaded<T>, ConfigError>,
    other: Result<Loaded<U>, ConfigError>,
) -> anyhow::Result<(Loaded<T>, Loaded<U>)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let mut mistakes = one.err().map(|error| error.mistakes).unwrap_or_default();
            let others = other.err().map(|error| error.mistakes).unwrap_or_default();
            let new: Vec<_> = others.into_iter().filter(|it| !mistakes.contains(it)).collect();
            mistakes.extend(new);
            sound(Err(ConfigError { mistakes }))
        }
    }
}

/// All mistakes in one line.
pub fn sound<T>(loaded: Result<T, ConfigError>) -> anyhow::Result<T> {
    loaded.map_err(|ConfigError { mistakes }| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(mistakes.join("; "))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    DataChain,
    BlockManager,
}

/// What came out for one service.
#[derive(Debug, Serialize)]
struct Shown {
    service: &'static str,
    settings: Vec<ShownSetting>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownSetting {
    name: String,
    value: String,
    source: String,
}

impl From<Effective> for ShownSetting {
    fn from(Effective { name, value, source }: Effective) -> Self {
        Self { name, value, source }
    }
}

impl Config {
    /// Shows them.
    pub fn run(&self, output: &Output) -> anyhow::Result<u8> {
        match &self.verb {
            Verb::Show(show) => show.run(output)?,
            Verb::Manual => output.bytes(manual::text()?.as_bytes())?,
        }
        Ok(DONE)
    }
}

impl Show {
    fn run(&self, output: &Output) -> anyhow::Result<()> {
        let (environment, origins) = self.files.environment()?;
        let (file, wanted) =
            (self.config.as_deref(), |one| self.service.is_none_or(|of| of == one));
        let mut shown = Vec::new();
        if wanted(Service::DataChain) {
            let loaded = lucid_data_chain::config::load(&environment, file);
            shown.push(came_out("data-chain", loaded, &origins)?);
        }
        if wanted(Service::BlockManager) {
            let loaded = lucid_block_manager::config::Config::load(&environment, file);
            shown.push(came_out("block-manager", loaded, &origins)?);
        }
        for (service, warning) in by_warning(&shown) {
            output.warn(&format!("{service}: {warning}"));
        }
        for one in &shown {
            output.item(one, |one| {
                let settings = one.settings.iter().map(|setting| {
                    format!("{}={} ({})", setting.name, setting.value, setting.source)
                });
                std::iter::once(format!("# {}", one.service)).chain(settings).collect::<Vec<_>>()
            })?;
        }
        Ok(())
    }
}

fn came_out<T>(
    service: &'static str,
    loaded: Result<Loaded<T>, ConfigError>,
    origins: &Origins,
) -> anyhow::Result<Shown> {
    let loaded = loaded.map_err(|error| {
        let told = sound::<()>(Err(error)).err().map(|why| why.to_string()).unwrap_or_default();
        anyhow::anyhow!("{service}: {told}")
    })?;
    let Loaded { effective, warnings, .. } = loaded.name_files(origins);
    let settings = effective.into_iter().map(ShownSetting::from).collect();
    Ok(Shown { service, settings, warnings })
}

/// Each warning with the services that give it.
fn by_warning(shown: &[Shown]) -> Vec<(String, &str)> {
    let mut services: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in shown {
        for warning in &one.warnings {
            services.entry(warning).or_default().push(one.service);
        }
    }
    services.into_iter().map(|(warning, of)| (of.join(", "), warning)).collect()
}
