//! What a data-chain can be told: defaults, then a YAML file, then the environment.
//!
//! `main` and `lucid up` load it. Every field is a documented variable; nothing else in this crate
//! reads the environment.

mod chunks;
mod given;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_api::address::Address;
use lucid_http::Service;
use lucid_http::config::{CommonConfig, ConfigError, Environment, Key, Loaded, Settings, keys};
use lucid_http::daily::LOOK;
use lucid_store::clock::Clock;
use lucid_store::files::folder::{Expected, Passphrase};

use crate::ops::documents::sync_documents::ChainPins;
use crate::ops::upkeep::expire_sessions::KEEP_DAYS_MAX;
use crate::read_log::witness::Recording;
pub use chunks::{ChunkSettings, Scrub, Split};
pub use given::given;

/// What the service is called.
pub const SERVICE: &Service = &Service {
    name: "lucid-data-chain",
    title: "Lucid Data Chain Service",
    prefix: "DATA_CHAIN",
    port: 8087,
    version: env!("CARGO_PKG_VERSION"),
    about: "Keeps what is recorded as sessions: deduplicated, compressed, encrypted, anchored in a chain, and \
        provable without the service. What a reply says was kept is durable before it is sent. Every route \
        below `/api/v1` is also served below `/api/v1/data-chain`.",
    endpoints: &[
        "/api/v1/data",
        "/api/v1/index",
        "/api/v1/query",
        "/api/v1/storage",
        "/api/v1/sessions",
        "/api/v1/chunks",
        "/api/v1/merkle",
        "/api/v1/verify",
        "/api/v1/status",
    ],
};

/// After so many seconds of silence a live stream counts as unterminated, if nothing else is said.
pub const SESSION_TIMEOUT_SECONDS: f64 = 3_600.0;

/// The settings of one data-chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What every service has: `DATA_CHAIN_HOST` and `DATA_CHAIN_PORT` (8087), `LUCID_DATA_DIR`,
    /// `LOG_LEVEL`, `LOG_FORMAT`, `DATA_CHAIN_CORS_ORIGINS`, `SERVICE_*`, `LUCID_AUTH`.
    pub common: CommonConfig,
    /// How chunks are cut, kept, checked and collected.
    pub chunks: ChunkSettings,
    /// `LUCID_MASTER_KEY_FILE`: the root key, instead of the one that the first start makes in the
    /// data folder.
    pub root_key_file: Option<PathBuf>,
    /// `LUCID_PASSPHRASE_FILE`: a file with the passphrase, for a store whose keys are wrapped under
    /// one.
    pub passphrase: Option<Passphrase>,
    /// `LUCID_STORE_ID`, or `DATA_CHAIN_STORE_ID`: the store that the folder has to hold.
    pub expected: Option<Expected>,
    /// `DATA_CHAIN_SESSION_TIMEOUT_SECONDS`: how long a live stream may be silent before it counts as
    /// unterminated. It can still go on, or be sealed as such.
    pub session_timeout: Duration,
    /// `BLOCK_MANAGER_URL`, else `BLOCKCHAIN_ENGINE_URL`: who anchors sessions. Without one,
    /// anchoring is disabled.
    pub engine: Option<Address>,
    /// Whether it is `BLOCKCHAIN_ENGINE_URL` that names it, so that it may be an engine of another kind: one that
    /// `BLOCK_MANAGER_URL` names has to be a block-manager.
    pub may_be_foreign: bool,
    /// `DATA_CHAIN_KEEP_DAYS`: sealed sessions that ended over so many days ago are removed when garbage
    /// is collected, each leaving a tombstone. 0 keeps them for ever.
    pub keep_days: u32,
    /// `LUCID_READ_LOG`: whether requests are noted in the read log: `on`, `off`, or, without it, where callers have
    /// to show who they are.
    pub read_log: Recording,
    /// `LUCID_READ_LOG_KEEP_DAYS`: sessions of the read log that were anchored over so many days ago are removed when
    /// garbage is collected. 0 keeps them for ever.
    pub keep_log_days: u32,
    /// `DATA_SYNC_INTERVAL`: how often the block-manager is asked for blocks that are not here as documents.
    pub sync_interval: Duration,
    /// `LUCID_CHAIN_GENESIS`, `LUCID_CHAIN_PRODUCER_KEY`: what its chain has to be.
    pub pins: ChainPins,
    /// `INDEXING_BATCH_SIZE`: how many items are indexed together.
    pub indexing_batch: usize,
    /// `QUERY_CACHE_SIZE`: how many answers of queries are kept until something is stored; 0 keeps none.
    pub query_cache_size: u64,
    /// How often it is looked whether a day has passed, and the log is to be told again that no export of the root key
    /// was verified; no setting. Nothing where `lucid up` tells it for both services.
    pub tells_of_export: Option<Duration>,
    /// Who runs the service: told to a process that finds the data folder locked.
    pub owner: String,
    /// What tells the time; no setting.
    pub clock: Clock,
}

