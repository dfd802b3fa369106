//! Random graphs, executors that crash, pause, fail and give back, a store that delays, loses
//! answers and drops watches: every query ends as it must, and nothing is left behind.

mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, QueryId, Result};
use dunlin_metadata::Store;
use dunlin_metadata::sim::{Faults, Fired};
use dunlin_queue::checker::Checker;
use dunlin_queue::{
    ClaimedSlices, Ended, LiveSet, Member, Missing, More, Offer, Phase, Queue, Role, Room,
};
use parking_lot::Mutex;

use self::seeds::Tally;
use crate::losses::{self, Losses};
use crate::toy::{Graph, Toy};
use crate::world::{Link, TTL, World, output};

/// Virtual time in which a query must end, whatever happens.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What befalls a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Run,
    RunInParts,
    CommitTwice,
    /// The process dies: nothing of it is heard again.
    Crash,
    /// The process stands still for longer than its lease, then goes on with its commit.
    Pause,
    Fail,
    HandBack,
    /// The task forgets its claim.
    Forget,
}

struct Chaos {
    world: World,
    checker: Checker,
    query: QueryId,
    stop: Arc<AtomicBool>,
    /// Failures that the test may still cause for a slice.
    failures: Mutex<BTreeMap<(u32, u32), u32>>,
    losses: Losses,
    /// True if the query failed by a slice that three executors died of.
    poisoned: AtomicBool,
    /// Queries that were done and ran again.
    resumed: AtomicU32,
    /// Commits that claimed, too.
    together: AtomicU32,
    /// Those of them that claimed from a stage that they opened.
    first: AtomicU32,
}

fn chance(env: &Env, thousandths: u64) -> bool {
    env.random_below(1000) < thousandths
}

fn random_graph(env: &Env) -> Graph {
    let stages = 1 + env.random_below(5) as u32;
    let stage = |number: u32| {
        let inputs: Vec<u32> = (0..number).filter(|_| chance(env, 450)).collect();
        let slices = if chance(env, 100) { 0 } else { 1 + env.random_below(9) as u32 };
        (inputs, slices)
    };
    let stages = (0..stages).map(stage).collect();
    Graph {
        eager: chance(env, 700),
        stages,
        indeterminate: env.random_below(64) & env.random_below(64),
    }
}

fn faults(env: &Env) -> Faults {
    if chance(env, 100) {
        return Faults::default();
    }
    Faults {
        delay_before_max: Duration::from_millis(env.random_below(30)),
        delay_after_max: Duration::from_millis(env.random_below(30)),
        refused: env.random_below(60),
        lost_acknowledgement: env.random_below(80),
        late: env.random_below(50),
        late_max: Duration::from_millis(env.random_below(20_000)),
        watch_dropped: env.random_below(200),
        watch_delay_max: Duration::from_millis(env.random_below(500)),
    }
}

