//! The claim that goes with the step that opens a stage: whoever completes a stage begins with the
//! next one at once, in the same transaction.
//!
//! Without it each stage of a query begins with a transaction that its executors wait for, most often
//! two of them, of which one runs into the other. What is claimed is what an ordinary claim would
//! take; the rest of the stage is shared as always, by executors that hear of it with this claim.

use dunlin_base::{QueryId, Result, Revision, StageId};
use dunlin_proto::queue::{InputOutput, Segment, Stage};

use crate::attempt::{ClaimAttempt, Tried};
use crate::changes::Changes;
use crate::choose;
use crate::claimed::ClaimedSlices;
use crate::commit::More;
use crate::keys;
use crate::member::{Member, Token};
use crate::queue::{Found, Queue};
use crate::ready::Lane;
use crate::record::{Batch, Stored};
use crate::records::Records;
use crate::segment;

/// A claim on a stage that is opened beside it.
pub(crate) struct FirstClaim<'a> {
    member: &'a Member,
    more: More<'a>,
    token: Token,
    number: StageId,
    stage: Stage,
    inputs: Vec<InputOutput>,
    segment: u32,
    /// The segment as nobody has claimed from it yet.
    before: Segment,
    after: Segment,
}

impl<'a> FirstClaim<'a> {
    /// A claim on the stage that an executor would look at first of those that are opened for the
    /// first time; `None` if there is none, or if the changes are not all that is due.
    pub(crate) fn of(
        queue: &Queue,
        member: &'a Member,
        (records, changes): (&Records, &Changes),
        more: More<'a>,
    ) -> Option<Self> {
        if changes.more || changes.ended.is_some() || more.room.slots == 0 {
            return None;
        }
        let new = changes.ready.iter().filter(|number| !records.stages.contains_key(number));
        let new = new.filter_map(|number| Some((StageId(*number), changes.stages.get(number)?)));
        let new = new.filter(|(_, stage)| queue.reads(&stage.build));
        let (number, stage) =
            new.min_by_key(|(number, stage)| (Lane::of(stage.slice_count), *number))?;
        let (slices, segments) = (stage.slice_count, stage.segment_count);
        let random = |below| queue.env().random_below(below);
        let order = choose::order(member.id(), records.query, number, segments, random);
        let segment = *order.first()?;
        let before = segment::first(slices, segments, segment);
        let free = segment::slices_of(before.first_slice, before.slice_count);
        let live = more.live.count();
        let size = choose::size(more.room.slots, u64::from(slices), live, stage.light);
        let run = choose::run(&[free], size).filter(|run| !run.is_empty())?;
        let mut token = member.token();
        token.set_sent(true);
        let claimer = token.claimer(stage.epoch);
        let after = segment::claim(&before, &run, &claimer, queue.env().unix_ms(), |_| false);
        let inputs = changes.inputs_at_hand(records, stage);
        let stage = stage.clone();
        Some(Self { member, more, token, number, stage, inputs, segment, before, after })
    }

    /// Adds the claim to the batch that opens the stage.
    pub(crate) fn write(&self, query: QueryId, batch: &mut Batch) -> Result<()> {
        let key = keys::segment(query, self.number, self.segment);
        batch.put(key, &Stored::absent(self.before.clone()), self.after.clone())
    }

    /// When its batch happened, if a conflict shows that it did and only the answer was lost.
    pub(crate) fn happened(&self, query: QueryId, found: &Found) -> Option<Revision> {
        let segment = found.entry(&keys::segment(query, self.number, self.segment))?;
        let segment = Stored::<Segment>::read(segment).ok()?.record;
        let own = segment.claims.iter().any(|claim| claim.token == self.token.value);
        let stage = found.entry(&keys::stage(query, self.number)).filter(|_| own)?;
        Some(stage.modified)
    }

    /// Nothing of it has happened.
    pub(crate) fn give_up(mut self) {
        self.token.set_sent(false);
    }

    /// The claim, once its batch has happened. If parts of the stage cannot be read now it is
    /// given up, and its executor is told to look at the stage ([`Member::strays`]).
    pub(crate) async fn taken(
        mut self,
        queue: &Queue,
        query: QueryId,
        at: Revision,
    ) -> Option<ClaimedSlices> {
        queue.recall(query, &self.inputs).ok()?;
        let view = match queue.view((query, self.number), self.stage, at).await {
            Ok(view) => std::sync::Arc::new(view),
            Err(error) => {
                tracing::debug!(%query, stage = %self.number, %error, "a first claim is dropped");
                return None;
            }
        };
        queue.views().lock().insert((query, self.number), view.clone());
        self.token.set_sent(false);
        let claimed: u32 = self.after.claims.iter().map(|claim| claim.slice_count).sum();
        view.saw(self.segment, &self.after, self.after.slice_count - claimed);
        let seen = Stored { record: self.after, modified: Some(at) };
        let More { room, live } = self.more;
        match ClaimAttempt::new(queue, self.member, &view, room, live).taken(
            self.segment,
            self.token,
            seen,
        ) {
            Tried::Taken(claim) => Some(claim),
            Tried::Nothing | Tried::Alone | Tried::Over => None,
        }
    }
}

impl Queue {
    /// Remembers the outputs that came with the news of a stage.
    pub(crate) fn recall(&self, query: QueryId, inputs: &[InputOutput]) -> Result<()> {
        for input in inputs {
            let output = crate::depot::decode(input.output.clone(), "the output of a stage")?;
            let (stage, epoch) = (StageId(input.stage), dunlin_base::StageEpoch(input.epoch));
            self.remember(query, vec![(stage, epoch, output)]);
        }
        Ok(())
    }
}
