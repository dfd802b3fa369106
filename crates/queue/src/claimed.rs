//! What an executor holds after a claim: the slices and everything it needs to run them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Attempt, QueryId, Result, Revision, StageEpoch, StageId};
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Segment, Stage};
use parking_lot::Mutex;

use crate::keys;
use crate::member::{Member, Token};
use crate::record::Stored;
use crate::records::Records;
use crate::segment;
use crate::voided::Voided;

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
    /// Nothing else may run beside it: executors died that held it.
    pub alone: bool,
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
    /// For whom the query runs; empty: nobody has said.
    pub user: String,
    pub(crate) held: Arc<Held>,
}

/// The part of a claim that its clones share.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) view: Arc<StageView>,
    /// The segment as this claim last saw it: spares the read before a write.
    pub(crate) seen: Mutex<Option<Stored<Segment>>>,
    /// The query's records before the claim, if nobody but the claimer is likely to change them:
    /// spares the read before the step.
    pub(crate) records: Mutex<Option<Records>>,
}

impl ClaimedSlices {
    pub(crate) fn member(&self) -> &Member {
        &self.held.token.member
    }

    /// `Fenced` once the claimer's lease is gone.
    pub fn check(&self) -> Result<()> {
        self.member().check()
    }

    /// Whether its segment had slices that nobody held, when this process last saw it.
    pub fn more_are_free(&self) -> bool {
        self.held.view.has_free(self.segment)
    }

    pub(crate) fn segment_key(&self) -> String {
        keys::segment(self.query, self.stage, self.segment)
    }
}

/// The fixed parts of an open stage, at the revision that its record has while it is open.
#[derive(Debug)]
pub(crate) struct StageView {
    pub(crate) query: QueryId,
    pub(crate) number: StageId,
    /// The record, without its bodies.
    pub(crate) stage: Stage,
    pub(crate) modified: Revision,
    pub(crate) template: Bytes,
    pub(crate) slice_list: Bytes,
    pub(crate) inputs: Vec<InputStage>,
    /// What of its segments does not count.
    pub(crate) voided: Voided,
    hints: Mutex<Vec<Hint>>,
}

/// What this process last saw of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Unknown,
    /// So many slices were free.
    Free(u32),
    /// All slices are committed, and stay so as long as the stage's record is unchanged.
    Complete,
}

impl StageView {
    pub(crate) fn new(
        (query, number): (QueryId, StageId),
        stage: Stage,
        modified: Revision,
        (template, slice_list): (Bytes, Bytes),
        inputs: Vec<InputStage>,
    ) -> Self {
        let hints = Mutex::new(vec![Hint::Unknown; stage.segment_count as usize]);
        let voided = Voided::default();
        Self { query, number, stage, modified, template, slice_list, inputs, voided, hints }
    }

    /// What counts of a segment as it was read.
    pub(crate) fn live(&self, stored: Stored<Segment>) -> Stored<Segment> {
        Stored { record: self.voided.live(stored.record), ..stored }
    }

    /// The segment in its first state.
    pub(crate) fn first(&self, segment: u32) -> Stored<Segment> {
        let stage = &self.stage;
        Stored::absent(segment::first(stage.slice_count, stage.segment_count, segment))
    }

    /// Takes note of what a segment looks like.
    pub(crate) fn saw(&self, segment: u32, record: &Segment, free: u32) {
        let hint = if segment::is_complete(record) { Hint::Complete } else { Hint::Free(free) };
        if let Some(slot) = self.hints.lock().get_mut(segment as usize) {
            *slot = hint;
        }
    }

    pub(crate) fn is_complete(&self, segment: u32) -> bool {
        self.hints.lock().get(segment as usize) == Some(&Hint::Complete)
    }

    pub(crate) fn has_free(&self, segment: u32) -> bool {
        matches!(self.hints.lock().get(segment as usize), Some(Hint::Free(1..)))
    }

    /// Free slices of the whole stage as far as this process knows: exact for one segment, else too
    /// many rather than too few.
    pub(crate) fn remaining(&self) -> u64 {
        let segments = u64::from(self.stage.segment_count.max(1));
        let whole = u64::from(self.stage.slice_count).div_ceil(segments);
        let hints = self.hints.lock();
        let free = hints.iter().map(|hint| match hint {
            Hint::Unknown => whole,
            Hint::Free(free) => u64::from(*free),
            Hint::Complete => 0,
        });
        free.sum()
    }

    /// Segments other than `segment` that are not known to be complete.
    pub(crate) fn doubtful(&self, segment: u32) -> Vec<u32> {
        let hints = self.hints.lock();
        let others = hints.iter().enumerate().filter(|(_, hint)| **hint != Hint::Complete);
        others.map(|(k, _)| k as u32).filter(|k| *k != segment).collect()
    }
}
