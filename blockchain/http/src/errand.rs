//! What work is done for, a request or something of the service's own: its log lines and its calls to other
//! services carry one id.
//!
//! Handlers are async and their work is done on threads, which know nothing of the task that waits for them. So
//! what a task is for is noted beside it, and taken along.

use std::time::Instant;

use lucid_api::behalf::Behalf;
use tracing::Span;

use crate::layers::new_id;

tokio::task_local! {
    static REQUEST: Behalf;
}

/// What a thread is to work for. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Errand {
    span: Span,
    behalf: Option<Behalf>,
    is_own: bool,
}

impl Errand {
    /// The request in work.
    pub fn current() -> Self {
        Self { span: Span::current(), behalf: request(), is_own: false }
    }

    /// The request in work, or else something that this worker of the service does by itself, under an id of its own.
    pub fn of(worker: &'static str) -> Self {
        if let Some(behalf) = request() {
            return Self { span: Span::current(), behalf: Some(behalf), is_own: false };
        }
        let id = new_id();
        let span = tracing::info_span!("errand", request.id = %id, worker);
        Self { span, behalf: Some(Behalf::of(id)), is_own: true }
    }

    /// Works for it. What other services were asked meanwhile is a line in the log, as a request is in theirs.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _within = self.span.enter();
        let Some(behalf) = &self.behalf else { return work() };
        let (before, began) = (behalf.calls(), Instant::now());
        let done = behalf.run(work);
        let calls = behalf.calls() - before;
        if self.is_own && calls > 0 {
            let elapsed_ms = began.elapsed().as_millis() as u64;
            tracing::info!(calls, elapsed_ms, "another service was asked");
        }
        done
    }
}

fn request() -> Option<Behalf> {
    REQUEST.try_with(Clone::clone).ok()
}

/// Answers the request with this id.
pub(crate) async fn answer<F: Future>(id: &str, answer: F) -> F::Output {
    REQUEST.scope(Behalf::of(id), answer).await
}

/// Takes the request in work along into a task of its own.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let request = request();
    async move {
        match request {
            Some(request) => REQUEST.scope(request, work).await,
            None => work.await,
        }
    }
}
