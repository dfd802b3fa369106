//! What readers of tables see of writes: all files of a write, or none.
//!
//! A reader looks before it plans (and lists files) and after. If a write on one of its tables is
//! decided, it is taken to its end first; if one moved meanwhile, the plan is made anew.

use std::sync::Arc;

use dunlin_base::{Error, QueryId, Result, Revision};
use dunlin_metadata::Compare;
use dunlin_proto::write::Target;
use dunlin_proto::write::write::Phase;

use super::records::WRITES;
use crate::gateway::Gateway;

/// The writes at one moment.
#[derive(Debug)]
pub(crate) struct View {
    writes: Vec<Seen>,
    revision: Revision,
}

/// Holds while no write has moved since that moment.
pub(crate) fn none_since(view: &View) -> Compare {
    Compare::Unwritten(WRITES.to_owned(), view.revision)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    query: QueryId,
    revision: Revision,
    decided: bool,
    folder: String,
}

impl View {
    /// The writes now. The gateway remembers them.
    pub(crate) async fn now(gateway: &Gateway) -> Result<Arc<Self>> {
        let mut writes = Vec::new();
        let (found, revision) = gateway.writes().writes_at().await?;
        for (query, write) in found {
            let phase = write.record.phase();
            if matches!(phase, Phase::Decided | Phase::Done) {
                let target = write.record.target.unwrap_or_default();
                let decided = phase == Phase::Decided;
                let (revision, folder) = (write.revision, folder(&target));
                writes.push(Seen { query, revision, decided, folder });
            }
        }
        let view = Arc::new(Self { writes, revision });
        gateway.looked(&view);
        Ok(view)
    }

    /// The store's revision at that moment.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether a write on one of the locations is decided, and its files are getting their names.
    pub(crate) fn comes_to_an_end(&self, locations: &[String]) -> bool {
        self.on(locations).any(|write| write.decided)
    }

    fn on<'a>(&'a self, locations: &'a [String]) -> impl Iterator<Item = &'a Seen> {
        self.writes.iter().filter(|write| locations.iter().any(|at| overlap(at, &write.folder)))
    }

    /// Whether a plan that was made after this moment may have seen some files of a write on its
    /// `locations` and not others. Writes that are decided are taken to their end.
    pub(crate) async fn moved(&self, gateway: &Gateway, locations: &[String]) -> Result<bool> {
        if locations.is_empty() {
            return Ok(false);
        }
        let decided: Vec<QueryId> =
            self.on(locations).filter(|write| write.decided).map(|write| write.query).collect();
        for query in &decided {
            if let Err(error) = gateway.drive(*query).await {
                // That it failed is an error of its own statement, if only it is at an end.
                still_decided(gateway, *query, error).await?;
            }
        }
        if !decided.is_empty() {
            return Ok(true);
        }
        let now = Self::now(gateway).await?;
        Ok(!now.on(locations).eq(self.on(locations)))
    }
}

/// The error of taking a write to its end, if it is not there.
async fn still_decided(gateway: &Gateway, query: QueryId, error: Error) -> Result<()> {
    match gateway.writes().write(query).await? {
        Some(write) if write.record.phase() == Phase::Decided => Err(error),
        _ => Ok(()),
    }
}

/// The folder of a target as locations of tables are written.
fn folder(target: &Target) -> String {
    format!("{}{}", target.store, target.folder)
}

/// Whether one is the other or inside it.
fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('/'), b.trim_end_matches('/'));
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(a, b) || inside(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_overlap_at_slashes() {
        for (a, b, yes) in [
            ("s3://b/t", "s3://b/t", true),
            ("s3://b/t", "s3://b/t/x.parquet", true),
            ("file:///lake/t/", "file:///lake", true),
            ("s3://b/t", "s3://b/table", false),
            ("s3://b/t", "s3://c/t", false),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (yes, yes), "{a} {b}");
        }
    }
}
