//! Opening a sealed stage again, because output of it is lost. Pure: records and evidence in,
//! changes out. The protocol is in `design/2026-11-21-lost-outputs.md`.

use std::collections::BTreeSet;

use dunlin_base::{Error, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::output::{Location, MapOutput, StageOutput};
use dunlin_proto::queue::{Card, Phase, Stage, StagePhase};
use dunlin_proto::shuffle::MapAttempt;
use prost::Message;

use crate::changes::Changes;
use crate::depot;
use crate::member::Role;
use crate::queue::{CONFLICTS_MAX, Outcome, Queue};
use crate::record::Batch;
use crate::records::{Purpose, Records};

/// Times that a stage may lose output, or wait for inputs that did.
const EPOCHS_MAX: u32 = 64;

/// Stages that one transaction reopens or holds back.
const STAGES_MAX: usize = 45;

/// What of a sealed stage's output could not be read.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The stage whose output it is.
    pub stage: StageId,
    /// The stage's epoch when its output was looked up: what has changed since is not judged.
    pub epoch: StageEpoch,
    /// What of it is gone.
    pub what: Lost,
    /// Why, for the query's record should it fail of it.
    pub cause: Error,
}

/// The part of an output that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All that nobody but these shuffle workers holds, by their process ids as outputs name them, but
    /// for what was acknowledged as being in the object store.
    Workers(Vec<String>),
    /// All that nobody but these workers holds or held: nobody has adopted what they left in the object
    /// store.
    Estates(Vec<String>),
    /// The output of these maps.
    Maps(Vec<MapAttempt>),
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// So many maps are run again.
    Maps(u32),
    /// The stage has changed since the reader looked: look again.
    Before,
    /// The query has failed, because it loses output again and again.
    Failed,
}

impl Queue {
    /// Records that output of a sealed stage is gone: its slices become claimable again, and its
    /// readers wait for them. A query that was done runs again. Idempotent, callable by anybody.
    /// `Fenced`: the query has failed, was cancelled, or has no records.
    pub async fn reopen(&self, query: QueryId, missing: &Missing) -> Result<Reopened> {
        let gone = || Error::fenced(format!("query {query} is over"));
        for _ in 0..CONFLICTS_MAX {
            let records = self.load(query, Purpose::Report).await?.ok_or_else(gone)?;
            if !records.is_running() && records.meta.record.phase() != Phase::Done {
                return Err(gone());
            }
            self.forget_all(query, &records);
            let now = self.env().unix_ms();
            let Some((changes, reopened)) = reopen(&records, missing, now)? else {
                return Ok(Reopened::Before);
            };
            let mut batch = Batch::new(query).synced();
            changes.write(&records, &mut batch)?;
            if let Outcome::Committed(_) = self.apply(batch).await? {
                tracing::warn!(
                    %query, stage = %missing.stage, error = %missing.cause, ?reopened,
                    "output of a sealed stage is lost"
                );
                return Ok(reopened);
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be reopened")))
    }
}

impl Queue {
    /// True if the store has the card of a shuffle worker that is, or was before its present life,
    /// this process, or has adopted its objects.
    pub async fn has_shuffle_worker(&self, worker: ProcessId) -> Result<bool> {
        let (id, prefix) = (worker.to_string(), Role::Shuffle.prefix());
        let cards = self.store().range(prefix).await?.entries;
        Ok(cards.iter().any(|entry| {
            let card = || Card::decode(entry.value.as_ref()).unwrap_or_default();
            let named = |card: Card| card.former.contains(&id) || card.adopted.contains(&id);
            entry.key.strip_prefix(prefix) == Some(&id) || named(card())
        }))
    }
}

/// The changes that a loss asks for; `None` if the stage is not as the reader saw it.
pub(crate) fn reopen(
    records: &Records,
    missing: &Missing,
    now_unix_ms: u64,
) -> Result<Option<(Changes, Reopened)>> {
    let number = missing.stage.0;
    let Some(stage) = records.stages.get(&number).map(|stored| &stored.record) else {
        return Ok(None);
    };
    if stage.phase() != StagePhase::Sealed || stage.epoch != missing.epoch.0 {
        return Ok(None);
    }
    // Of a query that is done only the result is still read.
    let meta = &records.meta.record;
    if meta.phase() == Phase::Done && meta.result_stage != number {
        return Ok(None);
    }
    let output: StageOutput =
        depot::decode(records.body(stage.output.as_ref())?, "the output of a stage")?;
    let (lost, kept): (Vec<_>, Vec<_>) =
        output.maps.into_iter().partition(|map| is_lost(map, &missing.what));
    if lost.is_empty() {
        return Ok(None);
    }
    let mut reopening =
        Reopening { records, changes: Changes::of(records), again: BTreeSet::new() };
    reopening.lose(number, &lost, StageOutput { maps: kept })?;
    let Reopening { mut changes, .. } = reopening;
    if stage.epoch >= EPOCHS_MAX || changes.stages.len() > STAGES_MAX {
        let text = format!("stage {number} lost output again, in epoch {}", stage.epoch);
        let failure = missing.cause.clone().context(text);
        let changes = Changes::failed(records, &failure, now_unix_ms);
        return Ok(Some((changes, Reopened::Failed)));
    }
    if meta.phase() == Phase::Done {
        changes.resume(records);
    }
    Ok(Some((changes, Reopened::Maps(lost.len() as u32))))
}

/// True if no copy is left.
fn is_gone(location: &Location, gone: &[String]) -> bool {
    let is = |worker: &String| worker.is_empty() || gone.contains(worker);
    is(&location.worker) && is(&location.peer)
}

/// Small outputs travel in the record itself and are never lost.
fn is_lost(map: &MapOutput, what: &Lost) -> bool {
    let of = |m: &MapAttempt| (m.map, m.attempt.0) == (map.first_slice, map.attempt);
    let holds = map.partitions.iter().any(|partition| partition.blocks > 0);
    !map.inlined
        && holds
        && match what {
            Lost::Workers(gone) => {
                map.locations.iter().any(|at| !at.in_object_store && is_gone(at, gone))
            }
            Lost::Estates(gone) => map.locations.iter().any(|at| is_gone(at, gone)),
            Lost::Maps(maps) => maps.iter().any(of),
        }
}

/// The stage as it begins its next epoch, not sealed.
fn next_epoch(stage: &Stage) -> Stage {
    let mut next = Stage { epoch: stage.epoch + 1, ..stage.clone() };
    next.set_phase(StagePhase::Waiting);
    next
}

struct Reopening<'a> {
    records: &'a Records,
    changes: Changes,
    /// Stages that run again as a whole.
    again: BTreeSet<u32>,
}

impl Reopening<'_> {
    /// A sealed stage is left with `kept`.
    fn lose(&mut self, number: u32, lost: &[MapOutput], kept: StageOutput) -> Result<()> {
        let Some(stored) = self.records.stages.get(&number) else { return Ok(()) };
        if !stored.record.determinate {
            return self.restart(number);
        }
        let mut stage = next_epoch(&stored.record);
        let lost = lost.iter().map(|map| (map.first_slice, map.attempt));
        let lost = self.records.voided(number)?.with(lost);
        stage.lost = depot::inline(lost.encode_to_vec().into());
        stage.output = depot::inline(kept.encode_to_vec().into());
        self.changes.stages.insert(number, stage);
        for reader in self.readers(number) {
            if !self.is_sealed(reader) {
                self.hold_back(reader);
            }
        }
        self.settle(number);
        Ok(())
    }

