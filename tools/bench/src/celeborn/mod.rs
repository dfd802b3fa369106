//! `dunlin-bench celeborn-push`: plays an application of Celeborn's client without Spark, to see what one
//! push costs while servers have all that they can do.
//!
//! Each connection keeps some pushes in flight, as executors do; the next one is sent when one is
//! answered. So latencies are those of a closed loop: who answers faster is asked more.

pub mod args;
mod driver;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::Env;
use dunlin_celeborn::batch::{BatchHeader, HEADER_LEN};
use dunlin_celeborn::frame::{Frame, Mode, PushData};
use dunlin_celeborn::location::Location;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_celeborn_service::Client;
use futures::future::join_all;
use serde_json::json;

use self::args::PushArgs;
use self::driver::{Driver, connect};
use crate::clock::Stopwatch;

/// Between two tries of [`PushArgs::first`].
const AGAIN: Duration = Duration::from_millis(2);

/// What one connection saw.
#[derive(Default)]
struct Seen {
    /// Microseconds from the push to its answer, of those that were stored.
    latencies: Vec<u64>,
    /// Pushes that were not stored, and what the last of them was told.
    failures: u64,
    why: String,
}

/// What connections share.
struct Load {
    args: PushArgs,
    shuffle: String,
    /// Locations by worker.
    locations: Vec<Location>,
    /// Pushes that were begun, of all connections.
    begun: AtomicU64,
    /// What they carry.
    data: Bytes,
}

/// Runs the load, and prints what was seen. False: a push failed.
pub async fn run(args: &PushArgs) -> Result<bool> {
    let env = Env::real(Some(tokio::runtime::Handle::current()));
    match args.first {
        true => first(&env, args).await,
        false => full(&env, args).await,
    }
}

/// Says `stored` as soon as a push is.
async fn first(env: &Env, args: &PushArgs) -> Result<bool> {
    let driver = loop {
        match one(env, args).await {
            Ok(driver) => break driver,
            Err(_) => env.sleep(AGAIN).await,
        }
    };
    println!("stored");
    driver.end().await?;
    Ok(true)
}

async fn one(env: &Env, args: &PushArgs) -> Result<Driver> {
    let driver = Driver::new(env, &args.master).await?;
    let locations = driver.reserve(1, false).await?;
    let load = Load::new(args, &driver, locations);
    let client = connect(env, &pushes_of(&load.locations[0])).await?;
    load.push(&client, &load.locations[0], 0).await?;
    Ok(driver)
}

async fn full(env: &Env, args: &PushArgs) -> Result<bool> {
    let driver = Driver::new(env, &args.master).await?;
    let locations = driver.reserve(args.partitions, args.copies).await?;
    let load = Arc::new(Load::new(args, &driver, locations));
    let mut clients = Vec::new();
    let mut workers: Vec<_> = load.locations.iter().map(pushes_of).collect();
    workers.sort_unstable();
    workers.dedup();
    for address in &workers {
        for _ in 0..args.connections {
            clients.push((address.clone(), Arc::new(connect(env, address).await?)));
        }
    }
    let clock = Stopwatch::start();
    let mut tasks = Vec::new();
    for (address, client) in clients {
        let own: Arc<Vec<_>> = Arc::new(load.at(&address));
        for _ in 0..args.in_flight {
            let (load, client, own) = (Arc::clone(&load), Arc::clone(&client), Arc::clone(&own));
            tasks.push(env.spawn("pushes", async move { load.run(&client, &own).await }));
        }
    }
    let seen = join_all(tasks.into_iter().map(dunlin_base::env::Task::join)).await;
    let seconds = clock.elapsed().as_secs_f64();
    driver.end().await?;
    let seen: Vec<Seen> = seen.into_iter().collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    let said = summary(&seen, seconds, args);
    println!("{said}");
    Ok(seen.iter().all(|one| one.failures == 0))
}

fn summary(seen: &[Seen], seconds: f64, args: &PushArgs) -> serde_json::Value {
    let mut latencies: Vec<u64> = seen.iter().flat_map(|one| &one.latencies).copied().collect();
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let bytes = latencies.len() as u64 * args.push.0;
    let failures: u64 = seen.iter().map(|one| one.failures).sum();
    let why = seen.iter().find(|one| one.failures > 0).map_or("", |one| &one.why);
    json!({
        "pushes": latencies.len(), "bytes": bytes, "seconds": seconds,
        "mb_s": bytes as f64 / 1e6 / seconds,
        "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0),
        "failures": failures, "why": why,
    })
}

fn pushes_of(location: &Location) -> String {
    let worker = &location.copy.worker;
    format!("{}:{}", worker.host, worker.push_port)
}

impl Load {
    fn new(args: &PushArgs, driver: &Driver, locations: Vec<Location>) -> Self {
        let length = args.push.as_usize().max(HEADER_LEN + 1) - HEADER_LEN;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let data = (0..length).map(byte).collect::<Vec<_>>().into();
        let (args, shuffle, begun) = (args.clone(), driver.key(), AtomicU64::new(0));
        Self { args, shuffle, locations, begun, data }
    }

    /// The locations of a worker.
    fn at(&self, address: &str) -> Vec<Location> {
        let there = self.locations.iter().filter(|location| pushes_of(location) == address);
        there.cloned().collect()
    }

    /// One push after the other, until all of the load is done.
    async fn run(&self, client: &Client, locations: &[Location]) -> Seen {
        let mut seen = Seen::default();
        let all = self.args.bytes.0 / self.args.push.0.max(1);
        loop {
            let number = self.begun.fetch_add(1, Relaxed);
            if number >= all {
                return seen;
            }
            let location = &locations[number as usize % locations.len()];
            let clock = Stopwatch::start();
            match self.push(client, location, number).await {
                Ok(()) => seen.latencies.push(clock.elapsed().as_micros() as u64),
                Err(error) => {
                    seen.failures += 1;
                    seen.why = error.to_string();
                }
            }
        }
    }

    /// Any answer but a failure or a split stores it.
    async fn push(&self, client: &Client, location: &Location, number: u64) -> Result<()> {
        let batch = i32::try_from(number)?;
        let header =
            BatchHeader { map: 0, attempt: 0, batch, len: u32::try_from(self.data.len())? };
        let mut body = BytesMut::with_capacity(HEADER_LEN + self.data.len());
        body.put_slice(&header.encode());
        body.put_slice(&self.data);
        let (shuffle_key, mode) = (self.shuffle.as_str().into(), Mode::Primary);
        let partition = location.copy.partition.to_string().as_str().into();
        let body = body.freeze();
        let frame = |id| Frame::PushData(PushData { id, mode, shuffle_key, partition, body });
        match client.ask(frame).await? {
            Frame::RpcResponse(_, body) => match PushReply::decode(&body)? {
                PushReply::Split(Split::Hard) => bail!("it was to go elsewhere"),
                _ => Ok(()),
            },
            Frame::RpcFailure(_, text) => bail!("{text}"),
            other => bail!("a push was answered with a {:?} frame", other.kind()),
        }
    }
}
