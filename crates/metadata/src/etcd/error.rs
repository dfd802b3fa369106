//! What a failure of etcd means to a caller.

use dunlin_base::{Error, Kind};

/// The gRPC codes that decide something, by their numbers in the gRPC specification.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const DATA_LOSS: i32 = 15;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// The error for a failed call; `what` names the call.
pub(super) fn from_etcd(what: &str, e: etcd_client::Error) -> Error {
    let kind = kind(&e);
    let error = Error::new(kind, format!("etcd {what}: {e}")).with_source(e);
    match kind {
        Kind::Exhausted => {
            error.with_hint("etcd is full or overloaded: compact it, or raise its quota")
        }
        _ => error,
    }
}

fn kind(e: &etcd_client::Error) -> Kind {
    use etcd_client::Error as E;
    match e {
        E::GRpcStatus(status) => kind_of_code(status.code() as i32),
        E::InvalidArgs(_) | E::InvalidUri(_) | E::InvalidMetadataValue(_) => Kind::Invalid,
        // The client has no other cause for this than a lease without time to live.
        E::LeaseKeepAliveError(_) => Kind::Fenced,
        _ => Kind::Retry,
    }
}

fn kind_of_code(code: i32) -> Kind {
    match code {
        // Nothing but a lease can be missing in the calls that we make.
        code::NOT_FOUND => Kind::Fenced,
        code::RESOURCE_EXHAUSTED => Kind::Exhausted,
        code::INVALID_ARGUMENT
        | code::PERMISSION_DENIED
        | code::FAILED_PRECONDITION
        | code::UNIMPLEMENTED
        | code::UNAUTHENTICATED => Kind::Invalid,
        code::DATA_LOSS => Kind::Lost,
        _ => Kind::Retry,
    }
}

/// True if the wanted revisions are compacted (or too big to receive): only a new read helps.
pub(super) fn is_out_of_range(e: &etcd_client::Error) -> bool {
    matches!(e, etcd_client::Error::GRpcStatus(s) if s.code() as i32 == code::OUT_OF_RANGE)
}
