//! What a person meets: errors that name their remedy, for people and programs; options and variables that
//! are misspelt; Ctrl-C; a terminal; and folders in which nobody asked for anything.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;

use clap::CommandFactory as _;
use lucid_http::serve::Shutdown;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::home::{Home, Ran, noise, wait};
use super::server::Server;

type Arguments<'a> = &'a [&'a dyn AsRef<OsStr>];

/// The last line of standard error, which is the error as programs read it.
fn problem(ran: &Ran) -> Value {
    let line = ran.err.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {}", ran.err))
}

#[test]
fn every_error_is_json_with_a_remedy_where_json_is_asked_for() {
    let home = Home::new();
    home.archive("s", &home.file("tree/a", noise(1, 1_000)));
    home.restore("s", "out");
    let away = "http://127.0.0.1:1";
    let cases: &[(i32, Arguments<'_>, &str)] = &[
        // Wrong use, found when the arguments are read.
        (64, &[&"--json"], "lucid"),
        (64, &[&"--json", &"archvie", &"x"], "archive"),
        (64, &[&"--json", &"archive", &"x", &"--usr", &"ann"], "--user"),
        (64, &[&"archive", &"--json"], "archive"),
        (64, &[&"--json", &"verify"], "--all"),
        (64, &[&"--json", &"restore", &"s"], "--tar"),
        (64, &[&"--json", &"--server", &away, &"up"], "leave it out"),
        // And what the verbs come upon.
        (1, &[&"--json", &"show", &"none"], "lucid ls"),
        (1, &[&"--json", &"rm", &"s"], "--yes"),
        (1, &[&"--json", &"append", &"tree/a", &"--session", &"s"], "choose another id"),
        (69, &[&"--json", &"--server", &away, &"ls"], "lucid up"),
        (64, &[&"--json", &"--server", &"localhost:8087", &"ls"], "http://"),
        (74, &[&"--json", &"archive", &"gone"], "there"),
    ];
    for (code, arguments, remedy) in cases {
        let ran = home.run(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref()).collect();
        assert_eq!(ran.code, *code, "{shown:?}: {}", ran.err);
        let problem = problem(&ran);
        assert!(problem["error"].as_str().is_some_and(|error| !error.is_empty()), "{problem}");
        let told = problem["remedy"].as_str().unwrap_or_default();
        assert!(told.contains(remedy), "{shown:?}: {problem}");
        // Without --json the same remedy stands in the sentence or behind it.
        let people: Vec<_> = arguments.iter().filter(|word| word.as_ref() != "--json").collect();
        let people = home.run(&people.iter().map(|word| **word).collect::<Vec<_>>());
        assert!(people.err.contains(remedy), "{shown:?}: {}", people.err);
    }
    let lost = Home::new().run(&[&"--json", &"ls"]);
    let told = problem(&lost)["remedy"].as_str().unwrap_or_default().to_owned();
    assert!(lost.code == 1 && told.contains("lucid archive"), "{}", lost.err);
    // Of the second restore the files that differ are named, each with what can be done.
    home.file("out/a", "mine");
    let again = home.run(&[&"restore", &"s", &"-o", &home.at("out")]);
    assert!(again.err.contains("--overwrite"), "{}", again.err);
}

#[test]
fn a_root_key_that_is_gone_is_asked_for_by_the_option_that_names_it() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 1_000)));
    for name in ["root.key", "root.key.copy"] {
        fs::remove_file(home.data().join("data-chain/keys").join(name)).unwrap();
    }
    let ran = home.run(&[&"--json", &"ls"]);
    let problem = problem(&ran);
    assert!(problem["remedy"].as_str().unwrap().contains("--key-file"), "{problem}");
}

#[test]
fn a_service_of_another_kind_is_told_by_its_answer() {
    let home = Home::new();
    let server = Server::start(&home);
    let ran = home.run(&[&"--json", &"--server", &server.chain, &"ls"]);
    let problem = problem(&ran);
    assert!(problem["remedy"].as_str().unwrap().contains("port 8087"), "{problem}");
}

#[test]
fn a_session_that_is_not_the_same_says_what_differs() {
    let home = Home::new();
    let file = home.file("a", "content");
    let append = |more: &[&'static str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> =
            vec![&"append", &file, &"--session", &"s", &"--keep-open"];
        all.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        home.run(&all)
    };
    assert_eq!(append(&["--user", "ann", "--meta", "host=a"]).code, 0);
    let other = append(&["--user", "bob", "--meta", "host=b"]).complaint();
    for what in ["its user is \"ann\", not \"bob\"", "its metadata host is \"a\", not \"b\""] {
        assert!(other.contains(what), "{other}");
    }
    let kind = home.refused(1, &[&"archive", &file, &"--session", &"s"]);
    assert!(kind.contains("it is a recording, not a folder"), "{kind}");
}

