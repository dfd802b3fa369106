//! Bytes that are on their way: read for somebody whose socket has not taken them yet, or read to be
//! moved to the object store. They are no stored data, so the memory budget does not know them; a
//! [`Pool`] does. Who needs bytes waits for them here, and nobody is refused.
//!
//! Whatever gives bytes back must never wait for bytes. So the pools are apart (an upload makes room
//! for pushes, and no reader may hold it up), and a read takes only what its reader has granted credit
//! for: then it waits for nothing but its socket, which a reader always empties.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::options::{Options, Shares};
use crate::stats::TransitStats;

/// In the number of a holder that takes once.
const ALONE: u64 = 1 << 63;

/// The shares of a worker. The third, for pushes that were not stored yet, is that of its door.
pub(crate) struct Transit {
    /// Blocks until sockets have taken them.
    pub(crate) reads: Arc<Pool>,
    /// Bytes of files until the object store has them.
    pub(crate) uploads: Arc<Pool>,
}

impl Transit {
    pub(crate) fn new(options: &Options) -> Self {
        let Shares { reads, uploads, .. } = options.shares();
        Self { reads: Pool::new(reads.0), uploads: Pool::new(uploads.0) }
    }

    pub(crate) fn stats(&self) -> [TransitStats; 2] {
        let of = |what, pool: &Pool| {
            let State { used, peak, .. } = *pool.state.lock();
            TransitStats { what, used, peak, limit: pool.limit }
        };
        [of("reads", &self.reads), of("uploads", &self.uploads)]
    }
}

/// One share of the bytes on their way.
pub(crate) struct Pool {
    limit: u64,
    /// Holders of their own so far.
    alone: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: u64,
    /// The most that was in use.
    peak: u64,
    /// What each holder has of it.
    held: HashMap<u64, u64>,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    holder: u64,
    bytes: u64,
    grant: oneshot::Sender<Charge>,
}

/// Bytes taken from a pool; they go back on drop.
pub(crate) struct Charge {
    pool: Arc<Pool>,
    holder: u64,
    bytes: u64,
}

/// What may become of who waits.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// The bytes are there.
    Now,
    /// Not yet; those of other holders may go first.
    Later,
    /// Not yet, and nobody may go first: or it would never have its turn.
    Next,
}

impl Pool {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, alone: AtomicU64::new(0), state: Mutex::default() })
    }

    /// The limit divided by `parts`.
    pub(crate) fn share_of(&self, parts: u64) -> usize {
        usize::try_from(self.limit / parts).unwrap_or(usize::MAX)
    }

    /// More than half is in use: pieces should be small.
    pub(crate) fn is_tight(&self) -> bool {
        self.state.lock().used > self.limit / 2
    }

    /// Asks for bytes, at once, and gives what to wait for. Those of one holder are granted in the
    /// order in which they were asked for; dropping the future takes the wish back. More than the
    /// limit are granted to one that has the whole pool for itself.
    pub(crate) fn take(
        self: &Arc<Self>,
        holder: u64,
        bytes: u64,
    ) -> impl Future<Output = Charge> + Send + use<> {
        let (grant, granted) = oneshot::channel();
        self.state.lock().waiting.push_back(Waiter { holder, bytes, grant });
        self.admit();
        let pool = Arc::clone(self);
        async move {
            // The pool outlives the wish, and drops none.
            granted.await.unwrap_or(Charge { pool, holder, bytes: 0 })
        }
    }

    /// The same for a holder of its own: in the order of all such wishes.
    pub(crate) fn take_in_turn(
        self: &Arc<Self>,
        bytes: u64,
    ) -> impl Future<Output = Charge> + Send + use<> {
        self.take(ALONE | self.alone.fetch_add(1, Relaxed), bytes)
    }

    /// Lets in whoever may go on.
    fn admit(self: &Arc<Self>) {
        let due = self.state.lock().due(self.limit);
        for Waiter { holder, bytes, grant } in due {
            // Who does not wait any more gives it back here.
            drop(grant.send(Charge { pool: Arc::clone(self), holder, bytes }));
        }
    }
}

