//! One read, from its request to its last block.

use std::sync::Arc;

use dunlin_base::{Error, Result};
use dunlin_proto::block::Block;
use dunlin_proto::shuffle::{BlockStream, ReadRequest};
use dunlin_proto::wire::{Ask, Message, RequestId};
use futures::{StreamExt, stream};

use super::calls::Waiting;
use super::connection::Connection;
use super::fault::Fault;
use super::inbox::{Found, Inbox};

/// A read that was asked for. Dropping it tells the worker to stop.
struct Reading {
    connection: Arc<Connection>,
    inbox: Arc<Inbox>,
    id: RequestId,
    request: ReadRequest,
}

/// Asks for a read and waits until it has begun. The stream verifies every block.
pub(super) async fn read(
    connection: Arc<Connection>,
    request: ReadRequest,
) -> Result<BlockStream, Fault> {
    let window = connection.link.options.read_window.0.max(1);
    let inbox = Arc::new(Inbox::new(window));
    let waiting = Waiting::Read(Arc::clone(&inbox));
    let id = connection.link.ask(Ask::Read(request.clone(), window), waiting).await?;
    let reading = Reading { connection, inbox, id, request };
    reading.inbox.opened().await?;
    let blocks = stream::try_unfold(reading, |reading| async move {
        Ok(reading.next().await?.map(|block| (block, reading)))
    });
    Ok(blocks.boxed())
}

impl Reading {
    /// The next block, verified. `Lost` names what is corrupt or missing; `Retry`: the connection
    /// broke, or the worker takes too long.
    async fn next(&self) -> Result<Option<Block>> {
        let link = &self.connection.link;
        loop {
            let (found, grant) = self.inbox.take();
            if grant > 0 {
                link.tell(&Message::Credit(self.id, grant));
            }
            match found {
                Found::Block(block) => return self.check(block).map(Some),
                Found::End => return Ok(None),
                Found::Failed(Fault::Answered(error)) => return Err(link.at(error)),
                Found::Failed(fault) => return Err(fault.into()),
                Found::Nothing => self.wait().await?,
            }
        }
    }

    async fn wait(&self) -> Result<()> {
        let link = &self.connection.link;
        if self.request.maps.is_none() {
            // A follower waits for writers, so only the pings say whether the worker lives.
            self.inbox.changed().await;
            return Ok(());
        }
        let limit = link.options.request_max;
        link.env.timeout(limit, self.inbox.changed()).await.ok_or_else(|| {
            let ReadRequest { shuffle, partition, .. } = &self.request;
            let limit = limit.as_secs();
            let text = format!("no block of shuffle {shuffle} partition {partition} in {limit} s");
            link.at(Error::retry(text))
        })
    }

    fn check(&self, block: Block) -> Result<Block> {
        let ReadRequest { shuffle, partition, .. } = &self.request;
        let link = &self.connection.link;
        if (block.id.shuffle, block.id.partition) != (*shuffle, *partition) {
            let text =
                format!("got {} instead of shuffle {shuffle} partition {partition}", block.place());
            return Err(link.at(Error::lost(text)));
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
