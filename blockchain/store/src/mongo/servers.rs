//! What tests run against: the scripted server, and a real one where there is one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Clock;
use crate::mongo::scripted::{Ending, Scripted};
use crate::mongo::{Mongo, Opening};
use crate::remote::Driver;

/// Every way in which an insert may end, whatever became of it.
const ENDINGS: [Ending; 5] =
    [Ending::Cut, Ending::ReplyLost, Ending::Repeated, Ending::WriteConcern, Ending::Refused(91)];

/// A server that stalls is waited for so long; any other call is a matter of milliseconds.
pub(crate) const SHORT: Duration = Duration::from_millis(500);
/// Long enough for any machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Opens a database of the scripted server.
pub(crate) fn open(server: &Scripted, patience: Duration) -> Mongo {
    let (driver, clock) = (Driver::start().unwrap(), Clock::system());
    let url = server.url("db");
    let opening = Opening { url: &url, store: Some([7; 16]), patience: LONG, clock: &clock };
    // Opening is not what is given up.
    Mongo::open(&driver, &opening).unwrap().with_patience(patience)
}

/// The URL of a real server, if this run has one, with a database of its own in it.
fn real() -> Option<String> {
    static DATABASES: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "it says which servers this run of tests has")]
    let url = std::env::var("LUCID_TEST_MONGO_URL").ok()?;
    let number = DATABASES.fetch_add(1, Relaxed);
    let name = format!("lucid_test_{}_{number}", std::process::id());
    // The path of the URL is the database; users are of the server's own, unless the URL says otherwise.
    let (server, options) = url.split_once('?').unwrap_or((&url, ""));
    let (scheme, rest) = server.split_once("://").unwrap();
    let hosts = rest.split('/').next().unwrap();
    let users = if options.contains("authSource") || !hosts.contains('@') {
        ""
    } else {
        "authSource=admin&"
    };
    Some(format!("{scheme}://{hosts}/{name}?{users}{options}"))
}

/// Databases that hold nothing yet, each under its name: of the scripted server, plain and with every ending, and of
/// a real one where there is one.
pub(crate) fn every_database(test: &dyn Fn(&str, Mongo)) {
    let server = Scripted::start();
    test("scripted", open(&server, LONG));
    for ending in ENDINGS {
        let server = Scripted::start();
        let mongo = open(&server, LONG);
        server.script(|script| script.often = Some(ending));
        test(&format!("scripted, {ending:?}"), mongo);
    }
    for ending in [Ending::Stalled, Ending::StalledDone] {
        let server = Scripted::start();
        let mongo = open(&server, SHORT);
        server.script(|script| script.next.push_back(ending));
        test(&format!("scripted, {ending:?}"), mongo);
    }
    let Some(url) = real() else { return };
    let (driver, clock) = (Driver::start().unwrap(), Clock::system());
    let opening = Opening { url: &url, store: Some([7; 16]), patience: LONG, clock: &clock };
    let dropped = Dropped(Mongo::open(&driver, &opening).unwrap());
    test("a real server", dropped.0.clone());
}

/// A database that goes with its test, even with one that fails.
struct Dropped(Mongo);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.drop_database();
    }
}

/// Where servers are to be there, tests do not pass for want of them.
#[test]
fn a_run_that_is_to_have_servers_has_one() {
    #[expect(clippy::disallowed_methods, reason = "it says which servers this run of tests has")]
    let required = std::env::var("LUCID_TEST_SERVERS").is_ok_and(|value| value == "required");
    assert!(!required || real().is_some(), "LUCID_TEST_MONGO_URL is to name a server");
}
