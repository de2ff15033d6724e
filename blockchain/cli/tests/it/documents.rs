//! The documents say what is so: README's tour runs as it stands, links lead somewhere, files that are
//! named exist, and no verb, option or setting is left out.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use clap::CommandFactory as _;
use lucid::ending::CODES;
use lucid_api::problem::{Documented, ErrorCode};
use lucid_data_chain::ops::OpError;
use lucid_http::reply::Refusal;
use lucid_store::{Damage, StoreError};
use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use super::server::Server;
use super::walk::{Reader, fenced, programs};

/// How long a service may take to start on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// README, CHANGELOG and everything below `docs/`, relative to the root.
fn documents() -> Vec<PathBuf> {
    let mut found = vec!["README.md".into(), "CHANGELOG.md".into()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            match root().join(&path).is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

/// Copies a folder of plain files and folders.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match from.is_dir() {
            true => copy_folder(&from, &to.join(name)),
            false => drop(std::fs::copy(&from, to.join(name)).unwrap()),
        }
    }
}

/// Ends a child that a failed test leaves behind.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Runs a command that serves, asks it something, and tells it to end.
fn serve(reader: &Reader, command: &str) {
    let child = reader.shell(&format!("exec {command}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Guarded(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let started = loop {
        let line = told.recv_timeout(PATIENCE).unwrap();
        if line.contains("Lucid Data Chain Service started successfully") {
            break line;
        }
    };
    let port = started.split_once("127.0.0.1:").map(|(_, rest)| rest).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    reader.run(&format!("lucid ls --server http://127.0.0.1:{port}"));
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0), "{command}");
}

#[test]
fn the_tour_runs_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&root().join("docs"), &folder.path().join("docs"));
    let reader = Reader::new(folder.path());
    let mut count = 0;
    for line in fenced(&read("README.md"), "console") {
        let command = line.strip_prefix("$ ").unwrap();
        match command == "lucid up" {
            true => serve(&reader, command),
            false => drop(reader.run(command)),
        }
        count += 1;
    }
    assert!(count > 10, "the tour has {count} commands");
    let copy = std::fs::read(folder.path().join("copy.md")).unwrap();
    assert_eq!(copy, std::fs::read(folder.path().join("docs/API.md")).unwrap());
}

