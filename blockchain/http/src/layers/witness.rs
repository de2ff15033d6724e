//! Shows a service what became of each request, so that it can keep a log of its own of that.
//!
//! Invariant: what is asked for is shown once: when it is answered, or when its caller left before that. Whether a
//! change was made by then is not known here, so a service has to take it for made.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::{LocalDoor, RequestId, Wanted};
use crate::caller::Caller;
use crate::rates::client;
use crate::reply::{Refusal, Reply};

/// A request on its way through a service: what it asks for, and what is learnt of it meanwhile.
pub struct Passage {
    /// The name that the log has it by.
    pub request_id: String,
    /// Its method.
    pub method: Method,
    /// What it asks for.
    pub uri: Uri,
    /// The path of its route, with `{names}` for what is filled in, if there is such a route.
    pub route: Option<MatchedPath>,
    /// Where it comes from; `None` for the local door.
    pub from: Option<IpAddr>,
    /// How long its body is, if it says that.
    pub body_bytes: Option<u64>,
    caller: OnceLock<Caller>,
    wanted: OnceLock<Wanted>,
    gives_content: AtomicBool,
    is_begun: AtomicBool,
    is_counted: AtomicBool,
    subject: Mutex<Subject>,
    witness: Arc<dyn Witness>,
}

/// What a request is about, where its path does not say that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The session.
    pub session: Option<String>,
    /// Chunks.
    pub chunks: Vec<String>,
}

/// Content that is about to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Giving {
    /// How many bytes, where that is known.
    pub bytes: Option<u64>,
    /// Which part of how much: `FIRST-LAST/ALL`.
    pub range: Option<String>,
}

impl Passage {
    fn of(request: &Request, Watch { witness, proxies }: &Watch) -> Self {
        let given = request.extensions();
        let is_local = given.get::<LocalDoor>().is_some();
        let peer = given.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let length = request.headers().get(CONTENT_LENGTH);
        Self {
            request_id: given.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            route: given.get::<MatchedPath>().cloned(),
            from: (!is_local).then(|| client(proxies, peer, request.headers())),
            body_bytes: length.and_then(|length| length.to_str().ok()?.parse().ok()),
            caller: OnceLock::new(),
            wanted: OnceLock::new(),
            gives_content: AtomicBool::new(false),
            is_begun: AtomicBool::new(false),
            is_counted: AtomicBool::new(false),
            subject: Mutex::default(),
            witness: witness.clone(),
        }
    }

    /// Who asks, once that is known.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// What its route wants, once it was let through to it.
    pub fn wanted(&self) -> Option<Wanted> {
        self.wanted.get().copied()
    }

    /// Whether it is given content that its route does not always give.
    pub fn gives_content(&self) -> bool {
        self.gives_content.load(Ordering::Relaxed)
    }

    /// Whether its witness was told that content is to be given.
    pub fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Relaxed)
    }

    /// A mark that its witness may set, and take away again: whether it was as this says before.
    pub fn swap_counted(&self, is_counted: bool) -> bool {
        self.is_counted.swap(is_counted, Ordering::Relaxed)
    }

    /// What else it is about.
    pub fn subject(&self) -> Subject {
        self.subject.lock().clone()
    }

    pub(super) fn know_caller(&self, caller: &Caller) {
        let _known = self.caller.set(caller.clone());
    }

    pub(super) fn know_wanted(&self, wanted: Wanted) {
        let _known = self.wanted.set(wanted);
        self.witness.let_in(self);
    }
}

/// The passage of a handler's request, which there is where a log of them is kept.
#[derive(Clone, Default)]
pub struct Passing(Option<Arc<Passage>>);

impl Passing {
    /// Tells the witness that content is to be given piece by piece. What comes back says whether it may be: nothing
    /// is given before, though it may be read.
    pub fn begin(&self, giving: impl FnOnce() -> Giving) -> Witnessed<'static, Reply<()>> {
        match &self.0 {
            None => Box::pin(std::future::ready(Ok(()))),
            Some(passage) => {
                passage.is_begun.store(true, Ordering::Relaxed);
                passage.witness.begins(passage, giving())
            }
        }
    }

    /// Tells the witness that a change begins that may last.
    pub fn begin_change(&self) {
        if let Some(passage) = &self.0 {
            passage.witness.begins_change(passage);
        }
    }

    /// Says that content is given.
    pub fn give_content(&self) {
        if let Some(passage) = &self.0 {
            passage.gives_content.store(true, Ordering::Relaxed);
        }
    }

    /// Says what the request is about.
    pub fn concern(&self, subject: impl FnOnce() -> Subject) {
        if let Some(passage) = &self.0 {
            *passage.subject.lock() = subject();
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Passing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(parts.extensions.get::<Arc<Passage>>().cloned()))
    }
}

/// What a witness takes its time for.
pub type Witnessed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is shown each request.
pub trait Witness: Send + Sync {
    /// A request is let through to its route.
    fn let_in(&self, passage: &Passage);

    /// Content is about to be given piece by piece. A refusal is what its caller is given instead.
    fn begins(&self, passage: &Passage, giving: Giving) -> Witnessed<'static, Reply<()>>;

    /// A change begins that may last.
    fn begins_change(&self, passage: &Passage);

    /// A request is answered with this. What comes back is what its caller is given.
    fn answered(&self, passage: Arc<Passage>, reply: Response) -> Witnessed<'_, Response>;

    /// A caller left before it was answered.
    fn left(&self, passage: &Passage);
}

/// A witness, and what it takes to know where requests come from.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) witness: Arc<dyn Witness>,
    pub(crate) proxies: Arc<[IpNet]>,
}

/// A request that is not answered yet.
struct Unanswered<'a> {
    witness: &'a dyn Witness,
    passage: Option<Arc<Passage>>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(passage) = self.passage.take() {
            self.witness.left(&passage);
        }
    }
}

pub(crate) async fn witness(
    State(watch): State<Option<Watch>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(watch) = watch else { return next.run(request).await };
    let passage = Arc::new(Passage::of(&request, &watch));
    request.extensions_mut().insert(passage.clone());
    let witness = watch.witness.as_ref();
    let mut unanswered = Unanswered { witness, passage: Some(passage) };
    let reply = next.run(request).await;
    match unanswered.passage.take() {
        Some(passage) => witness.answered(passage, reply).await,
        None => reply,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Witness for Seen {
        fn let_in(&self, _: &Passage) {}

        fn begins(&self, _: &Passage, _: Giving) -> Witnessed<'static, Reply<()>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn begins_change(&self, _: &Passage) {}

        fn answered(&self, passage: Arc<Passage>, reply: Response) -> Witnessed<'_, Response> {
            self.0.lock().push(format!("{} {}", passage.uri, reply.status().as_u16()));
            Box::pin(std::future::ready(reply))
        }

        fn left(&self, passage: &Passage) {
            self.0.lock().push(format!("{} left", passage.uri));
        }
    }

    #[tokio::test]
    async fn each_request_is_shown_once_even_if_its_caller_leaves() {
        let seen = Arc::new(Seen::default());
        let watch = Watch { witness: seen.clone(), proxies: Arc::new([]) };
        let app = Router::new()
            .route("/soon", get(|| async { "done" }))
            .route("/never", get(std::future::pending::<()>))
            .layer(from_fn_with_state(Some(watch), witness));
        let ask = |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request)
        };
        assert_eq!(ask("/soon").await.unwrap().status(), 200);
        let left = tokio::time::timeout(Duration::from_millis(20), ask("/never")).await;
        assert!(left.is_err());
        assert_eq!(*seen.0.lock(), ["/soon 200", "/never left"]);
    }
}
