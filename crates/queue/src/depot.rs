//! Bodies of records: small ones inline, big ones as blobs named by their content, with a bounded
//! memory of blobs that were written or read lately.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result};
use dunlin_metadata::blob::BlobsRef;
use dunlin_proto::queue::{Body, body};
use parking_lot::Mutex;

use crate::keys;

/// Bytes of blobs remembered.
const CACHE_BYTES_MAX: usize = 32 << 20;

pub(crate) struct Depot {
    blobs: BlobsRef,
    cache: Mutex<Cache>,
    /// Queries for which this process wrote blobs.
    wrote: Mutex<HashSet<QueryId>>,
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

    /// The bytes of a body. A body that was never set has none. `Lost`: its blob is gone.
    pub(crate) async fn load(&self, body: Option<&Body>) -> Result<Bytes> {
        match body.and_then(|b| b.kind.as_ref()) {
            None => Ok(Bytes::new()),
            Some(body::Kind::Inline(bytes)) => Ok(bytes.clone()),
            Some(body::Kind::Blob(name)) => self.read(name).await,
        }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Bytes> {
        if let Some(content) = self.cache.lock().blobs.get(name) {
            return Ok(content.clone());
        }
        let content = self.blobs.get(name).await?;
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
        let hash = xxhash_rust::xxh3::xxh3_128(&content);
        let name = format!("{}{kind}-{hash:032x}", keys::query(query));
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
        self.wrote.lock().remove(&query);
        Ok(())
    }

    /// Whether this process wrote blobs for the query that were not removed.
    pub(crate) fn wrote(&self, query: QueryId) -> bool {
        self.wrote.lock().contains(&query)
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

/// A body of these bytes; whether it stays inline is decided when its record is written.
pub(crate) fn inline(bytes: Bytes) -> Option<Body> {
    Some(Body { kind: Some(body::Kind::Inline(bytes)) })
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
