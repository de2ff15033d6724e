//! Who calls, and what that caller may do.
//!
//! The layer that checks credentials makes it, and every handler can ask for it. Which session is whose only the
//! services know: they hold it against [`Caller::narrowing`].

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use lucid_api::access::{Narrowing, Role, Roles};
use lucid_api::problem::ErrorCode;

use crate::credentials::Credentials;
use crate::reply::Refusal;

/// The caller of a request. Cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Arc<Identity>);

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    name: Option<String>,
    roles: Roles,
    narrowing: Option<Narrowing>,
}

impl Caller {
    /// Where no credentials are asked for: nobody is known, and everybody may do everything.
    pub fn anyone() -> Self {
        Self::new(None, Role::Admin.into(), None)
    }

    /// A caller that showed credentials, or came through a door of its own. `name` is what the credentials are
    /// called.
    pub fn known(name: impl Into<String>, roles: Roles, narrowing: Option<Narrowing>) -> Self {
        Self::new(Some(name.into()), roles, narrowing)
    }

    fn new(name: Option<String>, roles: Roles, narrowing: Option<Narrowing>) -> Self {
        Self(Arc::new(Identity { name, roles, narrowing }))
    }

    /// What its credentials are called, if it showed any.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Whether it has one of these roles.
    pub fn has_any(&self, of: &[Role]) -> bool {
        self.0.roles.has_any(of)
    }

    /// What it is narrowed to.
    pub fn narrowing(&self) -> Option<&Narrowing> {
        self.0.narrowing.as_ref()
    }

    /// Whether it is kept to some sessions.
    pub fn is_narrowed(&self) -> bool {
        self.0.narrowing.is_some()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.name {
            Some(name) => write!(f, "{name} ({})", self.0.roles),
            None => f.write_str("anyone"),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    /// A route that nobody checks credentials for is a fault of ours, and nobody's to use.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Refusal::new(ErrorCode::Internal, "nobody asked who calls"))
    }
}

/// Whether what a caller showed still counts: for replies that last, so that a token that is taken away ends them.
#[derive(Debug, Clone)]
pub struct Standing {
    caller: Caller,
    /// What it showed, and what says whose that is; nothing for the local door.
    shown: Option<(Credentials, HeaderMap)>,
}

impl Standing {
    /// Of a caller that came through a door of its own, which stays open to it.
    pub(crate) fn lasting(caller: Caller) -> Self {
        Self { caller, shown: None }
    }

    /// Of a caller that showed these headers.
    pub(crate) fn of(caller: Caller, credentials: &Credentials, given: &HeaderMap) -> Self {
        let all = given.get_all(AUTHORIZATION).iter();
        let shown = all.map(|value| (AUTHORIZATION, value.clone())).collect();
        Self { caller, shown: Some((credentials.clone(), shown)) }
    }

    /// Whether the same headers would make the same caller now: of the same name and roles, narrowed alike.
    pub async fn lasts(&self) -> bool {
        let Some((credentials, shown)) = &self.shown else { return true };
        credentials.look_again().await;
        credentials.caller(shown).is_ok_and(|caller| caller == self.caller)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Standing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let standing = parts.extensions.get::<Self>().cloned();
        standing.ok_or_else(|| Refusal::new(ErrorCode::Internal, "nobody asked who calls"))
    }
}
