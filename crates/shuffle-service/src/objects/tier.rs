//! The store with what is known of it, and the calls that are neither uploads nor reads of extents.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, Error, Kind, QueryId, Result};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::slots::Slots;
use crate::disk::ExtentId;
use crate::options::ObjectOptions;
use crate::stats::ObjectStats;
use crate::transit::Pool;

/// A store that failed is not tried again for this long; pushes that need it are refused meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

/// Before the second try of a call; twice as long before each further one.
const BACKOFF: Duration = Duration::from_millis(50);

/// The tier.
pub(crate) struct Objects {
    pub(crate) options: ObjectOptions,
    pub(super) env: Env,
    /// For bytes of files that are on their way to the store.
    pub(super) room: Arc<Pool>,
    pub(super) slots: Slots,
    meter: Mutex<Meter>,
    /// Folders of former lives that hold objects of a query.
    former: Mutex<BTreeMap<QueryId, BTreeSet<Path>>>,
}

#[derive(Default)]
struct Meter {
    /// Why it rests, and until when.
    trouble: Option<(Duration, Error)>,
    used: i64,
    written: u64,
    errors: u64,
    uploads: u64,
    failed_uploads: u64,
}

impl Objects {
    pub(crate) fn new(options: ObjectOptions, env: Env, room: Arc<Pool>) -> Self {
        let (slots, meter, former) = Default::default();
        Self { options, env, room, slots, meter, former }
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.options.store.as_ref()
    }

    /// Where an extent lies.
    pub(crate) fn path(&self, id: ExtentId) -> Path {
        let ExtentId { shuffle, partition, extent } = id;
        let name = format!("{}.{}.{partition}.{extent}", shuffle.stage, shuffle.epoch);
        self.folder(shuffle.query).join(name)
    }

    fn folder(&self, query: QueryId) -> Path {
        self.own_folder().join(query.to_string())
    }

    /// Nobody else, and no other life, writes there.
    pub(super) fn own_folder(&self) -> Path {
        self.root().join(self.options.worker.as_str())
    }

    pub(super) fn root(&self) -> Path {
        Path::from(self.options.prefix.as_str()).join("shuffle")
    }

    /// The path of an object that another life of this or another worker wrote, by its name; the object
    /// will go with the query. Its number there need not be the one here. `None` if no worker of this
    /// store can have written it for this partition.
    pub(crate) fn adopt(&self, name: &str, id: ExtentId) -> Option<Path> {
        let path = Path::parse(name).ok()?;
        let folder = path.parent()?;
        let query = id.shuffle.query;
        let own = self.path(id);
        let without_number = |path: &Path| {
            let (name, number) = path.filename()?.rsplit_once('.')?;
            number.parse::<u32>().ok().map(|_| name.to_owned())
        };
        let named = without_number(&path) == without_number(&own)
            && folder.filename() == Some(query.to_string().as_str())
            && folder.parent()?.parent()? == self.root();
        if !named {
            return None;
        }
        if folder != self.folder(query) {
            self.former.lock().entry(query).or_default().insert(folder);
        }
        Some(path)
    }

    /// The names of former lives whose objects are still served.
    fn former_folders(&self) -> BTreeSet<String> {
        let former = self.former.lock();
        let folders = former.values().flatten().filter_map(Path::parent);
        folders.filter_map(|life| life.filename().map(str::to_owned)).collect()
    }

    /// Why nothing can be written here, if that is so.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let meter = self.meter.lock();
        let (until, error) = meter.trouble.as_ref()?;
        (self.env.now() < *until).then(|| error.clone())
    }

    /// Objects grew by so much, or shrank.
    pub(crate) fn keeps(&self, bytes: i64) {
        self.meter.lock().used += bytes;
    }

    /// So many bytes were written. The store works.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut meter = self.meter.lock();
        meter.written += bytes;
        meter.uploads += 1;
        meter.trouble = None;
    }

    /// A call failed.
    pub(super) fn failed(&self) {
        self.meter.lock().errors += 1;
    }

    /// A write failed for good.
    pub(super) fn rests(&self, error: &Error) -> Error {
        let text = format!("cannot write shuffle data to the object store: {}", error.message());
        let error = Error::exhausted(text).with_hint("see whether the store can be reached");
        let mut meter = self.meter.lock();
        meter.failed_uploads += 1;
        meter.trouble = Some((self.env.now() + PAUSE, error.clone()));
        drop(meter);
        error
    }

    pub(crate) fn stats(&self) -> ObjectStats {
        let resting = self.trouble().is_some();
        let meter = self.meter.lock();
        ObjectStats {
            used: meter.used.max(0).unsigned_abs(),
            written: meter.written,
            errors: meter.errors,
            uploads: meter.uploads,
            failed_uploads: meter.failed_uploads,
            queue: 0,
            resting,
            former: self.former_folders(),
        }
    }

    /// Does something until it succeeds, as often as the options allow. The error is the last one:
    /// `Lost` if the store said each time that there is no such object, else `Retry`.
    pub(super) async fn try_often<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut last = Error::retry(format!("{what}: not tried"));
        let mut always_absent = true;
        for number in 0..self.options.tries.max(1) {
            if number > 0 {
                // Halved at random, so that those who failed together do not return together.
                let pause = BACKOFF * 2_u32.saturating_pow(number - 1);
                let random = self.env.random_below(pause.as_millis() as u64 / 2);
                self.env.sleep(pause - Duration::from_millis(random)).await;
            }
            let limit = self.options.call_max;
            let absent = match self.env.timeout(limit, call()).await {
                Some(Ok(value)) => return Ok(value),
                Some(Err(cause)) => {
                    let absent = matches!(cause, object_store::Error::NotFound { .. });
                    last = Error::retry(format!("{what}: {cause}")).with_source(cause);
                    absent
                }
                None => {
                    last = Error::retry(format!("{what}: no answer within {} s", limit.as_secs()));
                    false
                }
            };
            always_absent &= absent;
            self.failed();
            tracing::debug!(%last, number, "a call of the object store failed");
        }
        Err(if always_absent { Error::new(Kind::Lost, last.message()) } else { last })
    }

    /// Removes all objects of a query that are there now, and records of uploads that have ended. May
    /// be repeated.
    pub(crate) async fn remove_query(&self, query: QueryId) -> Result<()> {
        let former = self.former.lock().get(&query).cloned().unwrap_or_default();
        for folder in former.into_iter().chain([self.folder(query)]) {
            let list = || self.store().list(Some(&folder)).try_collect::<Vec<_>>();
            let found = self.try_often(&format!("list of {folder}"), list).await?;
            for object in found {
                self.remove(&object.location).await?;
            }
        }
        self.former.lock().remove(&query);
        self.forget_uploads().await;
        Ok(())
    }

    /// Removes one object. One that is not there is fine.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        let what = format!("delete of {path}");
        let delete = || async {
            match self.store().delete(path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        self.try_often(&what, delete).await
    }
}