/// Loads the settings.
pub fn load(environment: &Environment, file: Option<&Path>) -> Result<Loaded<Config>, ConfigError> {
    lucid_http::config::load(SERVICE, environment, file, read)
}

fn read(settings: &mut Settings<'_>) -> Config {
    let timeout = settings.own(
        "session_timeout_seconds",
        "SESSION_TIMEOUT_SECONDS",
        "after so much silence a live stream is shown as `unterminated`; it may still go on, or be sealed as such. \
         `lucid` on a folder uses the default",
    );
    Config {
        common: CommonConfig::read(settings),
        chunks: chunks::read(settings),
        root_key_file: settings.optional(&keys::root_key()).map(PathBuf::from),
        passphrase: settings
            .optional(&keys::passphrase())
            .map(|path| Passphrase::File(path.into())),
        expected: expected(settings),
        session_timeout: settings.seconds(&timeout, SESSION_TIMEOUT_SECONDS, 1.0),
        engine: settings.service_address(&engine()),
        may_be_foreign: settings.set_by(&engine()).is_some_and(|by| by == ENGINE_URL),
        keep_days: keep_days(settings),
        read_log: read_log(settings),
        keep_log_days: settings.within(
            &Key::new(
                "read_log.keep_days",
                "LUCID_READ_LOG_KEEP_DAYS",
                "sessions of the read log that were anchored over so many days ago, by the chain, are removed when \
                 garbage is collected; 0 keeps them for ever",
            ),
            0,
            0..=KEEP_DAYS_MAX,
        ),
        sync_interval: settings.seconds(
            &Key::new(
                "sync.interval_seconds",
                "DATA_SYNC_INTERVAL",
                "how long it is between two looks for blocks of the block-manager that are not here as documents; \
                 up to 16 times as long while it is no use",
            ),
            30.0,
            0.01,
        ),
        pins: ChainPins {
            genesis: settings.optional_value(&Key::new(
                "chain.genesis",
                "LUCID_CHAIN_GENESIS",
                "the hash of the first block of the chain whose blocks are taken in as documents: no others are",
            )),
            producer: settings
                .optional_value(&Key::new(
                    "chain.producer_key",
                    "LUCID_CHAIN_PRODUCER_KEY",
                    "the public keys, in base64, that sign that chain's blocks; up to eight with commas between them",
                ))
                .unwrap_or_default(),
        },
        indexing_batch: settings.within(
            &Key::new(
                "indexing.batch_size",
                "INDEXING_BATCH_SIZE",
                "items of the index's queue that are indexed together",
            ),
            1_000,
            1..=10_000,
        ),
        query_cache_size: settings.within(
            &Key::new(
                "query.cache_size",
                "QUERY_CACHE_SIZE",
                "answers of queries that are kept until something is stored, up to 32 MiB together; 0 keeps none",
            ),
            10_000,
            0..=1_000_000,
        ),
        tells_of_export: Some(LOOK),
        owner: SERVICE.name.to_owned(),
        clock: Clock::system(),
    }
}

fn expected(settings: &mut Settings<'_>) -> Option<Expected> {
    let key = keys::store_id(settings);
    let id = settings.optional_value(&key)?;
    Some(Expected { id, said_by: settings.set_by(&key)? })
}

fn keep_days(settings: &mut Settings<'_>) -> u32 {
    let key = settings.own(
        "keep_days",
        "KEEP_DAYS",
        "sessions that were anchored over so many days ago, by the chain, are removed \
         [when garbage is collected](OPERATING.md#giving-back-room), but for those that are held or \
         [kept until a later time](OPERATING.md#keeping-sessions-until-a-time); 0 keeps them for ever",
    );
    settings.within(&key, 0, 0..=KEEP_DAYS_MAX)
}

