//! `dunlin cluster`: etcd and processes of each role on this machine, for trying and for tests.
//!
//! A supervisor and nothing more: the processes know it only by their standard input, whose end
//! drains them. What ends by itself is started again.

mod child;
mod plan;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use self::child::{Child, keep};
use self::plan::Plan;
use crate::cli::Cluster;
use crate::report::{Failure, note};

/// How long processes have to drain once the cluster is told to end.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How long etcd may take to answer.
const STORE_MAX: Duration = Duration::from_secs(30);

/// Runs until Ctrl-C or SIGTERM, then ends all processes.
pub(crate) fn run(options: &Cluster, data: Option<PathBuf>) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime: Runtime =
        runtime.map_err(|e| Error::bug("can not start threads").with_source(e))?;
    let env = Env::real(Some(runtime.handle().clone()));
    let plan = Plan::new(options, data)?;
    let wait = Duration::from_secs(options.restart_wait.into());
    let restart = (!options.no_restart).then_some(wait);
    runtime.block_on(supervise(&env, plan, restart)).map_err(Failure::from)
}

async fn supervise(env: &Env, plan: Plan, restart: Option<Duration>) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let (stop_store, store_stopped) = watch::channel(false);
    let store = start(env, plan.store.clone(), restart, store_stopped);
    wait_for_store(env, &plan.metadata).await?;
    let children: Vec<_> = plan
        .children
        .iter()
        .map(|child| start(env, child.clone(), restart, stopped.clone()))
        .collect();
    let ready = async {
        for child in &plan.children {
            let _ = child.ready.subscribe().wait_for(|ready| *ready).await;
        }
        note(&format!("cluster: metadata is at {}", plan.metadata));
        let gateways = plan.gateways.join(",");
        note(&format!("cluster: connect with: dunlin sql --connect {gateways}"));
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = told_to_end() => ended,
        () = ready => Ok(()),
    };
    note("cluster: ending");
    stop.send_replace(true);
    for child in children {
        let _ = child.join().await;
    }
    stop_store.send_replace(true);
    let _ = store.join().await;
    ended
}

fn start(
    env: &Env,
    child: Child,
    restart: Option<Duration>,
    stop: watch::Receiver<bool>,
) -> dunlin_base::env::Task<()> {
    let of_task = env.clone();
    env.spawn("child", async move { keep(&of_task, &child, restart, stop).await })
}

async fn wait_for_store(env: &Env, metadata: &str) -> Result<()> {
    let until = env.now() + STORE_MAX;
    loop {
        match dunlin_metadata::open(metadata, env.clone()).await {
            Ok(store) => match store.get("probe").await {
                Ok(_) => return Ok(()),
                Err(error) if env.now() >= until => return Err(error),
                Err(_) => {}
            },
            Err(error) if env.now() >= until => return Err(error),
            Err(_) => {}
        }
        env.sleep(Duration::from_millis(100)).await;
    }
}

async fn told_to_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e| Error::bug("cannot wait for signals").with_source(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

/// Makes the command of a process, each time that it is started.
type Command = Arc<dyn Fn() -> tokio::process::Command + Send + Sync>;
