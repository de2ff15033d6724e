//! What the service can be told. The comments are the manual.
//!
//! Besides these, every variable of [`CommonConfig`]: `BLOCK_MANAGER_HOST` (127.0.0.1),
//! `BLOCK_MANAGER_PORT` (8086), `LUCID_DATA_DIR` (./lucid-data), `LOG_LEVEL` (INFO), `LOG_FORMAT`
//! (json), `BLOCK_MANAGER_CORS_ORIGINS`, `LUCID_AUTH`. All of them may stand in a YAML file that
//! `LUCID_CONFIG_FILE` names; the environment comes first.

use std::path::PathBuf;
use std::time::Duration;

use lucid_api::address::Address;
use lucid_core::digest::BlockHash;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::sign::Producers;
use lucid_http::Service;
use lucid_http::config::{
    CommonConfig, ConfigError, Environment, Key, Loaded, MongoSettings, Settings, keys, load,
};
use lucid_http::daily::LOOK;
use lucid_store::backend::{Given, MongoAt};
use lucid_store::clock::Clock;
use lucid_store::files::folder::{Expected, Passphrase};
use lucid_store::files::room::Reserve;

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
    /// `LUCID_CHAIN_FOLLOW_URL` (`chain.follow_url`): whom to follow. Without one, the service is the
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
    /// `LUCID_STORE_ID`, or `BLOCK_MANAGER_STORE_ID`: the store that the folder has to hold.
    pub expected: Option<Expected>,
    /// How often it is looked whether a day has passed, and the log is to be told again that no export of the root key
    /// was verified; no setting. Nothing where `lucid up` tells it for both services.
    pub tells_of_export: Option<Duration>,
    /// What tells the time; no setting.
    pub clock: Clock,
}

/// Whom a follower follows, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    /// `LUCID_CHAIN_FOLLOW_URL`.
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
        let about = "[whom to follow](OPERATING.md#following-another-chain)";
        let follow = Key::new("chain.follow_url", "LUCID_CHAIN_FOLLOW_URL", about)
            .otherwise("none: it is the authority of its own chain");
        let peer = settings.service_address(&follow);
        let about =
            "how often a follower asks for new blocks; while blocks are missing, it asks on and on";
        let interval = Key::new("sync.interval_seconds", "SYNC_INTERVAL_SECONDS", about);
        let interval = settings.seconds(&interval, 60.0, 0.01);
        let about = "how long an answer to a follower may take";
        let timeout = Key::new("sync.timeout_seconds", "SYNC_TIMEOUT", about);
        let timeout = settings.seconds(&timeout, 30.0, 0.1);
        let about = "how many bodies a follower asks for at once at most";
        let batch = Key::new("sync.batch_size", "SYNC_BATCH_SIZE", about);
        let batch = settings.within(&batch, 100, 1..=10_000);
        let peer = peer?;
        Some(Self { peer, interval, timeout, batch })
    }
}

/// What the founding documents let an operator choose, and what cannot be chosen here.
fn refuse_what_cannot_be_had(settings: &mut Settings<'_>) {
    let validation = Key::new(
        "blocks.validation_enabled",
        "BLOCK_VALIDATION_ENABLED",
        "only `true`: every block is judged, whichever way it comes in",
    );
    if !settings.flag(&validation, true) {
        settings.refuse(
            "BLOCK_VALIDATION_ENABLED=false: every block is judged by the six rules, whichever way \
             it comes in; unset it",
        );
    }
    let tolerance = Key::new(
        "blocks.timestamp_tolerance_seconds",
        "BLOCK_TIMESTAMP_TOLERANCE_SECONDS",
        "only 3600: it is a constant of the chain",
    );
    let constant = BLOCK_TIME_TOLERANCE_SECONDS;
    let wanted = settings.value(&tolerance, constant);
    if wanted != constant {
        settings.refuse(format!(
            "BLOCK_TIMESTAMP_TOLERANCE_SECONDS={wanted}: it is {constant}, a constant of the chain, \
             or a block would be valid here and not elsewhere; unset it"
        ));
    }
}

