//! What a failed read or write of the shuffle says beyond its kind: whom it concerned and what is
//! missing. It is the cause of the error, so it survives every wrapper and no text is parsed.

use std::error::Error as StdError;
use std::fmt;

use dunlin_base::{Error, Kind, ProcessId, StageId};
use dunlin_proto::shuffle::MapAttempt;

/// A worker is gone for good: nobody has a card of it, or another process answers in its place.
/// Cause of a [`Kind::Lost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerGone(pub ProcessId);

impl WorkerGone {
    /// The error of a call to a worker that is gone.
    pub(crate) fn error(worker: ProcessId, why: &str) -> Error {
        Error::lost(format!("shuffle worker {worker} is gone{why}")).with_source(Self(worker))
    }
}

impl fmt::Display for WorkerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shuffle worker {} is gone", self.0)
    }
}

impl StdError for WorkerGone {}

/// What [`crate::read_partition`] could not read. Cause of its errors of the kinds `Lost` (the
/// output is gone: who may, has it made again) and `Retry` (the worker is out of reach for now).
#[derive(Clone, Debug)]
pub struct ReadFault {
    /// The stage whose output it is.
    pub stage: StageId,
    /// Everybody who was to hold the blocks that did not come; never empty.
    pub holders: Vec<Unread>,
    /// The maps whose blocks did not come, or not all of them.
    pub maps: Vec<MapAttempt>,
    cause: Error,
}

/// A worker that was to hold blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its process.
    pub worker: ProcessId,
    /// The worker itself is gone, and all that it held.
    pub gone: bool,
    /// The blocks were acknowledged as being in the object store: somebody may adopt them.
    pub stored: bool,
}

impl ReadFault {
    /// What an error says was not read.
    pub fn of(error: &Error) -> Option<&Self> {
        find(error)
    }

    /// True if nobody of the holders is there any more.
    pub fn all_gone(&self) -> bool {
        self.holders.iter().all(|holder| holder.gone)
    }

    /// Adds to an error what was not read, if it is one of the kinds that this helps with.
    pub(crate) fn attach(
        error: Error,
        stage: StageId,
        holders: Vec<Unread>,
        maps: Vec<MapAttempt>,
    ) -> Error {
        if !matches!(error.kind(), Kind::Lost | Kind::Retry) {
            return error;
        }
        let outer = Error::new(error.kind(), error.message());
        let outer = error.hint().map_or(outer.clone(), |hint| outer.with_hint(hint));
        outer.with_source(Self { stage, holders, maps, cause: error })
    }
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the output of stage {} was not read from", self.stage)?;
        self.holders.iter().try_for_each(|holder| write!(f, " {}", holder.worker))
    }
}

impl StdError for ReadFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

/// A worker did not take what was pushed, and another one may. Cause of errors of
/// [`crate::ShuffleWriter`] of the kind `Retry`: whatever the worker said, the rows are still here
/// and nothing is lost.
#[derive(Clone, Debug)]
pub struct PushFault {
    /// The worker.
    pub worker: ProcessId,
    cause: Error,
}

impl PushFault {
    /// The worker that an error says did not take a push.
    pub fn of(error: &Error) -> Option<&Self> {
        find(error)
    }

    /// The error with this as its cause, if another worker may take what this one did not.
    pub fn attach(error: Error, worker: ProcessId) -> Error {
        if !matches!(error.kind(), Kind::Lost | Kind::Retry) {
            return error;
        }
        Error::retry(error.message()).with_source(Self { worker, cause: error })
    }
}

impl fmt::Display for PushFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} did not take a push", self.worker)
    }
}

impl StdError for PushFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

/// The first cause of type `T`.
pub(crate) fn find<T: StdError + 'static>(error: &Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_through_other_causes() {
        let worker = ProcessId::from_u128(7);
        let gone = WorkerGone::error(worker, "").context("connecting");
        let holders = vec![Unread { worker, gone: true, stored: false }];
        let fault = ReadFault::attach(gone, StageId(3), holders.clone(), Vec::new());
        assert_eq!((fault.kind(), fault.message().contains("gone")), (Kind::Lost, true));
        let outer = Error::lost("a task failed").with_source(fault);
        let found = ReadFault::of(&outer).expect("it is in the chain");
        assert_eq!((found.stage, &found.holders, found.all_gone()), (StageId(3), &holders, true));
        assert!(PushFault::of(&outer).is_none());
    }

    #[test]
    fn errors_that_no_other_worker_helps_with_stay_as_they_are() {
        let worker = ProcessId::from_u128(7);
        let full = Error::exhausted("the disk is full");
        assert!(PushFault::of(&PushFault::attach(full.clone(), worker)).is_none());
        assert!(
            ReadFault::of(&ReadFault::attach(full, StageId(0), Vec::new(), Vec::new())).is_none()
        );
        let damaged = PushFault::attach(Error::lost("a block is corrupt"), worker);
        assert_eq!(PushFault::of(&damaged).map(|fault| fault.worker), Some(worker));
        assert_eq!(damaged.kind(), Kind::Retry, "the rows are still here");
    }
}
