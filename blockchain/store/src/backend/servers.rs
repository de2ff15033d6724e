//! The servers of a store that is not all in its folder: reached, and seen to do what is asked of them.
//!
//! Nothing is written to them here, but for an object that is put to see whether that works, and deleted. What is not
//! built into this program is refused like a server that is not there.

use std::fmt;
use std::sync::Arc;

use super::{Given, Keeper, Kept, Pulse};
use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::chain::ChainStore;
use crate::contract::fact_log::{FactLog, Position};
use crate::contract::lock::Lock;
#[cfg(feature = "mongodb")]
use crate::mongo::Reached;
#[cfg(any(feature = "mongodb", feature = "s3"))]
use crate::remote::Driver;

/// What was reached.
pub(crate) struct Servers {
    kept: Kept,
    given: Given,
    #[cfg(any(feature = "mongodb", feature = "s3"))]
    driver: Driver,
    #[cfg(feature = "mongodb")]
    database: Option<Reached>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({})", self.titles().join(", "))
    }
}

/// What the names of a service's collections begin with: two services may be given one database.
fn prefix(service: &str) -> &'static str {
    match service {
        "block-manager" => "block_manager.",
        _ => "data_chain.",
    }
}

fn not_built(what: &str) -> StoreError {
    StoreError::Folder(format!(
        "this program was built without {what}: use one that has it, or unset its variables"
    ))
}

impl Servers {
    /// Reaches all that is given to a service; `None` where all is in its folder.
    pub(crate) fn reach(given: &Given, service: &str) -> Result<Option<Arc<Self>>, StoreError> {
        if given.kept().is_here() {
            return Ok(None);
        }
        Self::reach_all(given.clone(), service).map(|servers| Some(Arc::new(servers)))
    }

    #[cfg(not(any(feature = "mongodb", feature = "s3")))]
    fn reach_all(_given: Given, _service: &str) -> Result<Self, StoreError> {
        Err(not_built("back-ends on other machines"))
    }

    #[cfg(any(feature = "mongodb", feature = "s3"))]
    fn reach_all(given: Given, service: &str) -> Result<Self, StoreError> {
        let driver = Driver::start().map_err(StoreError::io("starting threads for servers"))?;
        // Both drivers encrypt by the provider of the process. One that is installed already is the same.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        #[cfg(feature = "mongodb")]
        let database = match &given.mongo {
            None => None,
            Some(at) => Some(Reached::to(&driver, at, prefix(service), &given.clock)?),
        };
        #[cfg(not(feature = "mongodb"))]
        if given.mongo.is_some() {
            let _prefix = prefix(service);
            return Err(not_built("MongoDB"));
        }
        Ok(Self {
            kept: given.kept(),
            given,
            driver,
            #[cfg(feature = "mongodb")]
            database,
        })
    }

    /// What they keep of the store.
    pub(crate) fn kept(&self) -> Kept {
        self.kept
    }

    /// What people know them by: no name of a user, no password and no key.
    pub(crate) fn titles(&self) -> Vec<String> {
        let mut titles = Vec::new();
        #[cfg(feature = "mongodb")]
        titles.extend(self.database.as_ref().map(|database| database.title().to_owned()));
        #[cfg(feature = "s3")]
        titles.extend(self.given.bucket.as_ref().map(crate::s3::Settings::title));
        titles
    }

    /// Whether each answers now. It waits for their answers.
    pub(crate) fn pulse(&self) -> Vec<Pulse> {
        let mut found = Vec::new();
        let mut note = |keeper, title, asked: Result<(), StoreError>| {
            found.push(Pulse { keeper, title, fault: asked.err().map(|why| why.to_string()) });
        };
        #[cfg(feature = "mongodb")]
        if let Some(database) = &self.database {
            note(Keeper::MongoDb, database.title().to_owned(), database.ping());
        }
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.given.bucket {
            let asked = crate::s3::opening::ask(bucket, self.driver.clone());
            note(Keeper::S3, bucket.title(), asked);
        }
        found
    }

    #[cfg(feature = "mongodb")]
    fn database(&self) -> Result<&Reached, StoreError> {
        self.database.as_ref().ok_or_else(|| not_built("MongoDB"))
    }

