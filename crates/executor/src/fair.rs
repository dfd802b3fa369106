//! Which ready stage to take from next: stride scheduling over queries, pure.
//!
//! Every query has a pass; taking slices moves it on by slices over weight; the query with the
//! lowest pass is served first. So queries get slots by weight, whatever their number of slices.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_base::QueryId;
use dunlin_queue::{Lane, ReadyStage};

/// The passes of the queries that this executor serves.
#[derive(Debug, Default)]
pub(crate) struct Stride {
    passes: HashMap<QueryId, f64>,
}

impl Stride {
    /// The stages in the order in which to try them. Stages of the long lane are left out while no
    /// more than `kept` slots are free: those wait for short ones.
    pub(crate) fn order(
        &mut self,
        stages: &[Arc<ReadyStage>],
        free_slots: u32,
        kept: u32,
    ) -> Vec<Arc<ReadyStage>> {
        let live: std::collections::HashSet<QueryId> = stages.iter().map(|s| s.query).collect();
        self.passes.retain(|query, _| live.contains(query));
        // A newcomer starts where the others are, or it would have all slots until it caught up.
        let floor = self.passes.values().copied().fold(f64::INFINITY, f64::min);
        let floor = if floor.is_finite() { floor } else { 0.0 };
        for query in live {
            self.passes.entry(query).or_insert(floor);
        }
        let allowed = stages.iter().filter(|s| s.lane == Lane::Short || free_slots > kept);
        let pass = |stage: &ReadyStage| self.passes.get(&stage.query).copied().unwrap_or(floor);
        let mut ranked: Vec<(f64, &Arc<ReadyStage>)> = allowed.map(|s| (pass(s), s)).collect();
        ranked.sort_by(|(pass_a, a), (pass_b, b)| {
            let by_pass = pass_a.total_cmp(pass_b);
            by_pass.then(a.query.cmp(&b.query)).then(a.stage.cmp(&b.stage))
        });
        ranked.into_iter().map(|(_, stage)| Arc::clone(stage)).collect()
    }

    /// Notes that `slices` of `stage` were taken.
    pub(crate) fn taken(&mut self, stage: &ReadyStage, slices: u32) {
        let step = f64::from(slices) / f64::from(stage.weight.max(1));
        *self.passes.entry(stage.query).or_insert(0.0) += step;
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::{Revision, StageId};
    use dunlin_queue::AtHand;

    use super::*;

    fn stage(query: u128, weight: u32, lane: Lane) -> Arc<ReadyStage> {
        Arc::new(ReadyStage {
            query: QueryId::from_u128(query),
            stage: StageId(0),
            lane,
            weight,
            slice_count: 100,
            segment_count: 2,
            opened_unix_ms: 0,
            epoch: 0,
            touched: Revision(1),
            build: String::new(),
            at_hand: AtHand::default(),
        })
    }

    #[test]
    fn queries_get_slots_by_weight() {
        let mut stride = Stride::default();
        let stages = vec![stage(1, 1, Lane::Short), stage(2, 3, Lane::Short)];
        let mut taken = HashMap::new();
        for _ in 0..400 {
            let first = stride.order(&stages, 4, 0).remove(0);
            stride.taken(&first, 1);
            *taken.entry(first.query).or_insert(0) += 1;
        }
        assert_eq!(taken[&QueryId::from_u128(1)], 100);
        assert_eq!(taken[&QueryId::from_u128(2)], 300);
    }

    #[test]
    fn kept_slots_are_for_short_stages() {
        let mut stride = Stride::default();
        let stages = vec![stage(1, 1, Lane::Long), stage(2, 1, Lane::Short)];
        let order = stride.order(&stages, 1, 1);
        assert_eq!(order.len(), 1);
        assert_eq!(order[0].lane, Lane::Short);
        assert_eq!(stride.order(&stages, 2, 1).len(), 2);
    }
}
