//! Waiting for what others do: woken by watches, never later than a safety re-read.

use std::time::Duration;

use dunlin_base::{Error, Kind, QueryId, Result, Revision, StageEpoch, StageId};
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Live, Phase, Query};
use futures::StreamExt;
use prost::Message;

use crate::failure;
use crate::keys;
use crate::mirror::{Mirror, jittered};
use crate::queue::Queue;
use crate::record::Stored;
use crate::status::{Ended, QueryStatus};
use crate::sweep;

/// Failed reads in a row after which a wait gives up.
const FAILURES_MAX: u32 = 8;

/// Middle of the wait between two looks at a query's cancel mark.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);

/// Work that ends within this time is not worth two reads and a watch on its cancel mark: the claim
/// itself has just seen that there is none, and the commit looks again.
const CANCEL_GRACE: Duration = Duration::from_millis(100);

/// Changes of a query within this time are one.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

impl Queue {
    pub(crate) async fn mirror(&self, prefix: String) -> Result<Mirror> {
        Mirror::open(self.store_ref(), self.env().clone(), prefix, self.tuning().reread).await
    }

    /// True if work for the query is pointless: it was cancelled, has failed, or is gone.
    pub async fn is_cancelled(&self, query: QueryId) -> Result<bool> {
        if self.store().get(&keys::cancel(query)).await?.is_some() {
            return Ok(true);
        }
        Ok(self.store().get(&keys::meta(query)).await?.is_none())
    }

    /// Returns once [`Queue::is_cancelled`] is true (and not before some milliseconds); a store that
    /// cannot be reached only delays it. Dropping it ends the watch.
    pub async fn wait_cancelled(&self, query: QueryId) {
        self.env().sleep(CANCEL_GRACE).await;
        while !self.cancelled_or_wait(query).await.unwrap_or(false) {
            // After an error or a change: not at once again, should the store be in trouble.
            self.env().sleep(jittered(self.env(), CANCEL_INTERVAL)).await;
        }
    }

    async fn cancelled_or_wait(&self, query: QueryId) -> Result<bool> {
        let key = keys::cancel(query);
        let mark = self.store().range(&key).await?;
        if !mark.entries.is_empty() || self.store().get(&keys::meta(query)).await?.is_none() {
            return Ok(true);
        }
        let mut watch = self.store().watch(&key, Revision(mark.revision.0 + 1)).await?;
        self.env().timeout(jittered(self.env(), self.tuning().reread), watch.next()).await;
        Ok(false)
    }

