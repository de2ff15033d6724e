//! What would refuse a request after its body is asked for before: a caller learns at once what it would learn after
//! the last byte.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use crate::reply::Reply;
use crate::table::RouteRow;

/// For so long nobody asks again once nothing stood in the way: asking takes a thread, and a handler decides all the
/// same.
const COUNTS: Duration = Duration::from_millis(100);

/// The route, refused with what `ask` says before its body is read.
pub fn refused_ahead<S, F>(
    row: RouteRow<S>,
    ask: impl Fn() -> F + Send + Sync + 'static,
) -> RouteRow<S>
where
    S: Clone + Send + Sync + 'static,
    F: Future<Output = Reply<()>> + Send + 'static,
{
    let ahead = Ahead { ask: Box::new(move || Box::pin(ask())), free: Mutex::new(None) };
    row.layer(from_fn_with_state(Arc::new(ahead), refuse))
}

type Asked = Pin<Box<dyn Future<Output = Reply<()>> + Send>>;

struct Ahead {
    ask: Box<dyn Fn() -> Asked + Send + Sync>,
    /// When nothing stood in the way.
    free: Mutex<Option<Instant>>,
}

async fn refuse(State(ahead): State<Arc<Ahead>>, request: Request, next: Next) -> Response {
    let known = ahead.free.lock().is_some_and(|at| at.elapsed() < COUNTS);
    if !known {
        let asked = (ahead.ask)().await;
        *ahead.free.lock() = asked.is_ok().then(Instant::now);
        if let Err(refusal) = asked {
            return refusal.into_response();
        }
    }
    next.run(request).await
}
