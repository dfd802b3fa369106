//! Which records of uploads there are, and what each may name. A slot belongs to one upload at a time;
//! the next one in it overwrites its record.
//!
//! The one thing to know: a slot remembers the uploads that it has begun until they are known to be
//! completed or aborted, also if the task that uploads is dropped.

use std::collections::BTreeMap;

use dunlin_proto::uploads::{UPLOADS_MAX, Upload};
use parking_lot::Mutex;

/// Slots that are not used again. The records of more are left to the sweep of gateways.
const RETIRED_MAX: usize = 64;

/// All slots of a worker.
#[derive(Default)]
pub(super) struct Slots(Mutex<State>);

#[derive(Default)]
struct State {
    free: BTreeMap<u32, Rest>,
    /// Their records may be written or removed late.
    retired: BTreeMap<u32, Rest>,
    /// The number of the next new one.
    next: u32,
}

/// What a slot is left with.
#[derive(Default)]
struct Rest {
    open: Vec<Upload>,
    recorded: bool,
}

/// A slot that is in use; given back when it is dropped.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    pub(super) number: u32,
    /// Uploads that may be open, the oldest first.
    pub(super) open: Vec<Upload>,
    /// The store may have a record.
    pub(super) recorded: bool,
    /// A call that writes or removes the record was given up, and may be done yet.
    pub(super) doubtful: bool,
}

impl Slots {
    /// The first free slot, or a new one.
    pub(super) fn take(&self) -> Slot<'_> {
        let mut state = self.0.lock();
        let (number, rest) = state.free.pop_first().unwrap_or_else(|| {
            let number = state.next;
            state.next += 1;
            (number, Rest::default())
        });
        drop(state);
        self.slot(number, rest, false)
    }

    /// All that are not in use and have a record or an upload that may be open.
    pub(super) fn idle(&self) -> Vec<Slot<'_>> {
        let mut state = self.0.lock();
        let is_idle = |_: &u32, rest: &mut Rest| rest.recorded || !rest.open.is_empty();
        let free: Vec<_> = state.free.extract_if(.., is_idle).collect();
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        let free = free.into_iter().map(|(number, rest)| self.slot(number, rest, false));
        let retired = retired.into_iter().map(|(number, rest)| self.slot(number, rest, true));
        free.chain(retired).collect()
    }

    fn slot(&self, number: u32, Rest { open, recorded }: Rest, doubtful: bool) -> Slot<'_> {
        Slot { slots: self, number, open, recorded, doubtful }
    }
}

impl Slot<'_> {
    /// An upload has begun. Returns the one that a record has no room for any more.
    pub(super) fn begun(&mut self, upload: Upload) -> Option<Upload> {
        let forgotten = (self.open.len() >= UPLOADS_MAX).then(|| self.open.remove(0));
        self.open.push(upload);
        forgotten
    }

    /// An upload is known to be completed or aborted.
    pub(super) fn ended(&mut self, id: &str) {
        self.open.retain(|upload| upload.id != id);
    }

    /// Its record is not there any more. A slot whose record may come back is not used again, and
    /// what comes back then names nothing that is open.
    pub(super) fn removed(&mut self) {
        self.recorded = false;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let rest = Rest { open: std::mem::take(&mut self.open), recorded: self.recorded };
        let mut state = self.slots.0.lock();
        if !self.doubtful {
            state.free.insert(self.number, rest);
        } else if rest.recorded || !rest.open.is_empty() {
            state.retired.insert(self.number, rest);
            if state.retired.len() > RETIRED_MAX {
                state.retired.pop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(id: usize) -> Upload {
        Upload { object: "o".to_owned(), id: id.to_string() }
    }

    #[test]
    fn a_slot_is_used_again_unless_its_record_is_in_doubt() {
        let slots = Slots::default();
        let (first, mut second) = (slots.take(), slots.take());
        assert_eq!((first.number, second.number), (0, 1));
        (second.recorded, second.doubtful) = (true, true);
        second.begun(upload(7));
        drop((first, second));
        let (first, third) = (slots.take(), slots.take());
        assert_eq!((first.number, third.number), (0, 2));
        let mut idle = slots.idle();
        assert_eq!(idle.len(), 1, "those in use are not idle");
        assert_eq!((idle[0].number, idle[0].open.as_slice()), (1, &[upload(7)][..]));
        idle[0].ended("7");
        idle[0].removed();
        drop((first, third, idle));
        assert_eq!(slots.idle().len(), 0);
        assert_eq!([slots.take().number, slots.take().number], [0, 2], "1 is in doubt for ever");
    }

    #[test]
    fn what_may_be_open_stays_with_its_slot_within_the_room_of_a_record() {
        let slots = Slots::default();
        for id in 0..UPLOADS_MAX {
            assert_eq!(slots.take().begun(upload(id)), None);
        }
        let mut slot = slots.take();
        assert_eq!(slot.begun(upload(100)), Some(upload(0)), "the oldest");
        assert_eq!((slot.open.len(), &slot.open[0]), (UPLOADS_MAX, &upload(1)));
    }

    #[test]
    fn slots_in_doubt_are_bounded() {
        let slots = Slots::default();
        for _ in 0..RETIRED_MAX + 5 {
            let mut slot = slots.take();
            (slot.recorded, slot.doubtful) = (true, true);
        }
        let idle = slots.idle();
        assert_eq!((idle.len(), idle[0].number), (RETIRED_MAX, 5));
    }
}
