//! What an executor holds after a claim: the slices and everything it needs to run them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Attempt, QueryId, StageEpoch, StageId};
use dunlin_proto::output::StageOutput;

use crate::member::Member;

/// A sealed stage whose output the claimed slices read.
#[derive(Clone, Debug)]
pub struct InputStage {
    /// Which stage.
    pub stage: StageId,
    /// Its epoch: part of the name of its shuffle.
    pub epoch: StageEpoch,
    /// The winning attempt of each of its map tasks, with counts and checksums.
    pub output: Arc<StageOutput>,
}

/// A contiguous run of slices of one stage, held by one executor under one attempt.
///
/// Cheap to clone; all clones are one claim. The claim ends with [`crate::Queue::commit`] (of all its slices),
/// [`crate::Queue::failed`] or [`crate::Queue::hand_back`]. When the last clone is dropped before
/// that, the slices become claimable again at this executor's next look at the stage, and for
/// others when its lease ends.
#[derive(Clone, Debug)]
pub struct ClaimedSlices {
    /// The query.
    pub query: QueryId,
    /// The stage.
    pub stage: StageId,
    /// The stage's epoch: part of the name of the shuffle that the output goes to.
    pub epoch: StageEpoch,
    /// Number of the segment inside the stage.
    pub segment: u32,
    /// The slices, by their number in the stage.
    pub slices: Range<u32>,
    /// The attempt under which all of them run.
    pub attempt: Attempt,
    /// Encoded template of the stage.
    pub template: Bytes,
    /// Encoded slice list of the whole stage.
    pub slice_list: Bytes,
    /// How many slices the stage has.
    pub slice_count: u32,
    /// The stages that the template's exchanges read, in the order of the stage record.
    pub inputs: Vec<InputStage>,
    /// When the query's time is up, in milliseconds since 1970.
    pub deadline_unix_ms: Option<u64>,
    pub(crate) held: Arc<Held>,
}

/// The part of a claim that its clones share.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) member: Member,
    pub(crate) token: u64,
}
