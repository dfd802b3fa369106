//! How many bytes a read may still send, and whether anybody wants them.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The credit of one read. One task waits for it, the task of the connection adds to it.
pub(super) struct Credit {
    left: Mutex<u64>,
    added: Notify,
    cancelled: Notify,
}

impl Credit {
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: Mutex::new(bytes), added: Notify::new(), cancelled: Notify::new() }
    }

    /// Bytes that may be sent now.
    pub(super) fn left(&self) -> u64 {
        *self.left.lock()
    }

    pub(super) fn add(&self, bytes: u64) {
        let mut left = self.left.lock();
        *left = left.saturating_add(bytes);
        self.added.notify_one();
    }

    /// Returns once there is credit for this many bytes. Bounded by the life of the connection:
    /// how fast a reader consumes is its own business.
    pub(super) async fn at_least(&self, bytes: u64) {
        while self.left() < bytes {
            self.added.notified().await;
        }
    }

    /// Uses credit that [`Credit::left`] showed.
    pub(super) fn spend(&self, bytes: u64) {
        let mut left = self.left.lock();
        *left = left.saturating_sub(bytes);
    }

    pub(super) fn cancel(&self) {
        self.cancelled.notify_one();
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}
