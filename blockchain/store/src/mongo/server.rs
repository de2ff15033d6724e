//! The connection to a server: what is asked of it at the start, and how every call is made.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};

use crate::StoreError;
use crate::backend::MongoAt;
use crate::clock::Clock;
use crate::contract::lock::{Created, Lock as _};
use crate::crypt::random;
use crate::mongo::failure::{Failure, unanswered};
use crate::mongo::{MongoChain, MongoLock, MongoLog};
use crate::remote::Driver;
use crate::remote::breaker::{Begun, Breaker};

/// What servers know their client by.
const CLIENT: &str = "lucid";
/// The server's clock and this machine's may differ so much.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// After a call was given up, none is made for this part of the patience.
const SPARED: u32 = 2;
/// How often something is read that cannot be had.
const READS: usize = 3;
/// Documents that are read at once have not much more bytes.
const PAGE_BYTES: usize = 8 << 20;
/// The value that says whose database it is.
const STORE: &str = "STORE";
/// The value that tells this history of the database from one that it was put back from.
const INCARNATION: &str = "INCARNATION";

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// Where it is: `mongodb://USER:PASSWORD@HOST,HOST/DATABASE?OPTIONS`.
    pub url: &'a str,
    /// The store that it must be. A database that is none yet becomes this one; without it, the database says which
    /// store it is, and a new one gets an id.
    pub store: Option<[u8; 16]>,
    /// How long a server is waited for. What takes twice as long is given up.
    pub patience: Duration,
    /// This machine's clock, which the server's is compared with.
    pub clock: &'a Clock,
}

/// A database that was reached, and is known to keep what it acknowledges. Nothing was written to it.
#[derive(Clone)]
pub struct Reached {
    connection: Connection,
}

impl Reached {
    /// Reaches a database and looks at its server. The names of its collections begin with `prefix`, so that two
    /// services can be given the same database.
    pub fn to(
        driver: &Driver,
        at: &MongoAt,
        prefix: &'static str,
        clock: &Clock,
    ) -> Result<Self, StoreError> {
        let connection = Connection::to(driver, at, prefix)?;
        connection.check(clock)?;
        Ok(Self { connection })
    }

    /// What people know it by: without a password.
    pub fn title(&self) -> &str {
        &self.connection.at
    }

    /// Whether it answers.
    pub fn ping(&self) -> Result<(), StoreError> {
        let asked = self.connection.command(doc! { "ping": 1 });
        let context = || format!("asking {}", self.connection.at);
        asked.map(drop).map_err(|why| why.into_store_error(&context()))
    }

    /// The id of the store that it is, if it is one.
    pub fn store(&self) -> Result<Option<[u8; 16]>, StoreError> {
        self.lock().read(STORE)?.map(|there| sixteen(STORE, &there)).transpose()
    }

    /// Whether there is no commit in it.
    pub fn is_unused(&self) -> Result<bool, StoreError> {
        Ok(MongoLog::first(&self.connection)?.is_none())
    }

    /// Its values that are created once.
    pub fn lock(&self) -> MongoLock {
        MongoLock::new(self.connection.clone())
    }

    /// Opens it as this store; one that is none yet becomes this one.
    pub fn open(&self, store: [u8; 16]) -> Result<Mongo, StoreError> {
        Mongo::over(self.connection.clone(), Some(store))
    }
}

/// An open database; clones are the same.
#[derive(Clone)]
pub struct Mongo {
    connection: Connection,
    store: [u8; 16],
    incarnation: [u8; 16],
}

impl std::fmt::Debug for Mongo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mongo").field("at", &self.connection.at).finish_non_exhaustive()
    }
}

impl Mongo {
    /// Opens a database, once it is known to keep what it acknowledges, and to be the right one. No call is spared
    /// because another was given up.
    pub fn open(driver: &Driver, how: &Opening<'_>) -> Result<Self, StoreError> {
        let limits = MongoAt::new("", how.url);
        let (selection, connect, call) = (how.patience, how.patience, how.patience * 2);
        let at = MongoAt { selection, connect, call, ..limits };
        let mut connection = Connection::to(driver, &at, "")?;
        connection.spare = None;
        connection.check(how.clock)?;
        Self::over(connection, how.store)
    }

