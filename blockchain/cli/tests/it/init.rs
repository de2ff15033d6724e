//! `lucid init`: everything that a first start needs is made once, and a disk that is not mounted is told from a
//! beginning.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lucid_api::access::{Token, TokenSource};
use lucid_api::client::{BlockManagerClient, ClientOptions, DataChainClient};
use lucid_store::files::folder::is_store;
use serde_json::Value;

use super::home::Home;
use super::only_read::{as_somebody, is_root};
use super::server::Server;

/// Every file and folder at a path: its name, mode, owner and bytes.
fn everything(path: &Path) -> Vec<(PathBuf, u32, u32, Vec<u8>)> {
    let facts = fs::symlink_metadata(path).unwrap();
    let bytes = if facts.is_dir() { Vec::new() } else { fs::read(path).unwrap() };
    let mut found = vec![(path.to_owned(), facts.mode(), facts.uid(), bytes)];
    if facts.is_dir() {
        let mut paths: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        found.extend(paths.iter().flat_map(|path| everything(path)));
    }
    found
}

fn text(home: &Home, name: &str) -> String {
    fs::read_to_string(home.at(name)).unwrap()
}

/// The value of a variable in the file of secrets.
fn secret(home: &Home, name: &str) -> String {
    let text = text(home, ".env.secrets");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
        .next_back()
        .unwrap()
}

fn ids(made: &Value) -> [String; 2] {
    [0, 1].map(|at| made["stores"][at]["store_id"].as_str().unwrap().to_owned())
}

