//! `docs/OPERATING.md` is walked: its commands run in the order in which they stand, with services that are started
//! for real, and what it says of `lucid` in passing is a command that there is.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use rustix::process::{Pid, Signal, kill_process};

use super::documents::{copy_folder, read, root};
use super::home::{Home, Ran};
use super::walk::{Reader, blocks};

/// How many blocks may be marked as none that a test can run.
const NOT_RUN_MAX: usize = 4;
/// What such a block is marked with, beside a comment that begins so and says why.
const NOT_RUN: &str = "sh norun";

/// A machine as the document has it, below a folder: its disks, its users' right to become another one, its units.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self { root };
        for folder in [
            "srv/lucid",
            "etc/lucid",
            "etc/systemd/system",
            "usr/local/bin",
            "run",
            "tools",
            "home",
        ] {
            fs::create_dir_all(machine.at(folder)).unwrap();
        }
        for disk in ["safe", "backup", "mirror", "large"] {
            fs::create_dir_all(machine.at("mnt").join(disk)).unwrap();
        }
        let clone = machine.at("home/clone");
        fs::create_dir_all(clone.join("target")).unwrap();
        copy_folder(&root_of("docs"), &clone.join("docs"));
        copy_folder(&root_of("configs"), &clone.join("configs"));
        fs::copy(root_of("README.md"), clone.join("README.md")).unwrap();
        symlink(programs(), clone.join("target/release")).unwrap();
        // Who may become another user is the one who tests, already.
        machine.tool("sudo", "[ \"$1\" != -u ] || shift 2\nexec \"$@\"");
        machine
            .tool("systemctl", &SYSTEMCTL.replace("ROOT", machine.root.path().to_str().unwrap()));
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn tool(&self, name: &str, script: &str) {
        let file = self.at("tools").join(name);
        fs::write(&file, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Someone who works there, on ports that nobody else has.
    fn reader(&self) -> Reader {
        let [tools, programs] =
            ["tools", "usr/local/bin"].map(|name| self.at(name).display().to_string());
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [data, chain] = held.map(|held| held.local_addr().unwrap().port().to_string());
        let mut reader = Reader::new(&self.at("home/clone"))
            .set("PATH", format!("{tools}:{programs}:/usr/bin:/bin:/usr/sbin:/sbin"))
            .set("HOME", self.at("home").to_str().unwrap())
            .set("BLOCK_INTERVAL_SECONDS", "0.2")
            .set("BLOCK_MANAGER_URL", format!("http://127.0.0.1:{chain}"))
            .set("DATA_CHAIN_PORT", &data)
            .set("BLOCK_MANAGER_PORT", &chain)
            .mean("127.0.0.1:8087", format!("127.0.0.1:{data}"))
            .mean("127.0.0.1:8086", format!("127.0.0.1:{chain}"));
        for place in ["srv", "etc", "mnt", "usr/local"] {
            reader = reader.mean(&format!("/{place}/"), format!("{}/", self.at(place).display()));
        }
        reader
    }
}

impl Drop for Machine {
    /// Ends what a walk that failed leaves running.
    fn drop(&mut self) {
        for file in fs::read_dir(self.at("run")).unwrap().map(|entry| entry.unwrap().path()) {
            let pid = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _gone = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Does with units what systemd does with them, as far as a test can: what they say is run below `ROOT`, as the user
/// who tests. A unit that systemd's own tool finds something wrong with is refused, where there is that tool.
const SYSTEMCTL: &str = r#"
meant() { sed 's#\(/srv/\|/etc/\|/usr/local/\)#ROOT\1#g' "ROOT/etc/systemd/system/$1"; }
key() { meant "$1" | sed -n "s/^$2=//p"; }
start() {
  case $1 in
    *.timer) [ -n "$(key "${1%.timer}.service" ExecStart)" ];;
    *) if [ "$(key "$1" Type)" = oneshot ]; then
         $(key "$1" ExecStart)
       else
         env "$(key "$1" Environment)" $(key "$1" ExecStart) </dev/null >>"ROOT/home/$1.log" 2>&1 &
         echo $! >"ROOT/run/$1"
       fi;;
  esac
}
stop() {
  [ -e "ROOT/run/$1" ] || return 0
  pid=$(cat "ROOT/run/$1")
  kill "$pid"
  while [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do sleep 0.05; done
  rm "ROOT/run/$1"
}
verb=$1; shift
now=no
for word; do
  [ "$word" != --now ] || { now=yes; continue; }
  case $word in *.timer) unit=$word;; *) unit=$word.service;; esac
  [ -e "ROOT/etc/systemd/system/$unit" ]
  case $verb-$now in
    start-no|enable-yes) start "$unit";;
    stop-no|disable-yes) stop "$unit";;
    restart-no) stop "$unit"; start "$unit";;
    *) exit 64;;
  esac
