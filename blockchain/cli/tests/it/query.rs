//! `lucid find` and `lucid query`, on a folder and behind a server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lucid_core::block::Block;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use serde_json::Value;

use super::home::{Home, Ran};
use super::server::Server;

/// Two archived folders, by two users.
fn filled() -> Home {
    let home = Home::new();
    home.file("first/etc/a.conf", "1");
    home.file("first/readme", "2");
    home.file("second/etc/a.conf", "3");
    home.file("second/etc/B.CONF", "4");
    for (name, user) in [("first", "ann"), ("second", "bob")] {
        let meta = format!("case={name}");
        home.done(&[
            &"archive",
            &home.at(name),
            &"--session",
            &name,
            &"--user",
            &user,
            &"--meta",
            &meta,
        ]);
    }
    home
}

/// What a verb says on the folder, and behind the server, which is the same.
fn same(home: &Home, server: &Server, arguments: &[&str]) -> String {
    let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
        arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
    String::from_utf8(server.run(home, &arguments)).unwrap()
}

/// Session and path of each line.
fn hits(text: &str) -> Vec<(String, String)> {
    let words = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0].to_owned(), words[words.len() - 1].to_owned())
    };
    text.lines().map(words).collect()
}

/// A search, and the sessions and paths that it finds.
type Search = (&'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn files_are_found_in_all_sessions_of_a_folder_and_of_a_server() {
    let home = filled();
    let searches: &[Search] = &[
        (&["find", "*.conf"], &[("second", "etc/a.conf"), ("first", "etc/a.conf")]),
        (&["find", "-i", "b.conf"], &[("second", "etc/B.CONF")]),
        (&["find", "etc/*", "--user", "ann"], &[("first", "etc/a.conf")]),
        (&["find", "a.conf", "--meta", "case=second"], &[("second", "etc/a.conf")]),
        (&["find", "a.conf", "--status", "active"], &[]),
        (&["find", "a.conf", "--to", "2020-01-01"], &[]),
        (&["find", "a.conf", "--from", "2020-01-01", "--user", "bob"], &[("second", "etc/a.conf")]),
    ];
    let wanted = |found: &[(&str, &str)]| -> Vec<(String, String)> {
        found.iter().map(|(session, path)| (session.to_string(), path.to_string())).collect()
    };
    for (arguments, found) in searches {
        let given: Vec<_> =
            arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        assert_eq!(hits(&home.done(&given).text()), wanted(found), "{arguments:?}");
    }
    let line = home.done(&[&"--json", &"find", &"readme"]).json();
    assert_eq!((&line["session_id"], &line["path"]), (&"first".into(), &"readme".into()));
    assert!(home.refused(1, &[&"find", &"a["]).contains("pattern"));
    home.refused(64, &[&"find", &"a", &"--status", &"gone"]);

    let server = Server::start(&home);
    let client = Home::new();
    for (arguments, found) in searches {
        assert_eq!(hits(&same(&client, &server, arguments)), wanted(found), "{arguments:?}");
    }
}

/// Posts a document to a service.
fn post(url: &str, path: &str, body: &str) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
}

fn ids(ran: &Ran) -> Vec<String> {
    let id = |line: &String| {
        let document: Value = serde_json::from_str(line).unwrap();
        document["id"].as_str().or(document["hash"].as_str()).unwrap().to_owned()
    };
    ran.lines().iter().map(id).collect()
}

#[test]
fn a_folder_answers_from_its_chain_what_no_service_has_taken_in() {
    let home = filled();
    let anchors = ["--json", "query", "transactions", "type=session_anchor"];
    let given = |more: &[&'static str]| -> Vec<&'static str> {
        anchors.iter().chain(more).copied().collect()
    };
    let run = |arguments: &[&'static str]| {
        let arguments: Vec<_> =
            arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        home.done(&arguments)
    };
    let newest = ids(&run(&given(&[])));
    assert_eq!(newest.len(), 2);
    let mut oldest = ids(&run(&given(&["--oldest-first"])));
    oldest.reverse();
    assert_eq!(newest, oldest);
    assert_eq!(ids(&run(&given(&["--limit", "1"]))), newest[..1]);
    assert_eq!(ids(&run(&given(&["session_id=first"]))), newest[1..]);
    let blocks = ids(&run(&["--json", "query", "blocks"]));
    assert_eq!(blocks.len(), 2);
    assert_eq!(ids(&run(&["--json", "query", "blocks", "index_to=0"])), blocks[1..]);
    let sessions = run(&["--json", "query", "sessions", "user_id=bob", "metadata.case=second"]);
    assert_eq!(ids(&sessions), ["second"]);

    let table = run(&["query", "blocks", "--csv"]).text();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("index,hash,timestamp,") && lines.len() == 3, "{table}");
    assert!(lines[1].starts_with(&format!("1,{}", blocks[0])), "{table}");
    let people = run(&["query", "transactions"]).text();
    assert!(people.lines().all(|line| line.contains("session_anchor")), "{people}");

    let verified = run(&given(&["--verify"]));
    assert_eq!(ids(&verified), newest);
    assert!(verified.err.contains("no others is not proved"), "{}", verified.err);
    let other = format!("{:064x}", 7);
    let refused = home.run(&[&"query", &"blocks", &"--verify", &"--genesis", &other]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("block 0 of the chain is refused"), "{}", refused.err);
    assert!(home.refused(64, &[&"query", &"sessions", &"--verify"]).contains("lucid verify"));
    assert!(home.refused(1, &[&"query", &"blocks", &"type=x"]).contains("no filter \"type\""));
    home.refused(64, &[&"query", &"blocks", &"index_from"]);
    home.refused(64, &[&"query", &"blocks", &"index_from=1", &"index_from=2"]);
    assert!(home.refused(64, &[&"query", &"blocks", &"--genesis", &other]).contains("--verify"));
}

