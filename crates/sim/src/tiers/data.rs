//! What is asked: TPC-H, and a shuffle one partition of which holds half. With plain DataFusion's
//! rows.

use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use dunlin_base::{Error, Result};
use dunlin_corpus::{compare, oracle, tpch};

/// Encoded bytes of a row of the skewed shuffle: two integers, a digest, its offset.
const ROW_BYTES: u64 = 8 + 8 + 64 + 4;

/// Files and row groups in which the numbers lie, so that several tasks read them.
const GROUPS: u64 = 16;

/// Every second number goes to one key. What is made of a number before the shuffle cannot be
/// compressed and is used after it. A join, since an aggregate would fold rows before they move; with
/// no broadcast, so that they do.
const SKEW: &str = "SELECT count(*) AS n, sum(v) AS numbers, sum(k) AS keys, \
     count(n_name) AS named, encode(min(pad), 'hex') AS first, encode(max(pad), 'hex') AS last \
     FROM (SELECT CASE WHEN n % 2 = 0 THEN 0 ELSE n END AS k, n AS v, \
     sha512(CAST(n AS VARCHAR)) AS pad FROM numbers) AS made \
     LEFT JOIN nation ON k = n_nationkey";

/// Settings of the session that asks it.
const SKEW_SETTINGS: [&str; 2] =
    ["SET dunlin.broadcast_bytes = '0'", "SET dunlin.broadcast_rows = '0'"];

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its name, such as `q05`.
    pub name: String,
    /// What is set before it.
    pub settings: Vec<&'static str>,
    /// Its text.
    pub sql: String,
    rows: Vec<RecordBatch>,
}

impl Question {
    /// What is wrong with these rows, if anything.
    pub fn differs(&self, rows: &[RecordBatch]) -> Option<String> {
        compare::same_rows(&self.rows, rows).err().map(|difference| difference.to_string())
    }
}

/// All that is asked, and the folder of the tables.
#[derive(Debug)]
pub struct Asked {
    /// The folder of all tables.
    pub folder: PathBuf,
    /// The skewed shuffle.
    pub skew: Question,
    /// TPC-H.
    pub queries: Vec<Question>,
}

impl Asked {
    /// Makes the tables below `root` (kept for the next time) and asks plain DataFusion. `numbers`:
    /// which queries of TPC-H, or all. `Invalid`: the folder cannot be used. `Bug`: the oracle fails.
    pub async fn make(root: &Path, scale: f64, skew: u64, numbers: &[u8]) -> Result<Self> {
        let folder = tables(root, scale, skew).await?;
        let context = oracle::open(&folder, 2).await.map_err(|e| failed(&e))?;
        let ask = async |name: String, settings: Vec<&'static str>, sql: &str| {
            let rows = oracle::rows(&context, sql).await.map_err(|e| failed(&e))?;
            Ok::<_, Error>(Question { name, settings, sql: sql.to_owned(), rows })
        };
        let skew = ask("skew".to_owned(), SKEW_SETTINGS.to_vec(), SKEW).await?;
        let mut queries = Vec::new();
        for (number, sql) in tpch::QUERIES {
            if numbers.is_empty() || numbers.contains(&number) {
                queries.push(ask(format!("q{number:02}"), Vec::new(), sql).await?);
            }
        }
        Ok(Self { folder, skew, queries })
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::bug(format!("the oracle fails: {error:#}"))
}

/// A folder with the tables of TPC-H, linked, and the numbers beside them.
async fn tables(root: &Path, scale: f64, skew: u64) -> Result<PathBuf> {
    let cannot = |e: std::io::Error| {
        Error::invalid(format!("cannot use {}: {e}", root.display())).with_source(e)
    };
    let tpch = tpch::cached(root, scale)
        .map_err(|e| Error::invalid(format!("cannot make data: {e:#}")))?;
    let folder = root.join(format!("tiers-sf{scale}-{skew}"));
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    for table in tpch::TABLES {
        let name = format!("{table}.parquet");
        let to = folder.join(&name);
        if !to.exists() {
            std::fs::hard_link(tpch.join(&name), &to).map_err(cannot)?;
        }
    }
    let numbers = folder.join("numbers.parquet");
    if !numbers.exists() {
        let made = folder.join("numbers.part");
        let rows = (skew / ROW_BYTES).max(1);
        let group = rows.div_ceil(GROUPS);
        let sql = format!(
            "COPY (SELECT value AS n FROM generate_series(0, {})) TO '{}' STORED AS PARQUET \
             OPTIONS ('format.max_row_group_size' '{group}')",
            rows - 1,
            made.display()
        );
        let copied = async { SessionContext::new().sql(&sql).await?.collect().await };
        copied.await.map_err(|e| failed(&e))?;
        std::fs::rename(made, numbers).map_err(cannot)?;
    }
    Ok(folder)
}
