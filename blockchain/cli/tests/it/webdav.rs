//! `lucid serve --webdav`: what a file manager sees, and what nobody gets.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::home::{Home, noise, prose};
use super::monitoring::scrape;
use super::server::Server;

/// A server of files in a process of its own; dropping it ends it.
struct Dav {
    child: Child,
    address: String,
}

impl Dav {
    fn start(home: &Home, more: &[&dyn AsRef<OsStr>]) -> Self {
        let arguments: [&dyn AsRef<OsStr>; 4] = [&"--json", &"serve", &"--webdav", &"127.0.0.1:0"];
        let arguments = [&arguments[..], more].concat();
        Self::of(home.command(&arguments))
    }

    fn of(mut command: Command) -> Self {
        let child = command.stderr(Stdio::inherit()).spawn().unwrap();
        // From here on it is ended, whatever the test comes upon.
        let mut dav = Self { child, address: String::new() };
        let mut line = String::new();
        BufReader::new(dav.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let url = told["webdav"].as_str().unwrap();
        dav.address = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        dav
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for header in headers.iter().chain(&["Connection: close"]) {
            text.push_str(header);
            text.push_str("\r\n");
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A connection that is cut is what some of these tests want.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let reply = self.ask("GET", path, &[]);
        assert_eq!(reply.status, 200, "{path}: {}", reply.head);
        reply.body
    }

    /// The paths that a folder has, as they stand in the reply.
    fn list(&self, path: &str) -> Vec<String> {
        let reply = self.ask("PROPFIND", path, &["Depth: 1"]);
        assert_eq!(reply.status, 207, "{path}: {}", reply.head);
        assert!(reply.is_whole_list(), "{path}");
        let text = String::from_utf8(reply.body).unwrap();
        let hrefs = text.split("<D:href>").skip(1).map(|rest| rest.split('<').next().unwrap());
        let mut hrefs: Vec<String> = hrefs.map(str::to_owned).collect();
        hrefs.sort();
        hrefs
    }

    /// Ends it as a user does, and says how it ended.
    fn end(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dav {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }

    /// Whether a reply in chunks came to its end.
    fn is_whole_list(&self) -> bool {
        self.has("transfer-encoding: chunked") && self.body.ends_with(b"0\r\n\r\n")
    }
}

/// A store with an archived folder and a recording.
fn kept() -> Home {
    let home = Home::new();
    home.file("tree/a name.txt", "a");
    home.file("tree/sub/small", "small");
    home.file("tree/sub/below/page.html", "<script>1</script>");
    home.file("tree/large", noise(1, 5 << 20));
    home.file("tree/empty", "");
    fs::hard_link(home.at("tree/sub/small"), home.at("tree/too")).unwrap();
    symlink("large", home.at("tree/link")).unwrap();
    super::folder::set_time(&home.at("tree/a name.txt"), -5, 999_999_999);
    super::folder::set_time(&home.at("tree/empty"), 300_000_000_000, 0);
    home.archive("s", &home.at("tree"));
    let input = prose(3, 300_000);
    assert_eq!(home.fed(&[&"archive", &"-", &"--session", &"raw"], &input).code, 0);
    home
}

fn check_tree(dav: &Dav, home: &Home) {
    assert_eq!(dav.list("/"), ["/", "/raw", "/s/"]);
    assert_eq!(
        dav.list("/s"),
        ["/s/", "/s/a%20name.txt", "/s/empty", "/s/large", "/s/sub/", "/s/too"]
    );
    assert_eq!(dav.list("/s/sub/"), ["/s/sub/", "/s/sub/below/", "/s/sub/small"]);
    for name in ["a name.txt", "empty", "large", "sub/small", "sub/below/page.html", "too"] {
        let path = format!("/s/{}", name.replace(' ', "%20"));
        assert!(dav.get(&path) == fs::read(home.at("tree").join(name)).unwrap(), "{name}");
    }
    assert!(dav.get("/raw") == prose(3, 300_000));
    for absent in ["/s/nothing", "/s/link", "/none", "/none/x", "/raw/x", "/s/large/x", "/%2e%2e/s"]
    {
        let status = dav.ask("GET", absent, &[]).status;
        assert!([403, 404].contains(&status), "{absent}: {status}");
    }
    let large = fs::read(home.at("tree/large")).unwrap();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-1000999", 1_000_000, 1_001_000),
        ("bytes=5242870-", 5_242_870, 5_242_880),
        ("bytes=5242870-9999999999", 5_242_870, 5_242_880),
        ("bytes=-3", 5_242_877, 5_242_880),
    ] {
        let reply = dav.ask("GET", "/s/large", &[&format!("Range: {range}")]);
        assert_eq!(reply.status, 206, "{range}: {}", reply.head);
        assert!(reply.body == large[from..to], "{range}");
        assert!(
            reply.has(&format!("content-range: bytes {from}-{}/5242880", to - 1)),
            "{}",
            reply.head
        );
    }
    // What asks for several at once gets all of it.
    let reply = dav.ask("GET", "/s/large", &["Range: bytes=0-1,5-9"]);
    assert_eq!((reply.status, reply.body.len()), (200, large.len()));
    let reply = dav.ask("HEAD", "/s/large", &[]);
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(reply.has("content-length: 5242880"), "{}", reply.head);
}

#[test]
fn a_folder_shows_its_sessions_as_files() {
    let home = kept();
    let dav = Dav::start(&home, &[]);
    check_tree(&dav, &home);
    let page = dav.ask("GET", "/s/sub/below/page.html", &[]);
    assert!(
        page.has("content-security-policy: default-src 'none'; frame-ancestors 'none'; sandbox")
    );
    assert!(page.has("x-content-type-options: nosniff"), "{}", page.head);
    let tag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = dav.ask("GET", "/s/sub/below/page.html", &[&format!("If-None-Match: {tag}")]);
    assert_eq!(again.status, 304, "{}", again.head);
    assert_eq!(dav.end(), Some(0));
    home.assert_sound();
}

#[test]
fn a_server_shows_its_sessions_as_files() {
    let home = kept();
    let server = Server::start(&home);
    let mut command = home.command(&[&"--json", &"serve", &"--webdav", &"127.0.0.1:0"]);
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url);
    let dav = Dav::of(command);
    check_tree(&dav, &home);
    // A stream that goes on is as long as it is.
    server.run(
        &home,
        &[&"append", &home.at("tree/sub/small"), &"--session", &"live", &"--keep-open"],
    );
    assert_eq!(dav.get("/live"), b"small");
    assert_eq!(dav.list("/"), ["/", "/live", "/raw", "/s/"]);
    drop(server);
    assert_eq!(dav.ask("GET", "/s/large", &[]).status, 502);
    assert_eq!(dav.end(), Some(0));
}

#[test]
fn nothing_can_be_changed() {
    let home = kept();
    let dav = Dav::start(&home, &[]);
    let allowed = "allow: options, get, head, propfind";
    for method in [
        "PUT",
        "DELETE",
        "MKCOL",
        "PROPPATCH",
        "MOVE",
        "COPY",
        "LOCK",
        "UNLOCK",
        "PATCH",
        "POST",
        "REPORT",
    ] {
        for path in ["/s/new", "/s/large", "/s/", "/"] {
            let reply = dav.ask(method, path, &["Content-Length: 0", "Destination: /s/x"]);
            assert_eq!(reply.status, 405, "{method} {path}: {}", reply.head);
            assert!(reply.has(allowed), "{}", reply.head);
            let said = String::from_utf8(reply.body).unwrap();
            assert_eq!(said, "this is read-only: nothing can be changed here\n");
        }
    }
    let options = dav.ask("OPTIONS", "/s/", &[]);
    assert!(
        options.status == 200 && options.has("dav: 1") && options.has(allowed),
        "{}",
        options.head
    );
    for (depth, status) in [(&[][..], 403), (&["Depth: infinity"], 403), (&["Depth: 2"], 400)] {
        let reply = dav.ask("PROPFIND", "/", depth);
        assert_eq!(reply.status, status, "{depth:?}");
        let said = String::from_utf8(reply.body).unwrap();
        assert_eq!(said.contains("propfind-finite-depth"), status == 403, "{said}");
    }
    assert_eq!(dav.ask("GET", "/s/", &[]).status, 405);
    check_tree(&dav, &home);
}

#[test]
fn a_folder_with_much_below_it_lists_what_is_directly_in_it() {
    let home = Home::new();
    for number in 0..3_000 {
        home.file(&format!("tree/b/{}/{number}", number % 3), "x");
    }
    for name in ["a", "b/0x", "b.txt", "c"] {
        home.file(&format!("tree/{name}"), "x");
    }
    home.archive("s", &home.at("tree"));
    let dav = Dav::start(&home, &[]);
    assert_eq!(dav.list("/s/"), ["/s/", "/s/a", "/s/b.txt", "/s/b/", "/s/c"]);
    assert_eq!(dav.list("/s/b"), ["/s/b/", "/s/b/0/", "/s/b/0x", "/s/b/1/", "/s/b/2/"]);
    assert_eq!(dav.list("/s/b/1").len(), 1_001);
}

#[test]
fn strangers_are_not_let_in() {
    let home = kept();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let said = home.refused(64, &[&"serve", &"--webdav", &address]);
        assert!(said.contains("name a file with a token"), "{said}");
    }
    let said = home.refused(64, &[&"serve"]);
    assert!(said.contains("pass --webdav"), "{said}");
    let short = home.file("short", "abc\n");
    let said = home.hindered(&[&"serve", &"--webdav", &"--webdav-token-file", &short]);
    assert!(said.contains("could be guessed"), "{said}");
    // By a name that a stranger can point here, nothing is shown.
    let dav = Dav::start(&home, &[]);
    let mut stream = TcpStream::connect(&dav.address).unwrap();
    stream
        .write_all(b"GET /raw HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 403"), "{reply}");
    drop(dav);
    let token = home.file("token", "correct-horse-battery\n");
    let dav = Dav::start(&home, &[&"--webdav-token-file", &token]);
    for wrong in [
        &[][..],
        &["Authorization: Bearer correct-horse-batterx"],
        &["Authorization: Basic YTpi"],
        &["Authorization: correct-horse-battery"],
        &["Authorization: Bearer correct-horse-battery", "Authorization: Bearer x"],
    ] {
        for method in ["GET", "OPTIONS", "PROPFIND", "PUT"] {
            let reply = dav.ask(method, "/raw", wrong);
            assert_eq!(reply.status, 401, "{method} {wrong:?}");
            assert!(
                reply.head.contains("www-authenticate: basic realm=\"lucid\""),
                "{}",
                reply.head
            );
        }
    }
    // "me:correct-horse-battery"
    for right in [
        "Authorization: Bearer correct-horse-battery",
        "Authorization: Basic bWU6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
    ] {
        assert_eq!(dav.ask("GET", "/raw", &[right]).status, 200, "{right}");
    }
}

