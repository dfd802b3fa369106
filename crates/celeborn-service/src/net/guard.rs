//! Who is let in at a port: anybody, or who proves which application he is.

use std::sync::Arc;

use dunlin_base::{Error, Result};
use dunlin_celeborn::frame::{Frame, RequestId};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::status::StatusCode;

use super::connection::Connection;
use super::port::Shared;
use crate::auth::{Caller, Keyring, Outcome, Stage, proof_in, stranger, unasked};

/// What a port asks of its clients.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    /// Nothing.
    Open,
    /// The proof which application they are, checked with these keys.
    Proof(Arc<Keyring>),
}

impl Guard {
    /// Who a client is when it connects.
    pub(super) fn first(&self) -> Caller {
        match self {
            Self::Open => Caller::Anybody,
            Self::Proof(_) => Caller::Stranger,
        }
    }
}

/// Answers a frame, or has the client prove who it is first. As [`Service::answer`](super::Service).
pub(super) async fn answer(
    shared: &Shared,
    connection: &Arc<Connection>,
    frame: Frame,
) -> Result<()> {
    match (&shared.guard, connection.caller()) {
        (Guard::Proof(keys), Caller::Stranger) => {
            match proof(&frame) {
                Some(asked) => prove(keys, connection, asked).await,
                None => turned_away(connection, &frame),
            }
            return Ok(());
        }
        (Guard::Proof(keys), Caller::Application(own)) if own.is_over() => {
            match keys.renewed(&own).await {
                Ok(own) => connection.enter(Caller::Application(own)),
                Err(why) => {
                    refuse(connection, &frame, &why);
                    return Ok(());
                }
            }
        }
        (Guard::Open, _) => {
            if let Some((id, _)) = proof(&frame) {
                connection.fail(id, told(&unasked()));
                return Ok(());
            }
        }
        _ => {}
    }
    shared.service.answer(connection, frame).await
}

/// The step of a proof that a frame is, if it is one.
fn proof(frame: &Frame) -> Option<(RequestId, Message)> {
    match frame {
        Frame::RpcRequest(id, body) => proof_in(body).map(|message| (*id, message)),
        _ => None,
    }
}

/// Takes a step. The stage is over meanwhile, so of two at a time one fails.
async fn prove(keys: &Keyring, connection: &Connection, (id, message): (RequestId, Message)) {
    let stage = std::mem::replace(&mut *connection.stage.lock(), Stage::Over);
    match keys.take(stage, message).await {
        Ok(Outcome::On(token, stage)) => {
            *connection.stage.lock() = stage;
            connection.respond(id, token);
        }
        Ok(Outcome::Proved(token, identity)) => {
            // Before the answer: what comes next is asked by the application.
            connection.enter(Caller::Application(identity));
            connection.respond(id, token);
        }
        Err(error) => {
            tracing::warn!(client = ?connection, %error, "a Celeborn client does not prove who it is");
            connection.fail(id, told(&error));
        }
    }
}

/// Refuses a frame of a stranger, which can prove nothing any more then. Said once for each connection.
fn turned_away(connection: &Connection, frame: &Frame) {
    let stage = std::mem::replace(&mut *connection.stage.lock(), Stage::Over);
    if !matches!(stage, Stage::Over) {
        tracing::warn!(client = ?connection, "a Celeborn client has no spark.celeborn.auth.enabled");
    }
    refuse(connection, frame, &stranger());
}

/// Tells a client that a frame of its is not answered, in the way that its kind allows.
fn refuse(connection: &Connection, frame: &Frame, why: &Error) {
    let (push, text) = (StatusCode::PushDataFailNonCriticalCausePrimary, told(why));
    match frame {
        Frame::RpcRequest(id, _) => connection.fail(*id, text),
        Frame::PushData(asked) => connection.fail(asked.id, push.failure(&text)),
        Frame::PushMergedData(asked) => connection.fail(asked.id, push.failure(&text)),
        Frame::ChunkFetchRequest(slice) => connection.no_chunk(*slice, text),
        // Nobody waits for an answer.
        _ => {}
    }
}

/// With what is to be done: it reaches nobody but in the log of a job.
fn told(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}
