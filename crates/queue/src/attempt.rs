//! One try to claim from one segment: what to take of it, the transaction, what a conflict tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dunlin_base::{Attempt, Error, Result, Revision, StageEpoch};
use dunlin_metadata::Compare;
use dunlin_proto::queue::{Claim, Segment};
use parking_lot::Mutex;

use crate::choose;
use crate::claim::Room;
use crate::claimed::{ClaimedSlices, Held, StageView};
use crate::keys;
use crate::live::LiveSet;
use crate::member::{Member, Token};
use crate::poison;
use crate::queue::{Found, Outcome, Queue};
use crate::record::{Batch, Stored};
use crate::records::Records;
use crate::segment;

/// Conflicts on one segment before another one is tried.
const SEGMENT_TRIES: u32 = 8;

/// Dead executors whose claims are dropped by one transaction.
const DEAD_MAX: usize = 32;

/// What came of trying one segment.
pub(crate) enum Tried {
    Taken(ClaimedSlices),
    /// Nothing to take here now.
    Nothing,
    /// What is free here must run alone, and the executor is not idle.
    Alone,
    /// The stage or query is over.
    Over,
}

/// What to do with a segment: the one to write, if any.
enum Wish {
    Take(Segment),
    /// A slice has ended too many executors: the query fails.
    Condemn(Segment, Error),
    Nothing,
    Alone,
}

/// One claim on its way.
pub(crate) struct ClaimAttempt<'a> {
    queue: &'a Queue,
    member: &'a Member,
    view: &'a Arc<StageView>,
    room: Room,
    live: &'a LiveSet,
    own: String,
    /// The query's records as they were read for this claim, if all of them were.
    pub(crate) records: Option<Records>,
    /// Executors that the store knows to be alive though the live set does not (yet).
    alive: BTreeSet<String>,
}

impl<'a> ClaimAttempt<'a> {
    pub(crate) fn new(
        queue: &'a Queue,
        member: &'a Member,
        view: &'a Arc<StageView>,
        room: Room,
        live: &'a LiveSet,
    ) -> Self {
        let own = member.id().to_string();
        Self { queue, member, view, room, live, own, records: None, alive: BTreeSet::new() }
    }

    pub(crate) async fn run(&mut self, number: u32, mut stored: Stored<Segment>) -> Result<Tried> {
        let token = self.member.token();
        for _ in 0..SEGMENT_TRIES {
            let dead = self.dead(&stored.record);
            let wish = self.wish(number, &stored.record, &token, &dead);
            let (next, condemned) = match wish {
                Wish::Nothing => return Ok(Tried::Nothing),
                Wish::Alone => return Ok(Tried::Alone),
                Wish::Take(next) => (next, None),
                Wish::Condemn(next, error) => (next, Some(error)),
            };
            let mut batch = self.batch(number, &stored, next.clone(), &dead)?;
            if let Some(error) = &condemned
                && !self.queue.add_failure(self.view.query, error, &mut batch).await?
            {
                return Ok(Tried::Over);
            }
            match self.queue.apply(batch).await? {
                Outcome::Committed(_) if condemned.is_some() => return Ok(Tried::Over),
                Outcome::Committed(revision) => {
                    stored = Stored { record: next, modified: Some(revision) };
                    return Ok(self.taken(number, token, stored));
                }
                Outcome::Conflict(found) => {
                    stored = match found.entry(&self.key(number)) {
                        Some(entry) => self.view.live(Stored::read(entry)?),
                        None => self.view.first(number),
                    };
                    // The answer to an earlier try may have been lost.
                    if stored.record.claims.iter().any(|claim| claim.token == token.value) {
                        return Ok(self.taken(number, token, stored));
                    }
                    if self.is_over(&found)? {
                        return Ok(Tried::Over);
                    }
                }
            }
        }
        Ok(Tried::Nothing)
    }

    /// A segment with a further claim under `token`, as long as no other claim has to go for it;
    /// `None` if there is nothing to claim.
    pub(crate) fn added_to(&self, number: u32, record: &Segment, token: &Token) -> Option<Segment> {
        match self.wish(number, record, token, &BTreeMap::new()) {
            Wish::Take(next) => Some(next),
            Wish::Condemn(..) | Wish::Nothing | Wish::Alone => None,
        }
    }

