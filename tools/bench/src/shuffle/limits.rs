//! What the machine can do at best: copies of memory, bytes and small calls through a bare socket,
//! bytes to a bare disk and back.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use dunlin_base::ByteCount;
use rustix::fs::{Advice, fadvise};

use super::args::ShuffleArgs;
use super::lines::{Line, Lines, gb_s};
use super::usage::cpu_seconds;
use super::{BLOCKS, SMALL};
use crate::clock::Stopwatch;
use crate::short::percentile;

/// Bytes of one write to the bare disk, as large as the worker's.
const DISK_PIECE: usize = 4 << 20;

/// The limits of the machine.
pub(super) struct Limits {
    /// Bytes a second through a bare socket, for blocks of each size.
    sockets: Vec<(ByteCount, f64)>,
    /// The median round trip of a small call, in microseconds.
    pub(super) call_us: f64,
}

impl Limits {
    /// Bytes a second through a bare socket in pieces of this size.
    pub(super) fn socket(&self, piece: ByteCount) -> f64 {
        let found = self.sockets.iter().find(|(size, _)| *size == piece);
        found.map_or(f64::NAN, |(_, bytes_s)| *bytes_s)
    }
}

/// Measures memory and sockets.
pub(super) fn measure(args: &ShuffleArgs, lines: &mut Lines) -> Result<Limits> {
    let bytes = args.sized(args.bytes);
    let mut sockets = Vec::new();
    for piece in [SMALL, BLOCKS[0], BLOCKS[1]] {
        let copy = median(lines.runs, || Ok((copy_s(bytes, piece), 0.0)))?;
        lines.add(Line {
            what: format!("limit: copy of memory, pieces of {piece}"),
            measured: gb_s(bytes as f64 / copy.0),
            ..Line::default()
        });
        // A system call for each KiB: a quarter of the bytes is enough.
        let bytes = if piece == SMALL { bytes / 4 } else { bytes };
        let socket = median(lines.runs, || socket_s(bytes, piece))?;
        sockets.push((piece, bytes as f64 / socket.0));
        lines.add(Line {
            what: format!("limit: bare socket, pieces of {piece}"),
            measured: gb_s(bytes as f64 / socket.0),
            cpu_s_per_gb: Some(socket.1 / (bytes as f64 / 1e9)),
            ..Line::default()
        });
    }
    let mut calls = call_times_us(args.calls)?;
    calls.sort_by(f64::total_cmp);
    let [p50, p99] = [50, 99].map(|p| percentile(&calls, p));
    lines.add(Line {
        what: format!("limit: round trip of {SMALL} through a bare socket"),
        measured: format!("p50 {p50:.0} us, p99 {p99:.0} us"),
        ..Line::default()
    });
    Ok(Limits { sockets, call_us: p50 })
}

/// One run to warm up, then the median of some: seconds, and CPU seconds of the run that was it.
fn median(runs: u32, run: impl Fn() -> Result<(f64, f64)>) -> Result<(f64, f64)> {
    run()?;
    let mut all = (0..runs).map(|_| run()).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.get(all.len() / 2).copied().context("at least one run")
}

fn copy_s(bytes: u64, piece: ByteCount) -> f64 {
    // A window that no cache holds, as blocks that come and go do.
    let window = (64 << 20).max(piece.as_usize());
    let (from, mut to) = (vec![7_u8; window], vec![0_u8; window]);
    let watch = Stopwatch::start();
    let mut at = 0;
    for _ in 0..bytes / piece.0 {
        let end = at + piece.as_usize();
        to[at..end].copy_from_slice(&from[at..end]);
        std::hint::black_box(&mut to);
        at = if end + piece.as_usize() > window { 0 } else { end };
    }
    watch.elapsed().as_secs_f64()
}

/// Two connected ends.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let one = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
    let (other, _) = listener.accept().context("cannot accept")?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok((one, other))
}

fn socket_s(bytes: u64, piece: ByteCount) -> Result<(f64, f64)> {
    let (mut from, mut to) = pair()?;
    let cpu = cpu_seconds()?;
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> std::io::Result<()> {
            let block = vec![7_u8; piece.as_usize()];
            (0..bytes / piece.0).try_for_each(|_| from.write_all(&block))
        });
        let mut buffer = vec![0_u8; piece.as_usize().max(64 << 10)];
        while to.read(&mut buffer)? > 0 {}
        sender.join().map_err(|_| anyhow!("a sender panicked"))??;
        Ok::<_, anyhow::Error>(())
    })?;
    Ok((watch.elapsed().as_secs_f64(), cpu_seconds()? - cpu))
}

fn call_times_us(calls: u32) -> Result<Vec<f64>> {
    let (mut client, mut server) = pair()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut request = vec![0_u8; SMALL.as_usize()];
            // Until the client leaves.
            while server.read_exact(&mut request).and_then(|()| server.write_all(&[1])).is_ok() {}
        });
        let request = vec![7_u8; SMALL.as_usize()];
        let mut times = Vec::new();
        for _ in 0..calls {
            let watch = Stopwatch::start();
            client.write_all(&request)?;
            client.read_exact(&mut [0])?;
            times.push(watch.elapsed().as_secs_f64() * 1e6);
        }
        drop(client);
        Ok(times)
    })
}

/// Seconds to write a file of this size and make it safe, and to read it when no cache has it.
pub(super) fn disk_s(folder: &Path, bytes: u64) -> Result<(f64, f64)> {
    let path = folder.join("bare");
    let mut piece = vec![7_u8; DISK_PIECE];
    let watch = Stopwatch::start();
    let file = File::options().create(true).truncate(true).write(true).read(true).open(&path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let mut left = bytes;
    while left > 0 {
        let now = left.min(DISK_PIECE as u64);
        file.write_all(&piece[..now as usize])?;
        left -= now;
    }
    file.sync_data()?;
    let write_s = watch.elapsed().as_secs_f64();
    forget_cached(&file)?;
    let watch = Stopwatch::start();
    let mut at = 0;
    while at < bytes {
        at += file.read_at(&mut piece, at)? as u64;
    }
    let read_s = watch.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok((write_s, read_s))
}

/// Has the page cache give up what is on disk already.
pub(super) fn forget_cached(file: &File) -> Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}
