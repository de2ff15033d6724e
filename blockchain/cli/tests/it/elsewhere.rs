//! A data-chain that anchors with an engine of another kind, as its operator and an auditor see it.

use std::net::TcpListener;
use std::path::Path;

use lucid_api::client::{ClientOptions, DataChainClient};
use lucid_api::v1::sessions::CreateSession;
use serde_json::Value;

use crate::foreign::{ForeignEngine, Manner};
use crate::home::{Home, Ran, wait};
use crate::server::Server;

fn lines(server: &Server, home: &Home, verb: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    String::from_utf8(server.run(home, verb)).unwrap()
}

fn checked(home: &Home, bundle: &Path, content: &Path, trust: &[&Value]) -> Ran {
    let mut command = home.command(&[&"check-proof", &bundle, &content]);
    for key in trust {
        command.arg("--trust").arg(key.as_str().unwrap());
    }
    command.output().unwrap().into()
}

#[test]
fn a_session_is_anchored_elsewhere_and_everything_says_what_that_is_worth() {
    let (behind, home) = (Home::new(), Home::new());
    // Nobody answers there yet.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let settings = [
        ("BLOCKCHAIN_ENGINE_URL", url.as_str()),
        ("SERVICE_RETRY_COUNT", "0"),
        ("SERVICE_RETRY_DELAY_SECONDS", "0.05"),
    ];
    let server = Server::start_with(&behind, 0, &settings);
    let client = DataChainClient::new(&server.url, ClientOptions::default()).unwrap();
    let named = CreateSession { session_id: Some("s".into()), ..CreateSession::default() };
    client.create_session(&named).unwrap();
    client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    client.seal("s", &Default::default()).unwrap();
    let shown = |server: &Server| -> Value {
        serde_json::from_slice(&server.run(&home, &[&"--json", &"show", &"s"])).unwrap()
    };
    let before = wait(|| {
        let shown = shown(&server);
        shown["anchor"]["reason"].is_string().then_some(shown)
    });
    assert_eq!(
        (&before["status"], &before["anchor"]["status"]),
        (&"sealed".into(), &"pending".into())
    );
    assert!(!lines(&server, &home, &[&"ls"]).contains("elsewhere"));

    let engine = ForeignEngine::start_on(address, Manner::Confirms);
    let after = wait(|| Some(shown(&server)).filter(|it| it["anchor"]["status"] == "elsewhere"));
    let words = &after["anchor"]["elsewhere"];
    assert_eq!((&words["engine"], &words["block_height"]), (&url.as_str().into(), &7.into()));
    assert_eq!(words["transaction_id"], "0xfeed");
    assert!(after["anchor"]["block_index"].is_null(), "{after}");
    let told = lines(&server, &home, &[&"show", &"s"]);
    for word in [url.as_str(), "0xfeed", "NOT proved: ", "the word of this engine alone"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let listed = lines(&server, &home, &[&"ls"]);
    assert!(listed.contains("sealed, anchored elsewhere"), "{listed}");

    let (bundle, content) = (home.at("s.proof"), home.file("content", "bytes"));
    server.run(&home, &[&"prove", &"s", &"-o", &bundle]);
    let recorder = &after["anchor"]["trust"]["recorder"];
    let ran = checked(&home, &bundle, &content, &[recorder]);
    let (said, code) = (ran.text(), ran.code);
    assert_eq!(code, 2, "{said}{}", ran.err);
    assert!(said.contains("NOT proved elsewhere"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.contains("the word of an engine: NOT proved") && !last.contains("--trust"),
        "{said}"
    );
    let ran = checked(&home, &bundle, &content, &[]);
    assert!(
        ran.code == 2 && ran.text().lines().last().unwrap().contains("--trust"),
        "{}",
        ran.text()
    );

    // Archiving does not wait for a block that nobody makes, and does not say that there is one.
    let file = home.file("file", "more bytes");
    let mut command = home.command(&[&"archive", &file, &"--session", &"t"]);
    let began = std::time::Instant::now();
    let ran: Ran = command
        .env_remove("LUCID_DATA")
        .env("LUCID_DATA_CHAIN_URL", &server.url)
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 1, "{}{}", ran.text(), ran.err);
    assert!(
        ran.text().contains("anchored elsewhere") && ran.text().contains(&url),
        "{}",
        ran.text()
    );
    assert!(began.elapsed().as_secs() < 50);
    drop(server);
    // The folder tells the same without a service.
    let alone = behind.json(&[&"show", &"s"]);
    assert_eq!((&alone["anchor"]["elsewhere"], &alone["status"]), (words, &"sealed".into()));

    // Without that setting the block-manager beside it brings both into blocks, and the word stays told.
    drop(engine);
    let server = Server::start(&behind);
    let anchored = wait(|| Some(shown(&server)).filter(|it| it["status"] == "anchored"));
    assert_eq!(anchored["anchor"]["elsewhere"], *words);
    server.run(&home, &[&"prove", &"s", &"-o", &bundle]);
    let trust = &anchored["anchor"]["trust"];
    let ran = checked(&home, &bundle, &content, &[&trust["recorder"], &trust["block"]]);
    assert_eq!(ran.code, 0, "{}{}", ran.text(), ran.err);
    assert!(ran.text().contains(&format!("not proved: {url} says")), "{}", ran.text());
}
