//! The world of one seed: time, the network, who lives, and what happens next.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_base::ProcessId;
use dunlin_fuzz::Chance;
use dunlin_streaming::cut::Cuts;
use dunlin_streaming::id::Mb;

use super::executor::Executor;
use super::operator::{Answer, State};
use super::setup::{Mutation, Setup, Strike};
use super::store::{Card, Store};
use super::wire::{Event, Message, Request};

/// A card is gone so long after its process was last heard, in microseconds.
const LEASE_US: u64 = 40_000;
/// Virtual time in which a job must end.
const PATIENCE_US: u64 = 5_000_000;
/// Events after which something goes in circles.
const EVENTS_MAX: u64 = 150_000;

/// The files of a part.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) state: State,
    pub(super) cuts: BTreeMap<Mb, Cuts>,
    pub(super) answers: Vec<Answer>,
}

/// How often things happened, over many seeds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) commits: u64,
    pub(super) kills: u64,
    pub(super) zombies: u64,
    pub(super) pinned: u64,
    pub(super) handed_over: u64,
    pub(super) fenced: u64,
    pub(super) past: u64,
    pub(super) late: u64,
    pub(super) ahead: u64,
    pub(super) asked: u64,
    pub(super) usurped: u64,
    pub(super) whole: u64,
}

