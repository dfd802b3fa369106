//! Room for the bodies of requests that are being answered. A port whose room is used up reads no
//! further, so clients wait, as they do with Celeborn's own worker.

use std::sync::Arc;

use dunlin_base::ByteCount;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes for one permit.
const PERMIT: usize = 1024;

/// Shared by the connections of a port.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    permits: usize,
}

/// What one request has taken; given back on drop.
pub(crate) struct Taken(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

impl Room {
    pub(crate) fn new(bytes: ByteCount) -> Self {
        let permits = permits(bytes.as_usize());
        Self { free: Arc::new(Semaphore::new(permits)), permits }
    }

    /// Waits for its turn. A body that is larger than all room takes all of it.
    pub(crate) async fn take(&self, bytes: usize) -> Taken {
        let count = u32::try_from(permits(bytes).min(self.permits)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Taken(Arc::clone(&self.free).acquire_many_owned(count).await.ok())
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> u64 {
        ((self.permits - self.free.available_permits()) * PERMIT) as u64
    }
}

fn permits(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT).clamp(1, Semaphore::MAX_PERMITS)
}
