//! Giving claims back: failed, or not started.

use std::ops::Range;

use dunlin_base::{Error, Result};
use dunlin_proto::queue::Segment;

use crate::changes;
use crate::claimed::ClaimedSlices;
use crate::commit::{lost, over, still_allowed};
use crate::keys;
use crate::queue::{CONFLICTS_MAX, Outcome, Queue};
use crate::ready::Lane;
use crate::record::{Batch, Stored};
use crate::segment::{self, FailureStep};

impl Queue {
    /// Gives the claim back and counts the failure: the query fails at once for `Invalid`,
    /// `Exhausted` and `Bug`, and after four failures of a slice for other kinds. Idempotent.
    /// `Fenced`: the claim was no longer held, or the query is over; nothing was counted.
    pub async fn failed(&self, claim: &ClaimedSlices, error: &Error) -> Result<()> {
        claim.member().check()?;
        for _ in 0..CONFLICTS_MAX {
            let stored = self.segment_of(claim).await?;
            let claimer = claim.claimer();
            let step = segment::fail(&stored.record, &claimer, claim.attempt.0, error);
            let (next, fatal) = match step {
                FailureStep::Done => return Ok(()),
                FailureStep::Lost => return Err(lost(claim)),
                FailureStep::Next(next, fatal) => (next, fatal),
            };
            let mut batch = self.segment_batch(claim, &stored, next.clone())?;
            match fatal {
                None => wake(&mut batch, claim),
                Some(fatal) => {
                    if !self.add_failure(claim.query, &fatal, &mut batch).await? {
                        return Err(over(claim));
                    }
                }
            }
            let counted = |segment: &Segment| {
                let step = segment::fail(segment, &claimer, claim.attempt.0, error);
                matches!(step, FailureStep::Done)
            };
            if self.gave_back(claim, batch, next, counted).await? {
                return Ok(());
            }
        }
        Err(Error::retry("the claimed segment changes too fast"))
    }

    /// Gives unstarted slices of the claim back, uncounted. Idempotent. `Fenced`: the lease is gone
    /// or the query is over.
    pub async fn hand_back(&self, claim: &ClaimedSlices, unstarted: Range<u32>) -> Result<()> {
        claim.member().check()?;
        for _ in 0..CONFLICTS_MAX {
            let stored = self.segment_of(claim).await?;
            let token = claim.held.token.value;
            let Some(next) = segment::give_back(&stored.record, token, &unstarted) else {
                *claim.held.seen.lock() = Some(stored);
                return Ok(());
            };
            let mut batch = self.segment_batch(claim, &stored, next.clone())?;
            wake(&mut batch, claim);
            let given =
                |segment: &Segment| segment::give_back(segment, token, &unstarted).is_none();
            if self.gave_back(claim, batch, next, given).await? {
                return Ok(());
            }
        }
        Err(Error::retry("the claimed segment changes too fast"))
    }

    /// Applies a batch that gives slices back. False: it met a conflict and is to be made again.
    async fn gave_back(
        &self,
        claim: &ClaimedSlices,
        batch: Batch,
        next: Segment,
        is_done: impl Fn(&Segment) -> bool,
    ) -> Result<bool> {
        match self.apply(batch).await? {
            Outcome::Committed(revision) => {
                *claim.held.seen.lock() = Some(Stored { record: next, modified: Some(revision) });
                Ok(true)
            }
            Outcome::Conflict(found) => {
                let stored = self.segment_found(claim, &found)?;
                let done = is_done(&stored.record);
                if !done {
                    still_allowed(claim, &found)?;
                }
                *claim.held.seen.lock() = Some(stored);
                Ok(done)
            }
        }
    }
}

/// Touches the stage's ready key, so that those who wait look at it again. The stage is open as
/// long as the compared segment has slices to give back, so this revives nothing.
fn wake(batch: &mut Batch, claim: &ClaimedSlices) {
    let stage = &claim.held.view.stage;
    let key = keys::ready(Lane::of(stage.slice_count), claim.query, claim.stage);
    batch.put_index(key, &changes::ready_entry(stage));
}
