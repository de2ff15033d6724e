//! Settings of chunks: what the manual says of each is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lucid_api::v1::sessions::{Cutting, CuttingMode};
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_data_chain::Config;
use lucid_data_chain::config::{Scrub, load};
use lucid_http::config::{Environment, Loaded};
use lucid_store::codec::Compression;

use crate::sample::noise;
use crate::service::{Service, bytes, named};

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(pairs: &[(&str, &str)]) -> Loaded<Config> {
    load(&environment(pairs), None).unwrap()
}

fn config(pairs: &[(&str, &str)]) -> Config {
    loaded(pairs).config
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    load(&environment(pairs), None).unwrap_err().to_string()
}

/// A setting of chunks: its variables, its default, and what the manual says of it.
struct Row {
    names: Vec<String>,
    default: String,
    outcome: &'static str,
    alias: Option<String>,
}

fn table() -> Vec<Row> {
    let manual = loaded(&[]).manual.into_iter();
    let chunks = manual.skip_while(|setting| setting.file != "store_content");
    let chunks = chunks.take_while(|setting| setting.file != "master_key_file");
    chunks
        .map(|setting| {
            let (names, others): (Vec<_>, Vec<_>) =
                setting.variables.into_iter().partition(|name| name.starts_with("DATA_CHAIN_"));
            let outcome = match setting.about {
                about if about.starts_with("only ") => "refused",
                about if about.starts_with("changes nothing") => "noted",
                _ => "honoured",
            };
            Row { names, default: setting.default, outcome, alias: others.into_iter().next() }
        })
        .collect()
}

#[test]
fn every_documented_setting_does_what_the_table_says() {
    let mut documented = BTreeSet::new();
    for Row { names, default, outcome, alias } in table() {
        for name in &names {
            documented.insert(name.clone());
            let path = name == "DATA_CHAIN_CHUNK_STORAGE_PATH";
            let odd = match (default.as_str(), name.as_str()) {
                ("true", _) => "false",
                ("0", _) => "7",
                ("content", _) => "fixed",
                (_, "DATA_CHAIN_CHUNK_SIZE_BYTES") => "65536",
                (_, name) if name.ends_with("BYTES") => "4194304",
                ("24" | "100", _) => "17",
                ("zstd", _) => "lz4",
                ("BLAKE3", _) => "SHA256",
                _ if path => "/elsewhere",
                _ => "other",
            };
            let nothing = config(&[]);
            if !path {
                assert_eq!(config(&[(name, &default)]), nothing, "{name} has another default");
            }
            match outcome {
                "honoured" if name == "DATA_CHAIN_MIN_CHUNK_SIZE_BYTES" => {
                    assert!(refusal(&[(name, odd)]).contains("the cutting makes chunks from"));
                }
                "honoured" => assert_ne!(config(&[(name, odd)]), nothing, "{name}"),
                "noted" => {
                    let noted = loaded(&[(name, odd)]);
                    assert_eq!(noted.config, nothing, "{name}");
                    assert!(noted.warnings.iter().any(|said| said.contains(name)), "{name}");
                }
                "refused" => {
                    let said = refusal(&[(name, odd)]);
                    // By the documented name, with a reason behind it.
                    assert!(said.contains(" value: ") && said.len() > 60, "{name}: {said}");
                }
                other => panic!("{name}: {other}"),
            }
            if let Some(alias) = &alias {
                let by = |name: &str| load(&environment(&[(name, odd)]), None).map(|it| it.config);
                assert_eq!(by(alias), by(name), "{alias}");
            }
        }
    }
    assert!(documented.len() > 35, "{} settings are documented", documented.len());
}

