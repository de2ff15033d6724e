//! `lucid keys verify-export`: an export is tried before it is needed, and until one was, the services say so.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lucid_api::client::{BlockManagerClient, ClientOptions, DataChainClient};
use serde_json::{Value, json};

use super::home::Home;
use super::server::Server;

fn filled() -> Home {
    let home = Home::new();
    home.archive("first", &home.file("first", "first"));
    home
}

fn export(home: &Home, of: &str) -> PathBuf {
    let file = home.at(&format!("{of}.exported"));
    home.done(&[&"keys", &"export", &file, &"--of", &of]);
    file
}

/// What is said of each folder, and the exit code.
fn verified(home: &Home, file: &Path, more: &[&dyn AsRef<OsStr>]) -> (i32, Vec<Value>) {
    let arguments: [&dyn AsRef<OsStr>; 4] = [&"--json", &"keys", &"verify-export", &file];
    let ran = home.run(&[&arguments[..], more].concat());
    let said = ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ran.code, said)
}

fn opens(said: &[Value]) -> Vec<bool> {
    said.iter().map(|folder| folder["opens"].as_bool().unwrap()).collect()
}

/// What both services say in their status: of the data-chain, and of the block-manager.
fn states(home: &Home) -> [Value; 2] {
    let server = Server::start(home);
    let data = DataChainClient::new(&server.url, ClientOptions::default()).unwrap();
    let chain = BlockManagerClient::new(&server.chain, ClientOptions::default()).unwrap();
    let counts = [data.status().unwrap().counts, chain.status().unwrap().counts];
    counts.map(|counts| counts["key_export"].clone())
}

fn words(states: &[Value; 2]) -> [&str; 2] {
    [0, 1].map(|at| states[at]["state"].as_str().unwrap())
}

#[test]
fn an_export_is_verified_for_its_folder_until_the_keys_are_wrapped_anew() {
    let home = filled();
    assert_eq!(words(&states(&home)), ["not_verified", "not_verified"]);
    let (data, chain) = (export(&home, "data-chain"), export(&home, "block-manager"));
    let (code, said) = verified(&home, &data, &[]);
    assert_eq!((code, opens(&said)), (0, vec![true, false]), "{said:?}");
    assert!(said[1]["why"].as_str().unwrap().contains("it holds root key"), "{said:?}");
    let known = states(&home);
    assert_eq!(words(&known), ["verified", "not_verified"]);
    assert!(known[0]["verified_at"].as_str().unwrap().ends_with('Z'), "{known:?}");
    let (code, said) = verified(&home, &chain, &[&"--of", &"data-chain"]);
    assert_eq!((code, opens(&said)), (1, vec![false]), "{said:?}");
    let (code, said) = verified(&home, &chain, &[]);
    assert_eq!((code, opens(&said)), (0, vec![false, true]), "{said:?}");
    assert_eq!(words(&states(&home)), ["verified", "verified"]);
    // A new data key is under the same root key, so the export is as good as before.
    home.done(&[&"keys", &"rotate"]);
    assert_eq!(words(&states(&home)), ["verified", "verified"]);
    assert_eq!(verified(&home, &data, &[&"--of", &"data-chain"]).0, 0);
    home.assert_sound();
    // Another root key is not: no older export opens it.
    home.done(&[&"keys", &"rewrap"]);
    assert_eq!(words(&states(&home)), ["not_verified", "not_verified"]);
    let (code, said) = verified(&home, &data, &[]);
    assert_eq!((code, opens(&said)), (1, vec![false, false]), "{said:?}");
    home.assert_sound();
}

#[test]
fn what_opens_no_store_is_wrong_and_what_cannot_be_read_is_trouble() {
    let home = filled();
    let good = export(&home, "data-chain");
    let cut = home.file("cut", &fs::read(&good).unwrap()[..80]);
    let stranger = filled();
    for wrong in [cut, home.file("noise", [0xff, 0xfe, 0]), export(&stranger, "data-chain")] {
        let (code, said) = verified(&home, &wrong, &[]);
        assert_eq!((code, opens(&said)), (1, vec![false, false]), "{wrong:?}: {said:?}");
    }
    let missing = home.refused(74, &[&"keys", &"verify-export", &home.at("missing")]);
    assert!(missing.contains("missing"), "{missing}");
    // The key itself is no export: it is lost together with what it opens.
    let own = home.data().join("data-chain/keys/root.key");
    let inside = home.refused(74, &[&"keys", &"verify-export", &own]);
    assert!(inside.contains("is lost together with it: name an export"), "{inside}");
    assert_eq!(words(&states(&home)), ["not_verified", "not_verified"]);
}