/// Flips a byte in the middle of the longest record of a closed store, which is a chunk of the large file.
fn damage(data: &Path) {
    let path = data.join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    // Noise is stored as it is, so any place well inside of the file is in one of its chunks.
    bytes[3_000_000] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn damage_cuts_the_reply_and_never_gives_wrong_bytes() {
    let home = kept();
    damage(home.data());
    let dav = Dav::start(&home, &[]);
    let whole = fs::read(home.at("tree/large")).unwrap();
    let reply = dav.ask("GET", "/s/large", &[]);
    assert!(reply.status == 500 || reply.body.len() < whole.len(), "{}", reply.head);
    assert!(whole.starts_with(&reply.body), "what came is what was kept");
    // What does not need that chunk is there.
    assert_eq!(dav.get("/s/sub/small"), b"small");
    assert!(dav.get("/raw") == prose(3, 300_000));
}

#[test]
fn with_trust_only_what_is_proved_is_shown() {
    let home = kept();
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"live");
    let trust = home.json(&[&"show", &"s"])["anchor"]["trust"].clone();
    let [block, recorder] =
        ["block", "recorder"].map(|key| trust[key].as_str().unwrap().to_owned());
    let by_store = Dav::start(&home, &[&"--trust"]);
    assert_eq!(by_store.list("/"), ["/", "/raw", "/s/"]);
    check_tree(&by_store, &home);
    assert_eq!(by_store.ask("GET", "/open", &[]).status, 404);
    drop(by_store);
    let by_keys = Dav::start(&home, &[&"--trust", &block, &"--trust", &recorder]);
    check_tree(&by_keys, &home);
    drop(by_keys);
    let other = kept();
    let foreign = other.json(&[&"show", &"s"])["anchor"]["trust"]["block"].clone();
    let by_none = Dav::start(&home, &[&"--trust", &foreign.as_str().unwrap()]);
    assert_eq!(by_none.list("/"), ["/"]);
    assert_eq!(by_none.ask("GET", "/s/large", &[]).status, 404);
    assert_eq!(by_none.ask("PROPFIND", "/s/", &["Depth: 1"]).status, 404);
}

