//! Columns in few bits against rows in LZ4: bytes, and CPU with and without a worker in between.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use dunlin_base::{Attempt, ByteCount, Env, PartitionId};
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{MapAttempt, Push, ReadRequest, ShuffleApi};
use dunlin_shuffle::codec::{Decoder, Encoder, Style};
use futures::TryStreamExt;

use super::args::ShuffleArgs;
use super::bed::Bed;
use super::held::unsplit;
use super::inputs::{SHUFFLED, Shuffled};
use super::lines::{Line, Lines, Target};
use super::usage::cpu_seconds;

/// The CPU clock ticks a hundred times a second: work is repeated until it has taken this long.
const CPU_S_MIN: f64 = 0.6;

const ATTEMPT: Attempt = Attempt(1);

/// How bodies are made and read.
enum Form {
    Columns(Style, Encoder, Decoder),
    Rows(RowConverter),
}

impl Form {
    fn columns(like: &RecordBatch, style: Style) -> Result<Self> {
        let schema = like.schema();
        Ok(Self::Columns(style, Encoder::new(Arc::clone(&schema)), Decoder::new(schema)?))
    }

    fn rows(like: &RecordBatch) -> Result<Self> {
        let fields = like.columns().iter().map(|c| SortField::new(c.data_type().clone()));
        Ok(Self::Rows(RowConverter::new(fields.collect())?))
    }

    fn encode(&self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Columns(style, encoder, _) => Ok(encoder.encode(batch, *style)?),
            Self::Rows(converter) => {
                let rows = converter.convert_columns(batch.columns())?.try_into_binary()?;
                let lengths = rows.value_offsets().windows(2).map(|o| (o[1] - o[0]) as u32);
                let mut body = Vec::with_capacity(rows.len() * 4 + rows.value_data().len());
                lengths.for_each(|length| body.extend_from_slice(&length.to_le_bytes()));
                body.extend_from_slice(rows.value_data());
                Ok(lz4_flex::block::compress_prepend_size(&body).into())
            }
        }
    }

    fn decode(&self, block: &Block) -> Result<usize> {
        match self {
            Self::Columns(_, _, decoder) => Ok(decoder.decode(block)?.num_rows()),
            Self::Rows(converter) => {
                let body = Buffer::from(lz4_flex::block::decompress_size_prepended(&block.body)?);
                let at = block.rows as usize * 4;
                let length = |word: &[u8; 4]| u32::from_le_bytes(*word) as usize;
                let offsets =
                    OffsetBuffer::from_lengths(body[..at].as_chunks().0.iter().map(length));
                let rows = BinaryArray::new(offsets, body.slice(at), None);
                let rows = converter.from_binary(rows);
                let columns = converter.convert_rows(&rows)?;
                Ok(columns.first().context("no columns")?.len())
            }
        }
    }
}

/// What a form took for some batches, all in bytes and CPU seconds of one round.
#[derive(Clone, Copy, Default)]
struct Took {
    bytes: f64,
    /// Encoding and decoding.
    codec_s: f64,
    /// That, and to a worker and back.
    all_s: f64,
}

impl std::ops::AddAssign for Took {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.codec_s += other.codec_s;
        self.all_s += other.all_s;
    }
}

