//! Committing: the output of claimed slices starts to count. The last commit of a short stage also
//! seals it and takes the query's next step, all in one transaction.

use dunlin_base::{Error, Kind, Result, Revision, fail};
use dunlin_metadata::Compare;
use dunlin_proto::output::MapOutput;
use dunlin_proto::queue::Segment;

use crate::attempt::{ClaimAttempt, Tried};
use crate::claim::Room;
use crate::claimed::ClaimedSlices;
use crate::first_claim::FirstClaim;
use crate::keys;
use crate::live::LiveSet;
use crate::member::Token;
use crate::queue::{CONFLICTS_MAX, Committed, Found, Outcome, Queue};
use crate::record::{Batch, Stored};
use crate::records::{Purpose, Records};
use crate::segment::{self, Claimer, CommitStep};

/// Tries to do all in one transaction before commit and step are done apart.
const FAST_TRIES: u32 = 4;

/// What a commit may claim further slices for.
#[derive(Clone, Copy, Debug)]
pub struct More<'a> {
    /// The slots that the committed slices leave.
    pub room: Room,
    /// The live executors, among which the rest is shared.
    pub live: &'a LiveSet,
}

/// A claim that goes with a commit.
struct NextClaim<'a> {
    attempt: ClaimAttempt<'a>,
    segment: u32,
    token: Token,
}

impl<'a> NextClaim<'a> {
    fn new(queue: &'a Queue, claim: &'a ClaimedSlices, more: More<'a>) -> Self {
        let (member, view) = (claim.member(), &claim.held.view);
        let attempt = ClaimAttempt::new(queue, member, view, more.room, more.live);
        Self { attempt, segment: claim.segment, token: member.token() }
    }

    /// Whether a transaction with it is on its way, of which nobody may hear.
    fn set_sent(&mut self, sent: bool) {
        self.token.set_sent(sent);
    }

    /// The segment with the claim, if there is something to claim.
    fn added_to(&self, segment: Segment) -> Segment {
        self.attempt.added_to(self.segment, &segment, &self.token).unwrap_or(segment)
    }

    /// The claim, if the segment has it.
    fn taken(mut self, seen: Stored<Segment>) -> Option<ClaimedSlices> {
        self.token.set_sent(false);
        match self.attempt.taken(self.segment, self.token, seen) {
            Tried::Taken(claim) => Some(claim),
            _ => None,
        }
    }
}

impl Queue {
    /// Makes the output of (some of) the claimed slices count: the first commit of a slice wins.
    /// `output` says which slices and carries the claim's attempt. Seals the stage and takes the
    /// query's next step if these were the last slices. Idempotent.
    /// `Fenced`: another attempt won, the lease is gone, or the query is over: discard the output.
    /// `Invalid`: the output is not of this claim. `Bug`: its partitions are not in order.
    pub async fn commit(&self, claim: &ClaimedSlices, output: MapOutput) -> Result<Committed> {
        self.commit_and_claim(claim, output, None).await.map(|(committed, _)| committed)
    }

    /// [`Queue::commit`] which in the same transaction claims further slices: of the same segment, if
    /// there are any that may run beside others (a claim of its own would run into the commit), or,
    /// if the commit completes the stage, of one that the query's next step opens. Who calls it must
    /// know that nothing else is more urgent for the slots.
    pub async fn commit_and_claim(
        &self,
        claim: &ClaimedSlices,
        output: MapOutput,
        more: Option<More<'_>>,
    ) -> Result<(Committed, Option<ClaimedSlices>)> {
        check_output(claim, &output)?;
        claim.member().check()?;
        let mut fast_tries = if claim.held.view.stage.segment_count == 1 { FAST_TRIES } else { 0 };
        let mut next_claim = more.map(|more| NextClaim::new(self, claim, more));
        for _ in 0..CONFLICTS_MAX {
            let stored = self.segment_of(claim).await?;
            match segment::commit(&stored.record, &claim.claimer(), &output) {
                CommitStep::Done => {
                    let committed = self.after_commit(claim, &stored.record).await?;
                    return Ok((committed, next_claim.and_then(|next| next.taken(stored))));
                }
                CommitStep::Lost => return Err(lost(claim)),
                CommitStep::Next(next) if fast_tries > 0 && segment::is_complete(&next) => {
                    fast_tries -= 1;
                    match self.commit_and_step(claim, &stored, &output, more).await {
                        Ok(Some(done)) => return Ok(done),
                        Ok(None) => {}
                        Err(error) if matches!(error.kind(), Kind::Retry | Kind::Fenced) => {
                            return Err(error);
                        }
                        // The query cannot go on, but these slices can be committed.
                        Err(_) => fast_tries = 0,
                    }
                }
                CommitStep::Next(next) => {
                    let next = match &mut next_claim {
                        Some(claim) => {
                            claim.set_sent(true);
                            claim.added_to(next)
                        }
                        None => next,
                    };
                    let batch = self.segment_batch(claim, &stored, next.clone())?;
                    match self.apply(batch).await? {
                        Outcome::Committed(revision) => {
                            claim.saw(&next, Some(revision));
                            let committed = self.after_commit(claim, &next).await?;
                            let seen = Stored { record: next, modified: Some(revision) };
                            return Ok((committed, next_claim.and_then(|next| next.taken(seen))));
                        }
                        Outcome::Conflict(found) => {
                            let stored = self.segment_found(claim, &found)?;
                            let claimer = claim.claimer();
                            let step = segment::commit(&stored.record, &claimer, &output);
                            if step != CommitStep::Done {
                                still_allowed(claim, &found)?;
                            }
                            *claim.held.seen.lock() = Some(stored);
                        }
                    }
                }
            }
        }
        Err(Error::retry("the claimed segment changes too fast"))
    }

