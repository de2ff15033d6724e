//! What tests run against: the scripted server, and a real one where there is one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::Clock;
use crate::mongo::scripted::{Ending, Scripted};
use crate::mongo::{Mongo, Opening};
use crate::proxy::Fault;
use crate::proxy::Proxy;
use crate::proxy::mongo::{MongoWire, primary_of};
use crate::proxy::plan::{Tried, seeds};
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

/// A proxy before the primary of a real server, and the URL that leads through it; none before TLS, which it cannot
/// read.
fn before_real() -> Option<(Proxy, String)> {
    let url = real()?;
    let (scheme, rest) = url.split_once("://").unwrap();
    let (hosts, path) = rest.split_once('/').unwrap();
    if ["tls=true", "ssl=true"].iter().any(|encrypted| path.contains(encrypted)) {
        return None;
    }
    let (user, hosts) = hosts
        .rsplit_once('@')
        .map_or((String::new(), hosts), |(user, hosts)| (format!("{user}@"), hosts));
    let proxy = Proxy::before(primary_of(hosts.split(',').next().unwrap()), MongoWire);
    let address = proxy.address();
    // The members of a set name each other, and a driver would go to them.
    let direct = match path {
        path if path.contains("directConnection=") => "",
        path if path.ends_with('?') => "directConnection=true",
        _ => "&directConnection=true",
    };
    let url = format!("{scheme}://{user}{address}/{path}{direct}");
    Some((proxy, url))
}

/// A server behind a proxy.
pub(crate) struct Proxied {
    pub(crate) name: &'static str,
    pub(crate) proxy: Proxy,
    /// The scripted one, if it is that.
    pub(crate) scripted: Option<Scripted>,
    url: String,
}

impl Proxied {
    /// The scripted server behind a proxy.
    pub(crate) fn scripted() -> Self {
        let server = Scripted::start();
        let proxy = Proxy::before(server.address(), MongoWire);
        server.be_known_as(proxy.address());
        let url = server.url("db");
        Self { name: "scripted, through a proxy", proxy, scripted: Some(server), url }
    }

    /// Each server that there is, behind a proxy.
    pub(crate) fn all() -> Vec<Self> {
        let real = before_real().map(|(proxy, url)| Self {
            name: "a real server, through a proxy",
            proxy,
            scripted: None,
            url,
        });
        [Some(Self::scripted()), real].into_iter().flatten().collect()
    }

    /// Opens the database, which is the same for all who open it, and goes with them.
    pub(crate) fn open(&self, patience: Duration) -> Dropped {
        let (driver, clock) = (Driver::start().unwrap(), Clock::system());
        let opening =
            Opening { url: &self.url, store: Some([7; 16]), patience: LONG, clock: &clock };
        Dropped(Mongo::open(&driver, &opening).unwrap().with_patience(patience))
    }
}

/// What is met on the way to a database, in suites whose every call has to come to a good end.
const ON_THE_WAY: [Fault; 12] = [
    Fault::Cut,
    Fault::CutInRequest,
    Fault::ReplyLost,
    Fault::CutInReply,
    Fault::Repeated,
    Fault::RepeatedLater,
    Fault::Stalled,
    Fault::StalledDone,
    Fault::Late,
    Fault::Duplicate,
    Fault::DuplicateOfNothing,
    Fault::ConcernErrorDropped,
];

/// How long the suites wait for what is stalled. Whatever takes longer on a slow machine is tried again.
const STALLED: Duration = Duration::from_secs(1);

/// Databases that hold nothing yet, each under its name: of the scripted server, plain, with every ending and through
/// a proxy, and of a real one where there is one, plain and through a proxy.
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
    if let Some(url) = real() {
        let (driver, clock) = (Driver::start().unwrap(), Clock::system());
        let opening = Opening { url: &url, store: Some([7; 16]), patience: LONG, clock: &clock };
        let dropped = Dropped(Mongo::open(&driver, &opening).unwrap());
        test("a real server", dropped.0.clone());
    }
    for seed in seeds() {
        for server in Proxied::all() {
            let name = format!("{}, seed {seed}", server.name);
            let _tried = Tried(name.clone());
            let database = server.open(STALLED);
            server.proxy.draw(seed, &ON_THE_WAY);
            test(&name, database.0.clone());
            server.proxy.rest();
            server.proxy.assert_right();
        }
    }
}

/// A database that goes with its test, even with one that fails.
pub(crate) struct Dropped(pub(crate) Mongo);

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
