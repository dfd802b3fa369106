//! The memory budget of a worker: one number, reserved before a block is stored and released when
//! its body leaves memory.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use tokio::sync::Notify;

/// Charged for the index entry of a block, for as long as the block exists, so that very many
/// very small blocks are bounded too.
pub(crate) const ENTRY_COST: u64 = 128;

/// The budget.
pub(crate) struct Memory {
    used: AtomicU64,
    /// As much of it as bodies take: what a flush would free.
    bodies: AtomicU64,
    /// Sum of the pushes that wait for memory.
    wanted: AtomicU64,
    /// Never exceeded.
    pub(crate) limit: u64,
    /// Flushing starts above it.
    pub(crate) mark: u64,
    /// Flushing starts also when bodies take more than this. Nobody has to push more slowly for that.
    bodies_mark: u64,
    /// Woken whenever memory was released, and when a flush has ended.
    pub(crate) freed: Notify,
}

impl Memory {
    pub(crate) fn new(limit: u64, mark_percent: u8, bodies_mark: u64) -> Self {
        let mark = limit / 100 * u64::from(mark_percent.min(100));
        let (used, bodies, wanted) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { used, bodies, wanted, limit, mark, bodies_mark, freed: Notify::new() }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Acquire)
    }

    pub(crate) fn over_mark(&self) -> bool {
        self.used() > self.mark
    }

    /// Whether something should leave memory.
    pub(crate) fn wants_flush(&self) -> bool {
        self.over_mark() || self.bodies.load(Acquire) > self.bodies_mark
    }

    /// True while the pump has work, `leaving` bytes being on their way out: it stops an eighth below
    /// the mark, so that it does not start again at once, and not before the pushes that wait have
    /// room.
    pub(crate) fn over_target(&self, leaving: u64) -> bool {
        let used = self.used().saturating_sub(leaving);
        let bodies = self.bodies.load(Acquire).saturating_sub(leaving);
        used > self.mark - self.mark / 8
            || bodies > self.bodies_mark - self.bodies_mark / 8
            || used.saturating_add(self.wanted.load(Acquire)) > self.limit
    }

    /// Says that a push waits for `bytes`, until the guard is dropped.
    pub(crate) fn want(&self, bytes: u64) -> Want<'_> {
        self.wanted.fetch_add(bytes, AcqRel);
        Want { memory: self, bytes }
    }

    /// Takes `bytes` from the budget, or nothing if that would exceed the limit.
    pub(crate) fn try_reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        let grow = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(AcqRel, Acquire, grow).ok()?;
        Some(Reservation { memory: self, bytes })
    }

    /// Gives back what bodies took, and so much beside.
    pub(crate) fn release_bodies(&self, bodies: u64, beside: u64) {
        self.bodies.fetch_sub(bodies, AcqRel);
        self.release(bodies + beside);
    }

    pub(crate) fn release(&self, bytes: u64) {
        if bytes > 0 {
            let before = self.used.fetch_sub(bytes, Relaxed);
            debug_assert!(before >= bytes, "more memory released than was reserved");
            self.freed.notify_waiters();
        }
    }
}

/// Memory taken from the budget. What was not kept goes back on drop, so that a push that is
/// dropped or refused costs nothing.
pub(crate) struct Reservation<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Reservation<'_> {
    /// Leaves `bytes` charged: they belong to a stored block now.
    pub(crate) fn keep(&mut self, bytes: u64) {
        debug_assert!(self.bytes >= bytes, "more memory kept than was reserved");
        self.bytes -= bytes;
    }
}

impl Reservation<'_> {
    /// The same for a block with so long a body.
    pub(crate) fn keep_block(&mut self, body: u64) {
        self.memory.bodies.fetch_add(body, AcqRel);
        self.keep(ENTRY_COST + body);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

/// A push that waits.
pub(crate) struct Want<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        self.memory.wanted.fetch_sub(self.bytes, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_a_mark_of_their_own_and_entries_do_not_count_for_it() {
        let memory = Memory::new(100_000, 75, 800);
        let mut reserved = memory.try_reserve(10_000).expect("they fit");
        (0..8).for_each(|_| reserved.keep_block(100));
        assert!(!memory.wants_flush() && memory.over_target(0) && !memory.over_target(100));
        reserved.keep_block(1);
        assert!(
            memory.wants_flush() && !memory.over_mark(),
            "a reason to flush, none to slow down"
        );
        memory.release_bodies(801, 9 * ENTRY_COST);
        assert!(!memory.wants_flush() && !memory.over_target(0));
        drop(reserved);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_reservation_gives_back_what_was_not_kept() {
        let memory = Memory::new(1000, 50, u64::MAX);
        let mut reserved = memory.try_reserve(800).expect("800 of 1000 fit");
        assert!(memory.try_reserve(201).is_none(), "the limit holds");
        assert!(memory.over_mark());
        reserved.keep(300);
        drop(memory.want(701));
        assert!(memory.over_target(0));
        drop(reserved);
        assert_eq!(memory.used(), 300);
        assert!(!memory.over_target(0));
        let _waiting = memory.want(701);
        assert!(memory.over_target(0), "a push that waits is work for the pump");
        assert!(!memory.over_target(2), "which is done when enough is on its way out");
        memory.release(300);
        assert_eq!(memory.used(), 0);
    }
}
