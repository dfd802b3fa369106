//! Whether a writer gathers the rows of each partition by themselves, or all in one buffer that it
//! sorts. A buffer for each of 10,000 partitions would take gigabytes; one that is sorted takes what
//! it is given, and gives smaller blocks. The choice is a pure function of what a task has seen.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dunlin_base::ByteCount;
use parking_lot::Mutex;

use crate::gather::Target;

/// What a writer has been given so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// How rows are gathered, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// In one buffer for all partitions.
    pub(crate) sorted: bool,
    /// What full buffers of all partitions would take.
    pub(crate) buffers_bytes: u64,
}

/// One buffer for all if a buffer for each partition, as large as a block of rows like those seen,
/// would take more than `buffer_bytes` together.
pub(crate) fn choose(partitions: u32, seen: Seen, target: Target, buffer_bytes: usize) -> Choice {
    let row = seen.bytes.div_ceil(seen.rows.max(1));
    let block = row.saturating_mul(target.rows as u64).min(target.bytes as u64);
    let buffers_bytes = block.saturating_mul(u64::from(partitions));
    Choice { sorted: partitions > 1 && buffers_bytes > buffer_bytes as u64, buffers_bytes }
}

/// The choice of one writer. It is made with the first rows, looked at again whenever their number
/// has doubled, and never taken back once it is the one buffer.
pub(crate) struct Layout {
    partitions: u32,
    target: Target,
    buffer_bytes: usize,
    sorted: AtomicBool,
    looks: Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    seen: Seen,
    /// Rows at which the next look is due.
    next: u64,
}

impl Layout {
    pub(crate) fn new(partitions: u32, target: Target, buffer_bytes: usize) -> Self {
        let (sorted, looks) = (AtomicBool::new(false), Mutex::default());
        Self { partitions, target, buffer_bytes, sorted, looks }
    }

    /// True if rows go to the one buffer.
    pub(crate) fn is_sorted(&self) -> bool {
        self.sorted.load(Relaxed)
    }

    /// Counts rows that come, and says whether they go to the one buffer.
    pub(crate) fn see(&self, rows: usize, bytes: usize) -> bool {
        if self.is_sorted() {
            return true;
        }
        let mut looks = self.looks.lock();
        looks.seen.rows += rows as u64;
        looks.seen.bytes += bytes as u64;
        if looks.seen.rows < looks.next {
            return false;
        }
        looks.next = 2 * looks.seen.rows;
        let (partitions, seen) = (self.partitions, looks.seen);
        let choice = choose(partitions, seen, self.target, self.buffer_bytes);
        if choice.sorted && !self.sorted.swap(true, Relaxed) {
            let count = |bytes| ByteCount(bytes).to_string();
            tracing::debug!(
                partitions,
                buffers = count(choice.buffers_bytes),
                limit = count(self.buffer_bytes as u64),
                seen = count(seen.bytes),
                seen_by_partition = count(seen.bytes / u64::from(partitions.max(1))),
                "a shuffle writer gathers in one sorted buffer: one for each partition is too much"
            );
        }
        choice.sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target { rows: 8192, bytes: 1 << 20 };
    const BUFFER: usize = 64 << 20;

    fn rows_of(bytes: u64) -> Seen {
        Seen { rows: 1000, bytes: 1000 * bytes }
    }

    #[test]
    fn few_partitions_have_buffers_of_their_own_and_many_share_one() {
        let sorted = |partitions, row| choose(partitions, rows_of(row), TARGET, BUFFER).sorted;
        assert!(!sorted(64, 1000), "64 blocks of 1 MiB fit just so");
        assert!(sorted(65, 1000));
        assert!(!sorted(800, 10), "narrow rows make small blocks");
        assert!(sorted(820, 10));
        assert!(sorted(10_000, 1), "8 KiB for each of so many");
        assert!(!sorted(1, 1 << 40), "one partition is sorted as it is");
        assert!(!choose(10_000, Seen::default(), TARGET, BUFFER).sorted, "no rows, no buffers");
    }

    #[test]
    fn the_reason_is_what_the_buffers_would_take() {
        let choice = choose(2000, rows_of(100), TARGET, BUFFER);
        assert_eq!(choice, Choice { sorted: true, buffers_bytes: 2000 * 819_200 });
        let choice = choose(u32::MAX, rows_of(u64::MAX >> 20), TARGET, BUFFER);
        assert_eq!(choice.buffers_bytes, u64::from(u32::MAX) << 20, "no overflow");
    }

    #[test]
    fn a_writer_looks_again_when_rows_become_wider_and_never_goes_back() {
        let layout = Layout::new(100, TARGET, BUFFER);
        assert!(!layout.see(1000, 10_000));
        assert!(!layout.see(999, 1 << 30), "not due yet");
        assert!(layout.see(1, 1000), "twice the rows");
        assert!(layout.see(1 << 30, 1 << 30) && layout.is_sorted());
    }
}
