//! Bodies of records: small ones inline, big ones as blobs named by their content, with a bounded
//! memory of blobs that were written or read lately.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result};
use dunlin_metadata::blob::BlobsRef;
use dunlin_proto::queue::{Body, body};
use parking_lot::Mutex;

use crate::keys;

/// Bytes of blobs remembered.
const CACHE_BYTES_MAX: usize = 32 << 20;

/// Queries remembered for which blobs were written.
const WROTE_MAX: usize = 4096;

pub(crate) struct Depot {
    blobs: BlobsRef,
    cache: Mutex<Cache>,
    wrote: Mutex<Wrote>,
}

/// Queries for which this process wrote blobs that it did not remove: mostly it is others who remove
/// what an executor wrote.
#[derive(Default)]
struct Wrote {
    queries: BTreeSet<QueryId>,
    /// Of queries up to here it is not known any more. Ids are in the order of time, about.
    forgotten: Option<QueryId>,
}

impl Wrote {
    fn insert(&mut self, query: QueryId) {
        self.queries.insert(query);
        if self.queries.len() > WROTE_MAX {
            self.forgotten = self.forgotten.max(self.queries.pop_first());
        }
    }

    /// False only if it is known to have written nothing.
    fn may_have(&self, query: QueryId) -> bool {
        self.forgotten.is_some_and(|last| query <= last) || self.queries.contains(&query)
    }
}

/// Blobs are immutable, so what is remembered is never wrong; the oldest go first.
#[derive(Default)]
struct Cache {
    blobs: HashMap<String, Bytes>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Cache {
    fn insert(&mut self, name: &str, content: &Bytes) {
        if content.len() > CACHE_BYTES_MAX / 4
            || self.blobs.insert(name.to_owned(), content.clone()).is_some()
        {
            return;
        }
        self.bytes += content.len();
        self.order.push_back(name.to_owned());
        while self.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.blobs.remove(&oldest).map_or(0, |content| content.len());
        }
    }

    fn forget(&mut self, prefix: &str) {
        let Self { blobs, order, bytes } = self;
        order.retain(|name| {
            let keep = !name.starts_with(prefix);
            if !keep {
                *bytes -= blobs.remove(name).map_or(0, |content| content.len());
            }
            keep
        });
    }
}

impl Depot {
    pub(crate) fn new(blobs: BlobsRef) -> Self {
        Self { blobs, cache: Mutex::default(), wrote: Mutex::default() }
    }

    /// The bytes of a body. A body that was never set has none. `Lost`: its blob is gone, or the
    /// bytes are not those that were written.
    pub(crate) async fn load(&self, body: Option<&Body>) -> Result<Bytes> {
        match body.and_then(|b| b.kind.as_ref().map(|kind| (b, kind))) {
            None => Ok(Bytes::new()),
            Some((body, body::Kind::Inline(bytes))) => checked(body, bytes),
            Some((_, body::Kind::Blob(name))) => self.read(name).await,
        }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Bytes> {
        if let Some(content) = self.cache.lock().blobs.get(name) {
            return Ok(content.clone());
        }
        let content = self.blobs.get(name).await?;
        if !is_named(name, &content) {
            return Err(Error::lost(format!("blob '{name}' is damaged")));
        }
        self.cache.lock().insert(name, &content);
        Ok(content)
    }

    /// Writes a body as a blob and returns its name. Writing it twice is once.
    pub(crate) async fn write(
        &self,
        query: QueryId,
        kind: &'static str,
        content: Bytes,
    ) -> Result<String> {
        let name = format!("{}{kind}-{}", keys::query(query), hash(&content));
        if self.cache.lock().blobs.contains_key(&name) {
            return Ok(name);
        }
        self.wrote.lock().insert(query);
        self.blobs.put(&name, content.clone()).await?;
        self.cache.lock().insert(&name, &content);
        Ok(name)
    }

    /// Deletes all blobs of a query.
    pub(crate) async fn remove(&self, query: QueryId) -> Result<()> {
        let prefix = keys::query(query);
        self.cache.lock().forget(&prefix);
        self.blobs.delete_prefix(&prefix).await?;
        self.wrote.lock().queries.remove(&query);
        Ok(())
    }

    /// Whether this process wrote blobs for the query that were not removed, or may have.
    pub(crate) fn wrote(&self, query: QueryId) -> bool {
        self.wrote.lock().may_have(query)
    }

    /// The queries that have blobs, each once.
    pub(crate) async fn queries(&self) -> Result<Vec<QueryId>> {
        let names = self.blobs.list(keys::QUERIES).await?;
        let id = |name: &String| name.strip_prefix(keys::QUERIES)?.split_once('/')?.0.parse().ok();
        let mut ids: Vec<QueryId> = names.iter().filter_map(id).collect();
        ids.dedup();
        Ok(ids)
    }
}

/// What the name of a blob ends with.
fn hash(content: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(content))
}

