//! `docs/CLI.md` and `docs/FIRST-HOUR.md` are run: every command in them, in a folder for each and in the order in
//! which they stand, by a shell with the real `lucid`; and what is said of options is what `lucid` says of itself. Where
//! that is otherwise, the document is wrong, and a test fails.
//!
//! `LUCID_RENEW_CLI=1 cargo test -p lucid --test it transcript` writes them anew with what the commands print now. What
//! the author wrote stays, and so do lines with `[..]`, which stands for anything, as long as they still fit.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Stdio};

use clap::CommandFactory as _;
use snapbox::assert::Action;
use snapbox::{Assert, Data};
use tempfile::TempDir;

use super::documents::{read, root};
use super::home::wait;
use super::walk::Reader;

const REFERENCE: &str = "docs/CLI.md";
/// What stands in a document for anything.
const ANYTHING: &str = "[..]";
/// Ports that the document names, of which others are taken in a test.
const PORTS: [u16; 3] = [8086, 8087, 8088];
/// A folder and a day that stand for those of the test.
const FOLDER: &str = "/home/ann";
const DAY: &str = "2026-03-01";
const TIME_OF_DAY: &str = "14:03:00.000000";

/// A shell at work in a folder of its own.
struct Room {
    folder: TempDir,
    reader: Reader,
    ports: Vec<u16>,
    /// Days on which the commands may run.
    days: [String; 2],
    /// What was started to go on.
    serving: Vec<Child>,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let held = PORTS.map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ports: Vec<u16> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
        let mut reader = Reader::new(folder.path())
            .set("TZ", "UTC")
            .set("HOME", folder.path().to_str().unwrap())
            .set("BLOCK_INTERVAL_SECONDS", "0.2")
            .set("BLOCK_MANAGER_PORT", ports[0].to_string())
            .set("DATA_CHAIN_PORT", ports[1].to_string());
        for (told, meant) in PORTS.iter().zip(&ports) {
            reader = reader.mean(&format!("127.0.0.1:{told}"), format!("127.0.0.1:{meant}"));
        }
        let today = jiff::Timestamp::now();
        let day =
            |hours: i64| (today + jiff::Span::new().hours(hours)).strftime("%Y-%m-%d").to_string();
        Self { folder, reader, ports, days: [day(0), day(24)], serving: Vec::new() }
    }

    /// Runs a command: what it said on both ways out, and its exit code. One that ends in `&` goes on until the end of
    /// the document, and is waited for until it is in order.
    fn run(&mut self, command: &str) -> (Vec<String>, i32) {
        if let Some(serves) = command.strip_suffix(" &") {
            let mut shell = self.reader.shell(&format!("exec {serves}"));
            self.serving.push(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            let is_webdav = serves.contains("--webdav");
            let asked = if is_webdav {
                "-X OPTIONS http://127.0.0.1:8088/"
            } else {
                "http://127.0.0.1:8087/health"
            };
            let ask = format!("curl -sf -o /dev/null {asked}");
            wait(|| self.reader.shell(&ask).status().unwrap().success().then_some(()));
            return (Vec::new(), 0);
        }
        let mut shell = self.reader.shell(&format!("umask 022; {{ {command}\n}} 2>&1"));
        let ended = shell.output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        let said = said.lines().map(|line| self.masked(line.trim_end())).collect();
        (said, ended.status.code().unwrap())
    }

    /// A line without what differs from run to run and from machine to machine.
    fn masked(&self, line: &str) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        let mut line = line.replace(folder.to_str().unwrap(), FOLDER);
        line = line.replace(self.folder.path().to_str().unwrap(), FOLDER);
        for (told, meant) in PORTS.iter().zip(&self.ports) {
            line = line.replace(&format!("127.0.0.1:{meant}"), &format!("127.0.0.1:{told}"));
        }
        for day in &self.days {
            while let Some(at) = line.find(&format!("{day}T")) {
                let time = line[at + day.len() + 1..].chars();
                let length = time.take_while(|c| c.is_ascii_digit() || ":.".contains(*c)).count();
                let known = &TIME_OF_DAY[..length.min(TIME_OF_DAY.len())];
                let behind = at + day.len() + 1 + length;
                line.replace_range(at..behind, &format!("{DAY}T{known}"));
            }
        }
        let line = self.days.iter().fold(line, |line, day| line.replace(day, DAY));
        quantities(&digests(&tokens(&line)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for child in &mut self.serving {
            let _gone = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Tokens and numbers of processes: what stands behind a word that says so.
fn tokens(line: &str) -> String {
    let mut line = line.to_owned();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    for (before, length_min, mask) in [("lucid_", 40, "[TOKEN]"), ("(process ", 1, "[PID]")] {
        let mut from = 0;
        while let Some(at) = line[from..].find(before).map(|at| from + at + before.len()) {
            let length = line[at..].find(|c| !is_letter(c)).unwrap_or(line.len() - at);
            if length >= length_min {
                line.replace_range(at..at + length, mask);
            }
            from = at;
        }
    }
    line
}

/// Hashes, ids of stores and of files, and keys: words of their length and letters.
fn digests(line: &str) -> String {
    let mut said = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "+/=_".contains(c);
        let end = rest.find(|c| !is_letter(c)).unwrap_or(rest.len()).max(1);
        let end = (end..).find(|end| rest.is_char_boundary(*end)).unwrap();
        let (word, behind) = rest.split_at(end);
        let is_hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        said += match word.len() {
            64 if is_hex => "[HASH]",
            32 | 16 if is_hex => "[ID]",
            44 if word.ends_with('=') => "[KEY]",
            // As long as it was, since it stands in tables.
            12 if is_hex => "0123456789ab",
            _ => word,
        };
        rest = behind;
    }
    said
}

/// How long something took, how fast it was, and how much packed bytes are: numbers before a unit.
fn quantities(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches([',', ')', ':', ';']).to_owned();
        let number = words[at - 1].trim_start_matches('(');
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            continue;
        }
        let is_packed = at > 2 && words[at - 3] == "stored" && words[at - 2] == "in";
        let mask = match unit.as_str() {
            "ms" | "s" | "µs" => "[SPAN]",
            "B/s" | "kB/s" | "MB/s" | "GB/s" => "[RATE]",
            "B" | "kB" | "MB" if is_packed || words[0] == "new" => "[SIZE]",
            _ => continue,
        };
        words[at - 1] = words[at - 1].replace(number, mask);
        // The unit goes, and what stood behind it stays.
        let behind = words[at][unit.len()..].to_owned();
        words[at - 1] += &behind;
        words[at] = "\0".to_owned();
    }
    words.retain(|word| word != "\0");
    let is_rate = |word: &str| {
        let count = word.strip_prefix('(').and_then(|word| word.strip_suffix("/s)"));
        count.is_some_and(|count| count.bytes().all(|b| b.is_ascii_digit() || b == b','))
    };
    words.iter_mut().filter(|word| is_rate(word)).for_each(|word| *word = "([RATE])".to_owned());
    words.join(" ")
}

/// What `lucid` says of a verb and of its own options; of no verb, the options of all.
fn help(verb: &str) -> Vec<String> {
    let mut command = lucid::cmd::Arguments::command().term_width(110);
    command.build();
    let is_shared = verb == "lucid";
    for word in verb.split(' ').filter(|_| !is_shared) {
        command = command.find_subcommand(word).unwrap_or_else(|| panic!("no verb {verb}")).clone();
    }
    let is_own = |argument: &clap::Arg| {
        argument.is_global_set() == is_shared
            && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let mut command =
        command.disable_help_flag(true).disable_version_flag(true).term_width(110).mut_args(
            |argument| {
                let is_hidden = !is_own(&argument);
                argument.hide(is_hidden).hide_env_values(true)
            },
        );
    let said = command.render_help().to_string();
    let lines = said.lines().map(|line| line.trim_end().to_owned());
    // Of all verbs together each is told of in its place.
    let verbs = |line: &String| line != "Commands:";
    let mut lines: Vec<String> = match is_shared {
        true => {
            let (about, options): (Vec<_>, Vec<_>) = (
                lines.clone().take_while(verbs).collect(),
                lines.skip_while(verbs).skip(1).skip_while(|line| line.starts_with("  ")).collect(),
            );
            about.into_iter().chain(options).collect()
        }
        false => lines.collect(),
    };
    lines.dedup_by(|one, other| one.is_empty() && other.is_empty());
    lines
}

/// The document as it would be if it were written now.
fn written(document: &str, room: &mut Room) -> String {
    let mut written: Vec<String> = Vec::new();
    let mut inside = None;
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        match (line.strip_prefix("```"), inside) {
            (Some(info), None) => {
                inside = Some(info);
                written.push(line.to_owned());
                if let Some(verb) = info.strip_prefix("text ") {
                    written.extend(help(verb));
                }
            }
            (Some(_), Some(_)) => {
                inside = None;
                written.push(line.to_owned());
            }
            (None, Some("console")) => {
                let command =
                    line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}"));
                let command = command.split("    # exit code").next().unwrap();
                let mut foreseen = Vec::new();
                while let Some(line) =
                    lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("```"))
                {
                    foreseen.push(line);
                }
                let (said, code) = room.run(command);
                let code =
                    if code == 0 { String::new() } else { format!("    # exit code {code}") };
                written.push(format!("$ {command}{code}"));
                written.extend(said.into_iter().map(|line| as_foreseen(line, &foreseen)));
            }
            (None, Some(info)) if info.starts_with("text ") => {}
            (None, _) => written.push(line.to_owned()),
        }
    }
    written.join("\n") + "\n"
}

