//! What the service can be told. The comments are the manual.
//!
//! Besides these, every variable of [`CommonConfig`]: `BLOCK_MANAGER_HOST` (127.0.0.1),
//! `BLOCK_MANAGER_PORT` (8086), `LUCID_DATA_DIR` (./lucid-data), `LOG_LEVEL` (INFO), `LOG_FORMAT`
//! (json), `BLOCK_MANAGER_CORS_ORIGINS`, `LUCID_AUTH`. All of them may stand in a YAML file that
//! `LUCID_CONFIG_FILE` names; the environment comes first.

use std::path::PathBuf;
use std::time::Duration;

use lucid_api::address::Address;
use lucid_api::client::service_url;
use lucid_core::digest::BlockHash;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::sign::Producers;
use lucid_http::Service;
use lucid_http::config::{CommonConfig, ConfigError, Environment, Key, Loaded, Settings, load};
use lucid_store::clock::Clock;
use lucid_store::files::folder::Passphrase;

use crate::fact::Role;
use crate::opened::{ManagerKind, Options};

/// What the service is called.
pub const SERVICE: &Service = &Service {
    name: "lucid-block-manager",
    title: "Lucid Block Manager Service",
    prefix: "BLOCK_MANAGER",
    port: 8086,
    version: env!("CARGO_PKG_VERSION"),
    about: "Keeps one chain. As its authority it takes transactions in and makes signed blocks of them; as a \
        follower it brings the blocks of another one here. It judges and serves blocks.",
    endpoints: &["/api/v1/blocks", "/api/v1/chain", "/api/v1/validation"],
};

/// The settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every service has.
    pub common: CommonConfig,
    /// `BLOCK_MANAGER_URL` (`url`): where others reach the service. Only shown, never bound.
    pub url: Option<Address>,
    /// `BLOCK_STORAGE_PATH` (`blocks.path`): where the blocks are, if not in `blocks/` of the data
    /// folder. `TIP` stays in the data folder.
    pub blocks: Option<PathBuf>,
    /// `BLOCK_INTERVAL_SECONDS` (`blocks.interval_seconds`): how long submitted transactions wait
    /// for their block at most. Default 10.
    pub block_interval: Duration,
    /// `MAX_BLOCKS_TO_KEEP` (`blocks.keep`): the transactions of so many blocks are kept at least, and
    /// those of older ones are pruned. Default 0: all are kept. What is kept of a block for ever stays.
    pub keep: u64,
    /// `CHAIN_MAINTENANCE_INTERVAL` (`blocks.maintenance_interval_seconds`): how often the chain is
    /// looked after. Default 60.
    pub maintenance_interval: Duration,
    /// `BLOCKCHAIN_ENGINE_URL` (`engine_url`): whom to follow. Without one, the service is the
    /// authority of its own chain.
    pub follow: Option<Follow>,
    /// `LUCID_CHAIN_GENESIS` (`chain.genesis`): the hash of the only chain that may be kept.
    pub genesis: Option<BlockHash>,
    /// `LUCID_CHAIN_PRODUCER_KEY` (`chain.producer_key`): the public key, in base64, that signs the
    /// blocks of the chain that is followed. Blocks that it signed are final at once, and blocks that
    /// another key signed are refused.
    pub producer: Producers,
    /// `LUCID_MASTER_KEY_FILE` (`master_key_file`): a file with the root key, instead of the one in
    /// the data folder. A new store takes it, an older one must have been made under it.
    pub root_key_file: Option<PathBuf>,
    /// `LUCID_PASSPHRASE_FILE` (`passphrase_file`): a file with the passphrase, for a store whose keys
    /// are wrapped under one.
    pub passphrase: Option<Passphrase>,
    /// What tells the time; no setting.
    pub clock: Clock,
}

