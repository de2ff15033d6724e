//! `lucid config show` and `--env-file`: what a service would be told, and where that is from.

use std::fs;

use lucid_http::config::{ConfigError, Environment, Setting};
use serde_json::Value;

use super::home::Home;

/// Where the value of a setting is from, and the value.
fn of(shown: &Value, name: &str) -> (String, String) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("value"), text("source"))
}

#[test]
fn each_value_is_shown_with_where_it_is_from_and_secrets_are_struck_out() {
    let home = Home::new();
    let (secrets, core, yaml) = (home.at("secrets"), home.at("core"), home.at("settings.yaml"));
    fs::write(&secrets, "LUCID_PEER_TOKEN='hunter2'\nDATA_CHAIN_PORT=9001\n").unwrap();
    fs::write(
        &core,
        "DATA_CHAIN_PORT=${PORT:-9002}\nBLOCK_MANAGER_HOST=block-manager\nLUCID_AUTH=off\n",
    )
    .unwrap();
    fs::write(&yaml, "log: { level: debug }\n").unwrap();
    let files: [&dyn AsRef<std::ffi::OsStr>; 6] =
        [&"--env-file", &secrets, &"--env-file", &core, &"--config", &yaml];
    let both = home.done(&[&[&"--json" as &dyn AsRef<_>, &"config", &"show"], &files[..]].concat());
    let shown: Vec<Value> =
        both.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [data, chain] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(
        (&data["service"], &chain["service"]),
        (&"data-chain".into(), &"block-manager".into())
    );
    for service in [data, chain] {
        let names = service["settings"].as_array().unwrap().iter().map(|it| it["name"].to_string());
        let mut names: Vec<_> = names.collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "each is shown once");
    }
    let from = |file: &std::path::Path| format!("in {}", file.display());
    assert_eq!(
        of(data, "DATA_CHAIN_PORT"),
        ("9002".to_owned(), format!("DATA_CHAIN_PORT {}", from(&core)))
    );
    assert_eq!(of(data, "LOG_LEVEL"), ("DEBUG".to_owned(), "file".to_owned()));
    assert_eq!(of(data, "LOG_FORMAT"), ("json".to_owned(), "default".to_owned()));
    assert_eq!(of(data, "LUCID_PEER_TOKEN").0, "***");
    assert!(chain["warnings"][0].as_str().unwrap().contains("binding 0.0.0.0"), "{chain}");
    assert!(!both.text().contains("hunter2"));
    let one =
        home.done(&[&[&"config" as &dyn AsRef<_>, &"show", &"data-chain"], &files[..]].concat());
    let text = one.text();
    assert!(text.starts_with("# data-chain\n") && !text.contains("# block-manager"), "{text}");
    assert!(text.contains("LUCID_PEER_TOKEN=*** (LUCID_PEER_TOKEN in "), "{text}");
}

#[test]
fn every_mistake_of_every_file_is_told() {
    let home = Home::new();
    let (first, second) = (home.at("first"), home.at("second"));
    fs::write(&first, "A=1\nnothing\n").unwrap();
    fs::write(&second, "DATA_CHAIN_PORT=x\nQUERY_CACHE_SIZE=many\n").unwrap();
    let show: [&dyn AsRef<std::ffi::OsStr>; 3] = [&"config", &"show", &"--env-file"];
    let told = home.hindered(&[&show[..], &[&first, &"--env-file", &home.at("none")]].concat());
    assert!(
        told.contains("line 2: NAME=value is wanted") && told.contains("none: No such"),
        "{told}"
    );
    let told = home.hindered(&[&show[..], &[&second]].concat());
    assert!(told.contains("data-chain: ERROR: Invalid DATA_CHAIN_PORT value: x"), "{told}");
    assert!(told.contains("Invalid QUERY_CACHE_SIZE value: many"), "{told}");
}

