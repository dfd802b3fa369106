//! Pushes that wait: counted from the first moment on, and said to who pushes once it is no moment any
//! more. The waits are those for memory (`core`) and for room in the door (`door/shared`).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::Env;
use dunlin_proto::shuffle::{Hear, Wait};

/// A wait that is longer than this is said. Shorter ones are how a burst meets the next flush; a writer
/// that closed its window for each would never have it open.
const SAY_AFTER: Duration = Duration::from_millis(100);

/// So often it is said again: a few times within the silence after which a client gives a worker up, and
/// seldom enough to cost nothing.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// Waits of one kind.
#[derive(Default)]
pub(crate) struct Pauses {
    now: AtomicU64,
    told: AtomicU64,
}

impl Pauses {
    /// Waits that go on now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// Waits so far that were long enough to be said, whether or not somebody listened.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    /// Sees a wait through, and calls `say` while it goes on. Dropping the future ends it.
    pub(crate) async fn during<T>(
        &self,
        env: &Env,
        say: impl Fn(),
        wait: impl Future<Output = T>,
    ) -> T {
        let mut wait = pin!(wait);
        // What does not wait is not counted.
        if let Some(done) = futures::FutureExt::now_or_never(&mut wait) {
            return done;
        }
        self.now.fetch_add(1, Relaxed);
        let _waiting = Waiting(self);
        let mut limit = SAY_AFTER;
        loop {
            if let Some(done) = env.timeout(limit, &mut wait).await {
                return done;
            }
            if limit == SAY_AFTER {
                self.told.fetch_add(1, Relaxed);
            }
            limit = SAY_EVERY;
            say();
        }
    }
}

struct Waiting<'a>(&'a Pauses);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

/// What another worker says of a copy, for who pushed both.
pub(crate) struct OfPeer(pub(crate) Arc<dyn Hear>);

impl Hear for OfPeer {
    fn waits(&self, _: Wait) {
        self.0.waits(Wait::Peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_said_when_it_is_no_moment_any_more_and_again_while_it_goes_on() {
        let (env, pauses) = (Env::seeded(1), Pauses::default());
        for (wait_ms, said) in [(0, 0), (90, 0), (110, 1), (3_050, 1), (3_150, 2), (30_050, 10)] {
            let (count, before) = (AtomicU64::new(0), pauses.told());
            let say = || {
                count.fetch_add(1, Relaxed);
            };
            let wait = async {
                if wait_ms > 0 {
                    env.sleep(Duration::from_millis(wait_ms)).await;
                    assert_eq!(pauses.now(), 1);
                }
            };
            pauses.during(&env, say, wait).await;
            assert_eq!(count.load(Relaxed), said, "{wait_ms} ms");
            assert_eq!(pauses.told() - before, said.min(1), "one pause, however often it is said");
            assert_eq!(pauses.now(), 0);
        }
    }
}
