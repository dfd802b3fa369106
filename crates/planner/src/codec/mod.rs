//! Plans to bytes and back, behind our own trait so that a new DataFusion touches this folder only.
//!
//! Who calls it: the cutter encodes stage plans, deciders decode and re-encode the few that they
//! change, executors decode one copy for each task (physical plans are single-use).

mod arithmetic;
mod joined;
mod nodes;
mod scans;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DataFusionError;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::{
    DeduplicatingProtoConverter, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use dunlin_base::env::panic_text;
use dunlin_base::{Error, Result};
use dunlin_proto::plan::plan_node::Node;
use dunlin_proto::plan::{Bundle, Header, PlanNode};
use prost::Message;

use self::arithmetic::Checked;
pub(crate) use self::arithmetic::checked;
use self::nodes::NodeCodec;

/// Changes when the meaning of a plan blob changes in a way that the other numbers do not show.
pub const CODEC_VERSION: u32 = 5;

/// The version of DataFusion that plan blobs of this build are for.
pub const DATAFUSION_VERSION: &str = datafusion::DATAFUSION_VERSION;

/// This build's id: plan blobs travel only between processes of the same build.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// All that a plan blob and its reader must agree on, as one word.
pub fn build() -> String {
    format!("{BUILD}-codec{CODEC_VERSION}-datafusion{DATAFUSION_VERSION}")
}

/// Encodes and decodes physical plans and the expressions that go with them.
///
/// Expressions shared inside one plan (a join's dynamic filter and the scan it prunes) are shared
/// after decoding too. Errors are of kind `Bug` (a plan that cannot travel names its node) or
/// `Invalid` (bytes of another build).
pub trait PlanCodec: Send + Sync {
    /// A plan as bytes.
    fn encode(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes>;

    /// A fresh plan from bytes.
    fn decode(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>>;

    /// A number that is equal for equal plans of this build.
    fn fingerprint(&self, bytes: &[u8]) -> u64 {
        let hash = blake3::hash(bytes);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

/// The codec of this build: datafusion-proto plus our own nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProtoCodec;

impl PlanCodec for ProtoCodec {
    fn encode(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Bytes> {
        physical_plan_to_bytes_with_proto_converter(Arc::clone(plan), &NodeCodec, &Checked)
            .map_err(|e| cannot("encode a plan", e))
    }

    fn decode(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        let converter = DeduplicatingProtoConverter {};
        caught("decode a plan", || {
            physical_plan_from_bytes_with_proto_converter(bytes, context, &NodeCodec, &converter)
        })
    }
}

/// Several plans from bytes, with the expressions that they share (by id) shared again.
pub(crate) fn decode_together(
    plans: &[&[u8]],
    context: &TaskContext,
) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
    let mut inputs = Vec::new();
    for bytes in plans {
        let node = protobuf::PhysicalPlanNode::decode(*bytes);
        inputs.push(node.map_err(|e| cannot("decode a plan", e.into_df()))?);
    }
    let bundle = PlanNode { node: Some(Node::Bundle(Bundle::default())) };
    let extension = protobuf::PhysicalExtensionNode { node: bundle.encode_to_vec(), inputs };
    let root = protobuf::PhysicalPlanNode {
        physical_plan_type: Some(PhysicalPlanType::Extension(extension)),
    };
    let decode = PhysicalPlanDecodeContext::new(context, &NodeCodec);
    let plan = caught("decode plans", || {
        DeduplicatingProtoConverter {}.proto_to_execution_plan(&root, &decode)
    })?;
    Ok(plan.children().into_iter().cloned().collect())
}

/// An expression as bytes.
pub(crate) fn encode_expr(expr: &Arc<dyn PhysicalExpr>) -> Result<Bytes> {
    let node = Checked.physical_expr_to_proto(expr, &NodeCodec).map_err(|e| cannot("encode", e))?;
    Ok(node.encode_to_vec().into())
}

/// An expression from bytes; its columns are those of `schema`.
pub fn decode_expr(
    bytes: &[u8],
    schema: &Schema,
    context: &TaskContext,
) -> Result<Arc<dyn PhysicalExpr>> {
    let node =
        protobuf::PhysicalExprNode::decode(bytes).map_err(|e| cannot("decode", e.into_df()))?;
    caught("decode", || parse_physical_expr(&node, context, schema, &NodeCodec))
}

/// A file group as bytes.
pub(crate) fn encode_group(group: &FileGroup) -> Result<Bytes> {
    let node = protobuf::FileGroup::try_from(group).map_err(|e| cannot("encode files", e))?;
    Ok(node.encode_to_vec().into())
}

/// A file group from bytes.
pub(crate) fn decode_group(bytes: &[u8]) -> Result<FileGroup> {
    let node =
        protobuf::FileGroup::decode(bytes).map_err(|e| cannot("decode files", e.into_df()))?;
    caught("decode files", || FileGroup::try_from(&node))
}

/// Refuses blobs of another build, codec or DataFusion.
pub fn check_header(header: Option<&Header>) -> Result<()> {
    let Some(header) = header else {
        return Err(Error::invalid("plan blob without a header"));
    };
    let ours = (CODEC_VERSION, BUILD, DATAFUSION_VERSION);
    let theirs = (header.codec_version, header.build.as_str(), header.datafusion.as_str());
    if ours == theirs {
        return Ok(());
    }
    let message = format!(
        "plan blob of another build: codec {} build {} datafusion {}, this is codec {} build {} \
         datafusion {}",
        theirs.0, theirs.1, theirs.2, ours.0, ours.1, ours.2
    );
    Err(Error::invalid(message).with_hint("run the query again on gateways of this build"))
}

/// Letters of an error of DataFusion's that are passed on.
const MESSAGE_MAX: usize = 400;

fn cannot(what: &str, error: DataFusionError) -> Error {
    // A nested message that can not be read is named level by level.
    let text: String = error.strip_backtrace().chars().take(MESSAGE_MAX).collect();
    Error::bug(format!("could not {what}: {text}")).with_source(error)
}

/// Decodes. DataFusion panics at some bytes that no encoder wrote: that is an error like others, on
/// whichever runtime it happens.
fn caught<T>(what: &str, decode: impl FnOnce() -> Result<T, DataFusionError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|e| cannot(what, e)),
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            let text: String = text.chars().take(MESSAGE_MAX).collect();
            Err(Error::bug(format!("could not {what}: {text}")))
        }
    }
}

trait IntoDataFusion {
    fn into_df(self) -> DataFusionError;
}

impl IntoDataFusion for prost::DecodeError {
    fn into_df(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}
