//! A peer: a Python process that measures itself and says on standard output what it finds, a line
//! of JSON each (`tests/peers/measure.py`). It has a process group of its own, which is killed in
//! the end: some peers start processes, too.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dunlin_base::Env;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::alike::{alike, read};
use super::args::PeersArgs;
use super::figures::{Expected, Figures};
use crate::measure::Times;

/// What is compared with.
pub(super) struct Peer {
    /// As `engines.py` names it.
    pub(super) name: &'static str,
    /// The environment that it runs in.
    pub(super) environment: &'static str,
    /// As the report names it.
    pub(super) title: &'static str,
}

/// All of them.
pub(super) const PEERS: [Peer; 6] = [
    Peer { name: "datafusion", environment: "datafusion", title: "DataFusion (Python)" },
    Peer { name: "duckdb", environment: "duckdb", title: "DuckDB" },
    Peer { name: "sail", environment: "sail", title: "Sail, one process" },
    Peer { name: "sail_cluster", environment: "sail", title: "Sail, local cluster" },
    Peer { name: "ballista", environment: "ballista", title: "Ballista, one executor" },
    Peer { name: "spark", environment: "spark", title: "Spark, local" },
];

/// The file of what it says on standard error.
const SAID: &str = "said";

/// A line of its report.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Finding {
    version: Option<String>,
    query: Option<u8>,
    ms: Vec<f64>,
    short_ms: Vec<f64>,
    short_error: Option<String>,
    error: Option<String>,
}

/// Ends all processes of the group when it goes.
struct Group(Child, Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.1 {
            // Those that have ended are no failure.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Peer {
    /// Runs it to its end. What goes wrong with a peer is in its figures; an error is ours.
    pub(super) async fn measure(
        &self,
        args: &PeersArgs,
        (data, threads): (&Path, usize),
        expected: &Expected,
    ) -> Result<Figures> {
        let mut figures = Figures::default();
        let missing = args.peers.join(format!("{}.error", self.environment));
        if let Ok(why) = std::fs::read_to_string(missing) {
            figures.failures.push(format!("cannot be installed: {}", why.trim()));
            return Ok(figures);
        }
        let rows = tempfile::tempdir()?;
        let command = self.command(args, data, threads, rows.path())?;
        let limit = Duration::from_secs(args.peer_seconds.into());
        let env = Env::real(Some(Handle::current()));
        let running = run(command, &mut figures, (rows.path(), expected));
        match env.timeout(limit, running).await {
            Some(Ok(())) => {}
            Some(Err(error)) => figures.failures.push(format!("{error:#}")),
            None => figures.failures.push(format!("was ended after {} s", args.peer_seconds)),
        }
        Ok(figures)
    }

    fn command(
        &self,
        args: &PeersArgs,
        data: &Path,
        threads: usize,
        rows: &Path,
    ) -> Result<Command> {
        let python = args.peers.join(self.environment).join("bin/python");
        let scripts = args.scripts.canonicalize().context("the folder of the peers' scripts")?;
        let queries: PathBuf = scripts.with_file_name("tpch");
        let only: Vec<String> = args.queries.iter().map(u8::to_string).collect();
        let mut command = Command::new(python);
        command.arg(scripts.join("measure.py")).arg(self.name);
        command.args([data, &queries, rows]);
        let counts = [("threads", threads.to_string()), ("runs", args.runs.to_string())];
        for (name, count) in counts.into_iter().chain([("short-runs", args.short_runs.to_string())])
        {
            command.args([format!("--{name}"), count]);
        }
        command.args(["--only", &only.join(",")]);
        // Peers leave files where they stand.
        command.current_dir(rows).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(rows.join(SAID))?).process_group(0).kill_on_drop(true);
        Ok(command)
    }
}

/// Reads what it finds until it ends.
async fn run(
    mut command: Command,
    figures: &mut Figures,
    (rows, expected): (&Path, &Expected),
) -> Result<()> {
    let mut child = command.spawn().context("does not start")?;
    let found = child.stdout.take().context("its output is piped")?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group(child, group);
    let mut found = BufReader::new(found).lines();
    while let Some(line) = found.next_line().await? {
        let finding: Finding = serde_json::from_str(&line).context("no JSON")?;
        take(finding, figures, (rows, expected));
    }
    let status = group.0.wait().await?;
    if !status.success() && figures.failures.is_empty() {
        let said = std::fs::read_to_string(rows.join(SAID)).unwrap_or_default();
        bail!("ended with {status}: {}", said.trim_end().lines().last().unwrap_or_default());
    }
    Ok(())
}

/// Puts a line into the figures. Times of a query count if its rows are right.
fn take(finding: Finding, figures: &mut Figures, (rows, expected): (&Path, &Expected)) {
    let Finding { version, query, ms, mut short_ms, short_error, error } = finding;
    if let Some(version) = version {
        figures.version = version;
    }
    if let Some(error) = short_error {
        figures.failures.push(format!("count(*): {error}"));
    }
    if !short_ms.is_empty() {
        short_ms.sort_by(f64::total_cmp);
        figures.short_ms = short_ms;
    }
    let Some(number) = query else {
        figures.failures.extend(error);
        return;
    };
    if let Some(error) = error {
        figures.failures.push(format!("query {number}: {error}"));
        return;
    }
    let checked = expected
        .get(&number)
        .context("a query that was not asked")
        .and_then(|expected| alike(expected, &read(&rows.join(format!("q{number:02}.arrow")))?));
    match (checked, Times::of(ms)) {
        (Ok(()), Some(times)) => {
            figures.queries.insert(number, times);
        }
        (Ok(()), None) => figures.failures.push(format!("query {number}: no times")),
        (Err(why), _) => figures.failures.push(format!("query {number} has other rows: {why:#}")),
    }
}