    /// What to do with a segment as it was read.
    fn wish(
        &self,
        number: u32,
        record: &Segment,
        token: &Token,
        dead: &BTreeMap<String, Option<Revision>>,
    ) -> Wish {
        let is_void = |claim: &Claim| self.is_void(claim, dead);
        let buried = poison::bury(record, |claim| self.died(claim, dead));
        if let Some(error) = poison::verdict(&buried) {
            let error = error.context(format!("stage {}", self.view.number));
            return Wish::Condemn(segment::without(&buried, is_void), error);
        }
        let free = segment::free_runs(record, is_void);
        let free_slices = free.iter().map(|run| run.end - run.start).sum();
        self.view.saw(number, record, free_slices);
        let free = poison::sort(&buried, free);
        let (left, live) = (self.view.remaining(), self.live.count());
        let size = choose::size(self.room.slots, left, live, self.view.stage.light);
        let run = match free.suspects.first() {
            Some(slice) if self.room.idle => *slice..*slice + 1,
            suspect => match choose::run(&free.runs, size) {
                Some(run) => run,
                None if suspect.is_some() => return Wish::Alone,
                None => return Wish::Nothing,
            },
        };
        let now = self.queue.env().unix_ms();
        let claimer = token.claimer(self.view.stage.epoch);
        self.view.saw(number, record, free_slices - (run.end - run.start));
        Wish::Take(segment::claim(&buried, &run, &claimer, now, is_void))
    }

    fn key(&self, segment: u32) -> String {
        keys::segment(self.view.query, self.view.number, segment)
    }

    /// True if the claim's executor is dead and did not come back under another id.
    fn died(&self, claim: &Claim, dead: &BTreeMap<String, Option<Revision>>) -> bool {
        let gone = dead.get(&claim.executor).is_some_and(Option::is_none);
        let id = claim.executor.parse().ok();
        gone && id.and_then(|id| self.live.card_of(id)).is_none()
    }

    fn batch(
        &self,
        number: u32,
        stored: &Stored<Segment>,
        next: Segment,
        dead: &BTreeMap<String, Option<Revision>>,
    ) -> Result<Batch> {
        let (query, stage) = (self.view.query, self.view.number);
        let mut batch = Batch::owned(query, self.member.owner());
        batch.require(Compare::Modified(keys::stage(query, stage), self.view.modified));
        batch.require(Compare::Absent(keys::cancel(query)));
        for (executor, card) in dead {
            batch.require_dead(executor, *card);
        }
        batch.put(self.key(number), stored, next)?;
        Ok(batch)
    }

    /// A claim is void if its executor's card is gone, or if it is this process's and nobody here
    /// knows of it.
    fn is_void(&self, claim: &Claim, dead: &BTreeMap<String, Option<Revision>>) -> bool {
        if claim.executor == self.own {
            !self.member.holds(claim.token)
        } else {
            dead.contains_key(&claim.executor)
        }
    }

    /// The executors of the segment's claims that seem dead, with the creation of the card that
    /// stands in for theirs. The transaction verifies it.
    fn dead(&self, segment: &Segment) -> BTreeMap<String, Option<Revision>> {
        let mut dead = BTreeMap::new();
        for claim in &segment.claims {
            if claim.executor == self.own || self.alive.contains(&claim.executor) {
                continue;
            }
            let card = claim.executor.parse().ok().and_then(|id| self.live.fence(id));
            if card != Some(Revision(claim.fence)) && dead.len() < DEAD_MAX {
                dead.insert(claim.executor.clone(), card);
            }
        }
        dead
    }

    /// Learns from a conflict. True if the stage or query is over.
    fn is_over(&mut self, found: &Found) -> Result<bool> {
        let (query, stage) = (self.view.query, self.view.number);
        let card = found.entry(&keys::executor(&self.own));
        if card.map(|entry| entry.created) != Some(self.member.fence()) {
            self.member.fence_now();
            self.member.check()?;
        }
        for executor in found.executors() {
            self.alive.insert(executor.to_owned());
        }
        let stage = found.entry(&keys::stage(query, stage));
        let unchanged = stage.map(|entry| entry.modified) == Some(self.view.modified);
        Ok(!unchanged || found.entry(&keys::cancel(query)).is_some())
    }

    /// The claim with this token, which the segment holds.
    pub(crate) fn taken(&mut self, segment: u32, token: Token, seen: Stored<Segment>) -> Tried {
        let own = seen.record.claims.iter().find(|claim| claim.token == token.value);
        let Some(own) = own else { return Tried::Nothing };
        let view = self.view;
        let deadline = view.stage.deadline_unix_ms;
        Tried::Taken(ClaimedSlices {
            query: view.query,
            stage: view.number,
            epoch: StageEpoch(view.stage.epoch),
            segment,
            slices: segment::slices_of(own.first_slice, own.slice_count),
            attempt: Attempt(own.attempt),
            alone: poison::is_suspect(&seen.record, own.first_slice),
            template: view.template.clone(),
            slice_list: view.slice_list.clone(),
            slice_count: view.stage.slice_count,
            inputs: view.inputs.clone(),
            deadline_unix_ms: (deadline > 0).then_some(deadline),
            user: view.stage.user.clone(),
            held: Arc::new(Held {
                token,
                view: view.clone(),
                seen: Mutex::new(Some(seen)),
                records: Mutex::new(self.records.take()),
            }),
        })
    }
}
