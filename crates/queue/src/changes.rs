//! The changes of one step of a query, and how they become a transaction. `unfold` and `reopen`
//! make them; they do not know keys or indexes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_base::{Error, Result, StageEpoch, StageId};
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::queue::{
    Decision, InputOutput, Live, Phase, Query, Ready, Segment, Stage, StagePhase,
};
use prost::Message;

use crate::failure;
use crate::keys;
use crate::ready::Lane;
use crate::record::{AT_HAND_MAX, Batch};
use crate::records::Records;

/// Bytes of SQL kept in `live/` and in the history.
pub(crate) const SHOWN_SQL_MAX: usize = 2048;

/// Most bytes of a result that travels with the news that its query is done.
const NEWS_MAX: usize = 8 << 10;

/// Most bytes of the records of a last step that surely stay inline.
const SURELY_INLINE: usize = 32 << 10;

/// The changes that are due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) meta: Query,
    pub(crate) decisions: BTreeMap<u32, Decision>,
    /// Stages that are new or changed.
    pub(crate) stages: BTreeMap<u32, Stage>,
    /// Those of them that become claimable.
    pub(crate) ready: BTreeSet<u32>,
    /// Outputs of the stages sealed by these changes. Read by `write`: clone, do not take.
    pub(crate) outputs: Vec<(StageId, StageEpoch, StageOutput)>,
    pub(crate) sealed: u32,
    pub(crate) opened: u32,
    /// More is due than one transaction holds: apply these and look again.
    pub(crate) more: bool,
    /// The query ends with these changes.
    pub(crate) ended: Option<Phase>,
    /// All work for the query stops with them.
    pub(crate) stop: bool,
    /// The query was done and runs again.
    resumed: bool,
}

impl Changes {
    /// Nothing yet.
    pub(crate) fn of(records: &Records) -> Self {
        Self { meta: records.meta.record.clone(), ..Self::default() }
    }

    /// The query fails, and nothing else.
    pub(crate) fn failed(records: &Records, error: &Error, now_unix_ms: u64) -> Self {
        let mut changes = Self::of(records);
        changes.meta = failed_meta(records, Phase::Failed, error, now_unix_ms);
        (changes.ended, changes.stop) = (Some(Phase::Failed), true);
        changes
    }

    /// A query that was done runs again. What it left open becomes claimable, too: its end took
    /// the ready keys away.
    pub(crate) fn resume(&mut self, records: &Records) {
        self.meta.set_phase(Phase::Running);
        (self.meta.ended_unix_ms, self.meta.rows) = (0, 0);
        self.resumed = true;
        for (number, stored) in &records.stages {
            let open = stored.record.phase() == StagePhase::Open;
            if open && !self.stages.contains_key(number) {
                let stage = Stage { epoch: stored.record.epoch + 1, ..stored.record.clone() };
                self.stages.insert(*number, stage);
                self.ready.insert(*number);
            }
        }
    }

    /// Writes the present epochs of its inputs into a stage.
    pub(crate) fn note_inputs(&self, records: &Records, stage: &mut Stage) {
        let epoch = |input: &u32| {
            let stored = records.stages.get(input).map(|stored| &stored.record);
            self.stages.get(input).or(stored).map_or(0, |stage| stage.epoch)
        };
        let epochs: Vec<u32> = stage.inputs.iter().map(epoch).collect();
        // None means all zero, which is nearly always so.
        stage.input_epochs =
            if epochs.iter().all(|epoch| *epoch == 0) { Vec::new() } else { epochs };
    }

