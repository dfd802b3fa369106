//! What the writers of a process measure together: how fast workers acknowledge, and how many bytes
//! rows have before and after they are encoded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::{Env, ProcessId};
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
}

#[derive(Debug, Default)]
struct Link {
    /// Bytes acknowledged.
    delivered: u64,
    /// Bytes a second of the last pushes, and when they ended.
    speeds: VecDeque<(f64, Duration)>,
}

/// A push that has begun.
pub(crate) struct Begun {
    at: Duration,
    delivered: u64,
}

impl Traffic {
    /// Of a process that has written nothing yet.
    pub fn new(env: Env) -> Self {
        let (rows_bytes, body_bytes, blocks) = Default::default();
        Self { env, links: Mutex::default(), rows_bytes, body_bytes, blocks }
    }

    /// The counts now.
    pub fn stats(&self) -> TrafficStats {
        TrafficStats {
            rows_bytes: self.rows_bytes.load(Relaxed),
            body_bytes: self.body_bytes.load(Relaxed),
            blocks: self.blocks.load(Relaxed),
            link_bytes_s: self.link_bytes_s().unwrap_or(0.0) as u64,
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
}
