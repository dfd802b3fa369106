//! The servers, and a client of each of their ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{ByteCount, Env, Result};
use dunlin_celeborn::batch::{BatchHeader, batches};
use dunlin_celeborn::frame::{Frame, Mode, PushData, PushMergedData, Slice, StreamId};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::location::{Location, pack, unpack};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, WorkerEventType};
use dunlin_celeborn::push::PushReply;
use dunlin_celeborn::rpc::{Content, Envelope, Form, TransportMessage, endpoint};
use dunlin_celeborn::status::StatusCode;
use dunlin_metadata::StoreRef;
use dunlin_metadata::sim::SimStore;
use dunlin_shuffle_service::{Options, ShuffleWorker};
use parking_lot::Mutex;

use super::proving;
use crate::net::{Client, Tls};
use crate::{BoundWorker, Fleet, Master, MasterOptions, Wanted, Worker};
use crate::{WorkerOfFleet, WorkerOptions};

const WAIT: Duration = Duration::from_secs(10);
pub(super) const APP: &str = "app-1";
pub(super) const KEY: &str = "app-1-0";
/// What the application proves itself with.
pub(super) const SECRET: &str = "the secret of app-1";

/// The workers that masters see, and what is wanted of them.
#[derive(Default)]
pub(super) struct Seen(
    pub(super) Mutex<Vec<WorkerOfFleet>>,
    pub(super) Mutex<BTreeMap<WorkerId, Wanted>>,
);

#[async_trait]
impl Fleet for Seen {
    fn workers(&self) -> Vec<WorkerOfFleet> {
        self.0.lock().clone()
    }

    async fn wanted(&self) -> Result<Vec<(WorkerId, Wanted)>> {
        Ok(self.1.lock().iter().map(|(id, wanted)| (id.clone(), *wanted)).collect())
    }

    async fn want(&self, worker: &WorkerId, event: WorkerEventType) -> Result<bool> {
        let alive = self.0.lock().iter().any(|one| one.id == *worker);
        let wanted = Wanted { event, since_unix_ms: 7 };
        match event {
            WorkerEventType::None => drop(self.1.lock().remove(worker)),
            _ if alive => drop(self.1.lock().insert(worker.clone(), wanted)),
            _ => {}
        }
        Ok(alive)
    }
}

/// A cluster on loopback.
pub(super) struct Bed {
    pub(super) env: Env,
    pub(super) store: StoreRef,
    pub(super) seen: Arc<Seen>,
    pub(super) workers: Vec<(Worker, Arc<ShuffleWorker>)>,
    pub(super) master: Master,
    pub(super) tls: Option<Tls>,
    /// What workers that are added say where they are.
    pub(super) advertise: String,
    /// Clients have to prove which application they are.
    pub(super) auth: bool,
}

impl Bed {
    /// Workers that have so much memory each, and nothing else.
    pub(super) async fn new(workers: usize, memory: u64) -> Self {
        Self::with(workers, memory, None).await
    }

    pub(super) async fn with(workers: usize, memory: u64, tls: Option<Tls>) -> Self {
        Self::made(workers, memory, (tls, false)).await
    }

    /// The same, and clients have to prove which application they are.
    pub(super) async fn asking(workers: usize, memory: u64, tls: Option<Tls>) -> Self {
        Self::made(workers, memory, (tls, true)).await
    }

    async fn made(workers: usize, memory: u64, (tls, auth): (Option<Tls>, bool)) -> Self {
        let env = Env::real(None);
        let store: StoreRef = Arc::new(SimStore::new(env.clone()));
        let seen = Arc::new(Seen::default());
        let master = master_of(&env, &store, &seen, (tls.clone(), auth)).await;
        let advertise = "127.0.0.1".to_owned();
        let workers_of = Vec::new();
        let mut bed = Self { env, store, seen, workers: workers_of, master, tls, advertise, auth };
        for _ in 0..workers {
            let core = ShuffleWorker::new(Options::new(ByteCount(memory)), bed.env.clone());
            bed.add(core.expect("no folder to fail"), [0; 4]).await;
        }
        bed
    }