/// The examples of a document: what stands between bare fences and calls `curl`.
fn examples(text: &str) -> Vec<String> {
    let mut fence: Option<String> = None;
    let mut found = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut fence) {
            (Some(""), None) => fence = Some(String::new()),
            (Some(_), None) => fence = Some("another language".to_owned()),
            (Some(_), Some(_)) => found.extend(fence.take().filter(|text| text.contains("curl "))),
            (None, Some(text)) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn the_examples_of_the_api_run_in_the_order_in_which_they_stand() {
    let home = Home::new();
    let server = Server::start(&home);
    let port = server.url.rsplit(':').next().unwrap();
    let examples = examples(&read("docs/API.md"));
    for example in &examples {
        // As they are pasted, but a request that is refused is a failure here.
        let text = example.replace("127.0.0.1:8087", &format!("127.0.0.1:{port}"));
        let failing = format!("curl() {{ command curl --fail-with-body \"$@\"; }}\n{text}");
        let mut run = Command::new("/bin/bash");
        run.args(["-euo", "pipefail", "-c", &failing]).current_dir(home.at("")).env_clear();
        let ran = run.env("PATH", programs()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{text}{said}{}", String::from_utf8_lossy(&ran.stderr));
    }
    let count: usize = examples.iter().map(|text| text.matches("curl -s").count()).sum();
    assert!(count > 40, "there are {count} examples");
}

/// What the founding documents ask both services by `curl`, on today's ports: every route that they name and that
/// answers without anything being stored before, and the keys that they promise. `M` is the block-manager, `D`
/// the data-chain.
const FOUNDING: [(&str, &str, &[&str]); 24] = [
    ("M/", "", &["message", "version", "docs", "endpoints"]),
    (
        "M/health",
        "",
        &[
            "status",
            "service",
            "version",
            "block_validator",
            "chain_manager",
            "block_storage",
            "chain_sync",
        ],
    ),
    ("M/api/v1/chain", "", &["endpoints"]),
    ("M/api/v1/validation", "", &["endpoints"]),
    ("M/api/v1/blocks", "", &["blocks", "pagination"]),
    (
        "M/api/v1/blocks/0",
        "",
        &["index", "timestamp", "transactions", "previous_hash", "merkle_root", "nonce", "hash"],
    ),
    (
        "M/api/v1/chain/info",
        "",
        &["height", "state", "last_updated", "block_count", "latest_block_hash", "genesis_hash"],
    ),
    ("M/api/v1/chain/height", "", &["height", "hash", "timestamp"]),
    (
        "M/api/v1/chain/maintenance",
        "{}",
        &["status", "started_at", "duration_ms", "integrity", "removed", "height"],
    ),
    (
        "M/api/v1/validation/chain",
        "{}",
        &["valid", "blocks_checked", "start", "end", "missing", "invalid", "validated_at"],
    ),
    (
        "M/api/v1/validation/rules",
        "",
        &["rules", "required_fields", "timestamp_tolerance_seconds", "hash_algorithm"],
    ),
    ("D/", "", &["message", "version", "docs", "endpoints"]),
    (
        "D/health",
        "",
        &[
            "status",
            "service",
            "version",
            "data_indexer",
            "data_storage",
            "data_query",
            "data_sync",
        ],
    ),
    ("D/api/v1/data", "", &["endpoints"]),
    ("D/api/v1/storage", "", &["endpoints"]),
    ("D/api/v1/query", "", &["endpoints"]),
    ("D/api/v1/index", "", &["total_indexed", "queue_size", "indexes", "endpoints"]),
    ("D/api/v1/data/blocks?limit=10", "", &["items", "count", "limit", "offset"]),
    ("D/api/v1/data/transactions", "", &["items", "count", "limit", "offset"]),
    ("D/api/v1/data/sessions", "", &["items", "count", "limit", "offset"]),
    (
        "D/api/v1/data/index",
        r#"{"type": "session", "id": "s", "status": "active"}"#,
        &["queued", "count", "queue_size"],
    ),
    (
        "D/api/v1/storage/stats",
        "",
        &["total_blocks", "total_transactions", "total_sessions", "storage_size"],
    ),
    (
        "D/api/v1/query/blocks",
        r#"{"filters": {}, "limit": 10}"#,
        &["results", "count", "limit", "offset", "cached"],
    ),
    (
        "D/api/v1/query/stats",
        "",
        &["cache_size", "total_queries", "average_query_time", "cache_hits", "cache_misses"],
    ),
];

#[test]
fn the_requests_of_the_founding_documents_are_answered_as_they_say() {
    let home = Home::new();
    home.archive("s", &home.file("x", "y"));
    hold_to_founding(&Server::start(&home), None);
}

/// The same with a token, where the founding documents have both services listen.
#[test]
fn the_requests_of_the_founding_documents_are_answered_with_a_token_on_every_address() {
    let home = Home::new();
    home.archive("s", &home.file("x", "y"));
    let made = home.json(&[&"token", &"create", &"--role", &"admin"]);
    let everywhere = [("DATA_CHAIN_HOST", "0.0.0.0"), ("BLOCK_MANAGER_HOST", "0.0.0.0")];
    hold_to_founding(&Server::start_with(&home, 0, &everywhere), made["token"].as_str());
}

fn hold_to_founding(server: &Server, token: Option<&str>) {
    for (request, body, keys) in FOUNDING {
        let (service, path) = request.split_at(1);
        let base = if service == "M" { &server.chain } else { &server.url };
        let mut curl = Command::new("curl");
        curl.env_clear().env("PATH", programs()).args(["-s", "--fail-with-body"]);
        curl.arg(format!("{base}{path}"));
        if let Some(token) = token {
            curl.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        if !body.is_empty() {
            curl.args(["-X", "POST", "-H", "Content-Type: application/json", "-d", body]);
        }
        let ran = curl.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{request}: {said}");
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        for key in keys {
            assert!(said.get(key).is_some(), "{request} has no {key}: {said}");
        }
    }
}

#[test]
fn exactly_two_commands_start_it() {
    let commands = fenced(&read("README.md"), "sh");
    assert_eq!(commands, ["cargo run --release -- archive PATH", "cargo test --workspace"]);
}

/// A heading's anchor, as the programs that show these documents make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// How often each anchor stands in a document.
fn anchors(text: &str) -> BTreeMap<String, usize> {
    let mut inside = false;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside && line.starts_with('#') {
            *found.entry(anchor(line)).or_default() += 1;
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            count += 1;
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(root().join(&target).exists(), "{}: {link}", document.display());
            if !wanted.is_empty() {
                let there = anchors(&read(&target)).get(wanted).copied();
                assert_eq!(there, Some(1), "{}: {link}", document.display());
            }
        }
    }
    assert!(count > 50, "the documents have {count} links");
}

#[test]
fn every_file_of_ours_that_is_named_exists() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for named in text.split('`').filter(|part| !part.contains([' ', '\n'])) {
            if named.contains("/src/") || named.contains("/tests/") {
                count += 1;
                let there = [root(), root().join("blockchain")]
                    .iter()
                    .any(|base| base.join(named).exists());
                assert!(there, "{}: {named}", document.display());
            }
        }
    }
    assert!(count > 50, "the documents name {count} files");
}

#[test]
fn every_verb_and_option_is_documented() {
    let text = read("docs/API.md");
    let command = lucid::cmd::Arguments::command();
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        assert!(text.contains(&format!("| `{name}")), "{name}");
        for option in verb.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(text.contains(&format!("--{option}")), "{name} --{option}");
        }
    }
}

