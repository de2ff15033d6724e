//! Calls to a bucket: each is tried until it works, is refused, or takes longer than it may.
//!
//! Trying again is always right here. An object is put under a key that nothing else is ever put under, and always with
//! the same bytes, so a second put changes nothing; and what is deleted twice is gone once. So it does not matter
//! whether the first try happened or only its answer was lost. The driver's own tries are off: it would not try again
//! what timed out, and knows no deadline.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};

use super::failure::{Failure, Kind};
use crate::crypt::random;
use crate::remote::Driver;
use crate::remote::breaker::Breaker;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A call, with all of its tries and the pauses between them. For each 16 MiB that it moves it gets as much again.
    pub call: Duration,
    /// One try, so that a server that stalls once does not use up the call.
    pub attempt: Duration,
    /// The first pause is this long at most, each next one twice as long.
    pub pause: Duration,
    /// So often it is tried at most.
    pub tries: u32,
    /// After a call was given up, so long none is made; without it each call finds out by itself.
    pub spare: Option<Duration>,
}

/// No pause between two tries is longer.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// After a call was given up, none is made for this part of the time that it may take.
const SPARED: u32 = 4;

/// Bytes that a call moves within its patience.
const PACE_BYTES: u64 = 16 << 20;

/// Objects that are listed with one call: as many as a server gives at once.
const PAGE: usize = 1_000;

impl Patience {
    /// Of calls that may take so long.
    pub fn within(deadline: Duration) -> Self {
        let pause = Duration::from_millis(100);
        let (attempt, spare) = (deadline / 2, Some(deadline / SPARED));
        Self { call: deadline, attempt, pause, tries: u32::MAX, spare }
    }

    fn to_move(self, bytes: u64) -> Self {
        let times = u32::try_from(bytes / PACE_BYTES).unwrap_or(u32::MAX).saturating_add(1);
        let longer = |time: Duration| time.saturating_mul(times);
        Self { call: longer(self.call), attempt: longer(self.attempt), ..self }
    }

    /// How long to wait after so many tries: anything up to twice as long as the last time, so that those who were
    /// turned away together do not come back together.
    fn pause_after(self, tries: u32) -> Duration {
        let most = self.pause.saturating_mul(1 << tries.min(16)).min(PAUSE_MAX);
        // Without randomness the pause is the longest.
        let drawn = random().map_or(u32::MAX, u32::from_le_bytes);
        most.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }
}

/// A bucket, from a prefix on.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    driver: Driver,
    prefix: Path,
    patience: Patience,
    breaker: Breaker<Failure>,
    /// What people know it by.
    pub title: String,
}

/// A part of an object, and how large all of it is.
pub struct Part {
    /// The bytes.
    pub bytes: Bytes,
    /// Bytes of the whole object.
    pub of: u64,
}

