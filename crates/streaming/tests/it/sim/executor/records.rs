//! What an executor does about records: takes up what it holds, claims, writes groups and commits.

use std::collections::BTreeMap;

use dunlin_base::{Kind as ErrorKind, ProcessId, Revision};
use dunlin_streaming::commit::{Part, Ready, ready};
use dunlin_streaming::cut::Pins;
use dunlin_streaming::group::{Member, first_choice, next};
use dunlin_streaming::id::{Epoch, Mb, SlotId};
use dunlin_streaming::record::{
    Condition, Key, for_claim, for_commit, for_group, for_own_slot, for_part,
};
use dunlin_streaming::slot::{Kind, Life, SlotRecord};
use dunlin_streaming::tuner::GroupMetrics;

use super::super::operator::State;
use super::super::setup::Mutation;
use super::super::wire::{Request, Write};
use super::super::world::World;
use super::{Executor, Owned};

impl Executor {
    pub(super) fn committed(&self) -> Epoch {
        self.view.committed()
    }

    pub(super) fn alive(&self, executor: ProcessId) -> bool {
        self.view.cards.contains_key(&executor)
    }

    /// Begins the life of each holding that the records give this executor.
    pub(super) fn take_up(&mut self, world: &mut World) {
        let job = &world.setup.job;
        for (slot, (_, record)) in &self.view.slots {
            for holding in record.needed(self.committed()) {
                let known = self.owned.contains_key(&(*slot, holding.term));
                if holding.owner != self.id || known {
                    continue;
                }
                let Some(first) = self.calendar.after(Epoch(holding.from.0 - 1)) else { continue };
                let kind = if job.is_source(*slot) { Kind::Source } else { Kind::Keyed };
                let owned = Owned {
                    slot: *slot,
                    kind,
                    life: Life::new(holding, kind, self.view.committed(), first),
                    state: State::new(job, *slot, world.setup.watermark),
                    home: None,
                    ring: BTreeMap::new(),
                    cuts: BTreeMap::new(),
                    gather: None,
                    parts: BTreeMap::new(),
                    counts: Default::default(),
                    answers: Vec::new(),
                    cut_at_us: world.now_us,
                    poked: Mb(0),
                    moved_us: world.now_us,
                    asked_us: 0,
                };
                self.owned.insert((*slot, holding.term), owned);
            }
        }
    }

    /// Tells all lives what the records say.
    pub(super) fn learn(&mut self, world: &mut World) {
        let committed = self.committed();
        let last = self.calendar.after(committed).map_or(Mb(0), |mb| Mb(mb.0 - 1));
        let mut past = Vec::new();
        for (key, owned) in &mut self.owned {
            owned.life.committed(committed);
            owned.ring = owned.ring.split_off(&last.next());
            let Some((_, record)) = self.view.slots.get(&owned.slot) else { continue };
            owned.life.record(record);
            let written =
                |epoch: &Epoch| self.view.parts.contains_key(&(*epoch, owned.slot, key.1));
            let done: Vec<Epoch> =
                owned.parts.keys().filter(|epoch| written(epoch)).copied().collect();
            for epoch in done {
                owned.parts.remove(&epoch);
                owned.life.part_written(epoch);
            }
            owned.parts = owned.parts.split_off(&committed.next());
            let pins = record.pins().filter(|_| record.latest().term == key.1);
            if let Some(pins) = pins
                && owned.gather.take().is_some()
            {
                owned.cuts = (pins.first.0..).map(Mb).zip(pins.cuts.iter().cloned()).collect();
                owned.life.gathered();
                world.tally.pinned += pins.cuts.len() as u64;
            }
            let Some(home) = &mut owned.home else { continue };
            home.committed(last);
            for (source, (_, of)) in &self.view.slots {
                let source_like = world.setup.job.is_source(*source);
                if !source_like || (of.pins().is_none() && world.setup.breaks(Mutation::NoPromise))
                {
                    continue;
                }
                let heard = home.heard(*source, of.latest().term, of.pins());
                if let Err(error) = heard {
                    past.push((*key, record.latest(), error));
                }
            }
        }
        for (key, latest, error) in past {
            self.owned.remove(&key);
            world.tally.past += 1;
            if latest.term == key.1 || error.kind() != ErrorKind::Fenced {
                world.complain(format!("T5: the owner of slot {}: {error}", key.0));
            }
        }
    }

    /// Claims, group records, parts and commits that are due.
    pub(super) fn write_records(&mut self, world: &mut World) {
        self.write_group(world);
        self.write_commit(world);
        self.write_parts(world);
        self.claim(world);
    }

    /// Sends a transaction unless one on this key is on its way.
    pub(super) fn write(&mut self, conditions: Vec<Condition>, write: Write, world: &mut World) {
        if self.pending.contains_key(&write.key()) {
            return;
        }
        self.pending.insert(write.key(), world.now_us);
        world.request(self.id, Request::Write(conditions, write));
    }

