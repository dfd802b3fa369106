//! What lies in the folder of a worker, for one that takes it in: names from a listing, and what each
//! object says of its blocks.

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::extent_index::{ExtentIndex, TRAILER_LEN, Tail};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::Objects;
use crate::disk::ExtentId;

/// Bytes at the end of an object that are read first: the index of about 1,600 blocks.
const TAIL_LEN: u64 = 64 << 10;

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: Path,
    /// Whose extent its name says that it is.
    pub(crate) id: ExtentId,
    pub(crate) size: u64,
}

impl Objects {
    /// The objects in a worker's folder, by its name as cards say it. Names that no worker gives are
    /// left out. `Retry`: the store does not answer.
    pub(crate) async fn find(&self, folder: &str) -> Result<Vec<Found>> {
        let path = Path::parse(format!("{}/{folder}", self.root()));
        let path = path.map_err(|e| Error::invalid(format!("folder '{folder}': {e}")))?;
        let list = || self.store().list(Some(&path)).try_collect::<Vec<_>>();
        let all = self.try_often(&format!("list of {path}"), list).await;
        // A store that knows folders may say that there is none.
        let all = all.or_else(|error| match error.kind() {
            dunlin_base::Kind::Lost => Ok(Vec::new()),
            _ => Err(error),
        })?;
        Ok(all.into_iter().filter_map(|object| found(&path, object)).collect())
    }

    /// What an object says of its blocks. `Lost`: there is no such object, or it does not say, or not
    /// what its name says. `Retry`: the store does not answer.
    pub(crate) async fn index_of(&self, found: &Found) -> Result<ExtentIndex> {
        let Found { path, id, size } = found;
        let context = |e: Error| e.context(format!("object {path}"));
        if *size < TRAILER_LEN as u64 {
            return Err(context(Error::lost(format!("it has {size} bytes"))));
        }
        let tail = self.tail(path, *size, TAIL_LEN.min(*size)).await?;
        let index = match ExtentIndex::from_tail(&tail, *size).map_err(context)? {
            Tail::Index(index) => index,
            Tail::Longer(length) => {
                let tail = self.tail(path, *size, length as u64).await?;
                match ExtentIndex::from_tail(&tail, *size).map_err(context)? {
                    Tail::Index(index) => index,
                    Tail::Longer(_) => return Err(context(Error::lost("its index changes"))),
                }
            }
        };
        let is = (index.shuffle, index.partition);
        if is != (id.shuffle, id.partition) {
            let text = format!("it holds partition {} of shuffle {}", is.1, is.0);
            return Err(context(Error::lost(text)));
        }
        Ok(index)
    }

    async fn tail(&self, path: &Path, size: u64, length: u64) -> Result<Bytes> {
        let range = size - length..size;
        let mut read = self.ranges(path, std::slice::from_ref(&range)).await?;
        read.pop().ok_or_else(|| Error::bug("a range that was read is not there"))
    }
}

fn found(folder: &Path, object: ObjectMeta) -> Option<Found> {
    let ObjectMeta { location: path, size, .. } = object;
    let mut words = path.prefix_match(folder)?;
    let (query, name) = (words.next()?, words.next()?);
    let query: QueryId = query.as_ref().parse().ok()?;
    let id = ExtentId::of_numbers(query, name.as_ref())?;
    if words.next().is_some() {
        return None;
    }
    drop(words);
    Some(Found { path, id, size })
}
