//! Workers that an administrator has excluded: `cb/excluded/{worker}`, under no lease, by the name that
//! clients know. A worker that comes back under its name is excluded still.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_base::{Error, Result};
use dunlin_celeborn::ids::WorkerId;
use dunlin_metadata::Op;
use prost::Message;

use super::{Records, decoded, escaped, unescaped};

const EXCLUDED: &str = "cb/excluded/";

/// Workers in one request: one transaction has to hold them.
const WORKERS_MAX: usize = 100;

#[derive(Clone, PartialEq, Message)]
struct Excluded {
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    since: u64,
}

impl Records {
    /// The workers that are excluded, and since when, in milliseconds since 1970.
    pub(crate) async fn excluded(&self) -> Result<BTreeMap<WorkerId, u64>> {
        let entries = self.store.range(EXCLUDED).await?.entries;
        let named = |entry: &dunlin_metadata::Entry| {
            let name = unescaped(entry.key.strip_prefix(EXCLUDED).unwrap_or_default());
            Ok((name.parse()?, decoded::<Excluded>(entry)?.since))
        };
        entries.iter().map(named).collect()
    }

    /// Excludes some and includes others again: all of it or nothing, durable when this returns.
    /// Idempotent. `Invalid`: too many, or one is in both lists.
    pub(crate) async fn exclude(
        &self,
        add: &BTreeSet<WorkerId>,
        remove: &BTreeSet<WorkerId>,
    ) -> Result<()> {
        if add.len() + remove.len() > WORKERS_MAX {
            return Err(Error::invalid(format!("more than {WORKERS_MAX} workers in one request")));
        }
        if let Some(both) = add.intersection(remove).next() {
            return Err(Error::invalid(format!("{both} is to be excluded and included")));
        }
        let record = Excluded { since: self.env.unix_ms() }.encode_to_vec();
        let mut ops = Vec::with_capacity(add.len() + remove.len());
        for worker in add {
            ops.push(Op::Put(key(worker)?, record.clone().into(), None));
        }
        for worker in remove {
            ops.push(Op::Delete(key(worker)?));
        }
        match ops.is_empty() {
            true => Ok(()),
            false => self.change(Vec::new(), ops).await.map(drop),
        }
    }
}

fn key(worker: &WorkerId) -> Result<String> {
    Ok(format!("{EXCLUDED}{}", escaped(&worker.to_string())?))
}
