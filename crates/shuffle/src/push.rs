//! One push to its end: the location that each block goes to, how fast, and the next location when a
//! worker wants that or fails. Which pushes are under way is in `send`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dunlin_base::{Error, Kind, PartitionId, ProcessId, Result};
use dunlin_proto::block::{Block, HEADER_LEN, ShuffleId};
use dunlin_proto::output::PartitionOutput;
use dunlin_proto::shuffle::{Ack, Durability, MapAttempt, Push, Pushed, Refusal};
use parking_lot::Mutex;

use crate::congestion::{Flow, Told, Window};
use crate::fault::PushFault;
use crate::output::WriterOptions;
use crate::pause::Listening;
use crate::place::{Location, Placement};
use crate::read::Workers;
use crate::traffic::Traffic;
use crate::went::Went;

/// Refusals that one push may meet: each takes it to another location.
const REFUSALS_MAX: usize = 16;

/// Index of a location in the table of one writer.
pub(crate) type At = u32;

/// What all pushes of a writer share.
pub(crate) struct Pushing {
    shuffle: ShuffleId,
    workers: Arc<dyn Workers>,
    placement: Arc<dyn Placement>,
    inline_max: usize,
    push_bytes: usize,
    in_flight_max: usize,
    /// Bytes of blocks that were not acknowledged.
    held: AtomicUsize,
    traffic: Option<Arc<Traffic>>,
    user: Option<Arc<str>>,
    /// How fast each worker takes pushes.
    flows: Mutex<BTreeMap<ProcessId, Arc<Flow>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Blocks that may still become inline ones.
    inline: Vec<Block>,
    inline_bytes: usize,
    /// Something was pushed: the output cannot be inline any more.
    pushed: bool,
    locations: Vec<Known>,
    partitions: Vec<Route>,
    pending: BTreeMap<At, Pending>,
}

/// A location that was used.
#[derive(Clone, Copy)]
struct Known {
    location: Location,
    /// The least that was said of the blocks that were acknowledged here; nothing before the first.
    level: Option<Durability>,
}

/// Where one partition's blocks go, and went.
#[derive(Clone, Default)]
struct Route {
    now: Option<At>,
    moves: u32,
    went: Went,
}

#[derive(Default)]
struct Pending {
    blocks: Vec<Block>,
    bytes: usize,
}