pub(super) struct World {
    pub(super) now_us: u64,
    pub(super) chance: Chance,
    pub(super) setup: Rc<Setup>,
    pub(super) store: Store,
    pub(super) blobs: BTreeMap<String, Rc<Blob>>,
    pub(super) complaints: Vec<String>,
    pub(super) tally: Tally,
    pub(super) finished: bool,
    pub(super) trace: Option<Vec<String>>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    executors: BTreeMap<ProcessId, Executor>,
    paused: BTreeMap<ProcessId, u64>,
    /// Until when a process does not reach the store.
    cut_off: BTreeMap<ProcessId, u64>,
    next_id: u128,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, trace: bool) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let setup = Setup::draw(&mut chance, mutation);
        let mut world = Self {
            now_us: 0,
            chance,
            store: Store::default(),
            blobs: BTreeMap::new(),
            complaints: Vec::new(),
            tally: Tally::default(),
            finished: false,
            trace: trace.then(Vec::new),
            queue: BTreeMap::new(),
            sequence: 0,
            executors: BTreeMap::new(),
            paused: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            next_id: 1,
            setup,
        };
        for _ in 0..world.setup.executors {
            world.add();
        }
        for (number, (at, _)) in world.setup.clone().strikes.iter().enumerate() {
            world.at(*at, Event::Strike(number));
        }
        world
    }

    /// Runs to the job's end, or to the first complaint.
    pub(super) fn run(&mut self) {
        while !self.finished && self.complaints.is_empty() {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                self.complain("nothing happens any more".to_owned());
                return;
            };
            self.now_us = at;
            self.tally.events += 1;
            if at > PATIENCE_US || self.tally.events > EVENTS_MAX {
                let committed = self.store.records.committed();
                self.complain(format!("hangs after commit {committed}"));
            }
            self.happen(event);
            let wrong = std::mem::take(&mut self.store.complaints);
            self.complaints.extend(wrong);
        }
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now_us;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>8} {}", what()));
        }
    }

    pub(super) fn complain(&mut self, what: String) {
        self.note(|| format!("!! {what}"));
        self.complaints.push(what);
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    /// Sends over the network, which may do anything but damage.
    pub(super) fn send(&mut self, to: ProcessId, message: Message) {
        let copies = 1 + usize::from(self.chance.below(1000) < self.setup.doubled);
        for _ in 0..copies {
            if self.chance.below(1000) < self.setup.dropped {
                continue;
            }
            let delay = self.delay();
            self.at(self.now_us + delay, Event::Message(to, message.clone()));
        }
    }

    pub(super) fn request(&mut self, from: ProcessId, request: Request) {
        if self.cut_off.get(&from).is_some_and(|until| *until > self.now_us) {
            return;
        }
        let delay = self.delay();
        self.at(self.now_us + delay, Event::Request(from, request));
    }

    fn delay(&mut self) -> u64 {
        let tail = if self.chance.once_in(50) { 20 } else { 1 };
        50 + self.chance.below(self.setup.delay_us * tail) as u64
    }

    fn happen(&mut self, event: Event) {
        let who = match event {
            Event::Request(from, request) => return self.serve(from, request),
            Event::LeaseEnds(who) => return self.lease_ends(who),
            Event::Strike(number) => return self.strike(number),
            Event::Resume(who) => {
                self.paused.remove(&who);
                who
            }
            Event::Message(who, _)
            | Event::Timer(who)
            | Event::Read(who, _)
            | Event::Wrote(who, _) => who,
        };
        if let Some(until) = self.paused.get(&who) {
            let until = *until;
            return self.at(until, event);
        }
        // Outside the map while it acts, so that it may use the rest of the world.
        if let Some(mut executor) = self.executors.remove(&who) {
            executor.on(event, self);
            if executor.lives {
                self.executors.insert(who, executor);
            } else {
                self.end(who);
            }
        }
    }

    fn serve(&mut self, from: ProcessId, request: Request) {
        let answer = match request {
            Request::Read => Event::Read(from, self.store.records.clone()),
            Request::Write(conditions, write) => {
                let key = write.key();
                let commit = matches!(write, super::wire::Write::Commit(_));
                let content = self.trace.is_some().then(|| format!("{write:?}"));
                let done = self.store.write(&conditions, write);
                let what = if done { "writes" } else { "may not write" };
                self.note(|| format!("{from} {what} {key} {}", content.unwrap_or_default()));
                if done && commit {
                    self.tally.commits += 1;
                    super::judge::after_commit(self);
                }
                Event::Wrote(from, key)
            }
        };
        if self.chance.below(1000) >= self.setup.answers_lost {
            let delay = self.delay();
            self.at(self.now_us + delay, answer);
        }
    }

    fn strike(&mut self, number: usize) {
        let strike = self.setup.strikes[number].1;
        let alive: Vec<ProcessId> = self.executors.keys().copied().collect();
        if alive.is_empty() {
            return;
        }
        let who = alive[self.chance.below(alive.len())];
        self.note(|| format!("{who} {strike:?}"));
        match strike {
            Strike::Kill => {
                self.tally.kills += 1;
                self.executors.remove(&who);
                self.end(who);
            }
            Strike::Pause(duration) => {
                let until = self.now_us + duration;
                self.paused.insert(who, until);
                self.at(until, Event::Resume(who));
                if duration > LEASE_US {
                    self.tally.zombies += 1;
                    self.at(self.now_us + LEASE_US, Event::LeaseEnds(who));
                }
            }
            Strike::CutOff(duration) => {
                self.cut_off.insert(who, self.now_us + duration);
                if duration > LEASE_US {
                    self.tally.zombies += 1;
                    self.at(self.now_us + LEASE_US, Event::LeaseEnds(who));
                }
            }
            Strike::Add => self.add(),
            Strike::Drain => {
                self.store.change(|records| {
                    if let Some(card) = records.cards.get_mut(&who) {
                        card.draining = true;
                    }
                });
                self.staff();
            }
            Strike::Usurp => {
                let slots: Vec<_> = self.setup.job.slots().collect();
                let slot = slots[self.chance.below(slots.len())];
                if let Some(executor) = self.executors.get_mut(&who) {
                    executor.suspects = Some(slot);
                }
            }
        }
    }

    fn add(&mut self) {
        let id = ProcessId::from_u128(self.next_id);
        self.next_id += 1;
        let cores = 1 + self.chance.below(4) as u32;
        let skew_ms = self.chance.below(40) as i64 - 20;
        self.store.change(|records| {
            records.cards.insert(id, Card { cores, draining: false });
        });
        self.executors.insert(id, Executor::new(id, skew_ms));
        self.at(self.now_us, Event::Timer(id));
    }

    /// A process is gone: its card follows, and somebody starts another one if too few are left.
    fn end(&mut self, who: ProcessId) {
        self.paused.remove(&who);
        let lease = self.chance.below(LEASE_US as usize) as u64;
        self.at(self.now_us + lease, Event::LeaseEnds(who));
        self.staff();
    }

    /// A job needs somebody who stays.
    fn staff(&mut self) {
        let cards = &self.store.records.cards;
        let stays = |id: &&ProcessId| cards.get(id).is_some_and(|card| !card.draining);
        if self.executors.keys().filter(stays).count() < 2 {
            self.add();
        }
    }

    fn lease_ends(&mut self, who: ProcessId) {
        self.note(|| format!("{who} has no card any more"));
        let forgets = self.setup.breaks(Mutation::TermsForgotten);
        self.store.change(|records| {
            records.cards.remove(&who);
            if forgets {
                records.slots.retain(|_, (_, record)| record.latest().owner != who);
            }
        });
        self.staff();
    }
}