    fn over(connection: Connection, wanted: Option<[u8; 16]>) -> Result<Self, StoreError> {
        let lock = MongoLock::new(connection.clone());
        let store = once(&lock, STORE, wanted)?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != store) {
            return Err(StoreError::Folder(format!(
                "{} belongs to the store {}, and this is the store {}: name another database in its URL",
                connection.at,
                hex::encode(store),
                hex::encode(wanted),
            )));
        }
        let incarnation = once(&lock, INCARNATION, None)?;
        Ok(Self { connection, store, incarnation })
    }

    /// The id of the store.
    pub fn store(&self) -> [u8; 16] {
        self.store
    }

    /// The log of its facts.
    pub fn log(&self) -> MongoLog {
        MongoLog::new(self.connection.clone(), self.store, self.incarnation)
    }

    /// The blocks of its chain.
    pub fn chain(&self) -> Result<MongoChain, StoreError> {
        MongoChain::open(self.connection.clone())
    }

    /// Its values that are created once.
    pub fn lock(&self) -> MongoLock {
        MongoLock::new(self.connection.clone())
    }

    /// The same, with calls that are given up sooner or later than it was opened with.
    #[cfg(test)]
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.connection.patience = patience;
        self
    }

    /// Removes the database, with all that is in it.
    #[cfg(test)]
    pub(crate) fn drop_database(&self) {
        let Connection { database, driver, .. } = self.connection.clone();
        let dropped = driver.wait(Duration::from_secs(60), async move { database.drop().await });
        dropped.unwrap().unwrap();
    }
}

/// Sixteen bytes that are the same for everybody who opens the database: these, or random ones, or those that are
/// there.
fn once(lock: &MongoLock, name: &str, wanted: Option<[u8; 16]>) -> Result<[u8; 16], StoreError> {
    // A value that is there is not created again: reading it writes nothing.
    let there = match lock.read(name)? {
        Some(there) => there,
        None => {
            let new = wanted.map_or_else(random, Ok)?;
            match lock.create(name, &new)? {
                Created::Here => return Ok(new),
                Created::There(there) => there,
            }
        }
    };
    sixteen(name, &there)
}

fn sixteen(name: &str, value: &[u8]) -> Result<[u8; 16], StoreError> {
    <[u8; 16]>::try_from(value).map_err(|_| {
        StoreError::Folder(format!("the value {name} of the database is not 16 bytes long"))
    })
}

/// A database, and how it is called; clones are the same.
#[derive(Clone)]
pub(super) struct Connection {
    database: Database,
    driver: Driver,
    patience: Duration,
    /// After a call was given up, so long none is made; without it each call finds out by itself.
    spare: Option<Duration>,
    breaker: Arc<Breaker<String>>,
    /// What the names of collections begin with.
    prefix: &'static str,
    /// What people know it by: without a password.
    pub(super) at: String,
}