done
[ $# -gt 0 ] || [ "$verb" = daemon-reload ]
"#;

fn root_of(name: &str) -> PathBuf {
    root().join(name)
}

/// The folder with all three programs, as they are now. Cargo makes for a test of this package only the one of this
/// package. Tests of all packages are asked for, as README has it: what fewer rest on has other features, and would all be
/// made once more.
fn programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_lucid")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "test",
        "--workspace",
        "--test",
        "it",
        "--no-run",
        "--locked",
        "--offline",
        "--quiet",
    ]);
    cargo.current_dir(root());
    cargo.arg("--target-dir").arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let made = cargo.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.to_owned()
}

fn operating() -> String {
    read("docs/OPERATING.md")
}

#[test]
fn the_year_goes_as_it_is_told() {
    let machine = Machine::new();
    let reader = machine.reader();
    let mut count = 0;
    for block in blocks(&operating()).into_iter().filter(|block| block.info == "sh") {
        for command in block.lines {
            reader.run(&command);
            count += 1;
        }
    }
    assert!(count > 100, "the year has {count} commands");
    // Whatever was begun was ended, and what was to go is gone.
    for folder in
        ["run", "mnt/backup", "mnt/large", "mnt/mirror", "mnt/safe", "srv/lucid", "usr/local/bin"]
    {
        let left: Vec<_> = fs::read_dir(machine.at(folder)).unwrap().collect();
        assert!(left.is_empty(), "{left:?} is left in {folder}");
    }
    assert!(machine.at("home/clone/kept/first.proof").exists());
}

/// Every block is one that is run, one that says why it cannot be, or of settings, which are no commands.
#[test]
fn what_of_the_year_is_not_run_says_why() {
    let (text, mut not_run) = (operating(), 0);
    for block in blocks(&text) {
        let reason =
            block.before.strip_prefix("<!-- norun: ").and_then(|rest| rest.strip_suffix(" -->"));
        match block.info.as_str() {
            NOT_RUN => {
                not_run += 1;
                let says = reason.is_some_and(|reason| reason.split(' ').count() > 4);
                assert!(says, "nothing says why this is not run: {:?}", block.lines);
            }
            "sh" | "ini" | "toml" => assert_eq!(reason, None, "{:?}", block.lines),
            other => panic!("a block of {other:?} is neither run nor marked: {:?}", block.lines),
        }
        if block.info == "ini" {
            let is_setting =
                |line: &String| line.starts_with('#') || line.split_once('=').is_some();
            assert!(block.lines.iter().all(is_setting), "{:?}", block.lines);
        }
        if block.info == "toml" {
            // The file is understood, since its places are known.
            let home = Home::new();
            home.file("lucid/config.toml", block.lines.join("\n"));
            let mut ls = home.command(&[&"--profile", &"elsewhere", &"ls"]);
            let ran: Ran = ls
                .env("XDG_CONFIG_HOME", home.at(""))
                .env_remove("LUCID_DATA")
                .output()
                .unwrap()
                .into();
            assert!(ran.err.contains("home") && ran.err.contains("office"), "{}", ran.err);
        }
    }
    assert_eq!(text.matches("<!-- norun: ").count(), not_run, "a mark without a block");
    assert!(not_run <= NOT_RUN_MAX, "{not_run} blocks are not run");
}

