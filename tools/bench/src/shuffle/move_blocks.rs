//! Blocks to a worker and back: throughput, and the round trip of a small call.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use dunlin_base::{Attempt, ByteCount, Env, PartitionId};
use dunlin_proto::block::{Block, BlockId, Codec, HEADER_LEN, ShuffleId};
use dunlin_proto::shuffle::{MapAttempt, Push, ReadRequest, ShuffleApi};
use dunlin_shuffle_service::{DiskOptions, Options};
use futures::{StreamExt, TryStreamExt, stream};

use super::args::ShuffleArgs;
use super::bed::Bed;
use super::held::unsplit;
use super::limits::Limits;
use super::lines::{Line, Lines, Target, gb_s};
use super::usage::cpu_seconds;
use super::{BLOCKS, MERGED, SMALL};
use crate::clock::Stopwatch;
use crate::short::percentile;

/// Pushes of one client that wait for their answers at once.
const IN_FLIGHT: usize = 12;

/// Readers at once.
const READERS: [u32; 2] = [1, 4];

/// Maps that have written what is read.
const MAPS: u32 = 8;

const ATTEMPT: Attempt = Attempt(1);

/// Blocks of one size for one partition, gathered to pushes.
pub(super) struct Pushes {
    shuffle: ShuffleId,
    partition: PartitionId,
    body: Bytes,
    blocks: u64,
}

impl Pushes {
    pub(super) fn new(shuffle: ShuffleId, bytes: u64, block: ByteCount) -> Self {
        // Headers are part of a block's size, so that a push of small ones is as large as it says.
        let body = Bytes::from(vec![7; block.as_usize() - HEADER_LEN]);
        Self { shuffle, partition: PartitionId(0), body, blocks: (bytes / block.0).max(1) }
    }

    fn block(&self, number: u64) -> Block {
        let (map, batch) = (number as u32 % MAPS, number as u32 / MAPS);
        let Self { shuffle, partition, .. } = *self;
        let id = BlockId { shuffle, partition, map, attempt: ATTEMPT, batch };
        Block::new(id, 1, Codec::Plain, self.body.clone())
    }

    /// Those of one push.
    fn push(&self, number: u64) -> Vec<Block> {
        let each = self.blocks_a_push();
        (number * each..((number + 1) * each).min(self.blocks)).map(|n| self.block(n)).collect()
    }

    fn blocks_a_push(&self) -> u64 {
        (MERGED.0 / (self.body.len() + HEADER_LEN) as u64).max(1)
    }

    fn pushes(&self) -> u64 {
        self.blocks.div_ceil(self.blocks_a_push())
    }
}

/// Pushes all of them, some at once.
pub(super) async fn push_all(api: &Arc<dyn ShuffleApi>, pushes: Pushes) -> Result<()> {
    let pushes = &pushes;
    let one = |number| async move {
        let stored = api.store(Push::plain(pushes.push(number))).await?.stored();
        stored.map(drop).context("a push is refused")
    };
    stream::iter(0..pushes.pushes()).map(one).buffer_unordered(IN_FLIGHT).try_collect().await
}

/// Throughput of pushes to a worker in memory.
pub(super) async fn pushes(
    env: &Env,
    args: &ShuffleArgs,
    limits: &Limits,
    lines: &mut Lines,
) -> Result<()> {
    let bytes = args.sized(args.bytes);
    for block in [SMALL, BLOCKS[0], BLOCKS[1]] {
        let bed = Bed::new(env, vec![unsplit(ByteCount(4 * bytes))]).await?;
        let api = bed.api()?;
        let mut times = Vec::new();
        for run in 0..=lines.runs {
            let shuffle = bed.shuffle();
            let (cpu, watch) = (cpu_seconds()?, Stopwatch::start());
            push_all(&api, Pushes::new(shuffle, bytes, block)).await?;
            if run > 0 {
                times.push((watch.elapsed().as_secs_f64(), cpu_seconds()? - cpu));
            }
            bed.forget(shuffle.query).await?;
        }
        // Pushes are as large as the larger blocks: so is what they are held against.
        let piece = if block == SMALL { BLOCKS[1] } else { block };
        let what = match block == SMALL {
            true => format!("push of blocks of {block}, {MERGED} of them together"),
            false => format!("push of blocks of {block}"),
        };
        let target = (block != SMALL).then_some(Target::AtLeast(0.5));
        throughput(lines, what, bytes, times, (limits.socket(piece), target))?;
    }
    Ok(())
}

fn throughput(
    lines: &mut Lines,
    what: String,
    bytes: u64,
    mut times: Vec<(f64, f64)>,
    (limit, target): (f64, Option<Target>),
) -> Result<()> {
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, cpu) = *times.get(times.len() / 2).context("at least one run")?;
    let bytes_s = bytes as f64 / seconds;
    lines.add(Line {
        what,
        measured: gb_s(bytes_s),
        limit: gb_s(limit),
        ratio: Some(bytes_s / limit),
        target,
        cpu_s_per_gb: Some(cpu / (bytes as f64 / 1e9)),
    });
    Ok(())
}

