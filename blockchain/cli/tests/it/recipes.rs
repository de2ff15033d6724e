//! `docs/recipes`: each is done as it stands, with the real programs. What a recipe has in a file is written there,
//! what it runs is run, and what ends with `&` goes on until the recipe is over; all of it below a folder.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::documents::{read, root};
use super::home::{Home, wait};
use super::only_read::is_root;
use super::server::{Server, told};
use super::sink::activation::needs;
use super::walk::{Block, Reader, blocks, programs};

/// Folders of the machine that a recipe means.
const FOLDERS: [&str; 5] = ["/etc/", "/run/", "/srv/", "/usr/local/", "/var/"];

/// Programs that go on in the background. Each is told to end, and killed if it does not.
#[derive(Default)]
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _gone = child.kill();
            let _ended = child.wait();
        }
    }
}

/// A recipe, as far as it was done.
struct Recipe {
    blocks: VecDeque<Block>,
    reader: Reader,
    running: Running,
    machine: Home,
    _server: Server,
    /// The store of the server.
    _behind: Home,
}

impl Recipe {
    fn of(name: &str) -> Self {
        let machine = Home::new();
        let behind = Home::new();
        let server = Server::start(&behind);
        let path = format!("{}:/usr/sbin:/sbin", programs());
        let mut reader = Reader::new(&machine.at("."))
            .set("PATH", path)
            .set("HOME", machine.at("").to_str().unwrap())
            .set("LC_ALL", "C.UTF-8")
            .set("LUCID_DATA_CHAIN_URL", &server.url);
        for folder in FOLDERS {
            fs::create_dir_all(machine.at(&folder[1..])).unwrap();
            reader = reader
                .mean(folder, format!("{}{folder}", machine.at("").display()).replace("//", "/"));
        }
        for folder in ["usr/local/bin", "var/spool", "var/lib", "var/log"] {
            fs::create_dir_all(machine.at(folder)).unwrap();
        }
        // Its users come to what is theirs.
        fs::set_permissions(machine.at(""), fs::Permissions::from_mode(0o755)).unwrap();
        let blocks = blocks(&read(format!("docs/recipes/{name}.md"))).into();
        Self {
            blocks,
            reader,
            running: Running::default(),
            machine,
            _server: server,
            _behind: behind,
        }
    }

    fn mean(mut self, told: &str, meant: impl Into<String>) -> Self {
        self.reader = self.reader.mean(told, meant);
        self
    }

    fn next(&mut self) -> Block {
        self.blocks.pop_front().unwrap()
    }