    /// The failure that the query ends with.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.meta.failure.as_ref().map(failure::to_error)
    }

    /// How many decisions are taken.
    pub(crate) fn decided(&self) -> u32 {
        self.decisions.len() as u32
    }

    /// True if this stage is sealed by the changes.
    pub(crate) fn seals(&self, stage: StageId) -> bool {
        self.outputs.iter().any(|(sealed, ..)| *sealed == stage)
    }

    /// For each stage that becomes claimable the outputs that it reads, if they are small.
    fn inputs_of_ready(&self, records: &Records) -> BTreeMap<u32, Vec<InputOutput>> {
        let ready = self.ready.iter().filter_map(|number| Some((number, self.stages.get(number)?)));
        ready.map(|(number, stage)| (*number, self.inputs_at_hand(records, stage))).collect()
    }

    /// The outputs that a stage reads, if they are small.
    pub(crate) fn inputs_at_hand(&self, records: &Records, stage: &Stage) -> Vec<InputOutput> {
        let mut found = Vec::with_capacity(stage.inputs.len());
        let mut bytes = 0;
        for input in &stage.inputs {
            let new = self.outputs.iter().find(|(number, ..)| number.0 == *input);
            let (epoch, output) = match (new, records.stages.get(input)) {
                (Some((_, epoch, output)), _) => (epoch.0, output.encode_to_vec().into()),
                (None, Some(stored)) => match records.body(stored.record.output.as_ref()) {
                    Ok(output) => (stored.record.epoch, output),
                    Err(_) => return Vec::new(),
                },
                (None, None) => return Vec::new(),
            };
            bytes += output.len();
            if bytes > AT_HAND_MAX {
                return Vec::new();
            }
            found.push(InputOutput { stage: *input, epoch, output });
        }
        found
    }

    /// What the end of the query tells those who wait for it, and who removes it.
    fn news(&self, records: &Records) -> Live {
        let mut stages: BTreeMap<u32, &Stage> =
            records.stages.iter().map(|(number, stored)| (*number, &stored.record)).collect();
        stages.extend(self.stages.iter().map(|(number, stage)| (*number, stage)));
        let segments = || records.segments.values().map(|stored| &stored.record);
        let attempts = segments().map(|segment| segment.next_attempt).sum();
        let done = self.ended == Some(Phase::Done);
        let sealed = stages.values().all(|stage| stage.phase() == StagePhase::Sealed);
        let mut live = Live {
            stages: stages.len() as u32,
            slices: stages.values().map(|stage| stage.slice_count).sum(),
            attempts,
            settled: done && sealed && self.stays_inline(records),
            ..live_entry(&self.meta)
        };
        let result = |output: &&(StageId, StageEpoch, StageOutput)| output.0.0 == live.result_stage;
        if done && let Some((_, epoch, output)) = self.outputs.iter().find(result) {
            live.nothing_pushed = live.stages == 1 && attempts == 1 && is_inlined(output);
            (live.output, live.result_epoch) = (small_output(output), epoch.0);
        }
        live
    }

    /// True if no record of the query names a blob, and none will when these changes are written.
    fn stays_inline(&self, records: &Records) -> bool {
        let stages: usize = self.stages.values().map(Message::encoded_len).sum();
        let decisions: usize = self.decisions.values().map(Message::encoded_len).sum();
        let packed = |segment: &Segment| !segment.packs.is_empty();
        let packed = records.segments.values().any(|stored| packed(&stored.record));
        !packed && !records.names_blobs() && stages + decisions <= SURELY_INLINE
    }

    /// Adds the changes to a batch.
    pub(crate) fn write(self, records: &Records, batch: &mut Batch) -> Result<()> {
        let query = records.query;
        let news = self.ended.is_some().then(|| self.news(records));
        let mut inputs = self.inputs_of_ready(records);
        let is_sealed = |stage: &Stage| stage.phase() == StagePhase::Sealed;
        let before = records.stages.iter().filter(|(_, s)| is_sealed(&s.record));
        let before: BTreeSet<u32> = before.map(|(number, _)| *number).collect();
        let changed = self.stages.iter().filter(|(_, stage)| !is_sealed(stage));
        let unsealed: BTreeSet<u32> = changed.map(|(number, _)| *number).collect();
        let new = self.outputs.iter().map(|(stage, ..)| stage.0);
        batch.set_sealed(before.difference(&unsealed).copied().chain(new).collect());
        batch.set_reopened(before.intersection(&unsealed).copied().collect());
        let index_stages = self.ended.is_none();
        for (number, stage) in self.stages {
            let old = records.stages.get(&number);
            let absent = crate::record::Stored::absent(Stage::default());
            if index_stages && self.ready.contains(&number) {
                let mut entry = ready_entry(&stage);
                entry.inputs = inputs.remove(&number).unwrap_or_default();
                let (lane, number) = (Lane::of(stage.slice_count), StageId(number));
                let key = keys::ready(lane, query, number);
                batch.put_ready(key, keys::stage(query, number), entry);
            } else if index_stages && old.is_some() {
                let lane = Lane::of(stage.slice_count);
                batch.delete(keys::ready(lane, query, StageId(number)));
            }
            batch.put(keys::stage(query, StageId(number)), old.unwrap_or(&absent), stage)?;
        }
        for (number, decision) in self.decisions {
            let absent = crate::record::Stored::absent(Decision::default());
            batch.put(keys::decision(query, number), &absent, decision)?;
        }
        if self.resumed {
            batch.put_index(keys::live(query), &live_entry(&self.meta));
            batch.delete(keys::cancel(query));
        }
        write_meta(batch, records, self.meta, (self.stop, news))
    }
}

