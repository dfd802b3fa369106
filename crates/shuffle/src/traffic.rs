//! What the writers of a process measure together: how fast workers acknowledge, and how many bytes
//! rows have before and after they are encoded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::{Env, ProcessId};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::Wait;
use parking_lot::Mutex;

/// Smaller pushes say more of the way than of the link.
const PUSH_BYTES_MIN: usize = 128 << 10;

/// The fastest of so many pushes counts: others waited for something else.
const PUSHES: usize = 16;

/// What was measured so long ago counts for nothing.
const AGE_MAX: Duration = Duration::from_secs(60);

/// Shared by all writers of a process. Lives as long as it does.
#[derive(Debug)]
pub struct Traffic {
    env: Env,
    links: Mutex<BTreeMap<ProcessId, Link>>,
    rows_bytes: AtomicU64,
    body_bytes: AtomicU64,
    blocks: AtomicU64,
    pauses: AtomicU64,
    paused_us: AtomicU64,
}

/// Counts of [`Traffic`], since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficStats {
    /// Bytes that encoded rows showed.
    pub rows_bytes: u64,
    /// Bytes of the bodies that they became.
    pub body_bytes: u64,
    /// Those bodies.
    pub blocks: u64,
    /// Bytes a second to the slowest worker that took pushes lately; 0 if there was none.
    pub link_bytes_s: u64,
    /// Pushes that were told to wait at their worker.
    pub pauses: u64,
    /// Microseconds that they waited, from that word on to their end, summed.
    pub paused_us: u64,
    /// Pushes of which the last word was that they wait, now.
    pub paused_now: u64,
}

#[derive(Debug, Default)]
struct Link {
    /// Bytes acknowledged.
    delivered: u64,
    /// Bytes a second of the last pushes, and when they ended.
    speeds: VecDeque<(f64, Duration)>,
    /// Pushes that wait there, and since when there is one.
    paused: u64,
    paused_since: Duration,
}

/// A push that has begun.
pub(crate) struct Begun {
    at: Duration,
    delivered: u64,
}

/// A push that was told to wait.
pub(crate) struct PausedPush {
    at: Duration,
}

impl Traffic {
    /// Of a process that has written nothing yet.
    pub fn new(env: Env) -> Self {
        let (rows_bytes, body_bytes, blocks) = Default::default();
        let (pauses, paused_us) = Default::default();
        let links = Mutex::default();
        Self { env, links, rows_bytes, body_bytes, blocks, pauses, paused_us }
    }

    /// The counts now.
    pub fn stats(&self) -> TrafficStats {
        TrafficStats {
            rows_bytes: self.rows_bytes.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
            blocks: self.blocks.load(Relaxed),
            link_bytes_s: self.link_bytes_s().unwrap_or(0.0) as u64,
            pauses: self.pauses.load(Relaxed),
            paused_us: self.paused_us.load(Relaxed),
            paused_now: self.links.lock().values().map(|link| link.paused).sum(),
        }
    }

    pub(crate) fn encoded(&self, rows_bytes: usize, body_bytes: usize, blocks: usize) {
        self.rows_bytes.fetch_add(rows_bytes as u64, Relaxed);
        self.body_bytes.fetch_add(body_bytes as u64, Relaxed);
        self.blocks.fetch_add(blocks as u64, Relaxed);
    }

    pub(crate) fn begin(&self, worker: ProcessId) -> Begun {
        let delivered = self.links.lock().entry(worker).or_default().delivered;
        Begun { at: self.env.now(), delivered }
    }

    /// A push of so many bytes was acknowledged. What others delivered meanwhile used the same link.
    pub(crate) fn stored(&self, worker: ProcessId, bytes: usize, begun: &Begun) {
        let now = self.env.now();
        let took = now.saturating_sub(begun.at).as_secs_f64();
        let mut links = self.links.lock();
        let link = links.entry(worker).or_default();
        link.delivered += bytes as u64;
        if bytes >= PUSH_BYTES_MIN && took > 0.0 {
            let delivered = link.delivered - begun.delivered;
            link.speeds.push_back((delivered as f64 / took, now));
            if link.speeds.len() > PUSHES {
                link.speeds.pop_front();
            }
        }
    }

