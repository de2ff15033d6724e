//! Memory for uploads: bodies that are on their way into the store share a bounded amount, so that many
//! callers at once wait for each other instead of filling the machine. Streams have their own, because
//! a recording must not wait for somebody's slow batch.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What bodies that are taken whole may hold together: two of the largest batches.
const BODIES_BYTES: usize = 128 << 20;
/// What streams may hold together: eight at full speed, thousands that trickle.
const STREAMS_BYTES: usize = 64 << 20;
/// Permits are for blocks of this size: fewer numbers, and small bodies count for something.
const BLOCK: usize = 16 << 10;

/// The memory for one sort of uploads.
#[derive(Debug, Clone)]
pub struct Budget {
    blocks: usize,
    free: Arc<Semaphore>,
}

/// A part of it; dropping it gives it back.
#[derive(Debug)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Budget {
    /// For bodies that are taken whole.
    pub fn for_bodies() -> Self {
        Self::new(BODIES_BYTES)
    }

    /// For bodies that are taken piece by piece.
    pub fn for_streams() -> Self {
        Self::new(STREAMS_BYTES)
    }

    fn new(bytes: usize) -> Self {
        let blocks = bytes / BLOCK;
        Self { blocks, free: Arc::new(Semaphore::new(blocks)) }
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(BLOCK).clamp(1, self.blocks)).unwrap_or(u32::MAX)
    }

    /// Waits until so much is free.
    pub async fn take(&self, bytes: usize) -> Held {
        // It is never closed, so there is always a permit in the end.
        Held(self.free.clone().acquire_many_owned(self.permits(bytes)).await.ok())
    }

    /// Adds to what is held, if that needs no waiting: whoever holds some and waits for more would
    /// wait for others that do the same.
    pub fn more(&self, held: &mut Held, bytes: usize) -> bool {
        match (self.free.clone().try_acquire_many_owned(self.permits(bytes)), &mut held.0) {
            (Ok(permit), Some(held)) => {
                held.merge(permit);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::for_streams();
        let mut first = budget.take(STREAMS_BYTES - BLOCK).await;
        assert!(budget.more(&mut first, 1));
        let mut late = Box::pin(budget.take(1));
        let now = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(now, &mut late).await.is_err(), "everything is held");
        assert!(!budget.more(&mut first, 1), "whoever holds some does not wait for more");
        drop(first);
        late.await;
        // No body is too large to be let in alone.
        budget.take(usize::MAX).await;
    }
}
