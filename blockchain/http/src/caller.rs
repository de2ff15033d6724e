//! Who calls, and what that caller may do.
//!
//! The layer that checks credentials makes it, and every handler can ask for it. Which session is whose only the
//! services know: they hold it against [`Caller::narrowing`].

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lucid_api::access::{Narrowing, Role, Roles};
use lucid_api::problem::ErrorCode;

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
