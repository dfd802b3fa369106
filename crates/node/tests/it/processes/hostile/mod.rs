//! Strangers and users who send anything, to every listener of a process: it lives, it serves the
//! others, it does not grow.
//!
//! The list of listeners is the process's own. What the system says it listens on must be that
//! list, and each listener must say in a `match` what is sent to it: one that is added without
//! being attacked fails here or does not compile.

mod calls;
mod raw;
mod served;

use std::collections::BTreeSet;

use dunlin_node::Listener;

use self::served::Served;

#[test]
fn every_listener_is_on_the_list() {
    let served = Served::start();
    let announced: BTreeSet<u16> =
        Listener::ALL.into_iter().map(|listener| served.address(listener).port()).collect();
    assert_eq!(announced.len(), Listener::ALL.len());
    if let Some(open) = served.listening() {
        assert_eq!(open, announced);
    }
}

#[test]
fn hostile_bytes_hurt_nobody_at_any_listener() {
    let mut served = Served::start();
    for listener in Listener::ALL {
        let address = served.address(listener);
        for batch in raw::batches(listener) {
            raw::send(address, &batch);
            served.assert_well(&format!("{} at {listener:?}", batch.name));
        }
        let held = raw::silent(address);
        served.assert_well(&format!("{} silent connections at {listener:?}", held.len()));
        drop(held);
    }
}

#[test]
fn hostile_calls_are_refused_and_hurt_nobody() {
    let mut served = Served::start();
    served.run(calls::tickets(&served));
    served.assert_well("hostile tickets");
    served.run(calls::tokens(&served));
    served.assert_well("hostile tokens");
    served.run(calls::commands(&served));
    served.assert_well("hostile commands");
    served.run(calls::sent_rows(&served));
    served.assert_well("hostile rows");
}
