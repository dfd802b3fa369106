//! Reading blocks out of objects: what lies close together is one request, and no request is for
//! more than a few megabytes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use dunlin_base::{Error, Result};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::Objects;

/// Bytes of one request at most.
const REQUEST_LEN: u64 = 4 << 20;

/// Ranges with less than this between them are read together.
const GAP: u64 = 64 << 10;

impl Objects {
    /// The bytes of these ranges of one object, in their order. `Lost` if there is no such object or
    /// if it is too short, `Retry` if the store does not answer: it may later.
    pub(crate) async fn ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut read: Vec<(Range<u64>, Bytes)> = Vec::new();
        for run in runs(ranges) {
            let bytes = self.run(path, run.clone()).await?;
            read.push((run, bytes));
        }
        let within = |range: &Range<u64>| {
            let holds = |run: &Range<u64>| run.start <= range.start && range.end <= run.end;
            let (run, bytes) = read.iter().find(|(run, _)| holds(run))?;
            let (from, to) = (range.start - run.start, range.end - run.start);
            Some(bytes.slice(from as usize..to as usize))
        };
        let found = ranges.iter().map(within).collect::<Option<_>>();
        found.ok_or_else(|| Error::bug("a range is in none of the runs"))
    }

    async fn run(&self, path: &Path, run: Range<u64>) -> Result<Bytes> {
        let get = |range: Range<u64>| async move {
            let what = format!("read of {path} at {}", range.start);
            let wanted = range.end - range.start;
            let bytes = self.try_often(&what, || self.store().get_range(path, range.clone()));
            let bytes = bytes.await?;
            if bytes.len() as u64 != wanted {
                return Err(Error::lost(format!("{what}: {} of {wanted} bytes", bytes.len())));
            }
            Ok(bytes)
        };
        if run.end - run.start <= REQUEST_LEN {
            return get(run).await;
        }
        let mut all = BytesMut::with_capacity((run.end - run.start) as usize);
        let mut at = run.start;
        while at < run.end {
            let end = run.end.min(at + REQUEST_LEN);
            all.extend_from_slice(&get(at..end).await?);
            at = end;
        }
        Ok(all.freeze())
    }
}

/// The requests for these ranges: neighbours together, up to [`REQUEST_LEN`]; a range is never cut.
fn runs(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match runs.last_mut() {
            Some(run)
                if range.start <= run.end + GAP
                    && range.end.max(run.end) - run.start <= REQUEST_LEN =>
            {
                run.end = run.end.max(range.end);
            }
            _ => runs.push(range),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together_up_to_a_few_megabytes() {
        let mib = 1 << 20;
        assert_eq!(runs(&[10..20, 0..10, 30..40]), vec![0..40; 1]);
        assert_eq!(runs(&[0..10, mib..2 * mib]), [0..10, mib..2 * mib], "the gap is too wide");
        let four: Vec<_> = (0..8).map(|n| n * mib..(n + 1) * mib).collect();
        assert_eq!(runs(&four), [0..4 * mib, 4 * mib..8 * mib]);
        assert_eq!(runs(&[0..9 * mib, 9 * mib..9 * mib + 1]).len(), 2, "a large block is alone");
    }
}