/// Throughput of reads of sealed partitions in files that the page cache holds.
pub(super) async fn reads(
    env: &Env,
    args: &ShuffleArgs,
    limits: &Limits,
    lines: &mut Lines,
) -> Result<()> {
    std::fs::create_dir_all(&args.data)?;
    for (block, readers) in BLOCKS.into_iter().flat_map(|b| READERS.map(|readers| (b, readers))) {
        let bytes = args.sized(args.bytes);
        let folder = tempfile::tempdir_in(&args.data)?;
        let disks = vec![DiskOptions::new(folder.path())];
        let bed = Bed::new(env, vec![Options { disks, ..unsplit(ByteCount(2 * bytes)) }]).await?;
        let api = bed.api()?;
        let shuffle = bed.shuffle();
        for partition in 0..readers {
            let pushes = Pushes::new(shuffle, bytes / u64::from(readers), block);
            push_all(&api, Pushes { partition: PartitionId(partition), ..pushes }).await?;
        }
        api.seal(shuffle).await?;
        bed.workers[0].flush().await?;
        ensure!(bed.workers[0].stats().disk_bytes > 0, "nothing was written to the disk");
        let mut times = Vec::new();
        for run in 0..=lines.runs {
            let (cpu, watch) = (cpu_seconds()?, Stopwatch::start());
            let read = read_all(env, &api, shuffle, readers).await?;
            if run > 0 {
                times.push((watch.elapsed().as_secs_f64(), cpu_seconds()? - cpu));
            }
            ensure!(read >= bytes / block.0 * block.0 / 2, "{read} bytes were read");
        }
        bed.forget(shuffle.query).await?;
        let what = match readers {
            1 => format!("read of blocks of {block} from the page cache, 1 reader"),
            _ => format!("read of blocks of {block} from the page cache, {readers} readers"),
        };
        let limit = (limits.socket(block), Some(Target::AtLeast(0.6)));
        throughput(lines, what, bytes, times, limit)?;
    }
    Ok(())
}

/// Every reader takes a partition of its own. The bytes of all.
async fn read_all(
    env: &Env,
    api: &Arc<dyn ShuffleApi>,
    shuffle: ShuffleId,
    readers: u32,
) -> Result<u64> {
    let reader = |partition| {
        let api = Arc::clone(api);
        env.spawn("reader", async move {
            let maps = (0..MAPS).map(|map| MapAttempt { map, attempt: ATTEMPT }).collect();
            let partition = PartitionId(partition);
            let request = ReadRequest { shuffle, partition, maps: Some(maps) };
            let blocks = api.read(request).await?;
            let size =
                |sum, block: Block| async move { Ok(sum + (HEADER_LEN + block.body.len()) as u64) };
            blocks.try_fold(0, size).await
        })
    };
    let mut sum = 0;
    for reader in (0..readers).map(reader).collect::<Vec<_>>() {
        sum += reader.join().await.map_err(|panic| anyhow!("a reader: {panic}"))??;
    }
    Ok(sum)
}

/// Round trips of one small push after the other: from the thread of the sockets, as the bare socket's
/// are, and from another thread, as tasks push.
pub(super) async fn calls(
    env: &Env,
    args: &ShuffleArgs,
    limits: &Limits,
    lines: &mut Lines,
) -> Result<()> {
    let bed = Bed::new(env, vec![unsplit(ByteCount::mib(1024))]).await?;
    for from in ["the thread of the socket", "another thread"] {
        let (api, shuffle, calls) = (bed.api()?, bed.shuffle(), args.calls);
        let trips = async move { round_trips_us(&api, shuffle, calls).await };
        let times = if from == "another thread" {
            trips.await?
        } else {
            let task = bed.sockets.spawn("calls", trips);
            task.join().await.map_err(|panic| anyhow!("small calls: {panic}"))??
        };
        let [p50, p99] = [50, 99].map(|p| percentile(&times, p));
        lines.add(Line {
            what: format!("round trip of a push of {SMALL} from {from}, in microseconds"),
            measured: format!("p50 {p50:.0} us, p99 {p99:.0} us"),
            limit: format!("p50 {:.0} us", limits.call_us),
            ratio: Some(p50 / limits.call_us),
            ..Line::default()
        });
        lines.add(Line {
            what: "the same p50 against 60 us".to_owned(),
            measured: format!("p50 {p50:.0} us"),
            limit: "60 us".to_owned(),
            ratio: Some(p50 / 60.0),
            target: Some(Target::AtMost(1.0)),
            ..Line::default()
        });
    }
    Ok(())
}

/// Sorted times of so many calls, after a tenth more to warm up.
async fn round_trips_us(
    api: &Arc<dyn ShuffleApi>,
    shuffle: ShuffleId,
    calls: u32,
) -> Result<Vec<f64>> {
    let warm_up = u64::from(calls / 10);
    let all = u64::from(calls) + warm_up;
    let pushes = Pushes::new(shuffle, all * SMALL.0, SMALL);
    let mut times = Vec::new();
    for number in 0..all {
        let push = Push::plain(vec![pushes.block(number)]);
        let watch = Stopwatch::start();
        api.store(push).await?.stored()?;
        if number >= warm_up {
            times.push(watch.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
