//! `lucid chain sync` and `promote`, and `lucid up` behind another chain.

use crate::home::Home;
use crate::server::Server;

/// The tip, as `chain info` shows it.
fn tip(home: &Home) -> (u64, String) {
    let info = home.done(&[&"--json", &"chain", &"info"]).json();
    (info["blocks"].as_u64().unwrap(), info["hash"].to_string())
}

#[test]
fn a_chain_is_followed_into_a_folder_and_promoted() {
    let (first, copy) = (Home::new(), Home::new());
    first.file("a", "one");
    first.done(&[&"archive", &first.at("a")]);
    let server = Server::start(&first);
    for name in ["b", "c"] {
        first.file(name, name);
        server.run(&first, &[&"archive", &first.at(name)]);
    }
    let url = server.chain.clone();
    let info = copy.done(&[&"--json", &"chain", &"info", &"--manager", &url]).json();
    let key = info["signs_with"].as_str().unwrap().to_owned();

    // Nobody is named; then a key that did not sign this chain; then everything.
    let ran = copy.run(&[&"chain", &"sync"]);
    assert!(ran.code == 1 && ran.err.contains("--from"), "{}", ran.err);
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let ran = copy.run(&[&"chain", &"sync", &"--from", &url, &"--producer", &other]);
    assert!(ran.code == 1 && ran.err.contains("another than the pinned producer"), "{}", ran.err);
    let sync: [&dyn AsRef<std::ffi::OsStr>; 7] =
        [&"--json", &"chain", &"sync", &"--from", &url, &"--producer", &key];
    let report = copy.done(&sync).json();
    assert_eq!((&report["synced_blocks"], &report["synchronized"]), (&3.into(), &true.into()));
    assert_eq!(copy.done(&sync).json()["synced_blocks"], 0);
    assert_eq!(tip(&copy), (3, info["hash"].to_string()));
    copy.done(&[&"chain", &"validate"]);

    // Without a pin the last blocks are not final yet.
    let loose = Home::new();
    let ran = loose.done(&[&"chain", &"sync", &"--from", &url]);
    assert!(ran.text().contains("3 more blocks are not final yet"), "{}", ran.text());
    assert_eq!(tip(&loose).0, 0);

    // A follower's folder anchors nothing by itself.
    copy.file("d", "four");
    let ran = copy.run(&[&"archive", &copy.at("d")]);
    assert!(ran.code != 0 && ran.err.contains("lucid chain promote"), "{}", ran.err);

    // The authority's folder is in use, and no follower's.
    let ran = first.run(&[&"chain", &"promote"]);
    assert!(ran.code == 1 && ran.err.contains("in use"), "{}", ran.err);
    drop(server);
    let ran = first.run(&[&"chain", &"promote"]);
    assert!(ran.code == 1 && ran.err.contains("an authority's already"), "{}", ran.err);
    let ran = copy.done(&[&"chain", &"promote"]);
    assert!(ran.text().contains("goes on from block 2 ("), "{}", ran.text());
    let ran = loose.done(&[&"chain", &"promote"]);
    assert!(ran.text().contains("3 blocks that were not final were dropped"), "{}", ran.text());
    copy.done(&[&"archive", &copy.at("d"), &"--verify"]);
    // What could not be anchored before is anchored too.
    assert_eq!(tip(&copy).0, 5);
    copy.done(&[&"verify", &"--all"]);
    let ran = copy.run(&sync);
    assert!(ran.code == 1 && ran.err.contains("authority of its own chain"), "{}", ran.err);
}

#[test]
fn two_services_behind_another_chain_anchor_there() {
    let (first, second) = (Home::new(), Home::new());
    let authority = Server::start(&first);
    let info = first.done(&[&"--json", &"chain", &"info", &"--manager", &authority.chain]).json();
    let key = info["signs_with"].as_str().unwrap();
    let settings = [
        ("LUCID_CHAIN_FOLLOW_URL", authority.chain.as_str()),
        ("LUCID_CHAIN_PRODUCER_KEY", key),
        ("SYNC_INTERVAL_SECONDS", "0.1"),
    ];
    let follower = Server::start_with(&second, 0, &settings);
    second.file("a", "one");
    follower.run(&second, &[&"archive", &second.at("a"), &"--session", &"s"]);
    let shown = String::from_utf8(follower.run(&second, &[&"show", &"s"])).unwrap();
    assert!(shown.contains("anchored"), "{shown}");
    // The block came back to where the session is.
    let height = |server: &Server| {
        let info = first.done(&[&"--json", &"chain", &"info", &"--manager", &server.chain]).json();
        info["hash"].to_string()
    };
    for _ in 0..600 {
        if height(&follower) == height(&authority) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the follower has {}, and the authority {}", height(&follower), height(&authority));
}
