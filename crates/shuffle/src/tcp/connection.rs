//! One connection to one worker, with many requests on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::env::Task;
use dunlin_base::net::{Outbox, OutboxOptions};
use dunlin_base::{ByteCount, Env, Error, Kind, ProcessId, Result};
use dunlin_proto::shuffle::Hear;
use dunlin_proto::wire::{Ask, Limits, Message, RequestId, Terms};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::fault::WorkerGone;

use super::calls::{Call, Calls, Pending, Reply, Waiting};
use super::establish::{At, Established, Receiver, establish};
use super::fault::Fault;
use super::options::TcpOptions;

/// Bytes for one permit of those that may be in flight.
const PERMIT: usize = 1024;

/// Small frames that may wait for the socket. One request in flight has at most a few: itself,
/// credits, a cancel.
const POSTS_MAX: usize = 64 * 1024;

/// How long a connection that cannot be written to is read for the worker's last word.
const PARTING_WAIT: Duration = Duration::from_millis(100);

/// A connection that is being made, stands, or has ended. It never comes back: make another one.
/// Dropping it ends it.
pub(super) struct Connection {
    pub(super) link: Arc<Link>,
    task: Task<()>,
}

/// What the task of a connection and its users share.
pub(super) struct Link {
    pub(super) worker: ProcessId,
    pub(super) env: Env,
    pub(super) options: Arc<TcpOptions>,
    pub(super) calls: Calls,
    pub(super) out: Outbox,
    phase: watch::Sender<Phase>,
    next_request: AtomicU64,
    /// Milliseconds of [`Env::now`] at the last request or answer.
    used_ms: AtomicU64,
}

#[derive(Clone)]
enum Phase {
    Connecting,
    Up(Slots),
    /// Why; as it is to be told to who asks anew.
    Down(Fault),
}

/// What the worker lets one client have in flight.
#[derive(Clone)]
struct Slots {
    calls: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    terms: Terms,
}

impl Connection {
    /// Begins to connect to `worker`, in a task of its own.
    pub(super) fn start(
        env: Env,
        options: Arc<TcpOptions>,
        worker: ProcessId,
        at: At,
    ) -> Result<Self> {
        let out = Outbox::new(OutboxOptions {
            bulk_bytes_max: options.send_bytes_max,
            posts_max: POSTS_MAX,
            ping_every: options.ping_every,
            ping: Message::Ping.encode(&Limits::HANDSHAKE)?,
        });
        let link = Arc::new(Link {
            worker,
            env: env.clone(),
            options,
            calls: Calls::default(),
            out,
            phase: watch::Sender::new(Phase::Connecting),
            next_request: AtomicU64::new(1),
            used_ms: AtomicU64::new(0),
        });
        let task = env.spawn("shuffle connection", drive(Arc::clone(&link), at));
        Ok(Self { link, task })
    }

    /// False once it has ended.
    pub(super) fn is_usable(&self) -> bool {
        !matches!(*self.link.phase.borrow(), Phase::Down(_))
    }

    /// Asks and waits for the end; `hear` is told if a push waits that says [`Hears::Waiting`].
    /// Dropping the future after the request was sent leaves the worker to do it.
    ///
    /// [`Hears::Waiting`]: dunlin_proto::wire::Hears::Waiting
    pub(super) async fn call(
        &self,
        ask: &Ask,
        hear: Option<Arc<dyn Hear>>,
    ) -> Result<Reply, Fault> {
        let (caller, answer) = oneshot::channel();
        self.link.ask(ask, Waiting::Call(Call::new(caller, hear))).await?;
        let gone = || Err(Fault::Broken(Error::retry("the connection has ended")));
        answer.await.unwrap_or_else(|_| gone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
        self.link.down(Fault::Broken(Error::retry("the connection was dropped")));
    }
}

impl Link {
    /// Sends a request as soon as the worker's terms allow it.
    pub(super) async fn ask(&self, ask: &Ask, waiting: Waiting) -> Result<RequestId, Fault> {
        let slots = self.up().await?;
        let is_read = matches!(ask, Ask::Read(..) | Ask::ReadMany(..));
        let of_kind = if is_read { &slots.reads } else { &slots.calls };
        let slot = Arc::clone(of_kind).acquire_owned().await;
        let slot = slot.map_err(|_| self.ended())?;
        let id = RequestId(self.next_request.fetch_add(1, Relaxed));
        let is_bulk = matches!(ask, Ask::Push(..));
        let pieces = ask.encode(id, &slots.limits()).map_err(Fault::Answered)?;
        let permits = slots.permits(&pieces)?;
        let bytes = Arc::clone(&slots.bytes).acquire_many_owned(permits).await;
        let bytes = bytes.map_err(|_| self.ended())?;
        self.calls.begin(id, Pending { waiting, _slot: slot, _bytes: bytes })?;
        // Dropped before the frame is on its way, the request must not stay listed.
        let unsent = Unsent { calls: &self.calls, id: Some(id) };
        self.touch();
        let sent = if is_bulk { self.out.send(pieces).await } else { self.out.post(pieces) };
        sent.map_err(|e| Fault::Broken(self.at(e)))?;
        unsent.sent();
        Ok(id)
    }

    /// Whether the worker understands reads of several partitions. Waits until the connection stands.
    pub(super) async fn reads_many(&self) -> Result<bool, Fault> {
        Ok(self.up().await?.terms.reads_many)
    }

