//! One connection: takes what its client sends, and answers until either side leaves.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dunlin_base::net::{Outbox, OutboxOptions, Stream};
use dunlin_base::{Error, Kind, Result};
use dunlin_proto::wire::{Answer, Limits, Message, RequestId};
use tokio::sync::watch;

use super::accept::From;
use super::answer;
use super::greet::{Greeted, greet};
use super::receive::{Received, Receiver};
use super::requests::Requests;
use super::shared::Shared;

/// How long a connection that ends tries to say why, and waits for the peer to close.
pub(super) const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Answers that wait for the socket, for each request that may be in flight. A client that asks
/// for more without reading them loses its connection.
const POSTS_PER_REQUEST: usize = 4;

/// What the requests of a connection share with it.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) out: Outbox,
    pub(super) requests: Requests,
}

impl Connection {
    /// Says something small about a request, before all bulk. `Retry` if the connection has ended.
    pub(super) fn post(&self, id: RequestId, answer: Answer) -> Result<()> {
        self.out.post(Message::Answer(id, answer).encode(&self.shared.limits())?)
    }
}

/// Serves a connection to its end. Dropping the future ends it with all its requests.
pub(super) async fn serve(shared: &Arc<Shared>, stream: Stream, peer: From) {
    let greeted = tokio::select! {
        greeted = greet(shared, stream, peer) => greeted,
        () = closed(shared.closing.subscribe()) => return,
    };
    let greeted = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            shared.counters.not_greeted.fetch_add(1, Relaxed);
            tracing::warn!(%peer, %error, "the shuffle door lets a client go");
            return;
        }
    };
    tracing::debug!(%peer, build = greeted.hello.build, "a shuffle client came");
    let error = run(shared, greeted).await;
    if error.kind() == Kind::Invalid {
        shared.counters.broken_rules.fetch_add(1, Relaxed);
        tracing::warn!(%peer, %error, "a shuffle client breaks the protocol");
    } else {
        tracing::debug!(%peer, %error, "a shuffle client left");
    }
}

/// Reads and writes until one of both fails, and says why it ended.
async fn run(shared: &Arc<Shared>, greeted: Greeted) -> Error {
    let Greeted { mut receiver, writer, .. } = greeted;
    let Ok(out) = outbox(shared) else { return Error::bug("a ping cannot be encoded") };
    let requests = Requests::new(Arc::clone(shared));
    let connection = Arc::new(Connection { shared: Arc::clone(shared), out, requests });
    let owner = Owner(connection);
    let mut writing = pin!(owner.0.out.run(&shared.env, writer));
    let error = tokio::select! {
        error = take(&owner.0, &mut receiver) => error,
        written = &mut writing => {
            return written.err().unwrap_or_else(|| Error::bug("an outbox ended by itself"));
        }
        () = closed(shared.closing.subscribe()) => Error::retry("the shuffle worker stops"),
    };
    owner.0.requests.close();
    if let Ok(goodbye) = Message::Goodbye(error.clone()).encode(&Limits::HANDSHAKE) {
        owner.0.out.finish(goodbye);
        // The peer may be gone already, which is as good.
        let parting = async { drop((writing.await, receiver.drain().await)) };
        shared.env.timeout(GOODBYE_WAIT, parting).await;
    }
    error
}

fn outbox(shared: &Shared) -> Result<Outbox> {
    let options = &shared.options;
    let requests = options.calls_max as usize + options.reads_max as usize;
    Ok(Outbox::new(OutboxOptions {
        bulk_bytes_max: options.send_bytes_max,
        posts_max: requests.saturating_mul(POSTS_PER_REQUEST),
        ping_every: options.ping_every,
        ping: Message::Ping.encode(&Limits::HANDSHAKE)?,
    }))
}

/// Takes messages until something is wrong.
async fn take(connection: &Arc<Connection>, receiver: &mut Receiver) -> Error {
    let Connection { shared, requests, .. } = connection.as_ref();
    let mut asked = shared.env.now();
    loop {
        let received = match receiver.next(connection).await {
            Ok(received) => received,
            Err(error) => return error,
        };
        match handle(connection, received) {
            Ok(true) => asked = shared.env.now(),
            Ok(false) => {}
            Err(error) => return error,
        }
        let idle = shared.env.now().saturating_sub(asked);
        if idle > shared.options.idle_max && requests.is_idle() {
            return Error::retry("the connection was idle");
        }
    }
}

/// One message; true if it keeps the connection from being idle. Never waits.
fn handle(connection: &Arc<Connection>, received: Received) -> Result<bool> {
    let Received { message, frame_len, room } = received;
    match message {
        Message::Ping => return Ok(false),
        Message::Ask(id, ask) => answer::start(connection, id, ask, frame_len, room)?,
        // The read may have ended meanwhile.
        Message::Credit(id, bytes) => {
            if let Some(credit) = connection.requests.credit(id) {
                credit.add(bytes);
            }
        }
        Message::Cancel(id) => {
            if let Some(credit) = connection.requests.credit(id) {
                credit.cancel();
            }
        }
        Message::Goodbye(error) => return Err(Error::retry(format!("the client left: {error}"))),
        Message::Hello(_) | Message::Welcome(_) | Message::Answer(..) => {
            let kind = message.frame_type();
            return Err(Error::invalid(format!("a client sent a {kind:?} frame")));
        }
    }
    Ok(true)
}

async fn closed(mut closing: watch::Receiver<bool>) {
    // The sender lives as long as the door's connections.
    drop(closing.wait_for(|closing| *closing).await);
}

/// Ends the requests of a connection with it.
struct Owner(Arc<Connection>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.requests.close();
    }
}
