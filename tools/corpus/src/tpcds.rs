//! TPC-DS: its 24 tables as Parquet files, and its 99 queries from a folder outside the repository.
//!
//! The query texts belong to the TPC and are not committed. `./dev test` fetches them once and
//! names the folder in [`QUERIES_VARIABLE`]; without it a test fails, it does not skip.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::record_batch::RecordBatchReader;
use tpcdsgen::config::{Session, SessionBuilder};
use tpcdsgen_arrow as ds;

use crate::files::{Start, write_tables};

/// The environment variable that names the folder with `q01.sql` to `q99.sql`.
pub const QUERIES_VARIABLE: &str = "DUNLIN_TPCDS_QUERIES";

/// One query.
#[derive(Debug, Clone)]
pub struct Query {
    /// 1 to 99.
    pub number: u8,
    /// The text as published, with its final `LIMIT`.
    pub text: String,
}

impl Query {
    /// The text without its final `LIMIT`. Many queries order by columns that tie, so *which* 100
    /// rows come back is not determined: compare the rows of this text, and only the number of
    /// rows of [`Query::text`].
    pub fn unlimited(&self) -> &str {
        without_final_limit(&self.text)
    }
}

fn without_final_limit(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(';').trim_end();
    let rest = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if rest.len() == text.len() {
        return text;
    }
    let before = rest.trim_end();
    match before.len().checked_sub("limit".len()).and_then(|at| before.split_at_checked(at)) {
        Some((head, word)) if word.eq_ignore_ascii_case("limit") => head.trim_end(),
        _ => text,
    }
}

/// The 99 queries in order, from the folder that [`QUERIES_VARIABLE`] names.
pub fn load_queries() -> Result<Vec<Query>> {
    let dir = std::env::var_os(QUERIES_VARIABLE).with_context(|| {
        format!(
            "{QUERIES_VARIABLE} is not set: it must name the folder with the TPC-DS query texts. \
             Run the tests with `./dev test`, which fetches them"
        )
    })?;
    load_queries_from(Path::new(&dir))
}

/// The 99 queries in order, from `dir`.
pub fn load_queries_from(dir: &Path) -> Result<Vec<Query>> {
    (1..=99)
        .map(|number| {
            let path = dir.join(format!("q{number:02}.sql"));
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the TPC-DS query {}", path.display()))?;
            ensure!(!text.trim().is_empty(), "the TPC-DS query {} is empty", path.display());
            Ok(Query { number, text: text.trim_end().trim_end_matches(';').to_owned() })
        })
        .collect()
}

/// Writes the tables at `scale` (1 = about 1 GB of text) to `dir`, which is created. Files that
/// exist are kept as they are, so give each scale a folder of its own, or use [`cached`].
///
/// Below scale 1 the fact tables shrink linearly and most dimensions with them, but four tables
/// have the same size at every scale: customer_demographics (1.9 million rows), time_dim,
/// date_dim and household_demographics.
pub fn generate(dir: &Path, scale: f64) -> Result<()> {
    let session = SessionBuilder::new().with_scale_factor(scale).build()?;
    let mut tables = fact_tables(&session);
    tables.extend(dimension_tables(&session));
    write_tables(dir, tables)
}

/// The folder `root/tpcds-sf<scale>`, generated on the first call and kept.
pub fn cached(root: &Path, scale: f64) -> Result<PathBuf> {
    let dir = root.join(format!("tpcds-sf{scale}"));
    generate(&dir, scale)?;
    Ok(dir)
}

fn fact_tables(session: &Session) -> Vec<(&'static str, Start)> {
    vec![
        table("customer_demographics", session, ds::CustomerDemographicsArrow::new),
        table("inventory", session, ds::InventoryArrow::new),
        table("store_sales", session, ds::StoreSalesArrow::new),
        table("catalog_sales", session, ds::CatalogSalesArrow::new),
        table("web_sales", session, ds::WebSalesArrow::new),
        table("store_returns", session, ds::StoreReturnsArrow::new),
        table("catalog_returns", session, ds::CatalogReturnsArrow::new),
        table("web_returns", session, ds::WebReturnsArrow::new),
    ]
}

fn dimension_tables(session: &Session) -> Vec<(&'static str, Start)> {
    vec![
        table("time_dim", session, ds::TimeDimArrow::new),
        table("date_dim", session, ds::DateDimArrow::new),
        table("call_center", session, ds::CallCenterArrow::new),
        table("catalog_page", session, ds::CatalogPageArrow::new),
        table("customer", session, ds::CustomerArrow::new),
        table("customer_address", session, ds::CustomerAddressArrow::new),
        table("household_demographics", session, ds::HouseholdDemographicsArrow::new),
        table("income_band", session, ds::IncomeBandArrow::new),
        table("item", session, ds::ItemArrow::new),
        table("promotion", session, ds::PromotionArrow::new),
        table("reason", session, ds::ReasonArrow::new),
        table("ship_mode", session, ds::ShipModeArrow::new),
        table("store", session, ds::StoreArrow::new),
        table("warehouse", session, ds::WarehouseArrow::new),
        table("web_page", session, ds::WebPageArrow::new),
        table("web_site", session, ds::WebSiteArrow::new),
    ]
}

fn table<R: RecordBatchReader + 'static>(
    name: &'static str,
    session: &Session,
    start: fn(Session) -> R,
) -> (&'static str, Start) {
    let session = session.clone();
    (name, Box::new(move || Ok(Box::new(start(session)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_at_the_very_end_is_removed() {
        assert_eq!(without_final_limit("select a from t\nLIMIT 100;\n"), "select a from t");
        assert_eq!(without_final_limit("select a from t limit  7"), "select a from t");
        assert_eq!(without_final_limit("select a from t order by 1"), "select a from t order by 1");
        let inner = "select * from (select a from t limit 5) where a = b";
        assert_eq!(without_final_limit(inner), inner);
        assert_eq!(without_final_limit("7"), "7");
    }

    #[test]
    fn a_folder_without_the_texts_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = load_queries_from(dir.path()).expect_err("the folder is empty");
        assert!(format!("{error:#}").contains("q01.sql"), "{error:#}");
    }
}
