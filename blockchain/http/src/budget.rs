//! Memory for what requests bring and what replies hold. All bodies of a service share a bounded
//! amount, so that many callers at once wait for each other, or are refused, instead of filling the
//! machine.
//!
//! It is taken for bytes that came, never for bytes that are announced: a caller that sends nothing
//! keeps nobody out. Bodies that each hold a part cannot wait for each other for ever either: one of
//! them, whichever asked first, goes on beyond the shared amount, and the others wait for a bounded
//! time. So all of them together hold at most the shared amount and one largest body.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use lucid_api::problem::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::reply::{Refusal, Reply};
use crate::telemetry::Page;

/// What bodies may hold together, and what large replies may: two of the largest batches.
pub const BODIES_BYTES: usize = 128 << 20;
/// Every body has so much for nothing, so that small requests never wait for large ones. Times the
/// requests in work, that is 32 MiB.
pub const FREE_BYTES: usize = 16 << 10;
/// How long a body waits for memory before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// Permits are for blocks of this size.
const BLOCK: usize = 16 << 10;

/// The memory for one sort of bytes. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Budget {
    blocks: usize,
    patience: Duration,
    free: Arc<Semaphore>,
    /// The body that has this goes on, however little is free.
    first: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BODIES_BYTES)
    }
}

impl Budget {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        let blocks = bytes / BLOCK;
        let (free, first) = (Semaphore::new(blocks), Semaphore::new(1));
        Self { blocks, patience: PATIENCE, free: free.into(), first: first.into() }
    }

    /// Lets bodies wait so long for memory.
    pub fn patient_for(mut self, at_most: Duration) -> Self {
        self.patience = at_most;
        self
    }

    /// Writes onto a page of `/metrics` how much is taken of the memory for what is called so.
    pub fn show(&self, page: &mut Page, service: &str, sort: &str) {
        let of = [("service", service), ("of", sort)];
        let bytes = |blocks: usize| blocks.saturating_mul(BLOCK) as f64;
        let taken = self.blocks.saturating_sub(self.free.available_permits());
        let help = "Bytes that are taken of the memory for a sort of bytes.";
        page.gauge("lucid_http_memory_taken_bytes", help, &of, bytes(taken));
        let help = "Bytes of the memory for a sort of bytes; one more goes on beyond it.";
        page.gauge("lucid_http_memory_bytes", help, &of, bytes(self.blocks));
    }

    /// Nothing is taken yet.
    pub fn nothing(&self) -> HeldMemory {
        HeldMemory { of: self.clone(), bytes: 0, blocks: 0, part: None, first: None }
    }
}

/// What one body holds; dropping it gives it back.
#[derive(Debug)]
pub struct HeldMemory {
    of: Budget,
    bytes: usize,
    /// Blocks in `part`.
    blocks: usize,
    part: Option<OwnedSemaphorePermit>,
    first: Option<OwnedSemaphorePermit>,
}

