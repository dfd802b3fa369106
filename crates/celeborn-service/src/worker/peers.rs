//! The way to the workers that hold second copies: their replicate ports, one connection to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Result};
use dunlin_celeborn::frame::{Frame, RequestId};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::push::PushReply;
use dunlin_celeborn::status::StatusCode;
use parking_lot::Mutex;

use super::push::Failure;
use crate::net::{Client, Tls};

/// A worker answers a connection within this, or its pushes go elsewhere.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// For so long nobody tries again to connect to a worker that did not answer.
const REFUSED_FOR: Duration = Duration::from_secs(60);

pub(super) struct Peers {
    env: Env,
    tls: Option<Tls>,
    known: Mutex<HashMap<WorkerId, Arc<Peer>>>,
}

#[derive(Default)]
struct Peer {
    /// Held while connecting: others wait for the outcome.
    client: tokio::sync::Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Open(Arc<Client>),
    /// It did not answer; not before this again.
    Refused(Duration),
}

impl Peers {
    pub(super) fn new(env: Env, tls: Option<Tls>) -> Self {
        Self { env, tls, known: Mutex::default() }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Sends a push to the worker of the second copy, and waits for what became of it. A failure is that
    /// of the replica, in the words that clients know.
    pub(super) async fn push(
        &self,
        to: &WorkerId,
        limit: Duration,
        frame: impl FnOnce(RequestId) -> Frame,
    ) -> std::result::Result<PushReply, Failure> {
        let client = self.client(to).await.map_err(|error| {
            Failure::new(StatusCode::PushDataCreateConnectionFailReplica, &error)
        })?;
        let answer = self.env.timeout(limit, client.ask(frame)).await.ok_or_else(|| {
            let text = format!("no answer from {to} within {} s", limit.as_secs());
            Failure::new(StatusCode::PushDataTimeoutReplica, &Error::retry(text))
        })?;
        let answer = answer.map_err(|error| {
            Failure::new(StatusCode::PushDataConnectionExceptionReplica, &error)
        })?;
        replied(answer)
    }

    /// Who did not answer, and when. One that is being connected to is not among them.
    pub(super) fn refused(&self, now: Duration) -> Vec<(WorkerId, Duration)> {
        let known = self.known.lock();
        let refused = |(id, peer): (&WorkerId, &Arc<Peer>)| match &*peer.client.try_lock().ok()? {
            State::Refused(until) if now < *until => Some((id.clone(), *until - REFUSED_FOR)),
            _ => None,
        };
        known.iter().filter_map(refused).collect()
    }

    async fn client(&self, to: &WorkerId) -> Result<Arc<Client>> {
        let peer = Arc::clone(self.known.lock().entry(to.clone()).or_default());
        let mut state = peer.client.lock().await;
        match &*state {
            State::Open(client) if client.is_open() => return Ok(Arc::clone(client)),
            State::Refused(until) if self.env.now() < *until => {
                return Err(Error::retry(format!("{to} did not answer a moment ago")));
            }
            _ => {}
        }
        let address = format!("{}:{}", to.host, to.replicate_port);
        match Client::connect(&self.env, &address, (CONNECT_MAX, self.tls.as_ref())).await {
            Ok(client) => {
                let client = Arc::new(client);
                *state = State::Open(Arc::clone(&client));
                Ok(client)
            }
            Err(error) => {
                *state = State::Refused(self.env.now() + REFUSED_FOR);
                Err(error)
            }
        }
    }
}

/// What a worker answers to a copy.
fn replied(answer: Frame) -> std::result::Result<PushReply, Failure> {
    let unclear =
        |error: Error| Failure::new(StatusCode::PushDataFailNonCriticalCauseReplica, &error);
    match answer {
        Frame::RpcResponse(_, body) => PushReply::decode(&Bytes::clone(&body)).map_err(unclear),
        Frame::RpcFailure(_, text) => {
            let known = [StatusCode::PushDataWriteFailReplica, StatusCode::PushDataTimeoutReplica];
            let code = StatusCode::of_failure(&text).filter(|code| known.contains(code));
            let code = code.unwrap_or(StatusCode::PushDataFailNonCriticalCauseReplica);
            Err(Failure { code, text: text.to_string() })
        }
        other => {
            let kind = other.kind();
            Err(unclear(Error::invalid(format!("a copy was answered with a {kind:?} frame"))))
        }
    }
}
