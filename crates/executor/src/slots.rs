//! Task slots: a count with a wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// The slots of one executor. Its claim loop takes, a claim that follows another may take more;
/// tasks give back by dropping.
#[derive(Debug)]
pub(crate) struct Slots {
    free: AtomicU32,
    freed: Notify,
}

/// Some slots, given back on drop.
#[derive(Debug)]
pub(crate) struct Taken {
    slots: Arc<Slots>,
    count: u32,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Arc<Self> {
        Arc::new(Self { free: AtomicU32::new(count.max(1)), freed: Notify::new() })
    }

    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Acquire)
    }

    /// As many slots as are free, at most `wanted`, at least one (the caller saw one free).
    pub(crate) fn take(self: &Arc<Self>, wanted: u32) -> Taken {
        let mut count = 0;
        let _ = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
            count = wanted.min(free);
            Some(free - count)
        });
        Taken { slots: Arc::clone(self), count }
    }

    /// Completes after slots were given back; slots given back since the future was made count.
    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

impl Taken {
    /// Takes more of the free slots, up to `wanted` in all, and never the last one: the claim loop
    /// may have seen it free.
    pub(crate) fn grow(&mut self, wanted: u32) {
        let more = |free: u32| wanted.saturating_sub(self.count).min(free.saturating_sub(1));
        let left = |free: u32| Some(free - more(free));
        let before = self.slots.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, left);
        self.count += more(before.unwrap_or(0));
    }

    pub(crate) fn count(&self) -> u32 {
        self.count.max(1)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.slots.free.fetch_add(self.count, Ordering::AcqRel);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_leaves_the_last_slot() {
        let slots = Slots::new(4);
        let mut one = slots.take(1);
        one.grow(8);
        assert_eq!((one.count(), slots.free()), (3, 1));
        one.grow(8);
        assert_eq!((one.count(), slots.free()), (3, 1));
        let last = slots.take(2);
        assert_eq!((last.count(), slots.free()), (1, 0));
        drop((one, last));
        assert_eq!(slots.free(), 4);
    }
}
