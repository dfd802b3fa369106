//! What moves the blocks of a partition out of memory: a look at them, and the taking in of what
//! became of it. Called by the pump, which sees to it that both ends meet.

use super::index::{Inner, Key, Partition, Place, Stored};
use crate::disk::ExtentId;
use crate::extent::{Extent, Home, Target};
use crate::flush::{Flush, Ticket, Written, stored_len};
use crate::memory::Memory;

/// Where a flush writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Behind what the last extent holds.
    Append,
    /// To a new extent.
    New,
}

/// The state of a partition that says where its next flush may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The disk of the extent that takes more, and the length of that.
    pub(crate) open: Option<(usize, u64)>,
    /// The disk of the last write that failed.
    pub(crate) shunned: Option<usize>,
}

/// What the end of a flush means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// So many bytes of memory are free.
    Freed(u64),
    /// It was given up before: what it wrote belongs to nobody.
    TooLate,
    /// The partition was removed: whatever was written for it must go, too.
    Gone,
}

impl Partition {
    /// True if a flush would find something to move. A write that hangs on an isolated disk is given
    /// up: its blocks, still in memory, are then free to go elsewhere, and its end changes nothing.
    pub(crate) fn can_flush(&self, isolated: impl Fn(Target) -> bool) -> bool {
        let mut inner = self.inner.lock();
        if inner.gone || self.memory_bytes() == 0 {
            return false;
        }
        if let Some(ticket) = inner.flushing.take_if(|ticket| isolated(ticket.to)) {
            // Nobody knows when it writes what: neither its extent nor its name is used again.
            inner.open = false;
            inner.next_extent = inner.next_extent.max(ticket.id.extent + 1);
        }
        inner.flushing.is_none()
    }

    pub(crate) fn outlook(&self) -> Outlook {
        let inner = self.inner.lock();
        Outlook { open: open_extent(&inner), shunned: inner.shunned }
    }

    /// Takes a look at what is in memory, up to about `most` bytes and always at least one block, to
    /// be written. `None` if there is nothing, or another flush of this partition runs. To be ended
    /// by [`Partition::end_flush`].
    pub(crate) fn begin_flush(&self, to: Target, aim: Aim, most: u64, born: u64) -> Option<Flush> {
        let mut inner = self.inner.lock();
        if inner.flushing.is_some() || inner.gone {
            return None;
        }
        let in_memory = |stored: &Stored| matches!(stored.place, Place::Memory(_));
        let (mut found, mut length) = (Vec::new(), 0);
        for (key, stored) in inner.blocks.iter().filter(|(_, stored)| in_memory(stored)) {
            let next = stored_len(stored.length);
            if !found.is_empty() && length + next > most {
                break;
            }
            length += next;
            found.push((*key, *stored));
        }
        let block = |(key, stored): (Key, Stored)| {
            Some((key, inner.located(self.block_id(&key), stored)?.block))
        };
        let blocks: Vec<_> = found.into_iter().map(block).collect::<Option<_>>()?;
        if blocks.is_empty() {
            return None;
        }
        let last = inner.extents.last().filter(|_| aim == Aim::Append && inner.open);
        let (id, file, start) = match last {
            Some(Extent { id, home: Home::File { file, .. }, length, .. }) => {
                (*id, Some(file.clone()), *length)
            }
            _ => {
                let extent = inner.next_extent;
                (ExtentId { shuffle: self.shuffle, partition: self.id, extent }, None, 0)
            }
        };
        let ticket = Ticket { id, number: inner.flushes, to, born };
        inner.flushes += 1;
        inner.flushing = Some(ticket);
        Some(Flush { ticket, blocks, file, start })
    }

    /// Ends a flush. On success the bodies leave memory; a failed one, given as the place that failed
    /// if one did, leaves them there and closes the extent. Blocks that were discarded meanwhile
    /// stay discarded.
    pub(crate) fn end_flush(
        &self,
        ticket: Ticket,
        written: Result<Written, Option<Target>>,
        memory: &Memory,
    ) -> Landed {
        let landed = self.land(ticket, written, memory);
        self.flushed.notify_waiters();
        landed
    }

    fn land(
        &self,
        ticket: Ticket,
        written: Result<Written, Option<Target>>,
        memory: &Memory,
    ) -> Landed {
        let mut inner = self.inner.lock();
        if inner.gone {
            return Landed::Gone;
        }
        if inner.flushing != Some(ticket) {
            return Landed::TooLate;
        }
        inner.flushing = None;
        let written = match written {
            Ok(written) => written,
            Err(failed) => {
                inner.failed_at(ticket.id, failed);
                return Landed::Freed(0);
            }
        };
        let freed = inner.take_in(ticket.id, ticket.born, written);
        drop(inner);
        self.left_memory(freed);
        memory.release_bodies(freed, 0);
        Landed::Freed(freed)
    }
}

impl Inner {
    fn failed_at(&mut self, id: ExtentId, failed: Option<Target>) {
        match failed {
            // Nothing was tried.
            None => return,
            Some(Target::Disk(disk)) => self.shunned = Some(disk),
            Some(Target::Objects) => {}
        }
        // An extent that has failed is never continued, and its name is not used again: a put that
        // was given up may arrive yet, and a file that could not be removed may be on one disk while
        // the next of its name would be on another. After a kill nobody could tell them apart.
        self.open = false;
        self.next_extent = self.next_extent.max(id.extent + 1);
    }

    /// Notes what was written and where its blocks are now. Returns the body bytes that have left
    /// memory.
    fn take_in(&mut self, id: ExtentId, born: u64, written: Written) -> u64 {
        let Written { home, offsets, end, synced } = written;
        // Not always the last one: extents may have been adopted meanwhile.
        let known = self.extents.iter().rposition(|extent| extent.id == id);
        let index = known.unwrap_or_else(|| {
            self.extents.push(Extent { id, home, length: 0, synced: 0, born, stays: false });
            self.next_extent = self.next_extent.max(id.extent + 1);
            self.extents.len() - 1
        });
        if let Some(extent) = self.extents.get_mut(index) {
            extent.length = end;
            extent.synced = if synced { end } else { extent.synced };
        }
        // An object is whole when it is written.
        let is_last = index + 1 == self.extents.len();
        self.open = is_last && self.extents.last().is_some_and(|last| last.home.disk().is_some());
        self.shunned = None;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let mut freed = 0;
        for (key, offset) in offsets {
            if let Some(stored) = self.blocks.get_mut(&key)
                && let Place::Memory(spot) = stored.place
            {
                self.bodies.remove(spot, stored.length);
                stored.place = Place::Extent { index, offset };
                freed += stored.length as u64;
            }
        }
        freed
    }
}

fn open_extent(inner: &Inner) -> Option<(usize, u64)> {
    let last = inner.extents.last().filter(|_| inner.open)?;
    Some((last.home.disk()?, last.length))
}
