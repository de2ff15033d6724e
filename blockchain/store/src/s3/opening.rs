//! How a bucket is reached, and what has to work before anything is kept there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use zeroize::Zeroizing;

use super::bucket::{Bucket, Patience};
use super::failure::{Failure, Kind};
use super::{S3Blobs, numbers};
use crate::StoreError;
use crate::crypt::random;
use crate::remote::Driver;

/// Where the bucket is, and who asks.
#[derive(Clone)]
pub struct Settings {
    /// The server's address: `https://` or `http://`, a name and perhaps a port.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region, which signatures name. `us-east-1` where it is empty, as servers with a single one expect.
    pub region: String,
    /// What the names of all objects begin with, without the `/` behind it. One store's alone.
    pub prefix: String,
    /// Who asks.
    pub access_key: String,
    /// What requests are signed with.
    pub secret_key: Zeroizing<String>,
    /// Whether the bucket is named in the path, as most servers but AWS expect, or before the server's name.
    pub path_style: bool,
    /// How long a call may take, all of its tries together. One that moves more than 16 MiB gets as much again for
    /// each further 16 MiB.
    pub deadline: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} as {})", self.title(), self.access_key)
    }
}

/// A connection is there so soon, or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The folder of what is put and deleted again to see that this works.
const PROBE: &str = "probe";

impl Settings {
    /// What people know the place by.
    pub fn title(&self) -> String {
        format!("bucket {} of {}", self.bucket, self.endpoint)
    }

    /// The address as the driver wants it: with the bucket in front where it is not in the path.
    fn address(&self) -> Result<String, StoreError> {
        let endpoint = self.endpoint.trim_end_matches('/');
        let parts = endpoint.split_once("://");
        match parts.filter(|(scheme, _)| matches!(*scheme, "https" | "http")) {
            Some(_) if self.path_style => Ok(endpoint.to_owned()),
            Some((scheme, host)) => Ok(format!("{scheme}://{}.{host}", self.bucket)),
            None => Err(StoreError::Folder(format!(
                "{endpoint} is no address of an S3 server: it begins with https:// or http://"
            ))),
        }
    }

    fn client(&self, patience: Patience) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let address = self.address()?;
        // How long a try may take is said for each: large objects have longer.
        let options = ClientOptions::new()
            .with_allow_http(address.starts_with("http://"))
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_WITHIN.min(patience.attempt));
        let region = if self.region.is_empty() { "us-east-1" } else { &self.region };
        let built = AmazonS3Builder::new()
            .with_endpoint(address)
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_access_key_id(&self.access_key)
            .with_secret_access_key(self.secret_key.as_str())
            .with_virtual_hosted_style_request(!self.path_style)
            // Servers that do not know conditional puts ignore them.
            .with_conditional_put(S3ConditionalPut::Disabled)
            // Not every server has it.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_client_options(options)
            .build();
        match built {
            Ok(client) => Ok(Arc::new(client)),
            Err(error) => Err(StoreError::Folder(format!("{}: {error}", self.title()))),
        }
    }
}

/// Opens a store's chunks in a bucket, once everything works there that is going to be needed.
///
/// Callers install the process's provider of cryptography for TLS before.
pub fn open(settings: &Settings, store: [u8; 16], driver: Driver) -> Result<S3Blobs, StoreError> {
    let bucket = connect(settings, driver)?;
    probe(&bucket, settings)?;
    S3Blobs::over(bucket, store)
}

/// The same of a bucket that was tried out.
pub(crate) fn open_tried(
    settings: &Settings,
    store: [u8; 16],
    driver: Driver,
) -> Result<S3Blobs, StoreError> {
    S3Blobs::over(connect(settings, driver)?, store)
}

/// Opens a store's chunks to be read: nothing is put.
pub(crate) fn open_to_read(
    settings: &Settings,
    store: [u8; 16],
    driver: Driver,
) -> Result<S3Blobs, StoreError> {
    S3Blobs::to_read(connect(settings, driver)?, store)
}

