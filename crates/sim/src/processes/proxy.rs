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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A proxy in front of a server that sends back what it gets, and a connection through it.
    async fn echo(env: &Env) -> (Proxy, Stream) {
        let listener = env.listen("127.0.0.1:0").await.expect("a port");
        let address = listener.address().expect("bound").to_string();
        env.spawn("echo", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        let proxy = Proxy::open(env, "127.0.0.1:0").await.expect("a port");
        proxy.aim(&address);
        let near = proxy.address().to_string();
        let stream = env.connect(&near, LIMIT).await.expect("it listens");
        (proxy, stream)
    }

    async fn said(stream: &mut Stream) -> [u8; 4] {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.expect("an answer");
        bytes
    }

    #[tokio::test]
    async fn what_was_held_arrives_once_it_may() {
        let env = Env::real(None);
        let (proxy, mut stream) = echo(&env).await;
        stream.write_all(b"calm").await.expect("sent");
        assert_eq!(&said(&mut stream).await, b"calm");
        assert_eq!(proxy.struck(), 0);
        proxy.set(Weather::CUT);
        stream.write_all(b"held").await.expect("sent");
        let until = env.now() + LIMIT;
        while proxy.struck() == 0 {
            assert!(env.now() < until, "the proxy does not see it");
            env.sleep(Duration::from_millis(1)).await;
        }
        let early = env.timeout(Duration::from_millis(50), said(&mut stream)).await;
        assert_eq!(early, None);
        proxy.set(Weather::FINE);
        let late = env.timeout(LIMIT, said(&mut stream)).await;
        assert_eq!(late.as_ref(), Some(b"held"));
    }

    #[tokio::test]
    async fn bits_are_turned_and_connections_broken() {
        let env = Env::real(None);
        let (proxy, mut stream) = echo(&env).await;
        proxy.set(Weather::flipping(4));
        stream.write_all(b"bits").await.expect("sent");
        // Once on the way there, at the same place again on the way back.
        assert_eq!(&said(&mut stream).await, b"bits");
        assert_eq!(proxy.struck(), 2);
        proxy.set(Weather { there: Flow::Slow(1_000_000), ..Weather::FINE });
        stream.write_all(b"slow").await.expect("sent");
        assert_eq!(&said(&mut stream).await, b"slow");
        proxy.set(Weather::REFUSED);
        let mut rest = Vec::new();
        let ended = env.timeout(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_some() && rest.is_empty(), "{ended:?}");
        assert_eq!(proxy.struck(), 4);
    }
}