/// The commands between backticks, as a text has them outside of fenced code.
fn inline(text: &str) -> Vec<String> {
    let mut inside = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    });
    let codes = prose.flat_map(|line| line.split('`').skip(1).step_by(2));
    codes.filter(|code| code.starts_with("lucid ")).map(str::to_owned).collect()
}

/// The words of a command as a shell sees them, with something that fits in the place of what only has a name.
fn words(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let plain = code.replace(['[', ']'], "").replace("\\|", "|");
    for word in plain.split(' ').take_while(|word| *word != "VERB").filter(|word| *word != "|") {
        // Of several that may stand there, the first.
        let word = word.split('|').next().unwrap().trim_matches(['"', '\'']);
        words.push(match word {
            "TIME" => "2036-01-01".to_owned(),
            "N" => "1".to_owned(),
            "URL" => "http://127.0.0.1:8086".to_owned(),
            word => word.to_owned(),
        });
    }
    words
}

#[test]
fn every_command_in_passing_is_one_that_there_is() {
    let mut count = 0;
    for document in ["README.md", "docs/ACCESS.md", "docs/API.md", "docs/OPERATING.md"] {
        for code in inline(&read(document)) {
            count += 1;
            let parsed = lucid::cmd::Arguments::command().try_get_matches_from(words(&code));
            // What is only named has not all that it needs.
            let is_one = match parsed.as_ref().map_err(|error| error.kind()) {
                Ok(_) => true,
                // An option of which it is told what it is good for, without its value.
                Err(ErrorKind::InvalidValue) => words(&code).last().unwrap().starts_with("--"),
                Err(kind) => [
                    ErrorKind::MissingRequiredArgument,
                    ErrorKind::MissingSubcommand,
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    ErrorKind::DisplayVersion,
                    ErrorKind::DisplayHelp,
                ]
                .contains(&kind),
            };
            assert!(is_one, "{document}: `{code}`: {}", parsed.unwrap_err());
        }
    }
    assert!(count > 100, "there are {count} commands");
    let unknown = lucid::cmd::Arguments::command().try_get_matches_from(words("lucid ls --colour"));
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::UnknownArgument);
}

/// The units are sound by systemd's own tool, where there is one, and in any case run programs that there are.
#[test]
fn the_units_are_sound() {
    let machine = Machine::new();
    let units = machine.at("home/clone/configs/systemd");
    let mut files = Vec::new();
    for file in fs::read_dir(&units).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        let kind = file.extension().unwrap().to_str().unwrap();
        if kind == "env" {
            continue;
        }
        let sections = text.lines().filter(|line| line.starts_with('[')).collect::<Vec<_>>();
        match kind {
            "service" => assert!(sections.starts_with(&["[Unit]", "[Service]"]), "{sections:?}"),
            "timer" => assert_eq!(sections, ["[Unit]", "[Timer]", "[Install]"]),
            other => panic!("{other} is no unit"),
        }
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            let (key, value) = line.split_once('=').unwrap();
            let may_be_none = key == "CapabilityBoundingSet";
            assert!(key.chars().all(char::is_alphanumeric), "{line}");
            assert!(!value.is_empty() || may_be_none, "{line}");
        }
        let starts: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
        assert_eq!(starts.len(), usize::from(kind == "service"), "{text}");
        for start in starts {
            let program = start.split(' ').next().unwrap();
            let name = program.strip_prefix("/usr/local/bin/").unwrap();
            assert!(programs().join(name).exists(), "{start}");
            let here = machine.at("usr/local/bin").join(name);
            fs::write(&here, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&here, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let text = text.replace("/usr/local/bin", machine.at("usr/local/bin").to_str().unwrap());
        fs::write(&file, text).unwrap();
        files.push(file);
    }
    assert!(files.len() >= 4, "{files:?}");
    let Ok(judged) = Command::new("systemd-analyze").arg("verify").args(&files).output() else {
        return println!("there is no systemd-analyze: the units were only parsed");
    };
    let said =
        [judged.stdout, judged.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(judged.status.success() && said.concat().is_empty(), "{said:?}");
}
