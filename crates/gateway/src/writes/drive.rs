//! The next step of a write, until it is at an end. Any gateway may call it for any write, at any
//! time and several at once: each step is one compare-and-swap of the record.

use dunlin_base::{Error, Kind, QueryId, Result, fail};
use dunlin_planner::write::{Landing, manifest_file, manifest_schema};
use dunlin_proto::write::target::Kind as TargetKind;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{File, Target, Write};
use dunlin_queue::Phase as QueryPhase;
use futures::TryStreamExt;

use super::records::{Records, Shown, Stored, Swap};
use crate::gateway::Gateway;
use crate::query::{Reading, RowStream, failure};

/// What a client is told whose write is decided, and cannot be finished.
const LOST: &str = "if the files do not come back, the write is given up after the time that results are \
     kept (hold), and what reads or writes there goes on";

/// What becomes of a statement whose write another has given up.
pub(super) fn given_up() -> Error {
    Error::retry("the write was given up: nothing was written")
        .with_hint("send the statement again")
}

/// Whether the files of a write have ever counted: some may have their names.
pub(super) fn was_decided(write: &Write) -> bool {
    !write.manifest.is_empty()
}

impl Gateway {
    /// The records of writes.
    pub(super) fn writes(&self) -> Records {
        Records::new(std::sync::Arc::clone(&self.parts().store))
    }

    /// Takes the write of `query` to its end and returns how many rows it has written. Waits for
    /// the end of the query. The failure of the query is the failure of the write: then nothing of
    /// it is in the target. `Retry`: a store cannot be reached, or the write was given up by
    /// another; the next look goes on. Dropping the future stops between two steps.
    pub(super) async fn drive(&self, query: QueryId) -> Result<u64> {
        let records = self.writes();
        loop {
            let Some(seen) = records.write(query).await? else {
                return Err(Error::lost(format!("the record of write {query} was removed")));
            };
            let target = seen.record.target.clone().unwrap_or_default();
            let landing = Landing::new(&self.parts().stores, &target, query)?;
            match seen.record.phase() {
                Phase::Open => self.decide(query, &seen, &landing, &target).await?,
                Phase::Decided => self.publish_files(query, &seen, &landing, &target).await?,
                Phase::Done => {
                    self.clean_staging(query, &landing).await;
                    return Ok(seen.record.rows);
                }
                Phase::Aborted => {
                    self.withdraw(query, &seen, &landing).await;
                    return Err(given_up());
                }
                Phase::Unspecified => {
                    return Err(Error::invalid(format!(
                        "write {query} was recorded by a later build"
                    )));
                }
            }
        }
    }

    /// Waits for the query, then decides. An error that is final has been recorded.
    async fn decide(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        landing: &Landing,
        target: &Target,
    ) -> Result<()> {
        let ended = self.parts().queue.wait_ended(query).await?;
        let files = match ended.phase {
            QueryPhase::Done if ended.result.is_some() => self.staged_files(query).await,
            QueryPhase::Done => Err(Error::lost("the manifest of the write was removed")),
            _ => Err(failure(&ended)),
        };
        let files = match files {
            Ok(files) => files,
            Err(error) if error.kind() == Kind::Retry && ended.phase == QueryPhase::Done => {
                return Err(error);
            }
            Err(error) => return self.give_up(query, seen, landing, error).await,
        };
        let rows = files.iter().map(|file| file.rows).sum();
        let must_have_one = target.kind() != TargetKind::Insert;
        let manifest = landing.manifest(files, must_have_one);
        let manifest = landing.stage_manifest(&manifest).await?;
        fail::point(&self.parts().env, fail::BEFORE_DECIDE).await?;
        self.writes().decide(query, seen, rows, manifest).await?;
        Ok(())
    }

    async fn staged_files(&self, query: QueryId) -> Result<Vec<File>> {
        let reading = Reading { from: None, keep: true };
        let mut rows = RowStream::new(self.clone(), query, manifest_schema(), reading);
        let mut files = Vec::new();
        while let Some(chunk) = rows.try_next().await? {
            files.extend(manifest_file(&chunk.batch)?);
        }
        Ok(files)
    }

    /// Records that the write has failed by `error`, and returns it; if another recorded something
    /// else meanwhile, that is to be looked at.
    async fn give_up(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        landing: &Landing,
        error: Error,
    ) -> Result<()> {
        let now = self.parts().env.unix_ms();
        match self.writes().abort(query, seen, now).await? {
            Swap::Conflict => Ok(()),
            Swap::Done => {
                self.withdraw(query, seen, landing).await;
                Err(error)
            }
        }
    }

    async fn publish_files(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        landing: &Landing,
        target: &Target,
    ) -> Result<()> {
        let records = self.writes();
        if let Err(error) = landing.publish(&seen.record.manifest).await {
            // Another may have finished, and cleaned up, under our hands.
            return match records.write(query).await? {
                Some(now) if now == *seen => {
                    let error = error.context(format!("write to {}", Shown(target)));
                    Err(if error.kind() == Kind::Lost { error.with_hint(LOST) } else { error })
                }
                _ => Ok(()),
            };
        }
        fail::point(&self.parts().env, fail::BEFORE_DONE).await?;
        let now = self.parts().env.unix_ms();
        if records.finish(query, seen, now).await? == Swap::Done {
            return Ok(());
        }
        match (records.write(query).await?, &target.table) {
            // The record is as it was, so it was the table's name, or its schema. The record first:
            // while it says that the files count, another may make the table of them.
            (Some(now), Some(table)) if now == *seen => {
                let error = records.not_made(table).await?;
                self.give_up(query, seen, landing, error).await
            }
            _ => Ok(()),
        }
    }

    /// Removes what is left of the query of a write, unless that may still need it: the manifest
    /// of an open write is its query's result. What stays is the sweeper's.
    pub(super) async fn clean_up_after(&self, query: QueryId) {
        let phase = match self.writes().write(query).await {
            Ok(write) => write.map(|write| write.record.phase()),
            Err(error) => {
                return tracing::debug!(%query, %error, "a query is left to the sweeper");
            }
        };
        match phase {
            Some(Phase::Open | Phase::Unspecified) => return,
            Some(Phase::Decided | Phase::Done) => {}
            // It may have been published just when it was given up.
            Some(Phase::Aborted) | None => {
                if let Err(error) = self.stop_write(query).await {
                    tracing::debug!(%query, %error, "a query of no write goes on");
                }
            }
        }
        self.clean_up(query).await;
    }

    /// What it cannot remove now is removed by the sweeper.
    async fn clean_staging(&self, query: QueryId, landing: &Landing) {
        if let Err(error) = landing.clean().await {
            tracing::debug!(%query, %error, "staged files left to the sweeper");
        }
    }

    /// The same after the write was given up.
    async fn withdraw(&self, query: QueryId, seen: &Stored<Write>, landing: &Landing) {
        if let Err(error) = landing.withdraw(was_decided(&seen.record)).await {
            tracing::debug!(%query, %error, "files of no write left to the sweeper");
        }
    }
}
