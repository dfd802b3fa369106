//! Claiming: a compare-and-swap on one segment, under the fence of the claimer's card.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_base::{Error, Kind, QueryId, Result, Revision, StageEpoch, StageId};
use dunlin_metadata::Entry;
use dunlin_proto::queue::{Segment, Stage, StagePhase};
use futures::future::try_join_all;

use crate::attempt::{ClaimAttempt, Tried};
use crate::choose;
use crate::claimed::{ClaimedSlices, InputStage, StageView};
use crate::keys::{self, Part};
use crate::live::LiveSet;
use crate::member::Member;
use crate::queue::Queue;
use crate::ready::{self, AtHand, ReadyStage, ReadyWatch};
use crate::record::Stored;
use crate::records::Records;
use crate::voided::Voided;

/// Segments read one by one before all of them are read at once.
const PROBES_MAX: u32 = 3;

/// Segments that were read for this claim.
#[derive(Default)]
struct Seen {
    segments: HashMap<u32, Stored<Segment>>,
    /// Those that are not in the map have no record.
    all: bool,
    /// The query's records, if they were read and the stage is the only one.
    records: Option<Records>,
}

/// What an executor has free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Task slots.
    pub slots: u32,
    /// It runs nothing: slices that must run alone may come.
    pub idle: bool,
}

/// What an executor gets from a stage.
#[derive(Clone, Debug)]
pub enum Offer {
    /// These slices are its own.
    Taken(ClaimedSlices),
    /// There is nothing to take now.
    Nothing,
    /// There are slices that must run alone, and the executor is not idle.
    Alone {
        /// Of all live executors it is the first choice for them: it should take nothing else, so
        /// that it becomes idle, and ask again.
        first_choice: bool,
    },
}

impl Queue {
    /// The stages that may have slices to claim, short lane first, within a lane by age of their
    /// query.
    pub async fn ready_stages(&self) -> Result<Vec<ReadyStage>> {
        let snapshot = self.store().range(keys::READY).await?;
        Ok(ready::sorted(snapshot.entries.iter()))
    }

    /// The same, kept current.
    pub async fn watch_ready(&self) -> Result<ReadyWatch> {
        let mirror = self.mirror(keys::READY.to_owned()).await?;
        Ok(ReadyWatch::new(mirror, self.build().to_owned()))
    }

    /// Takes a run of slices of the stage, as many as guided self-scheduling gives for the free
    /// slots. A slice that executors died of is taken by itself, then only by an idle executor; if
    /// that one dies, too, this call fails the query. `Fenced`: the member's lease is gone.
    pub async fn claim(
        &self,
        member: &Member,
        stage: &ReadyStage,
        room: Room,
        live: &LiveSet,
    ) -> Result<Offer> {
        member.check()?;
        if room.slots == 0 || !self.reads(&stage.build) {
            return Ok(Offer::Nothing);
        }
        if let Some(offer) = self.claim_as_seen(member, stage, room, live).await? {
            return Ok(offer);
        }
        if stage.at_hand.is_empty() {
            return Ok(Offer::Nothing);
        }
        // What came with the news is a hint: what is there decides.
        let stage = ReadyStage { at_hand: AtHand::default(), ..stage.clone() };
        let offer = self.claim_as_seen(member, &stage, room, live).await?;
        Ok(offer.unwrap_or(Offer::Nothing))
    }

    /// `None`: the stage is over, or is not as it came with the news of it.
    async fn claim_as_seen(
        &self,
        member: &Member,
        stage: &ReadyStage,
        room: Room,
        live: &LiveSet,
    ) -> Result<Option<Offer>> {
        let Some((view, mut seen)) = self.open_view(stage).await? else {
            return Ok(Some(Offer::Nothing));
        };
        let random = |below| self.env().random_below(below);
        let segments = view.stage.segment_count;
        let order = choose::order(member.id(), view.query, view.number, segments, random);
        let mut probes = 0;
        let mut alone = None;
        for segment in order {
            if view.is_complete(segment) {
                continue;
            }
            let stored = self.read_segment(&view, segment, &mut seen, &mut probes).await?;
            let mut attempt = ClaimAttempt::new(self, member, &view, room, live);
            attempt.records = seen.records.take();
            match attempt.run(segment, stored).await? {
                Tried::Taken(claim) => return Ok(Some(Offer::Taken(claim))),
                Tried::Nothing => {}
                Tried::Alone => alone = alone.or(Some(segment)),
                Tried::Over => {
                    self.forget(view.query, view.number);
                    return Ok(None);
                }
            }
        }
        if let Some(segment) = alone {
            let first = live.first(&stage.build, (view.query, view.number, segment));
            return Ok(Some(Offer::Alone { first_choice: first == Some(member.id()) }));
        }
        if (0..segments).all(|segment| view.is_complete(segment)) {
            // Whoever committed the last slice did not get to seal the stage.
            self.advance(view.query).await?;
        }
        Ok(Some(Offer::Nothing))
    }

    async fn read_segment(
        &self,
        view: &StageView,
        segment: u32,
        seen: &mut Seen,
        probes: &mut u32,
    ) -> Result<Stored<Segment>> {
        if !seen.all && !seen.segments.contains_key(&segment) {
            let (query, stage) = (view.query, view.number);
            if *probes < PROBES_MAX {
                *probes += 1;
                let entry = self.store().get(&keys::segment(query, stage, segment)).await?;
                if let Some(entry) = entry {
                    seen.segments.insert(segment, Stored::read(&entry)?);
                }
            } else {
                let snapshot = self.store().range(&keys::segments(query, stage)).await?;
                seen.segments = segments_in(stage, &snapshot.entries)?;
                seen.all = true;
            }
        }
        let stored = seen.segments.remove(&segment).map(|stored| view.live(stored));
        Ok(stored.unwrap_or_else(|| view.first(segment)))
    }

