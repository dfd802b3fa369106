//! What a door counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::pause::Pauses;

/// A snapshot of a door's counters. All but `connections`, `requests`, `waiting` and what is held count
/// from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorStats {
    /// Connections open now.
    pub connections: u64,
    /// Requests in flight now, on all connections.
    pub requests: u64,
    /// Bytes of pushed bodies in flight now.
    pub bytes_held: u64,
    /// There are never more; but one push that is larger, alone.
    pub bytes_held_max: u64,
    /// Pushes that wait for room now, before their bodies are received.
    pub waiting: u64,
    /// Pushes that waited for it so long that it was said to their clients, if they understood that.
    pub paused: u64,
    /// Connections that were let in by the system.
    pub accepted: u64,
    /// Those of them that came from processes of this machine, past the network.
    pub on_machine: u64,
    /// Connections that were closed because there were too many.
    pub turned_away: u64,
    /// Connections that did not get past TLS and the first exchange.
    pub not_greeted: u64,
    /// Connections that were closed because of what the peer sent.
    pub broken_rules: u64,
    /// Requests taken.
    pub asked: u64,
    /// Bytes of blocks sent.
    pub bytes_sent: u64,
    /// Bytes of bodies received.
    pub bytes_received: u64,
}

/// The live counters.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) bytes_held: AtomicU64,
    /// Waits of pushes for room.
    pub(super) pauses: Pauses,
    pub(super) accepted: AtomicU64,
    pub(super) on_machine: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) not_greeted: AtomicU64,
    pub(super) broken_rules: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self, connections: usize, bytes_held_max: u64) -> DoorStats {
        DoorStats {
            connections: connections as u64,
            requests: self.requests.load(Relaxed),
            bytes_held: self.bytes_held.load(Relaxed),
            bytes_held_max,
            waiting: self.pauses.now(),
            paused: self.pauses.told(),
            accepted: self.accepted.load(Relaxed),
            on_machine: self.on_machine.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            not_greeted: self.not_greeted.load(Relaxed),
            broken_rules: self.broken_rules.load(Relaxed),
            asked: self.asked.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
        }
    }
}
