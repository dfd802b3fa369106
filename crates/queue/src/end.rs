//! How a query ends other than by success, and how its records go.

use dunlin_base::{Error, Kind, QueryId, Result, Revision, StageId};
use dunlin_metadata::{Compare, Durability, Op, Txn, TxnOutcome};
use dunlin_proto::queue::{History, Live, Phase};
use prost::Message;

use crate::changes::{self, SHOWN_SQL_MAX};
use crate::ends::Seen;
use crate::failure;
use crate::keys;
use crate::queue::{CONFLICTS_MAX, Outcome, Queue, settle};
use crate::ready::Lane;
use crate::record::Batch;
use crate::records::Records;

/// Queries removed by one transaction.
const TOGETHER_MAX: usize = 32;

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
        self.remove_unless_kept(query, None).await.map(drop)
    }

    /// The same, if the query's live entry is as it was when it was last written at `live`. False:
    /// somebody has asked to [keep](Queue::keep) the result since.
    pub(crate) async fn remove_unless_kept(
        &self,
        query: QueryId,
        live: Option<Revision>,
    ) -> Result<bool> {
        let mut blobs = true;
        for _ in 0..CONFLICTS_MAX {
            let snapshot = self.store().range(&keys::query(query)).await?;
            let Some(records) = Records::readable(query, &snapshot.entries)? else {
                return self.after_removal(query, blobs).await.map(|()| true);
            };
            if records.is_running() {
                return Err(Error::invalid(format!("query {query} still runs"))
                    .with_hint("cancel it first"));
            }
            self.forget_all(query, &records);
            // A listing for nothing costs a short query as much as its records do. What a lost
            // race of another process wrote is the sweeper's.
            blobs = records.names_blobs() || self.depot().wrote(query);
            let found = match self.apply(removal(&records, live)).await? {
                Outcome::Committed(_) => {
                    return self.after_removal(query, blobs).await.map(|()| true);
                }
                Outcome::Conflict(found) => found,
            };
            let now = found.entry(&keys::live(query)).map(|entry| entry.modified);
            if live.is_some() && now.is_some() && now != live {
                return Ok(false);
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be removed")))
    }

    /// Whether the query is known to be done, with nothing left of it but its records.
    pub fn is_settled(&self, query: QueryId) -> bool {
        self.seen(query).is_some_and(|seen| seen.live.settled)
    }

    /// Whether the query is known to have left no blocks with shuffle workers.
    pub fn pushed_nothing(&self, query: QueryId) -> bool {
        self.seen(query).is_some_and(|seen| seen.live.nothing_pushed)
    }

    /// [Removes](Queue::remove) ended queries: those that are known to be settled together and
    /// unread, the others one by one. What became of each.
    pub async fn remove_all(&self, queries: Vec<QueryId>) -> Vec<(QueryId, Result<()>)> {
        let mut outcomes = Vec::with_capacity(queries.len());
        let (mut settled, mut others) = (Vec::new(), Vec::new());
        for query in queries {
            match self.seen(query).filter(|_| self.may_go_unread(query)) {
                Some(seen) => settled.push((query, seen)),
                None => others.push(query),
            }
        }
        for group in settled.chunks(TOGETHER_MAX) {
            let ids = group.iter().map(|(query, _)| *query);
            match self.remove_settled(group).await {
                Ok(true) => outcomes.extend(ids.map(|query| (query, Ok(())))),
                Ok(false) => others.extend(ids),
                Err(error) if error.kind() == Kind::Retry => {
                    outcomes.extend(ids.map(|query| (query, Err(error.clone()))));
                }
                // What is wrong with one of them must not keep the others.
                Err(error) => {
                    tracing::warn!(%error, "ended queries are removed one by one");
                    others.extend(ids);
                }
            }
        }
        for query in others {
            outcomes.push((query, self.remove(query).await));
        }
        outcomes
    }

    fn may_go_unread(&self, query: QueryId) -> bool {
        self.is_settled(query) && !self.depot().wrote(query)
    }

    /// One transaction for all. False: one of them is not as it was seen.
    async fn remove_settled(&self, group: &[(QueryId, Seen)]) -> Result<bool> {
        let mut txn = Txn { durability: Durability::Lazy, ..Txn::default() };
        for (query, Seen { live, modified }) in group {
            // Written with every change of the query's phase.
            txn.compares.push(Compare::Modified(keys::live(*query), *modified));
            let history = history_of(live).encode_to_vec().into();
            txn.ops.push(Op::Put(keys::history(*query), history, None));
            txn.ops.push(Op::DeletePrefix(keys::query(*query)));
            txn.ops.push(Op::Delete(keys::live(*query)));
        }
        let removed =
            matches!(settle(&self.store_ref(), self.env(), txn).await?, TxnOutcome::Committed(_));
        if removed {
            for (query, seen) in group {
                (0..seen.live.stages).for_each(|stage| self.forget(*query, StageId(stage)));
            }
            self.trim_sometimes(group.len() as u64).await?;
        }
        Ok(removed)
    }

    /// Trims the history after one removal in [`TRIM_EVERY`].
    async fn trim_sometimes(&self, removals: u64) -> Result<()> {
        if self.env().random_below(TRIM_EVERY) < removals {
            self.trim_history().await?;
        }
        Ok(())
    }

    async fn after_removal(&self, query: QueryId, blobs: bool) -> Result<()> {
        if blobs {
            self.depot().remove(query).await?;
        }
        self.trim_sometimes(1).await
    }
}

/// What is kept of a query that was seen to be done.
fn history_of(live: &Live) -> History {
    History {
        phase: live.phase,
        sql: live.sql.clone(),
        user: live.user.clone(),
        created_unix_ms: live.created_unix_ms,
        ended_unix_ms: live.ended_unix_ms,
        rows: live.rows,
        failure: None,
        stages: live.stages,
        slices: live.slices,
        attempts: live.attempts,
    }
}

fn removal(records: &Records, live: Option<Revision>) -> Batch {
    let query = records.query;
    let mut batch = Batch::new(query);
    if let Some(modified) = live {
        batch.require(Compare::Modified(keys::live(query), modified));
    }
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
        sql: failure::cut(&meta.sql, SHOWN_SQL_MAX),
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
