//! Memory for uploads: bodies that are on their way into the store share one bounded amount, so that
//! many callers at once wait for each other instead of filling the machine.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all uploads together may hold. Three of the largest batches, or two dozen streams at full
/// speed.
const BYTES: usize = 192 << 20;
/// Permits are for blocks of this size: fewer numbers, and small bodies count for something.
const BLOCK: usize = 16 << 10;

/// The memory for uploads.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// A part of it; dropping it gives it back.
#[derive(Debug)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BYTES / BLOCK)))
    }
}

fn blocks(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK).clamp(1, BYTES / BLOCK)).unwrap_or(u32::MAX)
}

impl Budget {
    /// Waits until so much is free.
    pub async fn take(&self, bytes: usize) -> Held {
        // It is never closed, so there is always a permit in the end.
        Held(self.0.clone().acquire_many_owned(blocks(bytes)).await.ok())
    }

    /// Adds to what is held, if that needs no waiting: whoever holds some and waits for more would
    /// wait for others that do the same.
    pub fn more(&self, held: &mut Held, bytes: usize) -> bool {
        match (self.0.clone().try_acquire_many_owned(blocks(bytes)), &mut held.0) {
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
        let budget = Budget::default();
        let mut first = budget.take(BYTES - BLOCK).await;
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