/// Every input in each form, and the sums.
pub(super) async fn measure(env: &Env, args: &ShuffleArgs, lines: &mut Lines) -> Result<()> {
    let tables = crate::tpch::cached(&args.data, 1.0)?;
    let styles = [("LZ4", Style::LZ4), ("ZSTD", Style::ZSTD)];
    let (mut plain_sum, mut rows_sum) = (Took::default(), Took::default());
    let mut sums = [Took::default(); 2];
    for input in &SHUFFLED {
        let batches = input.blocks(&tables)?;
        let like = batches.first().context("an input without blocks")?;
        let plain = took(env, &Form::columns(like, Style::PLAIN)?, &batches).await?;
        plain_sum += plain;
        let rows = took(env, &Form::rows(like)?, &batches).await?;
        rows_sum += rows;
        let mut found = [Took::default(); 2];
        for (found, (_, style)) in found.iter_mut().zip(styles) {
            *found = took(env, &Form::columns(like, style)?, &batches).await?;
        }
        lines.add(line(input, found[0], rows));
        sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    for (sum, (name, _)) in sums.into_iter().zip(styles) {
        summary(lines, name, (sum, rows_sum, plain_sum));
    }
    let plain = plain_sum.bytes / 1e9;
    lines.says(format!(
        "Encoding: what TPC-H queries of scale 1 send by hash of the first column, {} as Arrow has \
         it, in blocks of some 8192 rows; columns chosen by sample against rows of arrow-row in LZ4. \
         CPU is that of this process, for each GB as Arrow has it; values as they are take {:.2} \
         CPU-s/GB to encode and decode, {:.2} with push and read.",
        ByteCount(plain_sum.bytes as u64),
        plain_sum.codec_s / plain,
        plain_sum.all_s / plain
    ));
    Ok(())
}

fn line(input: &Shuffled, columns: Took, rows: Took) -> Line {
    let Shuffled { query, table, columns: names } = input;
    Line {
        what: format!(
            "{query}: {} columns of {table}, columns in LZ4 against rows in LZ4",
            names.len()
        ),
        measured: format!("{}, {:.0} ms", ByteCount(columns.bytes as u64), columns.codec_s * 1e3),
        limit: format!("{}, {:.0} ms", ByteCount(rows.bytes as u64), rows.codec_s * 1e3),
        ratio: Some(columns.bytes / rows.bytes),
        ..Line::default()
    }
}

fn summary(lines: &mut Lines, name: &str, (ours, rows, plain): (Took, Took, Took)) {
    let mut add = |what: &str, ours: f64, rows: f64, bound| {
        let per_gb = |s: f64| format!("{:.2} CPU-s/GB", s / (plain.bytes / 1e9));
        let is_bytes = what == "bytes";
        let text = |n: f64| if is_bytes { ByteCount(n as u64).to_string() } else { per_gb(n) };
        lines.add(Line {
            what: format!("columns in {name} against rows in LZ4: {what}"),
            measured: text(ours),
            limit: text(rows),
            ratio: Some(ours / rows),
            target: bound,
            ..Line::default()
        });
    };
    add("bytes", ours.bytes, rows.bytes, Some(Target::AtMost(0.6)));
    add("CPU to encode and decode", ours.codec_s, rows.codec_s, Some(Target::AtMost(1.05)));
    add("CPU with push and read", ours.all_s, rows.all_s, Some(Target::AtMost(1.05)));
}

async fn took(env: &Env, form: &Form, batches: &[RecordBatch]) -> Result<Took> {
    // One to warm up, which also says how many bytes there are.
    let shuffle = |bed: &Bed| bed.shuffle();
    let bed = Bed::new(env, vec![unsplit(ByteCount::mib(1024))]).await?;
    let blocks = encode(form, batches, shuffle(&bed))?;
    let bytes = blocks.iter().map(|block| block.body.len() as f64).sum();
    let (mut rounds, before) = (0, cpu_seconds()?);
    while cpu_seconds()? - before < CPU_S_MIN {
        decode(form, &encode(form, batches, shuffle(&bed))?, batches)?;
        rounds += 1;
    }
    let codec_s = (cpu_seconds()? - before) / f64::from(rounds);
    let (mut rounds, before) = (0, cpu_seconds()?);
    while cpu_seconds()? - before < CPU_S_MIN {
        let shuffle = shuffle(&bed);
        let blocks = there_and_back(&bed, encode(form, batches, shuffle)?, shuffle).await?;
        decode(form, &blocks, batches)?;
        drop(blocks);
        bed.forget(shuffle.query).await?;
        rounds += 1;
    }
    Ok(Took { bytes, codec_s, all_s: (cpu_seconds()? - before) / f64::from(rounds) })
}

fn encode(form: &Form, batches: &[RecordBatch], shuffle: ShuffleId) -> Result<Vec<Block>> {
    let block = |(batch, rows): (u32, &RecordBatch)| {
        let id = BlockId { shuffle, partition: PartitionId(0), map: 0, attempt: ATTEMPT, batch };
        Ok(Block::new(id, rows.num_rows() as u32, Codec::Columns, form.encode(rows)?))
    };
    (0..).zip(batches).map(block).collect()
}

fn decode(form: &Form, blocks: &[Block], batches: &[RecordBatch]) -> Result<()> {
    let mut rows = 0;
    for block in blocks {
        rows += form.decode(block)?;
    }
    let expected = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    ensure!(rows == expected, "{rows} rows came back of {expected}");
    Ok(())
}

async fn there_and_back(bed: &Bed, blocks: Vec<Block>, shuffle: ShuffleId) -> Result<Vec<Block>> {
    let api: Arc<dyn ShuffleApi> = bed.api()?;
    for some in blocks.chunks(8) {
        api.store(Push::plain(some.to_vec())).await?.stored()?;
    }
    drop(blocks);
    let maps = Some(vec![MapAttempt { map: 0, attempt: ATTEMPT }]);
    let request = ReadRequest { shuffle, partition: PartitionId(0), maps };
    Ok(api.read(request).await?.try_collect().await?)
}
