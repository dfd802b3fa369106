//! What each of a worker's ports answers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_celeborn::frame::{Frame, Mode, RequestId, Slice, StreamId};
use dunlin_celeborn::ids::ShuffleKey;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::push::PushReply;
use dunlin_celeborn::rpc::{TransportMessage, endpoint};
use dunlin_celeborn::status::StatusCode;

use super::floor::Floor;
use super::push::{Asked, Failure};
use super::stats::timed;
use crate::auth::Caller;
use crate::control::Endpoint;
use crate::net::{Connection, Service};

#[async_trait]
impl Endpoint for Floor {
    fn is(&self, name: &str) -> bool {
        name == endpoint::WORKER
    }

    async fn handle(&self, _caller: &Caller, message: Message) -> Result<Message> {
        match message {
            Message::ReserveSlots(asked) => {
                timed(&self.env, &self.timers.reserve, self.reserve(*asked)).await
            }
            Message::CommitFiles(asked) => {
                timed(&self.env, &self.timers.commit, self.commit(*asked)).await
            }
            Message::Destroy(asked) => self.destroy(*asked).await,
            other => {
                let kind = other.kind().name();
                Err(Error::invalid(format!("a worker does not answer {kind}")))
            }
        }
    }
}

/// The port for pushes of clients, or that for copies of other workers.
pub(super) struct Pushes {
    pub(super) floor: Arc<Floor>,
    /// What comes here.
    pub(super) mode: Mode,
}

#[async_trait]
impl Service for Pushes {
    async fn answer(&self, connection: &Arc<Connection>, frame: Frame) -> Result<()> {
        match frame {
            Frame::PushData(push) => {
                let id = push.id;
                self.push(connection, (id, push.mode), push.into(), PushReply::encode).await
            }
            Frame::PushMergedData(push) => {
                let id = push.id;
                self.push(connection, (id, push.mode), push.into(), PushReply::encode_merged).await
            }
            Frame::RpcRequest(id, _) => {
                connection.fail(id, "this port takes pushes of Spark, and nothing else".to_owned());
                Ok(())
            }
            other => {
                let kind = other.kind();
                Err(Error::invalid(format!("a {kind:?} frame came to a port for pushes")))
            }
        }
    }

    fn ended(&self, _connection: u64) {}
}

impl Pushes {
    async fn push(
        &self,
        connection: &Arc<Connection>,
        (id, mode): (RequestId, Mode),
        asked: Asked,
        encode: impl FnOnce(&PushReply) -> Result<Bytes>,
    ) -> Result<()> {
        if mode != self.mode {
            return Err(Error::invalid("a push came to the port for the other copy"));
        }
        if let Err(error) = connection.caller().may(ShuffleKey::application_of(asked.shuffle())) {
            let code = StatusCode::PushDataFailNonCriticalCausePrimary;
            connection.fail(id, Failure::new(code, &error).to_text());
            return Ok(());
        }
        let floor = &self.floor;
        match timed(&floor.env, floor.timers.push(mode), floor.push(asked)).await? {
            Ok(reply) => connection.respond(id, encode(&reply)?),
            Err(failure) => connection.fail(id, failure.to_text()),
        }
        Ok(())
    }
}

/// The port for reads.
pub(super) struct Fetches(pub(super) Arc<Floor>);

#[async_trait]
impl Service for Fetches {
    async fn answer(&self, connection: &Arc<Connection>, frame: Frame) -> Result<()> {
        match frame {
            Frame::RpcRequest(id, body) => self.request(connection, id, body).await,
            Frame::ChunkFetchRequest(slice) => self.chunk(connection, slice).await,
            other => {
                let kind = other.kind();
                Err(Error::invalid(format!("a {kind:?} frame came to a port for reads")))
            }
        }
    }

    fn ended(&self, connection: u64) {
        self.0.streams.end_all_of(connection);
    }
}

impl Fetches {
    async fn request(&self, to: &Arc<Connection>, id: RequestId, body: Bytes) -> Result<()> {
        let message = match Message::decode(TransportMessage::from_bare(body)?) {
            Ok(message) => message,
            Err(undecoded) => {
                to.fail(id, Error::from(undecoded).to_string());
                return Ok(());
            }
        };
        let caller = to.caller();
        if let Err(error) = message.application().map_or(Ok(()), |named| caller.may(named)) {
            to.fail(id, error.to_string());
            return Ok(());
        }
        let answer = match message {
            Message::ChunkFetchRequest(asked) => {
                let slice = asked.stream_chunk_slice.unwrap_or_default();
                let slice = Slice {
                    stream: StreamId(slice.stream_id),
                    chunk: slice.chunk_index,
                    offset: slice.offset,
                    len: slice.len,
                };
                return self.chunk(to, slice).await;
            }
            // Not answered.
            Message::BufferStreamEnd(asked) => {
                self.0.streams.end(&caller, StreamId(asked.stream_id));
                return Ok(());
            }
            Message::OpenStream(asked) => {
                let opened = self.0.open(to.number, &asked);
                timed(&self.0.env, &self.0.timers.open, opened).await.map(Message::from)
            }
            Message::BatchOpenStream(asked) => {
                let opened = self.0.open_all(to.number, &asked);
                timed(&self.0.env, &self.0.timers.open, opened).await.map(Message::from)
            }
            other => {
                let kind = other.kind().name();
                Err(Error::invalid(format!("a port for reads does not answer {kind}")))
            }
        };
        match answer {
            Ok(message) => to.respond(id, message.encode().to_bare()?),
            Err(error) => to.fail(id, error.to_string()),
        }
        Ok(())
    }

    async fn chunk(&self, to: &Arc<Connection>, slice: Slice) -> Result<()> {
        let counters = &self.0.counters;
        let caller = to.caller();
        let read = self.0.chunk((to.number, &caller), slice);
        match timed(&self.0.env, &self.0.timers.fetch, read).await {
            Ok(pieces) => {
                let bytes: usize = pieces.iter().map(Bytes::len).sum();
                counters.chunks.fetch_add(1, Relaxed);
                counters.fetched_bytes.fetch_add(bytes as u64, Relaxed);
                to.chunk(slice, pieces).await
            }
            Err(error) => {
                counters.chunk_failures.fetch_add(1, Relaxed);
                tracing::warn!(client = ?to, stream = slice.stream.0, chunk = slice.chunk, %error, "no chunk");
                to.no_chunk(slice, error.to_string());
                Ok(())
            }
        }
    }
}