    /// A stage runs again as a whole, and so do all that have read it.
    fn restart(&mut self, number: u32) -> Result<()> {
        if !self.again.insert(number) {
            return Ok(());
        }
        let Some(stored) = self.records.stages.get(&number) else { return Ok(()) };
        let mut stage = next_epoch(&stored.record);
        stage.restarted = stage.epoch;
        (stage.lost, stage.output) = (None, None);
        self.changes.stages.insert(number, stage);
        for reader in self.readers(number) {
            self.restart(reader)?;
        }
        self.settle(number);
        Ok(())
    }

    /// An unsealed reader keeps its commits and waits.
    fn hold_back(&mut self, number: u32) {
        let Some(stored) = self.records.stages.get(&number) else { return };
        self.changes.stages.insert(number, next_epoch(&stored.record));
        self.settle(number);
    }

    /// The phase that a changed stage has by those of its inputs.
    fn settle(&mut self, number: u32) {
        let Some(mut stage) = self.changes.stages.remove(&number) else { return };
        let whole = stage.inputs.iter().all(|input| self.is_sealed(*input));
        stage.set_phase(if whole { StagePhase::Open } else { StagePhase::Waiting });
        self.changes.note_inputs(self.records, &mut stage);
        if whole {
            self.changes.ready.insert(number);
        }
        self.changes.stages.insert(number, stage);
    }

    fn readers(&self, number: u32) -> Vec<u32> {
        let stages = self.records.stages.iter();
        let reads = |stage: &Stage| stage.inputs.contains(&number);
        stages.filter(|(_, stored)| reads(&stored.record)).map(|(reader, _)| *reader).collect()
    }

    fn is_sealed(&self, number: u32) -> bool {
        let stored = self.records.stages.get(&number).map(|stored| &stored.record);
        let stage = self.changes.stages.get(&number).or(stored);
        stage.is_some_and(|stage| stage.phase() == StagePhase::Sealed)
    }
}
