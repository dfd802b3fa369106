//! A world: the store, the network, the tables, and a place for each process. All that differs from
//! seed to seed is drawn here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use dunlin_base::{ByteCount, Env, Result};
use dunlin_executor::ExecutorOptions;
use dunlin_metadata::sim::{Faults, SimStore};
use dunlin_planner::Settings;
use dunlin_queue::checker::Checker;
use dunlin_queue::{Role, Tuning};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parking_lot::Mutex;

use super::blobs::Heap;
use super::data::{LAKE, Oracle};
use super::process::{Process, executor_options};
use super::tally::Tally;
use super::weather::{Climate, Weather};
use super::wire::Network;

/// Time to live of all leases.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// Everything of one run.
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: SimStore,
    pub(crate) heap: Arc<Heap>,
    pub(crate) lake: Arc<InMemory>,
    /// Where shuffle workers of some seeds have their blocks, all of them.
    pub(crate) shelf: Option<Arc<InMemory>>,
    pub(crate) network: Arc<Network>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) checker: Checker,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) settings: Settings,
    pub(crate) tuning: Tuning,
    pub(crate) executor: ExecutorOptions,
    /// One place for each process, with its present life.
    pub(crate) places: Vec<Place>,
    pub(crate) tally: Mutex<Tally>,
    /// Nobody starts again.
    pub(crate) over: AtomicBool,
    /// Processes that were struck by being told to leave, and have not gone yet.
    pub(crate) leaving: AtomicUsize,
}

/// Where processes of a role live, one after the other.
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) name: &'static str,
    pub(crate) now: Mutex<Option<Arc<Process>>>,
}

const NAMES: [(Role, [&str; 3]); 3] = [
    (Role::Gateway, ["gw0", "gw1", "gw2"]),
    (Role::Executor, ["ex0", "ex1", "ex2"]),
    (Role::Shuffle, ["sh0", "sh1", "sh2"]),
];

impl World {
    /// The world of a seed, with its tables and no process.
    pub(crate) async fn new(seed: u64, oracle: Arc<Oracle>) -> Result<Self> {
        let env = Env::seeded(seed);
        let store = SimStore::new(env.clone());
        let heap: Arc<Heap> = Arc::default();
        let checker = Checker::watch(&store, Arc::clone(&heap) as _, env.clone());
        let lake = Arc::new(InMemory::new());
        for (path, bytes) in &oracle.files {
            let put = lake.put(&Path::from(path.as_str()), bytes.clone().into()).await;
            put.map_err(|e| dunlin_base::Error::bug("memory takes no file").with_source(e))?;
        }
        Ok(Self {
            settings: settings(&env, &oracle),
            tuning: tuning(&env),
            executor: executor(&env),
            places: places(&env),
            weather: Arc::new(Weather::new(env.clone())),
            network: Arc::default(),
            tally: Mutex::default(),
            over: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
            oracle,
            checker,
            heap,
            lake,
            // Not by chance: that would change what all seeds do.
            shelf: seed.is_multiple_of(3).then(Arc::default),
            store,
            env,
        })
    }

    /// True so often in a thousand.
    pub(crate) fn chance(&self, thousandths: u64) -> bool {
        self.env.random_below(1000) < thousandths
    }

    /// A time of at least `from` and less than `to` milliseconds.
    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.env.random_below(to - from))
    }

    /// The living processes of a role.
    pub(crate) fn alive(&self, role: Role) -> Vec<Arc<Process>> {
        let places = self.places.iter().filter(|place| place.role == role);
        let lives = places.filter_map(|place| place.now.lock().clone());
        lives.filter(|process| !process.link.is_dead()).collect()
    }

    /// Any of them.
    pub(crate) fn any(&self, role: Role) -> Option<Arc<Process>> {
        let mut alive = self.alive(role);
        let nth = self.env.random_below(alive.len() as u64) as usize;
        (!alive.is_empty()).then(|| alive.swap_remove(nth))
    }

    /// The store and the network get as bad as they will be.
    pub(crate) fn storm(&self) {
        let below = |max| self.env.random_below(max);
        self.store.set_faults(Faults {
            delay_before_max: Duration::from_millis(1 + below(30)),
            delay_after_max: Duration::from_millis(1 + below(30)),
            refused: below(30),
            lost_acknowledgement: below(40),
            late: below(20),
            late_max: Duration::from_millis(below(15_000)),
            watch_dropped: below(150),
            watch_delay_max: Duration::from_millis(below(300)),
        });
        self.weather.set(Climate {
            delay_max: Duration::from_millis(1 + below(40)),
            refused: below(20),
            unanswered: below(20),
            flipped: below(30),
        });
    }

    /// Nothing goes wrong any more, but calls still take their time.
    pub(crate) fn calm(&self) {
        let few = Duration::from_millis(3);
        let faults = Faults { delay_before_max: few, delay_after_max: few, ..Faults::default() };
        self.store.set_faults(faults);
        self.weather.set(Climate { delay_max: few, ..Climate::default() });
        for place in &self.places {
            if let Some(process) = place.now.lock().as_ref() {
                process.link.heal();
            }
        }
    }
}

fn settings(env: &Env, oracle: &Oracle) -> Settings {
    let broadcast = env.random_below(2) == 0;
    let partitions = 2 + env.random_below(4) as usize;
    Settings {
        partitions,
        batch_size: 16 + env.random_below(64) as usize,
        slice_bytes: ByteCount(512 + env.random_below(4096)),
        broadcast_bytes: ByteCount(if broadcast { 10 << 20 } else { 0 }),
        broadcast_rows: if broadcast { 1000 } else { 0 },
        collapse_bytes: ByteCount(oracle.small_bytes),
        shuffle_copies: 1 + env.random_below(2) as u32,
        // Not by chance: that would change what all seeds do.
        shuffle_encoding: ["auto", "plain", "lz4", "zstd"][partitions % 4].to_owned(),
        warehouse: format!("{LAKE}/made"),
        ..Settings::default()
    }
}

/// Short holds, so that the end of a run comes soon; longer than any pause of a process, which may
/// be in the middle of a publication.
fn tuning(env: &Env) -> Tuning {
    Tuning {
        segment_slices: 1 + env.random_below(4) as u32,
        hold: Duration::from_secs(120),
        grace: Duration::from_secs(120),
        ..Tuning::default()
    }
}

fn executor(env: &Env) -> ExecutorOptions {
    let inline = if env.random_below(2) == 0 { 0 } else { 32 << 10 };
    let task = if env.random_below(3) == 0 { 2048 } else { 256 << 20 };
    ExecutorOptions {
        slots: 1 + env.random_below(3) as u32,
        inline_result_bytes: ByteCount(inline),
        task_bytes: ByteCount(task),
        ..executor_options(TTL)
    }
}

/// Two or three gateways and executors, one to three shuffle workers.
fn places(env: &Env) -> Vec<Place> {
    let mut places = Vec::new();
    for (role, names) in NAMES {
        let least = if role == Role::Shuffle { 1 } else { 2 };
        let more = env.random_below(names.len() as u64 + 1 - least);
        let count = (least + more) as usize;
        let place = |name: &&'static str| Place { role, name, now: Mutex::new(None) };
        places.extend(names.iter().take(count).map(place));
    }
    places
}
