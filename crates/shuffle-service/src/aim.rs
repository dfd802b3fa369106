//! Where the next flush of a partition goes. Called by the pump for each write that it wants to
//! start.

use std::sync::Arc;

use dunlin_base::{ByteCount, Error, Result};

use crate::choose::{Candidate, choose};
use crate::core::Core;
use crate::extent::Target;
use crate::health::DiskState;
use crate::objects::Objects;
use crate::options::Tier;
use crate::partition::{Aim, Outlook, Partition};
use crate::pump::Flights;
use crate::unit::ROOM;

/// Bytes that one write takes at most, if blocks are not larger: memory is given back at its end.
const WRITE_MAX: u64 = 64 << 20;

/// Where to, how, and at most how many bytes.
type Found = (Target, Aim, u64);

enum AtDisks {
    Found(Found),
    /// Those that could take it have enough to do.
    Busy,
    /// All are full or isolated.
    None,
}

impl Core {
    /// The place, whether its extent is continued, and how many bytes may go there. `None`: those
    /// that could take it have no slot free. `Exhausted`: none takes it.
    pub(crate) fn aim(
        self: &Arc<Self>,
        flights: &Flights,
        partition: &Partition,
    ) -> Result<Option<Found>> {
        for tier in &self.options.tiers {
            match tier {
                Tier::Disks if self.disks.is_empty() => {}
                Tier::Disks => match self.aim_at_disks(flights, partition) {
                    AtDisks::Found(found) => return Ok(Some(found)),
                    AtDisks::Busy => return Ok(None),
                    AtDisks::None if self.makes_room(partition.memory_bytes()) => return Ok(None),
                    AtDisks::None => {}
                },
                Tier::Objects => match &self.objects {
                    Some(objects) if objects.trouble().is_none() => {
                        let slots = self.slots(Target::Objects);
                        let most = self.options.extent_bytes.0;
                        let found = (Target::Objects, Aim::New, most);
                        return Ok((flights.on(Target::Objects) < slots).then_some(found));
                    }
                    _ => {}
                },
            }
        }
        Err(self.trouble().unwrap_or_else(|| Error::exhausted("nothing takes shuffle data")))
    }

    fn aim_at_disks(&self, flights: &Flights, partition: &Partition) -> AtDisks {
        let Outlook { open, shunned } = partition.outlook();
        let extent_bytes = self.options.extent_bytes.0;
        let bytes = partition.memory_bytes().min(WRITE_MAX);
        if let Some((disk, length)) = open
            && length < extent_bytes
        {
            let most = (extent_bytes - length).min(WRITE_MAX);
            if self.takes(disk, bytes.min(most)) {
                let to = Target::Disk(disk);
                if flights.on(to) >= self.slots(to) {
                    return AtDisks::Busy;
                }
                return AtDisks::Found((to, Aim::Append, most.min(self.room(disk))));
            }
        }
        let most = extent_bytes.min(WRITE_MAX);
        let able = (0..self.disks.len()).filter(|n| self.takes(*n, bytes.min(most)));
        let able: Vec<_> = able.collect();
        if able.is_empty() {
            (0..self.disks.len()).for_each(|disk| self.too_full(disk, bytes));
            return AtDisks::None;
        }
        // A disk that hangs is no reason to wait for its class.
        let now = self.env.now();
        let moves = |to| flights.stuck_on(to, now) < self.slots(to);
        let moving = able.into_iter().filter(|disk| moves(Target::Disk(*disk)));
        let candidates: Vec<_> = moving.map(|disk| self.candidate(flights, disk)).collect();
        match choose(&candidates, shunned, || self.env.random()) {
            Some(disk) => AtDisks::Found((Target::Disk(disk), Aim::New, most.min(self.room(disk)))),
            None => AtDisks::Busy,
        }
    }

    /// Everything that data can go to from memory.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Target> {
        let objects = self.objects.as_ref().map(|_| Target::Objects);
        (0..self.disks.len()).map(Target::Disk).chain(objects)
    }

    /// False if everything stays in memory.
    pub(crate) fn has_tiers(&self) -> bool {
        self.targets().next().is_some()
    }

    /// Writes that may be under way there at once.
    pub(crate) fn slots(&self, to: Target) -> usize {
        let slots = match to {
            Target::Disk(_) => self.options.disk_writes,
            Target::Objects => self.objects.as_ref().map_or(0, |o| o.options.uploads),
        };
        slots.max(1)
    }

    fn candidate(&self, flights: &Flights, disk: usize) -> Candidate {
        let (unit, to) = (&self.disks[disk], Target::Disk(disk));
        let busy = flights.on(to) >= self.slots(to);
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

    /// Notes that a disk has no room for so many bytes, and why, for those that ask
    /// [`Core::trouble`].
    pub(crate) fn too_full(&self, disk: usize, bytes: u64) {
        let (now, unit) = (self.env.now(), &self.disks[disk]);
        if unit.state(now) != DiskState::Good {
            return;
        }
        let (limit, place) = (self.options.disk_limit, unit.place());
        let text = if self.below_limit() < bytes {
            format!("the disk limit of the shuffle worker ({limit}) is reached in {place}")
        } else {
            let (bytes, room) = (ByteCount(bytes), ByteCount(unit.room()));
            format!("{room} may still be written to {place}, {bytes} are to be")
        };
        unit.ran_full(now, Error::exhausted(text).with_hint(ROOM));
    }

    /// Why nothing that is in memory can leave it now, if that is so: one place that takes data is
    /// enough.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let now = self.env.now();
        let of = |to| match to {
            Target::Disk(disk) => self.disks[disk].trouble(now),
            Target::Objects => self.objects.as_ref().and_then(Objects::trouble),
        };
        let troubles: Option<Vec<_>> = self.targets().map(of).collect();
        troubles?.into_iter().next()
    }
}
