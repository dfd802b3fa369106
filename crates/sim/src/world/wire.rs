//! Shuffle workers as another process reaches them. Keeps what `dunlin_shuffle::TcpWorkers` says of
//! its errors: a worker without a card is `Lost`, one out of reach `Retry`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use dunlin_base::{Env, Error, ProcessId, QueryId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{
    BlockStream, Hear, MapAttempt, Peers, Push, Pushed, ReadRequest, ShuffleApi,
};
use dunlin_queue::LiveSet;
use dunlin_shuffle::{WorkerGone, Workers};
use dunlin_shuffle_service::ShuffleWorker;
use futures::StreamExt;
use parking_lot::Mutex;

use super::link::{Link, Way};
use super::weather::Weather;

/// A call, or the wait for a next block, ends after this.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A worker and the link of its process.
#[derive(Clone)]
struct Peer {
    link: Arc<Link>,
    worker: Arc<ShuffleWorker>,
    /// Whom clients may mean by it.
    lives: BTreeSet<ProcessId>,
}

/// All workers of a world by their addresses.
#[derive(Default)]
pub(crate) struct Network(Mutex<BTreeMap<String, Peer>>);

impl Network {
    /// A worker answers for an id at an address, too.
    pub(crate) fn insert(
        &self,
        (address, id): (&str, ProcessId),
        link: &Arc<Link>,
        worker: &Arc<ShuffleWorker>,
    ) {
        let (link, worker) = (Arc::clone(link), Arc::clone(worker));
        let new = || Peer { link, worker, lives: BTreeSet::new() };
        self.0.lock().entry(address.to_owned()).or_insert_with(new).lives.insert(id);
    }

    fn find(&self, address: &str) -> Option<Peer> {
        self.0.lock().get(address).filter(|peer| !peer.link.is_dead()).cloned()
    }

    /// Forgets the workers of a process that has died, and with them their blocks.
    pub(crate) fn bury(&self) {
        self.0.lock().retain(|_, peer| !peer.link.is_dead());
    }

    /// Every shuffle that a worker holds.
    pub(crate) async fn shuffles(&self) -> Vec<ShuffleId> {
        let peers: Vec<Peer> = self.0.lock().values().cloned().collect();
        let mut all = Vec::new();
        for peer in peers.into_iter().filter(|peer| !peer.link.is_dead()) {
            all.extend(peer.worker.shuffles().await.unwrap_or_default());
        }
        all
    }
}

/// The workers as one process reaches them.
pub(crate) struct LinkedWorkers {
    pub(crate) env: Env,
    pub(crate) network: Arc<Network>,
    pub(crate) link: Arc<Link>,
    pub(crate) weather: Arc<Weather>,
    /// Whose cards this process sees.
    pub(crate) live: Arc<LiveSet>,
}

impl Workers for LinkedWorkers {
    fn connect(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        let wire = Wire {
            id,
            env: self.env.clone(),
            network: Arc::clone(&self.network),
            link: Arc::clone(&self.link),
            weather: Arc::clone(&self.weather),
            live: Arc::clone(&self.live),
        };
        wire.look_up()?;
        Ok(Arc::new(wire))
    }
}

impl Peers for LinkedWorkers {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.connect(id)
    }
}

/// One worker.
#[derive(Clone)]
struct Wire {
    id: ProcessId,
    env: Env,
    network: Arc<Network>,
    link: Arc<Link>,
    weather: Arc<Weather>,
    live: Arc<LiveSet>,
}

impl Wire {
    fn look_up(&self) -> Result<String> {
        self.live.card_of(self.id).map(|card| card.address).ok_or_else(|| self.gone())
    }

    fn gone(&self) -> Error {
        Error::lost(format!("shuffle worker {} is gone", self.id)).with_source(WorkerGone(self.id))
    }

    fn broken(&self, what: &str) -> Error {
        Error::retry(format!("shuffle worker {}: {what}", self.id))
    }

    async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        call: impl FnOnce(Arc<ShuffleWorker>) -> F,
    ) -> Result<T> {
        let address = self.look_up()?;
        let there = async {
            let Some(peer) = self.network.find(&address) else {
                return Err(self.broken("the connection was refused"));
            };
            if !peer.lives.contains(&self.id) {
                return Err(self.gone());
            }
            let answer = peer.link.through(Way::Wire, call(peer.worker));
            let answer = tokio::select! {
                biased;
                () = peer.link.died() => None,
                answer = answer => Some(answer),
            };
            answer.unwrap_or_else(|| Err(self.broken("the connection broke")))
        };
        let crossed = self.weather.cross("a shuffle worker", there);
        let answer = self.link.through(Way::Wire, self.env.timeout(ANSWER_MAX, crossed)).await;
        answer.unwrap_or_else(|| Err(self.broken("no answer in time")))
    }

    /// One block on its way to the reader.
    async fn carry(&self, peer: &Peer, block: Result<Block>) -> Result<Block> {
        let carried = async {
            self.weather.delay().await;
            if peer.link.is_dead() || self.weather.swallows_answer() {
                return Err(self.broken("the connection broke"));
            }
            let mut block = block?;
            if self.weather.flips() {
                let mut body = BytesMut::from(block.body.as_ref());
                if let Some(byte) = body.last_mut() {
                    *byte ^= 1;
                }
                block.body = body.freeze();
            }
            block.verify()?;
            Ok(block)
        };
        self.link.through(Way::Wire, carried).await
    }
}

#[async_trait]
impl ShuffleApi for Wire {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.call(|worker| async move { worker.push(blocks).await }).await
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.call(|worker| async move { worker.store(push).await }).await
    }

    async fn store_heard(&self, push: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        self.call(|worker| async move { worker.store_heard(push, hear).await }).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.call(|worker| async move { worker.seal(shuffle).await }).await
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        let peer = self.look_up().ok().and_then(|address| self.network.find(&address));
        let blocks = self.call(|worker| async move { worker.read(request).await }).await?;
        let Some(peer) = peer else { return Err(self.broken("the connection broke")) };
        let (this, peer) = (self.clone(), Arc::new(peer));
        let carried = blocks.then(move |block| {
            let (this, peer) = (this.clone(), Arc::clone(&peer));
            async move { this.carry(&peer, block).await }
        });
        Ok(carried.boxed())
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.call(|worker| async move { worker.discard(shuffle, attempt).await }).await
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        self.call(|worker| async move { worker.delete_query(query).await }).await
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        self.call(|worker| async move { worker.shuffles().await }).await
    }
}