#[test]
fn variables_that_nothing_heeds_are_named_with_the_one_that_may_be_meant() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 1_000)));
    let ran: Ran = home.command(&[&"ls"]).env("LUCID_DATA_CHAN_URL", "x").output().unwrap().into();
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("LUCID_DATA_CHAIN_URL may be meant"), "{}", ran.err);
    // The service says it in its log.
    let mut command = home.command(&[&"up"]);
    command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
    let mut child = command.env("DATA_CHAIN_KEEP_DAY", "30").spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut warned = 0;
    for line in lines.map_while(Result::ok) {
        warned += usize::from(line.contains("DATA_CHAIN_KEEP_DAYS may be meant"));
        if line.contains("Lucid Data Chain Service started successfully") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(warned, 1, "once, though two services start");
}

/// The list that tells a misspelt variable from one that is heeded is whole, and no longer than that.
#[test]
fn every_variable_that_is_heeded_is_known() {
    let nothing = Default::default();
    let data = lucid_data_chain::config::load(&nothing, None).unwrap().asked;
    let chain = lucid_block_manager::config::Config::load(&nothing, None).unwrap().asked;
    let mut heeded: BTreeSet<String> = data.into_iter().chain(chain).collect();
    heeded.insert(lucid_http::config::CONFIG_FILE.to_owned());
    heeded.extend([lucid::showing::TOKEN, lucid::showing::CREDENTIALS].map(str::to_owned));
    let mut waiting = vec![lucid::cmd::Arguments::command()];
    while let Some(command) = waiting.pop() {
        let variables = command.get_arguments().filter_map(|argument| argument.get_env());
        heeded.extend(variables.map(|name| name.to_str().unwrap().to_owned()));
        waiting.extend(command.get_subcommands().cloned());
    }
    let is_ours =
        |name: &String| lucid_http::config::FAMILIES.iter().any(|family| name.starts_with(family));
    let (ours, others): (BTreeSet<_>, BTreeSet<_>) = heeded.into_iter().partition(is_ours);
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(ours, known(lucid_http::config::VARIABLES));
    assert_eq!(others, known(lucid_http::config::OTHERS));
}

#[test]
fn a_mirror_is_made_only_where_it_was_asked_for() {
    let home = Home::new();
    home.archive("s", &home.file("tree/a", noise(1, 1_000)));
    home.file("work/notes", "mine");
    let work = home.refused(1, &[&"mirror", &home.at("work")]);
    assert!(work.contains("holds other things"), "{work}");
    assert_eq!(fs::read_dir(home.at("work")).unwrap().count(), 1, "nothing was made in it");
    let here: Ran =
        home.command(&[&"mirror", &"."]).current_dir(home.at("work")).output().unwrap().into();
    assert_eq!(here.code, 1, "{}", here.err);
    let itself = home.refused(1, &[&"mirror", &home.data()]);
    assert!(itself.contains("the first store itself"), "{itself}");
    fs::create_dir(home.at("empty")).unwrap();
    home.done(&[&"mirror", &home.at("empty")]);
    home.done(&[&"mirror", &home.at("empty")]);
}

#[test]
fn a_data_folder_is_not_archived_into_itself() {
    let home = Home::new();
    home.archive("s", &home.file("tree/a", noise(1, 1_000)));
    let why = home.refused(1, &[&"archive", &home.data()]);
    assert!(why.contains("lucid mirror"), "{why}");
    assert_eq!(home.sessions().len(), 1);
    // Beside other things it is left out, and that is said.
    let above = home.run(&[&"archive", &home.at("")]);
    assert_eq!(above.code, 0, "{}", above.err);
    assert!(above.err.contains("\"store\" was left out"), "{}", above.err);
}

/// A data-chain of its own, without a block-manager to anchor in.
#[test]
fn an_archive_to_a_server_without_a_block_manager_says_so_at_once() {
    let home = Home::new();
    let folder = home.at("served").to_str().unwrap().to_owned();
    let settings = [("DATA_CHAIN_PORT", "0"), ("LUCID_DATA_DIR", &folder)];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = lucid_data_chain::config::load(&settings, None).unwrap().config;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shutdown = Shutdown::new();
    let service = runtime
        .block_on(lucid_data_chain::service::serve(config, None, &shutdown))
        .unwrap_or_else(|error| panic!("{error}"));
    let url = format!("http://{}", service.address());
    let started = std::time::Instant::now();
    let ran = home.run(&[&"--server", &url, &"archive", &home.file("a", "content")]);
    assert!(started.elapsed().as_secs() < 20, "it waited for what never comes");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.text().contains("set BLOCK_MANAGER_URL"), "{}", ran.text());
    shutdown.ask();
    runtime.block_on(service.ended()).map(drop).unwrap_or_else(|error| panic!("{error}"));
}

