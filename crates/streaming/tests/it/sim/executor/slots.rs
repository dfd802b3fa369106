//! What an executor does for its slots: the steps that their lives say.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_base::ProcessId;
use dunlin_streaming::commit::Part;
use dunlin_streaming::cut::{
    Cut, Cuts, Due, Gather, SourceCut, SourceLoad, SplitRange, Views, due, fingerprints,
};
use dunlin_streaming::home::Home;
use dunlin_streaming::id::{Epoch, Mb, SlotId, SplitId, Term};
use dunlin_streaming::slot::{Kind, Step};
use dunlin_streaming::time::Watermark;

use super::super::operator::{Ran, State};
use super::super::setup::Mutation;
use super::super::world::{Blob, World};
use super::{Executor, Owned};

impl Executor {
    /// Takes every step that can be taken, for one slot or all.
    pub(super) fn run_slots(&mut self, only: Option<SlotId>, world: &mut World) {
        let wanted = |key: &&(SlotId, Term)| only.is_none_or(|slot| slot == key.0);
        let keys: Vec<(SlotId, Term)> = self.owned.keys().filter(wanted).copied().collect();
        for key in keys {
            let Some(mut owned) = self.owned.remove(&key) else { continue };
            if self.run_slot(&mut owned, world) {
                self.owned.insert(key, owned);
            }
        }
    }

    /// False once nothing of the holding is needed.
    fn run_slot(&mut self, owned: &mut Owned, world: &mut World) -> bool {
        loop {
            // Now and then somebody is taken for dead, for a moment.
            let doubted = world.chance.once_in(20);
            let placed = |epoch: Epoch| -> Option<ProcessId> {
                let to = *self.view.groups.get(&epoch)?.placement.get(&owned.slot)?;
                (self.alive(to) && !doubted).then_some(to)
            };
            let step = owned.life.step(&self.calendar, placed);
            let moved = match step {
                Step::Restore { commit, parts } => self.restore(owned, commit, &parts, world),
                Step::Gather => {
                    self.gather(owned, world);
                    false
                }
                Step::Run(mb) => match owned.kind {
                    Kind::Source => self.run_source(owned, mb, world),
                    Kind::Keyed => self.merge(owned, mb, world),
                },
                Step::Part(epoch) => {
                    self.take_part(owned, epoch, world);
                    true
                }
                Step::HandOver { to, from } => {
                    self.hand_over(owned, to, from, world);
                    false
                }
                Step::Serve(_) if world.setup.breaks(Mutation::RingDropped) => {
                    owned.ring.clear();
                    false
                }
                Step::Wait(_) | Step::Serve(_) => false,
                Step::Done => return false,
                Step::Stop => {
                    world.tally.fenced += 1;
                    return false;
                }
            };
            if !moved {
                return true;
            }
        }
    }

    fn restore(
        &mut self,
        owned: &mut Owned,
        commit: Epoch,
        parts: &[Epoch],
        world: &mut World,
    ) -> bool {
        let Some(record) = self.view.record(owned.slot) else { return false };
        let committed = self.view.commits.get(&commit);
        let base = committed.and_then(|c| Some((commit, *c.parts.get(&owned.slot)?)));
        let above = parts.iter().map(|epoch| Some((*epoch, record.covering(*epoch)?.term)));
        let Some(above) = above.collect::<Option<Vec<_>>>() else { return false };
        let mut merged: BTreeMap<Mb, Cuts> = BTreeMap::new();
        for (number, (epoch, term)) in base.into_iter().chain(above).enumerate() {
            let Some(blob) = world.blobs.get(&file(epoch, owned.slot, term)) else {
                world.complain(format!("T9: slot {} misses {epoch}.{term}", owned.slot));
                return false;
            };
            owned.state = blob.state.clone();
            if number > 0 || base.is_none() {
                merged.extend(blob.cuts.clone());
            }
        }
        if owned.kind == Kind::Source {
            let pins = record.pins().filter(|_| record.latest().term == owned.life.term());
            if let Some(pins) = pins {
                owned.cuts = (pins.first.0..).map(Mb).zip(pins.cuts.iter().cloned()).collect();
            }
            owned.life.restored(pins.is_none());
            return true;
        }
        let mut views = Views::default();
        for (source, (_, of)) in &self.view.slots {
            match of.pins().filter(|_| world.setup.job.is_source(*source)) {
                Some(pins) => _ = views.pinned(*source, of.latest().term, pins),
                None => views.heard(*source, of.latest().term),
            }
        }
        let mut upstream = world.setup.job.upstream(owned.slot);
        if world.setup.breaks(Mutation::OneEdge) {
            let first = upstream[0].stage;
            upstream.retain(|from| from.stage == first);
        }
        owned.home = Some(Home::new(upstream, owned.life.next_mb(), merged, views));
        owned.life.restored(false);
        true
    }

    fn gather(&mut self, owned: &mut Owned, world: &mut World) {
        let Some(first) = self.calendar.after(self.committed()) else { return };
        let job = &world.setup.job;
        let homes = job.slots().filter(|slot| !job.is_source(*slot));
        let gather = owned.gather.get_or_insert_with(|| Gather::new(first, homes));
        for (slot, (_, record)) in &self.view.slots {
            gather.owner(*slot, record.latest().term);
        }
        match gather.pins() {
            Ok(None) => self.ask_for_pins(owned, world),
            Ok(Some(pins)) => {
                let record = self.view.record(owned.slot);
                let own = record.filter(|record| record.latest().term == owned.life.term());
                if let Some(record) = own.filter(|record| record.pins().is_none()) {
                    let record = record.gathered(pins);
                    self.write_slot(owned.slot, record, world);
                }
            }
            Err(error) => world.complain(format!("T5: {error}")),
        }
    }

