//! One simulated executor: the loops around the protocol's decisions.

mod records;
mod slots;
mod traffic;

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_base::ProcessId;
use dunlin_streaming::commit::Part;
use dunlin_streaming::cut::{Cut, Cuts, Gather};
use dunlin_streaming::group::Calendar;
use dunlin_streaming::home::Home;
use dunlin_streaming::id::{Epoch, Mb, SlotId, Term};
use dunlin_streaming::record::Key;
use dunlin_streaming::slot::{Kind, Life};
use dunlin_streaming::time::Counts;

pub(super) use self::slots::file;
use super::operator::{Answer, Output, State};
use super::rows::Body;
use super::store::Records;
use super::wire::{Event, Request};
use super::world::World;

/// After this a call that was not answered is made again, in microseconds.
const CALL_US: u64 = 30_000;

pub(super) struct Executor {
    pub(super) id: ProcessId,
    pub(super) lives: bool,
    pub(super) suspects: Option<SlotId>,
    skew_ms: i64,
    view: Rc<Records>,
    calendar: Calendar,
    owned: BTreeMap<(SlotId, Term), Owned>,
    pending: BTreeMap<Key, u64>,
    /// The revision at which no commit was ready.
    no_commit_at: i64,
    reading_since: Option<u64>,
}

/// A slot under one term.
struct Owned {
    slot: SlotId,
    kind: Kind,
    life: Life,
    state: State,
    home: Option<Home<Body>>,
    ring: BTreeMap<Mb, (Output, Cuts)>,
    /// Of a source slot: what it keeps to, and what it cut.
    cuts: BTreeMap<Mb, Cut>,
    gather: Option<Gather>,
    /// Parts that are not known to be written.
    parts: BTreeMap<Epoch, Part>,
    counts: Counts,
    answers: Vec<Answer>,
    cut_at_us: u64,
    poked: Mb,
    moved_us: u64,
    asked_us: u64,
}

impl Executor {
    pub(super) fn new(id: ProcessId, skew_ms: i64) -> Self {
        Self {
            id,
            lives: true,
            suspects: None,
            skew_ms,
            view: Rc::default(),
            calendar: Calendar::default(),
            owned: BTreeMap::new(),
            pending: BTreeMap::new(),
            no_commit_at: 0,
            reading_since: None,
        }
    }

    pub(super) fn on(&mut self, event: Event, world: &mut World) {
        match event {
            Event::Message(_, message) => {
                let slot = message.slot();
                self.receive(message, world);
                self.run_slots(Some(slot), world);
            }
            Event::Timer(_) => {
                self.pending.retain(|_, since| *since + CALL_US > world.now_us);
                self.reading_since = self.reading_since.filter(|s| *s + CALL_US > world.now_us);
                self.read(world);
                self.act(world);
                let pause = 1_200 + world.chance.below(1_500) as u64;
                world.at(world.now_us + pause, Event::Timer(self.id));
            }
            Event::Read(_, records) => {
                self.reading_since = None;
                if records.revision > self.view.revision {
                    self.view = records;
                    self.view.groups.values().for_each(|group| self.calendar.note(group));
                    self.act(world);
                }
            }
            Event::Wrote(_, key) => {
                self.pending.remove(&key);
                self.read(world);
            }
            _ => {}
        }
    }

    fn read(&mut self, world: &mut World) {
        if self.reading_since.is_none() {
            self.reading_since = Some(world.now_us);
            world.request(self.id, Request::Read);
        }
    }

    fn act(&mut self, world: &mut World) {
        if self.view.revision == 0 {
            return;
        }
        let card = self.view.cards.get(&self.id).copied();
        let drained = card.is_some_and(|card| card.draining) && self.owned.is_empty();
        if card.is_none() || (drained && self.view.slots.len() == world.setup.job.slots().count()) {
            // Without its card a process ends; a drained one has nothing left to serve.
            self.lives = false;
            return;
        }
        self.take_up(world);
        self.learn(world);
        self.run_slots(None, world);
        self.write_records(world);
        self.ask(world);
    }
}
