//! The names of things in a job. Used by every module; numbers of different kinds do not mix.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after it.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The number of a group, and of its commit. The first is 1; 0 is "nothing is committed".
    Epoch, u64
}
number! {
    /// The number of a micro-batch: the logical clock that all slots of a job share. The first is 1.
    Mb, u64
}
number! {
    /// The fencing number of a slot's owner. The first is 1; each claim and each hand-over raises it.
    Term, u64
}
number! {
    /// A split of a source: what is read in the order of its offsets (a file, a queue's partition).
    SplitId, u32
}
number! {
    /// A stage of a job.
    StageNo, u16
}

/// The unit of placement, of state and of fencing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The stage.
    pub stage: StageNo,
    /// Which of the stage's slots, from 0.
    pub number: u16,
}

impl SlotId {
    /// Slot `number` of stage `stage`.
    pub const fn new(stage: u16, number: u16) -> Self {
        Self { stage: StageNo(stage), number }
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.number)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many shards the hashes of keys have. State is stored per shard, so that another number of slots
/// can take it over without opening it.
pub const VSHARDS: u16 = 256;
