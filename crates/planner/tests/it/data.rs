//! TPC-H at a small scale, generated once for a test process into a temporary folder.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tempfile::TempDir;
use tpchgen::generators as g;
use tpchgen_arrow as a;

const SCALE: f64 = 0.01;
pub(crate) const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(generate).path()
}

fn generate() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let p = dir.path();
    write(p, "customer", a::CustomerArrow::new(g::CustomerGenerator::new(SCALE, 1, 1)));
    write(p, "lineitem", a::LineItemArrow::new(g::LineItemGenerator::new(SCALE, 1, 1)));
    write(p, "nation", a::NationArrow::new(g::NationGenerator::new(SCALE, 1, 1)));
    write(p, "orders", a::OrderArrow::new(g::OrderGenerator::new(SCALE, 1, 1)));
    write(p, "part", a::PartArrow::new(g::PartGenerator::new(SCALE, 1, 1)));
    write(p, "partsupp", a::PartSuppArrow::new(g::PartSuppGenerator::new(SCALE, 1, 1)));
    write(p, "region", a::RegionArrow::new(g::RegionGenerator::new(SCALE, 1, 1)));
    write(p, "supplier", a::SupplierArrow::new(g::SupplierGenerator::new(SCALE, 1, 1)));
    dir
}

/// Small row groups, so that byte ranges of one file are many slices.
fn write(dir: &Path, table: &str, batches: impl Iterator<Item = RecordBatch>) {
    let file = File::create(dir.join(format!("{table}.parquet"))).expect("a new file");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(4096)).build();
    let mut writer = None;
    for batch in batches {
        let writer = writer.get_or_insert_with(|| {
            let file = file.try_clone().expect("a second handle");
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).expect("a writer")
        });
        writer.write(&batch).expect("rows are written");
    }
    writer.expect("a table has rows").close().expect("a footer is written");
}

/// A session over the tables. `distributed` forces what distribution needs.
pub(crate) async fn session(partitions: usize, distributed: bool) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_collect_statistics(true)
        .with_repartition_file_min_size(1);
    if distributed {
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.enable_round_robin_repartition = false;
        optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        // Joins of this small data are to be hashed, or there would be little to cut.
        optimizer.hash_join_single_partition_threshold = 1 << 14;
        optimizer.hash_join_single_partition_threshold_rows = 1 << 8;
    }
    let context = SessionContext::new_with_config(config);
    for table in TABLES {
        let path = folder().join(format!("{table}.parquet"));
        let path = path.to_str().expect("a path of ASCII");
        context.register_parquet(table, path, ParquetReadOptions::new()).await.expect("a table");
    }
    context
}