impl Connection {
    fn to(driver: &Driver, how: &MongoAt, prefix: &'static str) -> Result<Self, StoreError> {
        // A server gives up what it may not finish in half of the time that is waited for it.
        let (how, patience) = (how.clone(), how.call / 2);
        let url = how.url.clone();
        if url.starts_with("mongodb+srv://") {
            return Err(StoreError::Folder(
                "mongodb+srv:// is not supported: name the servers, as in \
                 mongodb://one,two,three/DATABASE?replicaSet=NAME"
                    .into(),
            ));
        }
        let open = async move {
            let mut options = ClientOptions::parse(url.as_str()).await?;
            let hosts: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
            options.app_name.get_or_insert_with(|| CLIENT.to_owned());
            // Whether something happened is found out by reading it (`decide`); a driver that repeats a write
            // would answer for two.
            options.retry_reads = Some(false);
            options.retry_writes = Some(false);
            options.server_selection_timeout = Some(how.selection);
            options.connect_timeout = Some(how.connect);
            // What the URL says of these counts.
            options.max_idle_time.get_or_insert(how.idle);
            options.min_pool_size.get_or_insert(how.pool.0);
            options.max_pool_size.get_or_insert(how.pool.1);
            options.read_concern = Some(ReadConcern::majority());
            options.selection_criteria =
                Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
            let mut concern = WriteConcern::majority();
            concern.w = Some(Acknowledgment::Majority);
            concern.journal = Some(true);
            concern.w_timeout = Some(patience);
            options.write_concern = Some(concern);
            let name = options.default_database.clone().unwrap_or(how.database);
            let database = Client::with_options(options)?.database(&name);
            Ok((database, format!("the database {name} at {}", hosts.join(","))))
        };
        let opened = driver.wait(patience * 2, open).map_err(Failure::from);
        let opened = opened.and_then(|opened: Result<_, Error>| {
            opened.map_err(|error| Failure::Said(Box::new(error)))
        });
        let (database, at) = opened
            .map_err(|why| StoreError::Folder(format!("the URL of MongoDB is not good: {why}")))?;
        let (driver, spare, breaker) = (driver.clone(), Some(patience / SPARED), Arc::default());
        Ok(Self { database, driver, patience, spare, breaker, prefix, at })
    }

