//! What the Celeborn door counts, as metrics: under names of ours, and under those that Celeborn's own
//! servers have, so that dashboards go on.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use dunlin_celeborn_service::{MasterStats, Times, WorkerStats};
use dunlin_shuffle_service::ShuffleWorker;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{counted, gauge};

type Labels = [(&'static str, &'static str); 1];

/// What Celeborn calls a value, with the ending that it gives to values of that kind; the role; it.
type Known = (&'static str, &'static str, u64);

/// What Celeborn's servers would say. A name that masters and workers have comes once, with both.
#[derive(Default)]
pub(super) struct Theirs {
    counts: BTreeMap<&'static str, Vec<(&'static str, u64)>>,
    /// Times in milliseconds; no role has a name of the other's.
    times: Vec<(String, &'static str, f64)>,
}

/// What Celeborn calls the shares of [`Times::percentiles`].
const PERCENTILES: [&str; 6] = ["50th", "75th", "95th", "98th", "99th", "999th"];

impl Theirs {
    fn add(&mut self, all: impl IntoIterator<Item = Known>) {
        for (name, role, value) in all {
            self.counts.entry(name).or_default().push((role, value));
        }
    }

    /// How long things of a role take.
    pub(super) fn time(&mut self, role: &'static str, all: Vec<(&'static str, Times)>) {
        for (name, Times { count, mean, max, percentiles }) in all {
            let millis = |micros: u64| micros as f64 / 1000.0;
            let mut add = |ending: String, value| {
                self.times.push((format!("{name}_{ending}"), role, value));
            };
            add("Count".to_owned(), count as f64);
            add("Mean".to_owned(), millis(mean));
            add("Max".to_owned(), millis(max));
            for (share, micros) in PERCENTILES.into_iter().zip(percentiles) {
                add(format!("{share}Percentile"), millis(micros));
            }
        }
    }

    /// Under the names that dashboards of Celeborn ask for.
    pub(super) fn register(self, registry: &mut Registry) {
        let theirs = registry.sub_registry_with_prefix("metrics");
        for (name, values) in self.counts {
            // Counters, too: the name of one would end otherwise than Celeborn's does.
            let family = Family::<Labels, Gauge>::default();
            for (role, value) in values {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                family.get_or_create(&[("role", role)]).set(value);
            }
            theirs.register(name, "As Celeborn has it", family);
        }
        for (name, role, value) in self.times {
            let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
            family.get_or_create(&[("role", role)]).set(value);
            theirs.register(
                name,
                "Of the last minutes, in milliseconds, as Celeborn has it",
                family,
            );
        }
    }
}

/// Everything of a master.
pub(super) fn master(ours: &mut Registry, theirs: &mut Theirs, stats: &MasterStats) {
    for (name, help, value) in [
        ("celeborn_applications", "Applications that are alive", stats.applications),
        ("celeborn_shuffles", "Shuffles of applications that have slots", stats.shuffles),
        ("celeborn_workers", "Workers that serve Celeborn's clients", stats.workers),
        ("celeborn_workers_available", "Those that are given partitions", stats.available),
    ] {
        gauge(ours, (name, help), value);
    }
    let role = |(name, value)| (name, "Master", value);
    let known = [
        ("WorkerCount_Value", stats.workers),
        ("AvailableWorkerCount_Value", stats.available),
        ("ExcludedWorkerCount_Value", stats.excluded),
        ("ShutdownWorkerCount_Value", stats.going),
        ("DecommissionWorkerCount_Value", stats.decommissioning),
        ("RegisteredShuffleCount_Value", stats.shuffles),
        ("RunningApplicationCount_Value", stats.applications),
        // Each of them answers.
        ("IsActiveMaster_Value", 1),
    ];
    theirs.add(known.map(role));
}

/// Everything of a worker.
pub(super) fn worker(ours: &mut Registry, stats: &WorkerStats) {
    for (name, help, value) in [
        ("celeborn_streams", "Streams that clients read", stats.streams),
        ("celeborn_worker_shuffles", "Shuffles of applications on this worker", stats.shuffles),
        ("celeborn_open_locations", "Locations that take data", stats.open_locations),
    ] {
        gauge(ours, (name, help), value);
    }
    for (name, help, value) in [
        ("celeborn_pushes", "Pushes of clients that were stored", stats.pushes),
        ("celeborn_hard_splits", "Pushes that clients were to send elsewhere", stats.hard_splits),
        ("celeborn_push_failures", "Pushes that failed", stats.push_failures),
        ("celeborn_copies", "Second copies that were stored", stats.copies),
        ("celeborn_chunks", "Chunks sent to clients", stats.chunks),
        ("celeborn_chunk_failures", "Chunks that could not be sent", stats.chunk_failures),
    ] {
        ours.register(name, help, counted(value));
    }
    for (name, help, value) in [
        ("celeborn_pushed", "Bytes of pushes that were stored", stats.pushed_bytes),
        ("celeborn_fetched", "Bytes of chunks that were sent", stats.fetched_bytes),
    ] {
        ours.register_with_unit(name, help, Unit::Bytes, counted(value));
    }
}