impl HeldMemory {
    /// Takes more, for bytes that came. Waits for others at most a few seconds.
    pub async fn take(&mut self, bytes: usize) -> Reply<()> {
        if self.take_now(bytes) {
            return Ok(());
        }
        let lacking = self.lacking(bytes);
        let (free, first) = (self.of.free.clone(), self.of.first.clone());
        // More than there is would never come, and others would wait behind it.
        let may_come = lacking <= self.of.blocks;
        let wait = async {
            tokio::select! {
                Ok(first) = first.acquire_owned() => (None, Some(first)),
                Ok(part) = free.acquire_many_owned(permits(lacking)), if may_come => {
                    (Some(part), None)
                }
                // Neither is ever closed.
                else => (None, None),
            }
        };
        match tokio::time::timeout(self.of.patience, wait).await {
            Ok((Some(part), _)) => self.add(part, lacking),
            Ok((_, Some(first))) => self.first = Some(first),
            _ => {
                let detail = "other requests take all the memory there is for this";
                return Err(Refusal::new(ErrorCode::Busy, detail));
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Takes more, if that needs no waiting.
    pub fn take_now(&mut self, bytes: usize) -> bool {
        let lacking = self.lacking(bytes);
        if lacking > 0 {
            let part = match lacking <= self.of.blocks {
                true => self.of.free.clone().try_acquire_many_owned(permits(lacking)).ok(),
                false => None,
            };
            let Some(part) = part else { return false };
            self.add(part, lacking);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// Bytes that stay counted for as long as they are in memory, regardless of which code holds them.
    pub fn around(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Around { bytes, _held: self })
    }

    /// Blocks that have to be had for so many more bytes.
    fn lacking(&self, bytes: usize) -> usize {
        if self.first.is_some() {
            return 0;
        }
        let counted = self.bytes.saturating_add(bytes).saturating_sub(FREE_BYTES);
        counted.div_ceil(BLOCK).saturating_sub(self.blocks)
    }

    fn add(&mut self, part: OwnedSemaphorePermit, blocks: usize) {
        self.blocks += blocks;
        match &mut self.part {
            Some(held) => held.merge(part),
            None => self.part = Some(part),
        }
    }
}

fn permits(blocks: usize) -> u32 {
    u32::try_from(blocks).unwrap_or(u32::MAX)
}

struct Around {
    bytes: Vec<u8>,
    _held: HeldMemory,
}

impl AsRef<[u8]> for Around {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Says of a reply, in its extensions, that the code that made it has counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted;

tokio::task_local! {
    static KEPT: KeptMemory;
}

/// What a request holds until it is answered; for as long as work on it goes on, if that is longer.
/// Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct KeptMemory(Arc<Mutex<Vec<HeldMemory>>>);

/// Keeps this with the request that is in work.
pub fn keep(held: HeldMemory) {
    // Outside of a request nobody counts.
    let _outside = KEPT.try_with(|kept| {
        kept.0.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    });
}

/// What the request in work holds, for work that goes on after its caller has left.
pub fn kept() -> KeptMemory {
    KEPT.try_with(Clone::clone).unwrap_or_default()
}

/// Answers a request; what was kept for it is given back afterwards.
pub(crate) async fn storage<F: Future>(answer: F) -> F::Output {
    KEPT.scope(KeptMemory::default(), answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 1 << 20;

    #[tokio::test]
    async fn whoever_waits_beside_the_first_is_refused_in_time_and_served_once_there_is_room() {
        let budget = Budget::new(ALL).patient_for(Duration::from_millis(20));
        let mut large = budget.nothing();
        large.take(ALL + FREE_BYTES).await.unwrap();
        let mut first = budget.nothing();
        first.take(FREE_BYTES).await.unwrap();
        first.take(10 * ALL).await.unwrap();
        let mut late = budget.nothing();
        assert!(late.take_now(FREE_BYTES), "small bodies never wait");
        assert!(!late.take_now(1));
        assert_eq!(late.take(1).await.unwrap_err().code(), ErrorCode::Busy);
        drop(large);
        late.take(ALL).await.unwrap();
        drop((late, first));
        let mut all = budget.nothing();
        assert!(all.take_now(ALL + FREE_BYTES), "everything was given back");
    }

    #[tokio::test]
    async fn bodies_that_each_hold_a_part_come_to_an_end() {
        let budget = Budget::new(ALL);
        let body = |budget: Budget| async move {
            let mut held = budget.nothing();
            for _ in 0..16 {
                held.take(ALL / 16).await?;
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Refusal>(())
        };
        let bodies: Vec<_> = (0..9).map(|_| tokio::spawn(body(budget.clone()))).collect();
        for one in bodies {
            one.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_sent_stays_counted_while_it_is_in_memory() {
        let budget = Budget::new(ALL);
        let mut held = budget.nothing();
        held.take(ALL + FREE_BYTES).await.unwrap();
        let mut bytes = held.around(vec![1; 100]);
        let rest = bytes.split_off(90);
        drop(bytes);
        assert!(!budget.nothing().take_now(ALL));
        drop(rest);
        assert!(budget.nothing().take_now(ALL));
    }
}
