//! Why a request failed, as far as asking again goes.

use dunlin_base::Error;

/// A failed request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// No connection could be made, or the peer is not the worker: asking again now is no use.
    Refused(Error),
    /// The connection broke: whether the request was done is not known. `Retry`.
    Broken(Error),
    /// The worker said so, or the request cannot be sent at all.
    Answered(Error),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) | Fault::Broken(error) | Fault::Answered(error) => error,
        }
    }
}
