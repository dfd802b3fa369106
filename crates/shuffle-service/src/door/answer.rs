//! One request: the call of the worker, and its answer.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use dunlin_base::{Error, Result, env::panic_text};
use dunlin_proto::shuffle::{BlockStream, Pace, Push, ReadRequest};
use dunlin_proto::wire::{Answer, Ask, Hears, Message, RequestId, block_size, blocks_size};
use futures::stream::Peekable;
use futures::{FutureExt, StreamExt};

use super::connection::Connection;
use super::credit::Credit;
use super::shared::Room;
use super::telling::Telling;

/// Small blocks travel together up to this many bytes and blocks.
const TOGETHER_BYTES: u64 = 256 * 1024;
const TOGETHER_BLOCKS: usize = 256;

/// Pushes up to this many bytes are first tried without a task of their own.
const AT_ONCE_MAX: u64 = 16 << 10;

/// Ids of shuffles in one frame.
const IDS_PER_FRAME: usize = 4096;

/// Does a request, or starts its task. `Invalid` if the client may not ask it now.
pub(super) fn start(
    connection: &Arc<Connection>,
    id: RequestId,
    ask: Ask,
    frame_len: u64,
    room: Option<Room>,
) -> Result<()> {
    let credit = match &ask {
        Ask::Read(_, bytes) | Ask::ReadMany(_, bytes) => Some(Arc::new(Credit::new(*bytes))),
        _ => None,
    };
    connection.requests.begin(id, credit.clone(), frame_len, room)?;
    let request = Request { connection: Arc::clone(connection), id };
    let at_once = frame_len <= AT_ONCE_MAX && matches!(ask, Ask::Push(..));
    let mut work = Box::pin(async move {
        let in_order = credit.is_some() || matches!(ask, Ask::Shuffles);
        let outcome = AssertUnwindSafe(request.run(ask, credit)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref());
            Err(Error::bug(format!("a shuffle request panicked: {text}")))
        });
        request.end(outcome, in_order).await;
    });
    // A small push is stored in less time than a task takes to start. If it has to wait, for memory or
    // for its peer, it goes on as a task.
    if at_once && work.as_mut().now_or_never().is_some() {
        return Ok(());
    }
    let task = connection.shared.env.spawn("shuffle request", work);
    connection.requests.attach(id, task);
    Ok(())
}

struct Request {
    connection: Arc<Connection>,
    id: RequestId,
}

impl Request {
    async fn run(&self, ask: Ask, credit: Option<Arc<Credit>>) -> Result<Answer> {
        let api = &self.connection.shared.api;
        let done = match ask {
            Ask::Push(push, hears) => return self.store(push, hears).await,
            Ask::Seal(shuffle) => api.seal(shuffle).await,
            Ask::Discard(shuffle, attempt) => api.discard(shuffle, attempt).await,
            Ask::DeleteQuery(query) => api.delete_query(query).await,
            Ask::Shuffles => self.list().await,
            Ask::Read(read, bytes) => self.send_read(vec![read], bytes, credit).await,
            Ask::ReadMany(reads, bytes) => self.send_read(reads, bytes, credit).await,
        };
        done.map(|()| Answer::Done)
    }

    /// Stores a push, and says no more of it than its client understands.
    async fn store(&self, push: Push, hears: Hears) -> Result<Answer> {
        let api = &self.connection.shared.api;
        match hears {
            Hears::Ends => api.store(push).await?.stored().map(|_| Answer::Done),
            Hears::Pushed => api.store(push).await.map(Answer::Pushed),
            Hears::Waiting => {
                let telling = Telling::of(&self.connection, self.id);
                let pushed = api.store_heard(push, telling.mouth()).await;
                drop(telling);
                pushed.map(Answer::Pushed)
            }
        }
    }

    /// Answers. What was sent in order before, blocks or a list, must not be overtaken.
    async fn end(&self, outcome: Result<Answer>, in_order: bool) {
        let answer = outcome.unwrap_or_else(Answer::Failed);
        let requests = &self.connection.requests;
        requests.release(self.id);
        // A connection that has ended does not want the answer.
        drop(if in_order { self.send(answer).await } else { self.post(answer) });
        requests.end(self.id);
    }

