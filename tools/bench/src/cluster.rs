//! A cluster of processes on this machine as an engine: `dunlin cluster` with an etcd of its own,
//! asked over Flight SQL, its processes killed by name.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_base::Env;
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};
use futures::TryStreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::{Engine, Setup};

/// How long all processes may take to be ready.
const START_MAX: Duration = Duration::from_secs(120);

/// What the cluster says once it can be asked; the addresses of its gateways follow.
const READY: &str = "cluster: connect with: dunlin sql --connect ";

/// How many processes there are of each role.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Processes that answer clients.
    pub gateways: usize,
    /// Processes that run slices, each with one slot.
    pub executors: usize,
    /// Processes that hold shuffle blocks.
    pub shuffle: usize,
}

/// Running processes. Dropping it ends them.
pub struct Cluster {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
    gateways: Vec<String>,
    asked: Asked,
}

/// A cluster as one client sees it, over a connection and a session of its own.
pub struct Asked {
    client: Client,
    name: &'static str,
}

impl Cluster {
    /// Starts one over the Parquet files of `data`; `binary` is `dunlin`, beside this program
    /// unless told.
    pub async fn start(
        binary: Option<&Path>,
        data: &Path,
        size: Size,
        setup: Setup,
    ) -> Result<Self> {
        Self::start_away(binary, data, size, setup, None).await
    }

    /// The same with processes that stay away for `away` seconds when they were killed.
    pub async fn start_away(
        binary: Option<&Path>,
        data: &Path,
        size: Size,
        setup: Setup,
        away: Option<u32>,
    ) -> Result<Self> {
        let mut child = spawn(&program(binary)?, data, size, away)?;
        let lines = follow(&mut child)?;
        let gateways = match waited(lines.clone(), READY, 0).await {
            Ok(gateways) => gateways,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        let gateways: Vec<String> = gateways.split(',').map(str::to_owned).collect();
        match Asked::connect(&gateways, setup).await {
            Ok(asked) => Ok(Self { child, lines, gateways, asked }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Another client of the same processes.
    pub async fn client(&self, setup: Setup) -> Result<Asked> {
        Asked::connect(&self.gateways, setup).await
    }

    /// Kills a process, such as `executor 1`, by SIGKILL. The cluster starts another.
    pub fn kill(&self, name: &str) -> Result<()> {
        let begins = format!("cluster: {name} is process ");
        let pid = self
            .lines
            .borrow()
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix(&begins).map(str::to_owned));
        let pid = pid.with_context(|| format!("{name} was not started"))?;
        send(pid.parse()?, Signal::KILL).with_context(|| format!("{name} could not be killed"))
    }

    /// How many lines the processes have said: a place to wait from.
    pub fn said(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Waits until a process is ready (again).
    pub async fn ready(&self, name: &str, from: usize) -> Result<()> {
        waited(self.lines.clone(), &format!("[{name}] dunlin: ready "), from).await.map(drop)
    }
}

impl Asked {
    async fn connect(gateways: &[String], setup: Setup) -> Result<Self> {
        let env = Env::real(Some(Handle::current()));
        let options = ClientOptions::new(gateways.to_vec(), Credentials::None);
        let client = Client::connect(env, options).await?;
        let name = if setup.plan_cache { "Dunlin cluster, plans kept" } else { "Dunlin cluster" };
        let this = Self { client, name };
        this.set("partitions", &setup.partitions.to_string()).await?;
        this.set("plan_cache", &setup.plan_cache.to_string()).await?;
        Ok(this)
    }

    /// Changes a setting of the session.
    pub async fn set(&self, setting: &str, value: &str) -> Result<()> {
        let sql = format!("SET dunlin.{setting} = '{value}'");
        self.client.sql(&sql).await?.try_collect::<Vec<_>>().await?;
        Ok(())
    }
}

#[async_trait]
impl Engine for Asked {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        Ok(self.client.sql(sql).await?.try_collect().await?)
    }

    async fn crash_an_executor(&self) -> Result<bool> {
        Ok(false)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    if send(child.id(), Signal::TERM).is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// Sends a signal without a program: a bare machine has no `kill`.
fn send(id: u32, signal: Signal) -> Result<()> {
    let id = Pid::from_raw(id.cast_signed()).context("no process has the id 0")?;
    Ok(kill_process(id, signal)?)
}

fn program(told: Option<&Path>) -> Result<PathBuf> {
    if let Some(told) = told {
        return Ok(told.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("dunlin");
    ensure!(beside.is_file(), "there is no {}: build dunlin-node first", beside.display());
    Ok(beside)
}

fn spawn(program: &Path, data: &Path, size: Size, away: Option<u32>) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["cluster", "--port", "0", "--data"]).arg(data);
    let counts = [("gateways", size.gateways), ("executors", size.executors)];
    for (role, count) in counts.into_iter().chain([("shuffle", size.shuffle)]) {
        command.args([format!("--{role}"), count.to_string()]);
    }
    if let Some(seconds) = away {
        command.args(["--restart-wait", &seconds.to_string()]);
    }
    // A short lease, so that a kill is noticed while somebody watches.
    command.args(["--", "--threads", "1", "--lease-ttl", "2s"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{} does not start", program.display()))
}

/// The lines of its standard error, as they come.
fn follow(child: &mut Child) -> Result<watch::Receiver<Vec<String>>> {
    let stderr = child.stderr.take().context("its standard error is piped")?;
    let (sender, lines) = watch::channel(Vec::new());
    Env::real(None).thread("cluster", move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            sender.send_modify(|lines| lines.push(line));
        }
    })?;
    Ok(lines)
}

/// The rest of a line that begins so, among those after the first `from`.
async fn waited(
    mut lines: watch::Receiver<Vec<String>>,
    begins: &str,
    from: usize,
) -> Result<String> {
    let find = |lines: &Vec<String>| {
        let mut rests = lines.iter().skip(from).filter_map(|line| line.strip_prefix(begins));
        rests.next().map(str::to_owned)
    };
    let env = Env::real(Some(Handle::current()));
    let waiting = async {
        let found = lines.wait_for(|lines| find(lines).is_some()).await;
        found.ok().and_then(|lines| find(&lines))
    };
    let said = env.timeout(START_MAX, waiting).await.flatten();
    match said {
        Some(rest) => Ok(rest),
        None => bail!("no line '{begins}…' came: {:#?}", lines.borrow()),
    }
}

#[async_trait]
impl Engine for Cluster {
    fn name(&self) -> &'static str {
        self.asked.name
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.asked.rows(sql).await
    }

    async fn crash_an_executor(&self) -> Result<bool> {
        self.kill("executor 1").map(|()| true)
    }
}
