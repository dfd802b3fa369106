//! The contract between the queue, which moves records, and the planner, which knows plans.

use bytes::Bytes;
use dunlin_base::{Result, StageId};

use crate::output::StageOutput;

/// What is known when a decision is to be made.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The encoded stage graph of the query.
    pub graph: Bytes,
    /// The bodies of all decisions so far, in order.
    pub decisions: Vec<Bytes>,
    /// Outputs of all sealed stages, by stage.
    pub sealed: Vec<(StageId, StageOutput)>,
}

/// A stage that a decision opens.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStage {
    /// Which stage of the graph.
    pub stage: StageId,
    /// Encoded template; executors bind slices to it.
    pub template: Bytes,
    /// Encoded slice list.
    pub slices: Bytes,
    /// Number of slices; 0 seals the stage at once with no output.
    pub slice_count: u32,
    /// Stages whose output its tasks read.
    pub inputs: Vec<StageId>,
    /// A slice that runs again on the same input gives the same rows to the same partitions. If
    /// not, all that has read a lost output runs again, too.
    pub determinate: bool,
    /// Its input is small: an executor takes its whole share of the slices at once, since a claim
    /// costs about as much as running a slice.
    pub light: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Opaque body of the decision record; `None` when nothing is to be recorded.
    pub body: Option<Bytes>,
    /// Stages to open.
    pub open: Vec<OpenStage>,
    /// The query is done; this stage's output is its result.
    pub finished: Option<StageId>,
}

/// The pure function that unfolds a query: from its graph, its decisions so far and the sealed
/// statistics to the next step.
///
/// Called by whoever sealed a stage, in any process, possibly by several at once: it must give the
/// same step for the same situation everywhere. It must not do I/O, read clocks or draw random
/// numbers. Errors are of kind `Invalid` (a blob of another build) or `Bug`.
pub trait Decide: Send + Sync {
    /// The next step. A step with neither body nor result means: wait for more stages to seal.
    fn decide(&self, situation: &Situation) -> Result<Step>;
}