    /// What people know the database by.
    #[cfg(feature = "mongodb")]
    pub(crate) fn database_title(&self) -> &str {
        self.database.as_ref().map_or("the database", Reached::title)
    }

    /// What people know the database by.
    #[cfg(not(feature = "mongodb"))]
    pub(crate) fn database_title(&self) -> &str {
        "the database"
    }

    /// The values that the database has once, if there is a database.
    #[cfg(feature = "mongodb")]
    pub(crate) fn lock(&self) -> Option<Box<dyn Lock>> {
        Some(Box::new(self.database.as_ref()?.lock()))
    }

    /// The values that the database has once, if there is a database.
    #[cfg(not(feature = "mongodb"))]
    pub(crate) fn lock(&self) -> Option<Box<dyn Lock>> {
        None
    }

    /// The id of the store that the database is, if it is one.
    pub(crate) fn store(&self) -> Result<Option<[u8; 16]>, StoreError> {
        #[cfg(feature = "mongodb")]
        return self.database()?.store();
        #[cfg(not(feature = "mongodb"))]
        Err(not_built("MongoDB"))
    }

    /// Whether no commit is in the database.
    pub(crate) fn is_unused(&self) -> Result<bool, StoreError> {
        #[cfg(feature = "mongodb")]
        return self.database()?.is_unused();
        #[cfg(not(feature = "mongodb"))]
        Err(not_built("MongoDB"))
    }

    /// Makes the database this store, unless it is one; returns which it is.
    pub(crate) fn settle(&self, new: [u8; 16]) -> Result<[u8; 16], StoreError> {
        #[cfg(feature = "mongodb")]
        {
            if let Some(there) = self.store()? {
                return Ok(there);
            }
            match self.database()?.open(new) {
                Ok(_) => Ok(new),
                // Another process was faster, and its store is the one.
                Err(refused) => self.store()?.ok_or(refused),
            }
        }
        #[cfg(not(feature = "mongodb"))]
        {
            let _never = new;
            Err(not_built("MongoDB"))
        }
    }

    /// The log of this store, and where it begins.
    pub(crate) fn log(&self, store: [u8; 16]) -> Result<(Arc<dyn FactLog>, Position), StoreError> {
        #[cfg(feature = "mongodb")]
        {
            let log = self.database()?.open(store)?.log();
            let start = log.start();
            Ok((Arc::new(log), start))
        }
        #[cfg(not(feature = "mongodb"))]
        {
            let _never = store;
            Err(not_built("MongoDB"))
        }
    }

    /// The blocks of this store.
    pub(crate) fn chain(&self, store: [u8; 16]) -> Result<Box<dyn ChainStore>, StoreError> {
        #[cfg(feature = "mongodb")]
        return Ok(Box::new(self.database()?.open(store)?.chain()?));
        #[cfg(not(feature = "mongodb"))]
        {
            let _never = store;
            Err(not_built("MongoDB"))
        }
    }

    /// The store whose chunks the bucket has, if it has any store's.
    pub(crate) fn bucket_of(&self) -> Result<Option<[u8; 16]>, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.given.bucket {
            return crate::s3::opening::store_there(bucket, self.driver.clone());
        }
        Ok(None)
    }

    /// Refuses a bucket where something does not work that is going to be needed. For a reader that is listing alone:
    /// nothing is put.
    pub(crate) fn try_bucket(&self, reads: bool) -> Result<(), StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.given.bucket {
            let try_out = match reads {
                true => crate::s3::opening::ask,
                false => crate::s3::opening::try_out,
            };
            return try_out(bucket, self.driver.clone());
        }
        let _never = reads;
        Ok(())
    }

    /// The chunks of this store, in a bucket that was tried. A reader puts nothing.
    pub(crate) fn blobs(&self, store: [u8; 16], reads: bool) -> Result<Arc<dyn Blobs>, StoreError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.given.bucket {
            let open = match reads {
                true => crate::s3::opening::open_to_read,
                false => crate::s3::opening::open_tried,
            };
            return Ok(Arc::new(open(bucket, store, self.driver.clone())?));
        }
        let _never = (store, reads);
        Err(not_built("S3"))
    }
}
