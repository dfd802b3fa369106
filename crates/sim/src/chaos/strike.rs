//! One fault, done and undone. Called by `run` for each strike of a plan.
//!
//! Each returns whether the fault fired: a process was seen to end or to stand still, a proxy held,
//! broke or damaged something. What did not fire proves nothing and is not counted.

use std::time::Duration;

use dunlin_base::{Error, Result, fail};
use tokio::sync::{MutexGuard, SemaphorePermit};

use super::around;
use super::expected::LONG;
use super::faults::{Act, Link, Point};
use super::load::Load;
use super::plan::Strike;
use super::writes::WRITE;
use crate::processes::{Child, Cluster, Proxy, Role, Server, Signal, Weather};

/// How long a process may take to come to its fail point, while clients ask.
const PASSAGE_MAX: Duration = Duration::from_secs(15);

/// A process that faults have been done to, and nobody else does any to.
pub(super) struct Target<'a> {
    pub(super) server: &'a Server,
    child: MutexGuard<'a, Option<Child>>,
    /// Of a gateway: leave for it to be away.
    _away: Option<SemaphorePermit<'a>>,
}

impl Target<'_> {
    pub(super) fn child(&mut self) -> Result<&mut Child> {
        let gone = || Error::bug(format!("{} was not started", self.server.name));
        self.child.as_mut().ok_or_else(gone)
    }

    pub(super) async fn start(&mut self) -> Result<()> {
        self.server.start(&mut self.child, None).await
    }
}

/// Does what the strike says, for as long as it says, and undoes it. True if it fired.
/// Errors are defects: a process that does not drain, or cannot be started again.
pub(super) async fn strike(load: &Load, strike: &Strike) -> Result<bool> {
    let cluster = &load.cluster;
    let of = |role| target(cluster, role, strike.target);
    match strike.fault.act {
        Act::Kill(role) => kill(cluster, of(role).await?, strike.time).await,
        Act::Lose => around::lose(cluster, of(Role::Shuffle).await?, strike.time).await,
        Act::Pause(role) => {
            let mut target = of(role).await?;
            pause(cluster, target.child()?, strike.time).await
        }
        Act::Drain(role) => drain(of(role).await?).await,
        Act::Fail(role, point) => pass(load, of(role).await?, point, strike).await,
        Act::Leave => {
            let query = load.expected.query(LONG)?;
            Ok(load.leave(strike.target, query, strike.time).await)
        }
        Act::KillLeader => kill_members(cluster, 1, strike.time).await,
        Act::LoseQuorum => {
            let most = cluster.etcd.members.len() / 2 + 1;
            kill_members(cluster, most, strike.time).await
        }
        Act::PauseLeader => pause_leader(cluster, strike.time).await,
        Act::Compact(role) => compact(cluster, of(role).await?, strike.time).await,
        Act::Weather(link, weather) => {
            let role = match link {
                Link::Store(role) => role,
                Link::Shuffle => Role::Shuffle,
                Link::Door => Role::Gateway,
            };
            let target = of(role).await?;
            let proxies: Vec<&Proxy> = match link {
                Link::Store(_) => target.server.stores.iter().collect(),
                Link::Shuffle | Link::Door => target.server.door.iter().collect(),
            };
            Ok(change(cluster, &proxies, weather, strike.time).await)
        }
        Act::Serve(service) => around::serve(cluster, service, strike.time).await,
        Act::FillDisk(role) => around::fill(load, of(role).await?, strike).await,
        Act::Cut { one_way } => {
            let role = if strike.chance.is_multiple_of(2) { Role::Shuffle } else { Role::Executor };
            around::cut(cluster, &of(role).await?, one_way, strike).await
        }
        Act::SlowSync(ms) => {
            around::slow_sync(cluster, Duration::from_millis(ms.into()), strike.time).await
        }
    }
}

/// The process of a role with this number, modulo how many there are, or the next one that nobody
/// does anything to.
async fn target(cluster: &Cluster, role: Role, number: usize) -> Result<Target<'_>> {
    let away = match role {
        Role::Gateway => cluster.gateways_away.acquire().await.ok(),
        Role::Executor | Role::Shuffle => None,
    };
    let servers = cluster.of(role);
    let count = servers.len().max(1);
    for turn in 0..count {
        let Some(server) = servers.get((number + turn) % count) else { break };
        if let Ok(child) = server.child.try_lock() {
            return Ok(Target { server, child, _away: away });
        }
    }
    let none = || Error::invalid(format!("the cluster has no {}", role.as_str()));
    let server = *servers.get(number % count).ok_or_else(none)?;
    Ok(Target { server, child: server.child.lock().await, _away: away })
}

