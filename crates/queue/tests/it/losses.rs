//! Shuffle workers that die with what they hold, and what each task's rows were made of: so that a
//! result which mixes rows of two runs is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use dunlin_base::{Env, Error, StageId};
use dunlin_proto::output::{Location, MapOutput, StageOutput};
use dunlin_proto::shuffle::MapAttempt;
use dunlin_queue::{ClaimedSlices, InputStage, Lost, Missing};
use parking_lot::Mutex;

use crate::toy::Graph;

/// Workers alive at any time.
const WORKERS: u64 = 3;

/// A map's output by (stage, first slice, attempt).
type Map = (u32, u32, u32);

#[derive(Default)]
struct State {
    /// Numbers of workers, each used once.
    alive: BTreeSet<u64>,
    next: u64,
    killed: u32,
    /// What each slice of an output holds, as a hash.
    rows: BTreeMap<Map, BTreeMap<u32, u64>>,
}

pub(crate) struct Losses {
    graph: Graph,
    env: Env,
    state: Mutex<State>,
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn names(map: &MapOutput) -> impl Iterator<Item = u32> + use<> {
    map.first_slice..map.first_slice + map.slice_count
}

impl Losses {
    pub(crate) fn new(graph: Graph, env: Env) -> Self {
        let state = State { alive: (0..WORKERS).collect(), next: WORKERS, ..State::default() };
        Self { graph, env, state: Mutex::new(state) }
    }

    /// A worker dies, and another one comes.
    pub(crate) fn kill(&self) -> u64 {
        let nth = self.env.random_below(WORKERS) as usize;
        let mut state = self.state.lock();
        let victim = state.alive.iter().nth(nth).copied().expect("as many as ever");
        state.alive.remove(&victim);
        let next = state.next;
        state.alive.insert(next);
        state.next += 1;
        state.killed += 1;
        victim
    }

    pub(crate) fn killed(&self) -> u32 {
        self.state.lock().killed
    }

    /// Gives an output its worker, or two that each hold it, and notes what its rows are made of.
    pub(crate) fn write(&self, claim: &ClaimedSlices, output: &mut MapOutput) {
        let nth = self.env.random_below(WORKERS) as usize;
        let twice = self.env.random_below(4) == 0;
        let mut state = self.state.lock();
        let name = |nth| format!("w{}", state.alive.iter().nth(nth).expect("as many as ever"));
        let next = (nth + 1) % WORKERS as usize;
        let peer = if twice { name(next) } else { String::new() };
        // Of these, too, nobody may be left.
        let in_object_store = peer.is_empty() && nth % 2 == 1;
        output.locations = vec![Location { worker: name(nth), peer, in_object_store }];
        // The rows of a result may travel in its record: no worker's death takes them.
        let is_result = claim.stage.0 as usize + 1 == self.graph.stages.len();
        output.inlined = is_result && self.env.random_below(10) < 4;
        let inputs: Vec<u64> = claim.inputs.iter().map(|input| state.content(input)).collect();
        let stage = claim.stage.0;
        let run = (!self.graph.is_determinate(stage)).then_some((claim.segment, claim.attempt));
        let rows = names(output).map(|slice| (slice, hash((stage, slice, run, &inputs))));
        let rows = rows.collect();
        state.rows.insert((stage, output.first_slice, output.attempt), rows);
    }

    /// What a reader of these inputs does not find: sometimes it can tell a worker that is gone,
    /// sometimes only some maps.
    pub(crate) fn missing(&self, inputs: &[InputStage]) -> Option<Missing> {
        let state = self.state.lock();
        for input in inputs {
            let gone = |map: &&MapOutput| {
                let holds = |worker: &String| !worker.is_empty() && state.is_alive(worker);
                let copy = |at: &Location| holds(&at.worker) || holds(&at.peer);
                !map.inlined && !map.locations.iter().all(copy)
            };
            let lost: Vec<&MapOutput> = input.output.maps.iter().filter(gone).collect();
            let Some(first) = lost.first() else { continue };
            let what = if self.env.random_below(2) == 0 {
                let at = &first.locations[0];
                let gone = vec![at.worker.clone(), at.peer.clone()];
                match at.in_object_store {
                    true => Lost::Estates(gone),
                    false => Lost::Workers(gone),
                }
            } else {
                let attempt = |map: &&MapOutput| MapAttempt {
                    map: map.first_slice,
                    attempt: dunlin_base::Attempt(map.attempt),
                };
                Lost::Maps(lost.iter().map(attempt).collect())
            };
            let cause = Error::lost("the worker is gone");
            return Some(Missing { stage: input.stage, epoch: input.epoch, what, cause });
        }
        None
    }

    /// Whatever is in the final outputs was made of what is in the final outputs of its inputs.
    pub(crate) fn check(&self, sealed: &BTreeMap<u32, StageOutput>) -> Vec<String> {
        let state = self.state.lock();
        let mut wrong = Vec::new();
        for (stage, output) in sealed {
            let reads = &self.graph.stages[*stage as usize].0;
            let inputs: Vec<u64> = reads.iter().map(|i| state.content_of(*i, &sealed[i])).collect();
            for map in &output.maps {
                let rows = &state.rows[&(*stage, map.first_slice, map.attempt)];
                for (slice, content) in rows {
                    let run = (!self.graph.is_determinate(*stage)).then_some(map.attempt);
                    let made_of_these = match run {
                        None => *content == hash((stage, slice, None::<(u32, u32)>, &inputs)),
                        Some(attempt) => (0..256_u32).any(|segment| {
                            let run = Some((segment, dunlin_base::Attempt(attempt)));
                            *content == hash((stage, slice, run, &inputs))
                        }),
                    };
                    if !made_of_these {
                        wrong.push(format!("slice {slice} of stage {stage} is of other inputs"));
                    }
                }
            }
        }
        wrong
    }
}

impl State {
    fn is_alive(&self, worker: &str) -> bool {
        let number = worker.strip_prefix('w').and_then(|number| number.parse().ok());
        number.is_some_and(|number: u64| self.alive.contains(&number))
    }

    fn content(&self, input: &InputStage) -> u64 {
        self.content_of(input.stage.0, &input.output)
    }

    /// What an output holds, slice by slice, however its slices were put together.
    fn content_of(&self, stage: u32, output: &StageOutput) -> u64 {
        let maps = output.maps.iter();
        let rows = maps.flat_map(|map| &self.rows[&(stage, map.first_slice, map.attempt)]);
        hash(rows.collect::<BTreeMap<_, _>>())
    }
}

/// The result of a query as a reader of it.
pub(crate) fn as_input(ended: &dunlin_queue::Ended) -> Option<InputStage> {
    let (stage, epoch, output) = ended.result.clone()?;
    Some(InputStage { stage: StageId(stage.0), epoch, output: std::sync::Arc::new(output) })
}