    /// The stage's fixed parts, remembered or read; `None` if it is not open. Reads the segment of
    /// a stage that has only one in the same call, and the few records of a query that begins.
    async fn open_view(&self, ready: &ReadyStage) -> Result<Option<(Arc<StageView>, Seen)>> {
        let id = (ready.query, ready.stage);
        let known = self.views().lock().get(&id);
        // A stage that was opened again has segments that are complete by an older view only.
        if let Some(view) = known.filter(|view| view.stage.epoch >= ready.epoch) {
            return Ok(Some((view, Seen::default())));
        }
        let (entry, seen) = self.stage_entry(ready).await?;
        let Some(entry) = entry else { return Ok(None) };
        let stored = match Stored::<Stage>::read(&entry) {
            Ok(stored) => stored,
            Err(error) => {
                self.unreadable(&entry, id.0, error).await?;
                return Ok(None);
            }
        };
        if stored.record.phase() != StagePhase::Open {
            return Ok(None);
        }
        let view = match self.view(id, stored.record, entry.modified).await {
            Ok(view) => Arc::new(view),
            Err(error) if error.kind() == Kind::Lost => {
                self.unreadable(&entry, id.0, error).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.views().lock().insert(id, view.clone());
        Ok(Some((view, seen)))
    }

    /// The stage's record as it came with the news of it, or as it is now; with it what else was
    /// read. What came may be out of date: then the claim conflicts, and learns what is there.
    async fn stage_entry(&self, ready: &ReadyStage) -> Result<(Option<Entry>, Seen)> {
        let key = keys::stage(ready.query, ready.stage);
        let is_stage = |entry: &Entry| entry.key == key;
        let (single, begins) = (ready.segment_count <= 1, ready.stage == StageId(0));
        let at_hand = &ready.at_hand.written;
        let entries = if at_hand.iter().any(is_stage) {
            self.recall(ready.query, &ready.at_hand.inputs)?;
            at_hand.to_vec()
        } else if single {
            let prefix = if begins { keys::query(ready.query) } else { key.clone() };
            self.store().range(&prefix).await?.entries
        } else {
            return Ok((self.store().get(&key).await?, Seen::default()));
        };
        let mut seen = Seen::default();
        if single {
            let records = if begins { alone(ready.query, &entries)? } else { None };
            seen = Seen { segments: segments_in(ready.stage, &entries)?, all: true, records };
        }
        Ok((entries.into_iter().find(is_stage), seen))
    }

    /// Parts of a stage are gone or damaged: either the whole query is, meanwhile, or it cannot go on.
    async fn unreadable(&self, stage: &Entry, query: QueryId, error: Error) -> Result<()> {
        let now = self.store().get(&stage.key).await?;
        if now.is_some_and(|now| now.modified == stage.modified) {
            self.fail(query, &error).await?;
        }
        Ok(())
    }

    pub(crate) async fn view(
        &self,
        id: (QueryId, StageId),
        mut stage: Stage,
        modified: Revision,
    ) -> Result<StageView> {
        let (template, slice_list) = (stage.template.take(), stage.slices.take());
        let template = self.depot().load(template.as_ref());
        let slice_list = self.depot().load(slice_list.as_ref());
        let lost = stage.lost.take();
        let lost = self.depot().load(lost.as_ref());
        let epochs = stage.input_epochs.iter().copied().chain(std::iter::repeat(0));
        let inputs = stage.inputs.iter().copied().map(StageId).zip(epochs.map(StageEpoch));
        let inputs = inputs.map(|(input, from)| self.sealed_stage(id.0, input, from));
        let inputs: Vec<_> = inputs.collect();
        let (template, slice_list, lost, outputs) =
            futures::try_join!(template, slice_list, lost, try_join_all(inputs))?;
        let voided = Voided::new(&stage, lost)?;
        let inputs = stage.inputs.iter().zip(outputs);
        let inputs = inputs.map(|(stage, (epoch, output))| {
            let stage = StageId(*stage);
            InputStage { stage, epoch, output }
        });
        let inputs = inputs.collect();
        let mut view = StageView::new(id, stage, modified, (template, slice_list), inputs);
        view.voided = voided;
        Ok(view)
    }
}

fn segments_in(stage: StageId, entries: &[Entry]) -> Result<HashMap<u32, Stored<Segment>>> {
    let mut segments = HashMap::new();
    for entry in entries {
        if let Some((_, Part::Segment(of, number))) = keys::parse(&entry.key)
            && of == stage.0
        {
            segments.insert(number, Stored::read(entry)?);
        }
    }
    Ok(segments)
}

/// The records of a query that has one stage, opened once, and nothing in blobs.
fn alone(query: QueryId, entries: &[Entry]) -> Result<Option<Records>> {
    let records = Records::read(query, entries)?;
    Ok(records.filter(|records| {
        let first = records.stages.values().all(|stage| stage.record.epoch == 0);
        records.stages.len() == 1 && first && !records.names_blobs()
    }))
}
