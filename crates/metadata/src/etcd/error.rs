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
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const DATA_LOSS: i32 = 15;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// The error for a failed call; `what` names the call.
pub(super) fn from_etcd(what: &str, e: etcd_client::Error) -> Error {
    let kind = kind(&e);
    let hint = hint(&e);
    let error = Error::new(kind, format!("etcd {what}: {}", said(&e))).with_source(e);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What a person reads of it: what etcd or the transport said, and the first cause. The client's own
/// text is that of all layers between, in the notation of the language.
fn said(e: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = e else { return e.to_string() };
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    let cause = cause.map(ToString::to_string).filter(|cause| cause != status.message());
    match cause {
        Some(cause) => format!("{}: {cause}", status.message()),
        None => status.message().to_owned(),
    }
}

fn hint(e: &etcd_client::Error) -> Option<&'static str> {
    let etcd_client::Error::GRpcStatus(status) = e else { return None };
    match status.code() as i32 {
        code::RESOURCE_EXHAUSTED => {
            Some("etcd is full or overloaded: compact it, or raise its quota")
        }
        code::UNAVAILABLE => Some("look whether etcd runs at these addresses and has a leader"),
        _ => None,
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
