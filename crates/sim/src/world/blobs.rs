//! Blobs in memory, and the same over a process's link.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_metadata::blob::Blobs;
use parking_lot::Mutex;

use super::link::{Link, Way};
use super::weather::Weather;

/// All blobs of a world. Answers at once.
#[derive(Debug, Default)]
pub(crate) struct Heap(Mutex<BTreeMap<String, Bytes>>);

impl Heap {
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }
}

#[async_trait]
impl Blobs for Heap {
    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let old = self.0.lock().insert(name.to_owned(), content.clone());
        match old.is_none_or(|old| old == content) {
            true => Ok(()),
            false => Err(Error::bug(format!("blob '{name}' is used for two contents"))),
        }
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        let blob = self.0.lock().get(name).cloned();
        blob.ok_or_else(|| Error::lost(format!("there is no blob '{name}'")))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.names().into_iter().filter(|name| name.starts_with(prefix)).collect())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        self.0.lock().retain(|name, _| !name.starts_with(prefix));
        Ok(())
    }
}

/// The blobs as one process reaches them.
#[derive(Debug)]
pub(crate) struct LinkedBlobs {
    pub(crate) heap: Arc<Heap>,
    pub(crate) link: Arc<Link>,
    pub(crate) weather: Arc<Weather>,
}

impl LinkedBlobs {
    async fn call<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.link.through(Way::Wire, self.weather.cross(what, call)).await
    }
}

#[async_trait]
impl Blobs for LinkedBlobs {
    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        self.call("put of a blob", self.heap.put(name, content)).await
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        self.call("get of a blob", self.heap.get(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.call("list of blobs", self.heap.list(prefix)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        self.call("deletion of blobs", self.heap.delete_prefix(prefix)).await
    }
}