    /// Says something small about a request. A connection that has ended does not want it.
    pub(super) fn tell(&self, message: &Message) {
        if let Ok(pieces) = message.encode(&Limits::HANDSHAKE) {
            drop(self.out.post(pieces));
        }
    }

    /// An error that names the worker.
    pub(super) fn at(&self, error: Error) -> Error {
        error.context(format!("shuffle worker {}", self.worker))
    }

    /// Waits until the connection stands.
    async fn up(&self) -> Result<Slots, Fault> {
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Connecting)).await;
        match settled.as_deref() {
            Ok(Phase::Up(slots)) => Ok(slots.clone()),
            Ok(Phase::Down(fault)) => Err(fault.clone()),
            Ok(Phase::Connecting) | Err(_) => Err(self.ended()),
        }
    }

    fn ended(&self) -> Fault {
        match &*self.phase.borrow() {
            Phase::Down(fault) => fault.clone(),
            _ => Fault::Broken(self.at(Error::retry("the connection has ended"))),
        }
    }

    /// The first end counts.
    fn down(&self, fault: Fault) {
        let mut slots = None;
        let changed = self.phase.send_if_modified(|phase| {
            if matches!(phase, Phase::Down(_)) {
                return false;
            }
            if let Phase::Up(up) = std::mem::replace(phase, Phase::Down(fault.clone())) {
                slots = Some(up);
            }
            true
        });
        if let Some(slots) = slots {
            [slots.calls, slots.reads, slots.bytes].iter().for_each(|slots| slots.close());
        }
        if changed {
            self.calls.fail(&fault.into());
        }
    }

    fn touch(&self) {
        self.used_ms.store(self.env.now().as_millis() as u64, Relaxed);
    }

    fn is_idle(&self) -> bool {
        let now = self.env.now().as_millis() as u64;
        let idle = now.saturating_sub(self.used_ms.load(Relaxed));
        u128::from(idle) > self.options.idle_max.as_millis() && self.calls.is_empty()
    }

    /// One message. `Invalid` if a worker may not send it, `Retry` if it leaves.
    fn take(&self, message: Message) -> Result<()> {
        match message {
            Message::Ping => Ok(()),
            Message::Goodbye(error) => Err(Error::retry(format!("the worker left: {error}"))),
            Message::Answer(id, answer) => {
                self.touch();
                self.calls.answer(id, answer)
            }
            other => {
                let kind = other.frame_type();
                Err(Error::invalid(format!("a worker sent a {kind:?} frame")))
            }
        }
    }
}

impl Slots {
    fn new(terms: Terms) -> Self {
        let of = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        let bytes = ByteCount(terms.bytes_max).as_usize() / PERMIT;
        let (calls, reads) = (of(terms.calls_max as usize), of(terms.reads_max as usize));
        Self { calls, reads, bytes: of(bytes), terms }
    }

    fn limits(&self) -> Limits {
        Limits::with_bodies(ByteCount(self.terms.body_max))
    }

    /// Permits for the bytes of a frame; `Answered` with `Exhausted` if it could never be sent.
    fn permits(&self, pieces: &[Bytes]) -> Result<u32, Fault> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes as u64 > self.terms.bytes_max {
            let [bytes, max] = [bytes as u64, self.terms.bytes_max].map(ByteCount);
            let text = format!("a shuffle request takes {bytes}, the worker allows {max}");
            return Err(Fault::Answered(Error::exhausted(text)));
        }
        let most = (self.terms.bytes_max as usize / PERMIT).max(1);
        Ok(u32::try_from(bytes.div_ceil(PERMIT).min(most)).unwrap_or(u32::MAX))
    }
}

/// Connects, then reads and writes until one of both fails.
async fn drive(link: Arc<Link>, at: At) {
    let made = establish(&link.env, &link.options, link.worker, &at).await;
    let Established { mut receiver, writer, terms } = match made {
        Ok(made) => made,
        Err(error) => {
            tracing::debug!(worker = %link.worker, %error, "no connection to a shuffle worker");
            // Who answers there is not the worker, and its id is never used again.
            let gone = error.kind() == Kind::Lost;
            let error = if gone { error.with_source(WorkerGone(link.worker)) } else { error };
            return link.down(Fault::Refused(link.at(error)));
        }
    };
    link.touch();
    link.phase.send_replace(Phase::Up(Slots::new(terms)));
    let mut taking = pin!(take(&link, &mut receiver));
    let error = tokio::select! {
        error = &mut taking => error,
        written = link.out.run(&link.env, writer) => {
            // What the worker said before it left is the better reason.
            let said = link.env.timeout(PARTING_WAIT, taking).await;
            said.or(written.err()).unwrap_or_else(|| Error::retry("the connection was closed"))
        }
    };
    tracing::debug!(worker = %link.worker, %error, "a connection to a shuffle worker ended");
    // Whatever the reason: what was asked may have been done or not.
    let error = Error::new(Kind::Retry, error.message()).with_source(error);
    link.down(Fault::Broken(link.at(error)));
}

/// Takes messages until something is wrong, or nobody has asked for long.
async fn take(link: &Link, receiver: &mut Receiver) -> Error {
    loop {
        let taken = match receiver.next().await {
            Ok(message) => link.take(message),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            return error;
        }
        if link.is_idle() {
            return Error::retry("the connection was idle");
        }
    }
}

/// A listed request whose frame is not yet on its way.
struct Unsent<'a> {
    calls: &'a Calls,
    id: Option<RequestId>,
}

impl Unsent<'_> {
    fn sent(mut self) {
        self.id = None;
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.calls.forget(id);
        }
    }
}
