//! `lucid follow`: looking on while something is recorded.

use std::io::Read as _;
use std::process::{Child, ChildStdout, Stdio};

use lucid_api::client::{Append, ClientOptions, DataChainClient};
use lucid_api::v1::sessions::CreateSession;
use lucid_store::files::folder::{DataFolder, Options};
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, Ran, noise};
use crate::server::Server;

fn begin(client: &DataChainClient, session: &str) {
    let wanted = CreateSession { session_id: Some(session.into()), ..CreateSession::default() };
    client.create_session(&wanted).unwrap();
}

fn append(client: &DataChainClient, offset: usize, bytes: &[u8]) {
    let how = Append { offset: offset as u64, ..Append::default() };
    client.append("s", &how, bytes.to_vec()).unwrap();
}

fn next(out: &mut ChildStdout, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    out.read_exact(&mut bytes).unwrap();
    bytes
}

fn ended(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_recording_is_followed_through_a_restart_of_its_server_until_it_is_sealed() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let url = server.url.clone();
    let client = DataChainClient::new(&url, ClientOptions::default()).unwrap();
    begin(&client, "s");
    append(&client, 0, b"before ");
    let mut command = home.command(&[&"follow", &"s", &"--from-start"]);
    let mut far =
        command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &url).spawn().unwrap();
    // Beside the service: by its door.
    let mut near = behind.command(&[&"follow", &"s", &"--from", &"2"]).spawn().unwrap();
    let (mut out, mut out_near) = (far.stdout.take().unwrap(), near.stdout.take().unwrap());
    assert_eq!(next(&mut out, 7), b"before ");
    assert_eq!(next(&mut out_near, 5), b"fore ");
    append(&client, 7, b"then ");
    assert_eq!((next(&mut out, 5), next(&mut out_near, 5)), (b"then ".into(), b"then ".into()));
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    drop(server);
    let server = Server::start_on(&behind, port);
    let large = noise(1, 3_000_000);
    append(&client, 12, &large);
    assert!(next(&mut out, large.len()) == large && next(&mut out_near, large.len()) == large);
    server.run(&home, &[&"seal", &"s"]);
    for (child, mut out) in [(far, out), (near, out_near)] {
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        let ran = ended(child);
        assert_eq!((ran.code, rest.len()), (0, 0), "{}", ran.err);
        assert!(ran.err.contains("session s is sealed: eof"), "{}", ran.err);
    }
    // There is nothing to wait for in what is sealed.
    assert_eq!(behind.done(&[&"follow", &"s"]).out, b"");
    assert!(behind.done(&[&"follow", &"s", &"--from-start"]).out.len() == 12 + large.len());
}

#[test]
fn what_nobody_adds_to_is_printed_and_said_to_be_open() {
    let home = Home::new();
    home.fed(&[&"append", &"--session", &"s", &"--keep-open"], b"all there is");
    let ran = home.run(&[&"follow", &"s", &"--from-start"]);
    assert_eq!((ran.code, ran.text().as_str()), (1, "all there is"), "{}", ran.err);
    assert!(ran.err.contains("session s is not sealed, and nothing comes"), "{}", ran.err);
    home.done(&[&"seal", &"s"]);
    assert_eq!(home.done(&[&"follow", &"s", &"--from", &"4"]).text(), "there is");
    home.archive("tree", &home.file("file", "x"));
    assert!(home.refused(1, &[&"follow", &"tree"]).contains("a recording is what is followed"));
    assert!(home.refused(1, &[&"follow", &"s", &"--from", &"99"]).contains("byte 99 is asked for"));
    home.refused(1, &[&"follow", &"none"]);
    assert_eq!(home.run(&[&"follow", &"s", &"--from", &"1", &"--from-start"]).code, 64);
}

#[test]
fn a_follower_that_is_interrupted_says_so_and_one_that_nobody_reads_just_ends() {
    let home = Home::new();
    let server = Server::start(&home);
    let client = DataChainClient::new(&server.url, ClientOptions::default()).unwrap();
    begin(&client, "s");
    append(&client, 0, b"bytes");
    let mut child = home.command(&[&"follow", &"s", &"--from-start"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    assert_eq!(next(&mut out, 5), b"bytes");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = ended(child);
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(ran.err.contains("interrupted: nothing was changed"), "{}", ran.err);

    let mut command = home.command(&[&"follow", &"s", &"--from-start"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    assert_eq!(next(&mut out, 5), b"bytes");
    drop(out);
    append(&client, 5, b"more");
    let ran = ended(child);
    assert_eq!(ran.code, 0, "{}", ran.err);

    // Who has the folder without a door is named.
    drop(server);
    let options = Options {
        service: "data-chain",
        signing_key: "recorder",
        expected: None,
        create: false,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "the test".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    };
    let _owner = DataFolder::open(&home.data().join("data-chain"), &options).unwrap();
    let why = home.refused(1, &[&"follow", &"s", &"--from-start"]);
    assert!(why.contains("is in use by the test (process "), "{why}");
}
