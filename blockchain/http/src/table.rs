//! The table of a service's routes: one row each, with method, path, handler, limits and who may ask.
//!
//! Rows are written with [`table!`](crate::table!). Method and path stand in a handler's documentation, too; a test
//! in each service compares the two.

use axum::http::Method;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::limits::Limits;

/// What a caller does with a route, and so which roles may ask for it. Nothing is refused by it yet: without
/// tokens a service listens where only its own machine can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Begins sessions, adds to them, asks where they end and seals them.
    Append,
    /// Lists, reads and proves.
    Read,
    /// Has something checked, without being given content.
    Verify,
    /// Adds what is no session's: transactions.
    Write,
    /// Removes, holds, copies whole stores, looks after them.
    Administer,
}

impl Access {
    /// The roles that may.
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Append => &["append", "write", "admin"],
            Self::Read => &["read", "write", "admin"],
            Self::Verify => &["read", "write", "audit", "admin"],
            Self::Write => &["write", "admin"],
            Self::Administer => &["admin"],
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
    pub access: Access,
    /// What answers, with its documentation.
    pub handler: UtoipaMethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> RouteRow<S> {
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
    rows.into_iter().fold(OpenApiRouter::new(), |all, row| {
        all.merge(row.limits.around(OpenApiRouter::new().routes(row.handler)))
    })
}

/// Rows whose handlers are documented with another method or path than theirs: for a test in each service.
pub fn misdocumented<S: Clone + Send + Sync + 'static>(rows: &[RouteRow<S>]) -> Vec<String> {
    rows.iter()
        .filter(|row| row.documented() != [(row.method.clone(), row.path.to_owned())])
        .map(|row| format!("{} {} is documented as {:?}", row.method, row.path, row.documented()))
        .collect()
}

/// Rows of a table: `METHOD PATH handler, limits, access;`, where `PATH` is one of `lucid_api::paths`, and `access`
/// a variant of [`Access`](crate::table::Access).
#[macro_export]
macro_rules! table {
    ($($method:ident $path:ident $handler:path, $limits:expr, $access:ident;)*) => {
        vec![$($crate::table::RouteRow {
            method: ::axum::http::Method::$method,
            path: ::lucid_api::paths::$path,
            limits: $limits,
            access: $crate::table::Access::$access,
            handler: ::utoipa_axum::routes!($handler),
        }),*]
    };
}
