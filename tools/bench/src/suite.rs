//! A benchmark's queries and data.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{tpcds, tpch};

/// The benchmarks whose queries we run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SuiteName {
    /// 22 queries.
    Tpch,
    /// 99 queries; their texts come from `DUNLIN_TPCDS_QUERIES`.
    Tpcds,
}

/// Queries over a folder of data.
#[derive(Debug)]
pub struct Suite {
    /// Which benchmark, as reports call it.
    pub name: &'static str,
    /// Scale factor of the data.
    pub scale: f64,
    /// Number and text of each query.
    pub queries: Vec<(u8, String)>,
    /// The folder of Parquet files.
    pub data: PathBuf,
}

impl Suite {
    /// The queries `only` (all if empty) of a benchmark; generates its data below `root` unless
    /// they are there.
    pub fn open(name: SuiteName, root: &Path, scale: f64, only: &[u8]) -> Result<Self> {
        let (name, all, data): (_, Vec<(u8, String)>, _) = match name {
            SuiteName::Tpch => {
                let all = tpch::QUERIES.map(|(number, sql)| (number, sql.to_owned()));
                ("TPC-H", all.into(), tpch::cached(root, scale)?)
            }
            SuiteName::Tpcds => {
                let all = tpcds::load_queries()?;
                let all = all.into_iter().map(|query| (query.number, query.text)).collect();
                ("TPC-DS", all, tpcds::cached(root, scale)?)
            }
        };
        for number in only {
            ensure!(all.iter().any(|(n, _)| n == number), "{name} has no query {number}");
        }
        let wanted = |number: &u8| only.is_empty() || only.contains(number);
        let queries = all.into_iter().filter(|(number, _)| wanted(number)).collect();
        Ok(Self { name, scale, queries, data })
    }
}
