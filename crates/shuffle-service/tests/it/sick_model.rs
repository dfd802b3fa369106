//! Random histories of one worker on sick disks and a sick store, against the same map in memory: an
//! answer may be an error, if a fault was met, and never wrong.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_shuffle_service::{Class, DiskOptions, WhenFull};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::model::{Model, Step, apply, make, step};
use super::moody::{Fault, Ward};
use super::odd::Odd;
use super::*;

#[derive(Clone, Debug)]
enum Event {
    Step(Step),
    /// The fault of this index strikes so many times from now on.
    Strike(usize, u32),
    Full(usize, bool),
    Wait(u64),
    Heal,
}

#[derive(Clone, Debug)]
struct Setting {
    sync: bool,
    evict: bool,
    store: bool,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        // Few histories end early.
        48 => step().prop_map(|step| match step {
            Step::Seal | Step::Delete => Event::Step(Step::Flush),
            step => Event::Step(step),
        }),
        1 => prop_oneof![Just(Step::Seal), Just(Step::Delete)].prop_map(Event::Step),
        12 => (0..FAULTS, 1..5_u32).prop_map(|(fault, times)| Event::Strike(fault, times)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(disk, full)| Event::Full(disk, full)),
        1 => (1..40_u64).prop_map(Event::Wait),
        1 => Just(Event::Heal),
    ]
}

const FAULTS: usize = 16;

/// The first one that strikes at reads.
const READS: usize = 10;

/// All that can strike: those from [`READS`] on at reads.
fn faults<'a>(ward: &'a Ward, odd: &'a Odd) -> [&'a Fault; FAULTS] {
    let [one, two] = [&ward.moods[0], &ward.moods[1]];
    let store = &odd.0;
    [
        &one.writes,
        &two.writes,
        &one.syncs,
        &two.syncs,
        &one.creates,
        &two.creates,
        &one.truncates,
        &two.truncates,
        &store.puts,
        &store.lost,
        &one.reads,
        &two.reads,
        &one.flips,
        &two.flips,
        &store.gets,
        &store.absent,
    ]
}

struct Bench {
    ward: Ward,
    odd: Odd,
    model: Model,
}

impl Bench {
    fn new(setting: &Setting) -> Self {
        let odd = Odd::default();
        let mut objects = odd.options();
        objects.tries = 2;
        let options = Options {
            sync: setting.sync,
            when_full: if setting.evict { WhenFull::Evict } else { WhenFull::WriteOn },
            objects: setting.store.then_some(objects),
            extent_bytes: ByteCount(15_000),
            flush_bytes: ByteCount(8_000),
            ..Options::new(ByteCount(60_000))
        };
        let disk = |(class, capacity)| DiskOptions {
            class,
            capacity: Some(ByteCount(capacity)),
            reserve: ByteCount(0),
            ..DiskOptions::new("moody")
        };
        let ward = Ward::new(options, &[(Class::Ssd, 20_000), (Class::Hdd, 30_000)].map(disk));
        Self { ward, odd, model: Model::default() }
    }

    /// How often reads were struck.
    fn struck(&self) -> u32 {
        faults(&self.ward, &self.odd)[READS..].iter().map(|fault| fault.fired()).sum()
    }

    async fn meet(&mut self, event: Event) {
        let worker = &self.ward.worker;
        match event {
            Event::Strike(fault, times) => faults(&self.ward, &self.odd)[fault].fail(times),
            Event::Full(disk, full) => self.ward.moods[disk].full.store(full, SeqCst),
            Event::Wait(seconds) => Env::seeded(1).sleep(Duration::from_secs(seconds)).await,
            Event::Heal => self.heal(),
            Event::Step(Step::Push(ids)) => {
                let pushed = worker.push(ids.iter().map(|id| make(*id)).collect()).await;
                match pushed.err().map(|e| e.kind()) {
                    // Nothing of it is stored; that the shuffle is known does not matter.
                    Some(Kind::Exhausted) => self.model.known |= !self.model.deleted,
                    kind => assert_eq!(kind, self.model.push(&ids)),
                }
            }
            Event::Step(Step::Read(partition, maps)) => {
                let before = self.struck();
                let request: Vec<_> = maps.iter().map(|(m, a)| attempt(*m, *a)).collect();
                match read(worker, partition, Some(&request)).await {
                    Ok(blocks) => assert!(same(&blocks, &self.model.read(partition, &maps))),
                    Err(error) => {
                        assert!(matches!(error.kind(), Kind::Lost | Kind::Retry), "{error}");
                        let absent = self.model.deleted || !self.model.known;
                        assert!(absent || self.struck() > before, "{error}");
                    }
                }
            }
            // Reads what it is to compare, and does not say how often it was struck.
            Event::Step(Step::Follow(_)) => {}
            Event::Step(Step::Flush) => {
                let flushed = worker.flush().await;
                assert!(flushed.is_ok() || self.anything_struck());
            }
            Event::Step(step) => apply(worker, &mut self.model, step).await,
        }
    }

    fn anything_struck(&self) -> bool {
        let struck = faults(&self.ward, &self.odd).iter().any(|fault| fault.fired() > 0);
        // Without a store the disks are simply too small.
        struck || self.ward.moods.iter().any(|mood| mood.full.load(SeqCst)) || self.is_full()
    }

    fn is_full(&self) -> bool {
        let stats = self.ward.worker.stats();
        stats.objects.is_none() && stats.disk_bytes + stats.memory_bytes > 20_000
    }

    fn heal(&self) {
        self.odd.heal();
        self.ward.moods.iter().for_each(|mood| mood.heal());
    }

    /// All is well again: what was acknowledged is there, and nothing else is.
    async fn check(self) -> [u32; FAULTS] {
        self.heal();
        Env::seeded(1).sleep(Duration::from_secs(85)).await;
        let fired = faults(&self.ward, &self.odd).map(Fault::fired);
        let worker = &self.ward.worker;
        assert_eq!(worker.stats().blocks, self.model.blocks.len() as u64);
        let maps = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];
        let request = maps.map(|(m, a)| attempt(m, a));
        for partition in 0..3 {
            match read(worker, partition, Some(&request)).await {
                Ok(blocks) => assert!(same(&blocks, &self.model.read(partition, &maps))),
                Err(error) => assert!(self.model.deleted || !self.model.known, "{error}"),
            }
        }
        worker.delete_query(shuffle(1).query).await.expect("works");
        assert!(self.odd.objects().await.is_empty(), "objects are left");
        self.ward.ends_clean().await;
        fired
    }
}

#[test]
fn any_history_on_sick_places_reads_like_a_map_or_fails_for_a_reason() {
    let setting = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(sync, evict, store)| Setting { sync, evict, store });
    let histories = (setting, prop::collection::vec(event(), 1..80));
    let total = std::cell::RefCell::new([0; FAULTS]);
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&histories, |(setting, events)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let fired = runtime.block_on(async {
            let mut bench = Bench::new(&setting);
            for event in events {
                bench.meet(event).await;
            }
            bench.check().await
        });
        total.borrow_mut().iter_mut().zip(fired).for_each(|(sum, fired)| *sum += fired);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let total = total.into_inner();
    assert!(total.iter().all(|fired| *fired > 0), "a fault that was never met: {total:?}");
}
