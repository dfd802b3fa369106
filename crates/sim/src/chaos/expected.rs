//! The queries that clients ask, and the rows that plain DataFusion gives for them.

use std::path::Path;

use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, Result};
use dunlin_corpus::{compare, oracle, tpch};

/// The name of a query with a result of many messages: those of TPC-H fit into one.
pub(super) const LONG: &str = "long";
const LONG_SQL: &str = "SELECT l_orderkey, l_linenumber, l_extendedprice, l_shipdate, l_comment \
     FROM lineitem WHERE l_quantity < 25";

/// The name of a query with a stage of so many slices that their records are several segments: only then is there a moment
/// between its last commit and its seal.
pub(super) const WIDE: &str = "wide";
const WIDE_SQL: &str = "SELECT l_shipmode, count(*) AS n FROM lineitem GROUP BY l_shipmode";
const WIDE_SET: &str = "SET dunlin.slice_bytes = '12KiB'";

/// The name of a query that goes to disk: shuffle workers cannot hold its rows in memory, and executors
/// not their groups. Only faults ask it.
pub(super) const LARGE: &str = "large";
const LARGE_SQL: &str = "SELECT count(*) AS n, encode(min(bytes), 'hex') AS first FROM (\
     SELECT DISTINCT l_orderkey, l_linenumber, sha512(concat(l_comment, n_name)) AS bytes \
     FROM lineitem, nation WHERE n_nationkey < 12)";

/// A query and its rows.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its name, such as `q05`.
    pub name: String,
    /// A setting that it needs.
    pub set: Option<&'static str>,
    /// Its text.
    pub sql: String,
    rows: Vec<RecordBatch>,
}

impl Query {
    /// What is wrong with these rows, if anything.
    pub fn differs(&self, rows: &[RecordBatch]) -> Option<String> {
        compare::same_rows(&self.rows, rows).err().map(|difference| difference.to_string())
    }
}

/// All queries.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The queries that clients ask.
    pub queries: Vec<Query>,
    /// One that goes to disk. Only faults ask it.
    pub large: Query,
}

impl Expected {
    /// The query with this name. `Bug`: there is none.
    pub fn query(&self, name: &str) -> Result<&Query> {
        let found = self.queries.iter().find(|query| query.name == name);
        found.ok_or_else(|| Error::bug(format!("there is no query '{name}'")))
    }

    /// Asks plain DataFusion over the tables in `data` the queries of TPC-H with these numbers, or
    /// all, and two more. `Bug`: the oracle fails.
    pub async fn compute(data: &Path, numbers: &[u8]) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| Error::bug(format!("the oracle fails: {e}"));
        let context = oracle::open(data, 2).await.map_err(|e| bad(&e))?;
        let chosen = tpch::QUERIES
            .iter()
            .filter(|(number, _)| numbers.is_empty() || numbers.contains(number))
            .map(|(number, sql)| (format!("q{number:02}"), (*sql).to_owned()))
            .chain([
                (LONG.to_owned(), LONG_SQL.to_owned()),
                (WIDE.to_owned(), WIDE_SQL.to_owned()),
            ]);
        let mut queries = Vec::new();
        for (name, sql) in chosen {
            let rows = oracle::rows(&context, &sql).await.map_err(|e| bad(&e))?;
            let set = (name == WIDE).then_some(WIDE_SET);
            queries.push(Query { name, set, sql, rows });
        }
        let (name, sql) = (LARGE.to_owned(), LARGE_SQL.to_owned());
        let rows = oracle::rows(&context, &sql).await.map_err(|e| bad(&e))?;
        Ok(Self { queries, large: Query { name, set: None, sql, rows } })
    }
}
