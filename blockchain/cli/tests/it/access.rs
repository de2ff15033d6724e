//! Tokens, as operators make them and as commands show them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use lucid_http::tls::TlsConfig;
use serde_json::Value;

use crate::certificates::Authority;
use crate::home::{Home, noise, wait};
use crate::server::Server;

/// A new token: its text, and what it is called.
pub fn create(home: &Home, arguments: &[&dyn AsRef<OsStr>]) -> (String, String) {
    let made = home.json(&[&[&"token" as &dyn AsRef<OsStr>, &"create"], arguments].concat());
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// A command against a server with a token in a variable.
pub fn run_as(
    server: &Server,
    home: &Home,
    token: &str,
    arguments: &[&dyn AsRef<OsStr>],
) -> Output {
    let mut command = home.command(arguments);
    command
        .env_remove("LUCID_DATA")
        .env("LUCID_DATA_CHAIN_URL", &server.url)
        .env("LUCID_TOKEN", token);
    command.output().unwrap()
}

pub fn done_as(
    server: &Server,
    home: &Home,
    token: &str,
    arguments: &[&dyn AsRef<OsStr>],
) -> Vec<u8> {
    let ran = run_as(server, home, token, arguments);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

#[test]
fn tokens_are_made_listed_and_revoked_and_only_their_hashes_are_kept() {
    let home = Home::new();
    let (first, id) = create(&home, &[&"--role", &"admin"]);
    let camera: [&dyn AsRef<OsStr>; 8] =
        [&"--role", &"append", &"--prefix", &"cam-", &"--user", &"a b", &"--id", &"camera"];
    let (second, _) = create(&home, &[&camera[..], &[&"--expires", &"90d"]].concat());
    let list = home.data().join("tokens");
    let kept = fs::read_to_string(&list).unwrap();
    for token in [&first, &second] {
        assert!(token.starts_with("lucid_") && token.len() == 49, "{token}");
        assert!(
            !kept.contains(token.as_str())
                && kept.contains(&blake3::hash(token.as_bytes()).to_string())
        );
    }
    assert_eq!(list.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = home.json(&[&"token", &"list"]);
    assert_eq!((&shown[0]["id"], &shown[0]["role"]), (&id.as_str().into(), &"admin".into()));
    assert_eq!(shown[1]["narrowed_to"], "prefix:cam-,user:a%20b");
    assert_eq!(shown[1]["expired"], false);
    assert!(home.done(&[&"token", &"list"]).text().contains("NARROWED TO"));
    let twice = home.hindered(&[&[&"token" as &dyn AsRef<OsStr>, &"create"], &camera[..]].concat());
    assert!(twice.contains("there is a token camera already"), "{twice}");
    for (wrong, why) in [
        (vec!["--role", "root"], "is no role"),
        (vec!["--role", "read", "--expires", "2020-01-01T00:00:00Z"], "is over already"),
        (vec!["--role", "read", "--expires", "soon"], "count from now on"),
        (vec!["--role", "read", "--session", "a/b"], "is no session"),
        (vec!["--role", "read", "--id", "a b"], "is no token's id"),
        (vec![], "--role"),
    ] {
        let wrong: Vec<&dyn AsRef<OsStr>> = wrong.iter().map(|word| word as _).collect();
        let ran = home.run(&[&[&"token" as &dyn AsRef<OsStr>, &"create"], &wrong[..]].concat());
        assert!(ran.code != 0 && ran.err.contains(why), "{why}: {}", ran.err);
    }
    home.done(&[&"token", &"revoke", &"camera"]);
    assert!(home.hindered(&[&"token", &"revoke", &"camera"]).contains("there is no token camera"));
    assert_eq!(home.json(&[&"token", &"list"]).as_array().unwrap().len(), 1);
    // What cannot be read is left as it is.
    fs::write(&list, "# ours\nbroken\n").unwrap();
    let broken = home.hindered(&[&"token", &"create", &"--role", &"read"]);
    assert!(broken.contains("line 2"), "{broken}");
    assert_eq!(fs::read_to_string(&list).unwrap(), "# ours\nbroken\n");
}

#[test]
fn both_services_ask_for_tokens_that_were_made_before_or_while_they_run() {
    let (behind, home) = (Home::new(), Home::new());
    let (admin, id) = create(&behind, &[&"--role", &"admin"]);
    // With a token they listen where the documents say, and the one knows the other.
    let everywhere = [("DATA_CHAIN_HOST", "0.0.0.0"), ("BLOCK_MANAGER_HOST", "0.0.0.0")];
    let mut server = Server::start_with(&behind, 0, &everywhere);
    for url in [&mut server.url, &mut server.chain] {
        *url = url.replace("0.0.0.0", "127.0.0.1");
    }
    let file = home.file("file", noise(1, 300_000));
    let kept = done_as(&server, &home, &admin, &[&"--json", &"archive", &file, &"--session", &"s"]);
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["block_index"], 0, "it is anchored though the block-manager asks for tokens");
    let refused = run_as(&server, &home, "lucid_forged", &[&"--json", &"ls"]);
    assert_eq!(refused.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert!(said["error"].as_str().unwrap().contains("none that counts"), "{said}");
    assert!(!said["remedy"].is_null(), "{said}");
    let chain = |token: &str| {
        let mut command = home.command(&[&"chain", &"--manager", &server.chain, &"info"]);
        command.env("LUCID_TOKEN", token).output().unwrap().status.code()
    };
    assert_eq!((chain(&admin), chain("lucid_forged")), (Some(0), Some(1)));
    // By a file, and by the line of the server.
    let token_file = home.file("token", format!("{admin}\n"));
    home.done(&[&"--server", &server.url, &"--token-file", &token_file, &"ls"]);
    let lines = home.file("credentials", format!("{} {admin}\n", server.url));
    fs::set_permissions(&lines, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = home.command(&[&"--server", &server.url, &"ls"]);
    assert!(command.env("LUCID_CREDENTIALS_FILE", &lines).output().unwrap().status.success());
    let none = home.run(&[&"--server", &server.url, &"ls"]);
    assert!(none.code == 1 && none.err.contains("--token-file"), "{}", none.err);
    // One that is made now counts now, and one that is revoked does not.
    let (reader, _) = create(&behind, &[&"--role", &"read", &"--session", &"s"]);
    wait(|| run_as(&server, &home, &reader, &[&"ls"]).status.success().then_some(()));
    assert!(!run_as(&server, &home, &reader, &[&"rm", &"s", &"--yes"]).status.success());
    assert_eq!(done_as(&server, &home, &reader, &[&"cat", &"s", &"file"]), noise(1, 300_000));
    behind.done(&[&"token", &"revoke", &id]);
    wait(|| (!run_as(&server, &home, &admin, &[&"ls"]).status.success()).then_some(()));
    // Its owner still comes in by the door of the folder, while it runs.
    let door = format!("unix:{}", behind.data().join("data-chain/run/local.sock").display());
    assert!(home.done(&[&"--server", &door, &"ls"]).text().contains('s'));
    home.done(&[&"--server", &door, &"hold", &"s"]);
    home.done(&[&"--server", &door, &"gc"]);
    let manager = format!("unix:{}", behind.data().join("block-manager/run/local.sock").display());
    home.done(&[&"chain", &"--manager", &manager, &"info"]);
}

/// What a recorder needs that may only add, and what whoever seizes it can do.
#[test]
fn a_recorder_that_is_seized_can_neither_read_back_nor_remove() {
    let (behind, home) = (Home::new(), Home::new());
    let (camera, _) = create(&behind, &[&"--role", &"append", &"--prefix", &"cam-"]);
    let server = Server::start(&behind);
    let first = noise(1, 3_000_000);
    let path = home.file("stream", &first);
    let append: [&dyn AsRef<OsStr>; 4] = [&"append", &path, &"--session", &"cam-door"];
    done_as(&server, &home, &camera, &[&append[..], &[&"--keep-open"]].concat());
    let whole = [first, noise(2, 1_000_000)].concat();
    home.file("stream", &whole);
    done_as(&server, &home, &camera, &append);
    done_as(
        &server,
        &home,
        &camera,
        &[&"archive", &home.file("tree/a", noise(3, 5_000)), &"--session", &"cam-files"],
    );
    let recorded: [&dyn AsRef<OsStr>; 6] =
        [&"record", &"--session", &"cam-run", &"--", &"/bin/echo", &"words"];
    done_as(&server, &home, &camera, &recorded);
    // What lets the recorder in is not for what it records.
    let asks: [&dyn AsRef<OsStr>; 7] = [
        &"record",
        &"--session",
        &"cam-env",
        &"--",
        &"/bin/sh",
        &"-c",
        &"echo ${LUCID_TOKEN-none}",
    ];
    assert_eq!(done_as(&server, &home, &camera, &asks), b"none\n");
    for tried in [
        &["ls"][..],
        &["show", "cam-door"],
        &["cat", "cam-door"],
        &["restore", "cam-files", "-o", "back"],
        &["tree", "cam-files"],
        &["diff", "cam-files", "cam-files"],
        &["stats"],
        &["show", "--chunks", "cam-door"],
        &["find", "*"],
        &["rm", "cam-door", "--yes"],
        &["prove", "cam-door", "-o", "proof"],
        &["gc"],
    ] {
        let tried: Vec<&dyn AsRef<OsStr>> = tried.iter().map(|word| word as _).collect();
        let ran = run_as(&server, &home, &camera, &tried);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains("may not do this"), "{said}");
    }
    drop(server);
    assert_eq!(behind.done(&[&"cat", &"cam-door"]).out, whole);
    assert_eq!(behind.done(&[&"cat", &"cam-run"]).out, b"words\n");
    behind.assert_sound();
}

/// What a watcher may not look at again it does not believe in: nothing of a file is left out.
#[test]
fn a_watcher_that_may_only_append_loses_nothing_of_files_that_are_written_anew() {
    let (behind, home) = (Home::new(), Home::new());
    let (camera, _) = create(&behind, &[&"--role", &"append"]);
    let server = Server::start(&behind);
    let log = home.file("recordings/log", "aaaa\n");
    let folder = home.at("recordings");
    let open = home.file("recordings/open", "first\n");
    let watch = |idle: &str| {
        let watch: [&dyn AsRef<OsStr>; 5] = [&"watch", &folder, &"--once", &"--idle", &idle];
        done_as(&server, &home, &camera, &watch);
    };
    watch("3600");
    // Written anew in its place, and longer, while it was open; and once more after it was sealed.
    fs::write(&open, "another, longer\n").unwrap();
    home.let_rest("recordings");
    watch("0.05");
    watch("0.05");
    for text in ["bbbbbbbbb\n", "bbbbbbbbb\nand more\n"] {
        fs::write(&log, text).unwrap();
        home.let_rest("recordings");
        watch("0.05");
        watch("0.05");
    }
    drop(server);
    let contents: Vec<String> =
        behind.sessions().keys().map(|id| behind.done(&[&"cat", id]).text()).collect();
    for whole in ["aaaa\n", "bbbbbbbbb\n", "bbbbbbbbb\nand more\n", "first\n", "another, longer\n"]
    {
        assert!(contents.iter().any(|content| content == whole), "{whole:?}: {contents:?}");
    }
    behind.assert_sound();
}

#[test]
fn both_services_speak_tls_and_are_believed_by_their_authority_or_their_key() {
    let (behind, home) = (Home::new(), Home::new());
    let authority = Authority::new();
    let (certificate, key) = authority.certify(&home.at(""), 2_100);
    let tls = [
        ("LUCID_TLS_CERT_FILE", certificate.to_str().unwrap()),
        ("LUCID_TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let server = Server::start_with(&behind, 0, &tls);
    let url = server.url.replace("http:", "https:");
    let file = home.file("file", noise(1, 300_000));
    let ca = authority.file(&home.at(""));
    let archive: [&dyn AsRef<OsStr>; 7] =
        [&"--server", &url, &"--ca", &ca, &"--json", &"archive", &file];
    let kept = home.done(&archive).json();
    assert_eq!(kept["block_index"], 0, "the one believes the other by its key");
    // A new certificate with a new key takes the place of the old one, and nobody is told.
    let (certificate, key) = authority.certify(&home.at(""), 2_100);
    let config = TlsConfig { certificate, key };
    wait(|| {
        home.run(&[&"--server", &url, &"--pin", &config.pin().unwrap().to_string(), &"ls"])
            .code
            .eq(&0)
            .then_some(())
    });
    let kept = home.done(&archive).json();
    assert_eq!(kept["block_index"], 1, "and still does");
    let pin = config.pin().unwrap().to_string();
    home.done(&[&"--server", &url, &"--pin", &pin, &"ls"]);
    let manager = server.chain.replace("http:", "https:");
    home.done(&[&"--pin", &pin, &"chain", &"--manager", &manager, &"info"]);
    let refused = home.run(&[&"--server", &url, &"ls"]);
    assert_eq!(refused.code, 69, "{}", refused.err);
    let other = "00".repeat(32);
    let refused = home.run(&[&"--server", &url, &"--pin", &other, &"ls"]);
    assert_eq!(refused.code, 69, "{}", refused.err);
    assert!(refused.err.contains("--pin") && refused.err.contains(&pin), "{}", refused.err);
    // The second server of a mirror has a pin of its own.
    home.archive("local", &file);
    let mirror: [&dyn AsRef<OsStr>; 3] = [&"mirror", &"--to-server", &url];
    let refused = home.run(&mirror);
    assert!(
        refused.code != 0 && refused.err.contains("certificate"),
        "{} {}",
        refused.code,
        refused.err
    );
    home.done(&[&mirror[..], &[&"--to-pin", &pin]].concat());
    let wrong = home.run(&[&"--server", &url, &"--pin", &"none", &"ls"]);
    assert!(wrong.code == 64 && wrong.err.contains("a pin is sha256:"), "{}", wrong.err);
}