async fn kill(cluster: &Cluster, mut target: Target<'_>, time: Duration) -> Result<bool> {
    target.child()?.kill().await?;
    cluster.env().sleep(time).await;
    target.start().await?;
    Ok(true)
}

async fn pause(cluster: &Cluster, child: &mut Child, time: Duration) -> Result<bool> {
    child.signal(Signal::Stop)?;
    cluster.env().sleep(time).await;
    let stood_still = child.stands_still();
    child.signal(Signal::Cont)?;
    Ok(stood_still)
}

async fn drain(mut target: Target<'_>) -> Result<bool> {
    let child = target.child()?;
    child.signal(Signal::Term)?;
    let status = child.ended(Cluster::DRAIN_MAX).await?;
    if !status.success() {
        let name = &target.server.name;
        return Err(Error::bug(format!("{name} was drained and ended with {status}")));
    }
    target.start().await?;
    Ok(true)
}

/// Another life of the process, which ends at a fail point while a client asks what passes it.
async fn pass(load: &Load, mut target: Target<'_>, point: Point, strike: &Strike) -> Result<bool> {
    let passage = 1 + strike.chance % point.passages.max(1);
    let armed = format!("{}=exit@{passage}", point.name);
    target.server.start(&mut target.child, Some(&armed)).await?;
    let asking = async {
        match point.query {
            WRITE => load.write_again(strike.target).await,
            name => load.repeat(strike.target, load.expected.query(name)?).await,
        }
        Ok::<(), Error>(())
    };
    let fired = tokio::select! {
        ended = target.child()?.ended(PASSAGE_MAX) => {
            ended.is_ok_and(|status| status.code() == Some(fail::EXIT_CODE))
        }
        asked = asking => return asked.map(|()| false),
    };
    load.cluster.env().sleep(strike.time).await;
    target.start().await?;
    Ok(fired)
}

/// Kills `count` members, the leader first.
async fn kill_members(cluster: &Cluster, count: usize, time: Duration) -> Result<bool> {
    let etcd = &cluster.etcd;
    let _whole = etcd.whole.lock().await;
    etcd.answers().await?;
    let first = etcd.leader().await.unwrap_or_default();
    let all = etcd.members.len();
    let killed: Vec<_> = (0..count).map(|turn| &etcd.members[(first + turn) % all]).collect();
    for member in &killed {
        if let Some(child) = member.child.lock().await.as_mut() {
            child.kill().await?;
        }
    }
    cluster.env().sleep(time).await;
    for member in killed {
        etcd.run(member, &mut *member.child.lock().await)?;
    }
    etcd.answers().await?;
    Ok(true)
}

async fn pause_leader(cluster: &Cluster, time: Duration) -> Result<bool> {
    let etcd = &cluster.etcd;
    let _whole = etcd.whole.lock().await;
    etcd.answers().await?;
    let leader = etcd.leader().await?;
    let mut child = etcd.members[leader].child.lock().await;
    let gone = || Error::bug("a member of etcd was not started");
    pause(cluster, child.as_mut().ok_or_else(gone)?, time).await
}

/// Cuts a process off from the store, has the store forget what happened meanwhile, and lets the
/// process back: its watches begin at a revision that is no more.
async fn compact(cluster: &Cluster, target: Target<'_>, time: Duration) -> Result<bool> {
    let stores = &target.server.stores;
    let before = struck(stores.iter());
    let weather = |weather| stores.iter().for_each(|proxy| proxy.set(weather));
    weather(Weather::REFUSED);
    cluster.env().sleep(time).await;
    let compacted = {
        let _whole = cluster.etcd.whole.lock().await;
        cluster.etcd.compact().await
    };
    weather(Weather::FINE);
    Ok(compacted.is_ok_and(|revision| revision > 0) && struck(stores.iter()) > before)
}

async fn change(cluster: &Cluster, proxies: &[&Proxy], weather: Weather, time: Duration) -> bool {
    let before = struck(proxies.iter().copied());
    proxies.iter().for_each(|proxy| proxy.set(weather));
    cluster.env().sleep(time).await;
    proxies.iter().for_each(|proxy| proxy.set(Weather::FINE));
    struck(proxies.iter().copied()) > before
}

fn struck<'a>(proxies: impl Iterator<Item = &'a Proxy>) -> u64 {
    proxies.map(Proxy::struck).sum()
}
