//! The shuffle service against the limits of the machine, measured in the same run: copies of
//! memory, a bare socket, the bare disk. Everything goes through the real door over TCP.

pub mod args;
mod bed;
mod encoding;
mod held;
mod inputs;
mod limits;
mod lines;
mod move_blocks;
mod rows;
mod streams;
mod usage;
mod whole;

pub use held::serve;

use anyhow::{Result, ensure};
use dunlin_base::{ByteCount, Env};
use tokio::runtime::Handle;

use crate::report::Sheet;

use args::{Part, ShuffleArgs};
use lines::Lines;

/// Sizes of blocks that are pushed and read.
const BLOCKS: [ByteCount; 2] = [ByteCount(64 << 10), ByteCount(1 << 20)];

/// A block that is pushed with many others.
const SMALL: ByteCount = ByteCount(1 << 10);

/// Bytes of one push of small blocks, as the writer makes them.
const MERGED: ByteCount = ByteCount(1 << 20);

/// All parts that were asked for.
pub async fn run(args: &ShuffleArgs) -> Result<Sheet> {
    ensure!(args.scale > 0.0, "--scale must be above 0");
    let scale = args.scale;
    let mut lines = Lines::new(Sheet::new("The shuffle service", scale, None), args);
    let env = Env::real(Some(Handle::current()));
    // First, while nothing else has grown: the figure is about memory.
    if args.wants(Part::Memory) {
        for block in [SMALL, BLOCKS[0], BLOCKS[1]] {
            held::measure(&env, args.sized(args.held_bytes), block, &mut lines).await?;
        }
    }
    let needs_limits = [Part::Push, Part::Read, Part::Calls].iter().any(|part| args.wants(*part));
    let limits = match needs_limits {
        true => Some(limits::measure(args, &mut lines)?),
        false => None,
    };
    if let Some(limits) = &limits {
        if args.wants(Part::Push) {
            move_blocks::pushes(&env, args, limits, &mut lines).await?;
        }
        if args.wants(Part::Read) {
            move_blocks::reads(&env, args, limits, &mut lines).await?;
        }
        if args.wants(Part::Calls) {
            move_blocks::calls(&env, args, limits, &mut lines).await?;
        }
    }
    if args.wants(Part::Disk) {
        whole::on_disk(&env, args, &mut lines).await?;
    }
    if args.wants(Part::Partitions) {
        whole::many_partitions(&env, args, &mut lines).await?;
    }
    if args.wants(Part::Copies) {
        whole::two_copies(&env, args, &mut lines).await?;
    }
    if args.wants(Part::Encoding) {
        encoding::measure(&env, args, &mut lines).await?;
    }
    Ok(lines.done())
}