impl State {
    /// Takes those off the list who may go on, and counts what they take.
    fn due(&mut self, limit: u64) -> Vec<Waiter> {
        let (mut due, mut left) = (Vec::new(), VecDeque::new());
        let mut passed: Vec<u64> = Vec::new();
        while let Some(waiter) = self.waiting.pop_front() {
            let Waiter { holder, bytes, ref grant } = waiter;
            if grant.is_closed() {
                continue;
            }
            let held = self.held.get(&holder).copied().unwrap_or(0);
            let turn = match passed.contains(&holder) {
                true => Turn::Later,
                false => turn(limit, self.used, held, bytes),
            };
            match turn {
                Turn::Now => {
                    self.used += bytes;
                    self.peak = self.peak.max(self.used);
                    *self.held.entry(holder).or_default() += bytes;
                    due.push(waiter);
                }
                Turn::Later => {
                    passed.push(holder);
                    left.push_back(waiter);
                }
                Turn::Next => {
                    left.push_back(waiter);
                    break;
                }
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        due
    }
}

/// Who has something gets no more than half of what is free beside it, and half of all is only for
/// who has nothing: so those who never give back (sockets that nobody reads) leave something to the
/// next. Who has nothing is never passed over.
fn turn(limit: u64, used: u64, held: u64, bytes: u64) -> Turn {
    let free = limit.saturating_sub(used);
    match held {
        0 if bytes <= free || used == 0 => Turn::Now,
        0 => Turn::Next,
        _ if bytes.saturating_add(limit / 2) <= free && held.saturating_add(bytes) <= free / 2 => {
            Turn::Now
        }
        _ => Turn::Later,
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        {
            let mut state = self.pool.state.lock();
            state.used -= self.bytes;
            if let Some(held) = state.held.get_mut(&self.holder) {
                *held -= self.bytes;
                if *held == 0 {
                    state.held.remove(&self.holder);
                }
            }
            if state.waiting.is_empty() {
                return;
            }
        }
        self.pool.admit();
    }
}

/// Bytes that keep their charge until nobody has them any more.
pub(crate) fn charged(bytes: impl AsRef<[u8]> + Send + Sync + 'static, charge: Charge) -> Bytes {
    Bytes::from_owner(Charged(bytes, charge))
}

struct Charged<T>(T, #[expect(dead_code, reason = "held for its drop")] Charge);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// The charge, if it is granted now.
    fn now(wish: impl Future<Output = Charge>) -> Option<Charge> {
        wish.now_or_never()
    }

    fn used(pool: &Pool) -> u64 {
        pool.state.lock().used
    }

    #[test]
    fn who_never_gives_back_leaves_something_to_the_next() {
        let pool = Pool::new(1000);
        let mut stuck = Vec::new();
        for holder in 0..24 {
            while let Some(charge) = now(pool.take(holder, 10)) {
                stuck.push(charge);
            }
        }
        assert!(used(&pool) < 1000, "{}", used(&pool));
        let first = now(pool.take(99, 1)).expect("the next gets some");
        drop(first);
        drop(stuck);
        assert_eq!((used(&pool), pool.state.lock().held.len()), (0, 0));
    }

    #[test]
    fn wishes_of_one_holder_come_in_order_and_nobody_starves() {
        let pool = Pool::new(100);
        let held = now(pool.take(1, 60)).expect("free");
        let (large, small) = (pool.take(1, 50), pool.take(1, 1));
        assert!(now(small).is_none(), "not before the one that was asked for first");
        let hungry = pool.take(2, 90);
        assert!(now(pool.take(3, 10)).is_none(), "nobody overtakes who has nothing");
        drop(large);
        let mut hungry = Box::pin(hungry);
        assert!((&mut hungry).now_or_never().is_none());
        drop(held);
        let charge = hungry.now_or_never().expect("its turn");
        assert_eq!((used(&pool), charge.bytes), (90, 90));
        drop(charge);
        assert_eq!(now(pool.take(4, 500)).expect("alone, more than the limit").bytes, 500);
        assert_eq!((used(&pool), pool.state.lock().peak), (0, 500));
    }
}
