//! Where blocks go: a pure choice among the workers that are alive, the same for everybody who sees
//! the same workers. Nobody has to agree: a commit names the places that were used.

use std::cmp::Reverse;

use async_trait::async_trait;
use dunlin_base::{PartitionId, ProcessId, QueryId, Result, StageId};

/// A worker, and the holder of a second copy if there is to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Takes the blocks.
    pub worker: ProcessId,
    /// Gets each block from `worker` before it is acknowledged.
    pub peer: Option<ProcessId>,
}

impl Location {
    /// One copy.
    pub fn one(worker: ProcessId) -> Self {
        Self { worker, peer: None }
    }
}

/// Chooses locations for one map task. Called by [`crate::ShuffleWriter`].
#[async_trait]
pub trait Placement: Send + Sync {
    /// Where the blocks of a partition go after it has moved `moves` times. May wait for a worker
    /// to come. `Retry`: none takes anything now.
    async fn locate(&self, partition: PartitionId, moves: u32) -> Result<Location>;

    /// A worker did not take a push: it should not be chosen for a while.
    fn failed(&self, _worker: ProcessId) {}
}

/// Everything to one worker.
#[derive(Clone, Copy, Debug)]
pub struct OneWorker(pub ProcessId);

#[async_trait]
impl Placement for OneWorker {
    async fn locate(&self, _: PartitionId, _: u32) -> Result<Location> {
        Ok(Location::one(self.0))
    }
}

/// A worker that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its process.
    pub id: ProcessId,
    /// The host part of its address: copies go to different hosts if they can. Empty: unknown.
    pub host: String,
    /// What it said of itself last.
    pub standing: Standing,
}

/// Whether a worker wants more, by its card. The order is that of preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It takes blocks, or says nothing about that.
    #[default]
    Takes,
    /// Its memory is full, and nothing else has room: pushes wait there.
    Full,
    /// It is to go: it refuses all pushes.
    Drains,
}

/// The workers of this standing by their rank for a stage.
fn ranked(candidates: &[Candidate], standing: Standing, of: (QueryId, StageId)) -> Vec<&Candidate> {
    let mut ranked: Vec<_> = candidates.iter().filter(|c| c.standing == standing).collect();
    ranked.sort_by_key(|candidate| (Reverse(weight(candidate.id, of.0, of.1)), candidate.id));
    ranked
}

/// The fewest partitions of a stage that one worker gets before the next one is used, so that a
/// small shuffle meets on few workers and a short query on one.
pub const PARTITIONS_A_WORKER: u32 = 4;

/// The location of one partition of `partitions` after `moves` splits, by rendezvous hashing of
/// the stage over the candidates, in whatever order they come. Full workers are left out if there
/// are others; those that drain always, since they refuse. `None`: there is none, or all drain.
///
/// Partitions are dealt to the first ranks in turn; a split goes to the next rank. With `copies`
/// of two the peer is the next rank on another host, or any other worker, or none if there is no
/// other.
pub fn place(
    candidates: &[Candidate],
    of: (QueryId, StageId),
    (partition, partitions): (PartitionId, u32),
    moves: u32,
    copies: u32,
) -> Option<Location> {
    let standings = candidates.iter().map(|candidate| candidate.standing);
    let best = standings.min().filter(|standing| *standing < Standing::Drains)?;
    let full = ranked(candidates, Standing::Full, of);
    let ranked = ranked(candidates, best, of);
    let count = u32::try_from(ranked.len()).ok().filter(|count| *count > 0)?;
    let used = partitions.div_ceil(PARTITIONS_A_WORKER).clamp(1, count);
    let first = (partition.0 % used + moves) % count;
    let at = |step: u32| ranked[((first + step) % count) as usize];
    let worker = at(0);
    let others = || (1..count).map(at);
    let apart = |other: &&Candidate| other.host.is_empty() || other.host != worker.host;
    let peer = match copies {
        // A full one is better than no second copy.
        2.. => others()
            .find(apart)
            .or_else(|| others().next())
            .or_else(|| full.into_iter().find(|candidate| candidate.id != worker.id)),
        _ => None,
    };
    Some(Location { worker: worker.id, peer: peer.map(|peer| peer.id) })
}

