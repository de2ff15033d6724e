//! The typed client: what the command line and the services speak to each other with. Blocking,
//! because its callers work in threads; within an async runtime it belongs on a blocking thread.
//!
//! Invariants: a call is sent again only when sending it twice does the same as once, with its
//! body rebuilt, and never after the service has refused it, unless that names a time to come back; no value a
//! caller hands in can change which path is called.

mod block_manager;
mod breaker;
mod data_chain;
mod error;
mod heard;
mod pace;
mod retry;
mod trust;

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, RANGE};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use block_manager::BlockManagerClient;
pub use breaker::{Breaking, Circuit};
pub use data_chain::{Append, DataChainClient};
pub use error::{ClientError, Refused};
pub use heard::Heard;
pub use pace::{KIB_PER_SECOND_MAX, KIB_PER_SECOND_MIN, Pace};
pub use retry::{GivenUp, Retry, Revival};
pub use trust::Trust;

use self::breaker::Breaker;
use self::pace::{Paced, Pacing};
use crate::access::TokenSource;
use crate::address::Address;
use crate::behalf::Behalf;
use crate::v1::service::{Health, Root, Status};
use crate::{headers, paths};

/// What the address of a local socket begins with.
pub const LOCAL_SOCKET: &str = "unix:";
/// A reply in JSON is believed up to here: a page of a thousand blocks stays far below.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// An answer that is handed on is believed up to here.
const RELAYED_BYTES_MAX: u64 = 4 << 20;
/// A service that is brought back again and again, and never answers, is given up.
const REVIVED_MAX: u32 = 3;
/// How long reading a whole session back may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// A body slower than this is given up: the timeout grows with the body.
const UPLOAD_BYTES_PER_SECOND: u64 = 256 << 10;

/// How patient a client is, and what it shows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// For each attempt, and while a reply streams for each piece of it.
    pub timeout: Duration,
    /// What happens after an attempt that failed.
    pub retry: Retry,
    /// The token that is sent with every request.
    pub token: Option<TokenSource>,
    /// By what a server is believed that speaks TLS.
    pub trust: Trust,
    /// When it is left alone for a while, if ever.
    pub breaking: Option<Breaking>,
    /// How fast bodies may go.
    pub pace: Pace,
    /// Whether the answers are not wanted any more: nothing is tried again then.
    pub given_up: GivenUp,
    /// What is told of each request.
    pub heard: Heard,
    /// What may bring back a service that is not reached.
    pub revival: Revival,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retry: Retry::default(),
            token: None,
            trust: Trust::default(),
            breaking: None,
            pace: Pace::FREE,
            given_up: GivenUp::default(),
            heard: Heard::NOTHING,
            revival: Revival::NONE,
        }
    }
}

/// Bytes that stream in: a session's content, a file, an archive.
#[derive(Debug)]
pub struct Download {
    /// Bytes to come, where the service knows it.
    pub length: Option<u64>,
    /// Names the whole content.
    pub etag: Option<String>,
    /// Whether this is the range that was asked for, or everything.
    pub partial: bool,
    body: Paced<Response>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.body.read(buffer)
    }
}

/// An answer that is handed on as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub kind: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// One service, reached over HTTP. Cloning shares its connections.
#[derive(Debug, Clone)]
struct Connection {
    base: Url,
    http: Client,
    options: ClientOptions,
    breaker: Option<Breaker>,
    pacing: Pacing,
}

/// A request that can be made again and again.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<(&'static str, Bytes)>,
    timeout: Duration,
    idempotent: bool,
    /// Whether it has a time of its own for all of its reply.
    is_patient: bool,
    /// Whether the reply is a stream: not all of it has to come within the timeout, but each piece.
    streams: bool,
}

