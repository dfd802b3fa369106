//! The leaf that reads the output of other stages. The cutter puts it where an exchange was; the
//! executor binds it to shuffle partitions before it runs.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use dunlin_proto::plan::EdgeKind;

/// One shuffle partition of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// The stage that made it.
    pub stage: u32,
    /// The partition.
    pub partition: u32,
}

/// Where a bound [`ExchangeReadExec`] gets its rows. The executor implements it on the shuffle.
pub trait ExchangeSource: Send + Sync + fmt::Debug {
    /// Partitions of `stage` that hold rows, in the order of their map tasks.
    fn partitions(&self, stage: u32) -> Result<Vec<u32>>;

    /// The rows of `parts`, one part after the other, in batches of `schema`.
    fn open(&self, parts: &[Part], schema: SchemaRef) -> Result<SendableRecordBatchStream>;
}

/// Reads shuffle partitions.
///
/// In a template it is unbound and only describes its rows: schema, order, partitioning. Bound, plan
/// partition `i` yields the rows of `parts[i]`.
#[derive(Debug, Clone)]
pub struct ExchangeReadExec {
    stages: Vec<u32>,
    kind: EdgeKind,
    partitions: u32,
    driving: bool,
    bound: Option<Bound>,
    properties: Arc<PlanProperties>,
}

#[derive(Debug, Clone)]
struct Bound {
    parts: Vec<Vec<Part>>,
    source: Arc<dyn ExchangeSource>,
}

impl ExchangeReadExec {
    /// An unbound read of the output of `stages`, each with `partitions` partitions. `equivalence`
    /// holds what is known of the rows of one stream.
    pub fn new(
        stages: Vec<u32>,
        kind: EdgeKind,
        partitions: u32,
        partitioning: Partitioning,
        equivalence: EquivalenceProperties,
    ) -> Self {
        let properties = PlanProperties::new(
            equivalence,
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties);
        Self { stages, kind, partitions, driving: false, bound: None, properties }
    }

    /// The stages read, in order.
    pub fn stages(&self) -> &[u32] {
        &self.stages
    }

    /// Which kind of edge this is the reading end of.
    pub fn kind(&self) -> EdgeKind {
        self.kind
    }

    /// How many partitions each stage has; 0 when that is known only after they ran.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// True when the slices of the stage choose what is read; false when every task reads all.
    pub fn driving(&self) -> bool {
        self.driving
    }

    /// The same read with [`Self::driving`] set.
    #[must_use]
    pub fn with_driving(&self, driving: bool) -> Self {
        Self { driving, ..self.clone() }
    }

    /// The same rows, read whole by every task: what a hash edge becomes when its reader turns into
    /// a broadcast join.
    #[must_use]
    pub fn into_broadcast(&self) -> Self {
        let equivalence = EquivalenceProperties::new(self.schema());
        Self::new(
            self.stages.clone(),
            EdgeKind::Broadcast,
            self.partitions,
            Partitioning::UnknownPartitioning(1),
            equivalence,
        )
    }

    /// The read bound to shuffle partitions: plan partition `i` yields `parts[i]`.
    #[must_use]
    pub fn bind(&self, parts: Vec<Vec<Part>>, source: Arc<dyn ExchangeSource>) -> Self {
        let partitioning = match &self.properties.partitioning {
            Partitioning::Hash(keys, _) => Partitioning::Hash(keys.clone(), parts.len()),
            _ => Partitioning::UnknownPartitioning(parts.len()),
        };
        let properties = PlanProperties::clone(&self.properties).with_partitioning(partitioning);
        Self {
            bound: Some(Bound { parts, source }),
            properties: Arc::new(properties),
            ..self.clone()
        }
    }
}

impl DisplayAs for ExchangeReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            EdgeKind::Hash => "hash",
            EdgeKind::Gather => "gather",
            EdgeKind::OrderedGather => "ordered gather",
            EdgeKind::Broadcast => "broadcast",
            EdgeKind::Forward => "forward",
            EdgeKind::Result | EdgeKind::Unspecified => "unknown",
        };
        let stages: Vec<String> = self.stages.iter().map(|s| s.to_string()).collect();
        write!(f, "ExchangeReadExec: {kind}, stages=[{}]", stages.join(", "))?;
        if self.kind == EdgeKind::Hash {
            write!(f, ", partitions={}", self.partitions)?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ExchangeReadExec {
    fn name(&self) -> &str {
        "ExchangeReadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(bound) = &self.bound else {
            return internal_err!("an exchange read was executed before it was bound");
        };
        match bound.parts.get(partition) {
            Some(parts) => bound.source.open(parts, self.schema()),
            None => internal_err!("exchange read has no partition {partition}"),
        }
    }
}