#[test]
fn many_callers_read_at_once() {
    let home = kept();
    let dav = Dav::start(&home, &[]);
    let whole = fs::read(home.at("tree/large")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(dav.get("/s/large") == whole));
        }
    });
    // Callers who leave in the middle cost the others nothing.
    for _ in 0..80 {
        let mut stream = TcpStream::connect(&dav.address).unwrap();
        let text = format!("GET /s/large HTTP/1.1\r\nHost: {}\r\n\r\n", dav.address);
        stream.write_all(text.as_bytes()).unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
    }
    super::home::wait(|| (dav.ask("GET", "/s/large", &[]).status == 200).then_some(()));
    assert_eq!(dav.end(), Some(0));
}

#[test]
fn curl_reads_what_is_mounted() {
    let curl = |arguments: &[&str]| {
        let ran = Command::new("curl").args(["--silent", "--show-error"]).args(arguments).output();
        ran.map(|ran| (ran.status.code(), ran.stdout))
    };
    if curl(&["--version"]).is_err() {
        println!("curl is not here, so it was not tried");
        return;
    }
    let home = kept();
    let token = home.file("token", "correct-horse-battery\n");
    let dav = Dav::start(&home, &[&"--webdav-token-file", &token]);
    let url = |path: &str| format!("http://{}{path}", dav.address);
    let user = ["--user", "me:correct-horse-battery"];
    let ask = |arguments: &[&str]| {
        let (code, out) = curl(&[&user[..], arguments].concat()).unwrap();
        (code.unwrap(), String::from_utf8_lossy(&out).into_owned())
    };
    let (code, listed) = ask(&["--request", "PROPFIND", "--header", "Depth: 1", &url("/s/")]);
    assert_eq!(code, 0, "{listed}");
    assert!(listed.contains("<D:href>/s/a%20name.txt</D:href>"), "{listed}");
    assert!(listed.contains("<D:getcontentlength>5242880</D:getcontentlength>"), "{listed}");
    let (code, range) = ask(&["--range", "1-3", &url("/s/sub/small")]);
    assert_eq!((code, range.as_str()), (0, "mal"));
    let file = home.file("upload", "new");
    let put = ["--write-out", "%{http_code}", "--upload-file", file.to_str().unwrap()];
    let (_, said) = ask(&[&put[..], &[&url("/s/new")]].concat());
    assert_eq!(said, "this is read-only: nothing can be changed here\n405");
}