    /// Writes the file that the next block is, and says where.
    fn file(&mut self) -> PathBuf {
        let block = self.next();
        let (_, path) = block.info.split_once(' ').unwrap();
        let path = PathBuf::from(self.reader.meant(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.reader.meant(&(block.lines.join("\n") + "\n"))).unwrap();
        path
    }

    /// Runs the next block, and returns what it said.
    fn run(&mut self) -> String {
        let block = self.next();
        assert_eq!(block.info, "sh");
        let mut said = String::new();
        for line in &block.lines {
            match line.strip_suffix(" &") {
                Some(command) => {
                    let mut shell = self.reader.shell(&format!("exec {command}"));
                    self.running.0.push(shell.stdout(Stdio::null()).spawn().unwrap());
                }
                None => said += &self.reader.run(line),
            }
        }
        said
    }

    /// Waits until a session that fits is sealed, and anchored.
    fn sealed(&self, fits: impl Fn(&Value) -> bool) -> String {
        self.session(|session| session["status"] == "anchored" && fits(session))
    }

    fn session(&self, fits: impl Fn(&Value) -> bool) -> String {
        self.found(fits)["session_id"].as_str().unwrap().to_owned()
    }

    /// Waits for a session of which this is so.
    fn found(&self, fits: impl Fn(&Value) -> bool) -> Value {
        wait(|| {
            let listed = self.reader.run("lucid --json ls");
            let mut sessions =
                listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            sessions.find(|session| fits(session))
        })
    }

    /// Waits for the session of a file whose path ends so.
    fn sealed_at(&self, end: &str) -> String {
        self.sealed(|session| {
            session["metadata"]["path"].as_str().is_some_and(|path| path.ends_with(end))
        })
    }

    /// Wants that nothing of the recipe was left out.
    fn done(mut self) {
        assert!(self.blocks.is_empty(), "something was not done");
        for child in &mut self.running.0 {
            told(child, "-TERM");
        }
    }
}

#[test]
fn every_recipe_is_listed_and_done_by_a_test() {
    let folder = root().join("docs/recipes");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let (index, tests) = (read("docs/recipes/README.md"), include_str!("recipes.rs"));
    let mut count = 0;
    for name in names.map(|name| name.to_str().unwrap().to_owned()) {
        let Some(name) = name.strip_suffix(".md").filter(|name| *name != "README") else {
            continue;
        };
        assert!(index.contains(&format!("]({name}.md)")), "{name} is not listed");
        assert!(tests.contains(&format!("Recipe::of(\"{name}\")")), "{name} is not done");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn transcripts_of_an_agent() {
    let mut recipe = Recipe::of("agent");
    recipe.run();
    recipe.run();
    let both = fs::read_to_string(recipe.machine.at("srv/agent/transcripts/42.jsonl")).unwrap();
    let length = both.len();
    let transcript = recipe.session(|session| session["offset"] == length);
    let mut recipe = recipe.mean("TRANSCRIPT", &transcript);
    let said = recipe.run();
    assert!(said.contains(&transcript) && said.ends_with(&both), "{said}");
    assert_eq!(recipe.sealed_at("42.jsonl"), transcript, "it is the same session");
    let said = recipe.run();
    assert!(said.contains("consistent"), "{said}");
    recipe.done();
}

#[test]
fn terminals_by_asciinema() {
    needs("asciinema", "asciinema");
    needs("script", "bsdutils");
    let mut recipe = Recipe::of("asciinema");
    recipe.run();
    recipe.run();
    let cast = recipe.sealed_at("demo.cast");
    // It wants a terminal, which a person has.
    let back = recipe.machine.at("srv/back.cast");
    let terminal = format!("script -qec 'asciinema cat {}' /dev/null", back.display());
    let mut recipe = recipe.mean("CAST", &cast).mean("asciinema cat /srv/back.cast", terminal);
    let said = recipe.run();
    assert_eq!(said.matches("this is recorded").count(), 2, "{said}");
    assert_eq!(
        fs::read(back).unwrap(),
        fs::read(recipe.machine.at("srv/casts/demo.cast")).unwrap()
    );
    recipe.done();
}

#[test]
fn the_journal() {
    needs("journalctl", "systemd");
    let remote = "/lib/systemd/systemd-journal-remote";
    assert!(Path::new(remote).exists(), "install it with `apt-get install systemd-journal-remote`");
    let mut recipe = Recipe::of("journal");
    let entry = "__REALTIME_TIMESTAMP=1767225600000000\n__MONOTONIC_TIMESTAMP=1\n\
         _BOOT_ID=0123456789abcdef0123456789abcdef\nMESSAGE=this is recorded\nPRIORITY=6\n\n";
    let entries = recipe.machine.file("entries", entry);
    let journal = recipe.machine.at("machine.journal").display().to_string();
    let reading = fs::File::open(&entries).unwrap();
    let made =
        Command::new(remote).args(["--output", &journal, "-"]).stdin(reading).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    recipe = recipe
        .mean("journalctl --system", format!("journalctl --file {journal}"))
        .mean(remote, remote);
    recipe.run();
    recipe.run();
    let export = recipe.sealed_at(".export");
    let mut recipe = recipe.mean("EXPORT", &export);
    let said = recipe.run();
    assert!(said.contains("1767225600.000000") && said.contains("this is recorded"), "{said}");
    recipe.done();
}

#[test]
fn programs_that_write_to_a_socket() {
    needs("systemd-socket-activate", "systemd");
    let mut recipe = Recipe::of("socket");
    let program = recipe.machine.at("usr/local/bin/lucid");
    symlink(env!("CARGO_BIN_EXE_lucid"), program).unwrap();
    let units = [recipe.file(), recipe.file()];
    let [socket, service] = units.each_ref().map(|unit| fs::read_to_string(unit).unwrap());
    let [socket_unit, service_unit] = units.map(|unit| unit.display().to_string());
    let verify = format!("systemd-analyze verify --man=no {socket_unit} {service_unit}");
    recipe = recipe
        .mean("systemctl daemon-reload", verify)
        .mean("systemctl enable --now lucid-sink.socket", format!("test -e {socket_unit}"));
    recipe.run();
    // What is tried is what the units say.
    let tried = recipe.reader.meant(&recipe.blocks[0].lines[0]);
    let key = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.to_owned()
    };
    let path = key(&socket, "ListenStream=");
    let name = key(&socket, "FileDescriptorName=");
    let command = key(&service, "ExecStart=");
    assert!(tried.contains(&format!("--listen {path} --fdname {name} ")), "{tried}");
    let (_, sink) = command.split_once("/bin/").unwrap();
    assert!(tried.ends_with(&format!("{sink} &")), "{tried}");
    recipe.run();
    wait(|| Path::new(&path).exists().then_some(()));
    recipe.file();
    recipe.run();
    let words = recipe.sealed(|session| session["metadata"]["socket"] == name);
    let mut recipe = recipe.mean("WORDS", &words);
    let said = recipe.run();
    assert!(said.ends_with("this is recorded\n"), "{said}");
    recipe.done();
}

#[test]
fn commands_by_sudo() {
    needs("sudo", "sudo");
    needs("script", "bsdutils");
    if !is_root() {
        eprintln!("SKIPPED: only root can give sudo another configuration");
        return;
    }
    let mut recipe = Recipe::of("sudo");
    let file = recipe.file();
    let rules = file.parent().unwrap().display();
    // The machine's own configuration stays as it is: only this command sees another one.
    let command = "sudo echo this is recorded";
    let within = format!("mount --bind {rules} /etc/sudoers.d && exec {command}");
    let terminal = format!("script -qec \"unshare -m sh -c '{within}'\" /dev/null");
    recipe = recipe.mean(command, terminal);
    recipe.run();
    recipe.run();
    let said = recipe.run();
    assert!(said.contains("this is recorded"), "{said}");
    let [log, output, _timing] = ["/log", "/ttyout", "/timing"].map(|name| recipe.sealed_at(name));
    let output = recipe.found(|session| session["session_id"] == output.as_str());
    let group = output["metadata"]["group"].as_str().unwrap().to_owned();
    let mut recipe = recipe.mean("LOG", log).mean("GROUP", group);
    let said = recipe.run();
    assert!(
        said.ends_with("this is recorded\r\n") && said.contains("/echo this is recorded"),
        "{said}"
    );
    recipe.done();
}

/// A port that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn logins_by_ssh() {
    needs("sshd", "openssh-server");
    needs("ssh", "openssh-client");
    needs("script", "bsdutils");
    let mut recipe = Recipe::of("sshd");
    let at = |name: &str| recipe.machine.at(name).display().to_string();
    let [host, login, folder] = [at("host-key"), at("login-key"), at("etc/ssh/sshd_config.d")];
    for key in [&host, &login] {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).status();
        assert!(made.unwrap().success());
    }
    let port = free_port();
    let config = recipe.machine.file(
        "sshd_config",
        format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nAuthorizedKeysFile {login}.pub\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n\
             Include {folder}/*.conf\n"
        ),
    );
    // Root's sshd wants a folder of its own, which this machine may not have.
    let root =
        "unshare -m sh -c 'mount -t tmpfs none /run && mkdir /run/sshd && exec \"$0\" \"$@\"' ";
    let config = config.display();
    let sshd = format!("{}/usr/sbin/sshd -f {config}", if is_root() { root } else { "" });
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("exec {sshd} -D -e")]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let pid = child.id();
    recipe.running.0.push(child);
    let mut listening = || said.any(|line| line.unwrap().starts_with("Server listening"));
    assert!(listening());
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    let ssh = format!(
        "ssh -tt -F /dev/null -p {port} -i {login} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null {user}@127.0.0.1"
    );
    recipe = recipe
        .mean("sshd -t", format!("{sshd} -t"))
        .mean("systemctl reload ssh", format!("kill -HUP {pid}"))
        .mean("ssh -t localhost", ssh);
    recipe.file();
    recipe.file();
    recipe.run();
    assert!(listening(), "it has read its configuration anew");
    std::thread::spawn(move || said.map_while(Result::ok).for_each(drop));
    recipe.run();
    let shown = recipe.run();
    assert!(shown.contains("this is recorded"), "{shown}");
    let [typescript, timing] = [".typescript", ".timing"].map(|end| recipe.sealed_at(end));
    let mut recipe = recipe.mean("TYPESCRIPT", typescript).mean("TIMING", timing);
    let said = recipe.run();
    assert!(said.ends_with("this is recorded\r\n"), "{said}");
    recipe.done();
}
