//! What readers of tables see of writes: all files of a write, or none.
//!
//! A reader looks before it plans (and lists files) and after. If a write on one of its tables is
//! decided, it is taken to its end first; if one moved meanwhile, the plan is made anew.

use dunlin_base::{QueryId, Result, Revision};
use dunlin_proto::write::Target;
use dunlin_proto::write::write::Phase;

use crate::gateway::Gateway;

/// The writes at one moment.
#[derive(Debug)]
pub(crate) struct View {
    writes: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    query: QueryId,
    revision: Revision,
    decided: bool,
    folder: String,
}

impl View {
    /// The writes now.
    pub(crate) async fn now(gateway: &Gateway) -> Result<Self> {
        let mut writes = Vec::new();
        for (query, write) in gateway.writes().writes().await? {
            let phase = write.record.phase();
            if matches!(phase, Phase::Decided | Phase::Done) {
                let target = write.record.target.unwrap_or_default();
                let decided = phase == Phase::Decided;
                let (revision, folder) = (write.revision, folder(&target));
                writes.push(Seen { query, revision, decided, folder });
            }
        }
        Ok(Self { writes })
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
            gateway.drive(*query).await?;
        }
        if !decided.is_empty() {
            return Ok(true);
        }
        let now = Self::now(gateway).await?;
        Ok(!now.on(locations).eq(self.on(locations)))
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
