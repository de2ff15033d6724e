//! What callers hear where the index or the disk gives errors: trouble, which is neither absence nor a
//! verdict, and of which nothing is remembered.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_data_chain::app::{self, App};
use lucid_data_chain::config::{self, SERVICE};
use lucid_data_chain::projection::SessionProjection;
use lucid_data_chain::workers::anchoring::Anchoring;
use lucid_data_chain::workers::figures::measure;
use lucid_data_chain::workers::read_log::{self, Writing};
use lucid_http::credentials::Credentials;
use lucid_http::serve::{Drained, Listening, Shutdown};
use lucid_store::StoreError;
use lucid_store::clock::Clock;
use lucid_store::files::Limits;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::faulty::FaultyIndex;
use reqwest::blocking::{Client, Response};
use rustix::io::Errno;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::sample::{id, noise};
use crate::service::{Service, problem};
use crate::workers::open;

/// What goes wrong with the index.
#[derive(Default)]
struct Wrong {
    /// Nothing can be read.
    is_away: AtomicBool,
    /// So many reads go well, and the one behind them fails; zero is none.
    one: AtomicUsize,
    failed: AtomicUsize,
}

impl Wrong {
    /// An index whose disk gives errors.
    fn index(self: Arc<Self>) -> FaultyIndex {
        FaultyIndex::over(Arc::default(), move |call| {
            // What is acknowledged is another matter.
            let is_a_callers = std::thread::current().name() != Some("committer");
            if call.is_look() && is_a_callers && self.fails() {
                self.failed.fetch_add(1, Ordering::SeqCst);
                return Err(StoreError::Index("the disk under it is away".into()));
            }
            Ok(())
        })
    }

    fn fails(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        let before = self.one.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        self.is_away.load(Ordering::SeqCst) || before == Ok(1)
    }
}

/// The service over a store with a sealed session `s`, an open one with a chunk that is called `first`, and
/// a chunk of nobody's.
struct Troubled {
    app: Arc<App>,
    disk: FaultyDisk,
    index: Arc<Wrong>,
    shutdown: Shutdown,
    serving: JoinHandle<Drained>,
    writing: Option<Writing>,
    http: Client,
    base: String,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Troubled {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// One whose settings say this besides.
    fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start(folder.path());
        service.begin("s");
        service.add("s", 0, &content().chunks(100_000).collect::<Vec<_>>());
        service.client.seal("s", &Default::default()).unwrap();
        let data = |bytes: &[u8]| STANDARD.encode(bytes);
        let named = json!({ "data": data(b"named"), "session_id": "t", "chunk_id": "first" });
        assert_eq!(service.post("/api/v1/chunks", named).status(), 201);
        let alone = json!({ "data": data(b"alone") });
        assert_eq!(service.post("/api/v1/chunks", alone).status(), 201);
        service.stop();

        let mut opened = open(folder.path());
        opened.vault.close().unwrap();
        let disk = FaultyDisk::over(opened.folder.disk.clone());
        let index = Arc::new(Wrong::default());
        let cipher = opened.folder.cipher.clone();
        opened.vault = files::open(UnopenedStore {
            disk: Arc::new(disk.clone()),
            store: opened.folder.store,
            cipher: cipher.clone(),
            index: Arc::new(index.clone().index()),
            project: Arc::new(SessionProjection::new(cipher, opened.key.public())),
            accept_loss: false,
            limits: Limits::default(),
        })
        .unwrap();
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let config = config::load(&settings.collect(), None).unwrap().config;
        let (shutdown, runtime) = (Shutdown::new(), Runtime::new().unwrap());
        let jobs = app::jobs(&shutdown, &Clock::system());
        let app = Arc::new(App::new(opened, &config, Anchoring::default(), jobs));
        let writing = {
            let _within = runtime.enter();
            Some(read_log::start(&app).unwrap())
        };
        let listening = Listening::bind(SERVICE, "127.0.0.1:0".parse().unwrap());
        let listening = runtime.block_on(listening).unwrap();
        let base = format!("http://{}", listening.address());
        let router = {
            let _within = runtime.enter();
            app::router(app.clone(), &config, &Credentials::nobody_asks(), None)
        };
        let until = shutdown.clone();
        let serving = runtime.spawn(async move { listening.serve(router, &until).await });
        let http = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { app, disk, index, shutdown, serving, writing, http, base, runtime, _folder: folder }
    }

    fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.base)).send().unwrap()
    }

    fn post(&self, path: &str, body: Option<Value>) -> Response {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        request.send().unwrap()
    }

    fn ask(&self, request: &str, body: Option<Value>) -> Response {
        match request.split_once(' ').unwrap() {
            ("GET", path) => self.get(path),
            (_, path) => self.post(path, body),
        }
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let reply = self.get(path);
        (reply.status().as_u16(), serde_json::from_str(&reply.text().unwrap()).unwrap())
    }

    /// Begins a session of many chunks.
    fn begin_long(&self) {
        for index in 0..200 {
            let url = format!("{}/api/v1/sessions/long/chunks/{index}", self.base);
            let put = self.http.put(url).header("content-type", "application/octet-stream");
            assert_eq!(put.body(noise(index, 1_000)).send().unwrap().status(), 201);
        }
    }

    fn break_index(&self, is_away: bool) {
        self.index.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Asks as often as the answer takes reads of the index, and lets another one fail each time. What was
    /// answered to all that came upon it, and then without.
    fn ask_with_each_read_failing(
        &self,
        request: &str,
        body: Option<&Value>,
    ) -> (Vec<Response>, Response) {
        let mut answers = Vec::new();
        loop {
            let failed = self.index.failed.load(Ordering::SeqCst);
            self.index.one.store(answers.len() + 1, Ordering::SeqCst);
            let answer = self.ask(request, body.cloned());
            self.index.one.store(0, Ordering::SeqCst);
            if self.index.failed.load(Ordering::SeqCst) == failed {
                return (answers, answer);
            }
            answers.push(answer);
        }
    }

    /// Lets chunks fail to be read: for want of something of ours, or as a bad sector does.
    fn break_chunks(&self, errno: Errno) {
        for call in [Call::Open, Call::Read] {
            self.disk.refuse(call, "chunks/", errno, 0, usize::MAX);
        }
    }

    /// What a round of the worker makes of health that reads the figures.
    fn health_after_a_round(&self, wanted: &str) -> (u16, Value) {
        let ended = Shutdown::new();
        let working = self.runtime.spawn(measure(self.app.clone(), ended.clone()));
        let deadline = Instant::now() + Duration::from_secs(30);
        let found = loop {
            let found = self.json("/health");
            if found.1["status"] == wanted {
                break found;
            }
            assert!(Instant::now() < deadline, "{found:?}");
        };
        ended.ask();
        self.runtime.block_on(working).unwrap();
        found
    }

    fn history(&self) -> Value {
        let (status, found) = self.json("/api/v1/verify/history");
        assert_eq!(status, 200);
        found
    }
}

impl Drop for Troubled {
    fn drop(&mut self) {
        self.shutdown.ask();
        let _ended = self.runtime.block_on(&mut self.serving);
        self.writing.take().unwrap().end();
    }
}

fn content() -> Vec<u8> {
    noise(1, 400_000)
}

#[test]
fn an_index_that_cannot_be_read_is_unhealthy_and_an_absent_row_is_not() {
    let service = Troubled::start();
    assert_eq!(service.health_after_a_round("healthy").0, 200);
    // What is not there is no trouble, however often it is asked for.
    for path in ["/api/v1/sessions/none", "/api/v1/chunks/none", "/api/v1/sessions/none/manifest"] {
        assert_eq!(problem(service.get(path)).0, 404, "{path}");
    }
    assert_eq!(service.health_after_a_round("healthy").0, 200);

    service.break_index(true);
    let (status, health) = service.health_after_a_round("unhealthy");
    assert_eq!((status, &health["data_storage"]), (503, &false.into()), "{health}");
    let why = health["details"]["data_storage"].as_str().unwrap();
    assert!(why.contains("cannot be read") && why.contains("disk under it is away"), "{why}");
    // Now nothing is known of what is there.
    for path in ["/api/v1/sessions/none", "/api/v1/sessions/s", "/api/v1/chunks/none"] {
        let (status, code, document) = problem(service.get(path));
        assert_eq!((status, code.as_str()), (503, "unavailable"), "{path}");
        assert_eq!(document["error"]["code"], "ST_003", "{path}");
    }

    service.break_index(false);
    assert_eq!(service.health_after_a_round("healthy").0, 200);
    assert_eq!(problem(service.get("/api/v1/sessions/none")).0, 404);
}

