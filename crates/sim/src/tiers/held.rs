//! What the shuffle workers held, and where, from their own metrics: looked at again and again while
//! something runs.

use std::convert::Infallible;
use std::time::Duration;

use dunlin_base::{Env, Result};

use super::matrix::Place;
use crate::processes::{Cluster, Role, admin};

/// Between looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Peaks since the watch began, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The most that all workers held at one look: in memory, on disks, in the object store.
    pub peaks: [u64; 3],
    /// The most that one worker held in memory at one look.
    pub memory_of_one: u64,
    /// What went to disks, as the workers count it.
    pub to_disks: u64,
    /// What went to the object store, as the workers count it.
    pub to_objects: u64,
    /// The most resident memory that one worker has had since its start.
    pub resident: u64,
    /// Looks that told something.
    pub looks: u64,
}

impl Held {
    /// The most in one place.
    pub fn peak(&self, place: Place) -> u64 {
        self.peaks[place as usize]
    }

    /// Data that went through the place since the watch began: for memory, its peak.
    pub fn through(&self, place: Place) -> u64 {
        match place {
            Place::Memory => self.peak(place),
            Place::Disks => self.to_disks,
            Place::Objects => self.to_objects,
        }
    }
}

/// Figures of one worker.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    places: [u64; 3],
    to_disks: u64,
    to_objects: u64,
}

/// Looks at all workers again and again. One that has no time for it is looked at later.
async fn look_for_ever(cluster: &Cluster, env: &Env, held: &mut Held) -> Infallible {
    loop {
        if let Ok(now) = all(cluster).await {
            held.look(&now);
        }
        env.sleep(LOOK_EVERY).await;
    }
}

/// Runs `work` to its end and watches the workers meanwhile.
pub(super) async fn watch<T>(
    cluster: &Cluster,
    work: impl Future<Output = T>,
) -> Result<(T, Held)> {
    let env = cluster.env();
    let before = all(cluster).await?;
    let mut held = Held::default();
    let done = {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            never = look_for_ever(cluster, env, &mut held) => match never {},
        }
    };
    let after = all(cluster).await?;
    held.look(&after);
    let sum = |of: fn(&Now) -> u64, all: &[Now]| all.iter().map(of).sum::<u64>();
    let grown = |of: fn(&Now) -> u64| sum(of, &after).saturating_sub(sum(of, &before));
    held.to_disks = grown(|now| now.to_disks);
    held.to_objects = grown(|now| now.to_objects);
    held.resident = resident(cluster).await;
    Ok((done, held))
}

impl Held {
    fn look(&mut self, workers: &[Now]) {
        self.looks += 1;
        for (place, peak) in self.peaks.iter_mut().enumerate() {
            *peak = (*peak).max(workers.iter().map(|now| now.places[place]).sum());
        }
        let most = workers.iter().map(|now| now.places[Place::Memory as usize]).max();
        self.memory_of_one = self.memory_of_one.max(most.unwrap_or_default());
    }
}

async fn all(cluster: &Cluster) -> Result<Vec<Now>> {
    let mut workers = Vec::new();
    for server in cluster.of(Role::Shuffle) {
        workers.push(now(cluster.env(), &server.admin()).await?);
    }
    Ok(workers)
}

async fn now(env: &Env, address: &str) -> Result<Now> {
    let figures = admin::figures(env, address).await?;
    let sum = |name: &str| {
        let all = figures.iter().filter(|(found, _)| found.starts_with(name));
        all.map(|(_, value)| *value).sum::<u64>()
    };
    let tier =
        |place: Place| sum(&format!("dunlin_shuffle_tier_bytes{{tier=\"{}\"}}", place.as_str()));
    Ok(Now {
        places: Place::ALL.map(tier),
        to_disks: sum("dunlin_shuffle_disk_written_bytes_total"),
        to_objects: sum("dunlin_shuffle_object_written_bytes_total"),
    })
}

/// The most that one worker has had, as the system counts it.
async fn resident(cluster: &Cluster) -> u64 {
    let mut most = 0;
    for server in cluster.of(Role::Shuffle) {
        let child = server.child.lock().await;
        let Some(Ok(id)) = child.as_ref().map(|child| child.id()) else { continue };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| {
            let rest = line.strip_prefix("VmHWM:")?;
            rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        });
        most = most.max(peak.unwrap_or_default() << 10);
    }
    most
}
