//! Every fault that can be done, by name. The table is the documentation: `dunlin-chaos --list`
//! prints it, and `docs/operate/faults.md` explains it.

use dunlin_base::{Error, Kind, Result, fail};

use super::expected::{LONG, WIDE};
use super::writes::WRITE;
use crate::processes::{Needs, Role, Service, Weather};

/// Whether a query may fail with `lost` before its client has any of its rows. Lost output is made
/// again, so it may not. A client that has rows already may be told: rows that are made again can
/// come in another order.
pub const LOST_MAY_BE: bool = false;

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// From one process of this role to the metadata store.
    Store(Role),
    /// From all others to one shuffle worker.
    Shuffle,
    /// From clients to one gateway.
    Door,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `kill -9`; started again after the time.
    Kill(Role),
    /// `kill -9` of a shuffle worker, and its folder is gone; once another one has adopted what it had in
    /// the object store, and after the time, a new one begins in its place.
    Lose,
    /// SIGSTOP; SIGCONT after the time.
    Pause(Role),
    /// SIGTERM; once it has ended, another is started in its place.
    Drain(Role),
    /// A process ends by itself at a fail point; started again after the time.
    Fail(Role, Point),
    /// A client asks, and goes after the time without having read the result.
    Leave,
    /// `kill -9` of the member of etcd that leads; started again after the time.
    KillLeader,
    /// `kill -9` of most members of etcd; started again after the time.
    LoseQuorum,
    /// SIGSTOP of the member that leads; SIGCONT after the time.
    PauseLeader,
    /// etcd forgets all that is not current while one process of this role cannot watch.
    Compact(Role),
    /// Another weather on connections, for the time.
    Weather(Link, Weather),
    /// The object store serves otherwise, for the time.
    Serve(Service),
    /// The disk of a process has no room, for the time; a client asks what needs it.
    FillDisk(Role),
    /// Packets of a shuffle worker's or an executor's host are dropped, for the time: all, or those
    /// of one direction.
    Cut {
        /// One direction only.
        one_way: bool,
    },
    /// Each write of etcd to its disk takes so many milliseconds longer, for the time.
    SlowSync(u32),
}

/// Where a process fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The name of the fail point.
    pub name: &'static str,
    /// It fails at one of so many first passages.
    pub passages: u64,
    /// The query that passes it.
    pub query: &'static str,
}

/// A fault with what may come of it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done, for people.
    pub about: &'static str,
    /// What is done.
    pub act: Act,
    /// How long, in milliseconds: from, to.
    pub ms: (u32, u32),
    /// Clients may be told to ask again.
    pub retry: bool,
    /// Clients may be told that data were lost; before their first row only if [`LOST_MAY_BE`].
    pub lost: bool,
    /// Clients may be told that a disk is full, if they are told which.
    pub full: bool,
}

impl Fault {
    /// What the cluster must have for it.
    pub fn needs(&self) -> Needs {
        Needs {
            objects: matches!(self.act, Act::Serve(_) | Act::Lose),
            disks: matches!(self.act, Act::FillDisk(_)),
            hosts: matches!(self.act, Act::Cut { .. }),
            trace: matches!(self.act, Act::SlowSync(_)),
            adopts: matches!(self.act, Act::Lose),
        }
    }

    /// Whether a client may get an error of this kind while the fault strikes. All other errors
    /// are defects, whatever strikes.
    pub fn allows(&self, kind: Kind) -> bool {
        match kind {
            Kind::Retry => self.retry,
            Kind::Lost => self.lost,
            Kind::Exhausted => self.full,
            Kind::Fenced | Kind::Invalid | Kind::Bug => false,
        }
    }
}

/// The fault with this name. `Invalid`: there is none.
pub fn find(name: &str) -> Result<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name).ok_or_else(|| {
        Error::invalid(format!("there is no fault '{name}'"))
            .with_hint("dunlin-chaos --list names all")
    })
}

/// What a cluster must have so that all these can be done to it.
pub fn needs<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Needs {
    faults.into_iter().map(Fault::needs).fold(Needs::default(), Needs::and)
}

/// Nothing of it may be seen by clients: others do what the process did.
const fn hidden(name: &'static str, about: &'static str, act: Act, ms: (u32, u32)) -> Fault {
    Fault { name, about, act, ms, retry: false, lost: false, full: false }
}

/// Clients may be told to ask again: their gateway was without its store, or without the others.
const fn retried(name: &'static str, about: &'static str, act: Act, ms: (u32, u32)) -> Fault {
    Fault { retry: true, ..hidden(name, about, act, ms) }
}

/// Shuffled data end with their worker, and with them a result in the middle.
const fn losing(name: &'static str, about: &'static str, act: Act, ms: (u32, u32)) -> Fault {
    Fault { lost: true, ..retried(name, about, act, ms) }
}

