//! `strace`, which makes calls of a process to the system slow. It needs root, or a machine on which
//! a user may trace any process of its own.

use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use tokio::process::Command;

/// How long the trial may take.
const PROBE_MAX: Duration = Duration::from_secs(20);

/// What `strace` says of a call that it delayed.
pub(super) const DELAYED: &str = "(DELAYED)";

/// Delays each write of a process to its disk. It says so of each one, and ends when it is told to
/// or the process ends.
pub(super) fn slow_sync(process: u32, delay: Duration) -> Command {
    let inject = format!("inject=fdatasync,fsync:delay_enter={}", delay.as_micros());
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-p", &process.to_string()]);
    command.args(["-e", "trace=fdatasync,fsync", "-e", "signal=none", "-e", &inject]);
    command
}

/// `Invalid` if the machine does not permit it; the message says what it said.
pub(super) async fn probe(env: &Env) -> Result<()> {
    let hint = "it takes the package strace, and root or the right to trace one's own processes";
    let failed = |why: String| {
        Error::invalid(format!("processes cannot be made slow: {why}")).with_hint(hint)
    };
    let sleeps = Command::new("sleep").arg("1").kill_on_drop(true).spawn();
    let mut sleeps = sleeps.map_err(|e| failed(e.to_string()))?;
    let mut command = slow_sync(sleeps.id().unwrap_or_default(), Duration::ZERO);
    let traced = env.timeout(PROBE_MAX, command.kill_on_drop(true).output()).await;
    let traced = traced.ok_or_else(|| failed("strace does not end".to_owned()))?;
    let traced = traced.map_err(|e| failed(e.to_string()))?;
    let _ = sleeps.wait().await;
    match traced.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&traced.stderr).trim().to_owned())),
    }
}