    /// Runs an mb of a source: as pinned, or cut now if that is due.
    fn run_source(&mut self, owned: &mut Owned, mb: Mb, world: &mut World) -> bool {
        let State::Source(state) = &mut owned.state else { return false };
        let setup = world.setup.clone();
        let wall = setup.start_ms + (world.now_us / 1000) as i64 + self.skew_ms;
        let at_ms = (wall.max(0) as u64).max(state.at_ms);
        if let Some(pinned) = owned.cuts.get_mut(&mb) {
            if setup.breaks(Mutation::ClockReadAgain) {
                pinned.at_ms = at_ms;
            }
        } else {
            let epoch = self.calendar.epoch_of(mb).expect("a group covers it");
            let splits = self.view.groups[&epoch].splits.iter();
            let own = splits.filter(|(_, slot)| **slot == owned.slot).map(|(split, _)| *split);
            let there = |split: SplitId| {
                let from = state.offsets.get(&split).copied().unwrap_or(0);
                (from, setup.splits[&split].there(world.now_us).max(from))
            };
            let own: Vec<_> = own.map(|split| (split, there(split))).collect();
            let load = SourceLoad {
                since_us: world.now_us - owned.cut_at_us,
                left: true,
                rows: own.iter().map(|(_, (from, to))| to - from).sum(),
                poked: owned.poked >= mb,
                credit: true,
                allowed: true,
            };
            if due(&setup.tick, &load) != Due::Cut {
                return false;
            }
            let ranges = own.into_iter().map(|(split, (from, to))| {
                let to = to.min(from + setup.tick.rows_max);
                let ends = to == setup.splits[&split].rows.len() as u64;
                SplitRange { split, from, to, ends }
            });
            owned.cuts.insert(mb, Cut { at_ms, ranges: ranges.collect() });
        }
        owned.cut_at_us = world.now_us;
        let cut = owned.cuts[&mb].clone();
        let ran = state.run(&setup.job, owned.slot, &cut, &setup.splits);
        let cuts = Cuts::from([(owned.slot, SourceCut { term: owned.life.term(), cut })]);
        self.ran(owned, mb, ran, cuts, world);
        true
    }

    fn merge(&mut self, owned: &mut Owned, mb: Mb, world: &mut World) -> bool {
        let (Some(home), State::Keyed(state)) = (&mut owned.home, &mut owned.state) else {
            return false;
        };
        if home.next() != mb {
            world.complain(format!(
                "T6: slot {} is at {mb}, its home at {}",
                owned.slot,
                home.next()
            ));
            return false;
        }
        let mut sealed = match home.take() {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return false,
            Err(error) => {
                world.complain(format!("T5: slot {}: {error}", owned.slot));
                return false;
            }
        };
        if world.setup.breaks(Mutation::ArrivalOrder) && world.chance.once_in(2) {
            sealed.inputs.reverse();
        }
        if world.setup.breaks(Mutation::LateAfterwards) {
            state.see_watermarks(&sealed.inputs);
        }
        let ran = state.merge(&world.setup.job, owned.slot, &sealed.inputs);
        owned.moved_us = world.now_us;
        self.ran(owned, mb, ran, sealed.cuts, world);
        true
    }

    fn ran(&mut self, owned: &mut Owned, mb: Mb, ran: Ran, cuts: Cuts, world: &mut World) {
        owned.counts += ran.counts;
        owned.answers.extend(ran.answers);
        owned.ring.insert(mb, (ran.output, cuts));
        owned.life.ran(mb);
        self.push(owned, mb, world);
    }

    fn take_part(&mut self, owned: &mut Owned, epoch: Epoch, world: &mut World) {
        let (first, last) = self.calendar.of(epoch).expect("it has ended");
        let own = owned.ring.range(first..=last).map(|(mb, (_, cuts))| (*mb, cuts.clone()));
        let cuts: BTreeMap<Mb, Cuts> = own.collect();
        let term = owned.life.term();
        let name = file(epoch, owned.slot, term);
        let watermark = owned.ring.get(&last).map_or(Watermark::MIN, |(o, _)| o.watermark);
        let part = Part {
            epoch,
            slot: owned.slot,
            term,
            cuts: fingerprints(cuts.iter().map(|(mb, cuts)| (*mb, cuts))),
            counts: std::mem::take(&mut owned.counts),
            watermark,
            files: vec![name.clone()],
        };
        let answers = std::mem::take(&mut owned.answers);
        world.blobs.insert(name, Rc::new(Blob { state: owned.state.clone(), cuts, answers }));
        owned.parts.insert(epoch, part);
        owned.life.part_taken(epoch);
    }

    fn hand_over(&mut self, owned: &mut Owned, to: ProcessId, from: Epoch, world: &mut World) {
        let Some(record) = self.view.record(owned.slot) else { return };
        if record.latest().term != owned.life.term() {
            return;
        }
        let pins = if owned.kind == Kind::Source { self.pins_of(owned) } else { None };
        match record.pruned(self.committed()).handed_over(to, from, pins) {
            Ok(record) => {
                world.tally.handed_over += 1;
                if !world.setup.breaks(Mutation::RunsWhileHandingOver) {
                    owned.life.handing_over();
                }
                self.write_slot(owned.slot, record, world);
            }
            Err(error) => world.complain(error.to_string()),
        }
    }
}

/// The name of a part's file: the term is in it, so no two owners write one file.
pub(in super::super) fn file(epoch: Epoch, slot: SlotId, term: Term) -> String {
    format!("{epoch}/{slot}.{term}")
}