    /// Waits for the end of the query: woken by a watch, with a safety re-read (that also takes
    /// overdue steps) every few seconds. `Invalid`: no such query, not even in the history.
    pub async fn wait_ended(&self, query: QueryId) -> Result<Ended> {
        let mut failures = 0;
        let mut read = false;
        loop {
            let ended = self.ended_or_wait(query, read).await;
            // The watch is a hint: after each wait the records themselves are read.
            read = true;
            match ended {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => failures = 0,
                Err(error) if error.kind() == Kind::Retry && failures < FAILURES_MAX => {
                    failures += 1;
                    self.env().sleep(jittered(self.env(), self.tuning().reread / 10)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The end, if the query has ended or ends while it is followed; else returns after the safety
    /// interval, or when its records are to be read again. The watch is believed if it says that
    /// the query runs, unless `read` tells otherwise.
    async fn ended_or_wait(&self, query: QueryId, read: bool) -> Result<Option<Ended>> {
        let following = self.follow(query);
        let known = following.live().filter(|_| !read);
        if let Some(ended) = known.as_ref().and_then(in_the_news) {
            return Ok(Some(ended));
        }
        let known = known.filter(|live| is_running(live.phase()));
        let deadline_unix_ms = match known {
            Some(live) => live.deadline_unix_ms,
            None => {
                let Some(entry) = self.store().get(&keys::meta(query)).await? else {
                    return self.ended_and_removed(query).await.map(Some);
                };
                let meta = Stored::<Query>::read(&entry)?.record;
                if !is_running(meta.phase()) {
                    return self.ended(query, &meta).await;
                }
                meta.deadline_unix_ms
            }
        };
        loop {
            let limit = self.look_again(deadline_unix_ms);
            if self.env().timeout(limit, following.changed()).await.is_none() {
                self.advance(query).await?;
                return Ok(None);
            }
            match following.live() {
                Some(live) if is_running(live.phase()) => {}
                Some(live) if live.phase() == Phase::Done => {
                    if let Some(ended) = in_the_news(&live) {
                        return Ok(Some(ended));
                    }
                    let mut meta = Query::default();
                    meta.set_phase(Phase::Done);
                    (meta.result_stage, meta.rows) = (live.result_stage, live.rows);
                    return self.ended(query, &meta).await;
                }
                // Its failure is in its records, or in the history.
                _ => return Ok(None),
            }
        }
    }

    /// How long to wait for a change of the query at most.
    fn look_again(&self, deadline_unix_ms: u64) -> Duration {
        let limit = jittered(self.env(), self.tuning().reread);
        if deadline_unix_ms == 0 {
            return limit;
        }
        let left = deadline_unix_ms.saturating_sub(self.env().unix_ms());
        limit.min(Duration::from_millis(left))
    }

    /// `None`: it runs again, because its result was lost.
    async fn ended(&self, query: QueryId, meta: &Query) -> Result<Option<Ended>> {
        let failure = meta.failure.as_ref().map(failure::to_error);
        let (phase, rows) = (meta.phase(), meta.rows);
        let mut ended = Ended { phase, failure, result: None, rows };
        if phase != Phase::Done {
            return Ok(Some(ended));
        }
        let stage = StageId(meta.result_stage);
        match self.sealed_stage(query, stage, StageEpoch(0)).await {
            Ok((epoch, output)) => ended.result = Some((stage, epoch, (*output).clone())),
            Err(error) if error.kind() == Kind::Lost => {
                // Removed since its meta was read, or opened again.
                match self.load_meta(query).await? {
                    Some(records) if records.is_running() => return Ok(None),
                    Some(_) => return Err(error),
                    None => {}
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Some(ended))
    }

    async fn ended_and_removed(&self, query: QueryId) -> Result<Ended> {
        let entry = self.store().get(&keys::history(query)).await?;
        let history = entry.as_ref().and_then(sweep::history_entry);
        let history =
            history.ok_or_else(|| Error::invalid(format!("there is no query {query}")))?;
        let (phase, failure, rows) = (history.phase, history.failure, history.rows);
        Ok(Ended { phase, failure, result: None, rows })
    }

    /// The query's state on every change.
    pub async fn watch_query(&self, query: QueryId) -> Result<QueryWatch> {
        Ok(QueryWatch { queue: self.clone(), query, mirror: None })
    }
}

/// The end of a query whose result came with the news of it. Such a result lies with no worker, so
/// the query does not run again for it.
fn in_the_news(live: &Live) -> Option<Ended> {
    if live.phase() != Phase::Done || live.output.is_empty() {
        return None;
    }
    let output = StageOutput::decode(live.output.clone()).ok()?;
    let result = (StageId(live.result_stage), StageEpoch(live.result_epoch), output);
    Some(Ended { phase: Phase::Done, failure: None, result: Some(result), rows: live.rows })
}

fn is_running(phase: Phase) -> bool {
    matches!(phase, Phase::Running | Phase::Queued)
}

/// The status of one query, each time it has changed.
#[derive(Debug)]
pub struct QueryWatch {
    queue: Queue,
    query: QueryId,
    mirror: Option<Mirror>,
}

impl QueryWatch {
    /// The status: at once on the first call, then after each change (changes within a tenth of a
    /// second are one). `None` when the query's records are gone. Dropping the future loses
    /// nothing that the next call does not show.
    pub async fn next(&mut self) -> Result<Option<QueryStatus>> {
        match &mut self.mirror {
            None => self.mirror = Some(self.queue.mirror(keys::query(self.query)).await?),
            Some(mirror) => {
                mirror.changed().await?;
                self.queue.env().sleep(STATUS_INTERVAL).await;
            }
        }
        self.queue.status(self.query).await
    }
}
