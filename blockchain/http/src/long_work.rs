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

use crate::reply::{Refusal, Reply};

/// What is read of `Prefer`.
const PREFER_CHARS: usize = 1_024;

/// How long a caller waits for long work to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It did not say: what is documented of the route holds.
    Unsaid,
    /// So long.
    For(Duration),
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
    fn of(headers: &HeaderMap) -> Reply<Self> {
        let (mut is_async, mut wait) = (false, None);
        for value in headers.get_all(PREFER) {
            let text = value.to_str().unwrap_or_default();
            if text.len() > PREFER_CHARS {
                let detail = format!("Prefer has at most {PREFER_CHARS} characters");
                return Err(Refusal::new(ErrorCode::Invalid, detail));
            }
            for preference in text.split(',') {
                // What stands behind a semicolon says more of a preference; of these two nothing is defined.
                let named = preference.split(';').next().unwrap_or_default();
                let (name, value) = named.split_once('=').unwrap_or((named, ""));
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("respond-async") {
                    is_async = true;
                } else if name.eq_ignore_ascii_case("wait") && wait.is_none() {
                    let seconds: u32 = value.parse().map_err(|_| {
                        let detail = format!("Prefer: wait={value} is no number of whole seconds");
                        Refusal::new(ErrorCode::Invalid, detail)
                    })?;
                    wait = Some(Duration::from_secs(seconds.into()));
                }
            }
        }
        Ok(match (wait, is_async) {
            (Some(time), _) => Self::For(time),
            (None, true) => Self::For(Duration::ZERO),
            (None, false) => Self::Unsaid,
        })
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

/// Answers what the work comes to, if that is there in time; otherwise [`goes_on`] from where to look.
pub async fn long_work<T, P, W>(
    wait: Wait,
    look: impl FnOnce() -> (String, P),
    work: impl FnOnce(Begun) -> W,
) -> Reply<Response>
where
    T: Serialize + Send + 'static,
    P: Serialize,
    W: Future<Output = Reply<T>> + Send + 'static,
{
    let (begun, has_begun) = oneshot::channel();
    let work = work(Begun(begun));
    let Wait::For(time) = wait else {
        return Ok(Json(work.await?).into_response());
    };
    let mut work = tokio::spawn(work.in_current_span());
    let waited = async {
        if has_begun.await.is_err() {
            // It ends without having begun, and says itself why.
            std::future::pending::<()>().await;
        }
        // Whoever does not wait at all is always answered alike.
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    };
    tokio::select! {
        biased;
        () = waited => {
            let (at, progress) = look();
            goes_on(&at, &progress)
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
pub fn goes_on(at: &str, progress: &impl Serialize) -> Reply<Response> {
    let location = HeaderValue::from_str(at)
        .map_err(|error| Refusal::new(ErrorCode::Internal, format!("{at:?}: {error}")))?;
    let applied = HeaderValue::from_static("respond-async");
    let headers = [(LOCATION, location), (HeaderName::from_static(PREFERENCE_APPLIED), applied)];
    Ok((StatusCode::ACCEPTED, headers, Json(progress)).into_response())
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
        let seconds = |seconds| Ok(Wait::For(Duration::from_secs(seconds)));
        assert_eq!(wait(&[]), Ok(Wait::Unsaid));
        assert_eq!(wait(&["handling=lenient"]), Ok(Wait::Unsaid));
        assert_eq!(wait(&["respond-async"]), seconds(0));
        assert_eq!(wait(&["Respond-Async, wait=10"]), seconds(10));
        assert_eq!(wait(&["wait = \"7\""]), seconds(7));
        assert_eq!(wait(&["wait=3;x=y", "wait=9, respond-async"]), seconds(3));
        assert!(wait(&[&"x".repeat(PREFER_CHARS + 1)]).is_err());
        let refused = wait(&["wait=soon"]).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Invalid);
        assert!(refused.detail().contains("wait=soon"), "{}", refused.detail());
    }

    async fn answer(wait: Wait, takes: Duration) -> Response {
        let work = move |begun: Begun| async move {
            begun.say();
            tokio::time::sleep(takes).await;
            Ok("done")
        };
        long_work(wait, || ("/there".to_owned(), "half"), work).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_as_long_as_it_said() {
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(50));
        assert_eq!(answer(Wait::Unsaid, long).await.status(), StatusCode::OK);
        assert_eq!(answer(Wait::For(long), short).await.status(), StatusCode::OK);
        let late = answer(Wait::For(short), long).await;
        assert_eq!(late.status(), StatusCode::ACCEPTED);
        assert_eq!(late.headers()[LOCATION], "/there");
        let now = answer(Wait::For(Duration::ZERO), Duration::ZERO).await;
        assert_eq!(now.headers()[PREFERENCE_APPLIED], "respond-async");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_before_it_begins_is_never_accepted() {
        let work = |_begun| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Err::<(), _>(Refusal::new(ErrorCode::Running, "another one runs"))
        };
        let answer = long_work(Wait::For(Duration::ZERO), || ("/".to_owned(), ()), work).await;
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
        let answer = long_work(Wait::For(Duration::ZERO), || ("/".to_owned(), ()), work).await;
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
        has_ended.await.unwrap();
    }
}
