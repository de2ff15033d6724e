//! What the service can be told. The comments are the manual.
//!
//! Besides these, every variable of [`CommonConfig`]: `BLOCK_MANAGER_HOST` (127.0.0.1),
//! `BLOCK_MANAGER_PORT` (8086), `LUCID_DATA_DIR` (./lucid-data), `LOG_LEVEL` (INFO), `LOG_FORMAT`
//! (json), `BLOCK_MANAGER_CORS_ORIGINS`, `LUCID_AUTH`. All of them may stand in a YAML file that
//! `LUCID_CONFIG_FILE` names; the environment comes first.

use std::path::PathBuf;
use std::time::Duration;

use lucid_http::Service;
use lucid_http::config::{CommonConfig, ConfigError, Environment, Key, Loaded, Settings, load};
use lucid_store::folder::Passphrase;

use crate::state::Options;

/// What the service is called.
pub const SERVICE: &Service = &Service {
    name: "lucid-block-manager",
    title: "Lucid Block Manager Service",
    prefix: "BLOCK_MANAGER",
    port: 8086,
    version: env!("CARGO_PKG_VERSION"),
    endpoints: &["/api/v1/blocks", "/api/v1/chain", "/api/v1/validation"],
};

/// The settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every service has.
    pub common: CommonConfig,
    /// `BLOCK_MANAGER_URL` (`url`): where others reach the service. Only shown, never bound.
    pub url: Option<String>,
    /// `BLOCK_STORAGE_PATH` (`blocks.path`): where the blocks are, if not in `blocks/` of the data
    /// folder. The chain's lock stays in the data folder.
    pub blocks: Option<PathBuf>,
    /// `BLOCK_INTERVAL_SECONDS` (`blocks.interval_seconds`): how long submitted transactions wait
    /// for their block at most. Default 10.
    pub block_interval: Duration,
    /// `LUCID_MASTER_KEY_FILE` (`master_key_file`): a file with the root key, instead of the one in
    /// the data folder. A new store takes it, an older one must have been made under it.
    pub root_key_file: Option<PathBuf>,
    /// `LUCID_PASSPHRASE_FILE` (`passphrase_file`): a file with the passphrase, for a store whose keys
    /// are wrapped under one.
    pub passphrase: Option<Passphrase>,
}

impl Config {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Self {
        let common = CommonConfig::read(settings);
        let url = settings.own("url", "URL");
        let interval = Key::new("blocks.interval_seconds", "BLOCK_INTERVAL_SECONDS");
        let engine = Key::new("engine_url", "BLOCKCHAIN_ENGINE_URL");
        if settings.optional(&engine).is_some() {
            settings.refuse(
                "BLOCKCHAIN_ENGINE_URL asks for a follower of that engine, and this version is \
                 always the authority of its own chain: unset it",
            );
        }
        Self {
            common,
            url: settings.optional(&url),
            blocks: settings
                .optional(&Key::new("blocks.path", "BLOCK_STORAGE_PATH"))
                .map(PathBuf::from),
            block_interval: settings.seconds(&interval, 10.0, 0.01),
            root_key_file: settings
                .optional(&Key::new("master_key_file", "LUCID_MASTER_KEY_FILE"))
                .map(PathBuf::from),
            passphrase: settings
                .optional(&Key::new("passphrase_file", "LUCID_PASSPHRASE_FILE"))
                .map(|path| Passphrase::File(path.into())),
        }
    }

    /// Reads them from an environment, and the file it may name.
    pub fn load(
        environment: &Environment,
        file: Option<&std::path::Path>,
    ) -> Result<Loaded<Self>, ConfigError> {
        load(SERVICE, environment, file, Self::read)
    }

    /// How the data folder is opened.
    pub fn options(&self) -> Options {
        Options {
            owner: format!("{} on http://{}", SERVICE.name, self.common.bind),
            blocks: self.blocks.clone(),
            root_key_file: self.root_key_file.clone(),
            passphrase: self.passphrase.clone(),
            ..Options::default()
        }
    }
}
