//! What crashes leave behind, and lists of queries.

use std::collections::BTreeSet;

use dunlin_base::{Error, Kind, QueryId, Result, Revision};
use dunlin_metadata::{Compare, Durability, Entry, Op, Txn};
use dunlin_proto::queue::{History, Live, Phase};
use prost::Message;

use crate::failure;
use crate::keys;
use crate::queue::{Queue, Swept};
use crate::status::{HistoryEntry, RunningQuery};

/// Entries removed from the history by one transaction.
const TRIM_OPS_MAX: usize = 100;

impl Queue {
    /// Queries that have records, oldest first: running ones, and ended ones until they are
    /// removed.
    pub async fn running(&self) -> Result<Vec<RunningQuery>> {
        let snapshot = self.store().range(keys::LIVE).await?;
        Ok(snapshot.entries.iter().filter_map(running_query).collect())
    }

    /// Removed queries, newest first, at most `limit`.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>> {
        let snapshot = self.store().range(keys::HISTORY).await?;
        Ok(snapshot.entries.iter().rev().filter_map(history_entry).take(limit).collect())
    }

    /// Removes what was left behind: ended queries `Tuning::hold` after their end or the last
    /// [`Queue::keep`], blobs without a query
    /// after `Tuning::grace` (seen by this same handle all that time), history beyond its limit.
    /// Takes overdue steps. What fails for one query is logged and left to the next sweep.
    /// `now_unix_ms` is in milliseconds since 1970. Any number of processes
    /// may sweep.
    pub async fn sweep(&self, now_unix_ms: u64) -> Result<Swept> {
        let mut swept = Swept::default();
        let live = self.store().range(keys::LIVE).await?;
        let queries: Vec<(RunningQuery, Revision)> = live
            .entries
            .iter()
            .filter_map(|entry| Some((running_query(entry)?, entry.modified)))
            .collect();
        let ready: BTreeSet<QueryId> =
            self.ready_stages().await?.iter().map(|stage| stage.query).collect();
        let hold_ms = self.tuning().hold.as_millis() as u64;
        for (query, seen) in &queries {
            let id = query.query;
            let took = if query.ended_unix_ms > 0 {
                let wanted = query.ended_unix_ms.max(query.read_unix_ms);
                if now_unix_ms.saturating_sub(wanted) < hold_ms {
                    continue;
                }
                let removed = self.remove_unless_kept(id, Some(*seen)).await;
                removed.map(|removed| swept.queries.extend(removed.then_some(id)))
            } else if query.deadline_unix_ms.is_some_and(|deadline| deadline <= now_unix_ms)
                || !ready.contains(&id)
            {
                self.advance(id).await.map(|_| swept.advanced.push(id))
            } else {
                continue;
            };
            if let Err(error) = took {
                passed_over(id, &error);
            }
        }
        let known = queries.iter().map(|(query, _)| query.query).collect();
        swept.queries.extend(self.sweep_blobs(&known, now_unix_ms).await?);
        self.trim_history().await?;
        Ok(swept)
    }

    /// Removes blobs of queries that have had no records for the whole grace period. A query that
    /// is being published has blobs before it has records: that is what the grace is for, and why
    /// the age of its id does not count.
    async fn sweep_blobs(&self, known: &BTreeSet<QueryId>, now: u64) -> Result<Vec<QueryId>> {
        let with_blobs = self.depot().queries().await?;
        let orphans: BTreeSet<QueryId> =
            with_blobs.into_iter().filter(|query| !known.contains(query)).collect();
        let grace_ms = self.tuning().grace.as_millis() as u64;
        let due: Vec<QueryId> = {
            let mut since = self.orphans().lock();
            since.retain(|query, _| orphans.contains(query));
            for query in &orphans {
                since.entry(*query).or_insert(now);
            }
            let old = |first: u64| now.saturating_sub(first) >= grace_ms;
            since.iter().filter(|(_, first)| old(**first)).map(|(query, _)| *query).collect()
        };
        let mut removed = Vec::new();
        for query in due {
            // The list of queries was read before the list of blobs.
            if self.store().get(&keys::meta(query)).await?.is_none() {
                self.depot().remove(query).await?;
                removed.push(query);
            }
            self.orphans().lock().remove(&query);
        }
        Ok(removed)
    }

    pub(crate) async fn trim_history(&self) -> Result<()> {
        let snapshot = self.store().range(keys::HISTORY).await?;
        let over = snapshot.entries.len().saturating_sub(self.tuning().history);
        for oldest in snapshot.entries[..over].chunks(TRIM_OPS_MAX) {
            let compares = oldest[..1].iter().map(|e| Compare::Present(e.key.clone())).collect();
            let ops = oldest.iter().map(|e| Op::Delete(e.key.clone())).collect();
            self.store().txn(Txn { compares, ops, durability: Durability::Lazy }).await?;
        }
        Ok(())
    }
}

/// A query that cannot be swept keeps no other one waiting; the next sweep looks again.
fn passed_over(query: QueryId, error: &Error) {
    match error.kind() {
        Kind::Retry => tracing::debug!(%query, %error, "a query waits for another sweep"),
        _ => tracing::warn!(%query, %error, "a query that cannot be swept"),
    }
}

fn running_query(entry: &Entry) -> Option<RunningQuery> {
    let query = entry.key.strip_prefix(keys::LIVE)?.parse().ok()?;
    let live = Live::decode(entry.value.clone()).ok()?;
    Some(RunningQuery {
        query,
        phase: live.phase(),
        sql: live.sql,
        user: live.user,
        gateway: live.gateway,
        created_unix_ms: live.created_unix_ms,
        ended_unix_ms: live.ended_unix_ms,
        deadline_unix_ms: (live.deadline_unix_ms > 0).then_some(live.deadline_unix_ms),
        read_unix_ms: live.read_unix_ms,
        build: live.build,
    })
}

pub(crate) fn history_entry(entry: &Entry) -> Option<HistoryEntry> {
    let query = entry.key.strip_prefix(keys::HISTORY)?.parse().ok()?;
    let history = History::decode(entry.value.clone()).ok()?;
    Some(HistoryEntry {
        query,
        phase: Phase::try_from(history.phase).unwrap_or_default(),
        failure: history.failure.as_ref().map(failure::to_error),
        sql: history.sql,
        user: history.user,
        created_unix_ms: history.created_unix_ms,
        ended_unix_ms: history.ended_unix_ms,
        rows: history.rows,
        stages: history.stages,
        slices: history.slices,
        attempts: history.attempts,
    })
}
