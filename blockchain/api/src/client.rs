//! The typed client: what the command line and the services speak to each other with. Blocking,
//! because its callers work in threads; within an async runtime it belongs on a blocking thread.
//!
//! Invariants: a call is sent again only when sending it twice does the same as once, with its
//! body rebuilt, and never after the service has refused it; no value a caller hands in can
//! change which path is called.

mod block_manager;
mod data_chain;
mod error;
mod retry;

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use reqwest::blocking::{Body, Client, ClientBuilder, RequestBuilder, Response};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, RANGE};
use reqwest::{Certificate, Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use block_manager::BlockManagerClient;
pub use data_chain::{Append, DataChainClient};
pub use error::{ClientError, Refused};
pub use retry::Retry;

use crate::access::TokenSource;
use crate::address::Address;
use crate::tls::ServerKey;
use crate::v1::service::{Health, Root, Status};
use crate::{headers, paths};

/// What the address of a local socket begins with.
pub const LOCAL_SOCKET: &str = "unix:";
/// A reply in JSON is believed up to here: a page of a thousand blocks stays far below.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// An answer that is handed on is believed up to here.
const RELAYED_BYTES_MAX: u64 = 4 << 20;
/// How long reading a whole session back may take.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// A body slower than this is given up: the timeout grows with the body.
const UPLOAD_BYTES_PER_SECOND: u64 = 256 << 10;

/// How patient a client is, and what it shows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// For each attempt, and for each wait while a reply streams.
    pub timeout: Duration,
    /// What happens after an attempt that failed.
    pub retry: Retry,
    /// The token that is sent with every request.
    pub token: Option<TokenSource>,
    /// By what a server is believed that speaks TLS.
    pub trust: Trust,
}

/// By what a server is believed that speaks TLS: by the system's authorities, unless this says more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file with more authorities, in PEM.
    pub authorities: Option<PathBuf>,
    /// The key that it has, and nothing else.
    pub pin: Option<ServerKey>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let (timeout, trust) = (Duration::from_secs(30), Trust::default());
        Self { timeout, retry: Retry::default(), token: None, trust }
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
    body: Response,
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
}

/// A request that can be made again and again.
struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<(&'static str, Bytes)>,
    timeout: Duration,
    idempotent: bool,
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
        Ok(Self { base, http, options })
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
        Ok(Call { method, url, headers: HeaderMap::new(), body: None, timeout, idempotent })
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
        let mut attempt = 0;
        loop {
            let result = self.build(call)?.send().map_err(ClientError::from_transport);
            let error = match result.and_then(accept) {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let again = call.idempotent || error.surely_not_applied();
            if !(again && error.is_passing() && attempt < self.options.retry.count) {
                return Err(error);
            }
            std::thread::sleep(self.options.retry.wait(attempt));
            attempt += 1;
        }
    }

    fn build(&self, call: &Call) -> Result<RequestBuilder, ClientError> {
        let mut request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .timeout(call.timeout);
        if let Some(token) = &self.options.token {
            // The header is marked so that it is never shown.
            request = request.bearer_auth(token.read().map_err(ClientError::unsendable)?.expose());
        }
        Ok(match &call.body {
            None => request,
            Some((kind, body)) => {
                request.header(CONTENT_TYPE, *kind).body(Body::from(body.clone()))
            }
        })
    }

    /// Sends a call and reads the reply's text.
    fn text(&self, call: &Call) -> Result<String, ClientError> {
        let body = self.bytes(call, REPLY_BYTES_MAX)?;
        String::from_utf8(body).map_err(|_| ClientError::unreadable("the reply is not UTF-8"))
    }

    fn bytes(&self, call: &Call, limit: u64) -> Result<Vec<u8>, ClientError> {
        let body = read(self.send(call)?, limit + 1)?;
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
        let response = self.build(&call)?.send().map_err(ClientError::from_transport)?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (status, kind) = (response.status().as_u16(), kind.unwrap_or_default().to_owned());
        let body = read(response, RELAYED_BYTES_MAX + 1)?;
        match body.len() as u64 > RELAYED_BYTES_MAX {
            true => Err(ClientError::TooLong { limit: RELAYED_BYTES_MAX }),
            false => Ok(Relayed { status, kind, body }),
        }
    }

    fn download(&self, call: Call, range: Option<Range<u64>>) -> Result<Download, ClientError> {
        let body = self.send(&call.range(range)?)?;
        let header = |name| body.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Download {
            length: header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: header(ETAG).map(|etag| etag.trim_matches('"').to_owned()),
            partial: body.status() == StatusCode::PARTIAL_CONTENT,
            body,
        })
    }

    fn root(&self) -> Result<Root, ClientError> {
        self.reply(&self.get(paths::ROOT, &[])?)
    }

    /// Health is an answer even when it comes with 503, and is asked once.
    fn health(&self) -> Result<Health, ClientError> {
        let response = self
            .build(&self.get(paths::HEALTH, &[])?)?
            .send()
            .map_err(ClientError::from_transport)?;
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

impl Trust {
    fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, ClientError> {
        if let Some(pin) = self.pin.clone() {
            let config = pin.client(rustls::crypto::ring::default_provider());
            let config = config.map_err(|error| ClientError::unsendable(error.to_string()))?;
            return Ok(builder.tls_backend_preconfigured(config));
        }
        let Some(path) = &self.authorities else { return Ok(builder) };
        let wrong = |why: &dyn std::fmt::Display| {
            ClientError::unsendable(format!("authorities in {}: {why}", path.display()))
        };
        let text = std::fs::read(path).map_err(|error| wrong(&error))?;
        let found = Certificate::from_pem_bundle(&text).map_err(|error| wrong(&error))?;
        if found.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Ok(builder.tls_certs_merge(found))
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
fn read(response: Response, limit: u64) -> Result<Vec<u8>, ClientError> {
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
