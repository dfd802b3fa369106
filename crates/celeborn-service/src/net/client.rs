//! The other end: a connection to a port that speaks these frames. For pushes to the worker of a second
//! copy, and for tests and benchmarks that play a client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::{Outbox, OutboxOptions, Reader, split};
use dunlin_base::{ByteCount, Env, Error, Result};
use dunlin_celeborn::frame::{Decoder, Encoded, Frame, Limits, RequestId, Slice};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::tls::Tls;

/// Bytes of pushes that wait for the socket.
const SEND_BYTES_MAX: ByteCount = ByteCount(8 << 20);

/// A peer that takes nothing, or says nothing in the middle of a frame, for this long is gone.
const STALL_MAX: Duration = Duration::from_secs(120);

/// What is asked of one connection at the same time at most; more of it is a mistake of the caller.
const POSTS_MAX: usize = 100_000;

/// A connection to a port of a master or worker, theirs or ours. Dropping it closes it; what was asked of
/// it then fails.
pub struct Client {
    out: Outbox,
    open: Arc<Open>,
    next: AtomicI64,
    tasks: [Task<()>; 2],
}

/// Questions without an answer so far.
#[derive(Default)]
struct Open(Mutex<Table>);

#[derive(Default)]
struct Table {
    requests: HashMap<RequestId, oneshot::Sender<Frame>>,
    chunks: HashMap<Slice, oneshot::Sender<Frame>>,
    closed: bool,
}

impl Client {
    /// Connects to `host:port`. `Retry`: nobody answers within the limit. `Invalid`: no TLS, or another
    /// certificate.
    pub async fn connect(
        env: &Env,
        address: &str,
        (limit, tls): (Duration, Option<&Tls>),
    ) -> Result<Self> {
        let (of_task, address, tls) = (env.clone(), address.to_owned(), tls.cloned());
        // On the runtime that will use it.
        let connecting = env.spawn("Celeborn peer", async move {
            let connect = async {
                let stream = of_task.connect(&address, limit).await?;
                match &tls {
                    Some(tls) => tls.connect(&address, stream).await,
                    None => Ok(stream),
                }
            };
            let late = || Err(Error::retry(format!("{address} does not finish the handshake")));
            of_task.timeout(limit, connect).await.unwrap_or_else(late)
        });
        let stream = connecting.join_or_abort().await;
        let stream = stream.unwrap_or_else(|e| Err(Error::bug(format!("a connection: {e}"))))?;
        let (reader, writer) = split(env, stream, Duration::MAX / 4, STALL_MAX);
        let ping = vec![Frame::Heartbeat.encode()?.head];
        let out = Outbox::new(OutboxOptions {
            bulk_bytes_max: SEND_BYTES_MAX,
            posts_max: POSTS_MAX,
            ping_every: Duration::MAX / 4,
            ping,
        });
        let open = Arc::new(Open::default());
        let (writes, of_writes, closes) = (out.clone(), env.clone(), Arc::clone(&open));
        let write = env.spawn("Celeborn peer", async move {
            let ended = writes.run(&of_writes, writer).await;
            tracing::debug!(?ended, "a connection to a Celeborn port");
            closes.close();
        });
        let (reads, closes) = (Arc::clone(&open), Arc::clone(&open));
        let read = env.spawn("Celeborn peer", async move {
            let error = take(reader, &reads).await;
            tracing::debug!(%error, "a connection to a Celeborn port");
            closes.close();
        });
        Ok(Self { out, open, next: AtomicI64::new(1), tasks: [write, read] })
    }

    /// Whether it can still be used.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.0.lock().closed
    }

    /// Sends a request or a push, and waits for its response or failure, whose frame this gives: a failure
    /// frame is no error. `Retry`: the connection ends before. Dropping the future gives the answer up.
    pub async fn ask(&self, frame: impl FnOnce(RequestId) -> Frame) -> Result<Frame> {
        let id = RequestId(self.next.fetch_add(1, Relaxed));
        let answer = self.open.wait(|table| &mut table.requests, id)?;
        self.send(&frame(id)).await?;
        answer.await.map_err(|_| ended())
    }

    /// Sends a request for a chunk, and waits for it or for why there is none.
    #[cfg(test)]
    pub(crate) async fn chunk(&self, slice: Slice, body: bytes::Bytes) -> Result<Frame> {
        let id = RequestId(self.next.fetch_add(1, Relaxed));
        let answer = self.open.wait(|table| &mut table.chunks, slice)?;
        self.send(&Frame::RpcRequest(id, body)).await?;
        answer.await.map_err(|_| ended())
    }

    /// Sends what has no answer.
    pub(crate) async fn send(&self, frame: &Frame) -> Result<()> {
        let Encoded { head, body } = frame.encode()?;
        self.out.send(vec![head, body]).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
        self.open.close();
    }
}

impl Open {
    fn wait<K: Eq + std::hash::Hash>(
        &self,
        of: impl FnOnce(&mut Table) -> &mut HashMap<K, oneshot::Sender<Frame>>,
        key: K,
    ) -> Result<oneshot::Receiver<Frame>> {
        let mut table = self.0.lock();
        if table.closed {
            return Err(ended());
        }
        let (sender, receiver) = oneshot::channel();
        of(&mut table).insert(key, sender);
        Ok(receiver)
    }

    fn close(&self) {
        *self.0.lock() = Table { closed: true, ..Table::default() };
    }

    /// Gives a frame to who waits for it; nobody may any more.
    fn arrived(&self, frame: Frame) -> Result<()> {
        let mut table = self.0.lock();
        let waits = match &frame {
            Frame::RpcResponse(id, _) | Frame::RpcFailure(id, _) => table.requests.remove(id),
            Frame::ChunkFetchSuccess(slice, _) | Frame::ChunkFetchFailure(slice, _) => {
                table.chunks.remove(slice)
            }
            Frame::Heartbeat => None,
            other => {
                let kind = other.kind();
                return Err(Error::invalid(format!("a server sent a {kind:?} frame")));
            }
        };
        drop(table);
        if let Some(waits) = waits {
            drop(waits.send(frame));
        }
        Ok(())
    }
}

async fn take(mut reader: Reader, open: &Open) -> Error {
    let mut decoder = Decoder::new(Limits::CLIENT);
    loop {
        let piece = match reader.exactly(decoder.wants()).await {
            Ok(piece) => piece,
            Err(error) => return error,
        };
        let arrived =
            decoder.feed(piece).and_then(|frame| frame.map_or(Ok(()), |f| open.arrived(f)));
        if let Err(error) = arrived {
            return error;
        }
    }
}

fn ended() -> Error {
    Error::retry("the connection has ended")
}
