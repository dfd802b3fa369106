//! Whole shuffles: rows written by maps, read by partition, and counted.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use dunlin_base::{Attempt, ByteCount, Env};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_shuffle::{Share, ShuffleWriter, WriterOptions, read_shares};
use dunlin_shuffle_service::Options;
use futures::{StreamExt, TryStreamExt, stream};

use super::args::ShuffleArgs;
use super::bed::Bed;
use super::held::unsplit;
use super::limits::{disk_s, forget_cached};
use super::lines::{Line, Lines, Target, gb_s};
use super::rows::{Rows, schema};
use super::streams::streams;
use crate::clock::Stopwatch;
use crate::measure::Times;

const ATTEMPT: Attempt = Attempt(1);

/// Maps and partitions of a shuffle that is large beside its number of blocks.
const FEW: (u32, u32) = (20, 20);

/// Maps and partitions of the shuffle on disk.
const ON_DISK: (u32, u32) = (8, 200);

/// One shuffle of this benchmark.
#[derive(Clone)]
struct Shape {
    maps: u32,
    partitions: u32,
    copies: usize,
    threads: usize,
    rows: Arc<Rows>,
}

impl Shape {
    fn new((maps, partitions): (u32, u32), bytes: u64, args: &ShuffleArgs) -> Result<Self> {
        let rows = Arc::new(Rows::new(bytes / u64::from(maps), partitions)?);
        Ok(Self { maps, partitions, copies: 1, threads: args.threads(), rows })
    }

    /// All maps, some at once.
    async fn write(&self, env: &Env, bed: &Arc<Bed>, shuffle: ShuffleId) -> Result<StageOutput> {
        let map = |map| {
            let (this, bed) = (self.clone(), Arc::clone(bed));
            let task = env.spawn("map", async move { this.write_map(&bed, shuffle, map).await });
            async move { task.join_or_abort().await.map_err(|panic| anyhow!("a map: {panic}"))? }
        };
        let maps = stream::iter(0..self.maps).map(map).buffered(self.threads);
        Ok(StageOutput { maps: maps.try_collect().await? })
    }

    async fn write_map(&self, bed: &Bed, shuffle: ShuffleId, map: u32) -> Result<MapOutput> {
        let options = WriterOptions::new(shuffle, map, ATTEMPT, schema(), self.partitions);
        let options = WriterOptions { pushes_on: Some(bed.env.clone()), ..options };
        let client = Arc::clone(&bed.client) as _;
        let writer = ShuffleWriter::new(client, bed.placement(self.copies), options);
        for (batch, of) in self.rows.batches() {
            writer.scatter(batch.clone(), of.clone()).await?;
        }
        Ok(writer.finish().await?.into_map_output((map, 1), ATTEMPT, shuffle.epoch))
    }

    /// All partitions, as tasks of the engine read them, some at once. Fails unless all rows come.
    async fn read(
        &self,
        env: &Env,
        bed: &Arc<Bed>,
        shuffle: ShuffleId,
        output: StageOutput,
    ) -> Result<()> {
        let (of, output) = ((shuffle.query, shuffle.stage), Arc::new(output));
        let stream = |shares: Vec<Share>| {
            let (bed, output) = (Arc::clone(bed), Arc::clone(&output));
            let task = env.spawn("reduce", async move {
                let rows = read_shares(bed.client.as_ref(), of, &shares, output, schema());
                let count = |sum, batch: arrow::record_batch::RecordBatch| async move {
                    Ok(sum + batch.num_rows() as u64)
                };
                rows.try_fold(0, count).await
            });
            async move {
                let rows = task.join_or_abort().await;
                rows.map_err(|panic| anyhow!("a reduce task: {panic}"))?
                    .map_err(anyhow::Error::from)
            }
        };
        let streams = streams(&output, self.partitions, self.threads);
        let rows = stream::iter(streams).map(stream).buffered(self.threads);
        let rows: u64 = rows.try_fold(0, |sum, rows| async move { Ok(sum + rows) }).await?;
        let expected = self.rows.rows * u64::from(self.maps);
        ensure!(rows == expected, "{rows} rows were read, {expected} were written");
        Ok(())
    }

    /// Seconds to write and to read everything.
    async fn run(&self, env: &Env, bed: &Arc<Bed>) -> Result<(f64, f64)> {
        let shuffle = bed.shuffle();
        let watch = Stopwatch::start();
        let output = self.write(env, bed, shuffle).await?;
        let write_s = watch.elapsed().as_secs_f64();
        let watch = Stopwatch::start();
        self.read(env, bed, shuffle, output).await?;
        let read_s = watch.elapsed().as_secs_f64();
        bed.forget(shuffle.query).await?;
        Ok((write_s, read_s))
    }
}

fn median(runs: Vec<f64>) -> Result<f64> {
    Ok(Times::of(runs).context("at least one run")?.median_ms)
}