impl Chaos {
    /// Notes errors that must never be. True if the call is to be tried again.
    fn expected(&self, who: &str, what: &str, error: &Error) {
        self.checker.note(who, format!("{what}: {} {error}", error.kind()));
        if !matches!(error.kind(), Kind::Retry | Kind::Fenced) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            self.checker.complain(format!("{who} {what}: {} {error} {cause:?}", error.kind()));
        }
    }

    async fn until_done<T, F: Future<Output = Result<T>>>(
        &self,
        who: &str,
        what: &str,
        call: impl Fn() -> F,
    ) -> T {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(error) => self.expected(who, what, &error),
            }
            self.world.env.sleep(Duration::from_millis(300)).await;
        }
    }

    async fn executor(self: Arc<Self>, number: u64) {
        let who = format!("ex{number}");
        while !self.stop.load(Ordering::Relaxed) {
            let (link, queue) = self.world.process();
            if let Err(error) = self.life(&who, &link, &queue).await {
                self.expected(&who, "life", &error);
            }
            let rest = self.world.env.random_below(5000);
            self.world.env.sleep(Duration::from_millis(rest)).await;
        }
    }

    /// One life of an executor, from joining to death.
    async fn life(&self, who: &str, link: &Arc<Link>, queue: &Queue) -> Result<()> {
        let env = &self.world.env;
        let card = Bytes::from_static(b"card");
        let member = Member::join(link.clone(), env.clone(), Role::Executor, card, TTL).await?;
        self.checker.note(who, format!("joined with fence {}", member.fence()));
        let live = LiveSet::follow(link.clone(), env, Role::Executor).await?;
        let mut ready = queue.watch_ready().await?;
        while !self.stop.load(Ordering::Relaxed) {
            let mut idle = true;
            for stage in ready.stages().iter() {
                let slots = 1 + env.random_below(3) as u32;
                match queue.claim(&member, stage, Room { slots, idle: true }, &live).await {
                    Ok(Offer::Taken(claim)) => {
                        idle = false;
                        let mut next = Some(claim);
                        while let Some(claim) = next.take() {
                            match self.meet_fate(who, link, queue, claim, &live).await {
                                Some(more) => next = more,
                                None => return Ok(()),
                            }
                        }
                    }
                    Ok(Offer::Nothing | Offer::Alone { .. }) => {}
                    Err(error) if error.kind() == Kind::Fenced => return Err(error),
                    Err(error) => self.expected(who, "claim", &error),
                }
            }
            member.check()?;
            if idle {
                env.timeout(Duration::from_secs(2), ready.changed()).await;
            }
        }
        member.leave().await
    }

    fn draw_fate(&self, claim: &ClaimedSlices) -> Fate {
        let env = &self.world.env;
        match env.random_below(100) {
            0..60 => Fate::Run,
            60..70 => Fate::RunInParts,
            70..77 => Fate::CommitTwice,
            77..81 => Fate::Crash,
            81..86 => Fate::Pause,
            86..92 if self.may_fail(claim) => Fate::Fail,
            92..97 => Fate::HandBack,
            97..100 => Fate::Forget,
            _ => Fate::Run,
        }
    }

    /// Three failures of a slice are allowed: the fourth would rightly end the query.
    fn may_fail(&self, claim: &ClaimedSlices) -> bool {
        let mut failures = self.failures.lock();
        let counts = claim.slices.clone().map(|slice| (claim.stage.0, slice));
        let few = counts.clone().all(|slice| failures.get(&slice).copied().unwrap_or(0) < 3);
        if few {
            for slice in counts {
                *failures.entry(slice).or_default() += 1;
            }
        }
        few
    }

    /// `None` if the process died of it; else what it claimed with a commit.
    async fn meet_fate(
        &self,
        who: &str,
        link: &Arc<Link>,
        queue: &Queue,
        claim: ClaimedSlices,
        live: &LiveSet,
    ) -> Option<Option<ClaimedSlices>> {
        let env = &self.world.env;
        let fate = self.draw_fate(&claim);
        let (stage, slices, attempt) = (claim.stage, claim.slices.clone(), claim.attempt);
        self.checker.note(who, format!("claimed {stage}:{slices:?} #{attempt}, fate {fate:?}"));
        env.sleep(Duration::from_millis(env.random_below(1500))).await;
        if let Some(missing) = self.losses.missing(&claim.inputs) {
            self.report(who, queue, &missing).await;
            return Some(None);
        }
        let mut next = None;
        let more = (env.random_below(2) == 0).then(|| {
            let room = Room { slots: 1 + env.random_below(3) as u32, idle: false };
            More { room, live }
        });
        let middle = slices.start + (slices.end - slices.start) / 2;
        match fate {
            Fate::Crash => {
                link.freeze(PATIENCE * 2);
                return None;
            }
            Fate::Forget => {}
            Fate::Pause => {
                link.freeze(TTL + Duration::from_millis(env.random_below(5000)));
                next = self.commit_and_claim(who, queue, (&claim, slices), more).await;
            }
            Fate::Run => next = self.commit_and_claim(who, queue, (&claim, slices), more).await,
            Fate::CommitTwice => {
                next = self.commit_and_claim(who, queue, (&claim, slices.clone()), more).await;
                self.commit(who, queue, &claim, slices).await;
            }
            Fate::RunInParts if middle > slices.start => {
                let (first, second) = (slices.start..middle, middle..slices.end);
                let first = self.commit(who, queue, &claim, first);
                futures::join!(first, self.commit(who, queue, &claim, second));
            }
            Fate::RunInParts => self.commit(who, queue, &claim, slices).await,
            Fate::Fail => {
                let error = Error::lost("a block is gone");
                if let Err(error) = queue.failed(&claim, &error).await {
                    self.expected(who, "failed", &error);
                }
            }
            Fate::HandBack => {
                if let Err(error) = queue.hand_back(&claim, middle..slices.end).await {
                    self.expected(who, "hand back", &error);
                }
                if middle > slices.start {
                    self.commit(who, queue, &claim, slices.start..middle).await;
                }
            }
        }
        Some(next)
    }

    async fn commit(
        &self,
        who: &str,
        queue: &Queue,
        claim: &ClaimedSlices,
        slices: std::ops::Range<u32>,
    ) {
        self.commit_and_claim(who, queue, (claim, slices), None).await;
    }

    /// Commits, and holds the answer against the record of who won.
    async fn commit_and_claim(
        &self,
        who: &str,
        queue: &Queue,
        (claim, slices): (&ClaimedSlices, std::ops::Range<u32>),
        more: Option<More<'_>>,
    ) -> Option<ClaimedSlices> {
        let mut output = output(claim, slices.clone());
        self.losses.write(claim, &mut output);
        let answer = queue.commit_and_claim(claim, output, more).await;
        let (answer, next) = match answer {
            Ok((committed, next)) => (Ok(committed), next),
            Err(error) => (Err(error), None),
        };
        let (stage, attempt) = (claim.stage.0, claim.attempt.0);
        let won =
            slices.clone().all(|s| self.checker.winner(claim.query, stage, s) == Some(attempt));
        let ever_won = slices.clone().all(|s| self.checker.has_won(claim.query, stage, s, attempt));
        self.checker.note(who, format!("commit {}:{slices:?}: {answer:?}", claim.stage));
        match answer {
            Ok(_) if !ever_won => {
                self.checker.complain(format!("{who}: an acknowledged commit lost"));
            }
            // Once the query's records are gone nobody can tell, and nobody needs to.
            Err(error) if error.kind() == Kind::Fenced && won && self.checker.has_query() => {
                self.checker.complain(format!("{who}: a winner was told to discard: {error}"));
            }
            Err(error) => self.expected(who, "commit", &error),
            Ok(_) => {}
        }
        if let Some(next) = &next {
            self.together.fetch_add(1, Ordering::Relaxed);
            self.first.fetch_add(u32::from(next.stage != claim.stage), Ordering::Relaxed);
        }
        next
    }

    /// Says that output is gone, as a reader of it does.
    async fn report(&self, who: &str, queue: &Queue, missing: &Missing) {
        let answer = queue.reopen(self.query, missing).await;
        self.checker.note(who, format!("{missing:?}: {answer:?}"));
        if let Err(error) = answer {
            self.expected(who, "reopen", &error);
        }
    }

    /// Shuffle workers die, a few times.
    async fn reaper(self: Arc<Self>, deaths: u64) {
        for _ in 0..deaths {
            let wait = self.world.env.random_below(6000);
            self.world.env.sleep(Duration::from_millis(wait)).await;
            let worker = self.losses.kill();
            self.checker.note("reap", format!("worker w{worker} dies"));
        }
    }

    /// The end of the query with a result that can be read.
    async fn read_result(&self) -> Ended {
        let (_, queue) = self.world.process();
        loop {
            let ended = self.wait_ended("gwa").await;
            let result: Vec<_> = losses::as_input(&ended).into_iter().collect();
            let Some(missing) = self.losses.missing(&result) else { return ended };
            self.report("gwa", &queue, &missing).await;
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Decides at bad moments, as a second process would.
    async fn meddler(self: Arc<Self>) {
        let (_, queue) = self.world.process();
        while !self.stop.load(Ordering::Relaxed) {
            let wait = self.world.env.random_below(1200);
            self.world.env.sleep(Duration::from_millis(wait)).await;
            if let Err(error) = queue.advance(self.query).await {
                self.expected("medd", "advance", &error);
            }
        }
    }

    async fn wait_ended(&self, who: &str) -> Ended {
        let (_, queue) = self.world.process();
        self.until_done(who, "wait", || queue.wait_ended(self.query)).await
    }
}

/// How a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Finish,
    Cancel,
    Deadline,
}