#[test]
fn no_chunk_is_called_absent_because_the_index_cannot_be_read() {
    let service = Troubled::start();
    let (kept, alone) = (id(&content()[..100_000]).to_string(), id(b"alone").to_string());
    let several = json!({ "chunks": [kept, alone] });
    let requests = [
        (format!("GET /api/v1/chunks/{kept}"), None),
        (format!("GET /api/v1/chunks/{kept}?session_id=s"), None),
        (format!("GET /api/v1/chunks/{kept}/raw"), None),
        (format!("GET /api/v1/chunks/{kept}/metadata"), None),
        (format!("GET /api/v1/chunks/{alone}"), None),
        ("GET /api/v1/chunks/first".to_owned(), None),
        ("GET /api/v1/chunks/first?session_id=t".to_owned(), None),
        (format!("POST /api/v1/verify/chunk/{kept}"), None),
        ("POST /api/v1/verify/chunk/first".to_owned(), None),
        // Of several, a later one would break the answer off.
        ("POST /api/v1/chunks/get".to_owned(), Some(json!({ "chunks": [alone] }))),
        ("POST /api/v1/chunks/missing".to_owned(), Some(several)),
    ];
    service.break_index(true);
    for (request, body) in &requests {
        let (status, code, document) = problem(service.ask(request, body.clone()));
        assert_eq!((status, code.as_str()), (503, "unavailable"), "{request}: {document}");
    }
    service.break_index(false);
    // Nor because one row of many cannot be, whichever it is.
    for (request, body) in &requests {
        let (hindered, answer) = service.ask_with_each_read_failing(request, body.as_ref());
        assert_eq!(answer.status(), 200, "{request}: {}", answer.text().unwrap());
        assert!(!hindered.is_empty(), "{request}");
        for (read, answer) in hindered.into_iter().enumerate() {
            let (status, code, document) = problem(answer);
            let told = format!("{request}, read {read}: {document}");
            assert_eq!((status, code.as_str()), (503, "unavailable"), "{told}");
        }
    }
    let history = service.history();
    let found = history.as_array().unwrap().iter().all(|it| it["verified"] == true);
    assert!(found, "nothing is remembered of what could not be found out: {history}");
    let absent = format!("/api/v1/chunks/{}", id(b"nobody's"));
    assert_eq!(problem(service.get(&absent)).0, 404);
}

#[test]
fn what_keeps_a_session_from_being_verified_is_no_verdict_and_leaves_no_history() {
    let service = Troubled::start();
    let kept = id(&content()[..100_000]);
    let of_session = "/api/v1/verify/session/s";
    let requests = [of_session.to_owned(), format!("/api/v1/verify/chunk/{kept}")];
    let is_refused = |why: &str| {
        for path in &requests {
            let (status, code, document) = problem(service.post(path, None));
            assert_eq!((status, code.as_str()), (503, "unavailable"), "{why}: {path}: {document}");
            assert!(document.get("verified").is_none(), "{document}");
        }
    };
    service.break_index(true);
    is_refused("the index is away");
    service.break_index(false);
    for errno in [Errno::MFILE, Errno::NOMEM, Errno::ACCESS] {
        service.break_chunks(errno);
        is_refused(&errno.to_string());
        service.disk.repair();
    }
    let (_, shown) = service.json(of_session);
    assert_eq!(shown["state"], "failed", "{shown}");
    assert_eq!(service.history(), json!([]), "nothing was found out");
    let request = format!("POST {of_session}");
    let (hindered, _) = service.ask_with_each_read_failing(&request, None);
    assert!(hindered.len() > 5, "{}", hindered.len());
    for (read, answer) in hindered.into_iter().enumerate() {
        if answer.status() != 503 {
            let verified: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
            assert_eq!(verified["verified"], true, "read {read}: {verified}");
        }
    }
    let history = service.history();
    let sound = history.as_array().unwrap();
    assert!(sound.iter().all(|it| it["verified"] == true), "{history}");
    let known = sound.len();

    // A bad sector is a verdict, on these bytes and for now.
    service.break_chunks(Errno::IO);
    for path in &requests {
        let reply = service.post(path, None);
        assert_eq!(reply.status(), 200);
        let verified: Value = serde_json::from_str(&reply.text().unwrap()).unwrap();
        assert_eq!(verified["verified"], false, "{verified}");
    }
    service.disk.repair();
    for path in &requests {
        let reply = service.post(path, None);
        let verified: Value = serde_json::from_str(&reply.text().unwrap()).unwrap();
        assert_eq!(verified["verified"], true, "{verified}");
    }
    let history = service.history();
    let found = history.as_array().unwrap().iter().map(|it| it["verified"].as_bool().unwrap());
    let new = found.take(history.as_array().unwrap().len() - known).collect::<Vec<_>>();
    assert_eq!(new, [true, true, false, false]);
}