/// The cells of a table's rows.
fn rows<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = text.split_once(head).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_table_of_codes_is_the_one_that_services_answer_by() {
    let text = read("docs/API.md");
    let mut documented: Vec<_> = rows(&text, "| status | code | means | what to do |")
        .into_iter()
        .map(|row| (row[0].to_owned(), row[1].trim_matches('`').to_owned(), row[3].to_owned()))
        .collect();
    let mut answered: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| (code.status().to_string(), code.as_str().to_owned(), code.remedy().to_owned()))
        .collect();
    documented.sort();
    answered.sort();
    assert_eq!(documented, answered);
    // And so are those of the documented API.
    let listed: Vec<_> = rows(&text, "| documented code | means |")
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned()))
        .collect();
    let answered = Documented::ALL.iter();
    let answered: Vec<_> =
        answered.map(|(code, means)| (code.as_str().to_owned(), (*means).to_owned())).collect();
    assert_eq!(listed, answered);
    // Everything else that the document calls a code of status 409 is one.
    for part in text.split("409 `").skip(1) {
        let named = part.split('`').next().unwrap();
        let code = ErrorCode::parse(named).unwrap_or_else(|| panic!("{named}"));
        assert_eq!(code.status(), 409, "{named}");
    }
}

/// Every code is asserted by a test that provokes it: by its word, or by its name in the code.
#[test]
fn every_code_is_provoked_by_a_test() {
    let mut tests = String::new();
    let mut folders: Vec<_> = ["http", "data", "manager", "cli"]
        .map(|name| root().join("blockchain").join(name).join("tests"))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with("cli/tests/it/documents.rs") => {}
                false if path.extension().is_some_and(|kind| kind == "rs") => {
                    tests.push_str(&std::fs::read_to_string(path).unwrap());
                }
                false => {}
            }
        }
    }
    for code in ErrorCode::ALL {
        let (word, name) = (format!("\"{}\"", code.as_str()), format!("ErrorCode::{code:?}"));
        assert!(tests.contains(&word) || tests.contains(&name), "no test provokes {word}");
    }
    for (code, _) in Documented::ALL {
        let word = format!("\"{}\"", code.as_str());
        assert!(tests.contains(&word), "no test provokes {word}");
    }
}

#[test]
fn the_table_of_exit_codes_is_the_one_that_commands_end_by() {
    let text = read("docs/API.md");
    let (_, section) = text.split_once("### Exit codes").unwrap();
    let cells = rows(section, "| code | |").into_iter().flat_map(|row| row[0].split(", "));
    let documented: Vec<u8> = cells.filter_map(|code| code.parse().ok()).collect();
    assert_eq!(documented, CODES);
}

#[test]
fn the_same_failure_of_a_store_has_one_code_in_both_services() {
    let io = |kind| StoreError::Io { context: "x".into(), reason: "y".into(), kind };
    for (error, code) in [
        (StoreError::Damaged(Damage::new("f", 7, "the digest differs")), ErrorCode::Damaged),
        (io(std::io::ErrorKind::StorageFull), ErrorCode::Full),
        (io(std::io::ErrorKind::PermissionDenied), ErrorCode::Unavailable),
        (StoreError::Index("x".into()), ErrorCode::Unavailable),
    ] {
        let data = Refusal::from(OpError::Store(error.clone()));
        let chain = lucid_block_manager::problems::store(error.clone());
        assert_eq!((data.code(), chain.code()), (code, code), "{error:?}");
    }
}

#[test]
fn every_route_is_documented() {
    let text = read("docs/API.md");
    let source = read("blockchain/api/src/paths.rs");
    let constants = source.split("\n#[cfg(test)]").next().unwrap().lines();
    let paths = constants.filter(|line| line.starts_with("pub const")).map(|line| {
        let path = line.split('"').nth(1).unwrap();
        path.replace("{*path}", "{path}")
    });
    let mut count = 0;
    for path in paths {
        count += 1;
        let ends = ["`", "?"].map(|end| format!("{path}{end}"));
        assert!(ends.iter().any(|ended| text.contains(ended)), "{path}");
    }
    assert!(count > 30, "there are {count} paths");
}

#[test]
fn the_manual_of_settings_is_the_one_that_the_programs_write() {
    let home = Home::new();
    let manual = home.done(&[&"config", &"manual"]).text();
    assert!(
        manual == read("docs/CONFIGURATION.md"),
        "write it anew: lucid config manual > docs/CONFIGURATION.md"
    );
    let nothing = BTreeMap::new();
    let data = lucid_data_chain::config::load(&nothing, None).unwrap();
    let chain = lucid_block_manager::config::Config::load(&nothing, None).unwrap();
    let asked: Vec<_> = data.asked.iter().chain(&chain.asked).collect();
    assert!(asked.len() > 80, "{}", asked.len());
    for name in asked {
        assert!(manual.contains(&format!("`{name}`")), "{name}");
    }
    for line in manual.lines().filter(|line| line.starts_with("| `")) {
        assert!(!line.ends_with("|  |"), "nothing is said of {line}");
    }
}