    /// One more worker, on this core and these ports.
    pub(super) async fn add(&mut self, core: Arc<ShuffleWorker>, ports: [u16; 4]) -> WorkerId {
        let options = WorkerOptions {
            listen: "127.0.0.1".to_owned(),
            advertise: self.advertise.clone(),
            ports,
            pushes: ByteCount(64 << 20),
            tls: self.tls.clone(),
            auth: self.auth,
        };
        let bound = BoundWorker::bind(&self.env, options).await.expect("free ports");
        let id = bound.id();
        self.seen.0.lock().push(WorkerOfFleet {
            id: id.clone(),
            rack: "/rack".to_owned(),
            going: false,
            takes: true,
            disks: Vec::new(),
            free: 1 << 30,
            pressure: 0,
            shuffles: 0,
            tags: Vec::new(),
        });
        self.workers.push((bound.open(Arc::clone(&self.store), Arc::clone(&core)), core));
        id
    }

    /// A driver that has asked for these partitions of shuffle 0 and reserved them.
    pub(super) async fn driver(&self, partitions: i32, copies: bool) -> Driver {
        let driver = Driver::new(self).await;
        let locations = driver.slots(partitions, copies).await;
        driver.reserve(&locations, 1 << 30, false).await;
        driver
    }

    pub(super) fn worker(&self, id: &WorkerId) -> &(Worker, Arc<ShuffleWorker>) {
        self.workers.iter().find(|(worker, _)| worker.id() == id).expect("one of them")
    }
}

pub(super) async fn master(
    env: &Env,
    store: &StoreRef,
    (seen, tls): (&Arc<Seen>, Option<Tls>),
) -> Master {
    master_of(env, store, seen, (tls, false)).await
}

pub(super) async fn master_of(
    env: &Env,
    store: &StoreRef,
    seen: &Arc<Seen>,
    (tls, auth): (Option<Tls>, bool),
) -> Master {
    let fleet = Arc::clone(seen) as Arc<dyn Fleet>;
    let options = MasterOptions { tls, auth, ..MasterOptions::new("127.0.0.1:0") };
    Master::start(env, options, Arc::clone(store), fleet).await.expect("a free port")
}

/// A client of a port.
pub(super) async fn connect(env: &Env, port: u16) -> Client {
    connect_by(env, port, None).await
}

pub(super) async fn connect_by(env: &Env, port: u16, tls: Option<&Tls>) -> Client {
    let client = Client::connect(env, &format!("127.0.0.1:{port}"), (WAIT, tls)).await;
    client.expect("it listens")
}

/// Asks an endpoint, in the form that Spark's client writes; the failure's text otherwise.
pub(super) async fn ask(
    client: &Client,
    endpoint: &str,
    message: impl Into<Message>,
) -> std::result::Result<Message, String> {
    let content = Content::Message(message.into().encode(), Form::Java).encode().expect("small");
    match answer(client, endpoint, content).await {
        Ok(bytes) => match Content::decode(bytes).expect("an answer") {
            Content::Message(message, Form::Plain) => Ok(Message::decode(message).expect("known")),
            other => panic!("{other:?}"),
        },
        Err(text) => Err(text),
    }
}

