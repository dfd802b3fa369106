//! Numbers with names. A field of a message has the number; one that is not known stays as it is.

use prost::Enumeration;

/// Which copy of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LocationMode {
    /// The one that clients push to.
    Primary = 0,
    /// The one that the primary's worker pushes to.
    Replica = 1,
}

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum StreamType {
    /// Chunks that are asked for.
    Chunk = 0,
    /// Buffers against credit.
    Credit = 1,
}

/// What a worker is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum WorkerEventType {
    /// Nothing.
    None = 0,
    /// Exit now.
    Immediately = 1,
    /// Take nothing new, wait until all data are gone, exit.
    Decommission = 2,
    /// The same, but stay.
    DecommissionThenIdle = 3,
    /// Finish what is open, keep the data, exit.
    Graceful = 4,
    /// Be a worker again.
    Recommission = 5,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum WorkerState {
    /// It works.
    Normal = 0,
    /// It has no data and takes none.
    Idle = 1,
    /// It has gone.
    Exit = 2,
    /// It waits until its data are gone, and stays.
    InDecommissionThenIdle = 3,
    /// It waits until its data are gone, and goes.
    InDecommission = 4,
    /// It finishes what is open, and goes.
    InGraceful = 5,
    /// It goes.
    InExit = 6,
}

/// What a proof is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AuthType {
    /// Nothing.
    Undefined = 0,
    /// A new application that has no secret with the server yet.
    Client = 1,
    /// A connection of a known application.
    Connection = 2,
}
