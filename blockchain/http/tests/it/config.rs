//! Settings: which source wins, what is refused, and that everything is said at once.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use lucid_http::config::{Auth, CommonConfig, ConfigError, Key, Loaded, Mistake, Settings, load};
use lucid_http::credentials::SecretSource;
use lucid_http::layers::Cors;
use lucid_http::telemetry::{LogFormat, LogLevel};

use crate::server::{SERVICE, settings};

struct Config {
    common: CommonConfig,
    size: u32,
    key: Option<SecretSource>,
    store: String,
}

fn read(settings: &mut Settings<'_>) -> Config {
    Config {
        common: CommonConfig::read(settings),
        size: settings.within(&Key::new("chunks.size", "TEST_SIZE", "how large"), 10, 1..=100),
        key: settings.secret(&Key::new("key", "TEST_KEY", "a key")),
        store: settings.text(&Key::new("store", "STORE_URL", "a store").or("STORE_URI"), "none"),
    }
}

fn load_from(file: Option<&str>, pairs: &[(&str, &str)]) -> Result<Loaded<Config>, ConfigError> {
    let Some(text) = file else { return load(&SERVICE, &settings(pairs), None, read) };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(&SERVICE, &settings(pairs), Some(file.path()), read)
}

fn mistakes(file: Option<&str>, pairs: &[(&str, &str)]) -> String {
    load_from(file, pairs).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn defaults_are_enough() {
    let Loaded { config, warnings, .. } = load_from(None, &[]).unwrap();
    assert_eq!(config.common.bind, "127.0.0.1:8099".parse().unwrap());
    assert_eq!(config.common.data_dir, Path::new("./lucid-data/test"));
    assert_eq!(config.common.log.level, LogLevel::Info);
    assert_eq!(config.common.log.format, LogFormat::Json);
    assert_eq!(config.common.cors, Cors::Nobody);
    assert_eq!(config.common.auth, Auth::Local);
    assert_eq!(config.common.outbound.timeout, Duration::from_secs(30));
    assert_eq!((config.size, config.store.as_str()), (10, "none"));
    assert!(config.key.is_none() && warnings.is_empty());
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let file = "port: ${PORT:-7000}\nlog:\n  level: debug\nchunks: { size: 20 }\ncors_origins: [http://a, http://b]\nstore: ${STORE}\n";
    let pairs = [("TEST_SIZE", "30"), ("STORE", "s3"), ("STORE_URI", ""), ("LOG_FORMAT", "text")];
    let config = load_from(Some(file), &pairs).unwrap().config;
    assert_eq!(config.common.bind.port(), 7000);
    assert_eq!(config.common.log.level, LogLevel::Debug);
    assert_eq!(config.common.log.format, LogFormat::Text);
    assert_eq!((config.size, config.store.as_str()), (30, "s3"));
    assert!(matches!(config.common.cors, Cors::Origins(origins) if origins.len() == 2));
}

#[test]
fn the_first_variable_that_is_not_empty_counts() {
    let store = |pairs: &[(&str, &str)]| load_from(None, pairs).unwrap().config.store;
    assert_eq!(store(&[("STORE_URL", ""), ("STORE_URI", "b")]), "b");
    assert_eq!(store(&[("STORE_URL", "a"), ("STORE_URI", "b")]), "a");
}

#[test]
fn a_wrong_port_has_the_documented_message() {
    for wrong in ["abc", "70000", "-1", "80.5"] {
        let message = mistakes(None, &[("TEST_PORT", wrong)]);
        assert_eq!(message, format!("ERROR: Invalid TEST_PORT value: {wrong}"));
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let file = "colour: red\nlog: { level: loud, tint: blue }\nstore: ${UNSET}\n";
    let pairs = [
        ("TEST_PORT", "x"),
        ("TEST_SIZE", "101"),
        ("TEST_KEY_FILE", "/nowhere"),
        ("TEST_HOST", "::"),
    ];
    let said = mistakes(Some(file), &pairs);
    for part in [
        "store: variable UNSET is not set",
        "ERROR: Invalid TEST_PORT value: x",
        "ERROR: Invalid TEST_SIZE value: 101 (from 1 to 100)",
        "ERROR: Invalid TEST_KEY_FILE value: /nowhere",
        "ERROR: Invalid LOG_LEVEL value: loud (one of INFO,",
        "unknown setting colour",
        "unknown setting log.tint",
        "set LUCID_AUTH=off",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert_eq!(said.lines().count(), 8, "{said}");
}

#[test]
fn an_unknown_key_is_refused_by_name_whatever_it_is_given() {
    for (file, name) in [
        ("? colour\n", "colour"),
        ("colour:\n", "colour"),
        ("colour: ~\n", "colour"),
        ("colour: {}\n", "colour"),
        ("colour: []\n", "colour"),
        ("colour:\n  tint:\n", "colour.tint"),
        ("log:\n  tint:\n", "log.tint"),
        ("log:\n  ? tint\n", "log.tint"),
        ("log:\n  level: info\nlogs:\n", "logs"),
        ("log:\n  level:\n    deep:\n", "log.level.deep"),
    ] {
        let said = mistakes(Some(file), &[]);
        assert_eq!(
            said,
            format!("ERROR: unknown setting {name} in the configuration file"),
            "{file}"
        );
    }
    // What is known and has no value is not set; neither is a section with everything commented out.
    for file in
        ["port:\nlog:\n  level: ~\n", "? port\n? log\nchunks: {}\n", "log:\n  # level: info\n"]
    {
        let config = load_from(Some(file), &[]).unwrap().config;
        assert_eq!((config.common.bind.port(), config.common.log.level), (8099, LogLevel::Info));
        assert_eq!(config.size, 10, "{file}");
    }
}

#[test]
fn files_that_are_none_are_named() {
    for wrong in ["port: [", "just text", "port: 1\nport: 2"] {
        assert!(mistakes(Some(wrong), &[]).contains("configuration file"), "{wrong}");
    }
    let missing = load(&SERVICE, &settings(&[("LUCID_CONFIG_FILE", "/nowhere")]), None, read);
    assert!(matches!(&missing.map(|_| ()).unwrap_err().mistakes[..], [Mistake::Other(_)]));
    assert!(load_from(Some("# nothing but this\n"), &[]).is_ok());
}

#[test]
fn without_credentials_only_this_machine_is_served() {
    let bind = |pairs: &[(&str, &str)]| {
        load_from(None, pairs).map(|loaded| loaded.config.common.bind.ip().to_string())
    };
    assert_eq!(bind(&[("TEST_HOST", "::1")]).unwrap(), "::1");
    assert_eq!(bind(&[("TEST_HOST", "localhost")]).unwrap(), "127.0.0.1");
    assert!(bind(&[("TEST_HOST", "0.0.0.0")]).is_err());
    assert!(bind(&[("TEST_HOST", "10.0.0.1")]).is_err());
    assert_eq!(bind(&[("TEST_HOST", "10.0.0.1"), ("LUCID_AUTH", "off")]).unwrap(), "10.0.0.1");
    assert!(bind(&[("LUCID_AUTH", "on")]).is_err());
}

#[test]
fn a_host_name_binds_every_address_and_is_warned_of() {
    assert!(load_from(None, &[("TEST_HOST", "block-manager")]).is_err());
    let loaded = load_from(None, &[("TEST_HOST", "block-manager"), ("LUCID_AUTH", "off")]).unwrap();
    assert_eq!(loaded.config.common.bind, "0.0.0.0:8099".parse().unwrap());
    assert!(loaded.warnings[0].contains("block-manager"));
}

#[test]
fn no_mistake_and_no_setting_shows_a_password() {
    let address = "http://ann:hunter2@h:1";
    let loaded = load_from(None, &[("STORE_URL", address)]).unwrap();
    let shown: Vec<_> = loaded.effective.iter().map(ToString::to_string).collect();
    assert!(shown.contains(&"STORE_URL=http://***@h:1".to_owned()), "{shown:?}");
    for name in ["TEST_SIZE", "TEST_PORT", "TEST_CORS_ORIGINS", "LUCID_ALLOWED_HOSTS", "LOG_LEVEL"]
    {
        let said = mistakes(None, &[(name, address)]);
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
    // Nor does a file show its lines where it cannot be read.
    for wrong in ["key: hunter2\nport: [", "key: [hunter2", "key: \"hunter2"] {
        let said = mistakes(Some(wrong), &[]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hush\n").unwrap();
    let path = file.path().to_str().unwrap();
    for pairs in [[("TEST_KEY_FILE", path)], [("TEST_KEY", "hush")]] {
        let pairs = [&pairs[..], &[("STORE_URL", "mongodb://u:hush@h/db")]].concat();
        let loaded = load_from(None, &pairs).unwrap();
        assert_eq!(loaded.config.key.as_ref().unwrap().read().unwrap().expose(), "hush");
        assert_eq!(loaded.config.store, "mongodb://u:hush@h/db");
        let shown = format!("{:?} {:?}", loaded.effective, loaded.config.key);
        assert!(!shown.contains("hush"), "{shown}");
    }
}
