//! Random histories of one worker against a map in memory.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_base::Kind;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Blocks as (partition, map, attempt, batch); some repeat earlier ones.
    Push(Vec<(u32, u32, u32, u32)>),
    Read(u32, Vec<(u32, u32)>),
    Follow(u32),
    Discard(u32, u32),
    Flush,
    Seal,
    Delete,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let id = (0..3_u32, 0..3_u32, 0..2_u32, 0..6_u32);
    prop_oneof![
        12 => prop::collection::vec(id, 1..5).prop_map(Step::Push),
        6 => (0..3_u32, Just(vec![(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]).prop_shuffle())
            .prop_map(|(partition, maps)| Step::Read(partition, maps)),
        2 => (0..3_u32).prop_map(Step::Follow),
        2 => (0..3_u32, 0..2_u32).prop_map(|(map, attempt)| Step::Discard(map, attempt)),
        3 => Just(Step::Flush),
        1 => Just(Step::Seal),
        1 => Just(Step::Delete),
    ]
}

/// What a worker should hold.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) blocks: BTreeMap<(u32, u32, u32, u32), Block>,
    arrivals: Vec<(u32, u32, u32, u32)>,
    discarded: BTreeSet<(u32, u32)>,
    pub(crate) known: bool,
    sealed: bool,
    pub(crate) deleted: bool,
}

pub(crate) fn make((partition, map, attempt_number, batch): (u32, u32, u32, u32)) -> Block {
    let length = (batch * batch * 400 + map * 17) as usize;
    block(partition, attempt(map, attempt_number), batch, length)
}

impl Model {
    pub(crate) fn push(&mut self, ids: &[(u32, u32, u32, u32)]) -> Option<Kind> {
        let discarded = ids.iter().any(|id| self.discarded.contains(&(id.1, id.2)));
        let new = ids.iter().any(|id| !self.blocks.contains_key(id));
        if self.deleted || discarded || (self.sealed && new) {
            self.known |= !self.deleted;
            return Some(Kind::Fenced);
        }
        self.known = true;
        for id in ids {
            if self.blocks.insert(*id, make(*id)).is_none() {
                self.arrivals.push(*id);
            }
        }
        None
    }

    pub(crate) fn read(&self, partition: u32, maps: &[(u32, u32)]) -> Vec<Block> {
        let of = |(map, attempt): &(u32, u32)| {
            let at = |batch| (partition, *map, *attempt, batch);
            self.blocks.range(at(0)..=at(u32::MAX)).map(|(_, block)| block.clone())
        };
        maps.iter().flat_map(of).collect()
    }

    fn discard(&mut self, map: u32, attempt: u32) {
        if self.known && !self.deleted {
            self.blocks.retain(|id, _| (id.1, id.2) != (map, attempt));
            self.arrivals.retain(|id| (id.1, id.2) != (map, attempt));
            self.discarded.insert((map, attempt));
        }
    }
}

pub(crate) async fn apply(worker: &Arc<ShuffleWorker>, model: &mut Model, step: Step) {
    match step {
        Step::Push(ids) => {
            let pushed = worker.push(ids.iter().map(|id| make(*id)).collect()).await;
            assert_eq!(pushed.err().map(|e| e.kind()), model.push(&ids));
        }
        Step::Read(partition, maps) => {
            let request: Vec<_> = maps.iter().map(|(m, a)| attempt(*m, *a)).collect();
            match read(worker, partition, Some(&request)).await {
                Ok(blocks) => assert!(same(&blocks, &model.read(partition, &maps))),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Lost);
                    assert!(model.deleted || !model.known, "{error}");
                }
            }
        }
        Step::Follow(partition) if model.sealed && !model.deleted => {
            let blocks = read(worker, partition, None).await.expect("sealed, so it ends");
            let mine = model.arrivals.iter().filter(|id| id.0 == partition);
            let expected: Vec<_> = mine.map(|id| make(*id)).collect();
            assert!(same(&blocks, &expected));
        }
        Step::Follow(_) => {}
        Step::Discard(map, number) => {
            worker.discard(shuffle(1), attempt(map, number)).await.expect("repeatable");
            model.discard(map, number);
        }
        Step::Flush => worker.flush().await.expect("the disk works"),
        Step::Seal => {
            let sealed = worker.seal(shuffle(1)).await;
            assert_eq!(sealed.is_err(), model.deleted);
            model.sealed = true;
            model.known = true;
        }
        Step::Delete => {
            worker.delete_query(shuffle(1).query).await.expect("repeatable");
            *model = Model { deleted: true, known: true, ..Model::default() };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a place to write");
        runtime.block_on(async {
            // Room for four of the largest pushes: some histories flush by themselves, too.
            let worker = on_disk(200_000, directory.path());
            let mut model = Model::default();
            for step in steps {
                apply(&worker, &mut model, step).await;
            }
            assert_eq!(worker.stats().blocks, model.blocks.len() as u64);
            worker.delete_query(shuffle(1).query).await.expect("works");
            let stats = worker.stats();
            assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.blocks), (0, 0, 0));
        });
    }
}
