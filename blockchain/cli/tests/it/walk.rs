//! A reader who types what a document says, command by command, and sees whether it is so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long a command may take, in seconds: one that waits for ever fails the walk.
const PATIENCE: &str = "300";

/// A block of fenced code.
pub struct Block {
    /// What stands behind the fence: the language, and more.
    pub info: String,
    /// The last line with something in it between the block before and the fence.
    pub before: String,
    pub lines: Vec<String>,
}

/// All blocks of fenced code of a document, in their order.
pub fn blocks(text: &str) -> Vec<Block> {
    let (mut found, mut inside) = (Vec::<Block>::new(), false);
    let mut before = "";
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(info), false) => {
                let (info, before) = (info.to_owned(), before.to_owned());
                found.push(Block { info, before, lines: Vec::new() });
                inside = true;
            }
            (Some(_), true) => (inside, before) = (false, ""),
            (None, true) => found.last_mut().unwrap().lines.push(line.to_owned()),
            (None, false) if !line.trim().is_empty() => before = line,
            (None, false) => {}
        }
    }
    found
}

/// The lines of fenced code of one kind.
pub fn fenced(text: &str, kind: &str) -> Vec<String> {
    blocks(text)
        .into_iter()
        .filter(|block| block.info == kind)
        .flat_map(|block| block.lines)
        .collect()
}

/// Where programs are, ours first.
pub fn programs() -> String {
    let ours = Path::new(env!("CARGO_BIN_EXE_lucid")).parent().unwrap().display();
    format!("{ours}:/usr/local/bin:/usr/bin:/bin")
}

/// A shell as a reader has it: the program in its path, and no settings.
pub struct Reader {
    folder: PathBuf,
    settings: Vec<(String, String)>,
    meant: Vec<(String, String)>,
}

impl Reader {
    /// One who works in this folder. Services take any free port, since others may be at work on this machine.
    pub fn new(folder: &Path) -> Self {
        let reader = Self { folder: folder.to_owned(), settings: Vec::new(), meant: Vec::new() };
        let ports = ["DATA_CHAIN_PORT", "BLOCK_MANAGER_PORT"];
        ports.into_iter().fold(reader.set("PATH", programs()), |reader, port| reader.set(port, "0"))
    }

    /// Whose shell has this setting, too.
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Who reads something else where a document says this: of all that is told, what stands first in a command is
    /// taken, and what was put in its place is not looked at again.
    pub fn mean(mut self, told: &str, meant: impl Into<String>) -> Self {
        self.meant.push((told.to_owned(), meant.into()));
        self
    }

    /// What a reader takes a text for.
    pub fn meant(&self, command: &str) -> String {
        let (mut rest, mut meant) = (command, String::new());
        let first = |rest: &str| {
            let found = self.meant.iter().filter_map(|pair| Some((rest.find(&pair.0)?, pair)));
            found.min_by_key(|(at, _)| *at)
        };
        while let Some((at, (told, instead))) = first(rest) {
            meant.push_str(&rest[..at]);
            meant.push_str(instead);
            rest = &rest[at + told.len()..];
        }
        meant + rest
    }

    fn at(&self, mut command: Command) -> Command {
        command.current_dir(&self.folder).env_clear().stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The shell, with a command to run.
    pub fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &self.meant(command)]);
        self.at(shell)
    }

    /// Runs a command that ends, and wants the exit code that its remark names. What it said, on both ways out.
    pub fn run(&self, command: &str) -> String {
        let wanted = command.split_once("# exit code ").map_or("0", |(_, code)| code);
        let mut shell = Command::new("/usr/bin/timeout");
        let meant = self.meant(command);
        shell.args([PATIENCE, "/bin/sh", "-c", &format!("{{ {meant}\n}} 2>&1")]);
        let output = self.at(shell).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().map(|code| code.to_string());
        assert_eq!(code.as_deref(), Some(wanted), "$ {command}\n{said}");
        said
    }
}

#[test]
fn blocks_are_told_from_the_text_around_them_and_what_is_meant_is_read() {
    let found = blocks("one\n\n```sh more\na\nb\n```\n```\nc\n```\n");
    let told: Vec<_> =
        found.iter().map(|b| (b.info.as_str(), b.before.as_str(), &b.lines[..])).collect();
    let [ab, c] = [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]];
    assert_eq!(told, [("sh more", "one", &ab[..]), ("", "", &c[..])]);
    let reader =
        Reader::new(Path::new("/")).mean("/srv/", "/tmp/etc/srv/").mean("/etc/", "/tmp/etc/etc/");
    assert_eq!(reader.meant("cp /srv/a /etc/b"), "cp /tmp/etc/srv/a /tmp/etc/etc/b");
}
