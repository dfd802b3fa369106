//! How a query ends other than by success, and how its records go.

use dunlin_base::{Error, QueryId, Result};
use dunlin_metadata::Compare;
use dunlin_proto::queue::{History, Phase};

use crate::changes;
use crate::failure;
use crate::keys;
use crate::queue::{CONFLICTS_MAX, Outcome, Queue};
use crate::ready::Lane;
use crate::record::Batch;
use crate::records::Records;

/// Bytes of SQL kept in the history.
const HISTORY_SQL_MAX: usize = 2048;

/// One removal in so many trims the history.
const TRIM_EVERY: u64 = 16;

impl Queue {
    /// Cancels the query if it runs. Ended and unknown queries are left as they are.
    pub async fn cancel(&self, query: QueryId) -> Result<()> {
        let error = Error::invalid("the query was cancelled");
        self.end(query, Phase::Cancelled, &error).await
    }

    /// Fails the query with `error` if it runs. Ended and unknown queries are left as they are.
    pub async fn fail(&self, query: QueryId, error: &Error) -> Result<()> {
        self.end(query, Phase::Failed, error).await
    }

    /// Adds the query's failure to a batch; false if it does not run any more.
    pub(crate) async fn add_failure(
        &self,
        query: QueryId,
        error: &Error,
        batch: &mut Batch,
    ) -> Result<bool> {
        let Some(records) = self.load_meta(query).await? else { return Ok(false) };
        if !records.is_running() {
            return Ok(false);
        }
        changes::write_end(batch, &records, Phase::Failed, error, self.env().unix_ms())?;
        Ok(true)
    }

    async fn end(&self, query: QueryId, phase: Phase, error: &Error) -> Result<()> {
        for _ in 0..CONFLICTS_MAX {
            let Some(records) = self.load_meta(query).await? else { return Ok(()) };
            if !records.is_running() {
                return Ok(());
            }
            let mut batch = Batch::new(query).synced();
            changes::write_end(&mut batch, &records, phase, error, self.env().unix_ms())?;
            if let Outcome::Committed(_) = self.apply(batch).await? {
                return Ok(());
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be ended")))
    }

    /// Writes the ended query's history and removes its records and blobs (its shuffles are the
    /// caller's to delete). Idempotent. `Invalid`: the query still runs.
    pub async fn remove(&self, query: QueryId) -> Result<()> {
        let mut blobs = true;
        for _ in 0..CONFLICTS_MAX {
            let snapshot = self.store().range(&keys::query(query)).await?;
            let Some(records) = Records::readable(query, &snapshot.entries)? else {
                return self.after_removal(query, blobs).await;
            };
            if records.is_running() {
                return Err(Error::invalid(format!("query {query} still runs"))
                    .with_hint("cancel it first"));
            }
            self.forget_all(query, &records);
            // A listing for nothing costs a short query as much as its records do. What a lost
            // race of another process wrote is the sweeper's.
            blobs = records.names_blobs() || self.depot().wrote(query);
            if let Outcome::Committed(_) = self.apply(removal(&records)).await? {
                return self.after_removal(query, blobs).await;
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be removed")))
    }

    async fn after_removal(&self, query: QueryId, blobs: bool) -> Result<()> {
        if blobs {
            self.depot().remove(query).await?;
        }
        if self.env().random_below(TRIM_EVERY) == 0 {
            self.trim_history().await?;
        }
        Ok(())
    }
}

fn removal(records: &Records) -> Batch {
    let query = records.query;
    let mut batch = Batch::new(query);
    if let Some(modified) = records.meta.modified {
        batch.require(Compare::Modified(keys::meta(query), modified));
    }
    batch.put_index(keys::history(query), &history(records));
    batch.delete_prefix(keys::query(query));
    batch.delete(keys::live(query));
    for lane in Lane::ALL {
        batch.delete_prefix(keys::ready_of(lane, query));
    }
    batch
}

fn history(records: &Records) -> History {
    let meta = &records.meta.record;
    History {
        phase: meta.phase,
        sql: failure::cut(&meta.sql, HISTORY_SQL_MAX),
        user: meta.user.clone(),
        created_unix_ms: meta.created_unix_ms,
        ended_unix_ms: meta.ended_unix_ms,
        rows: meta.rows,
        failure: meta.failure.clone(),
        stages: records.stages.len() as u32,
        slices: records.stages.values().map(|s| s.record.slice_count).sum(),
        attempts: records.segments.values().map(|s| s.record.next_attempt).sum(),
    }
}