    /// One transaction for the commit, the seal, the decision, and a first claim on what it opens.
    /// `None`: records had changed, or the stage is not complete after all.
    async fn commit_and_step(
        &self,
        claim: &ClaimedSlices,
        seen: &Stored<Segment>,
        output: &MapOutput,
        more: Option<More<'_>>,
    ) -> Result<Option<(Committed, Option<ClaimedSlices>)>> {
        let place = (claim.stage.0, claim.segment);
        let remembered = claim.held.records.lock().take();
        let (mut records, stored) = match remembered {
            // Should they have changed, the transaction conflicts and the next try reads them.
            Some(records) => (records, seen.clone()),
            None => {
                let records = self.load(claim.query, Purpose::Step).await?;
                let records = records.ok_or_else(|| over(claim))?;
                let stored = records.segments.get(&place).cloned().ok_or_else(|| over(claim))?;
                (records, stored)
            }
        };
        let mut next = match segment::commit(&stored.record, &claim.claimer(), output) {
            CommitStep::Done => {
                let committed = self.after_commit(claim, &stored.record).await?;
                return Ok(Some((committed, None)));
            }
            CommitStep::Lost => return Err(lost(claim)),
            CommitStep::Next(next) => next,
        };
        check_running(claim, &records)?;
        records.segments.insert(place, Stored { record: next.clone(), modified: stored.modified });
        let Some(changes) = self.unfold(&records)? else { return Ok(None) };
        let stage_sealed = changes.seals(claim.stage);
        if stage_sealed {
            segment::strip_outputs(&mut next);
        }
        let (unfinished, query_ended) = (changes.more, changes.ended.is_some());
        let sealed = changes.outputs.clone();
        let first =
            more.and_then(|more| FirstClaim::of(self, claim.member(), (&records, &changes), more));
        let mut batch = Batch::owned(claim.query, claim.member().owner());
        batch.require(Compare::Absent(keys::cancel(claim.query)));
        batch.put(claim.segment_key(), &stored, next.clone())?;
        if let Some(first) = &first {
            first.write(claim.query, &mut batch)?;
        }
        changes.write(&records, &mut batch)?;
        let Some((revision, first)) = self.apply_step(claim, batch, first).await? else {
            *claim.held.seen.lock() = None;
            return Ok(None);
        };
        claim.saw(&next, Some(revision));
        self.remember(claim.query, sealed);
        let committed = Committed { stage_sealed, query_ended };
        if unfinished {
            return Ok(Some((self.step_after(claim, committed).await, None)));
        }
        let taken = match first {
            Some(first) => first.taken(self, claim.query, revision).await,
            None => None,
        };
        Ok(Some((committed, taken)))
    }

