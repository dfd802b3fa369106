//! The bodies of located blocks: from memory, or from the extents that they lie in. Called by `read`
//! with a few megabytes at a time.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_proto::block::{Block, HEADER_LEN};
use futures::future::{try_join, try_join_all};
use object_store::path::Path;

use crate::core::Core;
use crate::disk::Disk;
use crate::extent::Home;
use crate::flush::stored_len;
use crate::partition::Located;

/// A block of an extent, and its place in the answer.
type Wanted = (usize, Located);

/// The blocks with their bodies, verified, in the order of `located`. `Lost` names the first one
/// found that is corrupt or cannot be read; `Retry`: a disk or the store does not answer.
pub(crate) async fn fetch(core: &Arc<Core>, located: Vec<Located>) -> Result<Vec<Block>> {
    fetch_all(core, located).await.inspect_err(|_| {
        core.counters.corrupt.fetch_add(1, Relaxed);
    })
}

async fn fetch_all(core: &Arc<Core>, located: Vec<Located>) -> Result<Vec<Block>> {
    if located.iter().all(|one| one.home.is_none()) {
        let verified = |one: Located| one.block.verify().map(|()| one.block);
        return located.into_iter().map(verified).collect();
    }
    let mut blocks: Vec<_> = Vec::with_capacity(located.len());
    let mut on_disks: BTreeMap<usize, Vec<Wanted>> = BTreeMap::new();
    let mut in_objects: BTreeMap<Path, Vec<Wanted>> = BTreeMap::new();
    for (at, one) in located.into_iter().enumerate() {
        match one.home {
            None => {
                one.block.verify()?;
                blocks.push((at, one.block));
            }
            Some((Home::File { disk, .. }, _)) => on_disks.entry(disk).or_default().push((at, one)),
            Some((Home::Object(ref path), _)) => {
                in_objects.entry(path.clone()).or_default().push((at, one));
            }
        }
    }
    let reads = on_disks.into_iter().map(|(disk, wanted)| from_disk(core, disk, wanted));
    let gets = in_objects.into_iter().map(|(path, wanted)| from_object(core, path, wanted));
    let (read, got) = try_join(try_join_all(reads), try_join_all(gets)).await?;
    blocks.extend(read.into_iter().chain(got).flatten());
    blocks.sort_unstable_by_key(|(at, _)| *at);
    Ok(blocks.into_iter().map(|(_, block)| block).collect())
}

/// `Lost` if a block is not there or has other bytes, `Retry` if the disk hangs.
async fn from_disk(
    core: &Arc<Core>,
    disk: usize,
    wanted: Vec<Wanted>,
) -> Result<Vec<(usize, Block)>> {
    let unit = &core.disks[disk];
    let read = move |_: &dyn Disk| Ok(load(wanted));
    let read = unit.call(&core.env, read).await.unwrap_or_else(|cause| {
        // It may come back; the other copy is nearer.
        let text = format!("cannot read shuffle data in {}: {cause}", unit.place());
        Err(Failed { error: Error::retry(text), cause })
    });
    read.map_err(|failed| {
        // A disk that gives back other bytes is as sick as one that gives none.
        unit.failed_to_read(core.env.now(), &failed.cause);
        failed.error
    })
}

