//! An object store that speaks as much of S3 as `object_store` asks of it, in this process and in
//! memory, and that can be told to serve badly.
//!
//! A proxy cannot do what it does: answer 503, apply a request and lose the answer, send half of a
//! body. It counts what it did to requests, so that a test can tell a fault that struck from one
//! that did not.

mod bucket;
mod http;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use dunlin_base::env::Task;
use dunlin_base::net::{Listener, Stream};
use dunlin_base::{Env, Error, Result};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use self::bucket::{Bucket, failed};
use self::http::{Answer, Request};

/// The name of the bucket.
const BUCKET: &str = "dunlin";

/// How requests are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// At once.
    #[default]
    Fine,
    /// Not: 503, as S3 says when there is too much to do.
    Busy,
    /// What is asked for is done and nobody is told: the connection stays without an answer, and
    /// breaks when the service changes.
    Mute,
    /// Each so many milliseconds later.
    Slow(u32),
    /// Half of each body is sent, then the connection breaks.
    Short,
}

/// The store. Dropping it ends its connections.
pub struct Objects {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Task<()>,
}

struct Shared {
    env: Env,
    bucket: Mutex<Bucket>,
    service: watch::Sender<Service>,
    struck: AtomicU64,
}

impl Objects {
    /// An empty store at a port of its own.
    pub async fn open(env: &Env, host: &str) -> Result<Self> {
        let listener = env.listen(&format!("{host}:0")).await?;
        let address = listener.address()?;
        let shared = Arc::new(Shared {
            env: env.clone(),
            bucket: Mutex::default(),
            service: watch::Sender::new(Service::Fine),
            struck: AtomicU64::new(0),
        });
        let accepting = env.spawn("objects", accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// The URL of what lies below a name in the bucket.
    pub fn url(&self, name: &str) -> String {
        format!("s3://{BUCKET}/{name}")
    }

    /// What processes have in their environment to reach it.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(&self.address.to_string())
    }

    /// Keys that begin so.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.shared.bucket.lock().keys(prefix)
    }

    /// Changes how requests are served, those that wait for their answer included.
    pub fn set(&self, service: Service) {
        self.shared.service.send_replace(service);
    }

    /// How many requests were served badly.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::Relaxed)
    }
}

/// What processes have in their environment to reach an S3 server that asks for no particular keys.
pub fn variables(address: &str) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "nowhere".to_owned()),
        ("AWS_ACCESS_KEY_ID", "somebody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "anything".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set(Service::Busy);
    }
}

impl Shared {
    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            shared.env.sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = Arc::clone(&shared);
        shared.env.spawn("object requests", async move {
            // Whoever asked finds out by itself.
            let _ = serve(stream, &connection).await;
        });
    }
}

/// One connection, until either side ends it.
async fn serve(mut stream: Stream, shared: &Shared) -> Result<()> {
    let mut received = BytesMut::new();
    while let Some(request) = Request::read(&mut stream, &mut received).await? {
        let mut service = shared.service.subscribe();
        let now = *service.borrow_and_update();
        let answer = match now {
            Service::Busy => failed(503, "SlowDown"),
            _ => shared.bucket.lock().answer(&request),
        };
        if now != Service::Fine {
            // Only a body can be cut short.
            if now != Service::Short || !(answer.head || answer.body.is_empty()) {
                shared.strike();
            }
        }
        match now {
            Service::Fine | Service::Busy => send(&mut stream, &answer, answer.body.len()).await?,
            Service::Mute => {
                let changed = service.wait_for(|service| *service != Service::Mute).await;
                return changed.map(drop).map_err(|_| Error::retry("the store was closed"));
            }
            Service::Slow(ms) => {
                shared.env.sleep(Duration::from_millis(ms.into())).await;
                send(&mut stream, &answer, answer.body.len()).await?;
            }
            Service::Short => {
                send(&mut stream, &answer, answer.body.len() / 2).await?;
                if !answer.body.is_empty() && !answer.head {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Sends the head, and so much of the body.
async fn send(stream: &mut Stream, answer: &Answer, length: usize) -> Result<()> {
    let mut bytes = answer.head_bytes();
    if !answer.head {
        bytes.extend_from_slice(&answer.body[..length]);
    }
    let broken = |e| Error::retry("a client of the object store is gone").with_source(e);
    stream.write_all(&bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

#[cfg(test)]
mod tests;