/// Whether the bucket answers.
pub(crate) fn ask(settings: &Settings, driver: Driver) -> Result<(), StoreError> {
    let asked = connect(settings, driver)?.page(PROBE, None, 1);
    asked.map(drop).map_err(|failure| explain(settings, "listed", failure))
}

/// Refuses a bucket where something does not work that is going to be needed. What is put for that is deleted again.
pub(crate) fn try_out(settings: &Settings, driver: Driver) -> Result<(), StoreError> {
    probe(&connect(settings, driver)?, settings)
}

/// The store whose numbers of units were taken last below the prefix; `None` where none ever were.
pub(crate) fn store_there(
    settings: &Settings,
    driver: Driver,
) -> Result<Option<[u8; 16]>, StoreError> {
    numbers::store_there(&connect(settings, driver)?)
}

/// Makes ready to call; nothing is called yet.
pub(super) fn connect(settings: &Settings, driver: Driver) -> Result<Bucket, StoreError> {
    connect_within(settings, driver, Patience::within(settings.deadline))
}

/// The same, with calls that may take so long.
pub(super) fn connect_within(
    settings: &Settings,
    driver: Driver,
    patience: Patience,
) -> Result<Bucket, StoreError> {
    let objects = settings.client(patience)?;
    let prefix = Path::parse(&settings.prefix).map_err(|error| {
        StoreError::Folder(format!("{} is no prefix of an S3 store: {error}", settings.prefix))
    })?;
    Ok(Bucket::new(objects, driver, prefix, patience, settings.title()))
}

/// Lists, puts, reads and deletes something.
fn probe(bucket: &Bucket, settings: &Settings) -> Result<(), StoreError> {
    let refused = |what: &'static str| move |failure| explain(settings, what, failure);
    bucket.page(PROBE, None, 1).map_err(refused("listed"))?;
    let name = hex::encode(random::<8>()?);
    let content = Bytes::from_static(b"Lucid was here to see whether it may write.\n");
    bucket.put(PROBE, &name, content.clone()).map_err(refused("written to"))?;
    let part = bucket.get(PROBE, &name, 0..content.len() as u64).map_err(refused("read"))?;
    if part.bytes != content {
        return Err(StoreError::Folder(format!(
            "{} gives other bytes back than were put: it cannot keep anything",
            settings.title()
        )));
    }
    bucket.delete(PROBE, &name).map_err(refused("deleted from"))
}

/// Says what is to be done about what went wrong.
fn explain(settings: &Settings, what: &str, failure: Failure) -> StoreError {
    let Settings { endpoint, bucket, access_key, .. } = settings;
    let sentence = match failure.kind {
        Kind::Unreachable | Kind::NoAnswer => format!(
            "{endpoint} does not answer ({failure}): it is to run there, and the endpoint is to be right"
        ),
        Kind::Absent | Kind::NoBucket => {
            format!("there is no bucket {bucket} at {endpoint}: make it first ({failure})")
        }
        Kind::WrongKey => {
            format!("{endpoint} does not know the access key {access_key} ({failure})")
        }
        Kind::WrongSecret => {
            format!("the secret key is not that of the access key {access_key} ({failure})")
        }
        Kind::Forbidden => format!(
            "the access key {access_key} does not allow bucket {bucket} to be {what}: it has to allow \
             to list, get, put and delete ({failure})"
        ),
        _ => format!("bucket {bucket} at {endpoint} cannot be {what}: {failure}"),
    };
    match failure.kind {
        Kind::Unreachable | Kind::NoAnswer | Kind::Throttled | Kind::Unclear => StoreError::Io {
            context: "opening the store's chunks".into(),
            reason: sentence,
            kind: failure.into_io().kind(),
        },
        _ => StoreError::Folder(sentence),
    }
}