#[test]
fn a_first_start_goes_with_what_was_made_and_a_second_run_changes_nothing() {
    let home = Home::new();
    let made = home.json(&[&"init"]);
    assert_eq!(made["made"], serde_json::json!(["admin", "data-chain"]));
    let [data, chain] = ids(&made);
    assert_eq!(secret(&home, "DATA_CHAIN_STORE_ID"), data);
    assert_eq!(secret(&home, "BLOCK_MANAGER_STORE_ID"), chain);
    let private = [".env.secrets", "store/tokens"].map(|name| home.at(name));
    for file in private {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = [everything(home.data()), everything(&home.at(".env.secrets"))];
    let again = home.json(&[&"init"]);
    assert_eq!(again.get("admin_token"), None, "{again}");
    assert_eq!((&again["added"], &again["made"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert_eq!(ids(&again), [data.clone(), chain.clone()]);
    assert_eq!([everything(home.data()), everything(&home.at(".env.secrets"))], before);
    for line in home.done(&[&"init"]).lines().iter().take(4) {
        assert!(line.contains("there already"), "{line}");
    }

    let secrets = home.at(".env.secrets");
    let settings: Vec<(String, String)> = ["DATA_CHAIN_STORE_ID", "BLOCK_MANAGER_STORE_ID"]
        .map(|name| (name.to_owned(), secret(&home, name)))
        .into();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let server = Server::start_with(&home, 0, &settings);
    let known = |text: &str| ClientOptions {
        token: Some(TokenSource::Text(Token::given(text))),
        ..ClientOptions::default()
    };
    let admin = known(made["admin_token"].as_str().unwrap());
    let status = DataChainClient::new(&server.url, admin).unwrap().status().unwrap();
    assert_eq!(status.counts["store_id"], data.as_str());
    // What the data-chain shows counts at the block-manager.
    let peer = known(&secret(&home, "LUCID_PEER_TOKEN"));
    let status = BlockManagerClient::new(&server.chain, peer).unwrap().status().unwrap();
    assert_eq!(status.counts["store_id"], chain.as_str());
    assert!(DataChainClient::new(&server.url, ClientOptions::default()).unwrap().status().is_err());
    drop(server);
    home.archive("first", &home.file("first", "first"));
    home.assert_sound();
    assert!(secrets.exists());
}

#[test]
fn neither_init_nor_a_start_makes_a_store_where_another_one_belongs() {
    let home = Home::new();
    let made = home.json(&[&"init"]);
    let env: [&dyn AsRef<OsStr>; 2] = [&"--env-file", &home.at(".env.secrets")];
    for (name, id) in ["data-chain", "block-manager"].iter().zip(ids(&made)) {
        let (folder, away) = (home.data().join(name), home.at("away"));
        fs::rename(&folder, &away).unwrap();
        fs::create_dir(&folder).unwrap();
        for arguments in [vec![&"init" as &dyn AsRef<OsStr>], [&[&"up" as _], &env[..]].concat()] {
            let mut command = home.command(&arguments);
            command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
            let ran: super::home::Ran = command.output().unwrap().into();
            assert_eq!(ran.code, 1, "{}", ran.err);
            let said = ran.complaint();
            assert!(
                said.contains(&id) && said.contains(name) && said.contains(": mount"),
                "{said}"
            );
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{said}");
        }
        // Nor is another store taken for it.
        let other = Home::new();
        other.json(&[&"init"]);
        fs::remove_dir(&folder).unwrap();
        fs::rename(other.data().join(name), &folder).unwrap();
        let refused = home.refused(1, &[&"init"]);
        assert!(refused.contains(&id) && refused.contains("if this store is meant"), "{refused}");
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&away, &folder).unwrap();
    }
    assert_eq!(ids(&home.json(&[&"init"])), ids(&made));
}

#[test]
fn what_was_broken_off_is_completed() {
    let home = Home::new();
    // A store that was begun: keys without their STORE, and the note that they are nobody's yet.
    let half = Home::new();
    half.json(&[&"init"]);
    let folder = home.data().join("data-chain");
    fs::create_dir_all(folder.join("run")).unwrap();
    super::home::copy(&half.data().join("data-chain/keys"), &folder.join("keys"));
    fs::write(folder.join("run/making"), "").unwrap();
    let made = home.json(&[&"init"]);
    assert!(is_store(&folder).unwrap() && made["stores"][0]["made"] == true, "{made}");
    // The file of secrets was not written yet: the stores are the same, the token is another one.
    fs::remove_file(home.at(".env.secrets")).unwrap();
    let again = home.json(&[&"init"]);
    assert_eq!(ids(&again), ids(&made));
    assert!(again.get("admin_token").is_none(), "{again}");
    let peer = again["made"][0].as_str().unwrap();
    assert!(peer.starts_with("data-chain-"), "{again}");
    // The list was not: the token in the file is in it, and the operator gets one.
    fs::remove_file(home.at("store/tokens")).unwrap();
    let again = home.json(&[&"init"]);
    assert_eq!(again["added"], serde_json::json!([]));
    let hash = Token::given(&secret(&home, "LUCID_PEER_TOKEN")).hash().to_string();
    assert!(text(&home, "store/tokens").contains(&hash) && again["admin_token"].is_string());
    // A token that was revoked stays so.
    home.done(&[&"token", &"revoke", &"data-chain"]);
    let warned = home.run(&[&"init"]);
    assert_eq!(warned.code, 0);
    assert!(warned.err.contains("LUCID_PEER_TOKEN is in no line"), "{}", warned.err);
    assert!(!text(&home, "store/tokens").contains(&hash));
    // A file that the operator began keeps what is in it.
    let own = home.file("own", "# mine\nLOG_LEVEL=WARNING");
    home.json(&[&"init", &"--secrets", &own]);
    assert!(text(&home, "own").starts_with("# mine\nLOG_LEVEL=WARNING\nDATA_CHAIN_STORE_ID="));
    home.assert_sound();
}

#[test]
fn the_key_that_a_store_is_made_under_is_named_to_the_services() {
    let home = Home::new();
    let key = home.at("outside.key");
    home.json(&[&"init", &"--key-file", &key]);
    assert_eq!(Path::new(&secret(&home, "LUCID_MASTER_KEY_FILE")), key);
    assert!(key.exists() && !home.data().join("data-chain/keys/root.key").exists());
    let mut up = home.command(&[&"--json", &"up", &"--env-file", &home.at(".env.secrets")]);
    up.env("DATA_CHAIN_PORT", "0")
        .env("BLOCK_MANAGER_PORT", "0")
        .stderr(std::process::Stdio::null());
    let mut child = up.spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(lines).map_while(Result::ok);
    let started = lines.any(|line| line.contains("Data Chain Service started successfully"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(started);
}

#[test]
fn everything_is_given_to_the_owner_that_is_named_and_a_start_without_the_right_says_the_command() {
    let home = Home::new();
    if !is_root() {
        let refused = home.refused(64, &[&"init", &"--owner", &"0:0"]);
        assert!(refused.contains("run this as root"), "{refused}");
        assert!(!home.data().exists());
        return;
    }
    let deep = home.at("new/folder/store");
    let home = home.with_data(deep);
    let made = home.json(&[&"init"]);
    assert_eq!(made["owner"], "0:0");
    let up = |home: &Home| -> super::home::Ran {
        let mut command = as_somebody(home, &[&"up"]);
        command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
        command.output().unwrap().into()
    };
    fs::set_permissions(home.at("new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.at("new/folder"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["data-chain", "block-manager", "tokens"] {
        fs::set_permissions(home.data().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let refused = up(&home);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("cannot be written to"), "{}", refused.err);
    assert!(refused.err.contains("sudo chown -R 65534:65534 /"), "{}", refused.err);
    // What is there already is given away, too, and so are folders that are made on the way.
    let given = home.json(&[&"init", &"--owner", &"65532:65533"]);
    assert_eq!((&given["owner"], ids(&given)), (&"65532:65533".into(), ids(&made)));
    let other = Home::new();
    let other = {
        let deep = other.at("new/folder/store");
        other.with_data(deep)
    };
    other.json(&[&"init", &"--owner", &"65532:65533"]);
    let secrets = [home.at("new/folder/.env.secrets"), other.at("new/folder/.env.secrets")];
    for path in [home.data(), other.data(), &other.at("new"), &secrets[0], &secrets[1]] {
        for (path, _, owner, _) in everything(path) {
            assert_eq!(owner, 65_532, "{}", path.display());
        }
    }
}

#[test]
fn the_list_of_tokens_can_have_a_folder_of_its_own() {
    let home = Home::new();
    let list = home.at("access/tokens");
    let made = home.json(&[&"init", &"--tokens", &list]);
    assert_eq!(made["tokens"], list.display().to_string());
    assert_eq!(made["made"], serde_json::json!(["admin", "data-chain"]));
    assert!(!home.data().join("tokens").exists());
    assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 2);
    let again = home.json(&[&"init", &"--tokens", &list]);
    assert_eq!((&again["made"], again.get("admin_token")), (&serde_json::json!([]), None));
}
