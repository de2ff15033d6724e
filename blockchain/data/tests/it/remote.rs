//! A data-chain whose log is in MongoDB and whose chunks are in a bucket: the same service over real servers.

mod gate;
mod trouble;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lucid_api::client::Append;
use lucid_data_chain::config::{self, given};
use lucid_data_chain::opened::{FOLDER_OWNER, Opened, SIGNING_KEY};
use lucid_data_chain::ops::upkeep::snapshot_log::{WORTH_COMMITS, snapshot_log};
use lucid_http::config::Environment;
use lucid_store::StoreError;
use lucid_store::backend::Given;
use lucid_store::clock::Clock;
use lucid_store::files::folder::{DataFolder, Options};
use serde_json::Value;

use crate::program::{Log, ended, program, tell};
use crate::real_servers::Remote;
use crate::sample::noise;
use crate::service::{Service, bytes};

/// How a command opens the store.
fn options(remote: &Remote) -> Options {
    let environment: Environment =
        remote.variables().iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let config = config::load(&environment, None).unwrap().config;
    Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        reserve: Default::default(),
        given: given(&config.common.back_ends, &Clock::system()),
        now: Clock::system().now().to_string(),
    }
}

/// Makes the store as `lucid init` does.
fn make(folder: &Path, remote: &Remote) -> Result<DataFolder, StoreError> {
    let options = options(remote);
    let given = Given { makes_keys: true, ..options.given };
    DataFolder::open(folder, &Options { given, ..options })
}

fn give_keys(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("keys")).unwrap();
    for name in ["root.key", "root.key.copy", "recorder.key", "recorder.key.copy"] {
        fs::copy(from.join("keys").join(name), to.join("keys").join(name)).unwrap();
    }
}

#[test]
fn what_is_acknowledged_is_there_after_a_restart_and_for_an_empty_disk() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    drop(make(&first, &remote).unwrap());
    let service = Service::start_with(&first, &remote.variables());
    service.begin("s");
    let content = noise(1, 3_000_000);
    service.client.append("s", &Default::default(), content.clone()).unwrap();
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    service.begin("open");
    service.client.append("open", &Default::default(), noise(2, 100_000)).unwrap();

    let status: Value =
        serde_json::from_str(&service.get("/api/v1/status").text().unwrap()).unwrap();
    assert_eq!(status["kept"]["log"], "mongodb");
    assert_eq!(status["kept"]["chunks"], "s3");
    let at = status["kept"]["at"].to_string();
    for secret in ["LUCID_S3_SECRET_ACCESS_KEY", "MONGO_URL"] {
        assert!(!at.contains(remote.get(secret)), "{at}");
    }
    assert!(at.contains("the database lucid_it_") && at.contains("bucket "), "{at}");
    service.stop();
    // Nothing of sessions and chunks is in the folder.
    for name in ["log", "chunks"] {
        assert!(!first.join(name).exists(), "{name}");
    }

    let service = Service::start_with(&first, &remote.variables());
    assert_eq!(bytes(service.client.data("s", None)), content);
    let behind = Append { offset: 100_000, ..Append::default() };
    service.client.append("open", &behind, noise(3, 50_000)).unwrap();
    service.stop();

    give_keys(&first, &second);
    let service = Service::start_with(&second, &remote.variables());
    assert_eq!(bytes(service.client.data("s", None)), content);
    assert_eq!(bytes(service.client.data("open", None)).len(), 150_000);
    let there = service.client.session("s").unwrap();
    assert_eq!(there.merkle_root, Some(sealed.merkle_root));
    service.stop();
}

#[test]
fn an_empty_disk_starts_from_the_snapshot_where_the_log_is_hollow() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    drop(make(&first, &remote).unwrap());
    let (contents, mut hollowed) = ([noise(1, 3_000_000), noise(2, 2_000_000)], 0);
    for (number, content) in contents.iter().enumerate() {
        let service = Service::start_with(&first, &remote.variables());
        for session in [format!("s{number}"), format!("gone{number}")] {
            service.begin(&session);
            service.client.append(&session, &Default::default(), content.clone()).unwrap();
            service.client.seal(&session, &Default::default()).unwrap();
        }
        service.client.remove_session(&format!("gone{number}"), &Default::default()).unwrap();
        service.stop();
        let opened = Opened::open(&first, &options(&remote)).unwrap();
        let too_few = snapshot_log(&opened, WORTH_COMMITS, &mut |_, _| true).unwrap();
        assert_eq!(too_few.number, 0, "some commits are no reason for a snapshot");
        let made = snapshot_log(&opened, 1, &mut |_, _| true).unwrap();
        assert_eq!(made.number, number as u64 + 1);
        assert!(!first.join("index-trial").exists());
        hollowed += made.commits_hollowed;
        opened.close().unwrap();
    }
    assert!(hollowed > 3, "{hollowed} commits are hollow");

    give_keys(&first, &second);
    let service = Service::start_with(&second, &remote.variables());
    for (number, content) in contents.iter().enumerate() {
        let session = format!("s{number}");
        assert!(bytes(service.client.data(&session, None)) == *content, "{session}");
        let gone = service.get(&format!("/api/v1/sessions/gone{number}"));
        assert_eq!(gone.status(), 410);
    }
    assert!(service.app().opened.damage().is_empty());
    service.stop();
    // The one that made it goes on as well.
    let service = Service::start_with(&first, &remote.variables());
    assert!(bytes(service.client.data("s0", None)) == contents[0]);
    service.stop();
}

