//! How much memory a worker takes for each byte that it holds, seen from outside: the resident
//! memory of a process of its own, the allocator's waste and all indexes included.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use dunlin_base::{ByteCount, Env, ProcessId, QueryId, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_shuffle::Workers;
use dunlin_shuffle_service::{Door, DoorOptions, Options, ShuffleWorker};

use super::args::WorkerArgs;
use super::bed::clients;
use super::lines::{Line, Lines, Target};
use super::move_blocks::{Pushes, push_all};
use super::usage::resident_bytes;

/// Bytes pushed before the first look, so that code and pools are there.
const WARM_UP: u64 = 4 << 20;

/// A worker behind a door, until the standard input ends. Its first line says where it is.
pub async fn serve(args: &WorkerArgs) -> Result<()> {
    let env = Env::real(Some(tokio::runtime::Handle::current()));
    let worker = ShuffleWorker::new(unsplit(args.memory), env.clone())?;
    let id = ProcessId::from_u128(1);
    let api = Arc::clone(&worker) as Arc<dyn ShuffleApi>;
    let door = Door::open(env.clone(), DoorOptions::new("127.0.0.1:0"), id, api).await?;
    println!("{}", door.address());
    std::io::stdout().flush()?;
    let ended = env.blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let ended = ended.await.map_err(|panic| anyhow!("waiting for the end: {panic}"))?;
    ended.map(drop).context("the standard input broke")
}

/// A worker in memory that sends no partition away.
pub(super) fn unsplit(memory: ByteCount) -> Options {
    let never = ByteCount(u64::MAX);
    Options { split_soft: never, split_hard: never, ..Options::new(memory) }
}

/// Ends the worker with the measurement.
struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        // It may have ended already, and nothing depends on how.
        drop((self.0.kill(), self.0.wait()));
    }
}

fn start(memory: u64) -> Result<(Apart, String)> {
    let program = std::env::current_exe().context("this program has no path")?;
    let child = Command::new(program)
        .args(["shuffle-worker", "--memory", &memory.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Apart(child.context("cannot start a worker")?);
    let output = child.0.stdout.take().context("a worker without an output")?;
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address).context("the worker says no address")?;
    Ok((child, address.trim().to_owned()))
}

/// Fills a new worker with blocks of one size.
pub(super) async fn measure(
    env: &Env,
    bytes: u64,
    block: ByteCount,
    lines: &mut Lines,
) -> Result<()> {
    let (child, address) = start(4 * (bytes + WARM_UP))?;
    let id = ProcessId::from_u128(1);
    let workers = clients(env.clone(), HashMap::from([(id, address)]));
    let api = workers.connect(id)?;
    let query = QueryId::generate(env);
    let shuffle = |stage| ShuffleId { query, stage: StageId(stage), epoch: StageEpoch(0) };
    push_all(&api, Pushes::new(shuffle(1), WARM_UP, block)).await?;
    let before = resident_bytes(child.0.id())?;
    push_all(&api, Pushes::new(shuffle(2), bytes, block)).await?;
    let after = resident_bytes(child.0.id())?;
    let grown = after.saturating_sub(before);
    lines.add(Line {
        what: format!("memory of a worker that holds blocks of {block}"),
        measured: format!("{} resident", ByteCount(grown)),
        limit: format!("{} pushed", ByteCount(bytes)),
        ratio: Some(grown as f64 / bytes as f64),
        target: Some(Target::AtMost(1.15)),
        ..Line::default()
    });
    Ok(())
}
