//! Every verb over a store whose log and blocks are in MongoDB and whose chunks are in a bucket: real servers.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::home::{Home, Snapshot, noise};
use super::real_servers::Remote;
use super::server::Server;

/// A store that `lucid init` has made.
fn made(remote: &Remote) -> Home {
    let home = Home::new().with_variables(&remote.variables());
    home.done(&[&"init"]);
    home
}

fn folder_of_files(home: &Home) -> std::path::PathBuf {
    for (name, bytes) in
        [("a", noise(1, 300_000)), ("b/c", noise(2, 2_000_000)), ("b/d", b"small".to_vec())]
    {
        home.file(&format!("files/{name}"), bytes);
    }
    home.at("files")
}

/// Gives a second folder the keys of a first one, and nothing else.
fn give_keys(from: &Path, to: &Path) {
    for service in ["data-chain", "block-manager"] {
        let (from, to) = (from.join(service).join("keys"), to.join(service).join("keys"));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if name.to_str().unwrap().contains(".key") {
                fs::copy(entry.path(), to.join(&name)).unwrap();
            }
        }
    }
}

#[test]
fn a_session_is_kept_proved_and_given_back_and_an_empty_disk_finds_it() {
    let Some(remote) = Remote::new() else { return };
    let home = made(&remote);
    let files = folder_of_files(&home);
    let kept = home.archive("s", &files);
    assert!(kept["block_hash"].is_string(), "{kept:#}");
    assert_eq!(Snapshot::of(&home.restore("s", "back")), Snapshot::of(&files));
    home.assert_sound();
    let proof = home.at("proof");
    home.done(&[&"prove", &"s", &"--path", &"b/d", &"-o", &proof]);
    let trust = |which: &str| kept["trust_keys"][which].as_str().unwrap().to_owned();
    let (block, recorder) = (trust("block"), trust("recorder"));
    let checked = home.run(&[
        &"check-proof",
        &proof,
        &files.join("b/d"),
        &"--trust",
        &block,
        &"--trust",
        &recorder,
    ]);
    assert_eq!(checked.code, 0, "{}", checked.err);

    // What nobody refers to any more goes, and the rest is found by an index that is made anew.
    let more = home.file("more", noise(9, 1_500_000));
    home.archive("t", &more);
    home.done(&[&"rm", &"t", &"--yes"]);
    home.done(&[&"gc"]);
    home.done(&[&"optimise"]);
    home.done(&[&"scrub"]);
    home.done(&[&"reindex"]);
    home.assert_sound();
    assert_eq!(Snapshot::of(&home.restore("s", "again")), Snapshot::of(&files));
    let keys = home.done(&[&"keys", &"rotate"]).text();
    assert!(keys.contains("data-chain"), "{keys}");
    home.archive("u", &more);

    // A mirror is a store of its own, all in its folder, and needs neither server.
    let mirror = home.at("mirror");
    home.done(&[&"mirror", &mirror]);
    home.done(&[&"mirror", &mirror]);
    let mirrored = Home::new().with_data(mirror);
    assert_eq!(mirrored.sessions().into_keys().collect::<Vec<_>>(), ["s", "u"]);
    assert_eq!(Snapshot::of(&mirrored.restore("s", "back")), Snapshot::of(&files));
    mirrored.assert_sound();

    let second = Home::new().with_variables(&remote.variables());
    give_keys(home.data(), second.data());
    let made = second.json(&[&"init"]);
    assert_eq!(made["stores"][0]["store_id"], store_id(&home, 0));
    let sessions: Vec<_> = second.sessions().into_keys().collect();
    assert_eq!(sessions, ["s", "u"]);
    assert_eq!(Snapshot::of(&second.restore("s", "back")), Snapshot::of(&files));
    second.assert_sound();
}

/// Everything that a database holds, to put it back to.
struct Backup {
    runtime: tokio::runtime::Runtime,
    database: mongodb::Database,
    collections: Vec<(String, Vec<Document>)>,
}

impl Backup {
    fn of(remote: &Remote) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (database, collections) = runtime.block_on(async {
            let client = mongodb::Client::with_uri_str(remote.get("MONGO_URL")).await.unwrap();
            let database = client.default_database().unwrap();
            let mut collections = Vec::new();
            for name in database.list_collection_names().await.unwrap() {
                let all = database.collection(&name).find(doc! {}).await.unwrap();
                collections.push((name, all.try_collect().await.unwrap()));
            }
            (database, collections)
        });
        Self { runtime, database, collections }
    }

    fn put_back(&self) {
        self.runtime.block_on(async {
            for name in self.database.list_collection_names().await.unwrap() {
                let collection = self.database.collection::<Document>(&name);
                collection.delete_many(doc! {}).await.unwrap();
            }
            for (name, documents) in self.collections.iter().filter(|(_, all)| !all.is_empty()) {
                self.database.collection::<Document>(name).insert_many(documents).await.unwrap();
            }
        });
    }
}

