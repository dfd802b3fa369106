//! What waits for answers on one connection, by request.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_base::{Error, Result};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::{Hear, Pushed};
use dunlin_proto::wire::{Answer, RequestId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::fault::Fault;
use super::inbox::Inbox;

/// Shuffles that one list may name.
const LIST_MAX: usize = 1 << 20;

/// How a call ended well.
#[derive(Debug)]
pub(super) enum Reply {
    /// With nothing to say, or a list.
    Done(Vec<ShuffleId>),
    /// A push, with an answer of its own.
    Pushed(Pushed),
}

/// Who waits for the answers to a request.
pub(super) enum Waiting {
    /// A call with one end.
    Call(Call),
    /// A read.
    Read(Arc<Inbox>),
    /// Nobody any more.
    Gone,
}

/// A call with one end.
pub(super) struct Call {
    caller: oneshot::Sender<Result<Reply, Fault>>,
    /// Of a list, what has come of it.
    list: Vec<ShuffleId>,
    /// Of a push, who is told that it waits.
    hear: Option<Arc<dyn Hear>>,
}

impl Call {
    pub(super) fn new(
        caller: oneshot::Sender<Result<Reply, Fault>>,
        hear: Option<Arc<dyn Hear>>,
    ) -> Self {
        Self { caller, list: Vec::new(), hear }
    }
}

/// A request that the worker has not ended. It keeps its slot and its bytes until then, whether or
/// not somebody waits: client and worker count alike.
pub(super) struct Pending {
    pub(super) waiting: Waiting,
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) _bytes: OwnedSemaphorePermit,
}

/// All requests in flight.
#[derive(Default)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Default)]
struct Table {
    pending: HashMap<RequestId, Pending>,
    /// Why the connection has ended.
    down: Option<Error>,
}

impl Calls {
    /// Lists a request before it is sent. `Broken` if the connection has ended.
    pub(super) fn begin(&self, id: RequestId, pending: Pending) -> Result<(), Fault> {
        let mut table = self.0.lock();
        if let Some(error) = &table.down {
            return Err(Fault::Broken(error.clone()));
        }
        table.pending.insert(id, pending);
        Ok(())
    }

    /// Strikes off a request that was not sent.
    pub(super) fn forget(&self, id: RequestId) {
        self.0.lock().pending.remove(&id);
    }

    /// Nobody waits for this read any more. True if the worker does not know that it has ended.
    pub(super) fn abandon(&self, id: RequestId) -> bool {
        let mut table = self.0.lock();
        let pending = table.pending.get_mut(&id);
        pending.map(|pending| pending.waiting = Waiting::Gone).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().pending.is_empty()
    }

    /// Hands an answer to who waits for it. `Invalid` if the worker may not say that.
    pub(super) fn answer(&self, id: RequestId, answer: Answer) -> Result<()> {
        let mut table = self.0.lock();
        let unexpected = || Error::invalid(format!("an unexpected answer to request {id}"));
        let outcome = match answer {
            Answer::Done => Ok(None),
            Answer::Pushed(pushed) => Ok(Some(pushed)),
            Answer::Failed(error) => Err(Fault::Answered(error)),
            Answer::Waiting(why) => {
                let pending = table.pending.get(&id).ok_or_else(unexpected)?;
                let hear = pending.waiting.hear().ok_or_else(unexpected)?;
                // Who hears it takes locks of its own.
                drop(table);
                hear.waits(why);
                return Ok(());
            }
            part => {
                let pending = table.pending.get_mut(&id).ok_or_else(unexpected)?;
                return pending.waiting.part(part)?.ok_or_else(unexpected);
            }
        };
        let pending = table.pending.remove(&id).ok_or_else(unexpected)?;
        drop(table);
        pending.waiting.end(outcome);
        Ok(())
    }

    /// The connection has ended: nobody waits any more.
    pub(super) fn fail(&self, error: &Error) {
        let pending = {
            let mut table = self.0.lock();
            table.down = Some(error.clone());
            std::mem::take(&mut table.pending)
        };
        for pending in pending.into_values() {
            pending.waiting.end(Err(Fault::Broken(error.clone())));
        }
    }
}

impl Waiting {
    /// A part of the answers; `None` if it does not belong to such a request.
    fn part(&mut self, part: Answer) -> Result<Option<()>> {
        match (self, part) {
            (Self::Gone, _) => {}
            (Self::Read(inbox), Answer::Opened) => inbox.open(),
            (Self::Read(inbox), Answer::Want(bytes)) => inbox.want(bytes),
            (Self::Read(inbox), Answer::Blocks(blocks)) => inbox.add(blocks)?,
            (Self::Call(call), Answer::Shuffles(some)) if call.list.len() < LIST_MAX => {
                call.list.extend(some);
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    /// Who is told that a push waits; `None` if nobody asked for it.
    fn hear(&self) -> Option<Arc<dyn Hear>> {
        match self {
            Self::Call(call) => call.hear.clone(),
            Self::Read(_) | Self::Gone => None,
        }
    }

    fn end(self, outcome: Result<Option<Pushed>, Fault>) {
        match self {
            Self::Call(Call { caller, list, .. }) => {
                let reply = |pushed: Option<_>| pushed.map_or(Reply::Done(list), Reply::Pushed);
                // The caller may have gone.
                drop(caller.send(outcome.map(reply)));
            }
            Self::Read(inbox) => inbox.end(outcome.map(drop)),
            Self::Gone => {}
        }
    }
}