/// A line, or the one that was foreseen with `[..]` for what differs, if it fits.
fn as_foreseen(line: String, foreseen: &[&str]) -> String {
    let fits = |pattern: &&&str| {
        let parts: Vec<&str> = pattern.split(ANYTHING).collect();
        let [first, middle @ .., last] = &parts[..] else { return line == **pattern };
        let Some(mut rest) = line.strip_prefix(first) else { return false };
        for part in middle {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    };
    foreseen.iter().find(fits).map_or_else(|| line.clone(), |pattern| (*pattern).to_owned())
}

/// Runs a document, and finds what it says; or writes it anew.
fn goes_as_it_is_told(document: &str) {
    let path = root().join(document);
    let written = written(&read(document), &mut Room::new());
    let action = match std::env::var_os("LUCID_RENEW_CLI") {
        Some(_) => Action::Overwrite,
        None => Action::Verify,
    };
    Assert::new().normalize_paths(false).action(action).eq(written, Data::read_from(&path, None));
}

#[test]
fn every_command_of_the_reference_says_what_it_is_said_to() {
    goes_as_it_is_told(REFERENCE);
}

/// Errors and their remedies, too.
#[test]
fn the_first_hour_goes_as_it_is_told() {
    goes_as_it_is_told("docs/FIRST-HOUR.md");
}

/// All verbs, each by all of its words.
fn verbs() -> BTreeSet<String> {
    let command = lucid::cmd::Arguments::command();
    let mut waiting: Vec<_> =
        command.get_subcommands().map(|verb| (verb.get_name().to_owned(), verb)).collect();
    let mut found = BTreeSet::new();
    while let Some((name, verb)) = waiting.pop() {
        let below: Vec<_> = verb.get_subcommands().collect();
        if below.is_empty() {
            found.insert(name);
        } else {
            waiting.extend(below.iter().map(|verb| (format!("{name} {}", verb.get_name()), *verb)));
        }
    }
    found
}

#[test]
fn every_verb_has_its_place_with_a_command_and_its_options() {
    let document = read(REFERENCE);
    let mut told = BTreeSet::new();
    for section in document.split("\n### `lucid ").skip(1) {
        let (verb, rest) = section.split_once("`\n").unwrap();
        let rest = rest.split("\n## ").next().unwrap();
        let why = rest.lines().find(|line| !line.is_empty()).unwrap();
        assert!(why.ends_with('.') && !why.starts_with("```"), "{verb}: when is it used?");
        assert!(rest.contains(&format!("```text {verb}\n")), "{verb}: its options are not there");
        let console =
            rest.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
        let shown = console.flat_map(str::lines).filter(|line| line.starts_with("$ "));
        let shown = shown.filter(|line| format!("{line} ").contains(&format!(" {verb} "))).count();
        assert!(shown > 0, "{verb}: no command shows it");
        assert!(told.insert(verb.to_owned()), "{verb} stands there twice");
    }
    assert_eq!(told, verbs());
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    let hash = "0123456789abcdef".repeat(4);
    let mut room = Room::new();
    room.days = ["2026-11-30".to_owned(), "2026-12-01".to_owned()];
    room.ports = vec![40001, 40002, 40003];
    for (said, masked) in [
        (format!("root       {hash}"), "root       [HASH]"),
        (format!("anchor:{hash}, {hash}:"), "anchor:[HASH], [HASH]:"),
        (format!("x{hash}"), &format!("x{hash}")),
        ("in 1.5 s (2.0 MB/s)".to_owned(), "in [SPAN] ([RATE])"),
        ("new        15 B, stored in 74 B".to_owned(), "new        [SIZE], stored in [SIZE]"),
        ("kept       23 B in 2 files, in 3 ms".to_owned(), "kept       23 B in 2 files, in [SPAN]"),
        (
            "2026-11-30T16:03:01Z to 2036-11-30T16:03:01Z".to_owned(),
            "2026-03-01T14:03:00Z to 2036-11-30T16:03:01Z",
        ),
        ("at 2026-12-01T00:00:00.123456Z.".to_owned(), "at 2026-03-01T14:03:00.000000Z."),
        ("http://127.0.0.1:40002/".to_owned(), "http://127.0.0.1:8087/"),
        (format!("lucid_{}, lucid_data", "a-B_".repeat(10)), "lucid_[TOKEN], lucid_data"),
        (
            "by `up` (process 4711): talk-94a708049d13".to_owned(),
            "by `up` (process [PID]): talk-0123456789ab",
        ),
        ("größe: 5 B".to_owned(), "größe: 5 B"),
    ] {
        assert_eq!(room.masked(&said), masked);
    }
    let foreseen = ["wrote [..] of [..]", "wrote 5", "a [..]"];
    for (said, told) in
        [("wrote 5 of 7 B", "wrote [..] of [..]"), ("wrote 5", "wrote 5"), ("b", "b")]
    {
        assert_eq!(as_foreseen(said.to_owned(), &foreseen), told);
    }
    let below = fs::canonicalize(room.folder.path()).unwrap().join("notes");
    assert_eq!(room.masked(&format!("in {}", below.display())), "in /home/ann/notes");
}
