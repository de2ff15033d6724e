//! A store of its own for a test, and the real `lucid` to work on it.
//!
//! Every other file here begins with a [`Home`]. It hands out commands that see no variable of the
//! environment and no folder of the user who runs the tests. [`Snapshot`] is what must be the same after a
//! restore, read by nothing but the standard library.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store and room for files beside it.
pub struct Home {
    folder: TempDir,
    data: PathBuf,
    /// Set for every command.
    variables: Vec<(String, String)>,
}

/// What came of a command.
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("store");
        Self { folder, data, variables: Vec::new() }
    }

    /// Sets variables for every command.
    pub fn with_variables(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.variables = variables.iter().map(owned).collect();
        self
    }

    /// Works on another store, with the same room for files.
    pub fn with_data(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// The store.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A place beside the store.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the store.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes every file below a folder one that was last changed a minute ago, so that a watcher takes it for
    /// quiet. What a watcher keeps there itself stays as it is.
    pub fn let_rest(&self, name: &str) {
        let then = SystemTime::now() - Duration::from_secs(60);
        let mut folders = vec![self.at(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() && entry.file_name() != ".lucid-watch" {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    fs::File::open(entry.path()).unwrap().set_modified(then).unwrap();
                }
            }
        }
    }

    pub fn command(&self, arguments: &[&dyn AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid"));
        command.env_clear().current_dir(self.folder.path()).env("LUCID_DATA", &self.data);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(arguments.iter().map(|argument| argument.as_ref()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&dyn AsRef<OsStr>]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs what must succeed.
    pub fn done(&self, arguments: &[&dyn AsRef<OsStr>]) -> Ran {
        let ran = self.run(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref()).collect();
        assert_eq!(ran.code, 0, "{shown:?}: {}{}", ran.err, ran.text());
        ran
    }

    /// Runs what must succeed, and reads the object it prints.
    pub fn json(&self, arguments: &[&dyn AsRef<OsStr>]) -> Value {
        let arguments: Vec<_> =
            [&"--json" as &dyn AsRef<OsStr>].into_iter().chain(arguments.iter().copied()).collect();
        self.done(&arguments).json()
    }

    /// Runs what must be refused, for one sentence and an exit code.
    pub fn refused(&self, code: i32, arguments: &[&dyn AsRef<OsStr>]) -> String {
        let ran = self.run(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref()).collect();
        assert_eq!(ran.code, code, "{shown:?}: {}{}", ran.err, ran.text());
        ran.complaint()
    }

    /// Runs what must not be done, where the sentence matters and not which code a verb has for it.
    pub fn hindered(&self, arguments: &[&dyn AsRef<OsStr>]) -> String {
        let ran = self.run(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref()).collect();
        let told = format!("{shown:?}: {}{}", ran.err, ran.text());
        assert!(matches!(ran.code, 1 | 64 | 74), "{told}");
        ran.complaint()
    }

    /// Runs a command with something to read.
    pub fn fed(&self, arguments: &[&dyn AsRef<OsStr>], input: &[u8]) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command that stops reading early has a reason, which the exit code tells.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap().into()
        })
    }

    pub fn spawn(&self, arguments: &[&dyn AsRef<OsStr>]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Archives a path under a name, and returns the object that was printed.
    pub fn archive(&self, session: &str, path: &Path) -> Value {
        self.json(&[&"archive", &"--session", &session, &path])
    }

    /// Restores a whole session into a new folder beside the store.
    pub fn restore(&self, session: &str, into: &str) -> PathBuf {
        let into = self.at(into);
        self.done(&[&"restore", &session, &"-o", &into]);
        into
    }

    /// Every session there is, by name.
    pub fn sessions(&self) -> BTreeMap<String, Value> {
        let listed = self.done(&[&"--json", &"ls"]);
        let sessions = listed.lines().into_iter().map(|line| {
            let session: Value = serde_json::from_str(&line).unwrap();
            (session["session_id"].as_str().unwrap().to_owned(), session)
        });
        sessions.collect()
    }

    /// Verifies everything, and expects nothing wrong and nothing foreign.
    pub fn assert_sound(&self) {
        let found = self.json(&[&"verify", &"--all"]);
        for what in ["damage", "faults", "unknown_files"] {
            assert_eq!(found[what], Value::Array(Vec::new()), "{found:#}");
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// What was printed, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }

    /// The one sentence that says what went wrong.
    pub fn complaint(&self) -> String {
        assert!(!self.err.contains("panicked"), "{}", self.err);
        let lines: Vec<_> =
            self.err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(lines.len(), 1, "one sentence is wanted: {}{}", self.err, self.text());
        lines[0].to_owned()
    }
}

/// A file, folder or link as it must come back.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    mode: u32,
    modified: (i64, i64),
    /// The digest of a file, the target of a link.
    content: Vec<u8>,
    /// The first of its names, for a file that has several.
    same_as: Option<PathBuf>,
}

/// Everything below a folder, by path. The folder itself is left out: restoring into a folder does
/// not change that folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Node>);

impl Snapshot {
    pub fn of(top: &Path) -> Self {
        let mut paths = Vec::new();
        let mut waiting = vec![top.to_owned()];
        while let Some(folder) = waiting.pop() {
            for found in fs::read_dir(folder).unwrap() {
                let found = found.unwrap();
                if found.file_type().unwrap().is_dir() {
                    waiting.push(found.path());
                }
                paths.push(found.path());
            }
        }
        paths.sort();
        let mut first_names = BTreeMap::new();
        let node = |path: PathBuf| {
            let seen = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(top).unwrap().to_owned();
            let content = if seen.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if seen.is_file() {
                blake3::hash(&fs::read(&path).unwrap()).as_bytes().to_vec()
            } else {
                Vec::new()
            };
            let first = first_names.entry((seen.dev(), seen.ino())).or_insert_with(|| name.clone());
            let same_as = (*first != name).then(|| first.clone());
            let modified = (seen.mtime(), seen.mtime_nsec());
            let mode = seen.permissions().mode();
            (name, Node { mode, modified, content, same_as })
        };
        Self(paths.into_iter().map(node).collect())
    }

    /// This snapshot without its times, so that they are not compared.
    pub fn without_times(mut self) -> Self {
        for node in self.0.values_mut() {
            node.modified = (0, 0);
        }
        self
    }

    /// Fails naming what differs, which is easier to read than both.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        for (path, node) in &self.0 {
            let found = other.0.get(path);
            assert_eq!(Some(node), found, "{path:?}");
        }
        for path in other.0.keys() {
            assert!(self.0.contains_key(path), "{path:?} is one too many");
        }
    }
}

/// Bytes that no compression makes smaller, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Text that compresses as logs do, the same for the same seed.
pub fn prose(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 64);
    let mut line = seed.wrapping_mul(1_000_003);
    while bytes.len() < length {
        let entry = format!("{line:016x} the recorder saw user {} do the usual\n", line % 977);
        bytes.extend_from_slice(entry.as_bytes());
        line += 1;
    }
    bytes.truncate(length);
    bytes
}

/// A number for what a test leaves to chance: printed, and given by `LUCID_SEED` to repeat it.
pub fn seed(test: &str) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let given = std::env::var("LUCID_SEED").ok().map(|seed| seed.parse().unwrap());
    let fresh = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let seed = given.unwrap_or_else(fresh);
    println!("{test}: LUCID_SEED={seed}");
    seed
}

/// Copies a folder of plain files and folders, as a test's copy of a closed store.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let target = to.join(found.file_name());
        if found.file_type().unwrap().is_dir() {
            copy(&found.path(), &target);
        } else if found.file_type().unwrap().is_file() {
            // A socket that a killed owner left cannot be copied.
            fs::copy(found.path(), target).unwrap();
        }
    }
}

/// Waits for what comes about by itself.
pub fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come about in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}
