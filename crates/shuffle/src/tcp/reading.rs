//! One read, from its request to its last block.

use std::collections::VecDeque;
use std::sync::Arc;

use dunlin_base::{Error, Result};
use dunlin_proto::block::Block;
use dunlin_proto::shuffle::{BlockStream, ReadRequest};
use dunlin_proto::wire::{Ask, Message, RequestId, block_size};
use futures::{StreamExt, TryStreamExt, stream};

use super::calls::Waiting;
use super::connection::Connection;
use super::fault::Fault;
use super::inbox::{Found, Inbox};

/// A read that was asked for. Dropping it tells the worker to stop.
struct Reading {
    connection: Arc<Connection>,
    inbox: Arc<Inbox>,
    id: RequestId,
    /// At least one; only a single one may follow.
    requests: Vec<ReadRequest>,
    /// The one that the last block was of.
    at: usize,
    /// Blocks that have come, and the bytes of those given out that the inbox does not know of.
    ahead: VecDeque<Block>,
    consumed: u64,
}

/// Small blocks are counted as consumed together, so many to a window.
const COUNTS_A_WINDOW: u64 = 16;

/// Small blocks are given out together: so many, or so many bytes, and no more than are counted together.
const TOGETHER_BLOCKS: usize = 64;
const TOGETHER_BYTES: u64 = 64 << 10;

/// Asks for a read of one or several partitions and waits until it has begun. The stream verifies
/// every block.
pub(super) async fn read(
    connection: Arc<Connection>,
    requests: Vec<ReadRequest>,
) -> Result<BlockStream, Fault> {
    let window = connection.link.options.read_window.0.max(1);
    let inbox = Arc::new(Inbox::new(window));
    let waiting = Waiting::Read(Arc::clone(&inbox));
    let ask = match requests.as_slice() {
        [one] => Ask::Read(one.clone(), window),
        _ => Ask::ReadMany(requests.clone(), window),
    };
    let id = connection.link.ask(&ask, waiting).await?;
    let (at, ahead, consumed) = (0, VecDeque::new(), 0);
    let reading = Reading { connection, inbox, id, requests, at, ahead, consumed };
    reading.inbox.opened().await?;
    let some = stream::try_unfold(reading, |mut reading| async move {
        let some = reading.some().await?;
        Ok::<_, Error>(some.map(|some| (stream::iter(some), reading)))
    });
    Ok(some.try_flatten().boxed())
}

impl Reading {
    /// The next blocks, verified, some small ones together; none after one that is an error. `Lost`
    /// names what is corrupt or missing; `Retry`: the connection broke, or the worker takes too long.
    async fn some(&mut self) -> Result<Option<Vec<Result<Block>>>> {
        loop {
            if !self.ahead.is_empty() {
                return Ok(Some(self.checked()));
            }
            self.count();
            match self.inbox.take() {
                Found::Blocks(blocks) => self.ahead = blocks,
                Found::End => return Ok(None),
                Found::Failed(Fault::Answered(error)) => {
                    return Err(self.connection.link.at(error));
                }
                Found::Failed(fault) => return Err(fault.into()),
                Found::Nothing => self.wait().await?,
            }
        }
    }

    /// Some blocks that are there, which count as consumed.
    fn checked(&mut self) -> Vec<Result<Block>> {
        let counted = self.connection.link.options.read_window.0 / COUNTS_A_WINDOW;
        let (mut some, mut bytes) = (Vec::with_capacity(self.ahead.len().min(TOGETHER_BLOCKS)), 0);
        while some.len() < TOGETHER_BLOCKS
            && (some.is_empty() || bytes < TOGETHER_BYTES.min(counted))
            && let Some(block) = self.ahead.pop_front()
        {
            bytes += block_size(&block);
            let checked = self.check(block);
            let failed = checked.is_err();
            some.push(checked);
            if failed {
                break;
            }
        }
        self.consumed += bytes;
        if self.consumed >= counted {
            self.count();
        }
        some
    }

    /// Lets the worker send as much as was consumed.
    fn count(&mut self) {
        let grant = self.inbox.consume(std::mem::take(&mut self.consumed));
        if grant > 0 {
            self.connection.link.tell(&Message::Credit(self.id, grant));
        }
    }

    async fn wait(&self) -> Result<()> {
        let link = &self.connection.link;
        if self.requests.iter().any(|request| request.maps.is_none()) {
            // A follower waits for writers, so only the pings say whether the worker lives.
            self.inbox.changed().await;
            return Ok(());
        }
        let limit = link.options.request_max;
        link.env.timeout(limit, self.inbox.changed()).await.ok_or_else(|| {
            let (wanted, limit) = (self.wanted(), limit.as_secs());
            link.at(Error::retry(format!("no block of {wanted} in {limit} s")))
        })
    }

    /// What was asked for, for messages.
    fn wanted(&self) -> String {
        let Some(ReadRequest { shuffle, partition, .. }) = self.requests.first() else {
            return String::new();
        };
        match self.requests.len() - 1 {
            0 => format!("shuffle {shuffle} partition {partition}"),
            more => format!("shuffle {shuffle} partition {partition} and {more} more"),
        }
    }

    fn check(&mut self, block: Block) -> Result<Block> {
        let link = &self.connection.link;
        let asked = |request: &ReadRequest| {
            (block.id.shuffle, block.id.partition) == (request.shuffle, request.partition)
        };
        // They come in the order of the requests.
        if !self.requests.get(self.at).is_some_and(asked) {
            let Some(at) = self.requests.iter().position(asked) else {
                let text = format!("got {} instead of {}", block.place(), self.wanted());
                return Err(link.at(Error::lost(text)));
            };
            self.at = at;
        }
        block.verify().map_err(|e| link.at(e))?;
        Ok(block)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let link = &self.connection.link;
        if link.calls.abandon(self.id) {
            link.tell(&Message::Cancel(self.id));
        }
    }
}
