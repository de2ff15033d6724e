//! Telling what a service is asked, for people who want to see it.

use std::fmt::{self, Display};
use std::sync::Arc;

use reqwest::blocking::Response;

use super::{Call, ClientError};

type Tell = dyn Fn(&str) + Send + Sync;

/// What is told of each request and its answer, in a sentence without tokens and passwords; by default nothing is.
#[derive(Clone, Default)]
pub struct Heard(Option<Arc<Tell>>);

impl Heard {
    /// Nothing is told.
    pub const NOTHING: Self = Self(None);

    /// Has this told of every request.
    pub fn by(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, call: &Call, sent: &Result<Response, ClientError>) {
        let Some(tell) = &self.0 else { return };
        let came: &dyn Display = match sent {
            Ok(response) => &response.status(),
            Err(error) => error,
        };
        let mut url = call.url.clone();
        // Every one of ours can be without; the rest is ours, and no secret.
        let _bare = url.set_password(None).and_then(|()| url.set_username(""));
        tell(&format!("asked {} {url}: {came}", call.method));
    }
}

/// Two are the same if they tell the same one.
impl PartialEq for Heard {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Heard").field(&self.0.is_some()).finish()
    }
}
