//! TPC-H: its eight tables as Parquet files and its 22 queries.
//!
//! The queries are `tests/tpch/qNN.sql`, with the validation parameters of the specification.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use arrow::record_batch::RecordBatchReader;
use tpchgen::generators as rows;

use crate::files::{Start, write_tables};

/// The tables, by the stems of their files.
pub const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

macro_rules! queries {
    ($($number:literal $name:literal $keys:expr;)*) => {
        /// Number and text of each query.
        pub const QUERIES: [(u8, &str); 22] =
            [$(($number, include_str!(concat!("../../../tests/tpch/", $name, ".sql")))),*];

        /// The result columns that query `number` is ordered by; empty where it has one row.
        /// For [`crate::compare::same_order`], which is blind to rows that tie on them.
        pub fn order_by(number: u8) -> &'static [&'static str] {
            match number {
                $($number => &$keys,)*
                _ => &[],
            }
        }
    };
}

queries! {
    1 "q01" ["l_returnflag", "l_linestatus"];
    2 "q02" ["s_acctbal", "n_name", "s_name", "p_partkey"];
    3 "q03" ["revenue", "o_orderdate"];
    4 "q04" ["o_orderpriority"];
    5 "q05" ["revenue"];
    6 "q06" [];
    7 "q07" ["supp_nation", "cust_nation", "l_year"];
    8 "q08" ["o_year"];
    9 "q09" ["nation", "o_year"];
    10 "q10" ["revenue"];
    11 "q11" ["value"];
    12 "q12" ["l_shipmode"];
    13 "q13" ["custdist", "c_count"];
    14 "q14" [];
    15 "q15" ["s_suppkey"];
    16 "q16" ["supplier_cnt", "p_brand", "p_type", "p_size"];
    17 "q17" [];
    18 "q18" ["o_totalprice", "o_orderdate"];
    19 "q19" [];
    20 "q20" ["s_name"];
    21 "q21" ["numwait", "s_name"];
    22 "q22" ["cntrycode"];
}

/// Writes the tables at `scale` (1 = about 360 MB) to `dir`, which is created. Files that exist are
/// kept as they are, so give each scale a folder of its own, or use [`cached`].
pub fn generate(dir: &Path, scale: f64) -> Result<()> {
    ensure!(scale.is_finite() && scale > 0.0, "the scale must be above 0, not {scale}");
    write_tables(
        dir,
        vec![
            table("lineitem", move || {
                tpchgen_arrow::LineItemArrow::new(rows::LineItemGenerator::new(scale, 1, 1))
            }),
            table("orders", move || {
                tpchgen_arrow::OrderArrow::new(rows::OrderGenerator::new(scale, 1, 1))
            }),
            table("partsupp", move || {
                tpchgen_arrow::PartSuppArrow::new(rows::PartSuppGenerator::new(scale, 1, 1))
            }),
            table("part", move || {
                tpchgen_arrow::PartArrow::new(rows::PartGenerator::new(scale, 1, 1))
            }),
            table("customer", move || {
                tpchgen_arrow::CustomerArrow::new(rows::CustomerGenerator::new(scale, 1, 1))
            }),
            table("supplier", move || {
                tpchgen_arrow::SupplierArrow::new(rows::SupplierGenerator::new(scale, 1, 1))
            }),
            table("nation", move || {
                tpchgen_arrow::NationArrow::new(rows::NationGenerator::new(scale, 1, 1))
            }),
            table("region", move || {
                tpchgen_arrow::RegionArrow::new(rows::RegionGenerator::new(scale, 1, 1))
            }),
        ],
    )
}

/// The folder `root/tpch-sf<scale>`, generated on the first call and kept.
pub fn cached(root: &Path, scale: f64) -> Result<PathBuf> {
    let dir = root.join(format!("tpch-sf{scale}"));
    generate(&dir, scale)?;
    Ok(dir)
}

fn table<R: RecordBatchReader + 'static>(
    name: &'static str,
    start: impl FnOnce() -> R + Send + 'static,
) -> (&'static str, Start) {
    (name, Box::new(move || Ok(Box::new(start()))))
}