#[test]
fn a_server_answers_what_its_folder_does_and_what_it_says_is_held_against_the_chain() {
    let home = filled();
    let server = Server::start_with(&home, 0, &[("DATA_SYNC_INTERVAL", "1")]);
    let client = Home::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let transactions = ["--json", "query", "transactions"];
    while same(&client, &server, &transactions).lines().count() < 2 {
        assert!(Instant::now() < deadline, "the service takes the chain in");
        std::thread::sleep(Duration::from_millis(100));
    }
    let submitted = r#"{"id": "told", "type": "note", "timestamp": "2026-01-01T00:00:00Z"}"#;
    post(&server.url, "/api/v1/storage/transactions", submitted);
    // Of a transaction in a block nothing is asked but an id.
    let odd = [
        r#"{"id":"odd","timestamp":"soon"}"#.to_owned(),
        format!(r#"{{"id":"{}"}}"#, "x".repeat(2_000)),
    ];
    let odd = odd.iter().map(|text| Transaction::parse(text.as_bytes()).unwrap()).collect();
    let at = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    let mut block = Block::build(None, odd, at, &SigningKey::from_seed([9; 32]));
    // Behind all that the chain has, so that they do not stand in each other's way.
    block.index = 1_000;
    block.hash = block.computed_hash();
    (block.producer, block.signature) = (None, None);
    post(&server.url, "/api/v1/storage/blocks", &block.to_json_text());
    let queries: [&[&str]; 6] = [
        &transactions,
        &["query", "transactions", "type=session_anchor", "--oldest-first"],
        &["query", "transactions", "--csv"],
        &["query", "blocks", "--limit", "1"],
        &["--json", "query", "blocks", "index_to=999"],
        &["query", "sessions", "status=anchored", "user_id=ann"],
    ];
    let of_server = queries.map(|query| same(&client, &server, query));
    assert_eq!(of_server[0].lines().count(), 5);
    assert!(of_server[5].contains("first"), "{}", of_server[5]);

    let verify = |more: &[&str]| -> Ran {
        let all = ["--json", "query", "transactions", "--verify"];
        let words: Vec<_> =
            all.iter().chain(more).map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        let mut command = client.command(&words);
        command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into()
    };
    let ran = verify(&["--manager", &server.chain]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(ran.lines().len(), 2, "{}", ran.text());
    assert!(ran.err.contains("transaction told is left out"), "{}", ran.err);
    assert!(ran.err.contains("2 documents are in the chain of 2 blocks"), "{}", ran.err);
    let ran = verify(&["type=session_anchor", "--manager", &server.chain]);
    assert_eq!((ran.code, ran.lines().len()), (0, 2), "{}", ran.err);
    let ran = verify(&[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--manager"), "{}", ran.err);
    drop(server);

    // The folder says the same, of what was taken in and of what was submitted.
    for (query, wanted) in queries.iter().zip(&of_server) {
        let words: Vec<_> = query.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        assert_eq!(&home.done(&words).text(), wanted, "{query:?}");
    }
    // A block more, which no service has seen, comes in front.
    home.file("third/x", "5");
    home.archive("third", &home.at("third"));
    let all = home.done(&[&"--json", &"query", &"blocks", &"index_to=999"]);
    assert_eq!(ids(&all).len(), 3);
    assert_eq!(
        &all.text().lines().skip(1).map(|l| format!("{l}\n")).collect::<String>(),
        &of_server[4]
    );
}