impl Connection {
    /// `base` is the service's address: `http://host:port`, without a path, or `unix:` and the path of its local
    /// socket.
    fn new(base: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let socket = base.strip_prefix(LOCAL_SOCKET);
        let base = service_url(if socket.is_some() { "http://localhost" } else { base })?;
        let mut builder = Client::builder()
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(Duration::from_secs(10)))
            // Sooner than any of our services, or a proxy, closes it from the other side.
            .pool_idle_timeout(Duration::from_secs(30))
            // Redirects and proxies from the environment would make the address a guess.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(socket) = socket {
            builder = builder.unix_socket(PathBuf::from(socket));
        }
        install_tls();
        if base.scheme() == "http" {
            // Plain connections must not need, nor wait for, the system's certificates.
            builder = builder.tls_certs_only([]);
        } else {
            builder = options.trust.apply(builder)?;
        }
        let http = builder.build().map_err(ClientError::from_transport)?;
        let breaker = options.breaking.map(Breaker::new);
        let pacing = Pacing::new(options.pace);
        Ok(Self { base, http, options, breaker, pacing })
    }

    fn call(&self, method: Method, template: &str, values: &[&[u8]]) -> Result<Call, ClientError> {
        let path = paths::fill(template, values);
        let mut url = self.base.clone();
        url.set_path(&path);
        if url.path() != path {
            return Err(ClientError::unsendable(format!("{path:?} would become another path")));
        }
        let idempotent = matches!(method, Method::GET | Method::HEAD);
        let timeout = self.options.timeout;
        Ok(Call {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            timeout,
            idempotent,
            is_patient: false,
            streams: false,
        })
    }

    fn get(&self, template: &str, values: &[&[u8]]) -> Result<Call, ClientError> {
        self.call(Method::GET, template, values)
    }

    fn post<T: Serialize>(
        &self,
        template: &str,
        values: &[&[u8]],
        body: &T,
    ) -> Result<Call, ClientError> {
        let text =
            serde_json::to_vec(body).map_err(|error| ClientError::unsendable(error.to_string()))?;
        Ok(self.call(Method::POST, template, values)?.body("application/json", text.into()))
    }

    /// Sends a call, again if need be, until the service answers with success.
    fn send(&self, call: &Call) -> Result<Response, ClientError> {
        let (mut attempt, mut revived, mut before) = (0, 0, None);
        loop {
            let error = match self.attempt(call) {
                Ok(sent) => match sent.and_then(accept) {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                },
                // What came of the attempt before says more than that there is none now.
                Err(error) => return Err(before.unwrap_or(error)),
            };
            let ClientOptions { retry, given_up, .. } = &self.options;
            let again = call.idempotent || error.surely_not_applied();
            if again
                && error.is_of_the_way()
                && revived < REVIVED_MAX
                && self.options.revival.revive()
            {
                revived += 1;
                continue;
            }
            let Some(wait) = retry.wait_after(attempt, &error).filter(|_| again) else {
                return Err(error);
            };
            if !given_up.wait(wait) {
                return Err(error);
            }
            (attempt, before) = (attempt + 1, Some(error));
        }
    }

    /// Sends a call once, unless the service is left alone: that is an error like a request that cannot be made.
    fn attempt(&self, call: &Call) -> Result<Result<Response, ClientError>, ClientError> {
        let request = self.build(call)?;
        if let Some(breaker) = &self.breaker {
            breaker.enter().map_err(ClientError::left_alone)?;
        }
        let sent = request.send().map_err(ClientError::from_transport);
        self.options.heard.tell(call, &sent);
        let Some(breaker) = &self.breaker else { return Ok(sent) };
        breaker.leave(match &sent {
            // A full store answers.
            Ok(response) if response.status() == StatusCode::INSUFFICIENT_STORAGE => Ok(()),
            Ok(response) if response.status().is_server_error() => {
                Err(format!("it answers with {}", response.status()))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
        Ok(sent)
    }

    /// How the service was found to be by the calls before.
    fn circuit(&self) -> Circuit {
        self.breaker.as_ref().map_or(Circuit::Closed, Breaker::circuit)
    }

    fn build(&self, call: &Call) -> Result<RequestBuilder, ClientError> {
        let mut request =
            self.http.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        // A timeout of a request is for all of it. That of the client, which holds otherwise, is for the beginning of
        // the reply, and anew for each piece.
        if !call.streams {
            let sent = call.body.as_ref().map_or(0, |(_, body)| body.len() as u64);
            request = request.timeout(call.timeout + self.pacing.patience(sent, REPLY_BYTES_MAX));
        }
        if let Some(token) = &self.options.token {
            // The header is marked so that it is never shown.
            request = request.bearer_auth(token.read().map_err(ClientError::unsendable)?.expose());
        }
        if let Some(behalf) = Behalf::current() {
            request = request.header(headers::REQUEST_ID, behalf.called());
        }
        Ok(match &call.body {
            None => request,
            Some((kind, body)) => {
                request.header(CONTENT_TYPE, *kind).body(self.pacing.body(body.clone()))
            }
        })
    }

    /// Sends a call and reads the reply's text.
    fn text(&self, call: &Call) -> Result<String, ClientError> {
        let body = self.bytes(call, REPLY_BYTES_MAX)?;
        String::from_utf8(body).map_err(|_| ClientError::unreadable("the reply is not UTF-8"))
    }

    fn bytes(&self, call: &Call, limit: u64) -> Result<Vec<u8>, ClientError> {
        let ask = || read(self.pacing.reply(self.send(call)?), limit + 1);
        let body = match ask() {
            // It ended while it answered.
            Err(error)
                if call.idempotent && error.is_of_the_way() && self.options.revival.revive() =>
            {
                ask()?
            }
            asked => asked?,
        };
        match body.len() as u64 > limit {
            true => Err(ClientError::TooLong { limit }),
            false => Ok(body),
        }
    }

    /// Sends a call and reads the reply.
    fn reply<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        let body = self.bytes(call, REPLY_BYTES_MAX)?;
        serde_json::from_slice(&body).map_err(|error| ClientError::unreadable(error.to_string()))
    }

    fn relay(&self, call: Call) -> Result<Relayed, ClientError> {
        let response = self.attempt(&call)??;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (status, kind) = (response.status().as_u16(), kind.unwrap_or_default().to_owned());
        let body = read(self.pacing.reply(response), RELAYED_BYTES_MAX + 1)?;
        match body.len() as u64 > RELAYED_BYTES_MAX {
            true => Err(ClientError::TooLong { limit: RELAYED_BYTES_MAX }),
            false => Ok(Relayed { status, kind, body }),
        }
    }

    /// Sends a call whose reply is read as it comes. On a slow line that may take long; where nothing comes within the
    /// timeout, it breaks off.
    fn download(&self, call: Call, range: Option<Range<u64>>) -> Result<Download, ClientError> {
        let call = call.streaming();
        let body = self.send(&call.range(range)?)?;
        let header = |name| body.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Download {
            length: header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: header(ETAG).map(|etag| etag.trim_matches('"').to_owned()),
            partial: body.status() == StatusCode::PARTIAL_CONTENT,
            body: self.pacing.reply(body),
        })
    }

    fn root(&self) -> Result<Root, ClientError> {
        self.reply(&self.get(paths::ROOT, &[])?)
    }

    /// Health is an answer even when it comes with 503, and is asked once.
    fn health(&self) -> Result<Health, ClientError> {
        let call = self.get(paths::HEALTH, &[])?;
        let sent = self.build(&call)?.send().map_err(ClientError::from_transport);
        self.options.heard.tell(&call, &sent);
        let response = sent?;
        let response = match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => response,
            _ => accept(response)?,
        };
        response.json().map_err(|error| ClientError::unreadable(error.to_string()))
    }

    fn status(&self) -> Result<Status, ClientError> {
        self.reply(&self.get(paths::STATUS, &[])?)
    }
}