async fn run(seed: u64) -> (Vec<String>, Checker, Fired, Tally) {
    let mut world = World::new(seed);
    let env = world.env.clone();
    world.tuning.segment_slices = 1 + env.random_below(4) as u32;
    world.tuning.grace = Duration::from_secs(30);
    if chance(&env, 100) {
        world.toy = Arc::new(Toy::padded(70_000));
    }
    let checker = Checker::watch(&world.store, world.blobs.clone(), env.clone());
    world.store.set_faults(faults(&env));
    let graph = random_graph(&env);
    let mut query = world.new_query(&graph);
    let plan = match env.random_below(12) {
        0 => Plan::Cancel,
        1 => Plan::Deadline,
        _ => Plan::Finish,
    };
    if plan == Plan::Deadline {
        query.deadline_unix_ms = Some(env.unix_ms() + 500 + env.random_below(20_000));
    }
    checker.note("test", format!("{graph:?} {plan:?}"));
    let chaos = Arc::new(Chaos {
        world,
        checker,
        query: query.id,
        losses: Losses::new(graph.clone(), env.clone()),
        stop: Arc::default(),
        failures: Mutex::default(),
        poisoned: AtomicBool::default(),
        resumed: AtomicU32::new(0),
        together: AtomicU32::new(0),
        first: AtomicU32::new(0),
    });
    let (_, gateway) = chaos.world.process();
    chaos.until_done("gate", "publish", || gateway.publish(query.clone())).await;
    let mut tasks = vec![env.spawn("meddler", chaos.clone().meddler())];
    let deaths = if chance(&env, 500) { env.random_below(6) } else { 0 };
    let reaper = env.spawn("reaper", chaos.clone().reaper(deaths));
    for number in 0..2 + env.random_below(3) {
        tasks.push(env.spawn("executor", chaos.clone().executor(number)));
    }
    if plan == Plan::Cancel {
        env.sleep(Duration::from_millis(env.random_below(8000))).await;
        chaos.until_done("gate", "cancel", || gateway.cancel(query.id)).await;
    }
    let both = async {
        futures::join!(chaos.wait_ended("gwb"), reaper.join()).1.expect("it does not panic");
        (chaos.read_result().await, chaos.wait_ended("gwb").await)
    };
    match env.timeout(PATIENCE, both).await {
        None => chaos.checker.complain("the query did not end".to_owned()),
        Some((first, second)) => {
            check_end(&chaos, &graph, plan, &first).await;
            if first.phase == Phase::Done {
                let sealed = chaos.checker.sealed(chaos.query);
                chaos.losses.check(&sealed).into_iter().for_each(|w| chaos.checker.complain(w));
            }
            if first.phase != second.phase || first.rows != second.rows {
                chaos.checker.complain(format!("{first:?} is not {second:?}"));
            }
            clean_up(&chaos, tasks).await;
        }
    }
    let mut complaints = chaos.checker.complaints();
    complaints.extend(chaos.world.toy.complaints());
    let resumed = chaos.resumed.load(Ordering::Relaxed);
    let lost = Tally {
        killed: chaos.losses.killed(),
        resumed,
        reopened: chaos.checker.reopened(),
        poisoned: chaos.poisoned.load(Ordering::Relaxed).into(),
        together: chaos.together.load(Ordering::Relaxed),
        first: chaos.first.load(Ordering::Relaxed),
    };
    (complaints, chaos.checker.clone(), chaos.world.store.fired(), lost)
}