    /// Sends what is read until that is cancelled.
    async fn send_read(
        &self,
        reads: Vec<ReadRequest>,
        bytes: u64,
        credit: Option<Arc<Credit>>,
    ) -> Result<()> {
        let credit = credit.unwrap_or_else(|| Arc::new(Credit::new(bytes)));
        let (connection, id) = (Arc::clone(&self.connection), self.id);
        let pace = OfCredit { request: Request { connection, id }, credit: Arc::clone(&credit) };
        let read = self.connection.shared.api.read_paced(reads, Arc::new(pace));
        tokio::select! {
            read = self.send_blocks(read, &credit) => read,
            () = credit.cancelled() => Err(Error::retry("the read was cancelled")),
        }
    }

    /// Sends the blocks of a read as its credit allows.
    async fn send_blocks(
        &self,
        read: impl Future<Output = Result<BlockStream>> + Send,
        credit: &Credit,
    ) -> Result<()> {
        let mut blocks = read.await?.peekable();
        self.post(Answer::Opened)?;
        loop {
            // Without credit nothing is looked up: a block that waits here would hold memory. A worker
            // that asks for its pace goes by the size of each block.
            credit.at_least(1).await;
            let size = match Pin::new(&mut blocks).peek().await {
                None => return Ok(()),
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(block)) => block_size(block),
            };
            if size > credit.left() {
                self.send(Answer::Want(size)).await?;
                credit.at_least(size).await;
            }
            let together = together(&mut blocks, credit.left()).await;
            let size = blocks_size(&together);
            credit.spend(size);
            self.send(Answer::Blocks(together)).await?;
            self.connection.shared.counters.bytes_sent.fetch_add(size, Relaxed);
        }
    }

    async fn list(&self) -> Result<()> {
        let shuffles = self.connection.shared.api.shuffles().await?;
        for some in shuffles.chunks(IDS_PER_FRAME) {
            self.send(Answer::Shuffles(some.to_vec())).await?;
        }
        Ok(())
    }

    fn post(&self, answer: Answer) -> Result<()> {
        self.connection.post(self.id, answer)
    }

    async fn send(&self, answer: Answer) -> Result<()> {
        let Connection { shared, out, .. } = self.connection.as_ref();
        out.send(Message::Answer(self.id, answer).encode(&shared.limits())?).await
    }
}

/// The reader of a read, for the worker.
struct OfCredit {
    request: Request,
    credit: Arc<Credit>,
}

#[async_trait]
impl Pace for OfCredit {
    fn holder(&self) -> u64 {
        // What one socket holds up is one's own.
        Arc::as_ptr(&self.request.connection).addr() as u64
    }

    fn try_allow(&self, bytes: u64) -> bool {
        self.credit.try_promise(bytes)
    }

    async fn allow(&self, bytes: u64) {
        // What is looked up goes first: a reader lets a block in that is larger than its window when
        // it has nothing else.
        let mut allowed = false;
        let ready = || {
            allowed = self.credit.try_promise(bytes);
            allowed || self.credit.is_unpromised()
        };
        self.credit.until(ready).await;
        if !allowed {
            // A connection that has ended ends this, too.
            drop(self.request.send(Answer::Want(bytes)).await);
            self.credit.until(|| self.credit.try_promise(bytes)).await;
        }
    }

    fn give_back(&self, bytes: u64) {
        self.credit.give_back(bytes);
    }
}

/// The block that was peeked, and those after it that are there without waiting, as long as they
/// are small and within the credit.
async fn together(
    blocks: &mut Peekable<BlockStream>,
    credit: u64,
) -> Vec<dunlin_proto::block::Block> {
    let (mut some, mut total) = (Vec::new(), 0);
    while some.len() < TOGETHER_BLOCKS {
        let Some(Some(Ok(next))) = Pin::new(&mut *blocks).peek().now_or_never() else { break };
        total += block_size(next);
        if total > credit || (total > TOGETHER_BYTES && !some.is_empty()) {
            break;
        }
        // Peeked, so it is there.
        if let Some(Ok(block)) = blocks.next().await {
            some.push(block);
        }
    }
    some
}
