//! Real servers for the tests of whole programs, as `.ci/servers` starts them: each test has a database and a prefix of
//! its own. Taken in by path, so every crate's tests have the same.
//!
//! Without servers there is nothing to test against, and the test is passed over; a run that is to have some
//! (`LUCID_TEST_SERVERS=required`) fails instead.

#![allow(dead_code, reason = "not every crate's tests need all of it")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The variables of a service whose log is in a database and, if it has any, whose chunks are in a bucket.
#[derive(Clone)]
pub struct Remote(Vec<(&'static str, String)>);

fn given(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "it says which servers this run of tests has")]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.is_empty())
}

impl Remote {
    /// A database and a bucket that hold nothing yet.
    pub fn new() -> Option<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let found = (given("LUCID_TEST_MONGO_URL"), given("LUCID_TEST_S3_ENDPOINT"));
        let (Some(url), Some(endpoint)) = found else {
            let required = given("LUCID_TEST_SERVERS").is_some_and(|value| value == "required");
            assert!(
                !required,
                "LUCID_TEST_MONGO_URL and LUCID_TEST_S3_ENDPOINT are to name servers"
            );
            return None;
        };
        let number = NUMBERS.fetch_add(1, Relaxed);
        let own = format!("lucid_it_{}_{number}", std::process::id());
        let of = |name: &str| given(&format!("LUCID_TEST_S3_{name}")).unwrap_or_default();
        Some(Self(vec![
            ("MONGO_URL", with_database(&url, &own)),
            ("LUCID_S3_ENDPOINT", endpoint),
            ("LUCID_S3_BUCKET", of("BUCKET")),
            ("LUCID_S3_REGION", of("REGION")),
            ("LUCID_S3_ACCESS_KEY_ID", of("ACCESS_KEY_ID")),
            ("LUCID_S3_SECRET_ACCESS_KEY", of("SECRET_ACCESS_KEY")),
            ("LUCID_S3_PATH_STYLE", given("LUCID_TEST_S3_PATH_STYLE").unwrap_or("true".into())),
            ("LUCID_S3_PREFIX", own),
        ]))
    }

    /// The variables.
    pub fn variables(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// The same with another value.
    pub fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut changed = self.clone();
        let mut value = Some(value.into());
        for (found, was) in &mut changed.0 {
            if *found == name
                && let Some(value) = value.take()
            {
                *was = value;
            }
        }
        assert!(value.is_none(), "{name} is none of the variables");
        changed
    }

    /// The same without some.
    pub fn without(&self, beginning: &str) -> Self {
        Self(self.0.iter().filter(|(name, _)| !name.starts_with(beginning)).cloned().collect())
    }

    /// A value.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
    }

    /// Who may read the bucket and not write to it, if the server has such a user.
    pub fn reader(&self) -> Option<Self> {
        let id = given("LUCID_TEST_S3_READER_ACCESS_KEY_ID")?;
        let secret = given("LUCID_TEST_S3_READER_SECRET_ACCESS_KEY")?;
        let reader = self.with("LUCID_S3_ACCESS_KEY_ID", id);
        Some(reader.with("LUCID_S3_SECRET_ACCESS_KEY", secret))
    }
}

/// The URL with another database. Users are of the server's own, unless the URL says otherwise.
fn with_database(url: &str, name: &str) -> String {
    let (server, options) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = server.split_once("://").unwrap_or(("mongodb", server));
    let hosts = rest.split('/').next().unwrap_or_default();
    let is_said = options.contains("authSource") || !hosts.contains('@');
    let users = if is_said { "" } else { "authSource=admin&" };
    format!("{scheme}://{hosts}/{name}?{users}{options}")
}
