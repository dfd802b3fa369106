//! A flag that is set once, for any number of tasks that wait for it.
//!
//! Not tokio's `watch`: that wakes its receivers in an order that it draws by itself, and a
//! simulation is to be a function of its seed.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Latch {
    set: AtomicBool,
    bell: Notify,
}

impl Latch {
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Sets it, and wakes all who wait in the order in which they came.
    pub(crate) fn set(&self) {
        if !self.set.swap(true, Ordering::AcqRel) {
            self.bell.notify_waiters();
        }
    }

    /// Returns once it is set.
    pub(crate) async fn wait(&self) {
        let mut rung = std::pin::pin!(self.bell.notified());
        // Registered before the look, so that it is not set unnoticed between the two.
        rung.as_mut().enable();
        if !self.is_set() {
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_and_those_who_come_later_see_it() {
        let latch = Latch::default();
        let mut early = std::pin::pin!(latch.wait());
        assert_eq!(early.as_mut().now_or_never(), None);
        latch.set();
        latch.set();
        assert_eq!((early.now_or_never(), latch.wait().now_or_never()), (Some(()), Some(())));
        assert!(latch.is_set());
    }
}