impl Call {
    /// Declares that doing it twice is doing it once.
    fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    fn body(mut self, kind: &'static str, body: Bytes) -> Self {
        self.timeout += Duration::from_secs(body.len() as u64 / UPLOAD_BYTES_PER_SECOND);
        self.body = Some((kind, body));
        self
    }

    fn patient(mut self, timeout: Duration) -> Self {
        self.timeout = self.timeout.max(timeout);
        self.is_patient = true;
        self
    }

    /// Reads the reply as a stream. One that may be silent for longer than a client waits has its own time for all of
    /// it, and is asked for anew.
    fn streaming(mut self) -> Self {
        self.streams = !self.is_patient;
        self
    }

    /// Adds a query that is encoded already.
    fn query(mut self, query: &str) -> Self {
        self.url.set_query(Some(query).filter(|query| !query.is_empty()));
        self
    }

    /// Adds a query of named values.
    fn query_of<T: Serialize>(mut self, query: &T) -> Result<Self, ClientError> {
        let fields = serde_json::to_value(query)
            .map_err(|error| ClientError::unsendable(error.to_string()))?;
        {
            let mut pairs = self.url.query_pairs_mut();
            for (name, value) in fields.as_object().into_iter().flatten() {
                match value {
                    serde_json::Value::Null => &mut pairs,
                    serde_json::Value::String(text) => pairs.append_pair(name, text),
                    other => pairs.append_pair(name, &other.to_string()),
                };
            }
        }
        if self.url.query() == Some("") {
            self.url.set_query(None);
        }
        Ok(self)
    }

    fn range(mut self, range: Option<Range<u64>>) -> Result<Self, ClientError> {
        if let Some(range) = range {
            let last = range.end.checked_sub(1).filter(|last| *last >= range.start);
            let last = last.ok_or_else(|| ClientError::unsendable("the range is empty"))?;
            let value = format!("bytes={}-{last}", range.start);
            self.headers.insert(RANGE, value.parse().map_err(|_| ClientError::unsendable(value))?);
        }
        Ok(self)
    }

    fn header(mut self, name: &'static str, value: &str) -> Result<Self, ClientError> {
        let value = value.parse().map_err(|_| ClientError::unsendable(value))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    fn accept(mut self, kind: &'static str) -> Self {
        self.headers.insert(ACCEPT, reqwest::header::HeaderValue::from_static(kind));
        self
    }
}

/// Whether a text is a service's address: `http://host:port`, without a path.
pub fn service_url(text: &str) -> Result<Url, ClientError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/")
        .ok_or_else(|| {
            ClientError::unsendable(format!("\"{}\" is not a service's URL", Address::from(text)))
        })
}

/// Success, or the service's own words about why not.
fn accept(response: Response) -> Result<Response, ClientError> {
    match response.status().is_success() {
        true => Ok(response),
        false => Err(ClientError::from_response(response)),
    }
}

/// Reads up to `limit` bytes of a reply; the attempt's timeout holds for all of them together.
fn read(response: impl Read, limit: u64) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    match response.take(limit).read_to_end(&mut body) {
        Ok(_) => Ok(body),
        Err(error) => Err(ClientError::broken_off(error)),
    }
}

/// Where the next byte goes, as a reply's header says.
fn upload_offset(headers: &HeaderMap) -> Option<u64> {
    headers.get(headers::UPLOAD_OFFSET)?.to_str().ok()?.parse().ok()
}

/// One provider for the whole process; one that was installed before stays.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
    });
}