/// Its block comes after two seconds: meanwhile a person is told what is waited for, and the rate leaves that out.
#[test]
fn an_archive_says_that_it_waits_for_its_block_and_does_not_count_that_as_its_own_time() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start_with(&behind, 0, &[("BLOCK_INTERVAL_SECONDS", "2")]);
    let file = home.file("a", noise(1, 50_000));
    let lucid = env!("CARGO_BIN_EXE_lucid");
    let archive = format!("exec '{lucid}' --server '{}' archive '{}'", server.url, file.display());
    let mut child = on_a_terminal(&archive).env("TERM", "xterm").spawn().unwrap();
    let _keys = child.stdin.take();
    let mut seen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{seen}");
    assert!(seen.contains("waiting for its block"), "{seen}");
    // Of 50 kB even a busy machine keeps more than that takes in the two seconds of the wait.
    let kept = seen.lines().find(|line| line.starts_with("kept ")).unwrap();
    assert!(kept.contains(" ms ("), "{kept}");
}

#[test]
fn an_interrupted_command_says_what_is_safe_and_how_to_go_on() {
    for (json, wanted) in [(false, "interrupted: what was acknowledged is kept"), (true, "{")] {
        let home = Home::new();
        let mut command = home.command(&[&"append", &"--session", &"s"]);
        if json {
            command.arg("--json");
        }
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        // It listens before it opens anything.
        wait(|| home.data().join("data-chain/STORE").exists().then_some(()));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        drop(input);
        assert_eq!(ran.code, 130, "{}", ran.err);
        assert!(ran.err.contains(wanted) && ran.err.contains("--from-start"), "{}", ran.err);
        if json {
            assert_eq!(problem(&ran)["error"], "interrupted");
        }
    }
}

#[test]
fn one_is_not_many_and_quiet_is_the_name_alone() {
    let home = Home::new();
    let file = home.file("a", "content");
    let kept = home.done(&[&"archive", &file, &"--session", &"s"]).text();
    assert!(kept.contains("in 1 file, "), "{kept}");
    let verified = home.done(&[&"verify", &"s"]).text();
    assert!(verified.contains("verified 1 session, "), "{verified}");
    let quiet = home.done(&[&"--quiet", &"archive", &file, &"--session", &"t"]).text();
    assert_eq!(quiet, "t\n");
    let help = home.done(&[&"--help"]).text();
    assert!(help.contains("Pack what is stored") && !help.contains("Packs"), "{help}");
    // One byte of the only segment.
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let found = home.run(&[&"verify", &"--all"]);
    assert_eq!(found.code, 1, "{}", found.err);
    let told = found.text();
    assert!(told.contains("1 fault was found") || told.contains(" faults were found"), "{told}");
    assert!(!told.contains("1 faults"), "{told}");
}

#[test]
fn a_collection_of_over_half_of_a_large_store_names_mebibytes_and_the_option_that_confirms_it() {
    let home = Home::new();
    home.archive("large", &home.file("large", noise(1, 280 << 20)));
    home.archive("small", &home.file("small", noise(2, 1 << 20)));
    home.done(&[&"rm", &"large", &"--yes"]);
    let refused = home.run(&[&"gc"]);
    assert!(refused.code != 0 && refused.err.contains("280 of 281 MiB"), "{}", refused.err);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    home.done(&[&"gc", &"--yes"]);
    home.assert_sound();
}

#[test]
fn up_logs_the_folders_that_it_serves() {
    let home = Home::new();
    let file = home.file("env", "DATA_CHAIN_PORT=0\nBLOCK_MANAGER_PORT=0\nQUERY_CACHE_SIZE=7\n");
    let mut command = home.command(&[&"--json", &"up", &"--env-file", &file]);
    command.env("LUCID_DATA_DIR", home.at("elsewhere"));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap();
        told.extend(event["settings"].as_str().map(str::to_owned));
        if told.len() == 2 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for folder in ["block-manager", "data-chain"] {
        let wanted = format!("LUCID_DATA_DIR={}", home.data().join(folder).display());
        assert!(told.iter().any(|settings| settings.contains(&wanted)), "{told:#?}");
    }
    assert!(!told.concat().contains("elsewhere"), "{told:#?}");
    assert!(told.concat().contains("QUERY_CACHE_SIZE=7"), "{told:#?}");
}