#[test]
fn values_arrive_where_they_are_used() {
    let chunks = config(&[
        ("DATA_CHAIN_CUTTING", "fixed"),
        ("CHUNK_SIZE_BYTES", "5000"),
        ("DATA_CHAIN_MIN_CHUNK_SIZE_BYTES", "5000"),
        ("DATA_CHAIN_MAX_CHUNK_SIZE_BYTES", "6000"),
        ("DATA_CHAIN_AUTO_SPLIT", "false"),
        ("DATA_CHAIN_CHUNK_COMPRESSION_ALGORITHM", "gzip"),
        ("DATA_CHAIN_GC_INTERVAL_HOURS", "2"),
        ("DATA_CHAIN_OPTIMISE_LEVEL", "12"),
        ("VERIFICATION_INTERVAL_HOURS", "3"),
        ("DATA_CHAIN_VERIFY_SAMPLE_PERCENTAGE", "10"),
    ])
    .chunks;
    assert_eq!(chunks.profile.to_string(), "fixed/5000");
    assert_eq!((chunks.upload_max, chunks.split.over, chunks.split.allowed), (6_000, 6_000, false));
    assert_eq!(chunks.compression, Compression::Gzip);
    assert_eq!(chunks.gc, Some(Duration::from_secs(7_200)));
    assert_eq!(chunks.optimise, Some(12));
    let wanted = Scrub { interval: Duration::from_secs(10_800), percent: 10 };
    assert_eq!(chunks.scrub, Some(wanted));
    let off = config(&[
        ("DATA_CHAIN_COMPRESSION_ENABLED", "no"),
        ("DATA_CHAIN_COMPRESSION_ALGORITHM", "zstd:9"),
        ("DATA_CHAIN_GC_ENABLED", "0"),
        ("DATA_CHAIN_PERIODIC_VERIFICATION_ENABLED", "off"),
    ])
    .chunks;
    assert_eq!((off.compression, off.gc, off.scrub), (Compression::None, None, None));
    assert_eq!(config(&[]).chunks.upload_max, CHUNK_BYTES_MAX);
    let said = refusal(&[
        ("DATA_CHAIN_MAX_CHUNK_SIZE_BYTES", "1048576"),
        ("ANCHORING_HASH_ALGORITHM", "SHA256"),
        ("DATA_CHAIN_VERIFY_SAMPLE_PERCENTAGE", "0"),
    ]);
    for wanted in ["of up to 4194304 bytes", "only BLAKE3", "from 1 to 100"] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_database_is_used_by_whichever_variable_names_it_and_not_where_everything_is_embedded() {
    let url = "mongodb://ann:secret@mongo:27017/lucid";
    let said = refusal(&[("DATA_CHAIN_CHUNK_STORAGE_BACKEND", "mongodb")]);
    assert_eq!(said, "ERROR: MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set");
    for name in ["MONGO_URL", "MONGODB_URL", "MONGODB_URI"] {
        for more in [&[][..], &[("DATA_CHAIN_STORAGE_BACKEND", "mongodb")]] {
            let loaded = loaded(&[&[(name, url)], more].concat());
            let mongo = loaded.config.common.back_ends.mongo.unwrap();
            assert_eq!((mongo.said_by.as_str(), mongo.url.expose()), (name, url));
            assert!(loaded.effective.iter().all(|setting| !setting.value.contains("secret")));
        }
        let loaded = loaded(&[(name, url), ("DATA_CHAIN_STORAGE_BACKEND", "embedded")]);
        assert_eq!(loaded.config, config(&[]));
        assert!(loaded.warnings.iter().any(|said| said.contains(name) && said.contains("ignored")));
        assert!(loaded.effective.iter().all(|setting| !setting.value.contains("secret")));
    }
}

/// Sessions by these settings, one after the other in one folder, are all read by the last ones.
#[test]
fn what_was_written_by_any_settings_is_read_by_any_others() {
    let folder = tempfile::tempdir().unwrap();
    let mixtures: &[&[(&str, &str)]] = &[
        &[],
        &[("DATA_CHAIN_COMPRESSION_ALGORITHM", "lz4"), ("DATA_CHAIN_CHUNK_SIZE_BYTES", "65536")],
        &[("DATA_CHAIN_COMPRESSION_ALGORITHM", "gzip"), ("DATA_CHAIN_DEDUPLICATION_ENABLED", "no")],
        &[("DATA_CHAIN_COMPRESSION_ENABLED", "false"), ("DATA_CHAIN_CUTTING", "fixed")],
        &[("DATA_CHAIN_ENCRYPTION_ENABLED", "false"), ("DATA_CHAIN_DEDUPLICATION_ENABLED", "no")],
        &[("DATA_CHAIN_ENCRYPTION_ENABLED", "false")],
    ];
    let text = "a line that compresses well, again and again\n".repeat(20_000);
    let content = [text.as_bytes(), &noise(1, 900_000)].concat();
    for (number, settings) in mixtures.iter().enumerate() {
        let service = Service::start_with(folder.path(), settings);
        let session = format!("s-{number}");
        service.begin(&session);
        service.client.append(&session, &Default::default(), content.clone()).unwrap();
        let archived = format!("a-{number}");
        service.begin(&archived);
        let chunks: Vec<&[u8]> = content.chunks(300_000).collect();
        service.add(&archived, 0, &chunks);
        for session in [session, archived] {
            service.client.seal(&session, &Default::default()).unwrap();
        }
        for earlier in 0..=number {
            for kind in ["s", "a"] {
                let session = format!("{kind}-{earlier}");
                assert_eq!(bytes(service.client.data(&session, None)), content, "{session}");
                let verified = service.client.verify_session(&session, None).unwrap();
                assert!(verified.verified, "{session}: {verified:?}");
            }
        }
        service.stop();
    }
}

#[test]
fn sessions_are_cut_as_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATA_CHAIN_CUTTING", "fixed"), ("DATA_CHAIN_CHUNK_SIZE_BYTES", "100000")];
    let service = Service::start_with(folder.path(), &settings);
    let wanted = Cutting { mode: CuttingMode::Fixed, avg_bytes: 100_000 };
    assert_eq!(service.begin("s").cutting, wanted);
    service.client.append("s", &Default::default(), noise(1, 250_000)).unwrap();
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    assert_eq!(sealed.chunk_count, 3);
}

