//! Faults of what processes stand on: the object store, their disks, the network between hosts, the
//! disk of the metadata store. Called by `strike`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dunlin_base::{Error, Result};

use super::load::Load;
use super::plan::Strike;
use super::strike::Target;
use crate::processes::{Child, Cluster, Cut, Role, Service};

/// Where processes are enrolled for as long as their leases live.
const ENROLLED: [&str; 3] = ["ex/", "sh/", "gw/"];

/// How long it may take until all processes are enrolled, after what was done to them before.
const ENROL_MAX: Duration = Duration::from_secs(20);

/// How long it may take until a process needs its disk.
const FULL_MAX: Duration = Duration::from_secs(90);

/// How long it may take until what a dead worker left is adopted: its lease ends first, and there may be
/// no other worker for a while.
const ADOPTED_MAX: Duration = Duration::from_secs(45);

/// Between two looks at what a process has said.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a worker counts that has adopted another one.
const ADOPTIONS: &str = "dunlin_shuffle_adoptions_total{outcome=\"done\"}";

/// What the system says to whoever writes to a disk without room.
const NO_ROOM: &str = "No space left on device";

/// Has the object store serve badly. It fires when a request was.
pub(super) async fn serve(cluster: &Cluster, service: Service, time: Duration) -> Result<bool> {
    let none = || Error::invalid("the cluster has no object store");
    let objects = cluster.objects.as_ref().ok_or_else(none)?;
    let before = objects.struck();
    objects.set(service);
    cluster.env().sleep(time).await;
    objects.set(Service::Fine);
    Ok(objects.struck() > before)
}

/// Kills a shuffle worker for good, with its folder. A new one begins in its place when another one has
/// adopted what it had in the object store. It fires when one has.
pub(super) async fn lose(
    cluster: &Cluster,
    mut target: Target<'_>,
    time: Duration,
) -> Result<bool> {
    let before = adoptions(cluster).await;
    target.child()?.kill().await?;
    target.server.lose_folder()?;
    let adopted = async {
        loop {
            let now = adoptions(cluster).await;
            // One that was started anew counts from its beginning.
            if now.iter().any(|(name, count)| *count > before.get(name).copied().unwrap_or(0)) {
                return;
            }
            cluster.env().sleep(LOOK_EVERY).await;
        }
    };
    let fired = cluster.env().timeout(ADOPTED_MAX, adopted).await.is_some();
    cluster.env().sleep(time).await;
    target.start().await?;
    Ok(fired)
}

/// How often each shuffle worker that tells it has adopted another one.
async fn adoptions(cluster: &Cluster) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for server in cluster.of(Role::Shuffle) {
        if let Some(count) = server.figure(ADOPTIONS).await {
            all.insert(server.name.clone(), count);
        }
    }
    all
}

/// Fills a process's disk while a client asks what needs it, until the process was refused a write
/// and for the strike's time from then on. It fires when it was refused; the process must live on.
pub(super) async fn fill(load: &Load, mut target: Target<'_>, strike: &Strike) -> Result<bool> {
    let (server, env) = (target.server, load.cluster.env());
    let child = target.child()?;
    let before = child.said().len();
    let is_refused =
        |child: &Child| child.said().get(before..).is_some_and(|said| said.contains(NO_ROOM));
    server.fill_disk()?;
    let refused = async {
        while !is_refused(child) {
            env.sleep(LOOK_EVERY).await;
        }
        env.sleep(strike.time).await;
    };
    let asking = load.repeat(strike.target, &load.expected.large);
    let both = async {
        tokio::select! {
            () = refused => {}
            () = asking => {}
        }
    };
    env.timeout(FULL_MAX, both).await;
    server.empty_disk();
    if !child.runs() {
        return Err(Error::bug(format!("{} has ended for want of a disk", server.name)));
    }
    Ok(is_refused(child))
}

/// Drops packets of a process's host. It fires when there were some.
pub(super) async fn cut(
    cluster: &Cluster,
    target: &Target<'_>,
    one_way: bool,
    strike: &Strike,
) -> Result<bool> {
    let none = || Error::invalid(format!("{} has no host of its own", target.server.name));
    let host = target.server.host.as_ref().ok_or_else(none)?;
    let cut = match (one_way, strike.chance / 2 % 2) {
        (false, _) => Cut::Both,
        (true, 0) => Cut::In,
        (true, _) => Cut::Out,
    };
    host.cut(cut).await?;
    cluster.env().sleep(strike.time).await;
    let dropped = host.dropped().await;
    host.heal().await?;
    Ok(dropped? > 0)
}

/// Makes etcd's disk slow, while nothing else is done to any process: all must keep their leases.
pub(super) async fn slow_sync(cluster: &Cluster, delay: Duration, time: Duration) -> Result<bool> {
    let mut all = Vec::new();
    for server in &cluster.servers {
        all.push(server.child.lock().await);
    }
    let _whole = cluster.etcd.whole.lock().await;
    let until = cluster.env().now() + ENROL_MAX;
    let before = loop {
        let enrolled = enrolled(cluster).await?;
        if enrolled.len() == all.len() {
            break enrolled;
        }
        if cluster.env().now() >= until {
            return Err(Error::bug(format!("not all are enrolled: {enrolled:?}")));
        }
        cluster.env().sleep(Duration::from_millis(100)).await;
    };
    let slowed = cluster.etcd.slow_sync(delay, time).await?;
    let after = enrolled(cluster).await?;
    match before.difference(&after).next() {
        Some(gone) => Err(Error::bug(format!("{gone} lost its lease to a slow disk of etcd"))),
        None => Ok(slowed > 0),
    }
}

/// The keys of all memberships.
async fn enrolled(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for prefix in ENROLLED {
        let found = cluster.store().range(prefix).await?;
        keys.extend(found.entries.into_iter().map(|entry| entry.key.to_string()));
    }
    Ok(keys)
}
