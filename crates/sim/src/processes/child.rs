//! One child process: started, signalled by its id, awaited; what it says goes to a file.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use rustix::process::{Pid, kill_process};
use tokio::process::Command;

/// How often a condition on a process is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is sent to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It ends at once.
    Kill,
    /// It is asked to end.
    Term,
    /// It stands still.
    Stop,
    /// It goes on.
    Cont,
}

impl Signal {
    fn of_system(self) -> rustix::process::Signal {
        match self {
            Self::Kill => rustix::process::Signal::KILL,
            Self::Term => rustix::process::Signal::TERM,
            Self::Stop => rustix::process::Signal::STOP,
            Self::Cont => rustix::process::Signal::CONT,
        }
    }
}

/// A child process. Dropping it kills it.
pub struct Child {
    env: Env,
    name: String,
    log: PathBuf,
    /// Length of the log when this life began.
    log_start: u64,
    process: tokio::process::Child,
    /// Its end tells a `dunlin` with `--with-parent` that we have gone.
    _input: Option<tokio::process::ChildStdin>,
}

impl Child {
    /// Starts it. Both its outputs are appended to `log`. `Invalid`: no such program.
    pub fn start(env: &Env, name: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        let cannot =
            |e: std::io::Error| Error::invalid(format!("cannot start {name}: {e}")).with_source(e);
        let file = OpenOptions::new().create(true).append(true).open(&log).map_err(cannot)?;
        let log_start = file.metadata().map_err(cannot)?.len();
        let again: File = file.try_clone().map_err(cannot)?;
        command.stdin(Stdio::piped()).stdout(file).stderr(again).kill_on_drop(true);
        let mut process = command.spawn().map_err(cannot)?;
        let input = process.stdin.take();
        let (env, name) = (env.clone(), name.to_owned());
        Ok(Self { env, name, log, log_start, process, _input: input })
    }

    /// Its process id. `Retry` once it has ended.
    pub fn id(&self) -> Result<u32> {
        let id = self.process.id();
        id.ok_or_else(|| Error::retry(format!("{} has ended", self.name)))
    }

    /// True until it ends.
    pub fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends a signal. `Retry` once it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(self.id()?.cast_signed());
        let id = id.ok_or_else(|| Error::bug("a child has the process id 0"))?;
        kill_process(id, signal.of_system())
            .map_err(|e| Error::retry(format!("cannot send {signal:?} to {}: {e}", self.name)))
    }

    /// Waits for its end. `Retry` if that takes longer than `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = self.env.timeout(limit, self.process.wait()).await;
        let late = || Error::retry(format!("{} did not end within {limit:?}", self.name));
        ended.ok_or_else(late)?.map_err(|e| Error::bug("cannot wait for a child").with_source(e))
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) -> Result<()> {
        let killed = self.process.kill().await;
        killed.map_err(|e| Error::bug(format!("cannot kill {}", self.name)).with_source(e))
    }

    /// True while it stands still.
    pub fn stands_still(&self) -> bool {
        let Ok(id) = self.id() else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// What it has said in this life.
    pub fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let own = text.get(self.log_start as usize..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// The rest of the line of this life that begins so, once it is there. `Retry` if it does not
    /// come in time or the process ends first; the message has its last words.
    pub async fn line(&mut self, begins: &str, limit: Duration) -> Result<String> {
        let until = self.env.now() + limit;
        loop {
            let runs = self.runs();
            let said = self.said();
            let (whole, _) = said.rsplit_once('\n').unwrap_or_default();
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(begins)) {
                return Ok(rest.to_owned());
            }
            if !runs || self.env.now() >= until {
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                let name = &self.name;
                return Err(Error::retry(format!("{name} does not say '{begins}': {last:?}")));
            }
            self.env.sleep(LOOK_EVERY).await;
        }
    }
}
