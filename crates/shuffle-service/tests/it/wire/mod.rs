//! The door and its clients, with networks and peers that misbehave.

mod breaks;
mod credits;
mod deaf;
mod ends;
mod half;
mod hostile;
mod identity;
mod later;
mod limits;
mod machine;
mod many;
mod pool;
mod proxy;
mod puppet;
mod raw;
mod shared;
mod tls;
mod transit;

pub(crate) use puppet::Puppet;
pub(crate) use raw::Raw;

use std::time::Duration;

use dunlin_shuffle::TcpOptions;
use dunlin_shuffle_service::DoorOptions;

use super::bed::local;

/// A client that loses patience soon.
fn hasty() -> TcpOptions {
    TcpOptions {
        request_max: Duration::from_secs(10),
        ping_every: Duration::from_millis(50),
        silence_max: Duration::from_millis(700),
        stall_max: Duration::from_secs(2),
        frame_wait: Duration::from_secs(2),
        ..TcpOptions::default()
    }
}

/// A door that does.
fn hasty_door() -> DoorOptions {
    DoorOptions {
        ping_every: Duration::from_millis(50),
        silence_max: Duration::from_millis(700),
        stall_max: Duration::from_secs(2),
        frame_wait: Duration::from_secs(2),
        handshake_max: Duration::from_secs(1),
        ..local()
    }
}
