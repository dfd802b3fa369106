//! Claiming: a compare-and-swap on one segment, under the fence of the claimer's card.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use dunlin_base::{Attempt, Error, Kind, QueryId, Result, Revision, StageEpoch, StageId};
use dunlin_metadata::{Compare, Entry};
use dunlin_proto::queue::{Claim, Segment, Stage, StagePhase};
use futures::future::try_join_all;
use parking_lot::Mutex;

use crate::choose;
use crate::claimed::{ClaimedSlices, Held, InputStage, StageView};
use crate::keys::{self, Part};
use crate::live::LiveSet;
use crate::member::{Member, Token};
use crate::queue::{Found, Outcome, Queue};
use crate::ready::{self, ReadyStage, ReadyWatch};
use crate::record::{Batch, Stored};
use crate::segment;
use crate::voided::Voided;

/// Segments read one by one before all of them are read at once.
const PROBES_MAX: u32 = 3;

/// Conflicts on one segment before another one is tried.
const SEGMENT_TRIES: u32 = 8;

/// Dead executors whose claims are dropped by one transaction.
const DEAD_MAX: usize = 32;

/// Segments that were read for this claim.
#[derive(Default)]
struct Seen {
    segments: HashMap<u32, Stored<Segment>>,
    /// Those that are not in the map have no record.
    all: bool,
}