/// A value that a setting cannot have, by what the manual says that it can be.
fn wrong(setting: &Setting) -> Option<&'static str> {
    Some(match setting.allowed.as_str() {
        allowed if allowed.starts_with("from ") => "-1",
        allowed if allowed.starts_with("seconds") => "-1",
        allowed if allowed.starts_with("`true` or") => "perhaps",
        allowed if allowed.starts_with('`') => "neither",
        allowed if allowed.starts_with("a port") => "65536",
        allowed if allowed.starts_with("an address") => "nowhere at all",
        _ => match setting.variables[0].as_str() {
            "LUCID_TRUSTED_PROXIES" => "10.0.0.0/99",
            "LUCID_ALLOWED_HOSTS" => "http://name/path",
            "DATA_CHAIN_CORS_ORIGINS" | "BLOCK_MANAGER_CORS_ORIGINS" => "page",
            "LUCID_JWT_SECRET" => "short",
            "LUCID_CHAIN_GENESIS" | "LUCID_CHAIN_PRODUCER_KEY" | "LUCID_PEER_PIN" => "abc",
            "DATA_CHAIN_STORE_ID" | "BLOCK_MANAGER_STORE_ID" => "abc",
            "DATA_CHAIN_CHUNK_SIZE_BYTES" => "100000",
            "DATA_CHAIN_CHUNK_OVERLAP_BYTES" => "7",
            "BLOCK_TIMESTAMP_TOLERANCE_SECONDS" | "LUCID_RESERVE_BYTES" | "MAX_BLOCKS_TO_KEEP" => {
                "many"
            }
            "DATA_CHAIN_COMPRESSION_ALGORITHM" => "rar",
            name if name.ends_with("HASH_ALGORITHM") => "MD5",
            "DATA_CHAIN_DEDUPLICATION_METHOD" => "names",
            "LUCID_READ_LOG" => "perhaps",
            "LUCID_TLS_CERT_FILE" | "LUCID_TLS_KEY_FILE" | "LUCID_CA_FILE" => "/not/there",
            "LUCID_TOKENS_FILE" | "LUCID_JWT_PUBLIC_KEY_FILE" => "/not/there",
            _ => return None,
        },
    })
}

#[test]
fn every_setting_that_cannot_have_a_value_says_so_in_one_sentence_with_its_name() {
    let nothing = Environment::new();
    type Loads = fn(&Environment) -> Result<Vec<Setting>, ConfigError>;
    let services: [Loads; 2] = [
        |of| lucid_data_chain::config::load(of, None).map(|loaded| loaded.manual),
        |of| lucid_block_manager::config::Config::load(of, None).map(|loaded| loaded.manual),
    ];
    let mut any_text = Vec::new();
    for loads in services {
        for setting in loads(&nothing).unwrap() {
            let Some(value) = wrong(&setting) else {
                any_text.push(setting.variables[0].clone());
                continue;
            };
            for name in &setting.variables {
                let given = Environment::from([(name.clone(), value.to_owned())]);
                let mistakes = match loads(&given) {
                    Err(error) => error.mistakes,
                    Ok(_) => panic!("{name}={value} is believed"),
                };
                // By the name that the manual has first.
                let said = mistakes[0].to_string();
                assert!(
                    said.contains(&setting.variables[0]) || said.contains(name),
                    "{name}: {said}"
                );
                assert_eq!((mistakes.len(), said.lines().count()), (1, 1), "{name}: {said}");
            }
        }
    }
    // Paths that are made or looked for when they are needed, and secrets that can be any text.
    any_text.sort();
    any_text.dedup();
    assert_eq!(
        any_text,
        [
            "BLOCK_MANAGER_HOST",
            "BLOCK_STORAGE_PATH",
            "DATA_CHAIN_CHUNK_STORAGE_PATH",
            "DATA_CHAIN_DB_NAME",
            "DATA_CHAIN_HOST",
            "LUCID_DATA_DIR",
            "LUCID_MASTER_KEY_FILE",
            "LUCID_PASSPHRASE_FILE",
            "LUCID_PEER_TOKEN",
            "LUCID_S3_ACCESS_KEY_ID",
            "LUCID_S3_BUCKET",
            "LUCID_S3_PREFIX",
            "LUCID_S3_REGION",
            "LUCID_S3_SECRET_ACCESS_KEY",
            "MONGODB_PASSWORD",
        ]
    );
}

#[test]
fn two_services_in_one_process_tell_the_mistakes_of_both() {
    let home = Home::new();
    let file = home.file("env", "BLOCK_MANAGER_PORT=x\nDATA_CHAIN_PORT=y\nLOG_LEVEL=loud\n");
    let told = home.hindered(&[&"up", &"--env-file", &file]);
    for name in ["BLOCK_MANAGER_PORT value: x", "DATA_CHAIN_PORT value: y", "LOG_LEVEL value: loud"]
    {
        assert_eq!(told.matches(name).count(), 1, "{told}");
    }
}