/// A disk is full, and who needs it says so.
const fn full(name: &'static str, about: &'static str, act: Act, ms: (u32, u32)) -> Fault {
    Fault { full: true, ..hidden(name, about, act, ms) }
}

/// A process is away for a moment.
const DOWN: (u32, u32) = (0, 1500);
/// A process is silent for longer than its lease lives.
const PAST_LEASE: (u32, u32) = (3500, 6000);
/// A connection is bad.
const BAD: (u32, u32) = (500, 4000);

/// The store's side of a link: requests arrive, answers do not.
const MUTE: Weather = Weather::MUTE;

/// A fail point that every query passes.
const fn point(name: &'static str) -> Point {
    Point { name, passages: 4, query: LONG }
}

/// All faults.
pub const FAULTS: &[Fault] = &[
    hidden("kill-executor", "kill -9 of an executor", Act::Kill(Role::Executor), DOWN),
    hidden("kill-gateway", "kill -9 of a gateway", Act::Kill(Role::Gateway), DOWN),
    losing("kill-shuffle", "kill -9 of a shuffle worker", Act::Kill(Role::Shuffle), DOWN),
    retried(
        "lose-shuffle",
        "kill -9 of a shuffle worker for good, another one adopts its objects",
        Act::Lose,
        DOWN,
    ),
    hidden(
        "pause-executor",
        "SIGSTOP of an executor past its lease, then SIGCONT",
        Act::Pause(Role::Executor),
        PAST_LEASE,
    ),
    retried(
        "pause-gateway",
        "SIGSTOP of a gateway past its lease, then SIGCONT",
        Act::Pause(Role::Gateway),
        PAST_LEASE,
    ),
    losing(
        "pause-shuffle",
        "SIGSTOP of a shuffle worker past its lease, then SIGCONT",
        Act::Pause(Role::Shuffle),
        PAST_LEASE,
    ),
    hidden(
        "drain-executor",
        "SIGTERM of an executor, another in its place",
        Act::Drain(Role::Executor),
        DOWN,
    ),
    hidden(
        "drain-gateway",
        "SIGTERM of a gateway, another in its place",
        Act::Drain(Role::Gateway),
        DOWN,
    ),
    losing(
        "drain-shuffle",
        "SIGTERM of a shuffle worker, another in its place",
        Act::Drain(Role::Shuffle),
        DOWN,
    ),
    hidden(
        "after-claim",
        "an executor ends after a claim",
        Act::Fail(Role::Executor, point(fail::AFTER_CLAIM)),
        DOWN,
    ),
    hidden(
        "in-slice",
        "an executor ends in the middle of a slice",
        Act::Fail(Role::Executor, point(fail::IN_SLICE)),
        DOWN,
    ),
    hidden(
        "before-commit",
        "an executor ends after the last push of a task, before its commit",
        Act::Fail(Role::Executor, point(fail::BEFORE_COMMIT)),
        DOWN,
    ),
    hidden(
        "before-seal",
        "an executor ends after the last commit of a stage, before its seal",
        Act::Fail(Role::Executor, Point { name: fail::BEFORE_SEAL, passages: 1, query: WIDE }),
        DOWN,
    ),
    hidden(
        "in-result",
        "a gateway ends in the middle of a result",
        Act::Fail(Role::Gateway, Point { passages: 3, ..point(fail::IN_RESULT) }),
        DOWN,
    ),
    hidden(
        "in-write",
        "an executor ends after it has written a file, before its commit",
        Act::Fail(Role::Executor, Point { name: fail::IN_WRITE, passages: 2, query: WRITE }),
        DOWN,
    ),
    hidden(
        "before-decide",
        "a gateway ends when all files of a write are there, before it decides that they count",
        Act::Fail(Role::Gateway, Point { name: fail::BEFORE_DECIDE, passages: 1, query: WRITE }),
        DOWN,
    ),
    hidden(
        "before-done",
        "a gateway ends when all files of a write have their names, before it says so",
        Act::Fail(Role::Gateway, Point { name: fail::BEFORE_DONE, passages: 1, query: WRITE }),
        DOWN,
    ),
    hidden("client-goes", "a client goes in the middle of its query", Act::Leave, (10, 800)),
    losing("kill-etcd", "kill -9 of the member of etcd that leads", Act::KillLeader, DOWN),
    losing(
        "lose-quorum",
        "kill -9 of most members of etcd, all back after a while",
        Act::LoseQuorum,
        (500, 5000),
    ),
    losing(
        "pause-etcd",
        "SIGSTOP of the member of etcd that leads, then SIGCONT",
        Act::PauseLeader,
        (500, 4000),
    ),
    retried(
        "compact-etcd",
        "etcd forgets the past while an executor is cut off from it",
        Act::Compact(Role::Executor),
        (200, 1500),
    ),
    retried(
        "compact-under-gateway",
        "etcd forgets the past while a gateway is cut off from it",
        Act::Compact(Role::Gateway),
        (200, 1500),
    ),
    hidden(
        "slow-etcd",
        "each write of etcd to its disk takes 150 ms longer; no process may lose its lease",
        Act::SlowSync(150),
        (3000, 6000),
    ),
    hidden(
        "executor-without-store",
        "an executor is cut off from etcd past its lease, and from nothing else",
        Act::Weather(Link::Store(Role::Executor), Weather::CUT),
        PAST_LEASE,
    ),
    hidden(
        "executor-unanswered",
        "what an executor asks of etcd arrives, the answers do not",
        Act::Weather(Link::Store(Role::Executor), MUTE),
        PAST_LEASE,
    ),
    retried(
        "gateway-without-store",
        "a gateway is cut off from etcd past its lease",
        Act::Weather(Link::Store(Role::Gateway), Weather::CUT),
        PAST_LEASE,
    ),
    losing(
        "shuffle-without-store",
        "a shuffle worker is cut off from etcd past its lease",
        Act::Weather(Link::Store(Role::Shuffle), Weather::CUT),
        PAST_LEASE,
    ),
    retried(
        "cut-shuffle",
        "a shuffle worker is cut off from all that push and read",
        Act::Weather(Link::Shuffle, Weather::CUT),
        BAD,
    ),
    retried(
        "deaf-shuffle",
        "a shuffle worker hears nothing",
        Act::Weather(Link::Shuffle, Weather::DEAF),
        BAD,
    ),
    retried(
        "mute-shuffle",
        "what a shuffle worker answers does not arrive",
        Act::Weather(Link::Shuffle, Weather::MUTE),
        BAD,
    ),
    losing(
        "break-shuffle",
        "connections to a shuffle worker break and are refused",
        Act::Weather(Link::Shuffle, Weather::REFUSED),
        (50, 1500),
    ),
    hidden(
        "slow-shuffle",
        "100 kB/s to and from a shuffle worker",
        Act::Weather(Link::Shuffle, Weather::slow(100_000)),
        BAD,
    ),
    losing(
        "flip-shuffle",
        "one bit in 50 kB to and from a shuffle worker is turned",
        Act::Weather(Link::Shuffle, Weather::flipping(50_000)),
        BAD,
    ),
    retried(
        "cut-door",
        "a gateway is cut off from its clients",
        Act::Weather(Link::Door, Weather::CUT),
        BAD,
    ),
    hidden(
        "break-door",
        "connections of clients to a gateway break and are refused",
        Act::Weather(Link::Door, Weather::REFUSED),
        (50, 1500),
    ),
    hidden(
        "slow-door",
        "100 kB/s between a gateway and its clients",
        Act::Weather(Link::Door, Weather::slow(100_000)),
        BAD,
    ),
    retried("store-503", "the object store answers 503 to all", Act::Serve(Service::Busy), BAD),
    retried(
        "store-mute",
        "the object store does what it is asked, and its answers are lost",
        Act::Serve(Service::Mute),
        BAD,
    ),
    hidden(
        "store-slow",
        "the object store takes 300 ms longer for each request",
        Act::Serve(Service::Slow(300)),
        BAD,
    ),
    retried(
        "store-cut-body",
        "the object store sends half of each body",
        Act::Serve(Service::Short),
        BAD,
    ),
    full(
        "disk-full-shuffle",
        "the disk of a shuffle worker is full",
        Act::FillDisk(Role::Shuffle),
        BAD,
    ),
    full(
        "disk-full-executor",
        "the disk of an executor is full",
        Act::FillDisk(Role::Executor),
        BAD,
    ),
    losing(
        "netns-cut",
        "all packets of a shuffle worker's or an executor's host are dropped past its lease",
        Act::Cut { one_way: false },
        PAST_LEASE,
    ),
    losing(
        "netns-oneway",
        "the packets that come to such a host, or those that go, are dropped past its lease",
        Act::Cut { one_way: true },
        PAST_LEASE,
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_names_and_times_are_times() {
        let names: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), FAULTS.len());
        for fault in FAULTS {
            assert!(fault.ms.0 < fault.ms.1, "{}", fault.name);
            assert_eq!(find(fault.name).expect("it is there").name, fault.name);
            for kind in [Kind::Bug, Kind::Invalid, Kind::Fenced] {
                assert!(!fault.allows(kind), "{}", fault.name);
            }
        }
        assert!(find("none").is_err());
    }

    #[test]
    fn every_fail_point_has_its_fault() {
        for point in fail::POINTS {
            let has = |fault: &&Fault| matches!(fault.act, Act::Fail(_, at) if at.name == point);
            assert!(FAULTS.iter().any(|fault| has(&fault)), "{point}");
        }
    }
}
