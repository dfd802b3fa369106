//! Who does which slot: sticky, fair by cores, within everybody's room, with the fewest moves.

use std::collections::BTreeMap;

use dunlin_base::{Error, ProcessId, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::id::SlotId;

/// An executor as its card shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub executor: ProcessId,
    /// Shares follow cores.
    pub cores: u32,
    /// Slots that its memory holds, each with its reservation.
    pub room: u32,
    /// It goes: nothing is placed there.
    pub draining: bool,
    /// It lags behind the others: as if it went, unless there is nobody else.
    pub straggling: bool,
}

/// A place for each slot. A slot moves only if its executor is gone, goes, lags, or holds more than its
/// share; of two executors with the same share of a remainder, the one that holds more keeps it.
/// `Exhausted` if there is not room for all.
pub fn place(
    slots: &[SlotId],
    before: &BTreeMap<SlotId, ProcessId>,
    members: &[Member],
) -> Result<BTreeMap<SlotId, ProcessId>> {
    let staying = |m: &&Member| !m.draining && m.room > 0;
    let mut able: Vec<&Member> = members.iter().filter(staying).filter(|m| !m.straggling).collect();
    let room = |able: &[&Member]| able.iter().map(|m| u64::from(m.room)).sum::<u64>();
    if room(&able) < slots.len() as u64 {
        able = members.iter().filter(staying).collect();
    }
    if room(&able) < slots.len() as u64 {
        let (needed, there) = (slots.len(), room(&able));
        return Err(Error::exhausted(format!(
            "the job has {needed} slots, executors have room for {there}"
        ))
        .with_hint("add executors or memory, or lower the job's parallelism"));
    }
    able.sort_by_key(|member| member.executor);
    let held = |executor| slots.iter().filter(|slot| before.get(slot) == Some(&executor)).count();
    let quotas = quotas(slots.len(), &able, held);
    Ok(fill(slots, before, &quotas))
}

/// How many slots each gets: rounds of one to whoever has the least per core, among those with room.
fn quotas(
    slots: usize,
    able: &[&Member],
    held: impl Fn(ProcessId) -> usize,
) -> BTreeMap<ProcessId, usize> {
    let mut quotas: BTreeMap<ProcessId, usize> = able.iter().map(|m| (m.executor, 0)).collect();
    for _ in 0..slots {
        let open = able.iter().filter(|m| quotas[&m.executor] < m.room as usize);
        let next = open.min_by(|a, b| {
            let load = |m: &Member| (quotas[&m.executor] + 1) as u64;
            let cores = |m: &Member| u64::from(m.cores.max(1));
            let by_load = (load(a) * cores(b)).cmp(&(load(b) * cores(a)));
            // Whoever holds what it would get keeps it.
            let keeps = |m: &Member| held(m.executor) > quotas[&m.executor];
            by_load.then(keeps(b).cmp(&keeps(a))).then(a.executor.cmp(&b.executor))
        });
        if let Some(member) = next {
            *quotas.entry(member.executor).or_default() += 1;
        }
    }
    quotas
}

fn fill(
    slots: &[SlotId],
    before: &BTreeMap<SlotId, ProcessId>,
    quotas: &BTreeMap<ProcessId, usize>,
) -> BTreeMap<SlotId, ProcessId> {
    let mut left = quotas.clone();
    let mut placed = BTreeMap::new();
    for slot in slots {
        let Some(executor) = before.get(slot) else { continue };
        if let Some(left) = left.get_mut(executor).filter(|left| **left > 0) {
            *left -= 1;
            placed.insert(*slot, *executor);
        }
    }
    for slot in slots {
        if placed.contains_key(slot) {
            continue;
        }
        let open = left.iter_mut().filter(|(_, left)| **left > 0);
        // The most room first, so that the slots of a stage are spread.
        if let Some((executor, left)) = open.max_by_key(|(id, left)| (**left, turn(*slot, **id))) {
            *left -= 1;
            placed.insert(*slot, *executor);
        }
    }
    placed
}

/// Who is the first to claim a slot that is free, when no group record names somebody alive: the same for
/// all who ask. Others come after a while.
pub fn first_choice(slot: SlotId, alive: impl IntoIterator<Item = ProcessId>) -> Option<ProcessId> {
    alive.into_iter().max_by_key(|executor| (turn(slot, *executor), *executor))
}

fn turn(slot: SlotId, executor: ProcessId) -> u64 {
    let slot = (u64::from(slot.stage.0) << 16) | u64::from(slot.number);
    xxh3_64_with_seed(&executor.to_u128().to_le_bytes(), slot)
}
