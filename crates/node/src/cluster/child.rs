//! One process of the cluster: started, watched, started again, ended.

use std::process::Stdio;
use std::time::Duration;

use dunlin_base::Env;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use super::{Command, DRAIN_MAX};
use crate::report::note;
use crate::serve::READY;

/// The longest wait before an ended process is started again.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// A process that lived so long has started well.
const LIVED: Duration = Duration::from_secs(30);

/// What to start, and its name for people.
#[derive(Clone)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) command: Command,
    /// Its lines are shown.
    pub(super) shown: bool,
    /// True once it has said that it is ready, whatever became of it since.
    pub(super) ready: watch::Sender<bool>,
}

/// Runs the process, and again when it ends, until told to stop: then it gets the time to drain.
/// `restart`: how long after its end it is started again, if at all; doubled each time it ends early.
pub(super) async fn keep(
    env: &Env,
    child: &Child,
    restart: Option<Duration>,
    mut stop: watch::Receiver<bool>,
) {
    let mut wait = restart.unwrap_or_default();
    while !*stop.borrow() {
        let began = env.now();
        run(env, child, &mut stop).await;
        if *stop.borrow() {
            return;
        }
        let Some(first) = restart else {
            note(&format!("cluster: {} stays down (--no-restart)", child.name));
            let _ = stop.changed().await;
            return;
        };
        if env.now().saturating_sub(began) > LIVED {
            wait = first;
        }
        tokio::select! {
            () = env.sleep(wait) => wait = (wait * 2).min(AGAIN_MAX),
            _ = stop.changed() => return,
        }
    }
}

async fn run(env: &Env, child: &Child, stop: &mut watch::Receiver<bool>) {
    let name = &child.name;
    let mut command = (child.command)();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(error) => return note(&format!("cluster: {name} cannot be started: {error}")),
    };
    let id = process.id().unwrap_or_default();
    note(&format!("cluster: {name} is process {id}"));
    let lines = process.stderr.take().map(|stderr| {
        let child = child.clone();
        env.spawn("lines", async move { forward(stderr, &child).await })
    });
    let input = process.stdin.take();
    tokio::select! {
        ended = process.wait() => match ended {
            Ok(status) => note(&format!("cluster: {name} (process {id}) ended: {status}")),
            Err(error) => note(&format!("cluster: {name} (process {id}): {error}")),
        },
        _ = stop.changed() => {
            // Whoever reads it drains; etcd does not, and is killed below.
            drop(input);
            let limit = if child.shown { DRAIN_MAX } else { Duration::ZERO };
            if env.timeout(limit, process.wait()).await.is_none() {
                let _ = process.kill().await;
            }
        }
    }
    if let Some(lines) = lines {
        let _ = lines.join().await;
    }
}

async fn forward(from: impl AsyncRead + Unpin, child: &Child) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if child.shown {
            note(&format!("[{}] {line}", child.name));
        }
        if line.starts_with(READY) {
            child.ready.send_replace(true);
        }
    }
}
