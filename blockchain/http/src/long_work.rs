//! Long work, and how long its caller waits for the end of it.
//!
//! A caller says that with `Prefer` (RFC 7240): `respond-async` for not at all, `wait=10` for ten seconds.
//! Work that has not ended by then is answered with 202, where to look how far it is, and what that says
//! now; and it goes on, whether or not its caller is still there.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lucid_api::headers::{PREFER, PREFERENCE_APPLIED};
use lucid_api::problem::ErrorCode;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::Instrument as _;
use utoipa::IntoParams;

use crate::errand::carried;
use crate::reply::{Refusal, Reply};

/// What is read of `Prefer`.
const PREFER_CHARS: usize = 1_024;
/// What needs no work takes no longer.
const AT_ONCE: Duration = Duration::from_secs(60);

/// How long a caller waits for long work to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wait {
    limit: Option<Duration>,
    /// The preference that says so, as it is confirmed.
    preference: Option<String>,
}

/// What is documented of [`Wait`].
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Prefer {
    /// How long to wait for the end (RFC 7240): `respond-async` for not at all, `wait=10` for ten seconds.
    /// What has not ended by then goes on, and is answered with 202.
    #[param(rename = "Prefer", required = false, example = "respond-async", max_length = 1_024)]
    #[allow(dead_code, reason = "it is read as a header")]
    prefer: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::of(&parts.headers)
    }
}

impl Wait {
    /// So long at most; `None`: to the end.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Whether the caller said it. Then the work is the service's, and goes on when its caller leaves.
    pub fn is_said(&self) -> bool {
        self.preference.is_some()
    }

    /// So long where the caller did not say it, as is documented of some routes.
    pub fn or(mut self, limit: Duration) -> Self {
        self.limit.get_or_insert(limit);
        self
    }

    fn of(headers: &HeaderMap) -> Reply<Self> {
        let (mut is_async, mut wait) = (false, None);
        for value in headers.get_all(PREFER) {
            if value.len() > PREFER_CHARS {
                let detail = format!("Prefer has at most {PREFER_CHARS} characters");
                return Err(Refusal::new(ErrorCode::Invalid, detail));
            }
            for preference in value.to_str().unwrap_or_default().split(',') {
                // What stands behind a semicolon says more of a preference; of these two nothing is defined.
                let named = preference.split(';').next().unwrap_or_default();
                let (name, value) = named.split_once('=').unwrap_or((named, ""));
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("respond-async") {
                    is_async = true;
                } else if name.eq_ignore_ascii_case("wait") && wait.is_none() {
                    wait = Some(seconds(value)?);
                }
            }
        }
        let preference = match (wait, is_async) {
            (_, true) => Some("respond-async".to_owned()),
            (Some(seconds), false) => Some(format!("wait={seconds}")),
            (None, false) => None,
        };
        let limit =
            wait.or(is_async.then_some(0)).map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Self { limit, preference })
    }
}

/// A number of seconds; more than it can be is as many as it can be.
fn seconds(text: &str) -> Reply<u32> {
    match !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        true => Ok(text.parse().unwrap_or(u32::MAX)),
        false => {
            let detail = format!("Prefer: wait={text} is no number of whole seconds");
            Err(Refusal::new(ErrorCode::Invalid, detail))
        }
    }
}

/// Said once work has really begun: until then its caller is refused, and not told to look.
#[derive(Debug)]
pub struct Begun(oneshot::Sender<()>);

impl Begun {
    /// Says it.
    pub fn say(self) {
        // A caller that waits to the end, or has left, does not listen.
        let _unheard = self.0.send(());
    }
}

/// Answers what the work comes to, if that is there in time; otherwise that it goes on, with what `look` says of
/// it and where that stands.
pub async fn long_work<T, P, W>(
    wait: &Wait,
    look: impl Future<Output = Reply<(String, P)>>,
    work: impl FnOnce(Begun) -> W,
) -> Reply<Response>
where
    T: Serialize + Send + 'static,
    P: Serialize,
    W: Future<Output = Reply<T>> + Send + 'static,
{
    let (begun, has_begun) = oneshot::channel();
    let work = work(Begun(begun));
    let Some(limit) = wait.limit else {
        return Ok(Json(work.await?).into_response());
    };
    let mut work = tokio::spawn(carried(work).in_current_span());
    let waited = async {
        if has_begun.await.is_err() {
            // It ends without having begun, and says itself why.
            std::future::pending::<()>().await;
        }
        // A caller that does not wait at all is always answered alike.
        if !limit.is_zero() {
            tokio::time::sleep(limit).await;
        }
    };
    tokio::select! {
        biased;
        () = waited => {
            let (at, progress) = look.await?;
            goes_on(wait, &at, &progress)
        }
        ended = &mut work => match ended {
            Ok(outcome) => Ok(Json(outcome?).into_response()),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Refusal::new(ErrorCode::Unavailable, "the service is ending")),
            },
        },
    }
}