fn weight(id: ProcessId, query: QueryId, stage: StageId) -> u64 {
    let both = id.to_u128() ^ query.to_u128().rotate_left(stage.0 % 64);
    // The finaliser of SplitMix64: close inputs give distant weights.
    let mut z = both as u64 ^ (both >> 64) as u64;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u128, hosts: u128) -> Vec<Candidate> {
        let new = |n| Candidate {
            id: ProcessId::from_u128(n),
            host: format!("h{}", n % hosts),
            standing: Standing::Takes,
        };
        (1..=count).map(new).collect()
    }

    fn at(all: &[Candidate], partition: u32, of: u32, moves: u32, copies: u32) -> Location {
        let stage = (QueryId::from_u128(77), StageId(3));
        place(all, stage, (PartitionId(partition), of), moves, copies).expect("there are workers")
    }

    #[test]
    fn everybody_chooses_alike_and_few_partitions_meet_on_one_worker() {
        let (all, mut turned) = (workers(5, 5), workers(5, 5));
        turned.reverse();
        for partition in 0..40 {
            assert_eq!(at(&all, partition, 40, 0, 2), at(&turned, partition, 40, 0, 2));
        }
        let small: Vec<_> = (0..4).map(|partition| at(&all, partition, 4, 0, 1)).collect();
        assert!(small.iter().all(|location| *location == small[0]), "{small:?}");
        let mut large: Vec<_> = (0..40).map(|partition| at(&all, partition, 40, 0, 1)).collect();
        large.sort_unstable();
        large.dedup();
        assert_eq!(large.len(), 5, "all workers are used");
    }

    #[test]
    fn splits_go_round_and_the_second_copy_is_on_another_host() {
        let all = workers(6, 3);
        let mut seen: Vec<_> = (0..6).map(|moves| at(&all, 9, 40, moves, 1).worker).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6, "each move goes to another worker");
        let host = |id| &all.iter().find(|c| c.id == id).expect("one of them").host;
        for partition in 0..40 {
            let Location { worker, peer } = at(&all, partition, 40, 1, 2);
            assert_ne!(host(worker), host(peer.expect("there are others")));
        }
        let together = workers(2, 1);
        assert!(at(&together, 0, 1, 0, 2).peer.is_some(), "better on one host than not at all");
        assert_eq!(at(&workers(1, 1), 0, 1, 0, 2).peer, None, "there is no other");
    }

    #[test]
    fn workers_that_drain_or_are_full_get_nothing_while_others_take_it() {
        let mut all = workers(3, 3);
        (all[0].standing, all[1].standing) = (Standing::Drains, Standing::Full);
        let used = |all: &[Candidate], copies| -> Vec<u128> {
            let stage = (QueryId::from_u128(5), StageId(1));
            let places = (0..40).map(|p| place(all, stage, (PartitionId(p), 40), p, copies));
            let ids = places.flatten().flat_map(|l| [Some(l.worker), l.peer]);
            let mut ids: Vec<_> = ids.flatten().map(ProcessId::to_u128).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        assert_eq!(used(&all, 1), [3]);
        assert_eq!(used(&all, 2), [2, 3], "a second copy is worth a wait");
        assert_eq!(used(&all[..2], 2), [2], "a full one is better than none");
        assert_eq!(used(&all[..1], 1), [0; 0], "one that drains takes nothing");
        all[2].standing = Standing::Full;
        assert_eq!(used(&all, 2), [2, 3], "all alike");
    }

    #[test]
    fn a_worker_that_goes_moves_only_what_it_had() {
        let all = workers(8, 8);
        let gone = at(&all, 0, 1, 0, 1).worker;
        let rest: Vec<_> = all.iter().filter(|c| c.id != gone).cloned().collect();
        for stage in 0..200 {
            let stage = (QueryId::from_u128(stage << 64), StageId(stage as u32));
            let of = |all: &[Candidate]| place(all, stage, (PartitionId(0), 1), 0, 1);
            let (before, after) = (of(&all), of(&rest));
            assert!(before == after || before.map(|l| l.worker) == Some(gone));
        }
    }
}
