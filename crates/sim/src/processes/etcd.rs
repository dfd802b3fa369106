//! The metadata store of the cluster: one etcd or several members of one, on files of their own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_metadata::StoreRef;
use etcd_client::Client;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::child::{Child, Signal};
use super::trace;

/// How long the members may take to answer.
const START_MAX: Duration = Duration::from_secs(60);

/// How long one question to a member may take.
const ASK_MAX: Duration = Duration::from_secs(3);

/// One member.
pub struct Member {
    name: String,
    /// A loopback address of its own: connections that go out take ports of 127.0.0.1, and would take
    /// that of a member that is down.
    host: String,
    client: u16,
    peer: u16,
    folder: PathBuf,
    /// The process, while it is meant to run. Whoever does something to it holds the lock.
    pub child: Mutex<Option<Child>>,
}

/// All members.
pub struct Etcd {
    env: Env,
    /// The members.
    pub members: Vec<Member>,
    /// Whoever does something to the store as a whole holds it.
    pub whole: Mutex<()>,
}

impl Etcd {
    /// Starts `count` members with their data below `folder`, and waits until they answer.
    pub async fn start(env: &Env, folder: &Path, count: usize) -> Result<Self> {
        let members = (1..=count).map(|number| {
            let host = format!("127.0.3.{number}");
            let (client, peer) = (free_port(&host)?, free_port(&host)?);
            let (name, folder) = (format!("etcd-{number}"), folder.to_owned());
            Ok(Member { name, host, client, peer, folder, child: Mutex::new(None) })
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        let etcd = Self { env: env.clone(), members, whole: Mutex::new(()) };
        for member in &etcd.members {
            etcd.run(member, &mut *member.child.lock().await)?;
        }
        etcd.answers().await?;
        Ok(etcd)
    }

    /// Starts a member again on its data. Does not wait until it answers.
    pub fn run(&self, member: &Member, child: &mut Option<Child>) -> Result<()> {
        let (client, peer) = (member.url(member.client), member.url(member.peer));
        let all: Vec<String> =
            self.members.iter().map(|m| format!("{}={}", m.name, m.url(m.peer))).collect();
        let mut command = Command::new("etcd");
        command.args(["--name", &member.name, "--log-level", "error"]);
        command.arg("--data-dir").arg(member.folder.join(&member.name));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &all.join(",")]);
        let log = member.folder.join(format!("{}.log", member.name));
        *child =
            Some(Child::start(&self.env, &member.name, command, log).map_err(|e| {
                e.with_hint("install etcd (Debian: etcd-server); ./dev chaos does")
            })?);
        Ok(())
    }

    /// Where a member listens for clients.
    pub fn address(&self, member: usize) -> String {
        let member = &self.members[member];
        format!("{}:{}", member.host, member.client)
    }

    /// A store on all members, past all proxies.
    pub async fn store(&self) -> Result<StoreRef> {
        dunlin_metadata::open(&self.url(), self.env.clone()).await
    }

    /// The metadata URL of the members themselves.
    fn url(&self) -> String {
        let all: Vec<String> = (0..self.members.len()).map(|m| self.address(m)).collect();
        format!("etcd://{}", all.join(","))
    }

    /// Waits until the store answers. `Retry` if it does not in time.
    pub async fn answers(&self) -> Result<()> {
        let until = self.env.now() + START_MAX;
        loop {
            let asked = async { self.store().await?.get("probe").await };
            match self.env.timeout(ASK_MAX, asked).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(error)) if self.env.now() >= until => return Err(error),
                None if self.env.now() >= until => return Err(Error::retry("etcd is silent")),
                _ => self.env.sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// The member that leads. `Retry` if none says so.
    pub async fn leader(&self) -> Result<usize> {
        for number in 0..self.members.len() {
            let asked = async {
                let mut client = Client::connect([self.address(number)], None).await?;
                client.status().await
            };
            let Some(Ok(status)) = self.env.timeout(ASK_MAX, asked).await else { continue };
            let own = status.header().map(etcd_client::ResponseHeader::member_id);
            if own == Some(status.leader()) {
                return Ok(number);
            }
        }
        Err(Error::retry("no member of etcd leads"))
    }

    /// Makes every write of the members to their disks take longer by `delay`, for `time`. How many
    /// did. The caller holds [`Etcd::whole`]. `Invalid`: no `strace`, or it may not trace.
    pub async fn slow_sync(&self, delay: Duration, time: Duration) -> Result<usize> {
        let mut tracers = Vec::new();
        for member in &self.members {
            let child = member.child.lock().await;
            let Some(etcd) = child.as_ref() else { continue };
            let command = trace::slow_sync(etcd.id()?, delay);
            let name = format!("strace-{}", member.name);
            let log = member.folder.join(format!("{name}.log"));
            tracers.push(Child::start(&self.env, &name, command, log)?);
        }
        self.env.sleep(time).await;
        let mut slowed = 0;
        for tracer in &mut tracers {
            tracer.signal(Signal::Term)?;
            tracer.ended(ASK_MAX).await?;
            slowed += tracer.said().matches(trace::DELAYED).count();
        }
        Ok(slowed)
    }

    /// Has the store forget all that is not current: a watch that is behind must read anew. The
    /// revision up to which it did.
    pub async fn compact(&self) -> Result<i64> {
        let failed = |e: etcd_client::Error| Error::retry("cannot compact etcd").with_source(e);
        let compacted = async {
            let all: Vec<String> = (0..self.members.len()).map(|m| self.address(m)).collect();
            let mut client = Client::connect(all, None).await.map_err(failed)?;
            let read = client.get("probe", None).await.map_err(failed)?;
            let now = read.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(now, None).await.map_err(failed)?;
            Ok(now)
        };
        let late = || Err(Error::retry("etcd does not compact in time"));
        self.env.timeout(ASK_MAX * 3, compacted).await.unwrap_or_else(late)
    }
}

impl Member {
    fn url(&self, port: u16) -> String {
        format!("http://{}:{port}", self.host)
    }
}

/// A port that was free a moment ago: etcd cannot say which one it took.
pub(crate) fn free_port(host: &str) -> Result<u16> {
    let bound = TcpListener::bind((host, 0)).and_then(|listener| listener.local_addr());
    let bound = bound.map_err(|e| Error::exhausted("no port is free").with_source(e))?;
    Ok(bound.port())
}
