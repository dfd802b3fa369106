//! What DataFusion's encoding of a file scan forgets: how its files are compressed, what ends a line
//! of CSV, and that their order matters. Read without it, a compressed file is garbage.

use std::sync::Arc;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{PhysicalExtensionNode, PhysicalPlanNode};
use dunlin_proto::plan::plan_node::Node;
use dunlin_proto::plan::{PlanNode, ScanOptions};
use prost::Message;

/// The encoded scan with what its encoding lacks around it; other nodes as they are.
pub(super) fn remember(
    plan: &Arc<dyn ExecutionPlan>,
    encoded: PhysicalPlanNode,
) -> PhysicalPlanNode {
    let Some(config) = scan_config(plan) else { return encoded };
    let csv = config.file_source().downcast_ref::<CsvSource>();
    let options = ScanOptions {
        compression: name(config.file_compression_type).to_owned(),
        terminator: csv.and_then(CsvSource::terminator).map(u32::from),
        preserve_order: config.preserve_order,
    };
    if options == ScanOptions::default() {
        return encoded;
    }
    let node = PlanNode { node: Some(Node::ScanOptions(options)) }.encode_to_vec();
    let extension = PhysicalExtensionNode { node, inputs: vec![encoded] };
    PhysicalPlanNode { physical_plan_type: Some(PhysicalPlanType::Extension(extension)) }
}

/// A decoded scan with its options.
pub(super) fn restore(
    options: &ScanOptions,
    scan: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(config) = scan_config(scan) else {
        return internal_err!("options of a scan around {}", scan.name());
    };
    let mut builder = FileScanConfigBuilder::from(config.clone())
        .with_file_compression_type(compression(&options.compression)?)
        .with_preserve_order(options.preserve_order);
    if let Some(terminator) = options.terminator {
        let (Some(csv), Ok(byte)) =
            (config.file_source().downcast_ref::<CsvSource>(), u8::try_from(terminator))
        else {
            return internal_err!("a line ends with {terminator}");
        };
        builder = builder.with_source(Arc::new(csv.with_terminator(Some(byte))));
    }
    Ok(DataSourceExec::from_data_source(builder.build()))
}

fn scan_config(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

fn name(compression: FileCompressionType) -> &'static str {
    match compression.get_variant() {
        CompressionTypeVariant::GZIP => "gzip",
        CompressionTypeVariant::BZIP2 => "bzip2",
        CompressionTypeVariant::XZ => "xz",
        CompressionTypeVariant::ZSTD => "zstd",
        CompressionTypeVariant::UNCOMPRESSED => "",
    }
}

fn compression(name: &str) -> Result<FileCompressionType> {
    match name {
        "gzip" => Ok(FileCompressionType::GZIP),
        "bzip2" => Ok(FileCompressionType::BZIP2),
        "xz" => Ok(FileCompressionType::XZ),
        "zstd" => Ok(FileCompressionType::ZSTD),
        "" => Ok(FileCompressionType::UNCOMPRESSED),
        other => internal_err!("files compressed by '{other}'"),
    }
}
