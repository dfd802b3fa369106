//! What the door of a shuffle worker counts, as metrics.

use dunlin_shuffle_service::DoorStats;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{bytes, counted, gauge};

/// Everything of a door.
pub(super) fn register(registry: &mut Registry, door: &DoorStats) {
    let about = "Connections open at the door of the shuffle worker";
    gauge(registry, ("shuffle_door_connections", about), door.connections);
    gauge(registry, ("shuffle_door_requests", "Shuffle requests in flight"), door.requests);
    bytes(registry, ("shuffle_door_held", "Pushed bodies in flight"), door.bytes_held);
    for (name, help, count) in [
        ("shuffle_door_accepted", "Connections that came", door.accepted),
        ("shuffle_door_on_machine", "Those of them past the network", door.on_machine),
        ("shuffle_door_turned_away", "Connections beyond the limit", door.turned_away),
        ("shuffle_door_not_greeted", "Connections that did not say hello", door.not_greeted),
        ("shuffle_door_broken_rules", "Clients that broke the protocol", door.broken_rules),
        ("shuffle_door_asked", "Shuffle requests taken", door.asked),
    ] {
        registry.register(name, help, counted(count));
    }
    for (name, help, count) in [
        ("shuffle_door_sent", "Bytes of blocks sent", door.bytes_sent),
        ("shuffle_door_received", "Bytes of pushed bodies received", door.bytes_received),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, counted(count));
    }
}