/// Whether this is what was written under the name.
fn is_named(name: &str, content: &[u8]) -> bool {
    name.rsplit_once('-').is_some_and(|(_, said)| said == hash(content))
}

/// A body of these bytes; whether it stays inline is decided when its record is written.
pub(crate) fn inline(bytes: Bytes) -> Option<Body> {
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
    Some(Body { kind: Some(body::Kind::Inline(bytes)), checksum })
}

/// The inline bytes of a body. `Lost`: they are not those that were written. A changed bit in a
/// plan may well be another plan, with other rows.
pub(crate) fn checked(body: &Body, bytes: &Bytes) -> Result<Bytes> {
    if body.checksum != 0 && body.checksum != xxhash_rust::xxh3::xxh3_64(bytes) {
        return Err(Error::lost("a part of the query's records is damaged"));
    }
    Ok(bytes.clone())
}

/// The name of the body's blob, if it is one.
pub(crate) fn blob_name(body: Option<&Body>) -> Option<&String> {
    match body?.kind.as_ref()? {
        body::Kind::Inline(_) => None,
        body::Kind::Blob(name) => Some(name),
    }
}

/// Reads a message out of a body or record; `what` names it in the error.
pub(crate) fn decode<M: prost::Message + Default>(bytes: Bytes, what: &str) -> Result<M> {
    M::decode(bytes).map_err(|e| Error::lost(format!("{what} is unreadable")).with_source(e))
}

#[cfg(test)]
mod tests {
    use dunlin_base::{Env, Kind};
    use dunlin_metadata::blob::{Blobs, ObjectBlobs};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn of_queries_that_were_forgotten_it_is_not_said_that_nothing_was_written() {
        let (id, count) = (QueryId::from_u128, WROTE_MAX as u128 + 10);
        let mut wrote = Wrote::default();
        assert!(!wrote.may_have(id(2)));
        // Even numbers, so that there are queries between them for which nothing was written.
        (1..=count).for_each(|number| wrote.insert(id(2 * number)));
        assert_eq!(wrote.queries.len(), WROTE_MAX);
        assert!((1..=count).all(|number| wrote.may_have(id(2 * number))));
        assert!(wrote.may_have(id(3)), "it is among the forgotten ones, for all that is known");
        assert!(!wrote.may_have(id(2 * count + 1)) && !wrote.may_have(id(2 * count - 1)));
    }

    #[tokio::test]
    async fn a_blob_or_body_with_a_changed_bit_is_lost() {
        let env = Env::seeded(5);
        let blobs = Arc::new(ObjectBlobs::memory(env.clone()));
        let good = Bytes::from_static(b"a plan that is so and not otherwise");
        let write = |depot: Depot| {
            let (query, good) = (QueryId::generate(&env), good.clone());
            async move { depot.write(query, "plan", good).await.expect("written") }
        };
        for bit in 0..good.len() * 8 {
            let name = write(Depot::new(Arc::clone(&blobs) as BlobsRef)).await;
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let reader = Depot::new(Arc::clone(&blobs) as BlobsRef);
            blobs.put(&name, bad.clone().into()).await.expect("damaged");
            let error = reader.read(&name).await.expect_err("damaged");
            assert_eq!(error.kind(), Kind::Lost, "{error}");
            blobs.put(&name, good.clone()).await.expect("mended");
            assert_eq!(reader.read(&name).await.expect("whole"), good);
            let mut body = inline(good.clone());
            assert_eq!(reader.load(body.as_ref()).await.expect("whole"), good);
            if let Some(body) = &mut body {
                body.kind = Some(body::Kind::Inline(bad.into()));
            }
            let error = reader.load(body.as_ref()).await.expect_err("damaged");
            assert_eq!(error.kind(), Kind::Lost, "{error}");
        }
    }
}
