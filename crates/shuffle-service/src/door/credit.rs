//! How many bytes a read may still send, and whether anybody wants them.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The credit of one read. The task of the read waits for it, the task of the connection adds to it.
pub(super) struct Credit {
    amounts: Mutex<Amounts>,
    changed: Notify,
    cancelled: Notify,
}

struct Amounts {
    /// Bytes that may be sent now.
    left: u64,
    /// As many of them as are meant for blocks that are looked up and not sent yet.
    promised: u64,
}

impl Credit {
    pub(super) fn new(bytes: u64) -> Self {
        let amounts = Mutex::new(Amounts { left: bytes, promised: 0 });
        Self { amounts, changed: Notify::new(), cancelled: Notify::new() }
    }

    /// Bytes that may be sent now.
    pub(super) fn left(&self) -> u64 {
        self.amounts.lock().left
    }

    /// Nothing is looked up that was not sent.
    pub(super) fn is_unpromised(&self) -> bool {
        self.amounts.lock().promised == 0
    }

    pub(super) fn add(&self, bytes: u64) {
        self.change(|amounts| amounts.left = amounts.left.saturating_add(bytes));
    }

    /// Keeps credit for a block that is to be looked up. False if there is not as much.
    pub(super) fn try_promise(&self, bytes: u64) -> bool {
        let mut amounts = self.amounts.lock();
        let enough = amounts.left.saturating_sub(amounts.promised) >= bytes;
        amounts.promised += if enough { bytes } else { 0 };
        enough
    }

    /// Such a block does not come.
    pub(super) fn give_back(&self, bytes: u64) {
        self.change(|amounts| amounts.promised = amounts.promised.saturating_sub(bytes));
    }

    /// Returns once there is credit for this many bytes. Bounded by the life of the connection:
    /// how fast a reader consumes is its own business.
    pub(super) async fn at_least(&self, bytes: u64) {
        self.until(|| self.left() >= bytes).await;
    }

    /// Returns once this is so; it is looked at whenever something changed.
    pub(super) async fn until(&self, mut so: impl FnMut() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that a change after it is not missed.
            changed.as_mut().enable();
            if so() {
                return;
            }
            changed.await;
        }
    }

    /// Uses credit that [`Credit::left`] showed, or that was promised.
    pub(super) fn spend(&self, bytes: u64) {
        self.change(|amounts| {
            amounts.left = amounts.left.saturating_sub(bytes);
            amounts.promised = amounts.promised.saturating_sub(bytes);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Amounts)) {
        change(&mut self.amounts.lock());
        self.changed.notify_waiters();
    }

    pub(super) fn cancel(&self) {
        self.cancelled.notify_one();
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }
}