#[test]
fn a_database_that_was_put_back_is_refused_until_a_command_accepts_what_is_lost() {
    let Some(remote) = Remote::new() else { return };
    let home = made(&remote);
    let files = folder_of_files(&home);
    home.archive("kept", &files);
    let backup = Backup::of(&remote);
    home.archive("lost", &home.file("more", noise(9, 1_500_000)));
    backup.put_back();

    // With its own index, with one that is made anew, and with none at all: what was acknowledged is missed.
    let empty = Home::new().with_variables(&remote.variables());
    give_keys(home.data(), empty.data());
    empty.done(&[&"init"]);
    for (home, arguments) in
        [(&home, &[&"ls" as &dyn AsRef<OsStr>][..]), (&home, &[&"reindex"]), (&empty, &[&"ls"])]
    {
        let why = home.hindered(arguments);
        assert!(why.contains("was put back to older data"), "{why}");
        assert!(why.contains("`lucid reindex --accept-loss`"), "{why}");
    }
    home.done(&[&"reindex", &"--accept-loss"]);
    for home in [&home, &empty] {
        assert_eq!(home.sessions().into_keys().collect::<Vec<_>>(), ["kept"]);
        assert_eq!(Snapshot::of(&home.restore("kept", "back")), Snapshot::of(&files));
    }
    home.archive("after", &home.at("more"));
    home.done(&[&"gc"]);
    home.assert_sound();
    empty.assert_sound();
}

fn store_id(home: &Home, at: usize) -> Value {
    home.json(&[&"init"])["stores"][at]["store_id"].clone()
}

#[test]
fn both_services_keep_what_they_are_sent_and_doctor_says_where() {
    let Some(remote) = Remote::new() else { return };
    let home = Home::new().with_variables(&remote.variables());
    let made = home.json(&[&"init"]);
    let token = home.file("token", made["admin_token"].as_str().unwrap());
    let server = Server::start_with(&home, 0, &remote.variables());
    let files = folder_of_files(&home);
    let to: [&dyn AsRef<OsStr>; 4] = [&"--server", &server.url, &"--token-file", &token];
    home.done(&[&to[..], &[&"archive", &"--session", &"s", &files]].concat());
    let back = home.at("back");
    home.done(&[&to[..], &[&"restore", &"s", &"-o", &back]].concat());
    assert_eq!(Snapshot::of(&back), Snapshot::of(&files));
    let found = home.run(&[&"--json", &"doctor"]).text();
    assert!(found.contains("the database lucid_it_"), "{found}");
    for secret in ["LUCID_S3_SECRET_ACCESS_KEY", "MONGO_URL"] {
        assert!(!found.contains(remote.get(secret)), "{found}");
    }
    drop(server);
    home.assert_sound();
}

#[test]
fn wrong_settings_are_one_sentence_each() {
    let Some(remote) = Remote::new() else { return };
    let home = made(&remote);
    let file = home.file("file", b"content");
    home.archive("s", &file);
    let refused = |remote: &Remote| {
        let (data, room) = (home.data().to_owned(), Home::new());
        room.with_data(data).with_variables(&remote.variables()).hindered(&[&"ls"])
    };
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("127.0.0.1:{}", unused.local_addr().unwrap().port());
    drop(unused);
    let mongo = |url: String| remote.with("MONGO_URL", url);
    let nothing = format!("{}/nothing", remote.get("LUCID_S3_PREFIX"));
    let s3 = |name: &str, value: &str| remote.with(&format!("LUCID_S3_{name}"), value);
    for (settings, expected) in [
        (remote.without("MONGO").without("LUCID_S3"), "no variable says where: set MONGO_URL"),
        (remote.without("LUCID_S3_BUCKET"), "LUCID_S3_BUCKET is not: set that too"),
        (remote.without("LUCID_S3"), "are in an S3 store, and no variable says where"),
        (mongo(format!("mongodb://{nowhere}/db")), "reaching the database db at 127.0.0.1"),
        (mongo("postgres://here/db".into()), "mongodb://USER:PASSWORD@HOST/DATABASE is wanted"),
        (mongo("mongodb+srv://here/db".into()), "mongodb+srv:// is not supported"),
        (s3("ENDPOINT", &format!("http://{nowhere}")), "does not answer"),
        (s3("ENDPOINT", "here:9000"), "https:// or http:// and a name"),
        (s3("BUCKET", "lucid-no-such-bucket"), "lucid-no-such-bucket"),
        (s3("ACCESS_KEY_ID", "LUCIDNOBODY"), "does not know the access key LUCIDNOBODY"),
        (s3("SECRET_ACCESS_KEY", "wrong"), "the secret key is not that of the access key"),
        (s3("PREFIX", &nothing), "has nothing of this store, and its log has commits"),
    ] {
        let why = refused(&settings);
        assert!(why.contains(expected), "{expected}: {why}");
        assert!(!why.contains(remote.get("LUCID_S3_SECRET_ACCESS_KEY")), "{why}");
    }
    // None of that changed anything.
    home.assert_sound();
    assert_eq!(json!(home.sessions().into_keys().collect::<Vec<_>>()), json!(["s"]));
}
