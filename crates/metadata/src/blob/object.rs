//! Blobs in anything that `object_store` speaks to: S3, Azure, GCS, memory.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::client::HttpError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::Blobs;
use crate::io::{io_cause, io_kind};

/// Longest wait of one call, the store's own retries included.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Blobs below one root of an object store. Puts are whole or not at all, and durable as far as
/// the store is: S3 and its like are, `object_store`'s local files are not (use
/// [`super::FolderBlobs`]), memory lasts as long as this value.
#[derive(Clone, Debug)]
pub struct ObjectBlobs {
    pub(super) store: Arc<dyn ObjectStore>,
    root: Path,
    env: Env,
}

impl ObjectBlobs {
    /// Blobs below `root` of `store`.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, env: Env) -> Self {
        Self { store, root, env }
    }

    /// Blobs in memory, for tests and for one process without a disk.
    pub fn memory(env: Env) -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), Path::default(), env)
    }

    /// Where a blob lies. `Invalid` unless the name is a plain path without empty, `.` or `..`
    /// words: a name can never lead out of the root.
    pub(super) fn place(&self, name: &str) -> Result<Path> {
        let bad = || Error::invalid(format!("'{name}' cannot name a blob"));
        let path = Path::parse(name).map_err(|e| bad().with_source(e))?;
        // A '#' with a number is how object_store names unfinished local files.
        if path.is_root() || path.as_ref() != name || name.contains('#') {
            return Err(bad());
        }
        Ok(self.root.parts().chain(path.parts()).collect())
    }

    /// The places of all blobs whose names begin with `prefix`, sorted. Stores list by directory:
    /// a prefix that ends in `/` is cheapest.
    async fn places(&self, prefix: &str) -> Result<Vec<(String, Path)>> {
        let parent = match prefix.rsplit_once('/') {
            Some((parent, _)) => self.place(parent)?,
            None => self.root.clone(),
        };
        let list = self.store.list(Some(&parent)).try_filter_map(|object| async move {
            let name = object.location.prefix_match(&self.root).map(|parts| {
                parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
            });
            Ok(name.filter(|name| name.starts_with(prefix)).map(|name| (name, object.location)))
        });
        let mut found: Vec<_> = self.call("list", prefix, list.try_collect()).await?;
        found.sort();
        Ok(found)
    }

    pub(super) async fn call<T>(
        &self,
        what: &str,
        name: &str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        match self.env.timeout(CALL_TIMEOUT, call).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(e)) => {
                let text = format!("{what} of blob '{name}': {e}");
                Err(Error::new(kind(&e), text).with_source(e))
            }
            None => Err(Error::retry(format!(
                "{what} of blob '{name}': no answer within {CALL_TIMEOUT:?}"
            ))),
        }
    }
}

#[async_trait]
impl Blobs for ObjectBlobs {
    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let place = self.place(name)?;
        self.call("put", name, self.store.put(&place, content.into())).await.map(drop)
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        let place = self.place(name)?;
        self.call("get", name, async { self.store.get(&place).await?.bytes().await }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let places = self.places(prefix).await?;
        Ok(places.into_iter().map(|(name, _)| name).collect())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        let places: Vec<_> = self.places(prefix).await?.into_iter().map(|(_, p)| Ok(p)).collect();
        let places = futures::stream::iter(places).boxed();
        let delete = self.store.delete_stream(places).try_for_each(|_| async { Ok(()) });
        match self.call("delete", prefix, delete).await {
            // Somebody else deletes the same: go on with what is left.
            Err(e) if e.kind() == Kind::Lost => self.delete_rest(prefix).await,
            done => done,
        }
    }
}

impl ObjectBlobs {
    /// Deletes one by one, not minding what is gone already.
    async fn delete_rest(&self, prefix: &str) -> Result<()> {
        for (name, place) in self.places(prefix).await? {
            match self.call("delete", &name, self.store.delete(&place)).await {
                Err(e) if e.kind() != Kind::Lost => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

fn kind(e: &object_store::Error) -> Kind {
    use object_store::Error as E;
    match e {
        E::NotFound { .. } => Kind::Lost,
        E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::PermissionDenied { .. }
        | E::Unauthenticated { .. }
        | E::UnknownConfigurationKey { .. } => Kind::Invalid,
        // A connection that broke says of the bytes that did not come what a disk says of a file
        // that is cut short. They are where they were.
        other if is_http(other) => Kind::Retry,
        other => io_cause(other).map_or(Kind::Retry, io_kind),
    }
}

fn is_http(e: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(e);
    while let Some(e) = cause {
        if e.is::<HttpError>() {
            return true;
        }
        cause = e.source();
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What every blob store keeps.
    pub(in crate::blob) async fn keeps_the_contract(blobs: &dyn Blobs) -> Result<()> {
        let content = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(blobs.get("q/1/plan").await.map_err(|e| e.kind()), Err(Kind::Lost));
        assert_eq!(blobs.list("").await?, Vec::<String>::new());
        for name in ["q/1/plan-ab", "q/1/slices/0", "q/10/plan", "top"] {
            blobs.put(name, content("first")).await?;
            blobs.put(name, content("first")).await?;
        }
        assert_eq!(blobs.get("q/1/slices/0").await?, content("first"));
        assert_eq!(blobs.list("q/1/").await?, ["q/1/plan-ab", "q/1/slices/0"]);
        assert_eq!(blobs.list("q/1").await?, ["q/1/plan-ab", "q/1/slices/0", "q/10/plan"]);
        assert_eq!(blobs.list("q/1/p").await?, ["q/1/plan-ab"]);
        assert_eq!(blobs.list("t").await?, ["top"]);
        blobs.put("big", Bytes::from(vec![7; 3 << 20])).await?;
        assert_eq!(blobs.get("big").await?.len(), 3 << 20);
        blobs.put("empty", Bytes::new()).await?;
        assert_eq!(blobs.get("empty").await?, Bytes::new());
        for bad in ["", "/", "a//b", "../x", "a/../../x", "/a", "a/", ".", "a#1"] {
            let put = blobs.put(bad, Bytes::new()).await;
            assert_eq!(put.map_err(|e| e.kind()), Err(Kind::Invalid), "'{bad}'");
        }
        blobs.delete_prefix("q/1/").await?;
        blobs.delete_prefix("q/1/").await?;
        assert_eq!(blobs.list("").await?, ["big", "empty", "q/10/plan", "top"]);
        blobs.delete_prefix("").await?;
        assert_eq!(blobs.list("").await?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn a_body_that_ends_early_is_no_lost_blob() {
        use object_store::client::HttpErrorKind;
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let of = |source| object_store::Error::Generic { store: "S3", source };
        let broken = HttpError::new(HttpErrorKind::Interrupted, short());
        assert_eq!(kind(&of(Box::new(broken))), Kind::Retry);
        assert_eq!(kind(&of(Box::new(short()))), Kind::Lost);
    }

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        let env = Env::seeded(1);
        keeps_the_contract(&ObjectBlobs::memory(env.clone())).await.expect("kept");
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let outside = ObjectBlobs::new(Arc::clone(&store), Path::default(), env.clone());
        outside.put("rooted-not", Bytes::new()).await.expect("ok");
        keeps_the_contract(&ObjectBlobs::new(store, Path::from("rooted"), env))
            .await
            .expect("kept");
        assert_eq!(outside.list("").await.expect("ok"), ["rooted-not"]);
    }
}