    fn claim(&mut self, world: &mut World) {
        let committed = self.committed();
        let Some(first) = self.calendar.after(committed) else { return };
        let latest = self.view.groups.values().next_back();
        let Some(latest) = latest.cloned() else { return };
        let suspect = self.suspects.take();
        for slot in world.setup.clone().job.slots() {
            let record = self.view.slots.get(&slot).cloned();
            let gone = |owner| !self.alive(owner);
            let free = record.as_ref().is_none_or(|(_, record)| record.is_free(committed, gone));
            if !free && suspect != Some(slot) {
                continue;
            }
            world.tally.usurped += u64::from(!free);
            let placed = latest.placement.get(&slot).copied().filter(|id| self.alive(*id));
            let choice = placed.or_else(|| first_choice(slot, self.view.cards.keys().copied()));
            if free && choice != Some(self.id) && !world.chance.once_in(12) {
                continue;
            }
            let kind = if world.setup.job.is_source(slot) { Kind::Source } else { Kind::Keyed };
            let old = record.as_ref().map(|(_, record)| record);
            let new = SlotRecord::claimed(old, kind, self.id, committed, first);
            let seen = record.as_ref().map(|(revision, _)| *revision);
            let mut conditions = for_claim(slot, seen, self.id, committed);
            if world.setup.breaks(Mutation::ClaimUnfenced) {
                conditions.pop();
            }
            self.write(conditions, Write::Slot(slot, new), world);
        }
    }

    fn write_group(&mut self, world: &mut World) {
        let latest = self.view.groups.values().next_back();
        if let Some(latest) = latest {
            let due = latest.first.0 + u64::from(latest.count()) * 7 / 10;
            let reached = self.owned.values().any(|owned| owned.life.next_mb().0 >= due);
            if !reached {
                return;
            }
        }
        let now = world.now_us;
        let known = world.setup.discovered.iter().filter(|(_, _, at)| *at <= now);
        let splits: Vec<_> = known.map(|(split, stage, _)| (*split, *stage)).collect();
        let members: Vec<Member> = self
            .view
            .cards
            .iter()
            .map(|(id, card)| Member {
                executor: *id,
                cores: card.cores,
                room: 100,
                draining: card.draining,
                straggling: false,
            })
            .collect();
        let measured = GroupMetrics {
            coordination_us: world.chance.below(100) as u64,
            busy_us: world.chance.below(1000) as u64,
            tick_us: 1,
            commit_us: 0,
        };
        let Ok((group, _)) = next(&world.setup.job, latest, &members, &splits, &measured) else {
            return;
        };
        self.write(for_group(group.epoch, Revision(0)), Write::Group(group), world);
    }

    fn write_parts(&mut self, world: &mut World) {
        let waiting = self.owned.values().flat_map(|owned| owned.parts.values());
        let waiting: Vec<Part> = waiting.cloned().collect();
        for part in waiting {
            let Some((seen, _)) = self.view.slots.get(&part.slot) else { continue };
            let conditions = for_part((part.epoch, part.slot, part.term), *seen, self.id);
            self.write(conditions, Write::Part(part), world);
        }
    }

    fn write_commit(&mut self, world: &mut World) {
        let committed = self.committed();
        let pending = self.pending.contains_key(&Key::Commit(committed.next()));
        if pending || self.no_commit_at == self.view.revision {
            return;
        }
        let records: BTreeMap<SlotId, SlotRecord> =
            self.view.slots.iter().map(|(slot, (_, record))| (*slot, record.clone())).collect();
        let mut parts: Vec<Part> = self
            .view
            .parts
            .range((committed.next(), SlotId::new(0, 0), Default::default())..)
            .map(|(_, part)| part.clone())
            .collect();
        if world.setup.breaks(Mutation::PartsOfAnyTerm) {
            for part in &mut parts {
                let covering =
                    records.get(&part.slot).and_then(|record| record.covering(part.epoch));
                part.term = covering.map_or(part.term, |holding| holding.term);
            }
        }
        match ready(&world.setup.job, committed, &records, &parts) {
            Ok(Ready::Waits(_)) => self.no_commit_at = self.view.revision,
            Ok(Ready::Commit(commit)) => {
                let mut conditions = for_commit(commit.epoch, Revision(self.view.revision));
                if world.setup.breaks(Mutation::CommitUnfenced) {
                    conditions.retain(|c| !matches!(c, Condition::NoSlotWrittenSince(_)));
                }
                self.write(conditions, Write::Commit(commit), world);
            }
            Err(error) => world.complain(error.to_string()),
        }
    }

    /// The owner's own write of its slot record.
    pub(super) fn write_slot(&mut self, slot: SlotId, record: SlotRecord, world: &mut World) {
        let Some((seen, _)) = self.view.slots.get(&slot) else { return };
        self.write(for_own_slot(slot, *seen, self.id), Write::Slot(slot, record), world);
    }

    /// All cuts of a source slot that are not committed.
    pub(super) fn pins_of(&self, owned: &Owned) -> Option<Pins> {
        let first = self.calendar.after(self.committed())?;
        let cuts = owned.cuts.range(first..).map(|(_, cut)| cut.clone()).collect();
        Some(Pins { first, cuts })
    }
}