/// All rows of an output are in its record.
fn is_inlined(output: &StageOutput) -> bool {
    output.maps.iter().all(|map| map.inlined || map.partitions.is_empty())
}

/// An output that needs no worker to be read, without what only reports need; none if it is large.
fn small_output(output: &StageOutput) -> Bytes {
    if !is_inlined(output) {
        return Bytes::new();
    }
    let maps = output.maps.iter().map(|map| MapOutput { stats: None, ..map.clone() });
    let output = StageOutput { maps: maps.collect() };
    if output.encoded_len() > NEWS_MAX { Bytes::new() } else { output.encode_to_vec().into() }
}

/// The ready entry of an open stage.
pub(crate) fn ready_entry(stage: &Stage) -> Ready {
    Ready {
        weight: stage.weight,
        slice_count: stage.slice_count,
        segment_count: stage.segment_count,
        opened_unix_ms: stage.opened_unix_ms,
        epoch: stage.epoch,
        build: stage.build.clone(),
        ..Ready::default()
    }
}

/// Writes meta and what follows it: the index entry and, at the end, the end of all work.
fn write_meta(
    batch: &mut Batch,
    records: &Records,
    meta: Query,
    (stop, news): (bool, Option<Live>),
) -> Result<()> {
    let query = records.query;
    let ended = !matches!(meta.phase(), Phase::Running | Phase::Queued);
    if ended || records.meta.modified.is_none() {
        batch.put_index(keys::live(query), &news.unwrap_or_else(|| live_entry(&meta)));
    }
    if ended {
        for lane in Lane::ALL {
            batch.delete_prefix(keys::ready_of(lane, query));
        }
    }
    if stop {
        batch.put_cancel();
    }
    batch.put(keys::meta(query), &records.meta, meta)
}

fn live_entry(meta: &Query) -> Live {
    Live {
        phase: meta.phase,
        sql: failure::cut(&meta.sql, SHOWN_SQL_MAX),
        user: meta.user.clone(),
        gateway: meta.gateway.clone(),
        created_unix_ms: meta.created_unix_ms,
        ended_unix_ms: meta.ended_unix_ms,
        deadline_unix_ms: meta.deadline_unix_ms,
        read_unix_ms: 0,
        result_stage: meta.result_stage,
        rows: meta.rows,
        build: meta.build.clone(),
        ..Live::default()
    }
}

/// Adds the end of a running query to a batch: failed, or cancelled.
pub(crate) fn write_end(
    batch: &mut Batch,
    records: &Records,
    phase: Phase,
    error: &Error,
    now_unix_ms: u64,
) -> Result<()> {
    write_meta(batch, records, failed_meta(records, phase, error, now_unix_ms), (true, None))
}

fn failed_meta(records: &Records, phase: Phase, error: &Error, now_unix_ms: u64) -> Query {
    let mut meta = records.meta.record.clone();
    meta.set_phase(phase);
    meta.ended_unix_ms = now_unix_ms;
    meta.failure = Some(failure::to_record(error));
    meta
}