impl Bucket {
    /// What is below this prefix.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        driver: Driver,
        prefix: Path,
        patience: Patience,
        title: String,
    ) -> Self {
        Self { objects, driver, prefix, patience, breaker: Breaker::default(), title }
    }

    fn path(&self, folder: &str, name: &str) -> Path {
        self.prefix.clone().join(folder).join(name)
    }

    /// Puts an object. Once this returns well, it is there.
    pub fn put(&self, folder: &str, name: &str, bytes: Bytes) -> Result<(), Failure> {
        self.put_within(self.patience, folder, name, bytes)
    }

    /// Puts an object, and does not try again if that fails.
    pub fn put_once(&self, folder: &str, name: &str, bytes: Bytes) -> Result<(), Failure> {
        self.put_within(Patience { tries: 1, ..self.patience }, folder, name, bytes)
    }

    fn put_within(
        &self,
        patience: Patience,
        folder: &str,
        name: &str,
        bytes: Bytes,
    ) -> Result<(), Failure> {
        let path = self.path(folder, name);
        self.call(patience.to_move(bytes.len() as u64), move |objects| {
            let (path, bytes) = (path.clone(), bytes.clone());
            async move {
                let put = objects.put(&path, bytes.into()).await;
                put.map(|_| ()).map_err(|error| Failure::of(&error))
            }
        })
    }

    /// Reads a part of an object. The part is as long as asked for, or the object ends before.
    pub fn get(&self, folder: &str, name: &str, part: Range<u64>) -> Result<Part, Failure> {
        let path = self.path(folder, name);
        let asked = part.end.saturating_sub(part.start);
        self.call(self.patience.to_move(asked), move |objects| {
            let (path, part) = (path.clone(), part.clone());
            async move {
                let range = Some(GetRange::Bounded(part.clone()));
                let options = GetOptions { range, ..GetOptions::default() };
                let failed = |error| Failure::of(&error);
                let found = objects.get_opts(&path, options).await.map_err(failed)?;
                let of = found.meta.size;
                let bytes = found.bytes().await.map_err(failed)?;
                let there = part.end.min(of).saturating_sub(part.start);
                match bytes.len() as u64 == there {
                    true => Ok(Part { bytes, of }),
                    false => Err(Failure::unclear(format!(
                        "{} bytes came instead of {there}",
                        bytes.len()
                    ))),
                }
            }
        })
    }

    /// Deletes an object. That it is not there is as good.
    pub fn delete(&self, folder: &str, name: &str) -> Result<(), Failure> {
        self.delete_within(self.patience, folder, name)
    }

    /// Deletes an object, and does not try again if that fails.
    pub fn delete_once(&self, folder: &str, name: &str) -> Result<(), Failure> {
        self.delete_within(Patience { tries: 1, ..self.patience }, folder, name)
    }

    fn delete_within(&self, patience: Patience, folder: &str, name: &str) -> Result<(), Failure> {
        let path = self.path(folder, name);
        let deleted = self.call(patience, move |objects| {
            let path = path.clone();
            async move { objects.delete(&path).await.map_err(|error| Failure::of(&error)) }
        });
        match deleted {
            Err(failure) if failure.kind == Kind::Absent => Ok(()),
            deleted => deleted,
        }
    }

    /// The objects of a folder, by name, with their bytes; those behind a name only, if one is given.
    pub fn list(&self, folder: &str, behind: Option<&str>) -> Result<Vec<(String, u64)>, Failure> {
        let mut found: Vec<(String, u64)> = Vec::new();
        loop {
            let last = found.last().map(|(name, _)| name.as_str()).or(behind);
            let page = self.page(folder, last, PAGE)?;
            let is_last = page.len() < PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
    }

    /// The next objects of a folder behind a name, so many at most.
    pub fn page(
        &self,
        folder: &str,
        behind: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let folder_of = self.prefix.clone().join(folder);
        let behind = behind.map(|name| self.path(folder, name));
        self.call(self.patience, move |objects| {
            let (folder, behind) = (folder_of.clone(), behind.clone());
            async move {
                let listed = match behind {
                    None => objects.list(Some(&folder)),
                    Some(behind) => objects.list_with_offset(Some(&folder), &behind),
                };
                let page: Vec<_> = listed
                    .take(most)
                    .map_ok(|object| {
                        (object.location.filename().unwrap_or_default().to_owned(), object.size)
                    })
                    .try_collect()
                    .await
                    .map_err(|error| Failure::of(&error))?;
                Ok(page)
            }
        })
    }

    /// Tries until it works, is refused, or takes too long; not at all where another call was just given up.
    fn call<T, F>(
        &self,
        patience: Patience,
        once: impl Fn(Arc<dyn ObjectStore>) -> F + Send + Sync + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let begun = self.breaker.begin(patience.spare)?;
        let done = self.try_call(patience, once);
        begun.end(done.as_ref().err().filter(|failure| failure.may_pass()).cloned());
        done
    }

    /// Tries until it works, is refused, or takes too long.
    fn try_call<T, F>(
        &self,
        patience: Patience,
        once: impl Fn(Arc<dyn ObjectStore>) -> F + Send + Sync + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let objects = self.objects.clone();
        let tried = self.driver.wait(patience.call, async move {
            let begun = Instant::now();
            for tries in 0..patience.tries {
                let left = patience.call.saturating_sub(begun.elapsed()).min(patience.attempt);
                let failure = match tokio::time::timeout(left, once(objects.clone())).await {
                    Ok(Ok(done)) => return Ok(done),
                    Ok(Err(failure)) => failure,
                    Err(_) => Failure::no_answer(left),
                };
                let pause = patience.pause_after(tries);
                let is_last = tries + 1 == patience.tries;
                if is_last || !failure.may_pass() || begun.elapsed() + pause >= patience.call {
                    return Err(failure);
                }
                tracing::debug!(%failure, tries, "a call to the bucket is tried again");
                tokio::time::sleep(pause).await;
            }
            Err(Failure::no_answer(patience.call))
        });
        tried.unwrap_or_else(|none| Err(Failure::no_answer(none.within)))
    }
}
