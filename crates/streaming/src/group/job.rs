//! The shape of a job: stages, slots, what flows where, which keys are whose.

use std::ops::Range;

use dunlin_base::{Error, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::id::{SlotId, StageNo, VSHARDS};
use crate::tuner::TunerOptions;

/// Most slots of a job.
const SLOTS_MAX: usize = 1024;

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How many slots it has: fixed for the life of a job, so that a group's end moves slots and
    /// changes no channel.
    pub slots: u16,
    /// The stages whose rows it reads, each earlier than itself. None: a source.
    pub inputs: Vec<StageNo>,
}

/// What does not change from group to group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    stages: Vec<Stage>,
    /// The tuner's limits.
    pub tuner: TunerOptions,
}

/// Where rows go from one slot to another. It follows from the shape and needs no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    /// Who sends.
    pub from: SlotId,
    /// Who receives.
    pub to: SlotId,
}

impl Job {
    /// `Invalid` unless each stage has slots, no more than shards, and reads earlier stages only.
    pub fn new(stages: Vec<Stage>, tuner: TunerOptions) -> Result<Self> {
        for (number, stage) in stages.iter().enumerate() {
            let keyed = !stage.inputs.is_empty();
            if stage.slots == 0 || (keyed && stage.slots > VSHARDS) {
                let slots = stage.slots;
                return Err(Error::invalid(format!("stage {number} cannot have {slots} slots")));
            }
            if stage.inputs.iter().any(|input| usize::from(input.0) >= number) {
                return Err(Error::invalid(format!(
                    "stage {number} reads a stage that is not before it"
                )));
            }
        }
        let all: usize = stages.iter().map(|stage| usize::from(stage.slots)).sum();
        if stages.is_empty() || all > SLOTS_MAX {
            return Err(Error::invalid(format!("a job cannot have {all} slots"))
                .with_hint(format!("use at most {SLOTS_MAX}, at least one")));
        }
        Ok(Self { stages, tuner })
    }

    /// All slots, in order.
    pub fn slots(&self) -> impl Iterator<Item = SlotId> {
        (0..self.stages.len() as u16).flat_map(|stage| self.slots_of(StageNo(stage)))
    }

    /// The slots of a stage, in order.
    pub fn slots_of(&self, stage: StageNo) -> impl Iterator<Item = SlotId> + use<> {
        let slots = self.stages.get(usize::from(stage.0)).map_or(0, |stage| stage.slots);
        (0..slots).map(move |number| SlotId { stage, number })
    }

    /// True if the slot reads splits.
    pub fn is_source(&self, slot: SlotId) -> bool {
        self.stage(slot).is_some_and(|stage| stage.inputs.is_empty())
    }

    /// The slots that send to this one, over all edges, in order.
    pub fn upstream(&self, slot: SlotId) -> Vec<SlotId> {
        let inputs = self.stage(slot).map_or(&[][..], |stage| &stage.inputs);
        self.slots().filter(|from| inputs.contains(&from.stage)).collect()
    }

    /// The slots that this one sends to, in order.
    pub fn downstream(&self, slot: SlotId) -> Vec<SlotId> {
        self.slots().filter(|to| self.reads(*to, slot.stage)).collect()
    }

    /// All channels, in order.
    pub fn channels(&self) -> Vec<Channel> {
        let from_each =
            |from: SlotId| self.downstream(from).into_iter().map(move |to| Channel { from, to });
        self.slots().flat_map(from_each).collect()
    }

    /// The shards of a keyed slot: contiguous, and together all of them.
    pub fn vshards(&self, slot: SlotId) -> Range<u16> {
        let slots = self.stage(slot).map_or(1, |stage| u32::from(stage.slots));
        let at = |number: u32| (number * u32::from(VSHARDS) / slots) as u16;
        at(u32::from(slot.number))..at(u32::from(slot.number) + 1)
    }

    /// The slot of a stage that has a shard.
    pub fn slot_of(&self, stage: StageNo, vshard: u16) -> SlotId {
        let owner = self.slots_of(stage).find(|slot| self.vshards(*slot).contains(&vshard));
        owner.unwrap_or(SlotId { stage, number: 0 })
    }

    fn stage(&self, slot: SlotId) -> Option<&Stage> {
        self.stages.get(usize::from(slot.stage.0))
    }

    fn reads(&self, slot: SlotId, stage: StageNo) -> bool {
        self.stage(slot).is_some_and(|own| own.inputs.contains(&stage))
    }
}

/// The shard of a key, by its encoded form. Part of the state's format: it may never change.
pub fn vshard_of(key: &[u8]) -> u16 {
    (xxh3_64(key) >> 56) as u16
}
