//! Places that have a name, and what says which place is meant.

use std::fs;
use std::process::Command;

use super::home::{Home, Ran};
use super::server::Server;

/// A command that is told of no place but by its variables and options.
fn command(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
    command.env_clear().current_dir(home.at("")).env("HOME", home.at("user"));
    command.envs(variables.iter().copied()).args(arguments);
    command
}

fn run(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    command(home, variables, arguments).output().unwrap().into()
}

/// What the sessions are that are there, of one each.
fn found(home: &Home, variables: &[(&str, &str)], more: &[&str]) -> String {
    let ran = run(home, variables, &[&["--json", "ls"], more].concat());
    assert_eq!(ran.code, 0, "{variables:?} {more:?}: {}", ran.err);
    ran.json()["session_id"].as_str().unwrap().to_owned()
}

fn refused(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let ran = run(home, variables, arguments);
    assert_ne!(ran.code, 0, "{variables:?} {arguments:?}: {}", ran.text());
    ran.complaint()
}

/// A home with three stores, each of which has a session by its name.
fn three() -> Home {
    let home = Home::new();
    for store in ["one", "two", "lucid-data"] {
        let place = home.at(store);
        let store = [("LUCID_DATA", place.to_str().unwrap())];
        home.file("in/a", "1");
        let name = place.file_name().unwrap().to_str().unwrap();
        let ran = run(&home, &store, &["archive", "in", "--session", name]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    home
}

fn config(home: &Home, text: &str) {
    home.file("user/.config/lucid/config.toml", text);
}

/// The id of a store of sessions.
fn store_id(home: &Home, store: &str) -> String {
    let label = fs::read_to_string(home.at(store).join("data-chain/STORE")).unwrap();
    let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    label.split_whitespace().find(is_id).unwrap().to_owned()
}

#[test]
fn a_variable_or_an_option_names_the_folder_and_what_is_nearer_wins() {
    let home = three();
    let server = Server::start(&Home::new().with_data(home.at("two")));
    let url = server.url.as_str();
    let folder = ("LUCID_DATA", "one");
    let served = ("LUCID_DATA_CHAIN_URL", url);
    assert_eq!(found(&home, &[], &[]), "lucid-data");
    assert_eq!(found(&home, &[folder], &[]), "one");
    assert_eq!(found(&home, &[served], &[]), "two");
    // An option counts over every variable.
    assert_eq!(found(&home, &[folder], &["--data", "lucid-data"]), "lucid-data");
    assert_eq!(found(&home, &[served], &["--data", "one"]), "one");
    assert_eq!(found(&home, &[folder], &["--server", url]), "two");
    assert_eq!(found(&home, &[folder, served], &["--server", url]), "two");
    let said = refused(&home, &[folder, served], &["ls"]);
    assert!(said.contains("LUCID_DATA and LUCID_DATA_CHAIN_URL are set"), "{said}");
    // What is empty says nothing.
    assert_eq!(found(&home, &[("LUCID_DATA", ""), served], &[]), "two");
}

#[test]
fn a_profile_names_a_place_and_what_opens_it() {
    let home = three();
    let server = Server::start(&Home::new().with_data(home.at("two")));
    let places = format!(
        "default = \"first\"\n[place.first]\ndata = \"~/../one\"\n[place.second]\nserver = \"{}\"\n",
        server.url
    );
    assert!(refused(&home, &[], &["ls", "--profile", "first"]).contains("has no place \"first\""));
    config(&home, &places);
    assert_eq!(found(&home, &[], &[]), "one");
    assert_eq!(found(&home, &[], &["--profile", "second"]), "two");
    assert_eq!(found(&home, &[("LUCID_PROFILE", "second")], &[]), "two");
    // A variable is nearer than a default, an option than a variable.
    assert_eq!(found(&home, &[("LUCID_DATA", "lucid-data")], &[]), "lucid-data");
    assert_eq!(found(&home, &[("LUCID_DATA", "lucid-data")], &["--profile", "second"]), "two");
    assert_eq!(
        found(&home, &[("LUCID_PROFILE", "second")], &["--data", "lucid-data"]),
        "lucid-data"
    );
    let both = [("LUCID_DATA", "one"), ("LUCID_PROFILE", "second")];
    assert!(refused(&home, &both, &["ls"]).contains("LUCID_DATA and LUCID_PROFILE are set"));
    let named = refused(&home, &[], &["ls", "--profile", "second", "--data", "one"]);
    assert!(named.contains("leave one out"), "{named}");
    let third = refused(&home, &[], &["ls", "--profile", "third"]);
    assert!(third.contains("first, second"), "{third}");
    // Another folder of settings.
    home.file("settings/lucid/config.toml", "default = \"x\"\n[place.x]\ndata = \"../../two\"\n");
    drop(server);
    let settings = home.at("settings");
    assert_eq!(found(&home, &[("XDG_CONFIG_HOME", settings.to_str().unwrap())], &[]), "two");
}

#[test]
fn a_profile_of_another_store_is_refused_and_nothing_is_made_for_it() {
    let home = three();
    let [one, two] = ["one", "two"].map(|store| store_id(&home, store));
    let place = |what: &str, id: &str| format!("[place.p]\n{what}\nstore_id = \"{id}\"\n");
    let of = ["--profile", "p"];
    config(&home, &place("data = \"../../../one\"", &one));
    assert_eq!(found(&home, &[], &of), "one");
    config(&home, &place("data = \"../../../one\"", &two));
    for arguments in [&["ls"][..], &["archive", "in"], &["verify", "--all"]] {
        let said = refused(&home, &[], &[arguments, &of].concat());
        assert!(said.contains(&one) && said.contains("store_id of [place.p]"), "{said}");
    }
    config(&home, &place("data = \"../../../gone\"", &two));
    assert!(refused(&home, &[], &["archive", "in", "--profile", "p"]).contains(&two));
    assert!(!home.at("gone/data-chain").exists());
    let server = Server::start(&Home::new().with_data(home.at("two")));
    config(&home, &place(&format!("server = \"{}\"", server.url), &two));
    assert_eq!(found(&home, &[], &of), "two");
    config(&home, &place(&format!("server = \"{}\"", server.url), &one));
    for arguments in [&["ls"][..], &["archive", "in"], &["seal", "two"], &["cat", "latest"]] {
        let said = refused(&home, &[], &[arguments, &of].concat());
        assert!(said.contains(&two) && said.contains(&one), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_wrong_with_the_file_is_said_in_one_sentence_and_is_wrong_use() {
    let home = three();
    for (text, wanted) in [
        ("[place.a]\ndata = \"one\"\ncolour = \"red\"\n", "config.toml:3: unknown field `colour`"),
        ("default = \"a\"\n[place.a]\n", "data or server"),
        ("default = \"a\"\n[place.a]\ndata = \"one\"\nserver = \"x\"\n", "data or server"),
        ("default = \"a\"\n[place.a]\ndata = \"one\"\nstore_id = \"7\"\n", "store_id of [place.a]"),
        ("default = \"a\"\n[place.a]\nserver = \"x\"\npin = \"7\"\n", "pin of [place.a]"),
        ("default = \"a\"\n[place.a]\nserver = \"x\"\nkey_file = \"k\"\n", "key_file of [place.a]"),
        ("default = \"a\"\n", "has no place \"a\""),
    ] {
        config(&home, text);
        let ran = run(&home, &[], &["ls"]);
        assert_eq!(ran.code, 64, "{text}: {}", ran.err);
        assert!(ran.complaint().contains(wanted), "{text}: {}", ran.err);
    }
    // What needs no place does not look.
    assert_eq!(run(&home, &[], &["config", "manual"]).code, 0);
}

#[test]
fn a_profile_says_which_keys_and_tokens_and_an_option_counts_over_it() {
    let home = three();
    let key = home.at("one/data-chain/keys/root.key");
    fs::rename(&key, home.at("user-key")).unwrap();
    let text =
        "default = \"a\"\n[place.a]\ndata = \"../../../one\"\nkey_file = \"../../../user-key\"\n";
    config(&home, text);
    assert_eq!(found(&home, &[], &[]), "one");
    fs::rename(home.at("user-key"), home.at("moved")).unwrap();
    assert!(run(&home, &[], &["ls"]).code != 0);
    assert_eq!(found(&home, &[], &["--key-file", "moved"]), "one");
    config(
        &home,
        "default = \"a\"\n[place.a]\nserver = \"http://127.0.0.1:1\"\ntoken_file = \"token\"\n",
    );
    let said = refused(&home, &[], &["ls"]);
    assert!(said.contains("user/.config/lucid/token"), "{said}");
}