    /// Applies a commit with its step and a first claim. `None`: records had changed. If only the
    /// answer to an earlier try was lost, the conflict shows the claim.
    async fn apply_step<'a>(
        &self,
        claim: &ClaimedSlices,
        batch: Batch,
        first: Option<FirstClaim<'a>>,
    ) -> Result<Option<(Revision, Option<FirstClaim<'a>>)>> {
        let found = match self.apply(batch).await? {
            Outcome::Committed(revision) => return Ok(Some((revision, first))),
            Outcome::Conflict(found) => found,
        };
        let Some(first) = first else { return Ok(None) };
        match first.happened(claim.query, &found) {
            Some(revision) => Ok(Some((revision, Some(first)))),
            None => {
                first.give_up();
                Ok(None)
            }
        }
    }

    /// A commit has happened: if it completed the stage, takes the next step.
    async fn after_commit(&self, claim: &ClaimedSlices, segment: &Segment) -> Result<Committed> {
        claim.held.view.saw(claim.segment, segment, 0);
        if !segment::is_complete(segment) || !self.others_complete(claim).await {
            return Ok(Committed::default());
        }
        let committed = Committed { stage_sealed: true, query_ended: false };
        Ok(self.step_after(claim, committed).await)
    }

    /// The commit stands whatever becomes of the step: others will take it if this fails.
    async fn step_after(&self, claim: &ClaimedSlices, committed: Committed) -> Committed {
        if fail::point(self.env(), fail::BEFORE_SEAL).await.is_err() {
            return committed;
        }
        match self.advance(claim.query).await {
            Ok(advanced) => Committed { query_ended: advanced.ended, ..committed },
            Err(error) => {
                tracing::warn!(query = %claim.query, %error, "the step after a commit is left to others");
                committed
            }
        }
    }

    /// True unless a segment of the stage is found that is not complete. Reads them one by one:
    /// while many are incomplete the first look ends it, when few are the others are known.
    async fn others_complete(&self, claim: &ClaimedSlices) -> bool {
        let view = &claim.held.view;
        let mut doubtful = view.doubtful(claim.segment);
        let start = doubtful.partition_point(|k| *k < claim.segment);
        doubtful.rotate_left(start);
        for number in doubtful {
            let key = keys::segment(claim.query, claim.stage, number);
            // An unreadable one is left to `advance`, which reads all.
            let Ok(entry) = self.store().get(&key).await else { return true };
            let Some(Ok(stored)) = entry.map(|entry| Stored::<Segment>::read(&entry)) else {
                return false;
            };
            let segment = view.voided.live(stored.record);
            if !segment::is_complete(&segment) {
                return false;
            }
            view.saw(number, &segment, 0);
        }
        true
    }

    /// The claim's segment as last seen, else as it is now. `Fenced` if it is gone.
    pub(crate) async fn segment_of(&self, claim: &ClaimedSlices) -> Result<Stored<Segment>> {
        if let Some(stored) = claim.held.seen.lock().take() {
            return Ok(stored);
        }
        let entry = self.store().get(&claim.segment_key()).await?;
        Ok(claim.held.view.live(Stored::read(&entry.ok_or_else(|| over(claim))?)?))
    }

    /// A batch that changes the claim's segment while the claimer lives and the stage is open.
    pub(crate) fn segment_batch(
        &self,
        claim: &ClaimedSlices,
        stored: &Stored<Segment>,
        next: Segment,
    ) -> Result<Batch> {
        let mut batch = Batch::owned(claim.query, claim.member().owner());
        let stage = keys::stage(claim.query, claim.stage);
        batch.require(Compare::Modified(stage, claim.held.view.modified));
        batch.require(Compare::Absent(keys::cancel(claim.query)));
        batch.put(claim.segment_key(), stored, next)?;
        Ok(batch)
    }

    /// The claim's segment at a conflict. `Fenced` if it is gone.
    pub(crate) fn segment_found(
        &self,
        claim: &ClaimedSlices,
        found: &Found,
    ) -> Result<Stored<Segment>> {
        let entry = found.entry(&claim.segment_key()).ok_or_else(|| over(claim))?;
        Ok(claim.held.view.live(Stored::read(entry)?))
    }
}

impl ClaimedSlices {
    /// Who commits and gives back in the claim's name.
    pub(crate) fn claimer(&self) -> Claimer {
        self.held.token.claimer(self.epoch.0)
    }

    fn saw(&self, segment: &Segment, modified: Option<Revision>) {
        *self.held.seen.lock() = Some(Stored { record: segment.clone(), modified });
    }
}

fn check_output(claim: &ClaimedSlices, output: &MapOutput) -> Result<()> {
    let slices = segment::slices_of(output.first_slice, output.slice_count);
    let inside = claim.slices.start <= slices.start && slices.end <= claim.slices.end;
    let epoch = output.epoch == claim.epoch.0;
    if output.attempt != claim.attempt.0 || !epoch || !inside || slices.is_empty() {
        return Err(Error::invalid(format!(
            "output of slices {slices:?} attempt {} is not of the claim of {:?} attempt {}",
            output.attempt, claim.slices, claim.attempt
        )));
    }
    // Readers look them up by bisection.
    if !output.partitions.is_sorted_by(|a, b| a.partition < b.partition) {
        return Err(Error::bug("the partitions of an output are not in order"));
    }
    Ok(())
}

fn check_running(claim: &ClaimedSlices, records: &Records) -> Result<()> {
    let stage = records.stages.get(&claim.stage.0).and_then(|stage| stage.modified);
    let open = stage == Some(claim.held.view.modified);
    if !records.is_running() || records.cancelled || !open { Err(over(claim)) } else { Ok(()) }
}

/// `Fenced` if a conflict shows that the claimer is dead, or that the work is over.
pub(crate) fn still_allowed(claim: &ClaimedSlices, found: &Found) -> Result<()> {
    let member = claim.member();
    let card = found.entry(&keys::executor(&member.id().to_string()));
    if card.map(|entry| entry.created) != Some(member.fence()) {
        member.fence_now();
        member.check()?;
    }
    let stage = found.entry(&keys::stage(claim.query, claim.stage)).map(|entry| entry.modified);
    let cancelled = found.entry(&keys::cancel(claim.query)).is_some();
    if cancelled || stage != Some(claim.held.view.modified) {
        return Err(over(claim));
    }
    Ok(())
}

pub(crate) fn over(claim: &ClaimedSlices) -> Error {
    Error::fenced(format!("stage {} of query {} is over", claim.stage, claim.query))
}

pub(crate) fn lost(claim: &ClaimedSlices) -> Error {
    Error::fenced(format!(
        "slices {:?} of stage {} are no longer held by attempt {}",
        claim.slices, claim.stage, claim.attempt
    ))
}