#[test]
fn a_passphrase_in_a_file_is_verified_and_a_store_without_keys_has_none() {
    let home = Home::new();
    let (first, right) = (home.file("first", "first"), home.file("right", "correct horse\n"));
    home.done(&[&"archive", &first, &"--passphrase-file", &right]);
    let wrong = home.file("wrong", "battery");
    let (code, said) = verified(&home, &wrong, &[]);
    assert_eq!((code, opens(&said)), (1, vec![false, false]), "{said:?}");
    assert!(said[0]["why"].as_str().unwrap().contains("another passphrase"), "{said:?}");
    let copy = home.file("copy", "correct horse\n");
    assert_eq!(verified(&home, &copy, &[]).0, 0);
    let mut used = home.command(&[&"keys", &"verify-export", &right]);
    let used = used.env("LUCID_PASSPHRASE_FILE", &right).output().unwrap();
    assert_eq!(used.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&used.stderr).contains("name a copy"), "{used:?}");
    let plain = Home::new();
    plain.done(&[&"archive", &plain.file("x", "x"), &"--no-encryption"]);
    let none = plain.refused(74, &[&"keys", &"verify-export", &right]);
    assert!(none.contains("without encryption"), "{none}");
    assert_eq!(words(&states(&plain)), ["not_encrypted", "not_encrypted"]);
}

#[test]
fn a_note_that_cannot_be_read_is_named_and_another_one_takes_its_place() {
    let home = filled();
    let file = export(&home, "data-chain");
    assert_eq!(verified(&home, &file, &[]).0, 0);
    let note = home.data().join("data-chain/keys/verified");
    let sound = fs::read(&note).unwrap();
    fs::write(&note, &sound[..sound.len() - 3]).unwrap();
    let known = states(&home);
    assert_eq!(words(&known), ["unknown", "not_verified"]);
    assert!(known[0]["why"].as_str().unwrap().contains("keys/verified"), "{known:?}");
    let found = home.run(&[&"--json", &"verify", &"--all"]);
    assert_eq!(found.code, 1);
    assert!(found.json()["damage"].to_string().contains("keys/verified"), "{}", found.text());
    assert_eq!(verified(&home, &file, &[]).0, 0);
    assert_eq!(words(&states(&home)), ["verified", "not_verified"]);
    home.assert_sound();
}

/// What a service says of exports until it is told to end, which is when it has told of one, or has started.
fn warnings(command: &mut Command, last: &str) -> Vec<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    let mut told = Vec::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    for line in lines {
        let event: Value = serde_json::from_str(&line).unwrap();
        let said = event["message"].as_str().unwrap_or_default().to_owned();
        let is_last = said.contains(last);
        if event["level"] == "WARN" && said.contains("verified") {
            told.push(said);
        }
        if is_last {
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        }
    }
    assert!(child.wait().unwrap().success());
    told
}

#[test]
fn both_services_of_up_warn_in_one_line_until_each_export_was_verified() {
    let home = filled();
    let up = |last: &str| {
        let mut command = home.command(&[&"up"]);
        warnings(command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0"), last)
    };
    let [data, chain] = ["data-chain", "block-manager"].map(|name| home.data().join(name));
    let (data, chain) = (data.display().to_string(), chain.display().to_string());
    let told = up("no export of the root key");
    let [both] = &told[..] else { panic!("{told:?}") };
    assert!(
        both.contains(&data) && both.contains(&chain) && both.contains("verify-export"),
        "{both}"
    );
    assert_eq!(verified(&home, &export(&home, "data-chain"), &[]).0, 0);
    let told = up("no export of the root key");
    let [one] = &told[..] else { panic!("{told:?}") };
    assert!(!one.contains(&data) && one.contains(&chain), "{one}");
    assert_eq!(verified(&home, &export(&home, "block-manager"), &[]).0, 0);
    assert_eq!(up("Lucid Data Chain Service started successfully"), Vec::<String>::new());
}

#[test]
fn the_folder_tells_without_its_owner_what_is_known() {
    use lucid_store::files::folder::keys::{KeyExport, export_warning, key_export};
    let home = filled();
    let folder = home.data().join("data-chain");
    assert_eq!(key_export(&folder).unwrap(), KeyExport::NotVerified);
    assert!(export_warning(&[(folder.clone(), KeyExport::NotVerified)]).is_some());
    let _server = {
        let file = export(&home, "data-chain");
        assert_eq!(verified(&home, &file, &[]).0, 0);
        Server::start(&home)
    };
    let known = key_export(&folder).unwrap();
    assert_eq!((known.state(), known.why()), ("verified", None));
    assert_eq!(export_warning(&[(folder, known)]), None);
    assert!(key_export(&home.at("")).unwrap_err().to_string().contains("holds no Lucid store"));
    let unknown = export_warning(&[(home.at("x"), KeyExport::Unknown("why".into()))]).unwrap();
    assert!(unknown.contains("it is not known") && unknown.ends_with("why"), "{unknown}");
    assert_eq!(json!(KeyExport::Passphrase.verified_at()), Value::Null);
}
