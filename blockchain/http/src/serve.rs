//! From a socket to a router, and back down again in good order.
//!
//! Invariant: [`Listening::serve`] returns within its deadline after the shutdown is asked for,
//! regardless of what the callers do: idle connections are closed at once, requests in work may
//! finish, and what is left at the deadline is cut off.

mod answering;
mod door;
mod unparsed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::{BoxError, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, service_fn};

use self::answering::{Answering, ReadingPace};
use self::door::{Door, Wire};
use self::unparsed::Worded;
use crate::layers::LocalDoor;
use crate::limits::{CONNECTIONS, DRAIN, HEAD, IDLE, OTHER_FILES, TAKING_GRACE, TAKING_RATE};
use crate::tls::Tls;

/// After a failed accept (out of files, most often), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Between two looks for a connection that may be ended, while all are taken and none rests.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// One of so many connections is ended when all are taken: looking which rest takes a while.
const ENDED_AT_ONCE: usize = 64;

/// The wish to end, shared by everything that runs. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to end.
    pub fn ask(&self) {
        self.0.cancel();
    }

    /// Whether someone has asked.
    pub fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until someone asks.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}

/// A socket that is bound, and not served yet.
#[derive(Debug)]
pub struct Listening {
    service: &'static crate::Service,
    door: Door,
    address: SocketAddr,
    connections: usize,
    drain: Duration,
    stall: Duration,
    pace: ReadingPace,
    tls: Option<Tls>,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Whole,
    /// So many connections were cut off at the deadline.
    Cut(usize),
}

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}{}", self.remedy())]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    service: &'static crate::Service,
    /// No source, since the sentence goes on behind it.
    why: io::Error,
}

impl BindError {
    /// What helps, where that is known, as the end of a sentence.
    fn remedy(&self) -> String {
        let prefix = self.service.prefix;
        match self.why.kind() {
            io::ErrorKind::AddrInUse => {
                format!("; another program listens there: end it, or set {prefix}_PORT")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("; this machine has no such address: set {prefix}_HOST")
            }
            io::ErrorKind::PermissionDenied => {
                format!("; this user may not listen there: set {prefix}_PORT to one above 1023")
            }
            _ => String::new(),
        }
    }
}

/// The local door cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no local socket at {}: {source}", path.display())]
pub struct LocalDoorError {
    /// Where.
    pub path: PathBuf,
    source: io::Error,
}

impl Listening {
    /// Binds for a service; port 0 takes any free one.
    pub async fn bind(
        service: &'static crate::Service,
        address: SocketAddr,
    ) -> Result<Self, BindError> {
        let bound = async { Self::at(service, Door::Network(TcpListener::bind(address).await?)) };
        bound.await.map_err(|why| BindError { address, service, why })
    }

    /// Binds a file in a folder that is the service's own: a caller that may open it may do everything. It is gone when
    /// serving ends.
    pub fn bind_locally(
        service: &'static crate::Service,
        path: &Path,
    ) -> Result<Self, LocalDoorError> {
        let bound = Door::local(path).and_then(|door| Self::at(service, door));
        bound.map_err(|source| LocalDoorError { path: path.to_owned(), source })
    }