/// `Lost` if the object is not there or holds other bytes, `Retry` if the store does not answer.
async fn from_object(
    core: &Arc<Core>,
    path: Path,
    wanted: Vec<Wanted>,
) -> Result<Vec<(usize, Block)>> {
    let objects = core.objects.as_ref().ok_or_else(|| Error::bug("no object store"))?;
    let range = |(_, located): &Wanted| {
        let start = located.home.as_ref().map_or(0, |(_, offset)| *offset);
        start..start + stored_len(located.length)
    };
    let ranges: Vec<_> = wanted.iter().map(range).collect();
    let read = objects.ranges(&path, &ranges).await.map_err(|error| match wanted.first() {
        Some((_, first)) => error.context(first.block.place()),
        None => error,
    })?;
    let block = |((at, located), (range, bytes)): (Wanted, (Range<u64>, Bytes))| {
        let (header, body) = bytes.split_at_checked(HEADER_LEN).unwrap_or_default();
        // A copy: it does not hold the whole range, and is aligned for every Arrow type.
        let block = whole(&located.block, header, Bytes::from(body.to_vec()));
        let block = block.ok_or_else(|| {
            let place = located.block.place();
            let offset = range.start;
            let cut = (bytes.len() as u64) < range.end - range.start;
            let what = if cut { "the object ends before it does" } else { "corrupt shuffle block" };
            Error::lost(format!("{place} in object {path} at offset {offset}: {what}"))
        });
        Ok((at, block?))
    };
    wanted.into_iter().zip(ranges.into_iter().zip(read)).map(block).collect()
}

struct Failed {
    error: Error,
    cause: io::Error,
}

/// Blocks of files, verified. Those that follow one another are read together.
fn load(mut wanted: Vec<Wanted>) -> Result<Vec<(usize, Block)>, Failed> {
    let mut blocks = Vec::with_capacity(wanted.len());
    while !wanted.is_empty() {
        let rest = wanted.split_off(run(&wanted));
        let read = read_run(&wanted).map_err(|cause| failed(&wanted[0].1, cause))?;
        for ((at, located), (header, body)) in wanted.into_iter().zip(read) {
            let block = whole(&located.block, &header, body);
            let corrupt = || failed(&located, io::Error::other("corrupt shuffle block"));
            blocks.push((at, block.ok_or_else(corrupt)?));
        }
        wanted = rest;
    }
    Ok(blocks)
}

/// How many blocks at the start follow one another in one file: at least one.
fn run(wanted: &[Wanted]) -> usize {
    let follows = |pair: &[Wanted]| match (&pair[0].1, &pair[1].1) {
        (
            Located { home: Some((Home::File { file: a, .. }, start)), length, .. },
            Located { home: Some((Home::File { file: b, .. }, next)), .. },
        ) => Arc::ptr_eq(a, b) && start + stored_len(*length) == *next,
        _ => false,
    };
    1 + wanted.windows(2).take_while(|pair| follows(pair)).count()
}

fn failed(located: &Located, cause: io::Error) -> Failed {
    let (path, offset) = match &located.home {
        Some((Home::File { file, .. }, offset)) => (file.path(), *offset),
        _ => (std::path::Path::new(""), 0),
    };
    let (place, path) = (located.block.place(), path.display());
    let text = format!("{place} in file {path} at offset {offset}: {cause}");
    Failed { error: Error::lost(text), cause }
}

/// Header and body of each block of a run.
fn read_run(run: &[Wanted]) -> io::Result<Vec<([u8; HEADER_LEN], Vec<u8>)>> {
    let Some((_, Located { home: Some((Home::File { file, .. }, offset)), .. })) = run.first()
    else {
        return Ok(Vec::new());
    };
    // A body in an allocation of its own is aligned for every Arrow type, so readers need not copy.
    let room = |(_, located): &Wanted| ([0; HEADER_LEN], vec![0; located.length]);
    let mut read: Vec<_> = run.iter().map(room).collect();
    let parts = read.iter_mut().flat_map(|(header, body)| [header.as_mut_slice(), body]);
    let mut parts: Vec<_> = parts.map(IoSliceMut::new).collect();
    let unread = |e: io::Error| io::Error::new(e.kind(), format!("cannot be read: {e}"));
    file.read_parts_at(*offset, &mut parts).map_err(unread)?;
    Ok(read)
}

/// The block with this body, if header and body are what was stored.
fn whole(block: &Block, header: &[u8], body: impl Into<Bytes>) -> Option<Block> {
    let whole = Block { body: body.into(), ..block.clone() };
    (header == whole.header() && whole.verify().is_ok()).then_some(whole)
}