/// Whom a follower follows, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    /// `BLOCKCHAIN_ENGINE_URL`.
    pub peer: Address,
    /// `SYNC_INTERVAL_SECONDS` (`sync.interval_seconds`): how often it is asked for new blocks.
    /// Default 60; while blocks are missing, it is asked on and on.
    pub interval: Duration,
    /// `SYNC_TIMEOUT` (`sync.timeout_seconds`): for each answer. Default 30.
    pub timeout: Duration,
    /// `SYNC_BATCH_SIZE` (`sync.batch_size`): bodies that are asked for in one request at most. Default 100.
    pub batch: u32,
}

impl Follow {
    fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let engine = Key::new("engine_url", "BLOCKCHAIN_ENGINE_URL");
        let peer = settings.address(&engine);
        let interval = Key::new("sync.interval_seconds", "SYNC_INTERVAL_SECONDS");
        let interval = settings.seconds(&interval, 60.0, 0.01);
        let timeout =
            settings.seconds(&Key::new("sync.timeout_seconds", "SYNC_TIMEOUT"), 30.0, 0.1);
        let batch =
            settings.within(&Key::new("sync.batch_size", "SYNC_BATCH_SIZE"), 100, 1..=10_000);
        let peer = peer?;
        // A mistake in it is said before anything is opened.
        if let Err(error) = service_url(peer.expose()) {
            settings.invalid(&engine, peer.to_string(), Some(error.to_string()));
        }
        Some(Self { peer, interval, timeout, batch })
    }
}

/// What the founding documents let an operator choose, and what cannot be chosen here.
fn refuse_what_cannot_be_had(settings: &mut Settings<'_>) {
    let validation = Key::new("blocks.validation_enabled", "BLOCK_VALIDATION_ENABLED");
    if !settings.flag(&validation, true) {
        settings.refuse(
            "BLOCK_VALIDATION_ENABLED=false: every block is judged by the six rules, whichever way \
             it comes in; unset it",
        );
    }
    let tolerance =
        Key::new("blocks.timestamp_tolerance_seconds", "BLOCK_TIMESTAMP_TOLERANCE_SECONDS");
    let constant = BLOCK_TIME_TOLERANCE_SECONDS;
    let wanted = settings.value(&tolerance, constant);
    if wanted != constant {
        settings.refuse(format!(
            "BLOCK_TIMESTAMP_TOLERANCE_SECONDS={wanted}: it is {constant}, a constant of the chain, \
             or a block would be valid here and not elsewhere; unset it"
        ));
    }
}

impl Config {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Self {
        let common = CommonConfig::read(settings);
        let url = settings.own("url", "URL");
        let interval = Key::new("blocks.interval_seconds", "BLOCK_INTERVAL_SECONDS");
        let maintenance =
            Key::new("blocks.maintenance_interval_seconds", "CHAIN_MAINTENANCE_INTERVAL");
        refuse_what_cannot_be_had(settings);
        Self {
            common,
            url: settings.address(&url),
            blocks: settings
                .optional(&Key::new("blocks.path", "BLOCK_STORAGE_PATH"))
                .map(PathBuf::from),
            block_interval: settings.seconds(&interval, 10.0, 0.01),
            keep: settings.value(&Key::new("blocks.keep", "MAX_BLOCKS_TO_KEEP"), 0),
            maintenance_interval: settings.seconds(&maintenance, 60.0, 0.01),
            follow: Follow::read(settings),
            genesis: settings.optional_value(&Key::new("chain.genesis", "LUCID_CHAIN_GENESIS")),
            producer: settings
                .optional_value(&Key::new("chain.producer_key", "LUCID_CHAIN_PRODUCER_KEY"))
                .unwrap_or_default(),
            root_key_file: settings
                .optional(&Key::new("master_key_file", "LUCID_MASTER_KEY_FILE"))
                .map(PathBuf::from),
            passphrase: settings
                .optional(&Key::new("passphrase_file", "LUCID_PASSPHRASE_FILE"))
                .map(|path| Passphrase::File(path.into())),
            clock: Clock::system(),
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
            kind: ManagerKind {
                role: Some(match self.follow {
                    Some(_) => Role::Follower,
                    None => Role::Authority,
                }),
                genesis: self.genesis,
                producer: self.producer,
            },
            clock: self.clock.clone(),
            ..Options::default()
        }
    }
}