fn read_log(settings: &mut Settings<'_>) -> Recording {
    let key = Key::new(
        "read_log.enabled",
        "LUCID_READ_LOG",
        "whether [the read log](ACCESS.md#the-read-log) is kept: `on` or `off`",
    )
    .otherwise("`on` where credentials are asked for");
    match settings.optional(&key) {
        None => Recording::OfKnown,
        Some(_) if settings.flag(&key, true) => Recording::Always,
        Some(_) => {
            settings
                .warn("LUCID_READ_LOG is off: nobody can tell later what was read, and by whom");
            Recording::Never
        }
    }
}

/// Names an engine that need not be a block-manager.
const ENGINE_URL: &str = "BLOCKCHAIN_ENGINE_URL";

/// Who anchors.
fn engine() -> Key {
    let about = "who anchors, and whose blocks are taken in as [documents](API.md#documents), all that it has. \
                 `BLOCKCHAIN_ENGINE_URL` may name [an engine of another kind](OPERATING.md#engines-of-another-kind), too";
    Key::new("block_manager_url", "BLOCK_MANAGER_URL", about)
        .or(ENGINE_URL)
        .otherwise("none: nothing is anchored")
}

#[cfg(test)]
mod tests {
    use lucid_store::codec::Compression;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = load(&environment(&[]), None).unwrap().config;
        assert_eq!(config.common.bind, "127.0.0.1:8087".parse().unwrap());
        assert_eq!(config.common.data_dir, Path::new("./lucid-data/data-chain"));
        assert_eq!(config.chunks.profile.average(), 1_048_576);
        assert_eq!(config.chunks.compression, Compression::Adaptive);
        assert!(config.chunks.encrypt && config.engine.is_none() && config.root_key_file.is_none());
        assert_eq!(config.session_timeout, Duration::from_secs(3_600));
    }

    #[test]
    fn documented_variables_are_read() {
        let config = load(
            &environment(&[
                ("DATA_CHAIN_PORT", "9000"),
                ("LUCID_DATA_DIR", "/app/data"),
                ("DATA_CHAIN_CHUNK_SIZE_BYTES", "262144"),
                ("DATA_CHAIN_COMPRESSION_ALGORITHM", "lz4"),
                ("DATA_CHAIN_ENCRYPTION_ENABLED", "false"),
                ("DATA_CHAIN_SESSION_TIMEOUT_SECONDS", "90"),
                ("LUCID_MASTER_KEY_FILE", "/run/secrets/key"),
                ("BLOCKCHAIN_ENGINE_URL", "http://engine:8084/"),
            ]),
            None,
        )
        .unwrap()
        .config;
        assert_eq!(config.common.bind.port(), 9000);
        assert_eq!(config.common.data_dir, Path::new("/app/data"));
        assert_eq!(config.chunks.profile.average(), 262_144);
        assert_eq!(config.chunks.compression, Compression::Lz4);
        assert!(!config.chunks.encrypt);
        assert_eq!(config.session_timeout, Duration::from_secs(90));
        assert_eq!(config.root_key_file.as_deref(), Some(Path::new("/run/secrets/key")));
        assert_eq!(config.engine, Some("http://engine:8084".into()));
        assert!(config.may_be_foreign);
    }

    #[test]
    fn every_mistake_is_named() {
        let error = load(
            &environment(&[
                ("DATA_CHAIN_PORT", "x"),
                ("DATA_CHAIN_CHUNK_SIZE_BYTES", "100000"),
                ("DATA_CHAIN_COMPRESSION_ALGORITHM", "rar"),
                ("BLOCK_MANAGER_URL", "block-manager:8086"),
            ]),
            None,
        )
        .unwrap_err()
        .to_string();
        for name in [
            "Invalid DATA_CHAIN_PORT value: x",
            "Invalid DATA_CHAIN_CHUNK_SIZE_BYTES value: 100000",
            "Invalid DATA_CHAIN_COMPRESSION_ALGORITHM value: rar",
            "Invalid BLOCK_MANAGER_URL value: block-manager:8086",
        ] {
            assert!(error.contains(name), "{error}");
        }
    }
}