impl Pushing {
    pub(crate) fn new(
        workers: Arc<dyn Workers>,
        placement: Arc<dyn Placement>,
        options: &WriterOptions,
    ) -> Self {
        let partitions = vec![Route::default(); options.partitions as usize];
        Self {
            shuffle: options.shuffle,
            workers,
            placement,
            inline_max: options.inline_max,
            push_bytes: options.push_bytes,
            in_flight_max: options.in_flight_max,
            traffic: options.traffic.clone(),
            user: options.user.clone(),
            held: AtomicUsize::new(0),
            flows: Mutex::default(),
            state: Mutex::new(State { partitions, ..State::default() }),
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Takes a block. The pushes that have become large enough.
    pub(crate) async fn take(&self, block: Block) -> Result<Vec<(At, Vec<Block>)>> {
        self.held.fetch_add(size(&block), Relaxed);
        let mut due = Vec::new();
        for block in self.past_inline(block) {
            let at = self.route(block.id.partition).await?;
            due.extend(self.pend(at, block).map(|blocks| (at, blocks)));
        }
        Ok(due)
    }

    /// As [`Pushing::take`], for blocks that come together.
    pub(crate) async fn take_all(&self, blocks: Vec<Block>) -> Result<Vec<(At, Vec<Block>)>> {
        self.held.fetch_add(blocks.iter().map(size).sum(), Relaxed);
        let mut due = Vec::new();
        let mut blocks = blocks.into_iter();
        while let Some(block) = self.pend_known(&mut blocks, &mut due) {
            for block in self.past_inline(block) {
                let at = self.route(block.id.partition).await?;
                due.extend(self.pend(at, block).map(|blocks| (at, blocks)));
            }
        }
        Ok(due)
    }

    /// Takes blocks while it is known where they go. The first one of which it is not.
    fn pend_known(
        &self,
        blocks: &mut impl Iterator<Item = Block>,
        due: &mut Vec<(At, Vec<Block>)>,
    ) -> Option<Block> {
        let mut state = self.state.lock();
        let inline = !state.pushed;
        for block in blocks {
            let route = &state.partitions[block.id.partition.0 as usize];
            let Some(at) = route.now.filter(|_| !inline) else { return Some(block) };
            due.extend(state.pend(at, block, self.push_bytes).map(|blocks| (at, blocks)));
        }
        None
    }

    /// What is not enough for a push yet.
    pub(crate) fn take_pending(&self) -> Vec<(At, Vec<Block>)> {
        let rest = std::mem::take(&mut self.state.lock().pending);
        rest.into_iter().map(|(at, pending)| (at, pending.blocks)).collect()
    }

    /// All blocks, if they are to travel inline.
    pub(crate) fn take_inline(&self) -> Option<Vec<Block>> {
        let mut state = self.state.lock();
        let inline = !state.pushed && self.inline_max > 0;
        inline.then(|| std::mem::take(&mut state.inline))
    }

    /// Forgets the attempt everywhere. All are asked; the first error is returned.
    pub(crate) async fn discard(&self, options: &WriterOptions) -> Result<()> {
        let WriterOptions { shuffle, map, attempt, .. } = *options;
        let mut outcome = Ok(());
        let holders = self.state.lock().holders();
        for worker in holders {
            let api = self.workers.connect(worker);
            let discarded = match api {
                Ok(api) => api.discard(shuffle, MapAttempt { map, attempt }).await,
                Err(gone) => Err(gone),
            };
            outcome = outcome.and(discarded);
        }
        outcome
    }

    /// The locations that hold blocks, each with the least that was said of their safety there. Fills
    /// in the places of the partitions.
    pub(crate) fn places(&self, partitions: &mut [PartitionOutput]) -> Vec<(Location, Durability)> {
        let state = self.state.lock();
        let mut used = Vec::new();
        for output in partitions {
            let route = &state.partitions[output.partition as usize];
            match route.went.only(&mut used) {
                Some(location) => output.location = location,
                None => output.parts = route.went.runs(&mut used),
            }
        }
        let place = |at: &At| {
            let Known { location, level } = state.locations[*at as usize];
            (location, level.unwrap_or(Durability::Memory))
        };
        used.iter().map(place).collect()
    }

    /// The least that was said of the safety of any block; nothing if none was acknowledged.
    pub(crate) fn durability(&self) -> Option<Durability> {
        self.state.lock().locations.iter().filter_map(|known| known.level).min()
    }

    /// What of the blocks cannot travel inline any more.
    fn past_inline(&self, block: Block) -> Vec<Block> {
        let mut state = self.state.lock();
        if state.pushed || self.inline_max == 0 {
            state.pushed = true;
            return vec![block];
        }
        state.inline_bytes += size(&block);
        state.inline.push(block);
        if state.inline_bytes <= self.inline_max {
            return Vec::new();
        }
        state.pushed = true;
        std::mem::take(&mut state.inline)
    }

    /// Where the next block of a partition goes.
    async fn route(&self, partition: PartitionId) -> Result<At> {
        let number = partition.0 as usize;
        let moves = match &self.state.lock().partitions[number] {
            Route { now: Some(at), .. } => return Ok(*at),
            route => route.moves,
        };
        let location = self.placement.locate(partition, moves).await?;
        let mut state = self.state.lock();
        let at = state.at(location);
        // Another stream may have been faster, and moved on since.
        Ok(*state.partitions[number].now.get_or_insert(at))
    }

    fn pend(&self, at: At, block: Block) -> Option<Vec<Block>> {
        self.state.lock().pend(at, block, self.push_bytes)
    }

    /// Pushes until all blocks are acknowledged somewhere.
    pub(crate) async fn push(&self, at: At, blocks: Vec<Block>) -> Result<()> {
        let bytes: usize = blocks.iter().map(size).sum();
        self.push_somewhere(at, blocks).await?;
        self.held.fetch_sub(bytes, Relaxed);
        Ok(())
    }

    /// Pushes to a location, and what it does not take to the next one, and so on.
    async fn push_somewhere(&self, at: At, blocks: Vec<Block>) -> Result<()> {
        let mut groups = vec![(at, blocks, false)];
        let mut refusals = 0;
        while let Some((at, blocks, last_resort)) = groups.pop() {
            let (holder, location) = self.state.lock().holder(at, last_resort);
            let (why, mut partitions) = match self.store(location, &blocks, last_resort).await {
                Ok(Pushed::Stored(ack)) => {
                    self.stored(holder, &blocks, &ack);
                    for partition in ack.moves {
                        self.leave(at, partition).await?;
                    }
                    continue;
                }
                Ok(Pushed::Refused(why, partitions)) => (Ok(why), partitions),
                Err(error) => {
                    let fault = PushFault::attach(error, location.worker);
                    // What one worker alone holds goes with it: the task has to begin anew.
                    if PushFault::of(&fault).is_none() || self.has_only_copies(location.worker) {
                        return Err(fault);
                    }
                    self.placement.failed(location.worker);
                    (Err(fault), Vec::new())
                }
            };
            refusals += 1;
            // Its card says so soon; until then nobody else need ask.
            if let Ok(Refusal::Draining) = why.as_ref() {
                self.placement.failed(location.worker);
            }
            if let (Ok(Refusal::Peer), Some(peer)) = (why.as_ref(), location.peer) {
                self.placement.failed(peer);
            }
            if partitions.is_empty() {
                let all: BTreeSet<_> = blocks.iter().map(|block| block.id.partition).collect();
                partitions.extend(all);
            }
            let mut moved = false;
            for partition in partitions {
                moved |= self.leave(at, partition).await? != at;
            }
            match (moved && refusals < REFUSALS_MAX, why) {
                (true, _) => groups.extend(self.regroup(blocks)),
                (false, Ok(Refusal::Large | Refusal::Disk | Refusal::Peer)) if !last_resort => {
                    groups.push((at, blocks, true));
                }
                (false, Ok(why)) => {
                    let error = Error::retry(format!("no worker takes a push: {why}"));
                    return Err(PushFault::attach(error, location.worker));
                }
                (false, Err(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn store(
        &self,
        location: Location,
        blocks: &[Block],
        last_resort: bool,
    ) -> Result<Pushed> {
        let api = self.workers.connect(location.worker)?;
        let flow = self.flow(location.worker);
        let bytes = blocks.iter().map(size).sum();
        let _pass = flow.enter(bytes).await;
        let user = self.user.clone();
        let push = Push { blocks: blocks.to_vec(), peer: location.peer, last_resort, user };
        let begun = self.traffic.as_ref().map(|traffic| (traffic, traffic.begin(location.worker)));
        let listening = self.listen(location.worker, &flow);
        let answer = api.store_heard(push, listening.ear()).await;
        drop(listening);
        if let (Ok(Pushed::Stored(_)), Some((traffic, begun))) = (&answer, &begun) {
            traffic.stored(location.worker, bytes, begun);
        }
        match &answer {
            Ok(Pushed::Stored(ack)) if ack.slow => flow.told(Told::Slow(bytes)),
            Ok(Pushed::Stored(_)) => flow.told(Told::Stored(bytes)),
            Err(error) if error.kind() == Kind::Exhausted => flow.told(Told::Full),
            // Says nothing of its memory.
            Ok(Pushed::Refused(..)) | Err(_) => {}
        }
        answer
    }

    /// What is said while a push to this worker waits.
    fn listen(&self, worker: ProcessId, flow: &Arc<Flow>) -> Listening {
        Listening::new(worker, self.shuffle, Arc::clone(flow), self.traffic.clone())
    }

    fn flow(&self, worker: ProcessId) -> Arc<Flow> {
        let window = Window::new(self.push_bytes, self.in_flight_max);
        let mut flows = self.flows.lock();
        Arc::clone(flows.entry(worker).or_insert_with(|| Arc::new(Flow::new(window))))
    }

    fn stored(&self, at: At, blocks: &[Block], ack: &Ack) {
        let mut state = self.state.lock();
        let Known { level, .. } = &mut state.locations[at as usize];
        *level = Some(level.map_or(ack.durability, |least| least.min(ack.durability)));
        for block in blocks {
            state.partitions[block.id.partition.0 as usize].went.put(block.id.batch, at);
        }
    }

    /// True if the worker holds blocks that go with it: nobody else has them, and in the object store
    /// they are not either, where they would be found again.
    fn has_only_copies(&self, worker: ProcessId) -> bool {
        let alone = Location { worker, peer: None };
        let goes =
            |level: Option<Durability>| level.is_some_and(|level| level < Durability::Object);
        let state = self.state.lock();
        state.locations.iter().any(|known| known.location == alone && goes(known.level))
    }

    /// Takes a partition to its next location, if it is still at this one. Says where it is now.
    async fn leave(&self, from: At, partition: PartitionId) -> Result<At> {
        let number = partition.0 as usize;
        {
            let mut state = self.state.lock();
            let Some(route) = state.partitions.get_mut(number) else { return Ok(from) };
            match route.now {
                Some(at) if at == from => route.moves += 1,
                Some(at) => return Ok(at),
                None => {}
            }
            route.now = None;
            tracing::debug!(%partition, moves = route.moves, "a partition moves on");
        }
        self.route(partition).await
    }

    fn regroup(&self, blocks: Vec<Block>) -> Vec<(At, Vec<Block>, bool)> {
        let state = self.state.lock();
        let mut groups: BTreeMap<At, Vec<Block>> = BTreeMap::new();
        for block in blocks {
            let route = &state.partitions[block.id.partition.0 as usize];
            // Each was routed before it was pushed.
            groups.entry(route.now.unwrap_or_default()).or_default().push(block);
        }
        groups.into_iter().map(|(at, blocks)| (at, blocks, false)).collect()
    }
}

impl State {
    /// Adds a block to what waits for a location. All of that, if it is enough for a push.
    fn pend(&mut self, at: At, block: Block, push_bytes: usize) -> Option<Vec<Block>> {
        let pending = self.pending.entry(at).or_default();
        pending.bytes += size(&block);
        pending.blocks.push(block);
        let due = pending.bytes >= push_bytes;
        due.then(|| std::mem::take(pending).blocks)
    }

    fn at(&mut self, location: Location) -> At {
        let known = self.locations.iter().position(|known| known.location == location);
        let at = known.unwrap_or_else(|| {
            self.locations.push(Known { location, level: None });
            self.locations.len() - 1
        });
        at as At
    }

    /// Who will hold what is pushed to a location. A writer without an alternative has to live with one
    /// copy; the commit names one then, and the level says so.
    fn holder(&mut self, at: At, last_resort: bool) -> (At, Location) {
        let location = self.locations[at as usize].location;
        if !last_resort {
            return (at, location);
        }
        let alone = Location { peer: None, ..location };
        (self.at(alone), alone)
    }

    /// Whoever may hold blocks of this writer.
    fn holders(&self) -> BTreeSet<ProcessId> {
        let both = |known: &Known| [Some(known.location.worker), known.location.peer];
        self.locations.iter().flat_map(both).flatten().collect()
    }
}

/// What a block takes where it is held or sent.
pub(crate) fn size(block: &Block) -> usize {
    HEADER_LEN + block.body.len()
}