    fn at(service: &'static crate::Service, door: Door) -> io::Result<Self> {
        let address = door.address()?;
        let connections = allowed_connections();
        let pace = ReadingPace { rate: TAKING_RATE, grace: TAKING_GRACE };
        let (drain, stall) = (DRAIN, IDLE);
        Ok(Self { service, door, address, connections, drain, stall, pace, tls: None })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Encrypts connections.
    pub fn encrypt(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Waits so long for requests in work at the end.
    pub fn drain_for(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// Has at most so many connections at once; if all are taken, the ones that have rested longest are ended.
    pub fn at_most(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Lets a caller who takes nothing of a reply hold it up so long.
    pub fn stall_for(mut self, at_most: Duration) -> Self {
        self.stall = at_most;
        self
    }

    /// Wants replies that lie in memory whole to be taken at so many bytes a second, and lets each take so
    /// much longer.
    pub fn pace(mut self, rate: u64, grace: Duration) -> Self {
        self.pace = ReadingPace { rate: rate.max(1), grace };
        self
    }

    /// Serves until the shutdown is asked for and the connections are done.
    pub async fn serve(self, app: Router, shutdown: &Shutdown) -> Drained {
        let places = Arc::new(Semaphore::new(self.connections));
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        let mut open = OpenConnections::default();
        loop {
            let is_full = places.available_permits() == 0;
            if is_full {
                open.end_some_that_rest(self.connections.div_ceil(ENDED_AT_ONCE));
            }
            let connection = tokio::select! {
                () = shutdown.asked() => break,
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    open.0.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
                    continue;
                }
                connection = accept(&self.door, &places) => connection,
                // Where none rested, one may do so now.
                () = tokio::time::sleep(ROOM_PAUSE), if is_full => continue,
            };
            let (stream, peer, place) = match connection {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let answering = Answering::new(peer, self.pace);
            let (inner, is_local) = (app.clone(), self.door.is_local());
            let inner = WithPeer { inner, peer, is_local, answering: answering.clone() };
            let service = TowerToHyperService::new(inner);
            let watcher = graceful.watcher();
            // A caller who does not read would hold a place, and the code that reads for it, for ever.
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(self.stall));
            let (own, tls, ending) = (self.service, self.tls.clone(), shutdown.clone());
            let at = answering.clone();
            let counted = OpenConnection::of(self.service);
            let task = tasks.spawn(async move {
                let _counted = counted;
                let stream: Box<dyn Wire> = match tls {
                    None => Box::new(Box::pin(stream)),
                    Some(tls) => {
                        let agreed = tokio::select! {
                            agreed = tls.accept(Box::pin(stream)) => agreed,
                            () = ending.asked() => return,
                        };
                        match agreed {
                            Ok(stream) => Box::new(stream),
                            Err(error) => {
                                tracing::debug!(%error, %peer, "a connection was not agreed on");
                                return;
                            }
                        }
                    }
                };
                let stream = TokioIo::new(Worded::new(stream, own, answering));
                let builder = protocol();
                let connection = builder.serve_connection(stream, service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, %peer, "a connection broke off");
                }
                drop(place);
            });
            open.0.insert(task.id(), (at, task));
        }
        // Nobody new is let in from here on.
        drop(self.door);
        match tokio::time::timeout(self.drain, graceful.shutdown()).await {
            Ok(()) => Drained::Whole,
            Err(_) => {
                while tasks.try_join_next().is_some() {}
                let cut = tasks.len();
                tracing::warn!(connections = cut, "connections cut off at the deadline");
                tasks.shutdown().await;
                Drained::Cut(cut)
            }
        }
    }
}

/// A connection in the figures, until it is dropped.
struct OpenConnection(metrics::Gauge);

impl OpenConnection {
    fn of(service: &'static crate::Service) -> Self {
        let open = metrics::gauge!("lucid_http_connections", "service" => service.name);
        open.increment(1.0);
        Self(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The connections that are open, and what each is at.
#[derive(Default)]
struct OpenConnections(HashMap<task::Id, (Answering, AbortHandle)>);

impl OpenConnections {
    /// Ends so many of those at which nothing has been asked for longest, as far as there are any. A service that has
    /// as many as it may has places for the next callers so: those that only hold theirs keep nobody out.
    fn end_some_that_rest(&self, count: usize) {
        let open = self.0.values().filter(|(_, task)| !task.is_finished());
        let resting = open.filter_map(|(at, task)| Some((at.resting_since()?, task)));
        let mut resting: Vec<(Instant, &AbortHandle)> = resting.collect();
        resting.sort_unstable_by_key(|(since, _)| *since);
        resting.into_iter().take(count).for_each(|(_, task)| task.abort());
    }
}

/// What the local socket is called in a folder.
pub const LOCAL_SOCKET: &str = "local.sock";

/// Serves the same through a socket in `folder`, whose callers may do everything, until the shutdown is asked for.
/// Where there can be none, that is said, and the service goes on without.
pub fn serve_locally(
    service: &'static crate::Service,
    folder: &Path,
    app: Router,
    shutdown: &Shutdown,
) -> Option<task::JoinHandle<Drained>> {
    match Listening::bind_locally(service, &folder.join(LOCAL_SOCKET)) {
        Ok(listening) => {
            let until = shutdown.clone();
            Some(tokio::spawn(async move { listening.serve(app, &until).await }))
        }
        Err(error) => {
            tracing::warn!("{error}: this service is administered over the network alone");
            None
        }
    }
}

async fn accept(
    door: &Door,
    places: &Arc<Semaphore>,
) -> io::Result<(Box<dyn Wire>, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = door.accept().await?;
    Ok((stream, peer, place))
}

/// As many connections as open files allow, once that limit is raised as far as it may be.
fn allowed_connections() -> usize {
    let wanted = (CONNECTIONS + OTHER_FILES) as u64;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let mut current = limit.current.unwrap_or(wanted);
    if current < most {
        let raised = Rlimit { current: Some(most), maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => current = most,
            Err(error) => tracing::warn!(%error, current, "the limit of open files stays"),
        }
    }
    let current = usize::try_from(current).unwrap_or(usize::MAX);
    // Half of very few files, rather than none.
    current.saturating_sub(OTHER_FILES).max(current / 2).clamp(1, CONNECTIONS)
}

/// HTTP/1 alone: finding out the version has no time limit, and nothing else is offered where it is negotiated.
fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
}

/// What answers once the start is complete; until then something else does. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Late(Arc<OnceLock<Router>>);

impl Late {
    /// The start is complete. The first one counts.
    pub fn set(&self, router: Router) {
        let _already = self.0.set(router);
    }

    /// What is served: this, or until it is there, `meanwhile`.
    pub fn or(self, meanwhile: Router) -> Router {
        Router::new().fallback_service(service_fn(move |request: Request<Body>| {
            self.0.get().unwrap_or(&meanwhile).clone().oneshot(request)
        }))
    }
}

/// Tells handlers who is calling, and the connection that it is answering.
#[derive(Debug, Clone)]
struct WithPeer<S> {
    inner: S,
    peer: SocketAddr,
    is_local: bool,
    answering: Answering,
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
    S::Future: 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut request, open) = self.answering.begin(request);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if self.is_local {
            request.extensions_mut().insert(LocalDoor);
        }
        let reply = self.inner.call(request);
        Box::pin(async move { reply.await.map(|reply| open.answer(reply)) })
    }
}
