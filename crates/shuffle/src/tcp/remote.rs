//! A worker of another process as a [`ShuffleApi`]: one connection at a time, and a second try when
//! it breaks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Error, Kind, ProcessId, QueryId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{
    Ack, BlockStream, Hear, MapAttempt, Push, Pushed, ReadRequest, ShuffleApi,
};
use dunlin_proto::wire::{Ask, Hears};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::calls::Reply;
use super::connection::Connection;
use super::establish::At;
use super::fault::Fault;
use super::reading;
use super::workers::Shared;

/// Before a second try: a random time from this on, up to twice it, so that clients of a worker
/// that stumbled do not come back all at once.
const PAUSE: Duration = Duration::from_millis(5);

/// One worker.
pub(super) struct Remote {
    worker: ProcessId,
    shared: Arc<Shared>,
    current: Mutex<Option<Arc<Connection>>>,
}

impl Remote {
    pub(super) fn new(worker: ProcessId, shared: Arc<Shared>) -> Self {
        Self { worker, shared, current: Mutex::new(None) }
    }

    /// True while a connection is being made or stands.
    pub(super) fn is_connected(&self) -> bool {
        self.current.lock().as_ref().is_some_and(|connection| connection.is_usable())
    }

    /// The connection, or the beginning of a new one. `Lost` if nobody knows where the worker is.
    fn connection(&self) -> Result<Arc<Connection>> {
        let usable = |connection: &&Arc<Connection>| connection.is_usable();
        if let Some(connection) = self.current.lock().as_ref().filter(usable) {
            return Ok(Arc::clone(connection));
        }
        // The look-up is not ours: no lock while it runs.
        let address = self.shared.address(self.worker)?;
        let at = At { address, on_machine: self.shared.on_machine(self.worker) };
        let mut current = self.current.lock();
        if let Some(connection) = current.as_ref().filter(usable) {
            return Ok(Arc::clone(connection));
        }
        let Shared { env, options, .. } = self.shared.as_ref();
        let new = Connection::start(env.clone(), Arc::clone(options), self.worker, at)?;
        let new = Arc::new(new);
        *current = Some(Arc::clone(&new));
        Ok(new)
    }

    async fn call(&self, ask: Ask, hear: Option<Arc<dyn Hear>>) -> Result<Reply> {
        let limit = self.shared.options.request_max;
        let answer = self.shared.env.timeout(limit, self.call_twice(ask, hear)).await;
        answer.unwrap_or_else(|| Err(self.late()))
    }

    async fn call_twice(&self, ask: Ask, hear: Option<Arc<dyn Hear>>) -> Result<Reply> {
        match self.connection()?.call(&ask, hear.clone()).await {
            Err(fault) if may_repeat(&fault, &ask) => self.pause(fault).await,
            outcome => return outcome.map_err(|fault| self.name(fault)),
        }
        self.connection()?.call(&ask, hear).await.map_err(|fault| self.name(fault))
    }

    async fn push_and_hear(&self, push: Push, hear: Option<Arc<dyn Hear>>) -> Result<Pushed> {
        if push.blocks.is_empty() {
            return Ok(Pushed::Stored(Ack::PLAIN));
        }
        let hears = if hear.is_some() { Hears::Waiting } else { Hears::Pushed };
        match self.call(Ask::Push(push, hears), hear).await? {
            Reply::Pushed(pushed) => Ok(pushed),
            // A worker of an older build.
            Reply::Done(_) => Ok(Pushed::Stored(Ack::PLAIN)),
        }
    }

    async fn read_twice(&self, requests: Vec<ReadRequest>) -> Result<BlockStream> {
        match self.read_once(requests.clone()).await? {
            Err(fault @ Fault::Broken(_)) => self.pause(fault).await,
            outcome => return outcome.map_err(|fault| self.name(fault)),
        }
        self.read_once(requests).await?.map_err(|fault| self.name(fault))
    }

    async fn read_once(&self, requests: Vec<ReadRequest>) -> Result<Result<BlockStream, Fault>> {
        let connection = self.connection()?;
        if requests.len() > 1 {
            match connection.link.reads_many().await {
                Ok(true) => {}
                // A worker of an older build.
                Ok(false) => return Ok(one_by_one(connection, requests).await),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(reading::read(connection, requests).await)
    }

    async fn pause(&self, fault: Fault) {
        let error = Error::from(fault);
        tracing::debug!(worker = %self.worker, %error, "asking a shuffle worker once more");
        let env = &self.shared.env;
        let chance = env.random_below(PAUSE.as_micros() as u64);
        env.sleep(PAUSE + Duration::from_micros(chance)).await;
    }

    /// The error of a fault, naming the worker; faults of a connection do already.
    fn name(&self, fault: Fault) -> Error {
        match fault {
            Fault::Answered(error) => error.context(format!("shuffle worker {}", self.worker)),
            fault => fault.into(),
        }
    }

    fn late(&self) -> Error {
        let (worker, limit) = (self.worker, self.shared.options.request_max.as_secs());
        Error::retry(format!("shuffle worker {worker} gave no answer within {limit} s"))
    }
}

/// The blocks of each request in turn, each asked for when those before it have come.
async fn one_by_one(
    connection: Arc<Connection>,
    requests: Vec<ReadRequest>,
) -> Result<BlockStream, Fault> {
    let mut requests = requests.into_iter();
    let Some(first) = requests.next() else { return Ok(stream::empty().boxed()) };
    let first = reading::read(Arc::clone(&connection), vec![first]).await?;
    let rest = stream::iter(requests).then(move |request| {
        let connection = Arc::clone(&connection);
        async move { reading::read(connection, vec![request]).await.map_err(Error::from) }
    });
    Ok(first.chain(rest.try_flatten()).boxed())
}

/// A request whose outcome is not known may be sent again: all calls are repeatable. So may a push
/// that the worker found corrupt, if the blocks are whole here: they were damaged on the way.
fn may_repeat(fault: &Fault, ask: &Ask) -> bool {
    match (fault, ask) {
        (Fault::Broken(_), _) => true,
        (Fault::Answered(error), Ask::Push(push, _)) if error.kind() == Kind::Lost => {
            push.blocks.iter().all(|block| block.verify().is_ok())
        }
        _ => false,
    }
}

#[async_trait]
impl ShuffleApi for Remote {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.store(Push::plain(blocks)).await?.stored().map(drop)
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.push_and_hear(push, None).await
    }

    async fn store_heard(&self, push: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        self.push_and_hear(push, Some(hear)).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.call(Ask::Seal(shuffle), None).await.map(drop)
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.read_many(vec![request]).await
    }

    async fn read_many(&self, requests: Vec<ReadRequest>) -> Result<BlockStream> {
        let limit = self.shared.options.request_max;
        let begun = self.shared.env.timeout(limit, self.read_twice(requests)).await;
        begun.unwrap_or_else(|| Err(self.late()))
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.call(Ask::Discard(shuffle, attempt), None).await.map(drop)
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        self.call(Ask::DeleteQuery(query), None).await.map(drop)
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        match self.call(Ask::Shuffles, None).await? {
            Reply::Done(shuffles) => Ok(shuffles),
            Reply::Pushed(_) => Err(Error::bug("a list was answered as a push")),
        }
    }
}