    /// Makes a call, and waits for it no longer than was said.
    pub(super) fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.driver.wait(self.patience * 2, call)?;
        done.map_err(|error| Failure::Said(Box::new(error)))
    }

    /// How long a call is waited for at most.
    pub(super) fn within(&self) -> Duration {
        self.patience * 2
    }

    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(&format!("{}{name}", self.prefix))
    }

    /// Lets a call begin, unless another was just given up.
    pub(super) fn begin(&self) -> Result<Begun<'_, String>, String> {
        self.breaker.begin(self.spare)
    }

    /// Reads, and tries again where nothing was heard: reading twice harms nothing.
    pub(super) fn read<T: Send + 'static, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let context = || format!("reading {}", self.at);
        let begun = self.begin().map_err(|why| unanswered(&context(), why))?;
        let mut done = self.call(call());
        for _ in 1..READS {
            match &done {
                Err(failure) if !failure.surely_not() => done = self.call(call()),
                _ => break,
            }
        }
        begun.end(done.as_ref().err().filter(|failure| failure.is_away()).map(ToString::to_string));
        done.map_err(|failure| failure.into_store_error(&context()))
    }

    /// A document by its `_id`, or these fields of it. `None` only when it is known not to be there.
    pub(super) fn find(
        &self,
        collection: &str,
        id: &Bson,
        fields: Option<&Document>,
    ) -> Result<Option<Document>, StoreError> {
        let found = self.read(|| self.look(collection, id, fields, ReadConcern::majority()));
        match found? {
            Some(found) => Ok(Some(found)),
            None => self.read(|| self.look(collection, id, fields, ReadConcern::linearizable())),
        }
    }

    /// A document by its `_id`, as one read sees it.
    pub(super) fn look(
        &self,
        collection: &str,
        id: &Bson,
        fields: Option<&Document>,
        concern: ReadConcern,
    ) -> impl Future<Output = Result<Option<Document>, Error>> + Send + use<> {
        let collection = self.collection(collection);
        let (id, fields, patience) = (id.clone(), fields.cloned(), self.patience);
        async move {
            let mut look = collection.find_one(doc! { "_id": id });
            if let Some(fields) = fields {
                look = look.projection(fields);
            }
            // Without a limit a linearizable read waits for a majority that may not be there.
            look.read_concern(concern).max_time(patience).await
        }
    }

    /// The first of the documents that a query finds, by their `_id`, as one read sees them.
    pub(super) fn first(
        &self,
        collection: &str,
        wanted: &Document,
        concern: ReadConcern,
    ) -> impl Future<Output = Result<Option<Document>, Error>> + Send + use<> {
        let (wanted, patience) = (wanted.clone(), self.patience);
        let collection = self.collection(collection);
        async move {
            let first = collection.find_one(wanted).sort(doc! { "_id": 1 });
            first.read_concern(concern).max_time(patience).await
        }
    }

    /// Documents in the order of their `_id`, as one read sees them: so many at most, and not much more than
    /// [`PAGE_BYTES`].
    pub(super) fn page(
        &self,
        collection: &str,
        wanted: Document,
        most: i64,
    ) -> impl Future<Output = Result<Vec<Document>, Error>> + Send + use<> {
        let collection = self.collection(collection);
        async move {
            let mut cursor = collection.find(wanted).sort(doc! { "_id": 1 }).limit(most).await?;
            let (mut page, mut bytes) = (Vec::new(), 0);
            while bytes < PAGE_BYTES && cursor.advance().await? {
                bytes += cursor.current().as_bytes().len();
                page.push(cursor.deserialize_current()?);
            }
            Ok(page)
        }
    }

    /// Looks at the server: whether it answers, keeps what it acknowledges, and has the right time.
    fn check(&self, clock: &Clock) -> Result<(), StoreError> {
        let at = &self.at;
        let hello =
            self.command(doc! { "hello": 1 }).map_err(|why| match why.is_authentication() {
                true => StoreError::Folder(format!("{at} refuses this user or password: {why}")),
                false => why.into_store_error(&format!("reaching {at}")),
            })?;
        let now = clock.now();
        let is_one = hello.get_str("setName").is_ok() || self.is_tested()?;
        let refuse = |why: &str| Err(StoreError::Folder(format!("{at} is {why}")));
        if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            return refuse(
                "behind the router of a sharded cluster, where nothing was tried: name a replica set",
            );
        }
        if !is_one {
            return refuse(
                "on a server of its own, which may lose what it acknowledged: start it with --replSet, \
                 run rs.initiate() once, and add ?replicaSet=NAME to its URL",
            );
        }
        if let Ok(theirs) = hello.get_datetime("localTime") {
            let ours = now.as_micros() / 1_000;
            let apart = Duration::from_millis(ours.abs_diff(theirs.timestamp_millis()));
            if apart > CLOCKS_APART {
                return Err(StoreError::Folder(format!(
                    "the clock of {at} and this machine's are {} seconds apart: set them right",
                    apart.as_secs(),
                )));
            }
        }
        self.check_concerns()
    }

    fn command(&self, command: Document) -> Result<Document, Failure> {
        let database = self.database.clone();
        self.call(async move { database.run_command(command).await })
    }

    /// Whether it is on the list of servers that were tried and have one primary by their making: FerretDB, over one
    /// PostgreSQL.
    fn is_tested(&self) -> Result<bool, StoreError> {
        let about = self.command(doc! { "buildInfo": 1 });
        let about = about.map_err(|why| why.into_store_error(&format!("asking {}", self.at)))?;
        Ok(about.get_document("ferretdb").is_ok())
    }

    /// Reads and writes as everything is read and written later, and changes nothing by it.
    fn check_concerns(&self) -> Result<(), StoreError> {
        let refused = |what: &str, why: Failure| match why.is_authentication() {
            true => StoreError::Folder(format!("{} does not let this user {what}: {why}", self.at)),
            false => StoreError::Folder(format!("{} does not {what}: {why}", self.at)),
        };
        let nothing = Bson::String("nothing".to_owned());
        for (what, concern) in [
            ("read what a majority has (readConcern majority)", ReadConcern::majority()),
            ("read what is decided (readConcern linearizable)", ReadConcern::linearizable()),
        ] {
            self.call(self.look(super::lock::LOCKS, &nothing, None, concern))
                .map_err(|why| refused(what, why))?;
        }
        let locks = self.collection(super::lock::LOCKS);
        self.call(async move { locks.delete_one(doc! { "_id": nothing }).await })
            .map(|_| ())
            .map_err(|why| refused("write to a majority's journals (w: majority, j: true)", why))
    }
}