async fn check_end(chaos: &Chaos, graph: &Graph, plan: Plan, ended: &Ended) {
    let right = match (ended.phase, plan) {
        (Phase::Done, _) => {
            let rows = graph.expected_rows();
            let result = ended.result.as_ref();
            let of_maps: u64 = result.map_or(0, |(_, _, output)| {
                output.maps.iter().flat_map(|m| &m.partitions).map(|p| p.rows).sum()
            });
            ended.rows == rows && of_maps == rows
        }
        (Phase::Cancelled, Plan::Cancel) => true,
        (Phase::Failed, _) => match &ended.failure {
            Some(error) if three_died(chaos, error).await => {
                chaos.poisoned.store(true, Ordering::Relaxed);
                true
            }
            error => {
                plan == Plan::Deadline
                    && error.as_ref().is_some_and(|e| e.kind() == Kind::Exhausted)
            }
        },
        _ => false,
    };
    if !right {
        chaos.checker.complain(format!("{plan:?} of {graph:?} ended as {ended:?}"));
    }
}

/// True if the error is that of a slice which three executors died of, and they did die.
async fn three_died(chaos: &Chaos, error: &Error) -> bool {
    let text = error.to_string();
    let Some((_, names)) = text.split_once("ended 3 executors, the last one while it ran alone: ")
    else {
        return false;
    };
    let names: BTreeSet<&str> = names.split(", ").collect();
    let store = &chaos.world.store;
    let cards = chaos.until_done("test", "cards", || store.range("ex/")).await;
    let is_dead = |name: &&str| cards.entries.iter().all(|card| !card.key.ends_with(name));
    names.len() == 3 && names.iter().all(is_dead)
}