/// The body of the response to a request, or the failure's text.
pub(super) async fn answer(
    client: &Client,
    endpoint: &str,
    content: Bytes,
) -> std::result::Result<Bytes, String> {
    let endpoint = endpoint.to_owned();
    let envelope = Envelope { sender: None, receiver: None, endpoint, content };
    let body = envelope.encode().expect("small");
    match client.ask(|id| Frame::RpcRequest(id, body)).await.expect("an answer") {
        Frame::RpcResponse(_, body) => Ok(body),
        Frame::RpcFailure(_, text) => Err(text.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Whether an endpoint is there.
pub(super) async fn is_there(client: &Client, name: &str) -> bool {
    crate::control::exists(client, name).await.expect("a Boolean")
}

/// What an application's driver and its executors do.
pub(super) struct Driver {
    env: Env,
    tls: Option<Tls>,
    auth: bool,
    pub(super) master: Client,
    pub(super) locations: Mutex<Vec<Location>>,
}

impl Driver {
    pub(super) async fn new(bed: &Bed) -> Self {
        let (env, tls) = (bed.env.clone(), bed.tls.clone());
        let (auth, master) = (bed.auth, bed.master.address().port());
        let master = connect_by(&env, master, tls.as_ref()).await;
        if auth {
            proving::register(&master, APP, SECRET).await.expect("a new name");
        }
        Self { env, tls, auth, master, locations: Mutex::default() }
    }

    /// A connection of the application.
    pub(super) async fn connect(&self, port: u16) -> Client {
        let client = connect_by(&self.env, port, self.tls.as_ref()).await;
        if self.auth {
            proving::prove(&client, APP, SECRET).await.expect("the right secret");
        }
        client
    }

    pub(super) async fn slots(&self, partitions: i32, copies: bool) -> Vec<Location> {
        let asked = pb::RequestSlots {
            application_id: APP.to_owned(),
            partition_id_list: (0..partitions).collect(),
            should_replicate: copies,
            packed: true,
            ..Default::default()
        };
        let Ok(Message::RequestSlotsResponse(got)) =
            ask(&self.master, endpoint::MASTER, asked).await
        else {
            panic!("no slots")
        };
        assert_eq!(got.status, StatusCode::Success.number());
        let pairs = got.packed_worker_resource.into_values();
        let all = pairs
            .filter_map(|resource| resource.location_pairs)
            .flat_map(|pair| unpack(pair).expect("packed"));
        all.filter(|location| location.copy.mode == Mode::Primary).collect()
    }

    /// Reserves the locations and their peers, each at its worker.
    pub(super) async fn reserve(&self, locations: &[Location], threshold: i64, hard: bool) {
        self.locations.lock().extend(locations.iter().cloned());
        let peers = locations.iter().filter_map(|location| {
            let peer = location.peer.clone()?;
            Some(Location { copy: peer, peer: Some(location.copy.clone()) })
        });
        for location in locations.iter().cloned().chain(peers) {
            let worker = self.connect(location.copy.worker.rpc_port).await;
            let asked = pb::ReserveSlots {
                application_id: APP.to_owned(),
                split_threshold: threshold,
                split_mode: i32::from(hard),
                partition_split_enabled: true,
                push_data_timeout: 5000,
                range_read_filter: true,
                partition_locations_pair: Some(pack(&[location])),
                ..Default::default()
            };
            let Ok(Message::ReserveSlotsResponse(got)) =
                ask(&worker, endpoint::WORKER, asked).await
            else {
                panic!("not reserved")
            };
            assert_eq!((got.status, got.reason.as_str()), (0, ""));
        }
    }

    /// The location of a partition that was reserved last.
    pub(super) fn location(&self, partition: i32) -> Location {
        let all = self.locations.lock();
        let of = all.iter().filter(|location| location.copy.partition.id == partition);
        of.max_by_key(|location| location.copy.partition.epoch).expect("reserved").clone()
    }

    /// Pushes one batch.
    pub(super) async fn push(
        &self,
        partition: i32,
        body: Bytes,
    ) -> std::result::Result<PushReply, String> {
        let location = self.location(partition);
        let client = self.connect(location.copy.worker.push_port).await;
        let partition = location.copy.partition.to_string();
        push(&client, Mode::Primary, &partition, body).await
    }

    /// Pushes batches of several partitions at the worker of the first.
    pub(super) async fn push_merged(
        &self,
        all: &[(i32, Bytes)],
    ) -> std::result::Result<PushReply, String> {
        let client = self.connect(self.location(all[0].0).copy.worker.push_port).await;
        let names = all.iter().map(|(id, _)| self.location(*id).copy.partition.to_string());
        let partitions = names.map(|name| name.as_str().into()).collect();
        let mut offset = 0;
        let offsets = all.iter().map(|(_, body)| {
            offset += body.len() as u32;
            offset - body.len() as u32
        });
        let offsets = offsets.collect();
        let body: Bytes = all.iter().flat_map(|(_, body)| body.to_vec()).collect::<Vec<_>>().into();
        let frame = |id| {
            let (mode, shuffle_key) = (Mode::Primary, KEY.into());
            Frame::PushMergedData(PushMergedData {
                id,
                mode,
                shuffle_key,
                partitions,
                offsets,
                body,
            })
        };
        replied(client.ask(frame).await.expect("an answer"))
    }

    /// Commits these partitions of one copy at their workers.
    pub(super) async fn commit(
        &self,
        mode: Mode,
        partitions: &[i32],
        epoch: i64,
    ) -> Vec<pb::CommitFilesResponse> {
        let mut responses = Vec::new();
        for partition in partitions {
            let location = self.location(*partition);
            let copy = match mode {
                Mode::Primary => location.copy,
                Mode::Replica => location.peer.expect("two copies"),
            };
            let id = vec![copy.partition.to_string()];
            let (primary_ids, replica_ids) = match mode {
                Mode::Primary => (id, Vec::new()),
                Mode::Replica => (Vec::new(), id),
            };
            let asked = pb::CommitFiles {
                application_id: APP.to_owned(),
                primary_ids,
                replica_ids,
                map_attempts: vec![0; 3],
                epoch: epoch * 1000 + i64::from(*partition),
                ..Default::default()
            };
            let worker = self.connect(copy.worker.rpc_port).await;
            match ask(&worker, endpoint::WORKER, asked).await {
                Ok(Message::CommitFilesResponse(got)) => responses.push(*got),
                other => panic!("{other:?}"),
            }
        }
        responses
    }

    /// Reads maps of a file at a worker: the batches of each chunk.
    pub(super) async fn read(
        &self,
        at: &WorkerId,
        file: &str,
        (start, end): (i32, i32),
    ) -> std::result::Result<Vec<Vec<BatchHeader>>, String> {
        let client = self.connect(at.fetch_port).await;
        let asked = pb::OpenStream {
            shuffle_key: KEY.to_owned(),
            file_name: file.to_owned(),
            start_index: start,
            end_index: end,
            ..Default::default()
        };
        let opened = match bare(&client, asked).await? {
            Message::StreamHandler(opened) => *opened,
            other => panic!("{other:?}"),
        };
        let mut chunks = Vec::new();
        for chunk in 0..opened.num_chunks {
            let slice = Slice::whole(StreamId(opened.stream_id), chunk);
            let bytes = fetch(&client, slice).await?;
            let header = |one: Result<(BatchHeader, Bytes)>| one.expect("whole batches").0;
            chunks.push(batches(&bytes).map(header).collect());
        }
        Ok(chunks)
    }
}

/// Sends a push for one partition.
pub(super) async fn push(
    client: &Client,
    mode: Mode,
    partition: &str,
    body: Bytes,
) -> std::result::Result<PushReply, String> {
    let (shuffle_key, partition) = (KEY.into(), partition.into());
    let frame = |id| Frame::PushData(PushData { id, mode, shuffle_key, partition, body });
    replied(client.ask(frame).await.expect("an answer"))
}

fn replied(frame: Frame) -> std::result::Result<PushReply, String> {
    match frame {
        Frame::RpcResponse(_, body) => Ok(PushReply::decode(&body).expect("a reply")),
        Frame::RpcFailure(_, text) => Err(text.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Asks a port for reads.
pub(super) async fn bare(
    client: &Client,
    message: impl Into<Message>,
) -> std::result::Result<Message, String> {
    let body = message.into().encode().to_bare().expect("small");
    match client.ask(|id| Frame::RpcRequest(id, body)).await.expect("an answer") {
        Frame::RpcResponse(_, body) => {
            let message = TransportMessage::from_bare(body).expect("a message");
            Ok(Message::decode(message).expect("known"))
        }
        Frame::RpcFailure(_, text) => Err(text.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Asks for a chunk.
pub(super) async fn fetch(client: &Client, slice: Slice) -> std::result::Result<Bytes, String> {
    let stream_chunk_slice = Some(pb::StreamChunkSlice {
        stream_id: slice.stream.0,
        chunk_index: slice.chunk,
        offset: slice.offset,
        len: slice.len,
    });
    let asked = Message::from(pb::ChunkFetchRequest { stream_chunk_slice });
    let body = asked.encode().to_bare().expect("small");
    match client.chunk(slice, body).await.expect("an answer") {
        Frame::ChunkFetchSuccess(same, bytes) if same == slice => Ok(bytes),
        Frame::ChunkFetchFailure(same, text) if same == slice => Err(text.to_string()),
        other => panic!("{other:?}"),
    }
}

/// A batch of map `map` with so many bytes of data.
pub(super) fn batch(map: i32, batch: i32, length: usize) -> Bytes {
    let header = BatchHeader { map, attempt: 0, batch, len: length as u32 };
    let data = (0..length).map(|n| (n as i32 * 7 + map * 31 + batch) as u8);
    header.encode().into_iter().chain(data).collect::<Vec<_>>().into()
}