#[test]
fn work_that_fails_behind_its_answer_says_with_which_code() {
    let troubled = Troubled::start();
    troubled.break_index(true);
    let gc = "/api/v1/maintenance/gc";
    let waited = problem(troubled.post(gc, None));
    let request = troubled.http.post(format!("{}{gc}", troubled.base));
    assert_eq!(request.header("prefer", "respond-async").send().unwrap().status(), 202);
    let deadline = Instant::now() + Duration::from_secs(60);
    let failed = loop {
        let (_, shown) = troubled.json(gc);
        if shown["state"] != "running" {
            break shown;
        }
        assert!(Instant::now() < deadline, "{shown}");
    };
    assert_eq!((&failed["state"], &failed["code"]), (&json!("failed"), &json!(waited.1)));
    assert!(failed["result"].is_null() && failed["error"].is_string(), "{failed}");
}

#[test]
fn a_verification_ends_when_its_caller_leaves() {
    let service = Troubled::start();
    service.begin_long();
    service.disk.delay(Duration::from_millis(20));
    let path = "/api/v1/verify/session/long";
    let authority = service.base.strip_prefix("http://").unwrap();
    let mut caller = TcpStream::connect(authority).unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 0\r\n\r\n");
    caller.write_all(request.as_bytes()).unwrap();
    let until = |wanted: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (_, shown) = service.json(path);
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{shown}");
        }
    };
    until(&|shown| shown["state"] == "running" && shown["done"].as_u64() > Some(0));
    drop(caller);
    let shown = until(&|shown| shown["state"] != "running");
    assert_eq!(shown["state"], "stopped", "{shown}");
    assert!(shown["done"].as_u64() < shown["total"].as_u64(), "{shown}");
    assert_eq!(service.history(), json!([]), "nobody waits for what it found");
}

/// Reads until the reply ends, or breaks off: what came, and whether it was whole.
fn read_all(mut reply: Response) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let whole = std::io::Read::read_to_end(&mut reply, &mut bytes).is_ok();
    (bytes, whole)
}

#[test]
fn nothing_is_given_that_cannot_be_noted() {
    let service = Troubled::start_with(&[("LUCID_READ_LOG", "on")]);
    let (short, long) = ("/api/v1/chunks/first/raw?session_id=t", "/api/v1/sessions/s/data");
    assert_eq!(read_all(service.get(long)), (content(), true));
    let entries = || {
        let (text, whole) = read_all(service.get("/api/v1/audit/entries"));
        assert!(whole);
        let lines = std::str::from_utf8(&text).unwrap().lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let noted = entries();
    assert_eq!((&noted[0]["ended"], &noted[0]["bytes"]), (&json!("begun"), &Value::Null));

    service.disk.refuse(Call::Append, "log/", Errno::NOSPC, 0, usize::MAX);
    let (status, code, document) = problem(service.get(short));
    assert_eq!((status, code.as_str()), (503, "unavailable"), "{document}");
    assert!(document["detail"].to_string().contains("read log"), "{document}");
    assert_eq!(problem(service.get(long)).0, 503);
    // A stream whose length is not known does not begin.
    assert_eq!(problem(service.get("/api/v1/find?path=*")).0, 503);
    let (_, health) = service.json("/health");
    assert_eq!(health["read_log"], json!(false), "{health}");
    // What tells nothing that is stored is told as before, and a refusal is a refusal.
    assert_eq!(service.get("/api/v1/sessions/s").status(), 200);
    assert_eq!(problem(service.get("/api/v1/sessions/none/data")).0, 404);

    service.disk.repair();
    let deadline = Instant::now() + Duration::from_secs(20);
    while service.json("/health").1.get("read_log").is_some() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(service.get(short).status(), 200);
    let noted: Vec<(String, String)> = entries()
        .iter()
        .map(|entry| (entry["target"].as_str().unwrap(), entry["ended"].as_str().unwrap()))
        .map(|(target, ended)| (target.to_owned(), ended.to_owned()))
        .collect();
    // What was tried meanwhile is noted now.
    let tried = [(short, "failed"), (long, "failed"), ("/api/v1/sessions/none/data", "refused")];
    for wanted in tried {
        let is_wanted = |(target, ended): &&(String, String)| (&**target, &**ended) == wanted;
        assert_eq!(noted.iter().filter(is_wanted).count(), 1, "{wanted:?}: {noted:?}");
    }
}