#[test]
fn help_shows_own_options_first_and_none_that_do_nothing() {
    let home = Home::new();
    let help = |verb: &str| home.done(&[&verb, &"--help"]).text();
    let archive = help("archive");
    let places =
        ["\nOptions:", "--strict", "\nWhere sessions are kept:", "--data", "\nHow it is said:"];
    let at: Vec<usize> = places.iter().map(|place| archive.find(place).unwrap()).collect();
    assert!(at.is_sorted(), "{archive}");
    let up = help("up");
    for named in ["8087", "8086", "DATA_CHAIN_PORT", "BLOCK_MANAGER_PORT"] {
        assert!(up.contains(named), "{up}");
    }
    assert!(
        up.contains("--data") && !up.contains("--server") && !up.contains("--read-only"),
        "{up}"
    );
    let check = help("check-proof");
    for idle in ["--data", "--server", "--key-file", "--blocks", "--read-only"] {
        assert!(!check.contains(idle), "{check}");
    }
    // What is hidden is still taken, and what contradicts still refused.
    home.archive("s", &home.file("a", "content"));
    home.done(&[&"prove", &"s", &"-o", &home.at("bundle")]);
    let checked = home.run(&[&"check-proof", &home.at("bundle"), &"--data", &"elsewhere"]);
    assert_eq!(checked.code, 2, "{}", checked.err);
}

/// A shell's command on a terminal, which `script` lends; what is typed comes through a pipe.
pub fn on_a_terminal(command: &str) -> std::process::Command {
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qfec", command, "/dev/null"]).env_clear().env("SHELL", "/bin/sh");
    terminal.env("PATH", "/usr/bin:/bin");
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    terminal
}

#[test]
fn up_on_a_terminal_names_two_addresses_and_the_folder() {
    let home = Home::new();
    let lucid = env!("CARGO_BIN_EXE_lucid");
    let up = format!("exec '{lucid}' --data '{}' up", home.data().display());
    let mut terminal = on_a_terminal(&up);
    terminal.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
    let mut child = terminal.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains("Ctrl-C")) {
        seen.push(lines.next().unwrap().trim().to_owned());
    }
    let is_warning = |line: &String| line.contains("no export of the root key");
    let (mut warned, seen): (Vec<_>, Vec<_>) = seen.into_iter().partition(is_warning);
    keys.write_all(b"\x03").unwrap();
    warned.extend(lines.filter(is_warning));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // What is to be done before the disk is lost is told once, in one line.
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert!(seen[0].starts_with("data-chain     http://127.0.0.1:"), "{seen:#?}");
    assert!(seen[1].starts_with("block-manager  http://127.0.0.1:"), "{seen:#?}");
    let folder = home.data().canonicalize().unwrap();
    assert_eq!(seen[2], format!("folder         {}", folder.display()));
}

/// Has a passphrase asked for by these arguments, and ends that once the terminal shows nothing: by Ctrl-C or
/// by a signal. Returns all that was seen, with the terminal's modes afterwards.
fn ended_at_the_prompt(home: &Home, arguments: &str, signal: Option<Signal>) -> String {
    let lucid = env!("CARGO_BIN_EXE_lucid");
    let asks = format!(
        "sh -c 'echo pid $$; exec \"{lucid}\" --data \"{}\" {arguments}'; echo ended $?; stty -a",
        home.data().display()
    );
    let mut child = on_a_terminal(&asks).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("passphrase: ") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{seen}");
        seen.push(char::from(byte[0]));
    }
    let pid = seen.lines().find_map(|line| line.trim().strip_prefix("pid ")).unwrap();
    let terminal = fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    wait(|| {
        let mut modes = std::process::Command::new("stty");
        let modes = modes.arg("-a").arg("-F").arg(&terminal).output().unwrap();
        String::from_utf8_lossy(&modes.stdout).contains("-echo ").then_some(())
    });
    match signal {
        None => keys.write_all(b"\x03").unwrap(),
        Some(signal) => {
            let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
        }
    }
    screen.read_to_string(&mut seen).unwrap();
    child.wait().unwrap();
    seen
}

#[test]
fn whatever_ends_a_passphrase_prompt_what_is_typed_shows_again() {
    let home = Home::new();
    home.archive("s", &home.file("a", "content"));
    let secret = home.file("secret", "correct horse");
    let rewrap = "keys rewrap --passphrase";
    let ends = |arguments: &str, signal, code: u8| {
        let seen = ended_at_the_prompt(&home, arguments, signal);
        assert!(seen.contains(&format!("ended {code}")), "{seen}");
        let modes: Vec<_> = seen.split_whitespace().collect();
        assert!(modes.contains(&"echo") && modes.contains(&"isig"), "{seen}");
    };
    ends(rewrap, None, 130);
    ends(rewrap, Some(Signal::TERM), 143);
    home.done(&[&"keys", &"rewrap", &"--passphrase", &"--new-passphrase-file", &secret]);
    // These listen for themselves, once they run.
    for arguments in ["up", "record -- true"] {
        ends(arguments, None, 130);
        ends(arguments, Some(Signal::TERM), 143);
        ends(arguments, Some(Signal::HUP), 129);
    }
}
