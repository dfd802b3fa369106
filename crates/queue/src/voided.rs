//! What of a stage's segments does not count any more, by the stage's own record: commits whose
//! output was lost, and claims that were made under an older epoch.
//!
//! Every write of a segment compares the stage's revision, so what is dropped here is dropped by
//! proof. Who reads a segment passes it through [`Voided::live`] and sees what counts only.

use std::collections::HashSet;

use bytes::Bytes;
use dunlin_base::Result;
use dunlin_proto::queue::{Claim, Commit, LostOutput, LostOutputs, Segment, Stage};

use crate::depot;

/// The rule by which one state of a stage voids parts of its segments. The default voids nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voided {
    epoch: u32,
    restarted: u32,
    lost: HashSet<(u32, u32)>,
}

impl Voided {
    /// The rule of a stage; `lost` are the bytes of the body of that name.
    pub(crate) fn new(stage: &Stage, lost: Bytes) -> Result<Self> {
        let lost: LostOutputs = depot::decode(lost, "the lost outputs of a stage")?;
        let lost = lost.outputs.iter().map(|o| (o.first_slice, o.attempt)).collect();
        Ok(Self { epoch: stage.epoch, restarted: stage.restarted, lost })
    }

    /// The segment without what is void.
    pub(crate) fn live(&self, mut segment: Segment) -> Segment {
        if self.epoch > 0 {
            segment.claims.retain(|claim| !self.voids_claim(claim));
            segment.commits.retain(|commit| !self.voids(commit));
        }
        segment
    }

    fn voids_claim(&self, claim: &Claim) -> bool {
        claim.epoch < self.epoch
    }

    fn voids(&self, commit: &Commit) -> bool {
        commit.epoch < self.restarted || self.lost.contains(&(commit.first_slice, commit.attempt))
    }

    /// The lost outputs as they are recorded, with more of them.
    pub(crate) fn with(&self, more: impl Iterator<Item = (u32, u32)>) -> LostOutputs {
        let mut all: Vec<_> = self.lost.iter().copied().chain(more).collect();
        all.sort_unstable();
        all.dedup();
        let output = |(first_slice, attempt)| LostOutput { first_slice, attempt };
        LostOutputs { outputs: all.into_iter().map(output).collect() }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn segment() -> Segment {
        let claim = |epoch| Claim { epoch, ..Claim::default() };
        let commit = |first_slice, attempt, epoch| Commit {
            first_slice,
            attempt,
            epoch,
            ..Commit::default()
        };
        Segment {
            claims: vec![claim(0), claim(2)],
            commits: vec![commit(0, 1, 0), commit(1, 2, 0), commit(2, 3, 2)],
            ..Segment::default()
        }
    }

    fn commits(segment: &Segment) -> Vec<u32> {
        segment.commits.iter().map(|commit| commit.first_slice).collect()
    }

    #[test]
    fn a_stage_in_its_first_epoch_voids_nothing() {
        let rule = Voided::new(&Stage::default(), Bytes::new()).expect("no lost outputs");
        assert_eq!(rule.live(segment()), segment());
    }

    #[test]
    fn lost_commits_and_older_claims_go() {
        let lost = Voided::default().with([(1, 2), (2, 1)].into_iter()).encode_to_vec();
        let stage = Stage { epoch: 2, ..Stage::default() };
        let live = Voided::new(&stage, lost.into()).expect("readable").live(segment());
        assert_eq!(commits(&live), [0, 2]);
        assert_eq!(live.claims.len(), 1);
    }

    #[test]
    fn a_restart_voids_what_was_committed_before() {
        let stage = Stage { epoch: 2, restarted: 1, ..Stage::default() };
        let live = Voided::new(&stage, Bytes::new()).expect("readable").live(segment());
        assert_eq!(commits(&live), [2]);
    }
}
