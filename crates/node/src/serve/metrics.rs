//! What a shuffle worker counts, as metrics. Made anew for each reader of `/metrics`.

use std::sync::atomic::AtomicU64;

use dunlin_shuffle::TrafficStats;
use dunlin_shuffle_service::{
    Class, DiskState, DiskStats, DoorStats, ObjectStats, ShuffleWorker, Stats,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Name and help.
type Named = (&'static str, &'static str);

type Labels = Vec<(&'static str, String)>;

type OfDisk = fn(&DiskStats) -> u64;

/// A value by label values.
type Value = (Labels, u64);

const STATES: [(&str, DiskState); 3] =
    [("good", DiskState::Good), ("full", DiskState::Full), ("isolated", DiskState::Isolated)];

/// A value that goes up and down.
pub(super) fn gauge(registry: &mut Registry, (name, help): Named, value: u64) {
    registry.register(name, help, filled(value));
}

/// Everything of a worker, and of its door, if it has one.
pub(super) fn register(registry: &mut Registry, worker: &ShuffleWorker, door: Option<DoorStats>) {
    let stats = worker.stats();
    bytes(registry, ("shuffle_memory", "Shuffle blocks in memory"), stats.memory_bytes);
    bytes(registry, ("shuffle_disk", "Shuffle blocks on disk"), stats.disk_bytes);
    gauge(registry, ("shuffle_blocks", "Shuffle blocks"), stats.blocks);
    let draining = u64::from(worker.is_draining());
    gauge(registry, ("shuffle_draining", "The worker refuses pushes: it is to go"), draining);
    tiers(registry, &stats);
    transit(registry, &stats, door);
    answers(registry, &stats);
    waits(registry, &stats, door);
    disks(registry, &stats.disks);
    if let Some(objects) = &stats.objects {
        object_store(registry, objects);
        adoptions(registry, &stats);
    }
    if let Some(door) = &door {
        super::door_metrics::register(registry, door);
    }
}

/// What the writers of all executors of a process have encoded.
pub(super) fn traffic(registry: &mut Registry, all: impl Iterator<Item = TrafficStats>) {
    let all: Vec<_> = all.collect();
    let sum = |of: fn(&TrafficStats) -> u64| counted(all.iter().map(of).sum());
    let before = "Bytes of rows that were encoded to shuffle blocks, as Arrow has them";
    registry.register_with_unit("shuffle_rows", before, Unit::Bytes, sum(|t| t.rows_bytes));
    let after = "Bytes of the bodies of shuffle blocks that were written";
    registry.register_with_unit("shuffle_encoded", after, Unit::Bytes, sum(|t| t.body_bytes));
    registry.register("shuffle_encoded_blocks", "Shuffle blocks written", sum(|t| t.blocks));
    let slowest = all.iter().map(|t| t.link_bytes_s).filter(|speed| *speed > 0).min();
    let about = "Bytes a second to the slowest shuffle worker that took pushes in the last minute";
    gauge(registry, ("shuffle_link_speed", about), slowest.unwrap_or(0));
    let about = "Pushes that a shuffle worker told to wait";
    registry.register("shuffle_writer_pauses", about, sum(|t| t.pauses));
    let seconds: Counter<f64, AtomicU64> = Counter::default();
    seconds.inc_by(all.iter().map(|t| t.paused_us).sum::<u64>() as f64 / 1e6);
    let about = "How long they waited, each from that word on";
    registry.register_with_unit("shuffle_writer_paused", about, Unit::Seconds, seconds);
    let now = all.iter().map(|t| t.paused_now).sum();
    gauge(registry, ("shuffle_writer_waiting", "Those of them that wait now"), now);
}

fn tiers(registry: &mut Registry, stats: &Stats) {
    let objects = stats.objects.as_ref().map(|objects| objects.used);
    let tiers = [
        ("memory", Some(stats.memory_bytes)),
        ("disks", (!stats.disks.is_empty()).then_some(stats.disk_bytes)),
        ("objects", objects),
    ];
    let values = tiers.into_iter().filter_map(|(tier, bytes)| Some((label("tier", tier), bytes?)));
    let family = gauges(values);
    registry.register_with_unit("shuffle_tier", "Shuffle data by tier", Unit::Bytes, family);
}

fn transit(registry: &mut Registry, stats: &Stats, door: Option<DoorStats>) {
    let pushes = door.map(|door| ("pushes", door.bytes_held, door.bytes_held_max));
    let all = stats.transit.iter().map(|share| (share.what, share.used, share.limit));
    let all: Vec<_> = all.chain(pushes).collect();
    let now = gauges(all.iter().map(|(what, used, _)| (label("of", what), *used)));
    let about = "Shuffle data on their way, beside what is stored";
    registry.register_with_unit("shuffle_transit", about, Unit::Bytes, now);
    let most = gauges(all.iter().map(|(what, _, limit)| (label("of", what), *limit)));
    let about = "How much may be on its way; who needs more waits";
    registry.register_with_unit("shuffle_transit_limit", about, Unit::Bytes, most);
}

fn answers(registry: &mut Registry, stats: &Stats) {
    let answers = &stats.answers;
    let acks =
        [("memory", answers.in_memory), ("twice", answers.twice), ("object", answers.in_object)];
    let acks = acks.map(|(level, count)| (label("level", level), count));
    let about = "Pushes acknowledged, by what their blocks survive";
    registry.register("shuffle_acks", about, counters(acks));
    let refusals = [
        ("large", answers.too_large),
        ("draining", answers.draining),
        ("disk", answers.disk),
        ("peer", answers.peer),
        ("memory", answers.no_memory),
    ];
    let refusals = refusals.map(|(reason, count)| (label("reason", reason), count));
    registry.register("shuffle_refusals", "Pushes not taken, by reason", counters(refusals));
    let splits = [("soft", answers.moves), ("hard", answers.too_large)];
    let splits = splits.map(|(kind, count)| (label("kind", kind), count));
    let about = "Partitions sent on soon (soft), pushes sent on at once (hard), for their size";
    registry.register("shuffle_splits", about, counters(splits));
    let counts: [(Named, u64); 4] = [
        (("shuffle_flushes", "Writes out of memory"), stats.flushes),
        (("shuffle_duplicates", "Blocks pushed again"), stats.duplicates),
        (("shuffle_corrupt", "Blocks that failed verification"), stats.corrupt),
        (("shuffle_peer_failures", "Second copies not taken by the peer"), stats.peer_failures),
    ];
    for ((name, help), count) in counts {
        registry.register(name, help, counted(count));
    }
}

/// Pushes that wait: for memory, or at the door for room.
fn waits(registry: &mut Registry, stats: &Stats, door: Option<DoorStats>) {
    let room = door.map(|door| ("room", door.waiting, door.paused));
    let all: Vec<_> = [("memory", stats.waiting, stats.paused)].into_iter().chain(room).collect();
    let now = gauges(all.iter().map(|(what, now, _)| (label("of", what), *now)));
    registry.register("shuffle_pushes_waiting", "Pushes that wait, for memory or room", now);
    let told = counters(all.iter().map(|(what, _, told)| (label("of", what), *told)));
    let about = "Pushes that waited for it so long that their writers were told";
    registry.register("shuffle_pushes_paused", about, told);
}

fn disks(registry: &mut Registry, disks: &[DiskStats]) {
    let state = |disk: &DiskStats| {
        STATES.map(|(name, state)| {
            let mut labels = of(disk);
            labels.push(("state", name.to_owned()));
            (labels, u64::from(disk.state == state))
        })
    };
    let states = gauges(disks.iter().flat_map(state));
    registry.register("shuffle_disk_state", "1 for the state that a disk is in", states);
    let each = |value: OfDisk| disks.iter().map(move |disk| (of(disk), value(disk)));
    let sizes: [(Named, OfDisk); 3] = [
        (("shuffle_disk_used", "Shuffle data on a disk"), |disk| disk.used),
        (("shuffle_disk_free", "Free space of a disk's file system"), |disk| disk.free),
        (("shuffle_disk_room", "What the worker may still write to a disk"), |disk| disk.room),
    ];
    for ((name, help), value) in sizes {
        registry.register_with_unit(name, help, Unit::Bytes, gauges(each(value)));
    }
    let speeds = gauges(each(|disk| disk.speed));
    let about = "Bytes per second of recent writes to a disk; 0: not known";
    registry.register("shuffle_disk_write_speed", about, speeds);
    let queues = gauges(each(|disk| disk.queue));
    registry.register("shuffle_disk_queue", "Calls of a disk under way", queues);
    let written = counters(each(|disk| disk.written));
    let about = "Shuffle data written to a disk";
    registry.register_with_unit("shuffle_disk_written", about, Unit::Bytes, written);
    let errors = counters(each(|disk| disk.errors));
    registry.register("shuffle_disk_errors", "Calls and probes of a disk that failed", errors);
}

fn of(disk: &DiskStats) -> Labels {
    let class = match disk.class {
        Class::Ssd => "ssd",
        Class::Hdd => "hdd",
    };
    vec![("disk", disk.path.display().to_string()), ("class", class.to_owned())]
}

fn object_store(registry: &mut Registry, objects: &ObjectStats) {
    let resting = u64::from(objects.resting);
    gauge(registry, ("shuffle_object_resting", "The object store failed a moment ago"), resting);
    gauge(registry, ("shuffle_object_queue", "Uploads under way"), objects.queue);
    let counts: [(Named, u64); 3] = [
        (("shuffle_object_uploads", "Objects written"), objects.uploads),
        (("shuffle_object_failures", "Objects that could not be written"), objects.failed_uploads),
        (("shuffle_object_errors", "Calls of the object store that failed"), objects.errors),
    ];
    for ((name, help), count) in counts {
        registry.register(name, help, counted(count));
    }
    let written = counted(objects.written);
    let about = "Shuffle data written to the object store";
    registry.register_with_unit("shuffle_object_written", about, Unit::Bytes, written);
}

fn adoptions(registry: &mut Registry, stats: &Stats) {
    let outcomes = [("done", stats.adoptions), ("failed", stats.adoption_failures)];
    let outcomes = outcomes.map(|(outcome, count)| (label("outcome", outcome), count));
    let about =
        "Times that objects of dead shuffle workers were taken in, or are to be tried again";
    registry.register("shuffle_adoptions", about, counters(outcomes));
    let counts: [(Named, u64); 2] = [
        (("shuffle_adopted_blocks", "Blocks of dead shuffle workers found"), stats.adopted_blocks),
        (("shuffle_adoption_refusals", "Objects of them left out"), stats.adoption_refusals),
    ];
    for ((name, help), count) in counts {
        registry.register(name, help, counted(count));
    }
}

pub(super) fn bytes(registry: &mut Registry, (name, help): Named, value: u64) {
    registry.register_with_unit(name, help, Unit::Bytes, filled(value));
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn filled(value: u64) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

pub(super) fn counted(value: u64) -> Counter {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    counter
}

fn gauges(values: impl IntoIterator<Item = Value>) -> Family<Labels, Gauge> {
    let family = Family::default();
    for (labels, value) in values {
        let gauge: &Gauge = &family.get_or_create_owned(&labels);
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    family
}

fn counters(values: impl IntoIterator<Item = Value>) -> Family<Labels, Counter> {
    let family = Family::default();
    for (labels, value) in values {
        let counter: &Counter = &family.get_or_create_owned(&labels);
        counter.inc_by(value);
    }
    family
}

#[cfg(test)]
mod tests {
    use dunlin_base::{ByteCount, Env};
    use dunlin_shuffle_service::{DiskOptions, Options};
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn a_worker_says_all_of_its_disks_tiers_and_answers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = Options::in_folder(ByteCount::mib(1), folder.path().join("a"));
        let slow = DiskOptions {
            class: Class::Hdd,
            reserve: ByteCount(u64::MAX),
            ..DiskOptions::new(folder.path().join("b"))
        };
        options.disks.push(slow);
        let env = Env::real(Some(tokio::runtime::Handle::current()));
        let worker = ShuffleWorker::new(options, env).expect("a worker");
        worker.drain();
        let push = dunlin_proto::shuffle::Push::plain(Vec::new());
        dunlin_proto::shuffle::ShuffleApi::store(worker.as_ref(), push).await.expect("an answer");
        let mut registry = Registry::default();
        register(&mut registry, &worker, None);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let disk = |path: &std::path::Path| path.join("dunlin-shuffle").display().to_string();
        for line in [
            "shuffle_draining 1".to_owned(),
            "shuffle_tier_bytes{tier=\"disks\"} 0".to_owned(),
            "shuffle_transit_bytes{of=\"reads\"} 0".to_owned(),
            format!("shuffle_transit_limit_bytes{{of=\"uploads\"}} {}", 16 << 20),
            "shuffle_refusals_total{reason=\"draining\"} 1".to_owned(),
            "shuffle_acks_total{level=\"memory\"} 0".to_owned(),
            "shuffle_pushes_waiting{of=\"memory\"} 0".to_owned(),
            "shuffle_pushes_paused_total{of=\"memory\"} 0".to_owned(),
            "shuffle_splits_total{kind=\"soft\"} 0".to_owned(),
            format!("shuffle_disk_state{{disk=\"{}\",class=\"ssd\",state=\"good\"}} 1", disk(&a)),
            format!("shuffle_disk_state{{disk=\"{}\",class=\"hdd\",state=\"full\"}} 1", disk(&b)),
            format!("shuffle_disk_room_bytes{{disk=\"{}\",class=\"hdd\"}} 0", disk(&b)),
            format!("shuffle_disk_errors_total{{disk=\"{}\",class=\"ssd\"}} 0", disk(&a)),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("shuffle_object"), "there is no object store: {text}");
    }
}
