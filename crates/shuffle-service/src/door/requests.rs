//! The requests in flight on one connection: their tasks, and what they count for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::env::Task;
use dunlin_base::{Error, Result};
use dunlin_proto::wire::RequestId;
use parking_lot::Mutex;

use super::credit::Credit;
use super::shared::{Room, Shared};

/// An answer may reach the client before its request is struck off here, and the client may ask
/// anew at once. So the door takes this many times the requests that it announces.
const LENIENCE: usize = 2;

pub(super) struct Requests {
    shared: Arc<Shared>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<RequestId, Entry>,
    reads: usize,
    /// Bytes of the frames of requests that were not released.
    bytes: u64,
    /// The connection has ended.
    closed: bool,
}

struct Entry {
    task: Option<Task<()>>,
    /// Of a read.
    credit: Option<Arc<Credit>>,
    bytes: u64,
    room: Option<Room>,
}

impl Requests {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, table: Mutex::default() }
    }

    /// `Invalid` if a frame of this length is more than the client may have in flight.
    pub(super) fn check_bytes(&self, frame_len: u64) -> Result<()> {
        let max = self.shared.options.connection_bytes_max;
        if self.table.lock().bytes.saturating_add(frame_len) > max.0 {
            return Err(Error::invalid(format!("a client has more than {max} in flight")));
        }
        Ok(())
    }

    /// Lists a request. `Invalid` if the client breaks a limit or uses a number twice.
    pub(super) fn begin(
        &self,
        id: RequestId,
        credit: Option<Arc<Credit>>,
        bytes: u64,
        room: Option<Room>,
    ) -> Result<()> {
        self.check_bytes(bytes)?;
        let mut table = self.table.lock();
        let options = &self.shared.options;
        let (what, count, max) = match credit {
            Some(_) => ("reads", table.reads, options.reads_max),
            None => ("calls", table.entries.len() - table.reads, options.calls_max),
        };
        if count >= LENIENCE * max as usize {
            return Err(Error::invalid(format!("a client has more than {max} {what} in flight")));
        }
        if table.entries.contains_key(&id) {
            return Err(Error::invalid(format!("request {id} is in flight already")));
        }
        table.reads += usize::from(credit.is_some());
        table.bytes += bytes;
        table.entries.insert(id, Entry { task: None, credit, bytes, room });
        self.shared.counters.requests.fetch_add(1, Relaxed);
        self.shared.counters.asked.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Hands over the task of a request, to be ended with the connection.
    pub(super) fn attach(&self, id: RequestId, task: Task<()>) {
        let mut table = self.table.lock();
        if table.closed {
            task.abort();
        } else if let Some(entry) = table.entries.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Gives back what a request takes, before its answer goes out: the client counts from there.
    pub(super) fn release(&self, id: RequestId) {
        let mut table = self.table.lock();
        let Some(entry) = table.entries.get_mut(&id) else { return };
        let (bytes, room) = (std::mem::take(&mut entry.bytes), entry.room.take());
        table.bytes -= bytes;
        drop(table);
        drop(room);
    }

    /// Strikes a request off, once its answer is on its way.
    pub(super) fn end(&self, id: RequestId) {
        let mut table = self.table.lock();
        if let Some(entry) = table.entries.remove(&id) {
            table.reads -= usize::from(entry.credit.is_some());
            table.bytes -= entry.bytes;
            self.shared.counters.requests.fetch_sub(1, Relaxed);
        }
    }

    /// The credit of a read; `None` if it has ended, or is none.
    pub(super) fn credit(&self, id: RequestId) -> Option<Arc<Credit>> {
        self.table.lock().entries.get(&id)?.credit.clone()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.table.lock().entries.is_empty()
    }

    /// Ends all tasks, and those still to be attached.
    pub(super) fn close(&self) {
        let entries = {
            let mut table = self.table.lock();
            std::mem::replace(&mut *table, Table { closed: true, ..Table::default() }).entries
        };
        self.shared.counters.requests.fetch_sub(entries.len() as u64, Relaxed);
        for task in entries.into_values().filter_map(|entry| entry.task) {
            task.abort();
        }
    }
}
