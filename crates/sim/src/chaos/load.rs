//! Clients that ask one query after the other, and judge each answer. Called by `run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use dunlin_base::{Env, Error, Kind, Result};
use dunlin_gateway::flight::Client;
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::expected::{Expected, Query};
use super::faults::LOST_MAY_BE;
use super::verdict::{Outcome, Verdict};
use super::writes::Written;
use crate::processes::Cluster;

/// After an error that a client may get, before it asks again.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// What an error says that is about a disk.
const DISK: &str = "disk";

/// A client comes anew, at any gateway, before one in so many queries.
const MOVES_IN: u64 = 3;

/// What all clients of a run share.
pub(super) struct Load {
    pub(super) cluster: Arc<Cluster>,
    pub(super) expected: Arc<Expected>,
    pub(super) verdict: Mutex<Verdict>,
    /// Whether an error of this kind may be told while faults strike.
    pub(super) allowed: Vec<Kind>,
    /// Copies of each shuffled block.
    pub(super) copies: u8,
    /// A client that waits for longer than this hangs.
    pub(super) answer_max: Duration,
    pub(super) stop: AtomicBool,
    pub(super) written: Written,
    /// Held by the one who writes.
    pub(super) writing: tokio::sync::Mutex<()>,
}

impl Load {
    /// One client, from now until it is told to stop; chance says what it asks.
    pub(super) async fn client(self: Arc<Self>, chance: Env) {
        let mut client = None;
        while !self.stop.load(Ordering::Acquire) {
            let queries = &self.expected.queries;
            let query = &queries[chance.random_below(queries.len() as u64) as usize];
            // Or all would stay for good at the gateway that died last.
            if chance.random_below(MOVES_IN) == 0 {
                client = None;
            }
            let first = chance.random_below(1 << 16) as usize;
            if !self.ask(&mut client, first, query, &self.allowed).await {
                self.cluster.env().sleep(AFTER_ERROR).await;
            }
        }
    }

    /// Each query once, at a cluster that nothing is done to: no error is allowed.
    pub(super) async fn progress(&self) {
        let mut client = None;
        for query in &self.expected.queries {
            self.ask(&mut client, 0, query, &[]).await;
        }
    }

    /// Asks one query again and again, as a further client.
    pub(super) async fn repeat(&self, first: usize, query: &Query) {
        let mut client = None;
        loop {
            if !self.ask(&mut client, first, query, &self.allowed).await {
                self.cluster.env().sleep(AFTER_ERROR).await;
            }
        }
    }

    /// Asks, and goes after `time`. True if there was a query that had not ended.
    pub(super) async fn leave(&self, first: usize, query: &Query, time: Duration) -> bool {
        let Ok(client) = self.session(first).await else { return false };
        let Ok(mut rows) = client.sql(&query.sql).await else { return false };
        let all = async { while let Ok(Some(_)) = rows.try_next().await {} };
        self.cluster.env().timeout(time, all).await.is_none()
    }

    /// Asks and judges. A client that failed begins anew with the next query. False if the query
    /// failed.
    async fn ask(
        &self,
        client: &mut Option<Client>,
        first: usize,
        query: &Query,
        allowed: &[Kind],
    ) -> bool {
        let env = self.cluster.env();
        let began = env.now();
        let outcome = env.timeout(self.answer_max, self.answer(client, first, query)).await;
        let outcome = outcome.unwrap_or(Outcome::Hung);
        let right = matches!(outcome, Outcome::Right);
        // What was set ends with its session.
        if !right || query.set.is_some() {
            *client = None;
        }
        let at = format!("{} at {}s", query.name, began.as_secs());
        let allowed = |error: &Error, begun| may_be(error, begun, allowed);
        self.verdict.lock().judge(&at, outcome, env.now().saturating_sub(began), allowed);
        right
    }

    async fn answer(&self, client: &mut Option<Client>, first: usize, query: &Query) -> Outcome {
        let mut rows = Vec::new();
        match self.rows(client, first, query, &mut rows).await {
            Ok(()) => query.differs(&rows).map_or(Outcome::Right, Outcome::Wrong),
            Err(error) => Outcome::Failed(error, !rows.is_empty()),
        }
    }

    /// A session of its own, at the gateway `first` if that answers.
    async fn session(&self, first: usize) -> Result<Client> {
        let client = self.cluster.client(first).await?;
        if self.copies > 1 {
            client.sql(&format!("SET dunlin.shuffle_copies = '{}'", self.copies)).await?;
        }
        Ok(client)
    }

    async fn rows(
        &self,
        client: &mut Option<Client>,
        first: usize,
        query: &Query,
        rows: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let client = match client {
            Some(client) => client,
            None => client.insert(self.session(first).await?),
        };
        if let Some(set) = query.set {
            client.sql(set).await?;
        }
        let mut answer = client.sql(&query.sql).await?;
        while let Some(batch) = answer.try_next().await? {
            rows.push(batch);
        }
        Ok(())
    }
}

/// Whether a client may be told this where errors of these kinds are allowed.
pub(super) fn may_be(error: &Error, begun: bool, allowed: &[Kind]) -> bool {
    let told = match error.kind() {
        Kind::Lost => begun || LOST_MAY_BE,
        // Which disk it is, and what to do.
        Kind::Exhausted => error.message().contains(DISK) && error.hint().is_some(),
        _ => true,
    };
    told && allowed.contains(&error.kind())
}
