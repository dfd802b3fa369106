//! What an executor's loop knows of the ready stages: whose turn it is, where nothing is left, and
//! which ones it leaves to others for a moment. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{QueryId, Revision, StageId};
use dunlin_queue::ReadyStage;

use crate::fair::Stride;

/// How long a stage of one slice is left to the executor that is the first choice for it. Without
/// this all idle executors would try to claim the one slice: a transaction each, for nothing.
const DEFER: Duration = Duration::from_millis(4);

/// A stage.
pub(crate) type Name = (QueryId, StageId);

/// What is known of the ready stages.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    pub(crate) stride: Stride,
    /// Where nothing was to be had, at that touch.
    exhausted: HashMap<Name, Revision>,
    /// Since when a stage is left to another executor.
    deferred: HashMap<Name, Duration>,
    /// A stage with slices that must run alone, if this executor is the first choice for them: it
    /// takes nothing until it is idle, and then that stage comes first.
    pub(crate) making_room: Option<Name>,
}

/// The stages to try now, and when to look again if none of them has anything.
pub(crate) struct Order {
    pub(crate) stages: Vec<Arc<ReadyStage>>,
    pub(crate) again_at: Option<Duration>,
}

pub(crate) fn name(stage: &ReadyStage) -> Name {
    (stage.query, stage.stage)
}

impl Looks {
    /// Forgets stages that are not ready any more.
    pub(crate) fn keep(&mut self, stages: &[Arc<ReadyStage>]) {
        let is_ready = |key: &Name| stages.iter().any(|stage| name(stage) == *key);
        self.exhausted.retain(|key, _| is_ready(key));
        self.deferred.retain(|key, _| is_ready(key));
        self.making_room = self.making_room.filter(is_ready);
    }

    /// The stages of which something may be left to claim.
    pub(crate) fn open(&self, stages: &[Arc<ReadyStage>]) -> Vec<Name> {
        let is_open =
            |stage: &&Arc<ReadyStage>| self.exhausted.get(&name(stage)) != Some(&stage.touched);
        stages.iter().filter(is_open).map(|stage| name(stage)).collect()
    }

    /// The order in which to try stages. `mine` says which stages of one slice this executor is the
    /// first choice for.
    pub(crate) fn order(
        &mut self,
        stages: &[Arc<ReadyStage>],
        (free, kept): (u32, u32),
        now: Duration,
        mine: impl Fn(&ReadyStage) -> bool,
    ) -> Order {
        let first = self.making_room.take();
        let mut again_at: Option<Duration> = None;
        let mut ranked = Vec::with_capacity(stages.len());
        for stage in self.stride.order(stages, free, kept) {
            let key = name(&stage);
            if Some(key) == first {
                ranked.push((0, stage));
                continue;
            }
            if self.exhausted.get(&key) == Some(&stage.touched) {
                continue;
            }
            if stage.slice_count > 1 || mine(&stage) {
                ranked.push((1, stage));
                continue;
            }
            let due = *self.deferred.entry(key).or_insert(now) + DEFER;
            if due <= now {
                ranked.push((2, stage));
            } else {
                again_at = Some(again_at.map_or(due, |at| at.min(due)));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        Order { stages: ranked.into_iter().map(|(_, stage)| stage).collect(), again_at }
    }

    /// There is nothing to take of this stage until it is touched.
    pub(crate) fn exhausted(&mut self, stage: &ReadyStage) {
        self.exhausted.insert(name(stage), stage.touched);
    }

    /// There may be something everywhere.
    pub(crate) fn look_everywhere(&mut self) {
        self.exhausted.clear();
    }
}

#[cfg(test)]
mod tests {
    use dunlin_queue::{AtHand, Lane};

    use super::*;

    fn stage(query: u128, slice_count: u32) -> ReadyStage {
        ReadyStage {
            query: QueryId::from_u128(query),
            stage: StageId(0),
            lane: Lane::Short,
            weight: 1,
            slice_count,
            segment_count: 1,
            opened_unix_ms: 0,
            epoch: 0,
            touched: Revision(1),
            build: String::new(),
            at_hand: AtHand::default(),
        }
    }

    fn queries(order: &Order) -> Vec<u128> {
        order.stages.iter().map(|stage| stage.query.to_u128()).collect()
    }

    #[test]
    fn a_slice_that_another_is_the_first_choice_for_is_tried_a_little_later_and_last() {
        let stages = [stage(1, 1), stage(2, 1), stage(3, 5)].map(Arc::new);
        let mine = |stage: &ReadyStage| stage.query.to_u128() == 2;
        let mut looks = Looks::default();
        let at =
            |looks: &mut Looks, ms| looks.order(&stages, (2, 0), Duration::from_millis(ms), mine);
        let now = at(&mut looks, 100);
        assert_eq!(queries(&now), [2, 3]);
        assert_eq!(now.again_at, Some(Duration::from_millis(100) + DEFER));
        assert_eq!(queries(&at(&mut looks, 101)), [2, 3]);
        let later = at(&mut looks, 105);
        assert_eq!((queries(&later), later.again_at), (vec![2, 3, 1], None));
    }

    #[test]
    fn an_exhausted_stage_comes_back_when_it_is_touched_or_must_run_alone_here() {
        let mut looks = Looks::default();
        let now = |looks: &mut Looks, touched| {
            let stages = [Arc::new(ReadyStage { touched: Revision(touched), ..stage(1, 5) })];
            looks.keep(&stages);
            queries(&looks.order(&stages, (1, 0), Duration::ZERO, |_| true)).len()
        };
        looks.exhausted(&stage(1, 5));
        assert_eq!((now(&mut looks, 1), now(&mut looks, 2)), (0, 1));
        looks.making_room = Some(name(&stage(1, 5)));
        assert_eq!((now(&mut looks, 1), now(&mut looks, 1)), (1, 0));
        looks.look_everywhere();
        assert_eq!(now(&mut looks, 1), 1);
    }
}
