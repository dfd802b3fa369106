//! Reading blocks out of objects: what lies close together is one request, and no request is for
//! more than a few megabytes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use dunlin_base::{Error, Kind, Result};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt};

use super::Objects;

/// Bytes of one request at most.
const REQUEST_LEN: u64 = 4 << 20;

/// Ranges with less than this between them are read together.
const GAP: u64 = 64 << 10;

impl Objects {
    /// The bytes of these ranges of one object, in their order; fewer of a range if the object ends
    /// before it does. `Lost` if there is no such object, `Retry` if the store does not answer: it may
    /// later.
    pub(crate) async fn ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut read: Vec<(Range<u64>, Bytes)> = Vec::new();
        for run in runs(ranges) {
            let bytes = self.run(path, run.clone()).await?;
            read.push((run, bytes));
        }
        let within = |range: &Range<u64>| {
            let holds = |run: &Range<u64>| run.start <= range.start && range.end <= run.end;
            let (run, bytes) = read.iter().find(|(run, _)| holds(run))?;
            let at = |offset: u64| bytes.len().min((offset - run.start) as usize);
            Some(bytes.slice(at(range.start)..at(range.end)))
        };
        let found = ranges.iter().map(within).collect::<Option<_>>();
        found.ok_or_else(|| Error::bug("a range is in none of the runs"))
    }

    async fn run(&self, path: &Path, run: Range<u64>) -> Result<Bytes> {
        if run.end - run.start <= REQUEST_LEN {
            return self.get(path, run).await;
        }
        let mut all = BytesMut::with_capacity((run.end - run.start) as usize);
        let mut at = run.start;
        while at < run.end {
            let end = run.end.min(at + REQUEST_LEN);
            let some = self.get(path, at..end).await?;
            all.extend_from_slice(&some);
            if (some.len() as u64) < end - at {
                break;
            }
            at = end;
        }
        Ok(all.freeze())
    }

    /// What the object has of a range.
    async fn get(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let what = format!("read of {path} at offset {}", range.start);
        match self.try_often(&what, || self.get_once(path, range.clone())).await {
            // A store refuses a range behind the end of an object with an error like any other.
            Err(error) if answered(&error) && self.ends_before(path, range.start).await => {
                Ok(Bytes::new())
            }
            got => got,
        }
    }

    async fn get_once(&self, path: &Path, range: Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let got = self.store().get_opts(path, options).await?;
        let due = got.range.end - got.range.start;
        let bytes = got.bytes().await?;
        if bytes.len() as u64 == due {
            return Ok(bytes);
        }
        // The object has them: the connection ended.
        let source = format!("{} of {due} bytes came", bytes.len()).into();
        Err(object_store::Error::Generic { store: "shuffle", source })
    }

    async fn ends_before(&self, path: &Path, at: u64) -> bool {
        let head = self.env.timeout(self.options.call_max, self.store().head(path)).await;
        matches!(head, Some(Ok(meta)) if meta.size <= at)
    }
}

/// Whether it was the store that said so, and not the lack of an answer.
fn answered(error: &Error) -> bool {
    error.kind() == Kind::Retry && std::error::Error::source(error).is_some()
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
