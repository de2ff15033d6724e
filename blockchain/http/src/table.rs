//! The table of a service's routes: one row each, with method, path, handler, limits and who may ask.
//!
//! Rows are written with [`table!`](crate::table!). Method and path stand in a handler's documentation, too; a test
//! in each service compares the two.

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::Route;
use lucid_api::access::Role;
use tower::{Layer, Service};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

pub use crate::layers::Wanted;
use crate::layers::admit_caller;
use crate::limits::Limits;

/// What documents call the way in which callers show credentials.
pub(crate) const BEARER: &str = "bearer";

/// What a caller does with a route, and so which roles may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Begins sessions, adds to them, asks where they end and seals them.
    Append,
    /// Lists, looks and asks.
    Read,
    /// Is given what sessions hold: bytes, chunks, names of files, proofs of parts.
    Content,
    /// Has something checked, or takes evidence, without being given content.
    Verify,
    /// Adds what is no session's: transactions.
    Write,
    /// Reads what others did: the read log.
    Audit,
    /// Removes, holds, copies whole stores, looks after them.
    Administer,
}

impl Access {
    /// The roles that may.
    pub const fn roles(self) -> &'static [Role] {
        use Role::{Admin, Append, Audit, Read, Write};
        match self {
            Self::Append => &[Append, Write, Admin],
            Self::Read | Self::Content => &[Read, Write, Admin],
            Self::Verify => &[Read, Write, Audit, Admin],
            Self::Write => &[Write, Admin],
            Self::Audit => &[Audit, Admin],
            Self::Administer => &[Admin],
        }
    }
}

/// One route.
pub struct RouteRow<S> {
    /// Its method.
    pub method: Method,
    /// Its path, with `{names}` for what is filled in.
    pub path: &'static str,
    /// What a request may take.
    pub limits: Limits,
    /// Who may ask.
    pub wanted: Wanted,
    /// What answers, with its documentation.
    pub handler: UtoipaMethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> RouteRow<S> {
    /// The route with what its documentation says of credentials: none where nobody asks for them, or a bearer's with
    /// one of these roles.
    fn secured(self) -> Self {
        let (schemas, mut paths, handler) = self.handler;
        let roles = self.wanted.access.roles().iter().map(|role| role.as_str());
        let wanted = vec![Default::default(), SecurityRequirement::new(BEARER, roles)];
        for item in paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.head, &mut item.post, &mut item.put, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(wanted.clone());
            }
        }
        Self { handler: (schemas, paths, handler), ..self }
    }

    /// The route with a layer of the service's own around its handler.
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let (schemas, paths, handler) = self.handler;
        Self { handler: (schemas, paths, handler.layer(layer)), ..self }
    }

    /// Method and path as the handler's documentation has them.
    fn documented(&self) -> Vec<(Method, String)> {
        let (_, paths, _) = &self.handler;
        let methods = paths.paths.iter().flat_map(|(path, item)| {
            [
                (Method::GET, &item.get),
                (Method::HEAD, &item.head),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::DELETE, &item.delete),
            ]
            .into_iter()
            .filter(|(_, operation)| operation.is_some())
            .map(|(method, _)| (method, path.clone()))
        });
        methods.collect()
    }
}

/// The routes of a table, each within its limits.
pub fn routes<S: Clone + Send + Sync + 'static>(rows: Vec<RouteRow<S>>) -> OpenApiRouter<S> {
    rows.into_iter().map(RouteRow::secured).fold(OpenApiRouter::new(), |all, row| {
        let route = row.limits.around(OpenApiRouter::new().routes(row.handler));
        all.merge(route.route_layer(from_fn_with_state(row.wanted, admit_caller)))
    })
}

/// Rows whose handlers are documented with another method or path than theirs: for a test in each service.
pub fn misdocumented<S: Clone + Send + Sync + 'static>(rows: &[RouteRow<S>]) -> Vec<String> {
    rows.iter()
        .filter(|row| row.documented() != [(row.method.clone(), row.path.to_owned())])
        .map(|row| format!("{} {} is documented as {:?}", row.method, row.path, row.documented()))
        .collect()
}

/// Who may ask for which route, as a table in Markdown: for a test in each service.
pub fn who_may_ask<S>(rows: &[RouteRow<S>]) -> String {
    let mut text = "| route | roles | within |\n|---|---|---|\n".to_owned();
    for RouteRow { method, path, wanted, .. } in rows {
        let roles: Vec<&str> = wanted.access.roles().iter().map(|role| role.as_str()).collect();
        let within = if wanted.is_within { "yes" } else { "" };
        let row = format!("| `{method} {path}` | {} | {within} |\n", roles.join(", "));
        text.push_str(&row);
    }
    text
}

/// Rows of a table: `METHOD PATH handler, limits, access;`, where `PATH` is one of `lucid_api::paths`, and `access`
/// a variant of [`Access`](crate::table::Access), with `within` behind it where the handler keeps to the sessions
/// that its caller sees. A caller that is narrowed to some sessions is refused everywhere else.
#[macro_export]
macro_rules! table {
    (@within) => { false };
    (@within within) => { true };
    ($($method:ident $path:ident $handler:path, $limits:expr, $access:ident $($within:ident)?;)*) => {
        vec![$($crate::table::RouteRow {
            method: ::axum::http::Method::$method,
            path: ::lucid_api::paths::$path,
            limits: $limits,
            wanted: $crate::table::Wanted {
                access: $crate::table::Access::$access,
                is_within: $crate::table!(@within $($within)?),
            },
            handler: ::utoipa_axum::routes!($handler),
        }),*]
    };
}