fn expected(settings: &mut Settings<'_>) -> Option<Expected> {
    let key = keys::store_id(settings);
    let id = settings.optional_value(&key)?;
    Some(Expected { id, said_by: settings.set_by(&key)? })
}

fn mongo_at(settings: MongoSettings) -> MongoAt {
    let MongoSettings { said_by, url, database, selection, connect, call, pool, idle } = settings;
    let at = MongoAt::new(said_by, url.expose());
    MongoAt { database, selection, connect, call, pool, idle, ..at }
}

impl Config {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Self {
        let common = CommonConfig::read(settings);
        let url = settings.own("url", "URL", "where others reach the service: only shown");
        let interval = Key::new(
            "blocks.interval_seconds",
            "BLOCK_INTERVAL_SECONDS",
            "how long a transaction waits for its block at most",
        );
        let maintenance = Key::new(
            "blocks.maintenance_interval_seconds",
            "CHAIN_MAINTENANCE_INTERVAL",
            "how often the [chain is looked after](OPERATING.md#checking)",
        );
        let keep = Key::new(
            "blocks.keep",
            "MAX_BLOCKS_TO_KEEP",
            "the transactions of so many blocks are kept at least; older ones are \
             [pruned](OPERATING.md#pruning). 0 keeps all",
        );
        let path = Key::new(
            "blocks.path",
            "BLOCK_STORAGE_PATH",
            "where blocks are, also for `lucid` (`--blocks`): an empty folder, or one with this store's blocks, to \
             which `blocks` becomes a symbolic link. Everyone who opens the data folder follows it, so the setting \
             may be left out later; a link that leads nowhere is refused as not mounted. `TIP` stays. Existing \
             blocks are not moved: that is refused, and says how",
        );
        let genesis = Key::new(
            "chain.genesis",
            "LUCID_CHAIN_GENESIS",
            "the hash of the chain's first block: a folder with another chain is refused, and so is an authority \
             that has no blocks yet and would begin another",
        );
        let producer = Key::new(
            "chain.producer_key",
            "LUCID_CHAIN_PRODUCER_KEY",
            "of a follower: the public key, in base64, that signs the chain's blocks: \
             [what it is good for](OPERATING.md#following-another-chain); up to eight with commas between them, for a \
             chain that changed hands. Blocks that another key signed are refused. An authority's own must be among \
             them",
        );
        refuse_what_cannot_be_had(settings);
        // One file of settings is often given to both services.
        let engine = Key::new(
            "engine_url",
            "BLOCKCHAIN_ENGINE_URL",
            "changes nothing here: it says whom a data-chain anchors with",
        );
        let _noted = settings.service_address(&engine);
        Self {
            common,
            url: settings.service_address(&url),
            blocks: settings
                .optional(&path.otherwise("`blocks/` in the folder"))
                .map(PathBuf::from),
            block_interval: settings.seconds(&interval, 10.0, 0.01),
            keep: settings.value(&keep, 0),
            maintenance_interval: settings.seconds(&maintenance, 60.0, 0.01),
            follow: Follow::read(settings),
            genesis: settings.optional_value(&genesis),
            producer: settings.optional_value(&producer).unwrap_or_default(),
            root_key_file: settings.optional(&keys::root_key()).map(PathBuf::from),
            passphrase: settings
                .optional(&keys::passphrase())
                .map(|path| Passphrase::File(path.into())),
            expected: expected(settings),
            tells_of_export: Some(LOOK),
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
            reserve: self.common.reserve_bytes.map_or(Reserve::Usual, Reserve::Bytes),
            root_key_file: self.root_key_file.clone(),
            passphrase: self.passphrase.clone(),
            expected: self.expected.clone(),
            kind: ManagerKind {
                role: Some(match self.follow {
                    Some(_) => Role::Follower,
                    None => Role::Authority,
                }),
                genesis: self.genesis,
                producer: self.producer,
            },
            clock: self.clock.clone(),
            given: Given {
                mongo: self.common.back_ends.mongo.clone().map(mongo_at),
                clock: self.clock.clone(),
                ..Given::default()
            },
            ..Options::default()
        }
    }
}
