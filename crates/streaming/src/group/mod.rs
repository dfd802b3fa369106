//! The group record: what the next mbs are, who does which slot, who reads which split. A pure function,
//! called by any owner of a slot at 70 % of the group before; whoever writes its answer first is right.

mod calendar;
mod job;
mod place;

use std::collections::BTreeMap;

use dunlin_base::{ProcessId, Result};

pub use calendar::Calendar;
pub use job::{Channel, Job, Stage, vshard_of};
pub use place::{Member, first_choice, place};

use crate::id::{Epoch, Mb, SlotId, SplitId, StageNo};
use crate::tuner::{GroupMetrics, Reason, TunerState, tune};

/// One group of mbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub epoch: Epoch,
    /// Its first mb: the one after the last of the group before.
    pub first: Mb,
    /// Where slots are to be. Who really owns one is in its own record.
    pub placement: BTreeMap<SlotId, ProcessId>,
    /// Which source slot reads which split.
    pub splits: BTreeMap<SplitId, SlotId>,
    /// How many mbs it has, and why.
    pub tuner: TunerState,
}

impl Group {
    /// How many mbs it has.
    pub fn count(&self) -> u32 {
        self.tuner.size
    }
}

/// The record after `before` (the first one if there is none). The same arguments give the same record,
/// in whatever order `members` and `splits` (each with its source stage) come. `Exhausted` if the members have no room for all slots:
/// nothing is placed where it does not fit.
pub fn next(
    job: &Job,
    before: Option<&Group>,
    members: &[Member],
    splits: &[(SplitId, StageNo)],
    measured: &GroupMetrics,
) -> Result<(Group, Reason)> {
    let (tuner, reason) = match before {
        Some(group) => tune(group.tuner, measured, &job.tuner),
        None => (TunerState::default(), Reason::Keep),
    };
    let none = BTreeMap::new();
    let slots: Vec<SlotId> = job.slots().collect();
    let placement = place(&slots, before.map_or(&none, |group| &group.placement), members)?;
    let group = Group {
        epoch: before.map_or(Epoch(1), |group| group.epoch.next()),
        first: before.map_or(Mb(1), |group| Mb(group.first.0 + u64::from(group.count()))),
        placement,
        splits: deal(job, before.map(|group| &group.splits), splits),
        tuner,
    };
    Ok((group, reason))
}

/// Splits stay where they are; a new one goes to the slot of its source stage with the fewest.
fn deal(
    job: &Job,
    before: Option<&BTreeMap<SplitId, SlotId>>,
    splits: &[(SplitId, StageNo)],
) -> BTreeMap<SplitId, SlotId> {
    let mut dealt = before.cloned().unwrap_or_default();
    let mut fresh: Vec<(SplitId, StageNo)> =
        splits.iter().filter(|(split, _)| !dealt.contains_key(split)).copied().collect();
    fresh.sort_unstable();
    fresh.dedup();
    for (split, stage) in fresh {
        let load = |slot: &SlotId| dealt.values().filter(|owner| *owner == slot).count();
        if let Some(slot) = job.slots_of(stage).min_by_key(|slot| (load(slot), *slot)) {
            dealt.insert(split, slot);
        }
    }
    dealt
}

#[cfg(test)]
mod tests;
