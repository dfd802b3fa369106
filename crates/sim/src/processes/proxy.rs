//! A TCP proxy whose weather changes: it cuts, holds, slows down, breaks and damages connections.
//!
//! Faults of the network without rights on the machine: the processes know only its address. It
//! counts what it did to bytes, so that a test can tell a fault that struck from one that did not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::{Listener, Stream};
use dunlin_base::{Env, Error, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::weather::{Flow, Weather, flip};

/// How long the proxy tries to reach whom it stands for.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Bytes that are passed on at once.
const PIECE: usize = 16 << 10;

/// A proxy in front of one listener. Dropping it ends its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Task<()>,
}

struct Shared {
    env: Env,
    target: Mutex<String>,
    weather: watch::Sender<Weather>,
    /// What the weather did: pieces held or slowed, connections ended, bits turned.
    struck: AtomicU64,
}

impl Proxy {
    /// Listens at `address` (port 0: any that is free). Connections are ended until
    /// [`Proxy::aim`] is told where they go.
    pub async fn open(env: &Env, address: &str) -> Result<Self> {
        let listener = env.listen(address).await?;
        let address = listener.address()?;
        let shared = Arc::new(Shared {
            env: env.clone(),
            target: Mutex::new(String::new()),
            weather: watch::Sender::new(Weather::FINE),
            struck: AtomicU64::new(0),
        });
        let accepting = env.spawn("proxy", accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where others connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections made from now on go.
    pub fn aim(&self, target: &str) {
        target.clone_into(&mut self.shared.target.lock());
    }

    /// Changes the weather, for all connections.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// How often the weather did something to a connection.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Weather::REFUSED);
    }
}

impl Shared {
    fn strike(&self, times: u64) {
        self.struck.fetch_add(times, Ordering::Relaxed);
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            shared.env.sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = Arc::clone(&shared);
        shared.env.spawn("proxied", async move { pass(stream, &connection).await });
    }
}

/// One connection, until either side ends it or the weather does.
async fn pass(near: Stream, shared: &Shared) {
    let mut weather = shared.weather.subscribe();
    let target = shared.target.lock().clone();
    let joined = async {
        let Ok(far) = shared.env.connect(&target, CONNECT_MAX).await else { return };
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        let there = pump(near_read, far_write, shared, |weather| weather.there);
        let back = pump(far_read, near_write, shared, |weather| weather.back);
        // One direction may end before the other; a broken one ends both.
        let _ = tokio::try_join!(there, back);
    };
    tokio::select! {
        () = joined => {}
        _ = weather.wait_for(|weather| weather.refused) => shared.strike(1),
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
    flow: impl Fn(&Weather) -> Flow,
) -> Result<()> {
    let broken = |e| Error::retry("a proxied connection broke").with_source(e);
    let mut weather = shared.weather.subscribe();
    let mut bytes = vec![0; PIECE];
    let mut passed = 0;
    loop {
        let count = from.read(&mut bytes).await.map_err(broken)?;
        if count == 0 {
            return to.shutdown().await.map_err(broken);
        }
        let piece = &mut bytes[..count];
        let now = *weather.borrow_and_update();
        match flow(&now) {
            Flow::Open => {}
            Flow::Held => {
                shared.strike(1);
                let opened = weather.wait_for(|weather| flow(weather) != Flow::Held).await;
                opened.map_err(|_| Error::retry("the proxy was closed"))?;
            }
            Flow::Slow(rate) => {
                shared.strike(1);
                let time = count as f64 / f64::from(rate.max(1));
                shared.env.sleep(Duration::from_secs_f64(time)).await;
            }
        }
        shared.strike(flip(piece, passed, now.flip_every));
        passed += count as u64;
        to.write_all(piece).await.map_err(broken)?;
    }
}