#[test]
fn chunks_are_kept_as_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = BTreeSet::new();
    for (number, (setting, value)) in [
        ("DATA_CHAIN_COMPRESSION_ENABLED", "false"),
        ("DATA_CHAIN_COMPRESSION_ALGORITHM", "lz4"),
        ("DATA_CHAIN_COMPRESSION_ALGORITHM", "gzip"),
        ("DATA_CHAIN_COMPRESSION_ALGORITHM", "zstd:19"),
        ("DATA_CHAIN_ENCRYPTION_ENABLED", "false"),
    ]
    .into_iter()
    .enumerate()
    {
        let service = Service::start_with(folder.path(), &[(setting, value)]);
        let text = format!("{number} of lines that compress, each a little different\n");
        let text: String = (0..900).map(|line| format!("{line} {text}")).collect();
        let chunk =
            service.client.put_session_chunk("s", number as u64, text.clone(), None).unwrap();
        let info = service.client.chunk_info(&chunk.chunk_id, &Default::default()).unwrap();
        assert_eq!(info.encrypted, setting != "DATA_CHAIN_ENCRYPTION_ENABLED");
        let is_raw = info.stored_bytes >= text.len() as u64;
        assert_eq!(is_raw, setting == "DATA_CHAIN_COMPRESSION_ENABLED", "{setting}={value}");
        assert!(taken.insert(info.stored_bytes), "{setting}={value} makes a difference");
        service.stop();
    }
}

fn stored(service: &Service) -> u64 {
    service.client.status().unwrap().counts["stored_bytes"].as_u64().unwrap()
}

#[test]
fn without_deduplication_each_session_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(1, 3_000_000);
    let fill = |service: &Service, session: &str| {
        let before = stored(service);
        service.client.create_session(&named(session)).unwrap();
        service.client.append(session, &Default::default(), content.clone()).unwrap();
        service.client.seal(session, &Default::default()).unwrap();
        stored(service) - before
    };
    let service = Service::start(folder.path());
    // A stream is in the log until it is cut, regardless of what becomes of its chunks.
    assert!(fill(&service, "first") > 6_000_000);
    assert!(fill(&service, "shared") < 3_100_000);
    service.stop();
    let service =
        Service::start_with(folder.path(), &[("DATA_CHAIN_DEDUPLICATION_ENABLED", "false")]);
    assert!(fill(&service, "own-1") > 6_000_000);
    assert!(fill(&service, "own-2") > 6_000_000);
    // Chunks that were uploaded for everyone become the session's own when it refers to them.
    let before = stored(&service);
    service.begin("own-3");
    service.add("own-3", 0, &content.chunks(1_000_000).collect::<Vec<_>>());
    service.client.seal("own-3", &Default::default()).unwrap();
    assert!(stored(&service) - before > 6_000_000, "once for everyone, once for the session");
    for session in ["first", "shared", "own-1", "own-2", "own-3"] {
        assert_eq!(bytes(service.client.data(session, None)), content, "{session}");
    }
    let roots: BTreeSet<_> = ["own-1", "own-2"]
        .map(|session| service.client.session(session).unwrap().merkle_root)
        .into_iter()
        .collect();
    assert_eq!(roots.len(), 2, "sessions have roots of their own in any case");
}

#[test]
fn chunks_can_be_kept_on_another_disk() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chunks = elsewhere.path().join("segments");
    let settings = [("DATA_CHAIN_CHUNK_STORAGE_PATH", chunks.to_str().unwrap())];
    let service = Service::start_with(folder.path(), &settings);
    service.begin("s");
    let content = noise(1, 5_000_000);
    service.client.append("s", &Default::default(), content.clone()).unwrap();
    service.stop();
    assert!(fs::metadata(chunks.join("00000001.seg")).unwrap().len() > 1_000_000);
    // Without the setting, as the command line opens it.
    let service = Service::start(folder.path());
    assert_eq!(bytes(service.client.data("s", None)), content);
    service.stop();

    let why = |folder: &Path, chunks: &Path| {
        let settings = [("DATA_CHAIN_CHUNK_STORAGE_PATH", chunks.to_str().unwrap())];
        Service::try_start(folder, &settings).err().unwrap().to_string()
    };
    let other = tempfile::tempdir().unwrap();
    assert!(why(folder.path(), other.path()).contains("name that folder"));
    assert!(why(other.path(), &chunks).contains("is not empty"), "another store's chunks");
    let plain = tempfile::tempdir().unwrap();
    let service = Service::start(plain.path());
    service.client.put_chunks([content.as_slice()]).unwrap();
    service.stop();
    assert!(why(plain.path(), &other.path().join("new")).contains("move its files"));
    // A disk that is not mounted is not an empty store.
    fs::rename(&chunks, elsewhere.path().join("away")).unwrap();
    let gone = Service::try_start(folder.path(), &[]).err().unwrap().to_string();
    assert!(gone.contains("mount it"), "{gone}");
}
