//! What a gateway does before a query can run: the time it takes, and the size of what it stores.

use anyhow::{Result, bail, ensure};
use dunlin_planner::{Planned, QueryPlan};
use dunlin_proto::plan::Graph;
use dunlin_proto::plan::slice_source::Kind;
use prost::Message;

use crate::cli::RunArgs;
use crate::clock::{Stopwatch, millis};
use crate::engine::{self, Dunlin, Plain};
use crate::measure::Times;
use crate::report::Sheet;
use crate::suite::Suite;

/// Plans, cuts and encodes every query of the suite.
pub async fn run(args: &RunArgs) -> Result<Sheet> {
    let suite = Suite::open(args.suite, &args.data, args.scale, &args.queries)?;
    let setup = args.setup.resolve();
    let dunlin = engine::open_dunlin(&suite.data, setup).await?;
    let plain = Plain::open(&suite.data, setup).await?;
    let mut sheet = Sheet::new(&format!("Plans of {}", suite.name), suite.scale, setup);
    sheet.says(format!(
        "Before a query can run: SQL to a physical plan (footers are cached), the plan to stages, \
         stages to bytes. \
         Beside it what plain DataFusion takes to a physical plan. Median of {} runs after one to warm up.",
        args.runs
    ));
    sheet.columns(&[
        "query",
        "plan ms",
        "cut ms",
        "encode ms",
        "sum ms",
        "DataFusion's plan ms",
        "stages",
        "graph bytes",
        "plan bytes",
        "slice list bytes",
    ]);
    let mut slowest = (0, 0.0);
    for (number, sql) in &suite.queries {
        let (cells, sum) = measure(&dunlin, &plain, sql, args.runs).await?;
        if sum > slowest.1 {
            slowest = (*number, sum);
        }
        sheet.row(std::iter::once(number.to_string()).chain(cells));
    }
    sheet.says(format!("The slowest is query {} with {:.1} ms.", slowest.0, slowest.1));
    Ok(sheet)
}

async fn measure(
    dunlin: &Dunlin,
    plain: &Plain,
    sql: &str,
    runs: u32,
) -> Result<(Vec<String>, f64)> {
    let planner = dunlin.node()?.planner().session()?;
    let session = dunlin.session();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let mut plain_ms = Vec::new();
    let mut last = None;
    for run in 0..=runs {
        let watch = Stopwatch::start();
        let plan = plan(&planner, sql).await?;
        let planned = millis(watch.elapsed());
        let graph = session.graph(&plan)?;
        let cut = millis(watch.elapsed());
        let bytes = graph.encode_to_vec();
        let encoded = millis(watch.elapsed());
        let watch = Stopwatch::start();
        plain.plan(sql).await?;
        if run > 0 {
            times[0].push(planned);
            times[1].push(cut - planned);
            times[2].push(encoded - cut);
            plain_ms.push(millis(watch.elapsed()));
        }
        last = Some((graph, bytes.len()));
    }
    let Some((graph, bytes)) = last else { bail!("no run") };
    let medians = times.map(|t| Times::of(t).map_or(f64::NAN, |t| t.median_ms));
    let sum: f64 = medians.iter().sum();
    let mut cells: Vec<String> = medians.iter().map(|ms| format!("{ms:.2}")).collect();
    cells.push(format!("{sum:.2}"));
    let plain_ms = Times::of(plain_ms).map_or(f64::NAN, |t| t.median_ms);
    cells.push(format!("{plain_ms:.2}"));
    cells.push(graph.stages.len().to_string());
    cells.push(bytes.to_string());
    cells.push(graph.stages.iter().map(|stage| stage.plan.len()).sum::<usize>().to_string());
    cells.push(slice_list_bytes(&graph).to_string());
    Ok((cells, sum))
}

async fn plan(session: &dunlin_planner::Session, sql: &str) -> Result<QueryPlan> {
    let statements = session.prepare(sql)?;
    ensure!(statements.len() == 1, "one statement");
    match session.plan(&statements[0]).await? {
        Planned::Query(plan) => Ok(*plan),
        _ => bail!("not a query"),
    }
}

/// Bytes of the lists of file ranges; those of hash stages are made when their inputs are known.
fn slice_list_bytes(graph: &Graph) -> usize {
    let sources = graph.stages.iter().filter_map(|stage| stage.slices.as_ref()?.kind.as_ref());
    sources
        .map(|kind| match kind {
            Kind::Files(files) => files.encoded_len(),
            _ => 0,
        })
        .sum()
}
