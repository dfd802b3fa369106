//! The encoding of our own plan nodes, and of the two of DataFusion's that datafusion-proto lacks
//! (recursive queries and their work tables). One function each way per node.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, internal_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::ConstExpr;
use datafusion::physical_expr::equivalence::AcrossPartitions;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion_proto::physical_plan::from_proto::parse_physical_sort_exprs;
use datafusion_proto::physical_plan::to_proto::serialize_physical_sort_exprs;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use dunlin_proto::plan::plan_node::Node;
use dunlin_proto::plan::{
    Bundle, EdgeKind, ExchangeRead, PlanNode, RecursiveQuery, SliceScan, WorkTable,
};
use prost::Message;

use super::{arithmetic, scans};
use crate::nodes::{BundleExec, ExchangeReadExec, SliceScanExec, WriteFilesExec};

/// Encodes what datafusion-proto does not know.
#[derive(Debug)]
pub(crate) struct NodeCodec;

type Converter<'a> = &'a dyn PhysicalProtoConverterExtension;

impl PhysicalExtensionCodec for NodeCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: Converter<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = PlanNode::decode(buf).map_err(external)?;
        match (node.node, inputs) {
            (Some(Node::ExchangeRead(read)), []) => decode_exchange(&read, context, converter),
            (Some(Node::SliceScan(_)), [scan]) => {
                Ok(Arc::new(SliceScanExec::new(Arc::clone(scan))))
            }
            (Some(Node::RecursiveQuery(query)), [base, step]) => {
                let (base, step) = (Arc::clone(base), Arc::clone(step));
                let schema = decode_schema(&query.schema)?;
                let exec =
                    RecursiveQueryExec::try_new(query.name, schema, base, step, query.distinct)?;
                Ok(Arc::new(exec))
            }
            (Some(Node::WorkTable(table)), []) => {
                let schema = decode_schema(&table.schema)?;
                Ok(Arc::new(WorkTableExec::new(table.name, schema, None)?))
            }
            (Some(Node::ScanOptions(options)), [scan]) => scans::restore(&options, scan),
            (Some(Node::WriteFiles(files)), [rows]) => {
                Ok(Arc::new(WriteFilesExec::new(Arc::clone(rows), Arc::new(files))))
            }
            (Some(Node::Bundle(_)), plans) => Ok(Arc::new(BundleExec::new(plans.to_vec()))),
            _ => internal_err!("a plan node of another build"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: Converter<'_>,
    ) -> Result<()> {
        let encoded = if let Some(read) = node.downcast_ref::<ExchangeReadExec>() {
            Node::ExchangeRead(encode_exchange(read, converter)?)
        } else if node.is::<SliceScanExec>() {
            Node::SliceScan(SliceScan::default())
        } else if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
            let name = query.name().to_owned();
            let schema = encode_schema(&query.schema())?;
            Node::RecursiveQuery(RecursiveQuery { name, distinct: query.is_distinct(), schema })
        } else if let Some(table) = node.downcast_ref::<WorkTableExec>() {
            let schema = encode_schema(&table.schema())?;
            Node::WorkTable(WorkTable { name: table.name().to_owned(), schema })
        } else if let Some(write) = node.downcast_ref::<WriteFilesExec>() {
            Node::WriteFiles(write.files().as_ref().clone())
        } else if node.is::<BundleExec>() {
            Node::Bundle(Bundle::default())
        } else {
            return not_impl_err!("{} can not travel between processes", node.name());
        };
        PlanNode { node: Some(encoded) }.encode(buf).map_err(external)
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        _: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        arithmetic::decode(buf, inputs)
    }

    fn try_encode_udf(&self, _: &ScalarUDF, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn try_encode_udaf(&self, _: &AggregateUDF, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn try_encode_udwf(&self, _: &WindowUDF, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

fn encode_exchange(read: &ExchangeReadExec, converter: Converter<'_>) -> Result<ExchangeRead> {
    let properties = read.properties();
    let equivalence = &properties.eq_properties;
    let mut orderings = Vec::new();
    for ordering in equivalence.oeq_class().iter() {
        let nodes = serialize_physical_sort_exprs(ordering.clone(), &NodeCodec, converter)?;
        let list = protobuf::PhysicalSortExprNodeCollection { physical_sort_expr_nodes: nodes };
        orderings.push(Bytes::from(list.encode_to_vec()));
    }
    let expr = |e: &Arc<dyn PhysicalExpr>| -> Result<Bytes> {
        Ok(converter.physical_expr_to_proto(e, &NodeCodec)?.encode_to_vec().into())
    };
    let hash_keys = match &properties.partitioning {
        Partitioning::Hash(keys, _) => keys.iter().map(expr).collect::<Result<_>>()?,
        _ => Vec::new(),
    };
    let constants = equivalence.constants();
    Ok(ExchangeRead {
        stages: read.stages().to_vec(),
        kind: read.kind().into(),
        partitions: read.partitions(),
        driving: read.driving(),
        schema: encode_schema(&read.schema())?,
        orderings,
        hash_keys,
        constants: constants.iter().map(|c| expr(&c.expr)).collect::<Result<_>>()?,
    })
}

fn decode_exchange(
    read: &ExchangeRead,
    context: &TaskContext,
    converter: Converter<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = decode_schema(&read.schema)?;
    let decode = PhysicalPlanDecodeContext::new(context, &NodeCodec);
    let expr = |bytes: &Bytes| -> Result<Arc<dyn PhysicalExpr>> {
        let node = protobuf::PhysicalExprNode::decode(bytes.as_ref()).map_err(external)?;
        converter.proto_to_physical_expr(&node, &schema, &decode)
    };
    let mut orderings: Vec<Vec<PhysicalSortExpr>> = Vec::new();
    for bytes in &read.orderings {
        let list = protobuf::PhysicalSortExprNodeCollection::decode(bytes.as_ref());
        let nodes = list.map_err(external)?.physical_sort_expr_nodes;
        orderings.push(parse_physical_sort_exprs(&nodes, &decode, &schema, converter)?);
    }
    let mut equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), orderings);
    for constant in &read.constants {
        let constant = ConstExpr::new(expr(constant)?, AcrossPartitions::Heterogeneous);
        equivalence.add_constants([constant])?;
    }
    let kind = EdgeKind::try_from(read.kind).map_err(external)?;
    let streams = read.streams();
    let partitioning = if read.hash_keys.is_empty() {
        Partitioning::UnknownPartitioning(streams)
    } else {
        Partitioning::Hash(read.hash_keys.iter().map(expr).collect::<Result<_>>()?, streams)
    };
    let exec = ExchangeReadExec::new(
        read.stages.clone(),
        kind,
        read.partitions,
        partitioning,
        equivalence,
    );
    Ok(Arc::new(exec.with_driving(read.driving)))
}

/// How many streams an unbound read shows to the operators above it.
trait Streams {
    fn streams(&self) -> usize;
}

impl Streams for ExchangeRead {
    fn streams(&self) -> usize {
        match EdgeKind::try_from(self.kind) {
            Ok(EdgeKind::Gather | EdgeKind::Broadcast) => 1,
            // Known only once the map tasks ran; more than one, so that nobody takes it for one.
            Ok(EdgeKind::OrderedGather | EdgeKind::Forward) => 2,
            _ => self.partitions as usize,
        }
    }
}

fn encode_schema(schema: &SchemaRef) -> Result<Bytes> {
    let node: protobuf::Schema = schema.as_ref().try_into()?;
    Ok(node.encode_to_vec().into())
}

fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let node = protobuf::Schema::decode(bytes).map_err(external)?;
    Ok(Arc::new(Schema::try_from(&node)?))
}

pub(super) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
