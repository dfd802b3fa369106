//! The loop of an executor: look at what is ready, take what fits the free slots, run it.
//!
//! One path: the same loop serves the first slice and the last, before and after any failure. It
//! wakes when a stage becomes ready, a slot becomes free, or a safety interval passes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin_base::{Env, Error, Kind, Result, fail};
use dunlin_planner::Template;
use dunlin_queue::{ClaimedSlices, LiveSet, Member, More, Offer, ReadyStage, ReadyWatch, Room};

use crate::executor::Shared;
use crate::looks::{self, Looks};
use crate::recover::recover;
use crate::slots::Taken;
use crate::task::{self, Work};

/// What one life of an executor (one lease) works with.
pub(crate) struct ClaimLoop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) member: Member,
    pub(crate) live: Arc<LiveSet>,
    pub(crate) ready: ReadyWatch,
}

/// What a look at all ready stages came to.
enum Took {
    Something,
    Nothing { again_at: Option<Duration> },
}

async fn until(env: &Env, at: Option<Duration>) {
    match at {
        Some(at) => env.sleep(at.saturating_sub(env.now())).await,
        None => std::future::pending().await,
    }
}

impl ClaimLoop {
    /// Runs until the member is fenced or the executor drains. `Retry`: the store is out of reach.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let mut looks = Looks::default();
        loop {
            if self.shared.draining() {
                return Ok(());
            }
            self.member.check()?;
            let slots = Arc::clone(&self.shared.slots);
            let freed = slots.notified();
            let Took::Nothing { again_at } = self.take_what_fits(&mut looks).await? else {
                continue;
            };
            let seen = Arc::clone(self.ready.stages());
            // In a fixed order, here and below, so that a simulation is a function of its seed. None
            // is starved: each wake-up is kept until it is looked at.
            tokio::select! {
                biased;
                () = self.member.fenced() => {}
                changed = self.ready.changed() => {
                    changed?;
                    // Nothing new: this was the safety re-read, so look at everything again.
                    if *self.ready.stages() == seen {
                        looks.look_everywhere();
                    }
                }
                // Claims of an executor that went are void, and nobody touches the stage for it.
                () = self.live.changed() => looks.look_everywhere(),
                () = self.member.strays() => looks.look_everywhere(),
                () = freed => {}
                () = until(&self.shared.parts.env, again_at) => {}
            }
        }
    }

    /// Claims from the first stage that has something for the free slots.
    async fn take_what_fits(&mut self, looks: &mut Looks) -> Result<Took> {
        let slots = self.shared.slots.free();
        let room = Room { slots, idle: slots == self.shared.options.slots.max(1) };
        let stages = Arc::clone(self.ready.stages());
        looks.keep(&stages);
        for (name, slices) in std::mem::take(&mut *self.shared.followed.lock()) {
            if let Some(stage) = stages.iter().find(|stage| looks::name(stage) == name) {
                looks.stride.taken(stage, slices);
            }
        }
        // What is left of a query may follow what ended, unless others wait for their turn.
        let same = stages.windows(2).all(|two| two[0].query == two[1].query);
        self.shared.one_query.store(same && looks.making_room.is_none(), Ordering::Release);
        *self.shared.open_stages.lock() = looks.open(&stages);
        if slots == 0 || (looks.making_room.is_some() && !room.idle) {
            return Ok(Took::Nothing { again_at: None });
        }
        let now = self.shared.parts.env.now();
        let own = Some(self.member.id());
        let mine = |stage: &ReadyStage| self.live.first_choice(stage) == own;
        let kept = self.shared.options.slots / 8;
        let order = looks.order(&stages, (slots, kept), now, mine);
        for stage in order.stages {
            match self.shared.parts.queue.claim(&self.member, &stage, room, &self.live).await {
                Ok(Offer::Taken(claim)) => {
                    looks.stride.taken(&stage, claim.slices.len() as u32);
                    if claim.slices.len() as u32 == claim.slice_count {
                        looks.exhausted(&stage);
                    }
                    self.start(claim);
                    return Ok(Took::Something);
                }
                Ok(Offer::Alone { first_choice: true }) => {
                    looks.making_room = Some(looks::name(&stage));
                    return Ok(Took::Nothing { again_at: None });
                }
                // It is looked at again when its first choice has taken it, or has died.
                Ok(Offer::Nothing | Offer::Alone { first_choice: false }) => {
                    looks.exhausted(&stage);
                }
                Err(error) if error.kind() == Kind::Lost => {
                    tracing::debug!(query = %stage.query, %error, "a ready stage went away");
                    looks.exhausted(&stage);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Took::Nothing { again_at: order.again_at })
    }

    fn start(&self, claim: ClaimedSlices) {
        let shared = &self.shared;
        let template = Template::decode(&claim.template).map(Arc::new);
        let slots = shared.slots.take(slots_of(shared, &claim, &template));
        let (member, live) = (self.member.clone(), Arc::clone(&self.live));
        launch(&Life { shared: Arc::clone(shared), member, live }, claim, template, slots);
    }
}

/// What a claim runs with, in one life of the executor.
#[derive(Clone)]
struct Life {
    shared: Arc<Shared>,
    member: Member,
    live: Arc<LiveSet>,
}

/// How many slots a claim can use.
fn slots_of(shared: &Shared, claim: &ClaimedSlices, template: &Result<Arc<Template>>) -> u32 {
    match template {
        _ if claim.alone => shared.options.slots,
        // One slice that holds the whole stage may still have many streams.
        Ok(template) if claim.slice_count == 1 => template.spec().plan_partitions.max(1),
        _ => claim.slices.len() as u32,
    }
}

/// Starts a claim that came with a commit, with the slots that were kept for it.
fn follow(
    life: &Life,
    (claim, template): (&ClaimedSlices, &Arc<Template>),
    next: ClaimedSlices,
    mut slots: Taken,
) {
    let template = if next.stage == claim.stage {
        Ok(Arc::clone(template))
    } else {
        Template::decode(&next.template).map(Arc::new)
    };
    slots.grow(slots_of(&life.shared, &next, &template));
    life.shared.followed.lock().push(((next.query, next.stage), next.slices.len() as u32));
    launch(life, next, template, slots);
}

/// Starts a claim in a task of its own.
fn launch(life: &Life, claim: ClaimedSlices, template: Result<Arc<Template>>, slots: Taken) {
    let number = life.shared.leaving.begin(claim.clone());
    let (env, of_task) = (&life.shared.parts.env, life.clone());
    let task = env.spawn("claim", async move {
        run_claim(&of_task, claim, template, slots).await;
        of_task.shared.leaving.ended(number);
    });
    life.shared.leaving.track(number, task);
}

/// Runs a claim as one task, or as several if it is large, and reports each.
async fn run_claim(
    life: &Life,
    claim: ClaimedSlices,
    template: Result<Arc<Template>>,
    slots: Taken,
) {
    let Life { shared, member, .. } = life;
    let queue = &shared.parts.queue;
    let outcome = tokio::select! {
        biased;
        outcome = run_parts(life, &claim, template, slots) => outcome,
        () = queue.wait_cancelled(claim.query) => Err(Error::fenced("the query is over")),
        () = member.fenced() => Err(Error::fenced("the executor's lease is gone")),
    };
    let Err(error) = outcome else { return };
    if error.kind() == Kind::Fenced {
        tracing::debug!(query = %claim.query, stage = %claim.stage, %error, "claim dropped");
        return;
    }
    tracing::info!(query = %claim.query, stage = %claim.stage, kind = %error.kind(), %error, "task failed");
    let recovered = tokio::select! {
        biased;
        recovered = recover(shared, &claim, &error) => recovered,
        () = queue.wait_cancelled(claim.query) => return,
        () = member.fenced() => return,
    };
    if recovered {
        return;
    }
    let mut wait = Duration::from_millis(10);
    while let Err(report) = queue.failed(&claim, &error).await {
        if report.kind() != Kind::Retry || member.check().is_err() {
            return;
        }
        shared.parts.env.sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
}

async fn run_parts(
    life: &Life,
    claim: &ClaimedSlices,
    template: Result<Arc<Template>>,
    slots: Taken,
) -> Result<()> {
    let shared = &life.shared;
    fail::point(&shared.parts.env, fail::AFTER_CLAIM).await?;
    let template = template?;
    let slices = task::claimed_slices(claim)?;
    let mut first = claim.slices.start;
    let width = slots.count();
    let mut slots = Some(slots);
    for part in split_by_bytes(&slices, shared.options.task_bytes.0) {
        if shared.draining() {
            let unstarted = first..claim.slices.end;
            return shared.parts.queue.hand_back(claim, unstarted).await;
        }
        let work = Work {
            claim: claim.clone(),
            template: Arc::clone(&template),
            slices: part.to_vec(),
            first_slice: first,
            width,
        };
        first += part.len() as u32;
        let output = task::run(shared, work).await?;
        let last = first == claim.slices.end;
        if last && !goes_on(shared, claim) {
            // Committing takes no slot: the next task may begin.
            slots.take();
        }
        let kept = slots.as_ref().filter(|_| last).map(Taken::count);
        let next = commit(life, claim, output, kept).await?;
        if let (Some(next), Some(slots)) = (next, slots.take_if(|_| last)) {
            follow(life, (claim, &template), next, slots);
        }
    }
    Ok(())
}

/// Whether the slots of a claim should go on with what one transaction can claim while it commits:
/// what else is free beside it, or, if nothing else is to be had, what may follow its stage.
fn goes_on(shared: &Shared, claim: &ClaimedSlices) -> bool {
    if shared.draining() {
        return false;
    }
    if claim.more_are_free() {
        return shared.one_query.load(Ordering::Acquire);
    }
    let own = (claim.query, claim.stage);
    shared.open_stages.lock().iter().all(|stage| *stage == own)
}

/// Commits, and asks again while the outcome is unknown: the queue knows its own attempt. With slots
/// that were kept for it, claims further slices.
async fn commit(
    life: &Life,
    claim: &ClaimedSlices,
    output: dunlin_proto::output::MapOutput,
    kept: Option<u32>,
) -> Result<Option<ClaimedSlices>> {
    let Life { shared, live, .. } = life;
    fail::point(&shared.parts.env, fail::BEFORE_COMMIT).await?;
    let room = kept.map(|slots| Room { slots, idle: false });
    let more = room.map(|room| More { room, live });
    let mut wait = Duration::from_millis(5);
    loop {
        match shared.parts.queue.commit_and_claim(claim, output.clone(), more).await {
            Ok((_, next)) => return Ok(next),
            Err(error) if error.kind() == Kind::Retry => {
                shared.parts.env.sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Neighbouring slices in parts of at most `limit` bytes, at least one slice each.
fn split_by_bytes(
    slices: &[dunlin_proto::plan::Slice],
    limit: u64,
) -> Vec<&[dunlin_proto::plan::Slice]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, slice) in slices.iter().enumerate() {
        if i > start && bytes + slice.weight_bytes > limit {
            parts.push(&slices[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += slice.weight_bytes;
    }
    if start < slices.len() {
        parts.push(&slices[start..]);
    }
    parts
}