/// Twice the memory budget, all of it on disk, beside the same bytes in one file.
pub(super) async fn on_disk(env: &Env, args: &ShuffleArgs, lines: &mut Lines) -> Result<()> {
    std::fs::create_dir_all(&args.data)?;
    let bytes = args.sized(args.disk_bytes);
    let shape = Shape::new(ON_DISK, bytes, args)?;
    let mut sums = [const { Vec::new() }; 4];
    for _ in 0..lines.runs {
        let folder = tempfile::tempdir_in(&args.data)?;
        let bare = disk_s(folder.path(), bytes)?;
        let ours = shuffle_on_disk(env, &shape, folder.path(), bytes).await?;
        for (all, one) in sums.iter_mut().zip([bare.0, bare.1, ours.0, ours.1]) {
            all.push(one);
        }
    }
    let [bare_write, bare_read, write, read] = sums.map(|all| median(all).unwrap_or(f64::NAN));
    let speed = |seconds: f64| gb_s(bytes as f64 / seconds);
    for (what, seconds, limit, target) in [
        ("written and read", write + read, bare_write + bare_read, Some(Target::AtLeast(0.7))),
        ("written", write, bare_write, None),
        ("read", read, bare_read, None),
    ] {
        lines.add(Line {
            what: format!("{} shuffled on disk, {what}", ByteCount(bytes)),
            measured: speed(seconds),
            limit: speed(limit),
            ratio: Some(limit / seconds),
            target,
            ..Line::default()
        });
    }
    lines.says(format!(
        "The shuffle on disk has {} maps, {} partitions and a memory budget of half its bytes; all of \
         it is on disk and synced before anything is read, and the page cache gives it up. The bare \
         disk does the same with one file.",
        ON_DISK.0, ON_DISK.1
    ));
    Ok(())
}

async fn shuffle_on_disk(
    env: &Env,
    shape: &Shape,
    folder: &Path,
    bytes: u64,
) -> Result<(f64, f64)> {
    let options = Options::in_folder(ByteCount(bytes / 2), folder);
    let bed = Arc::new(Bed::new(env, vec![options]).await?);
    let shuffle = bed.shuffle();
    let watch = Stopwatch::start();
    let output = shape.write(env, &bed, shuffle).await?;
    bed.workers[0].flush().await?;
    for_each_file(folder, &|file| Ok(file.sync_data()?))?;
    let write_s = watch.elapsed().as_secs_f64();
    ensure!(bed.workers[0].stats().disk_bytes >= bytes / 2, "not all of it is on the disk");
    for_each_file(folder, &forget_cached)?;
    let watch = Stopwatch::start();
    shape.read(env, &bed, shuffle, output).await?;
    let read_s = watch.elapsed().as_secs_f64();
    bed.forget(shuffle.query).await?;
    Ok((write_s, read_s))
}

fn for_each_file(folder: &Path, act: &dyn Fn(&File) -> Result<()>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for_each_file(&entry.path(), act)?;
        } else {
            act(&File::open(entry.path())?)?;
        }
    }
    Ok(())
}

/// The same bytes to many partitions by many maps, and to few by few.
pub(super) async fn many_partitions(
    env: &Env,
    args: &ShuffleArgs,
    lines: &mut Lines,
) -> Result<()> {
    let bytes = args.sized(args.small_bytes);
    let shapes =
        [Shape::new(FEW, bytes, args)?, Shape::new((args.maps, args.partitions), bytes, args)?];
    let bed = Arc::new(Bed::new(env, vec![unsplit(ByteCount(8 * bytes + (1 << 30)))]).await?);
    let name = |shape: &Shape| format!("{} maps to {} partitions", shape.maps, shape.partitions);
    let [few, many] = in_turn(env, &bed, &shapes, lines.runs).await?;
    lines.add(Line {
        what: format!(
            "{} shuffled, {} against {}",
            ByteCount(bytes),
            name(&shapes[1]),
            name(&shapes[0])
        ),
        measured: both(many),
        limit: both(few),
        ratio: Some((many.0 + many.1) / (few.0 + few.1)),
        target: Some(Target::AtMost(2.0)),
        ..Line::default()
    });
    let rows = shapes[1].rows.rows / u64::from(args.partitions);
    lines.says(format!(
        "With {} each block has {rows} rows in the mean, of {} bytes.",
        name(&shapes[1]),
        super::rows::ROW_BYTES
    ));
    lines.says(
        "Partitions are read as the engine's tasks read them: neighbours below 1 MiB together are one \
         slice, and a stream of rows asks a worker at once for those of up to four slices."
            .to_owned(),
    );
    Ok(())
}

/// The same shuffle with one copy and with two, on two workers.
pub(super) async fn two_copies(env: &Env, args: &ShuffleArgs, lines: &mut Lines) -> Result<()> {
    let bytes = args.sized(args.copy_bytes);
    let one = Shape::new((8, FEW.1), bytes, args)?;
    let shapes = [one.clone(), Shape { copies: 2, ..one }];
    let options = unsplit(ByteCount(4 * bytes + (256 << 20)));
    let bed = Arc::new(Bed::new(env, vec![options.clone(), options]).await?);
    let [one, two] = in_turn(env, &bed, &shapes, lines.runs).await?;
    lines.add(Line {
        what: format!("{} shuffled, two copies against one", ByteCount(bytes)),
        measured: both(two),
        limit: both(one),
        ratio: Some((two.0 + two.1) / (one.0 + one.1)),
        target: Some(Target::AtMost(1.3)),
        ..Line::default()
    });
    Ok(())
}

/// Medians of writing and of reading, the two shapes in turn, after one run of each to warm up.
async fn in_turn(
    env: &Env,
    bed: &Arc<Bed>,
    shapes: &[Shape; 2],
    runs: u32,
) -> Result<[(f64, f64); 2]> {
    let mut times = [const { (Vec::new(), Vec::new()) }; 2];
    for run in 0..=runs {
        for (shape, times) in shapes.iter().zip(&mut times) {
            let (write, read) = shape.run(env, bed).await?;
            if run > 0 {
                times.0.push(write);
                times.1.push(read);
            }
        }
    }
    let [a, b] = times;
    Ok([(median(a.0)?, median(a.1)?), (median(b.0)?, median(b.1)?)])
}

fn both((write, read): (f64, f64)) -> String {
    format!("{write:.2} s to write, {read:.2} s to read")
}
