//! One connection: frames in, answers out, in whatever order they are ready.

use std::fmt::{self, Debug, Formatter};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::env::Task;
use dunlin_base::net::{Outbox, OutboxOptions, Reader, Stream, split};
use dunlin_base::{ByteCount, Error, Kind, Result};
use dunlin_celeborn::frame::{Decoder, Encoded, Frame, RequestId, Slice};
use tokio::sync::{Semaphore, mpsc};

use super::port::Shared;
use super::room::Taken;

/// Chunks that wait for the socket of one connection.
const SEND_BYTES_MAX: ByteCount = ByteCount(8 << 20);

/// Answers that wait for the socket, for each request that may be in flight.
const POSTS_PER_REQUEST: usize = 4;

/// So many requests are listed before it is looked at which have ended.
const LOOK_MIN: usize = 64;

/// A frame must be whole this long after its beginning.
const FRAME_WAIT: Duration = Duration::from_secs(60);

/// An encrypted connection has begun within this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A peer that takes nothing for this long is gone.
const STALL_MAX: Duration = Duration::from_secs(120);

/// Nobody is asked whether it lives: clients keep connections without a word for hours.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What answers on a port.
#[async_trait]
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers one frame, through the connection. Frames of one connection are answered side by side,
    /// so this may take its time; it ends with the connection. An error closes the connection, and is
    /// for frames that make no sense: what went wrong otherwise is an answer.
    async fn answer(&self, connection: &Arc<Connection>, frame: Frame) -> Result<()>;

    /// The connection has ended.
    fn ended(&self, connection: u64);
}

/// A client.
pub(crate) struct Connection {
    /// No other connection of this process has it.
    pub(crate) number: u64,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    out: Outbox,
}

impl Debug for Connection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {}", self.number, self.peer)
    }
}

impl Connection {
    /// Answers a request. An answer that cannot be sent is of no use to anybody.
    pub(crate) fn respond(&self, id: RequestId, body: Bytes) {
        self.post(&Frame::RpcResponse(id, body));
    }

    /// Says why there is no answer. `text` begins with the name of a status if the request was a push.
    pub(crate) fn fail(&self, id: RequestId, text: String) {
        self.post(&Frame::RpcFailure(id, text.into()));
    }

    /// Says why there is no chunk.
    pub(crate) fn no_chunk(&self, slice: Slice, text: String) {
        self.post(&Frame::ChunkFetchFailure(slice, text.into()));
    }

    /// Sends a chunk, once there is room for it. Its pieces are not joined.
    pub(crate) async fn chunk(&self, slice: Slice, pieces: Vec<Bytes>) -> Result<()> {
        let length = pieces.iter().map(Bytes::len).sum();
        let head = Frame::ChunkFetchSuccess(slice, Bytes::new()).encode_head(length)?;
        let pieces = [head].into_iter().chain(pieces).collect();
        self.out.send(pieces).await
    }

    fn post(&self, frame: &Frame) {
        match frame.encode() {
            // The connection may have ended.
            Ok(Encoded { head, body }) => drop(self.out.post(vec![head, body])),
            Err(error) => tracing::error!(%error, "an answer to a Celeborn client"),
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(shared: &Arc<Shared>, stream: Stream, (number, peer): (u64, SocketAddr)) {
    match run(shared, stream, (number, peer)).await {
        Err(error) if error.kind() == Kind::Invalid => {
            tracing::warn!(%peer, port = shared.name, %error, "a Celeborn client breaks the protocol");
        }
        Err(error) => tracing::debug!(%peer, port = shared.name, %error, "a Celeborn client left"),
        Ok(()) => {}
    }
}

async fn run(
    shared: &Arc<Shared>,
    stream: Stream,
    (number, peer): (u64, SocketAddr),
) -> Result<()> {
    let env = &shared.env;
    let stream = match &shared.tls {
        None => stream,
        Some(tls) => {
            let late = || Err(Error::retry("a client does not finish the TLS handshake"));
            env.timeout(HANDSHAKE_MAX, tls.accept(stream)).await.unwrap_or_else(late)?
        }
    };
    let (mut reader, writer) = split(env, stream, FOR_EVER, STALL_MAX);
    let out = Outbox::new(OutboxOptions {
        bulk_bytes_max: SEND_BYTES_MAX,
        posts_max: shared.requests_max * POSTS_PER_REQUEST,
        ping_every: FOR_EVER,
        ping: vec![Frame::Heartbeat.encode()?.head],
    });
    let connection = Arc::new(Connection { number, peer, out });
    let (broken, mut breaks) = mpsc::channel(1);
    let mut writing = pin!(connection.out.run(env, writer));
    tokio::select! {
        error = take(shared, &connection, (&mut reader, broken)) => Err(error),
        error = breaks.recv() => Err(error.unwrap_or_else(|| Error::bug("nobody takes frames"))),
        written = &mut writing => written,
    }
}

/// Takes frames until something is wrong. Requests that are being answered end with it.
async fn take(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    (reader, broken): (&mut Reader, mpsc::Sender<Error>),
) -> Error {
    let slots = Arc::new(Semaphore::new(shared.requests_max));
    let mut answers = Answers::default();
    let mut decoder = Decoder::new(shared.limits);
    loop {
        let (frame, room) = match next(shared, &mut decoder, reader).await {
            Ok((Frame::Heartbeat, _)) => continue,
            Ok(next) => next,
            Err(error) => return error,
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return Error::bug("a semaphore closed by itself");
        };
        let (of, client, broken) = (Arc::clone(shared), Arc::clone(connection), broken.clone());
        answers.add(shared.env.spawn("Celeborn request", async move {
            let _held = (slot, room);
            if let Err(error) = of.service.answer(&client, frame).await {
                // Another answer may have said so already.
                drop(broken.try_send(error));
            }
        }));
    }
}

/// Requests that are being answered. They end with their connection.
#[derive(Default)]
struct Answers {
    tasks: Vec<Task<()>>,
    /// Those that have ended are taken off the list when it is as long as this.
    look_at: usize,
}

impl Answers {
    fn add(&mut self, task: Task<()>) {
        if self.tasks.len() >= self.look_at {
            self.tasks.retain(|task| !task.is_finished());
            self.look_at = LOOK_MIN.max(2 * self.tasks.len());
        }
        self.tasks.push(task);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
    }
}

/// The next frame, with room for its body.
async fn next(
    shared: &Shared,
    decoder: &mut Decoder,
    reader: &mut Reader,
) -> Result<(Frame, Option<Taken>)> {
    let mut room = None;
    let mut deadline = None;
    loop {
        let wants = decoder.wants();
        if decoder.body_due().is_some() && room.is_none() {
            room = Some(shared.room.take(wants).await);
            // The wait was ours, not the client's.
            deadline = None;
        }
        let piece = match reader.at_hand(wants) {
            Some(piece) => piece,
            None if decoder.at_start() => reader.exactly(wants).await?,
            None => {
                let end = *deadline.get_or_insert(shared.env.now() + FRAME_WAIT);
                let left = end.saturating_sub(shared.env.now());
                let late = || Err(Error::retry("the client does not finish a frame"));
                shared.env.timeout(left, reader.exactly(wants)).await.unwrap_or_else(late)?
            }
        };
        if let Some(frame) = decoder.feed(piece)? {
            return Ok((frame, room));
        }
    }
}