/// Removes the query while its executors are still about, and looks for what is left.
async fn clean_up(chaos: &Arc<Chaos>, tasks: Vec<dunlin_base::env::Task<()>>) {
    let env = &chaos.world.env;
    let (_, other) = chaos.world.process();
    let (_, gateway) = chaos.world.process();
    let one = chaos.until_done("gwa", "remove", || gateway.remove(chaos.query));
    // It has heard of the end (unless the other was faster) and may remove it unread.
    let unread = async {
        chaos.until_done("gwb", "wait", || other.wait_ended(chaos.query)).await;
        let remove = || async {
            let outcomes = other.remove_all(vec![chaos.query]).await;
            outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
        };
        chaos.until_done("gwb", "remove", remove).await;
    };
    if env.random_below(2) == 0 {
        unread.await;
        one.await;
    } else {
        futures::join!(one, unread);
    }
    env.sleep(Duration::from_millis(env.random_below(3000))).await;
    chaos.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        if let Err(panic) = task.join().await {
            chaos.checker.complain(panic);
        }
    }
    // Longer than any lease, pause or late transaction.
    env.sleep(Duration::from_secs(60)).await;
    for _ in 0..3 {
        chaos.until_done("gwa", "sweep", || gateway.sweep(env.unix_ms())).await;
        env.sleep(Duration::from_secs(60)).await;
    }
    chaos.world.store.set_faults(Faults::default());
    let history = format!("hist/{}", chaos.query);
    let left = chaos.world.store.range("").await.map(|s| s.entries).unwrap_or_default();
    let left: Vec<String> = left.into_iter().map(|e| e.key).collect();
    if left != [history] {
        chaos.checker.complain(format!("left in the store: {left:?}"));
    }
    let blobs = chaos.world.blobs.names();
    if !blobs.is_empty() {
        chaos.checker.complain(format!("left among the blobs: {blobs:?}"));
    }
}