/// The same in Celeborn's words.
pub(super) fn of_worker(theirs: &mut Theirs, stats: &WorkerStats, core: &ShuffleWorker) {
    let stored = core.stats();
    let free = stored.disks.iter().map(|disk| disk.room).sum();
    let [refused, broken, late, other] = stats.copy_failures;
    let role = |(name, value)| (name, "Worker", value);
    let now = [
        ("RegisteredShuffleCount_Value", stats.shuffles),
        ("ActiveShuffleFileCount_Value", stats.open_locations),
        ("ActiveShuffleSize_Value", stored.memory_bytes + stored.disk_bytes),
        ("ActiveChunkStreamCount_Value", stats.streams),
        ("ActiveSlotsCount_Value", stats.open_locations),
        ("SlotsAllocated_Value", stats.reserved),
        ("DiskBuffer_Value", stored.memory_bytes),
        ("DeviceCelebornFreeBytes_Value", free),
        ("IsHighWorkload_Value", u64::from(stats.full)),
        ("IsDecommissioningWorker_Value", u64::from(stats.draining)),
    ];
    theirs.add(now.map(role));
    let counts = [
        ("WriteDataSuccessCount_Count", stats.pushes + stats.copies),
        ("WriteDataFailCount_Count", stats.push_failures),
        ("WriteDataHardSplitCount_Count", stats.hard_splits),
        ("ReplicateDataFailCount_Count", stats.copy_failures.iter().sum()),
        ("ReplicateDataCreateConnectionFailCount_Count", refused),
        ("ReplicateDataConnectionExceptionCount_Count", broken),
        ("ReplicateDataTimeoutCount_Count", late),
        ("ReplicateDataFailNonCriticalCauseCount_Count", other),
        ("OpenStreamSuccessCount_Count", stats.opened[0]),
        ("OpenStreamFailCount_Count", stats.opened[1]),
        ("FetchLocalChunkSuccessCount_Count", stats.chunks),
        ("FetchLocalChunkFailCount_Count", stats.chunk_failures),
        ("CommitFilesFailCount_Count", stats.commits[1]),
    ];
    theirs.add(counts.map(role));
}

#[cfg(test)]
mod tests {
    use dunlin_base::{ByteCount, Env};
    use dunlin_shuffle_service::Options;
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn both_roles_of_a_process_say_a_name_once() {
        let env = Env::real(Some(tokio::runtime::Handle::current()));
        let core = ShuffleWorker::new(Options::new(ByteCount::mib(1)), env).expect("a worker");
        let (mut theirs, mut registry) = (Theirs::default(), Registry::default());
        let of_master = MasterStats { shuffles: 4, ..MasterStats::default() };
        let stats = WorkerStats { shuffles: 3, pushes: 7, ..WorkerStats::default() };
        let ours = registry.sub_registry_with_prefix("dunlin");
        master(ours, &mut theirs, &of_master);
        worker(ours, &stats);
        of_worker(&mut theirs, &stats, &core);
        let percentiles = [1_500, 2_000, 3_000, 3_000, 3_000, 3_000];
        let times = Times { count: 9, mean: 1_250, max: 3_000, percentiles };
        theirs.time("Worker", vec![("CommitFilesTime", times)]);
        theirs.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        for line in [
            "dunlin_celeborn_shuffles 4",
            "dunlin_celeborn_pushes_total 7",
            "metrics_RegisteredShuffleCount_Value{role=\"Master\"} 4",
            "metrics_RegisteredShuffleCount_Value{role=\"Worker\"} 3",
            "metrics_WriteDataSuccessCount_Count{role=\"Worker\"} 7",
            "metrics_CommitFilesTime_Count{role=\"Worker\"} 9.0",
            "metrics_CommitFilesTime_Mean{role=\"Worker\"} 1.25",
            "metrics_CommitFilesTime_Max{role=\"Worker\"} 3.0",
            "metrics_CommitFilesTime_50thPercentile{role=\"Worker\"} 1.5",
            "metrics_CommitFilesTime_999thPercentile{role=\"Worker\"} 3.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE metrics_Registered"));
        assert_eq!(types.count(), 1);
    }
}