/// How many requests for chunks a server has answered.
fn fetches(server: &Server) -> u64 {
    let page = scrape(&server.url);
    let counted = page.lines().filter(|line| {
        line.starts_with("lucid_http_requests_total") && line.contains("\"/api/v1/chunks/get\"")
    });
    counted.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
}

#[test]
fn a_file_behind_a_server_is_fetched_many_chunks_at_a_time() {
    let (behind, home) = (Home::new(), Home::new());
    let content = noise(7, 40 << 20);
    behind.file("tree/large", &content);
    behind.archive("s", &behind.at("tree"));
    let chunks = behind.json(&[&"show", &"s"])["chunk_count"].as_u64().unwrap();
    assert!(chunks > 30, "{chunks}");
    let server = Server::start(&behind);
    let dav = Dav::start(&home, &[&"--server", &server.url]);
    let before = fetches(&server);
    assert!(dav.get("/s/large") == content);
    let asked = fetches(&server) - before;
    assert!(asked > 0 && asked < chunks / 2, "{asked} requests for {chunks} chunks");
    let before = fetches(&server);
    assert!(server.run(&home, &[&"cat", &"s", &"large"]) == content);
    let asked = fetches(&server) - before;
    assert!(asked > 0 && asked < chunks / 2, "{asked} requests for {chunks} chunks");
    // From the middle on it is what it is, too, and a caller that leaves off asks for little.
    let reply = dav.ask("GET", "/s/large", &["Range: bytes=30000000-30000009"]);
    assert_eq!(reply.body, &content[30_000_000..30_000_010]);
}
