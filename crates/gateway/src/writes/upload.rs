//! Rows that a client sends, written by the gateway that they come to.
//!
//! A write like others, but for its rows: they come from a stream and not from a query, so this
//! gateway stages the files itself and makes the manifest of them. From the decision on it is
//! [`drive`](super::drive)'s, as every write.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::env::Task;
use dunlin_base::{Error, Kind, QueryId, Result};
use dunlin_planner::write::Landing;
use dunlin_planner::{Ingest, IngestPlan};
use dunlin_proto::write::target::Kind as TargetKind;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{File, Write};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use crate::gateway::Gateway;
use crate::session::Session;

/// How often within the time after which a write counts as forsaken its gateway says that it is
/// not.
const RENEWALS: u32 = 4;

/// At most this often.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Looks at the record until it says that the files count: a renewal that was on its way when the
/// last row came may be between the first and the second.
const DECIDE_TRIES: u32 = 8;

impl Session {
    /// Makes all rows of a stream files of a table, and says how many they were. All of them count
    /// or none. An error of the stream is the upload's; dropping the future gives it up, unless it
    /// was decided.
    pub(crate) async fn upload(
        &self,
        ingest: &Ingest,
        columns: SchemaRef,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<u64> {
        let plan = self.plan_ingest(ingest, columns).await?;
        let gateway = self.gateway();
        let mut upload = Upload::begin(gateway, &plan).await?;
        let written = upload.write(plan, rows).await;
        let decided = match written {
            Ok(files) => upload.decide(files).await,
            Err(error) => Err(error),
        };
        // On an error it was not decided, or nobody knows: dropping it has it looked at again.
        decided?;
        let rows = gateway.drive(upload.id).await;
        upload.ended = true;
        rows
    }

    /// Plans on the CPU runtime, as statements are.
    async fn plan_ingest(&self, ingest: &Ingest, columns: SchemaRef) -> Result<IngestPlan> {
        let (planner, ingest) = (Arc::clone(self.planned()), ingest.clone());
        let cpu = self.gateway().parts().cpu.clone();
        let plan = async move { planner.ingest(&ingest, &columns).await };
        let planned = cpu.spawn("plan ingest", plan).join().await;
        planned.unwrap_or_else(|panic| Err(Error::bug(format!("planning panicked: {panic}"))))
    }
}

/// A write that has a record and no files that count.
struct Upload {
    gateway: Gateway,
    id: QueryId,
    landing: Landing,
    kind: TargetKind,
    /// It was taken to its end, or can be by anybody.
    ended: bool,
}

impl Upload {
    async fn begin(gateway: &Gateway, plan: &IngestPlan) -> Result<Self> {
        let (id, records) = (plan.id, gateway.writes());
        let now = gateway.parts().env.unix_ms();
        let mut write = Write {
            target: Some(plan.target.clone()),
            created_unix_ms: now,
            renewed_unix_ms: now,
            ..Write::default()
        };
        write.set_phase(Phase::Open);
        let landing = Landing::new(&gateway.parts().stores, &plan.target, id)?;
        if records.begin(id, &write, None).await?.is_none() {
            return Err(Error::retry("the table was made or removed meanwhile"));
        }
        let kind = plan.target.kind();
        let upload = Self { gateway: gateway.clone(), id, landing, kind, ended: false };
        if kind != TargetKind::Insert {
            // Another statement may have had the target since this one was planned.
            upload.landing.check_free().await?;
            upload.landing.stage_empty(plan.empty.clone()).await?;
        }
        Ok(upload)
    }

    /// Stages the files, on the CPU runtime, and keeps the record fresh meanwhile.
    async fn write(
        &self,
        plan: IngestPlan,
        rows: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<Vec<File>> {
        let parts = self.gateway.parts();
        let (contexts, env) = (parts.contexts.clone(), parts.env.clone());
        let (done, ended) = futures::channel::oneshot::channel();
        let task = parts.cpu.spawn("upload", async move {
            let files: Result<Vec<File>> = match plan.write(rows, &contexts, &env) {
                Ok(files) => files.try_collect().await,
                Err(error) => Err(error),
            };
            // Nobody listens any more when the upload was given up.
            let _ = done.send(files);
        });
        let _stopped = AbortOnDrop(task);
        tokio::select! {
            files = ended => files.unwrap_or_else(|_| Err(Error::bug("writing rows panicked"))),
            error = self.keep() => Err(error),
        }
    }

    /// Says that the upload goes on, until somebody has given it up.
    async fn keep(&self) -> Error {
        let every = self.gateway.queue().hold() / RENEWALS;
        loop {
            self.gateway.parts().env.sleep(every.max(EVERY_MIN)).await;
            match self.renew().await {
                Ok(true) => {}
                Ok(false) => return given_up(),
                // There are more tries before anybody takes it for forsaken.
                Err(error) if error.kind() == Kind::Retry => {}
                Err(error) => return error,
            }
        }
    }

    /// `false`: the upload was given up.
    async fn renew(&self) -> Result<bool> {
        let (records, now) = (self.gateway.writes(), self.gateway.parts().env.unix_ms());
        let Some(seen) = records.write(self.id).await? else { return Ok(false) };
        if seen.record.phase() != Phase::Open {
            return Ok(false);
        }
        // If another was first, the next look says why.
        records.renew(self.id, &seen, now).await?;
        Ok(true)
    }

    /// The files count. `Retry`: the upload was given up before.
    async fn decide(&self, files: Vec<File>) -> Result<()> {
        let rows = files.iter().map(|file| file.rows).sum();
        let must_have_one = self.kind != TargetKind::Insert;
        let manifest = self.landing.manifest(files, must_have_one);
        let manifest = self.landing.stage_manifest(&manifest).await?;
        let records = self.gateway.writes();
        for _ in 0..DECIDE_TRIES {
            let seen = records.write(self.id).await?.ok_or_else(given_up)?;
            match seen.record.phase() {
                // Whoever was faster is seen at the next look.
                Phase::Open => {
                    records.decide(self.id, &seen, rows, manifest.clone()).await?;
                }
                Phase::Decided | Phase::Done => return Ok(()),
                Phase::Aborted | Phase::Unspecified => return Err(given_up()),
            }
        }
        Err(Error::retry("the record of the upload changes all the time"))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.ended || self.gateway.is_killed() {
            return;
        }
        let (gateway, id) = (self.gateway.clone(), self.id);
        gateway.clone().in_background(async move {
            if let Err(error) = gateway.forsake(id).await {
                tracing::debug!(query = %id, %error, "an upload is left to the sweeper");
            }
        });
    }
}

impl Gateway {
    /// Gives up an upload that was not decided, and takes one that was to its end.
    async fn forsake(&self, id: QueryId) -> Result<()> {
        let records = self.writes();
        let Some(seen) = records.write(id).await? else { return Ok(()) };
        if seen.record.phase() == Phase::Open {
            records.abort(id, &seen, self.parts().env.unix_ms()).await?;
        }
        match self.drive(id).await {
            // It says that nothing was written: so it is meant.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::Retry => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn given_up() -> Error {
    Error::retry("the upload was given up: nothing was written").with_hint("send the rows again")
}

struct AbortOnDrop(Task<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
