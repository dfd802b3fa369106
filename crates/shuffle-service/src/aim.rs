//! Where the next flush of a partition goes. Called by the pump for each write that it wants to
//! start.

use dunlin_base::{ByteCount, Error, Result};

use crate::choose::{Candidate, choose};
use crate::core::Core;
use crate::health::DiskState;
use crate::partition::{Aim, Outlook, Partition};
use crate::pump::Flights;
use crate::unit::ROOM;

/// Bytes that one write takes at most, if blocks are not larger: memory is given back at its end.
const WRITE_MAX: u64 = 64 << 20;

impl Core {
    /// The disk, whether its extent is continued, and how many bytes may go there. `None`: those
    /// that could take it have no slot free. `Exhausted`: none takes it.
    pub(crate) fn aim(
        &self,
        flights: &Flights,
        partition: &Partition,
    ) -> Result<Option<(usize, Aim, u64)>> {
        let Outlook { open, shunned } = partition.outlook();
        let slots = self.options.disk_writes.max(1);
        let extent_bytes = self.options.extent_bytes.0;
        let bytes = partition.memory_bytes().min(WRITE_MAX);
        if let Some((disk, length)) = open
            && length < extent_bytes
            && self.takes(disk, 1)
        {
            let most = (extent_bytes - length).min(WRITE_MAX);
            if self.takes(disk, bytes.min(most)) {
                let most = most.min(self.room(disk));
                return Ok((flights.on(disk) < slots).then_some((disk, Aim::Append, most)));
            }
        }
        let most = extent_bytes.min(WRITE_MAX);
        let able: Vec<_> =
            (0..self.disks.len()).filter(|n| self.takes(*n, bytes.min(most))).collect();
        if able.is_empty() {
            return Err(self.no_disk(bytes));
        }
        // A disk that hangs is no reason to wait for its class.
        let now = self.env.now();
        let moving = able.into_iter().filter(|disk| flights.stuck_on(*disk, now) < slots);
        let candidates: Vec<_> = moving.map(|disk| self.candidate(flights, disk)).collect();
        let chosen = choose(&candidates, shunned, || self.env.random());
        Ok(chosen.map(|disk| (disk, Aim::New, most.min(self.room(disk)))))
    }

    fn candidate(&self, flights: &Flights, disk: usize) -> Candidate {
        let unit = &self.disks[disk];
        let busy = flights.on(disk) >= self.options.disk_writes.max(1);
        let (class, room, speed) = (unit.options.class, self.room(disk), unit.speed());
        Candidate { disk, class, room, speed, busy }
    }

    fn takes(&self, disk: usize, bytes: u64) -> bool {
        self.disks[disk].state(self.env.now()) == DiskState::Good && self.room(disk) >= bytes
    }

    /// Bytes that may still be written to this disk.
    pub(crate) fn room(&self, disk: usize) -> u64 {
        self.disks[disk].room().min(self.below_limit())
    }

    /// Bytes that all disks together may still take.
    fn below_limit(&self) -> u64 {
        let used: u64 = self.disks.iter().map(|unit| unit.used() + unit.reserved()).sum();
        self.options.disk_limit.0.saturating_sub(used)
    }

    /// Says why no disk takes so many bytes, also to those that will ask [`Core::trouble`].
    pub(crate) fn no_disk(&self, bytes: u64) -> Error {
        let now = self.env.now();
        let limit = self.options.disk_limit;
        let limited = self.below_limit() < bytes;
        for unit in self.disks.iter().filter(|unit| unit.state(now) == DiskState::Good) {
            let (bytes, room, place) = (ByteCount(bytes), ByteCount(unit.room()), unit.place());
            let text = match limited {
                true => {
                    format!("the disk limit of the shuffle worker ({limit}) is reached in {place}")
                }
                false => format!("{room} may still be written to {place}, {bytes} are to be"),
            };
            unit.ran_full(now, Error::exhausted(text).with_hint(ROOM));
        }
        self.trouble().unwrap_or_else(|| Error::exhausted("no disk takes shuffle data"))
    }

    /// Why nothing that is in memory can leave it now, if that is so.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let now = self.env.now();
        let mut troubles = self.disks.iter().map(|unit| unit.trouble(now));
        // One disk that takes data is enough.
        let first = troubles.next()??;
        troubles.all(|trouble| trouble.is_some()).then_some(first)
    }
}
