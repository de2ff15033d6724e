//! A service on a free port, and what callers do with it.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientError, ClientOptions, DataChainClient, Download, Retry};
use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::chunks::ChunkIds;
use lucid_api::v1::sessions::{
    AddReferences, Appendix, AppendixKind, CreateSession, Layout, Reference, SealSession, Session,
    SessionStatus,
};
use lucid_data_chain::app::App;
use lucid_data_chain::config;
use lucid_data_chain::service::{Running, StartError, serve};
use lucid_http::budget::{Budget, HeldMemory};
use lucid_http::config::Environment;
use lucid_http::serve::{Drained, Shutdown};
use lucid_store::clock::Clock;
use lucid_store::vault::committer::Submission;
use reqwest::blocking::{Client, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::sample::{Folder, id};

pub struct Service {
    pub client: DataChainClient,
    /// For what the typed client cannot say.
    pub http: Client,
    pub base: String,
    shutdown: Shutdown,
    running: Option<Running>,
    runtime: Runtime,
}

impl Service {
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::try_start(folder, settings).unwrap()
    }

    pub fn try_start(folder: &Path, settings: &[(&str, &str)]) -> Result<Self, StartError> {
        Self::try_start_by(Clock::system(), folder, settings)
    }

    /// One that takes the time from this clock.
    pub fn start_by(clock: &Clock, folder: &Path) -> Self {
        Self::try_start_by(clock.clone(), folder, &[]).unwrap()
    }

    /// The same with settings.
    pub fn start_by_with(clock: &Clock, folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::try_start_by(clock.clone(), folder, settings).unwrap()
    }

    fn try_start_by(
        clock: Clock,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        let mut environment: Environment = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        environment.insert("DATA_CHAIN_PORT".into(), "0".into());
        environment.insert("LUCID_DATA_DIR".into(), folder.to_str().unwrap().into());
        let config = config::load(&environment, None).unwrap().config;
        let config = config::Config { clock, ..config };
        let shutdown = Shutdown::new();
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(serve(config, None, &shutdown))?;
        let base = format!("http://{}", running.address());
        let retry = Retry { count: 0, delay: Duration::ZERO };
        let options =
            ClientOptions { timeout: Duration::from_secs(30), retry, ..ClientOptions::default() };
        let client = DataChainClient::new(&base, options).unwrap();
        let http = Client::builder().no_proxy().tls_certs_only([]);
        // A body that is not taken for a while is the service's to answer for.
        let http = http.tcp_user_timeout(None::<Duration>).build().unwrap();
        Ok(Self { client, http, base, shutdown, running: Some(running), runtime })
    }

    /// What its handlers share.
    pub fn app(&self) -> &App {
        self.running.as_ref().unwrap().app()
    }

    /// Takes so much of a budget, and gives it back when what this returns is dropped.
    pub fn take(&self, of: &Budget, bytes: usize) -> HeldMemory {
        let mut held = of.nothing();
        self.runtime.block_on(held.take(bytes)).unwrap();
        held
    }

    /// Lets the thread that writes end as it must never.
    pub fn break_writing(&self) {
        let vault = &self.app().opened.vault;
        vault.submit(Submission::default(), Box::new(|_| panic!("a fault in the code")));
        // A commit that comes now is refused, and before long it is told what the fault was.
        let deadline = Instant::now() + Duration::from_secs(20);
        let told = || vault.commit(Submission::default()).unwrap_err().to_string();
        while !told().contains("a fault in the code") {
            assert!(Instant::now() < deadline, "{}", told());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Drained {
        self.shutdown.ask();
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.ended()).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().unwrap()
    }

    pub fn post(&self, path: &str, body: Value) -> Response {
        let body = body.to_string();
        let request = self.http.post(self.url(path)).header("content-type", "application/json");
        request.body(body).send().unwrap()
    }

    pub fn begin(&self, session: &str) -> Session {
        self.client.create_session(&named(session)).unwrap()
    }

    /// Stores chunks and makes them a session's next ones, as an archive does.
    pub fn add(&self, session: &str, start: u64, chunks: &[&[u8]]) -> u64 {
        add(&self.client, session, start, chunks)
    }

    /// Archives a folder in chunks of these lengths.
    pub fn archive(&self, session: &str, folder: &Folder, chunk_bytes: usize) {
        archive(&self.client, session, folder, chunk_bytes);
    }

    /// Waits until a session is anchored.
    pub fn wait_anchored(&self, session: &str) -> Session {
        self.wait(|| {
            let shown = self.client.session(session).unwrap();
            (shown.status == SessionStatus::Anchored).then_some(shown)
        })
    }

    pub fn wait_anchor_status(&self, session: &str, status: AnchorStatus) {
        self.wait(|| (self.client.anchor_state(session).unwrap().status == status).then_some(()));
    }

    pub fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "it did not come about in time");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn add(client: &DataChainClient, session: &str, start: u64, chunks: &[&[u8]]) -> u64 {
    let asked = ChunkIds::from(chunks.iter().map(|chunk| id(chunk)).collect::<Vec<_>>());
    let missing = client.missing_chunks(&asked).unwrap();
    let wanted = chunks.iter().filter(|chunk| missing.contains(&id(chunk)));
    client.put_chunks(wanted.copied()).unwrap();
    let references = chunks
        .iter()
        .map(|chunk| Reference { chunk_id: id(chunk), length: chunk.len() as u32 })
        .collect();
    let references = AddReferences { start_index: start, chunks: references };
    client.add_references(session, &references).unwrap().next_index
}

/// Archives a folder in chunks of these lengths.
pub fn archive(client: &DataChainClient, session: &str, folder: &Folder, chunk_bytes: usize) {
    let wanted = CreateSession { layout: Layout::Tree, ..named(session) };
    client.create_session(&wanted).unwrap();
    let chunks: Vec<&[u8]> = folder.content.chunks(chunk_bytes).collect();
    let next = add(client, session, 0, &chunks);
    let pages: Vec<&[u8]> = folder.pages.iter().map(Vec::as_slice).collect();
    add(client, session, next, &pages);
    let length = folder.pages.iter().map(|page| page.len() as u64).sum();
    let offset = folder.content.len() as u64;
    let appendix = Appendix { kind: AppendixKind::Catalogue, offset, length };
    let how = SealSession { appendix: Some(appendix), ..SealSession::default() };
    client.seal(session, &how).unwrap();
}

pub fn named(session: &str) -> CreateSession {
    CreateSession { session_id: Some(session.to_owned()), ..CreateSession::default() }
}

pub fn bytes(download: Result<Download, ClientError>) -> Vec<u8> {
    let mut bytes = Vec::new();
    download.unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A problem document: status, code, and everything.
pub fn problem(response: Response) -> (u16, String, Value) {
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json");
    let status = response.status().as_u16();
    let document: Value = serde_json::from_str(&response.text().unwrap()).unwrap();
    assert_eq!(document["status"], status);
    (status, document["code"].as_str().unwrap().to_owned(), document)
}