/// What came of trying one segment.
enum Tried {
    Taken(ClaimedSlices),
    /// Nothing to take here now.
    Nothing,
    /// The stage or query is over.
    Over,
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
        self.mirror(keys::READY.to_owned()).await.map(ReadyWatch::new)
    }

    /// Takes a run of slices of the stage, as many as guided self-scheduling gives for
    /// `free_slots`; `None` if there is nothing to take now. `Fenced`: the member's lease is gone.
    pub async fn claim(
        &self,
        member: &Member,
        stage: &ReadyStage,
        free_slots: u32,
        live: &LiveSet,
    ) -> Result<Option<ClaimedSlices>> {
        member.check()?;
        if free_slots == 0 {
            return Ok(None);
        }
        let Some((view, mut seen)) = self.open_view(stage).await? else { return Ok(None) };
        let random = |below| self.env().random_below(below);
        let segments = view.stage.segment_count;
        let order = choose::order(member.id(), view.query, view.number, segments, random);
        let mut probes = 0;
        for segment in order {
            if view.is_complete(segment) {
                continue;
            }
            let stored = self.read_segment(&view, segment, &mut seen, &mut probes).await?;
            let mut attempt = ClaimAttempt::new(self, member, &view, free_slots, live);
            match attempt.run(segment, stored).await? {
                Tried::Taken(claim) => return Ok(Some(claim)),
                Tried::Nothing => {}
                Tried::Over => {
                    self.forget(view.query, view.number);
                    return Ok(None);
                }
            }
        }
        if (0..segments).all(|segment| view.is_complete(segment)) {
            // Whoever committed the last slice did not get to seal the stage.
            self.advance(view.query).await?;
        }
        Ok(None)
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
                seen.segments = segments_in(&snapshot.entries)?;
                seen.all = true;
            }
        }
        let stored = seen.segments.remove(&segment).map(|stored| view.live(stored));
        Ok(stored.unwrap_or_else(|| view.first(segment)))
    }

    /// The stage's fixed parts, remembered or read; `None` if it is not open. Reads the segment of
    /// a stage that has only one in the same call.
    async fn open_view(&self, ready: &ReadyStage) -> Result<Option<(Arc<StageView>, Seen)>> {
        let id = (ready.query, ready.stage);
        let known = self.views().lock().get(&id);
        // A stage that was opened again has segments that are complete by an older view only.
        if let Some(view) = known.filter(|view| view.stage.epoch >= ready.epoch) {
            return Ok(Some((view, Seen::default())));
        }
        let key = keys::stage(ready.query, ready.stage);
        let mut seen = Seen::default();
        let entry = if ready.segment_count <= 1 {
            let entries = self.store().range(&key).await?.entries;
            seen = Seen { segments: segments_in(&entries)?, all: true };
            entries.into_iter().find(|entry| entry.key == key)
        } else {
            self.store().get(&key).await?
        };
        let Some(entry) = entry else { return Ok(None) };
        let stored = Stored::<Stage>::read(&entry)?;
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

    /// Parts of a stage are gone: either the whole query is, meanwhile, or it cannot go on.
    async fn unreadable(&self, stage: &Entry, query: QueryId, error: Error) -> Result<()> {
        let now = self.store().get(&stage.key).await?;
        if now.is_some_and(|now| now.modified == stage.modified) {
            self.fail(query, &error).await?;
        }
        Ok(())
    }

    async fn view(
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

fn segments_in(entries: &[Entry]) -> Result<HashMap<u32, Stored<Segment>>> {
    let mut segments = HashMap::new();
    for entry in entries {
        if let Some((_, Part::Segment(_, number))) = keys::parse(&entry.key) {
            segments.insert(number, Stored::read(entry)?);
        }
    }
    Ok(segments)
}

struct ClaimAttempt<'a> {
    queue: &'a Queue,
    member: &'a Member,
    view: &'a Arc<StageView>,
    free_slots: u32,
    live: &'a LiveSet,
    own: String,
    /// Executors that the store knows to be alive though the live set does not (yet).
    alive: BTreeSet<String>,
}

impl<'a> ClaimAttempt<'a> {
    fn new(
        queue: &'a Queue,
        member: &'a Member,
        view: &'a Arc<StageView>,
        free_slots: u32,
        live: &'a LiveSet,
    ) -> Self {
        let own = member.id().to_string();
        Self { queue, member, view, free_slots, live, own, alive: BTreeSet::new() }
    }

    async fn run(&mut self, number: u32, mut stored: Stored<Segment>) -> Result<Tried> {
        let token = self.member.token();
        let epoch = self.view.stage.epoch;
        for _ in 0..SEGMENT_TRIES {
            let dead = self.dead(&stored.record);
            let is_void = |claim: &Claim| self.is_void(claim, &dead);
            let free = segment::free_runs(&stored.record, is_void);
            let free_slices = free.iter().map(|run| run.end - run.start).sum();
            self.view.saw(number, &stored.record, free_slices);
            let live = self.live.count();
            let size = choose::size(self.free_slots, self.view.remaining(), live);
            let Some(run) = choose::run(&free, size) else { return Ok(Tried::Nothing) };
            let now = self.queue.env().unix_ms();
            let claimer = token.claimer(epoch);
            let next = segment::claim(&stored.record, &run, &claimer, now, is_void);
            let attempt = Attempt(stored.record.next_attempt);
            let batch = self.batch(number, &stored, next.clone(), &dead)?;
            match self.queue.apply(batch).await? {
                Outcome::Committed(revision) => {
                    self.view.saw(number, &next, free_slices - (run.end - run.start));
                    let seen = Stored { record: next, modified: Some(revision) };
                    return Ok(Tried::Taken(self.claimed(number, run, attempt, token, seen)));
                }
                Outcome::Conflict(found) => {
                    stored = match found.entry(&self.key(number)) {
                        Some(entry) => self.view.live(Stored::read(entry)?),
                        None => self.view.first(number),
                    };
                    let own = stored.record.claims.iter().find(|c| c.token == token.value);
                    if let Some(own) = own {
                        // The answer to an earlier try was lost.
                        let run = segment::slices_of(own.first_slice, own.slice_count);
                        let attempt = Attempt(own.attempt);
                        return Ok(Tried::Taken(self.claimed(number, run, attempt, token, stored)));
                    }
                    if self.is_over(&found)? {
                        return Ok(Tried::Over);
                    }
                }
            }
        }
        Ok(Tried::Nothing)
    }

    fn key(&self, segment: u32) -> String {
        keys::segment(self.view.query, self.view.number, segment)
    }

    fn batch(
        &self,
        number: u32,
        stored: &Stored<Segment>,
        next: Segment,
        dead: &BTreeMap<String, Option<Revision>>,
    ) -> Result<Batch> {
        let (query, stage) = (self.view.query, self.view.number);
        let mut batch = Batch::owned(query, self.member.owner());
        batch.require(Compare::Modified(keys::stage(query, stage), self.view.modified));
        batch.require(Compare::Absent(keys::cancel(query)));
        for (executor, card) in dead {
            batch.require_dead(executor, *card);
        }
        batch.put(self.key(number), stored, next)?;
        Ok(batch)
    }

    /// A claim is void if its executor's card is gone, or if it is this process's and nobody here
    /// knows of it.
    fn is_void(&self, claim: &Claim, dead: &BTreeMap<String, Option<Revision>>) -> bool {
        if claim.executor == self.own {
            !self.member.holds(claim.token)
        } else {
            dead.contains_key(&claim.executor)
        }
    }

    /// The executors of the segment's claims that seem dead, with the creation of the card that
    /// stands in for theirs. The transaction verifies it.
    fn dead(&self, segment: &Segment) -> BTreeMap<String, Option<Revision>> {
        let mut dead = BTreeMap::new();
        for claim in &segment.claims {
            if claim.executor == self.own || self.alive.contains(&claim.executor) {
                continue;
            }
            let card = claim.executor.parse().ok().and_then(|id| self.live.fence(id));
            if card != Some(Revision(claim.fence)) && dead.len() < DEAD_MAX {
                dead.insert(claim.executor.clone(), card);
            }
        }
        dead
    }

    /// Learns from a conflict. True if the stage or query is over.
    fn is_over(&mut self, found: &Found) -> Result<bool> {
        let (query, stage) = (self.view.query, self.view.number);
        let card = found.entry(&keys::executor(&self.own));
        if card.map(|entry| entry.created) != Some(self.member.fence()) {
            self.member.fence_now();
            self.member.check()?;
        }
        for executor in found.executors() {
            self.alive.insert(executor.to_owned());
        }
        let stage = found.entry(&keys::stage(query, stage));
        let unchanged = stage.map(|entry| entry.modified) == Some(self.view.modified);
        Ok(!unchanged || found.entry(&keys::cancel(query)).is_some())
    }

    fn claimed(
        &self,
        segment: u32,
        slices: Range<u32>,
        attempt: Attempt,
        token: Token,
        seen: Stored<Segment>,
    ) -> ClaimedSlices {
        let view = self.view;
        let deadline = view.stage.deadline_unix_ms;
        ClaimedSlices {
            query: view.query,
            stage: view.number,
            epoch: StageEpoch(view.stage.epoch),
            segment,
            slices,
            attempt,
            template: view.template.clone(),
            slice_list: view.slice_list.clone(),
            slice_count: view.stage.slice_count,
            inputs: view.inputs.clone(),
            deadline_unix_ms: (deadline > 0).then_some(deadline),
            held: Arc::new(Held { token, view: view.clone(), seen: Mutex::new(Some(seen)) }),
        }
    }
}