/// 202: it goes on, and this is where to look.
pub fn goes_on(wait: &Wait, at: &str, progress: &impl Serialize) -> Reply<Response> {
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|error| Refusal::new(ErrorCode::Internal, format!("{text:?}: {error}")))
    };
    let mut response = (StatusCode::ACCEPTED, Json(progress)).into_response();
    response.headers_mut().insert(LOCATION, value(at)?);
    if let Some(preference) = &wait.preference {
        let name = HeaderName::from_static(PREFERENCE_APPLIED);
        response.headers_mut().insert(name, value(preference)?);
    }
    Ok(response)
}

/// What is answered at once, on a route on which others wait: within a minute, or not.
pub async fn at_once<T>(answer: impl Future<Output = Reply<T>>) -> Reply<T> {
    tokio::time::timeout(AT_ONCE, answer).await.unwrap_or_else(|_| {
        let detail = format!("the request took longer than {} s", AT_ONCE.as_secs());
        Err(Refusal::new(ErrorCode::Unavailable, detail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(values: &[&str]) -> Reply<Wait> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        Wait::of(&headers)
    }

    #[test]
    fn preferences_are_read_as_the_standard_writes_them() {
        let seconds = |seconds, preference: &str| {
            let limit = Some(Duration::from_secs(seconds));
            Ok(Wait { limit, preference: Some(preference.to_owned()) })
        };
        assert_eq!(wait(&[]), Ok(Wait::default()));
        assert_eq!(wait(&["handling=lenient"]), Ok(Wait::default()));
        assert_eq!(wait(&["respond-async"]), seconds(0, "respond-async"));
        assert_eq!(wait(&["Respond-Async, wait=10"]), seconds(10, "respond-async"));
        assert_eq!(wait(&["wait = \"7\""]), seconds(7, "wait=7"));
        assert_eq!(wait(&["wait=3;x=y", "wait=9, respond-async"]), seconds(3, "respond-async"));
        assert_eq!(
            wait(&["wait=99999999999"]).unwrap().limit().unwrap().as_secs(),
            u64::from(u32::MAX)
        );
        assert!(wait(&[&"x".repeat(PREFER_CHARS + 1)]).is_err());
        assert!(wait(&["wait=+5"]).is_err() && wait(&["wait="]).is_err());
        let refused = wait(&["wait=soon"]).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Invalid);
        assert!(refused.detail().contains("wait=soon"), "{}", refused.detail());
    }

    async fn answer(wait: &Wait, takes: Duration) -> Response {
        let work = move |begun: Begun| async move {
            begun.say();
            tokio::time::sleep(takes).await;
            Ok("done")
        };
        long_work(wait, async { Ok(("/there".to_owned(), "half")) }, work).await.unwrap()
    }

    fn limited(limit: Duration) -> Wait {
        Wait::default().or(limit)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_as_long_as_it_said() {
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(50));
        assert_eq!(answer(&Wait::default(), long).await.status(), StatusCode::OK);
        assert_eq!(answer(&limited(long), short).await.status(), StatusCode::OK);
        let late = answer(&limited(short), long).await;
        assert_eq!(late.status(), StatusCode::ACCEPTED);
        assert_eq!(late.headers()[LOCATION], "/there");
        assert!(late.headers().get(PREFERENCE_APPLIED).is_none(), "it preferred nothing");
        let asked = wait(&["respond-async"]).unwrap();
        assert_eq!(
            answer(&asked, Duration::ZERO).await.headers()[PREFERENCE_APPLIED],
            "respond-async"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_before_it_begins_is_never_accepted() {
        let work = |_begun| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Err::<(), _>(Refusal::new(ErrorCode::Running, "another one runs"))
        };
        let answer =
            long_work(&limited(Duration::ZERO), async { Ok(("/".to_owned(), ())) }, work).await;
        assert_eq!(answer.unwrap_err().code(), ErrorCode::Running);
    }

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_behind_its_answer() {
        let (ended, has_ended) = oneshot::channel();
        let work = |begun: Begun| async move {
            begun.say();
            tokio::time::sleep(Duration::from_secs(60)).await;
            ended.send(()).unwrap();
            Ok(())
        };
        let answer =
            long_work(&limited(Duration::ZERO), async { Ok(("/".to_owned(), ())) }, work).await;
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
        has_ended.await.unwrap();
    }
}