    /// A push was told to wait. The first one of a worker is in the log.
    pub(crate) fn pause(&self, worker: ProcessId, shuffle: ShuffleId, why: Wait) -> PausedPush {
        let at = self.env.now();
        self.pauses.fetch_add(1, Relaxed);
        let first = {
            let mut links = self.links.lock();
            let link = links.entry(worker).or_default();
            link.paused += 1;
            if link.paused == 1 {
                link.paused_since = at;
            }
            link.paused == 1
        };
        if first {
            let ShuffleId { query, stage, .. } = shuffle;
            tracing::info!(%worker, %query, %stage, %why, "pushes to a shuffle worker wait");
        }
        PausedPush { at }
    }

    /// A push that was told to wait has ended.
    pub(crate) fn go_on(&self, worker: ProcessId, PausedPush { at }: PausedPush) {
        let now = self.env.now();
        self.paused_us.fetch_add(now.saturating_sub(at).as_micros() as u64, Relaxed);
        let since = {
            let mut links = self.links.lock();
            let link = links.entry(worker).or_default();
            link.paused = link.paused.saturating_sub(1);
            (link.paused == 0).then_some(link.paused_since)
        };
        if let Some(since) = since {
            let ms = now.saturating_sub(since).as_millis() as u64;
            tracing::info!(%worker, ms, "no push to a shuffle worker waits any more");
        }
    }

    /// Bytes a second to the slowest worker; `None` if nothing was measured lately.
    pub(crate) fn link_bytes_s(&self) -> Option<f64> {
        let now = self.env.now();
        let mut links = self.links.lock();
        let speed = |link: &mut Link| {
            link.speeds.retain(|(_, at)| now.saturating_sub(*at) < AGE_MAX);
            link.speeds.iter().map(|(speed, _)| *speed).reduce(f64::max)
        };
        links.values_mut().filter_map(speed).reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(n: u128) -> ProcessId {
        ProcessId::from_u128(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_link_counts_and_the_best_of_its_pushes() {
        let env = Env::seeded(1);
        let traffic = Traffic::new(env.clone());
        assert_eq!(traffic.link_bytes_s(), None);
        for (to, bytes, ms) in [(1, 1 << 20, 10), (1, 1 << 20, 900), (2, 1 << 20, 100), (1, 10, 1)]
        {
            let begun = traffic.begin(worker(to));
            env.sleep(Duration::from_millis(ms)).await;
            traffic.stored(worker(to), bytes, &begun);
        }
        let speed = traffic.link_bytes_s().expect("measured");
        assert!((speed / 10.5e6 - 1.0).abs() < 0.05, "1 MiB in 100 ms, not {speed}");
        env.sleep(AGE_MAX).await;
        assert_eq!(traffic.link_bytes_s(), None, "long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn pushes_under_way_at_once_share_a_link() {
        let env = Env::seeded(1);
        let traffic = Traffic::new(env.clone());
        let begun: Vec<_> = (0..10).map(|_| traffic.begin(worker(1))).collect();
        env.sleep(Duration::from_millis(100)).await;
        begun.iter().for_each(|begun| traffic.stored(worker(1), 1 << 20, begun));
        let speed = traffic.link_bytes_s().expect("measured");
        assert!((speed / 105e6 - 1.0).abs() < 0.05, "10 MiB in 100 ms, not {speed}");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_counted_by_push_and_summed_over_their_time() {
        let env = Env::seeded(1);
        let traffic = Traffic::new(env.clone());
        let query = dunlin_base::QueryId::from_u128(1);
        let (stage, epoch) = (dunlin_base::StageId(2), dunlin_base::StageEpoch(0));
        let pause = |to| traffic.pause(worker(to), ShuffleId { query, stage, epoch }, Wait::Memory);
        let (one, two) = (pause(1), pause(2));
        env.sleep(Duration::from_millis(100)).await;
        let three = pause(1);
        assert_eq!(traffic.stats().paused_now, 3);
        env.sleep(Duration::from_millis(100)).await;
        for (to, push) in [(1, one), (2, two), (1, three)] {
            traffic.go_on(worker(to), push);
        }
        let TrafficStats { pauses, paused_us, paused_now, .. } = traffic.stats();
        assert_eq!((pauses, paused_now), (3, 0));
        assert!((500_000..510_000).contains(&paused_us), "200, 200 and 100 ms, not {paused_us}");
    }
}