#[test]
fn chunks_in_a_bucket_go_beside_a_log_in_the_folder_and_segments_under_a_log_elsewhere() {
    let Some(all) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let content = noise(1, 3_000_000);
    for (name, remote) in [("bucket", all.without("MONGO")), ("database", all.without("LUCID_S3"))]
    {
        let folder = home.path().join(name);
        if name == "database" {
            drop(make(&folder, &remote).unwrap());
        }
        let service = Service::start_with(&folder, &remote.variables());
        service.begin("s");
        service.client.append("s", &Default::default(), content.clone()).unwrap();
        service.client.seal("s", &Default::default()).unwrap();
        service.stop();
        assert_eq!(folder.join("log").exists(), name == "bucket");
        assert_eq!(folder.join("chunks").exists(), name == "database");
        let refused = Service::try_start(&folder, &[]).err().unwrap().to_string();
        assert!(refused.contains("no variable says where"), "{name}: {refused}");
        fs::remove_dir_all(folder.join("index")).unwrap();
        let service = Service::start_with(&folder, &remote.variables());
        assert_eq!(bytes(service.client.data("s", None)), content, "{name}");
        service.stop();
    }
    // A database beside segments is one folder's.
    let remote = all.without("LUCID_S3");
    let second = home.path().join("second");
    give_keys(&home.path().join("database"), &second);
    let refused = Service::try_start(&second, &remote.variables()).err().unwrap().to_string();
    assert!(refused.contains("alone, which has the chunks"), "{refused}");
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_written() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    drop(make(&at("one"), &remote).unwrap());
    let service = Service::start_with(&at("one"), &remote.variables());
    service.begin("s");
    service.stop();
    let refused = |folder: &str, remote: &Remote| {
        Service::try_start(&at(folder), &remote.variables()).err().unwrap().to_string()
    };

    // No keys are given.
    let why = refused("none", &remote);
    assert!(why.contains("has a store, whose keys are given and not made"), "{why}");
    let new = Remote::new().unwrap();
    let why = refused("none", &new);
    assert!(why.contains("run `lucid init` with the same variables"), "{why}");
    assert!(!at("none").exists());

    // A variable is missing, or names another database or prefix.
    let why = refused("one", &remote.without("MONGO").without("LUCID_S3"));
    assert!(why.contains("is in MongoDB, and no variable says where"), "{why}");
    let why = refused("one", &remote.without("LUCID_S3"));
    assert!(why.contains("are in an S3 store, and no variable says where"), "{why}");
    let why = refused("one", &remote.with("MONGO_URL", new.get("MONGO_URL")));
    assert!(why.contains("has no store, and the folder is of store"), "{why}");
    drop(make(&at("two"), &new).unwrap());
    drop(Service::start_with(&at("two"), &new.variables()));
    let why = refused("one", &remote.with("MONGO_URL", new.get("MONGO_URL")));
    assert!(why.contains("and the folder is of store"), "{why}");
    let why = refused("one", &remote.with("LUCID_S3_PREFIX", new.get("LUCID_S3_PREFIX")));
    assert!(why.contains("is another store's: give this one a bucket or a prefix"), "{why}");
    let nothing = format!("{}/nothing", remote.get("LUCID_S3_PREFIX"));
    let why = refused("one", &remote.with("LUCID_S3_PREFIX", nothing));
    assert!(why.contains("has nothing of this store, and its log has commits"), "{why}");
    let third = Remote::new().unwrap();
    let taken = third.with("LUCID_S3_PREFIX", new.get("LUCID_S3_PREFIX"));
    let why = make(&at("three"), &taken).err().unwrap().to_string();
    assert!(why.contains("which is not the one in the database"), "{why}");

    // A server refuses.
    let why = refused("one", &remote.with("LUCID_S3_SECRET_ACCESS_KEY", "not the secret"));
    assert!(why.contains("the secret key is not that of the access key"), "{why}");
    let why = refused("one", &remote.with("LUCID_S3_BUCKET", "lucid-no-such-bucket"));
    assert!(why.contains("lucid-no-such-bucket"), "{why}");
    if let Some(reader) = remote.reader() {
        let why = refused("one", &reader);
        assert!(why.contains("to be written to"), "{why}");
        let why = make(&at("reader"), &Remote::new().unwrap().reader().unwrap()).err().unwrap();
        assert!(why.to_string().contains("to be written to"), "{why}");
        assert!(!at("reader").exists());
    }
    if let Some((_, behind)) = remote.get("MONGO_URL").split_once('@') {
        let wrong = format!("mongodb://somebody:wrong@{behind}");
        let why = refused("one", &remote.with("MONGO_URL", wrong));
        assert!(why.contains("refuses this user or password"), "{why}");
    }
    // And none of that changed anything.
    drop(Service::start_with(&at("one"), &remote.variables()));
}

#[test]
fn a_server_that_is_away_is_waited_for_and_callers_hear_what_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mongodb://127.0.0.1:{}/db", nowhere.local_addr().unwrap().port());
    drop(nowhere);
    let mut command = program(folder.path());
    command.env("MONGO_URL", &url).env("MONGODB_SERVER_SELECTION_TIMEOUT_MS", "200");
    command.env("LUCID_S3_ENDPOINT", "http://127.0.0.1:9").env("LUCID_S3_BUCKET", "b");
    command.env("LUCID_S3_ACCESS_KEY_ID", "k").env("LUCID_S3_SECRET_ACCESS_KEY", "s");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let log = Log::of(child.stdout.take().unwrap());
    let line = log.line("it is tried again every 2 s");
    assert!(line.contains("reaching the database db at 127.0.0.1"), "{line}");
    tell(&child, "-TERM");
    let ended = ended(&mut child, Duration::from_secs(30));
    assert!(ended.success(), "{ended}");
    assert!(!folder.path().join("STORE").exists());
}
