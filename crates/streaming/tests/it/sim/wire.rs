//! What travels in a simulation.

use std::rc::Rc;

use dunlin_base::ProcessId;
use dunlin_streaming::commit::{Commit, Part};
use dunlin_streaming::cut::Cut;
use dunlin_streaming::group::Group;
use dunlin_streaming::home::{Frame, Marker};
use dunlin_streaming::id::{Mb, SlotId, Term};
use dunlin_streaming::record::{Condition, Key};
use dunlin_streaming::slot::SlotRecord;

use super::rows::Body;
use super::store::Records;

/// Between executors.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Frame(SlotId, Frame<Body>),
    Marker(SlotId, Marker),
    /// Send this again, to the slot's home at the executor.
    Ask {
        mb: Mb,
        from: SlotId,
        to: SlotId,
        at: ProcessId,
    },
    Poke {
        mb: Mb,
        slot: SlotId,
    },
    PinsAsk {
        source: SlotId,
        term: Term,
        home: SlotId,
        home_term: Term,
        at: ProcessId,
    },
    PinsAnswer {
        source: SlotId,
        term: Term,
        home: SlotId,
        home_term: Term,
        cuts: Vec<(Mb, Cut)>,
    },
}

impl Message {
    /// The slot that it is for.
    pub(super) fn slot(&self) -> SlotId {
        match self {
            Self::Frame(slot, _) | Self::Marker(slot, _) => *slot,
            Self::Ask { from, .. } => *from,
            Self::Poke { slot, .. } => *slot,
            Self::PinsAsk { home, .. } => *home,
            Self::PinsAnswer { source, .. } => *source,
        }
    }
}

/// To the store.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Read,
    Write(Vec<Condition>, Write),
}

/// One record.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Group(Group),
    Slot(SlotId, SlotRecord),
    Part(Part),
    Commit(Commit),
}

impl Write {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Group(group) => Key::Group(group.epoch),
            Self::Slot(slot, _) => Key::Slot(*slot),
            Self::Part(part) => Key::Part(part.epoch, part.slot, part.term),
            Self::Commit(commit) => Key::Commit(commit.epoch),
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Message(ProcessId, Message),
    Timer(ProcessId),
    Request(ProcessId, Request),
    Read(ProcessId, Rc<Records>),
    /// A write was tried. Whether it happened is read from the records: the answer may be lost.
    Wrote(ProcessId, Key),
    LeaseEnds(ProcessId),
    Resume(ProcessId),
    Strike(usize),
}
