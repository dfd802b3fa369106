//! What must be true of a job's commits: they are what one process would have made of the same cuts, and
//! where nothing can be late, what a batch query makes of all rows.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_streaming::commit::Commit;
use dunlin_streaming::home::Input;
use dunlin_streaming::id::{Mb, SlotId};
use dunlin_streaming::time::Counts;

use super::executor::file;
use super::operator::{Answer, Output, Ran, State};
use super::rows::{Body, batch};
use super::world::{Blob, World};

/// After each commit: whether the job has ended.
pub(super) fn after_commit(world: &mut World) {
    let Some(commit) = world.store.records.commits.values().next_back().cloned() else { return };
    let mut dealt = 0;
    for slot in world.setup.clone().job.slots() {
        let Some(blob) = blob(world, &commit, slot) else {
            return world
                .complain(format!("T9: commit {} names a file that is gone", commit.epoch));
        };
        match &blob.state {
            State::Source(source) => {
                dealt += source.ended.values().filter(|ended| **ended).count();
            }
            State::Keyed(keyed) if !keyed.open.is_empty() => return,
            State::Keyed(_) => {}
        }
    }
    world.finished = dealt == world.setup.splits.len();
}

fn blob(world: &World, commit: &Commit, slot: SlotId) -> Option<Rc<Blob>> {
    world.blobs.get(&file(commit.epoch, slot, *commit.parts.get(&slot)?)).cloned()
}

/// After the end: every commit, state and answer, against one process that runs the same cuts in order.
pub(super) fn after_end(world: &mut World) {
    let setup = world.setup.clone();
    let slots: Vec<SlotId> = setup.job.slots().collect();
    let fresh = |slot: &SlotId| (*slot, State::new(&setup.job, *slot, setup.watermark));
    let mut states: BTreeMap<SlotId, State> = slots.iter().map(fresh).collect();
    let mut answers: Vec<Answer> = Vec::new();
    let mut all = Counts::default();
    let commits: Vec<Commit> = world.store.records.commits.values().cloned().collect();
    for commit in commits {
        let blobs: BTreeMap<SlotId, Rc<Blob>> =
            slots.iter().filter_map(|slot| Some((*slot, blob(world, &commit, *slot)?))).collect();
        let mbs: Vec<Mb> = blobs.values().flat_map(|blob| blob.cuts.keys()).copied().collect();
        let mut expected: BTreeMap<SlotId, Vec<Answer>> = BTreeMap::new();
        let mut counts = Counts::default();
        for mb in mbs.iter().min().map_or(1, |mb| mb.0)..=mbs.iter().max().map_or(0, |mb| mb.0) {
            let mut outputs: BTreeMap<SlotId, Output> = BTreeMap::new();
            for slot in &slots {
                let Some(ran) = run(world, &blobs, &mut states, &outputs, *slot, Mb(mb)) else {
                    return world.complain(format!("T6: {slot} lacks {mb} in {}", commit.epoch));
                };
                counts += ran.counts;
                expected.entry(*slot).or_default().extend(ran.answers);
                outputs.insert(*slot, ran.output);
            }
        }
        for (slot, blob) in &blobs {
            if blob.state != states[slot] || blob.answers != expected[slot] {
                let epoch = commit.epoch;
                return world.complain(format!(
                    "slot {slot} in commit {epoch}:\n{:?}\n{:?}\nexpected\n{:?}\n{:?}",
                    blob.state, blob.answers, states[slot], expected[slot]
                ));
            }
            answers.extend(blob.answers.iter().copied());
        }
        if counts != commit.counts {
            world.complain(format!("T8: {:?} instead of {counts:?}", commit.counts));
        }
        all += counts;
    }
    world.tally.late += all.late;
    world.tally.ahead += all.ahead;
    compare_with_batch(world, &answers, &all);
}

/// One mb of one slot in the process that does everything.
fn run(
    world: &World,
    blobs: &BTreeMap<SlotId, Rc<Blob>>,
    states: &mut BTreeMap<SlotId, State>,
    outputs: &BTreeMap<SlotId, Output>,
    slot: SlotId,
    mb: Mb,
) -> Option<Ran> {
    let setup = &world.setup;
    match states.get_mut(&slot)? {
        State::Source(source) => {
            let cut = &blobs.get(&slot)?.cuts.get(&mb)?.get(&slot)?.cut;
            Some(source.run(&setup.job, slot, cut, &setup.splits))
        }
        State::Keyed(keyed) => {
            let input = |from: SlotId| {
                let output = outputs.get(&from)?;
                let (watermark, idle) = (output.watermark, output.idle);
                Some(Input { from, watermark, idle, bodies: output.to.get(&slot)?.clone() })
            };
            let upstream = setup.job.upstream(slot).into_iter();
            let inputs: Vec<Input<Body>> = upstream.map(input).collect::<Option<_>>()?;
            Some(keyed.merge(&setup.job, slot, &inputs))
        }
    }
}

/// Where nothing can be late every row of every split is in the answer, once.
fn compare_with_batch(world: &mut World, answers: &[Answer], all: &Counts) {
    let rows: u64 = world.setup.splits.values().map(|split| split.rows.len() as u64).sum();
    if all.read != rows {
        world.complain(format!("{} rows were read of {rows}", all.read));
    }
    if all.balance().is_err() {
        world.complain(format!("T8: {all:?}"));
    }
    if world.setup.can_be_late {
        return;
    }
    world.tally.whole += 1;
    let totals = answers.iter().all(|(key, ..)| *key == 0)
        && world.setup.job.slots().last().is_some_and(|slot| {
            let from = world.setup.job.upstream(slot);
            from.iter().any(|from| !world.setup.job.is_source(*from))
        });
    let mut expected: BTreeMap<(u64, i64), (u64, u64)> = BTreeMap::new();
    for ((key, window), (rows, sum)) in batch(world.setup.splits.values()) {
        let entry = expected.entry((if totals { 0 } else { key }, window)).or_default();
        *entry = (entry.0 + rows, entry.1 + sum);
    }
    let mut found = BTreeMap::new();
    for (key, window, tally) in answers {
        if found.insert((*key, *window), (tally.rows, tally.sum)).is_some() {
            world.complain(format!("window {window} of key {key} has fired twice"));
        }
    }
    if all.late > 0 || found != expected {
        world.complain(format!("batch says {expected:?}\nthe stream {found:?}, late {}", all.late));
    }
}
