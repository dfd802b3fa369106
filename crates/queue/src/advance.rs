//! The level-triggered step: look at all records of a query and do what is due.

use dunlin_base::{Error, Kind, QueryId, Result};

use crate::queue::{Advanced, CONFLICTS_MAX, Outcome, Queue};
use crate::record::Batch;
use crate::records::Purpose;

impl Queue {
    /// Takes every step that is due: seals complete stages, decides, opens stages, ends the query
    /// (also for its deadline). Idempotent, callable by anybody at any time. A query that cannot
    /// go on (a body is lost or unreadable) fails with that error.
    pub async fn advance(&self, query: QueryId) -> Result<Advanced> {
        match self.steps(query).await {
            Err(error) if matches!(error.kind(), Kind::Lost | Kind::Bug | Kind::Invalid) => {
                tracing::warn!(%query, %error, "the query cannot go on");
                self.fail(query, &error).await?;
                Ok(Advanced { ended: true, ..Advanced::default() })
            }
            result => result,
        }
    }

    async fn steps(&self, query: QueryId) -> Result<Advanced> {
        let mut advanced = Advanced::default();
        let mut conflicts = 0;
        while conflicts < CONFLICTS_MAX {
            let Some(records) = self.load(query, Purpose::Step).await? else {
                return Ok(Advanced { ended: true, ..advanced });
            };
            let Some(changes) = self.unfold(&records)? else {
                return Ok(Advanced { ended: !records.is_running(), ..advanced });
            };
            let sealed = changes.outputs.clone();
            let step = Advanced {
                sealed: advanced.sealed + changes.sealed,
                decisions: advanced.decisions + changes.decided(),
                opened: advanced.opened + changes.opened,
                ended: changes.ended.is_some(),
            };
            let more = changes.more;
            let mut batch = Batch::new(query);
            changes.write(&records, &mut batch)?;
            match self.apply(batch).await? {
                Outcome::Conflict(_) => conflicts += 1,
                Outcome::Committed(_) => {
                    self.remember(query, sealed);
                    advanced = step;
                    if !more {
                        return Ok(advanced);
                    }
                }
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be advanced")))
    }
}
