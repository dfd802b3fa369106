//! Workers behind real doors, and a network between them in which connections break or go deaf in one
//! direction. The executor and the workers among themselves go over the same links.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use dunlin_base::ByteCount;
use dunlin_base::env::Task;
use dunlin_base::net::Stream;
use dunlin_proto::shuffle::Peers;
use dunlin_shuffle_service::{Door, DoorOptions, Options, ShuffleWorker};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::*;
use crate::{TcpOptions, TcpWorkers, Workers};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Whole,
    /// It ends after so many bytes of one direction.
    Cut(Way, usize),
    /// Nothing more comes of this direction after so many bytes, and the other goes on.
    Deaf(Way, usize),
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToWorker,
    ToClient,
}

/// Tasks that end with their owner.
#[derive(Default)]
struct Tasks(Vec<Task<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::abort);
    }
}

/// The workers, numbered from 1, and how everybody reaches them.
pub(super) struct Network {
    pub(super) clients: Arc<TcpWorkers>,
    /// Connections that met their fate so far.
    pub(super) broken: Arc<AtomicUsize>,
    _doors: Vec<Door>,
    _links: Tasks,
}

struct Others(TcpWorkers);

impl Peers for Others {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.0.connect(id)
    }
}

fn door_options() -> DoorOptions {
    DoorOptions {
        ping_every: Duration::from_millis(50),
        silence_max: Duration::from_millis(700),
        stall_max: Duration::from_secs(2),
        frame_wait: Duration::from_secs(2),
        handshake_max: Duration::from_secs(1),
        ..DoorOptions::new("127.0.0.1:0")
    }
}

fn client_options() -> TcpOptions {
    TcpOptions {
        connect_max: Duration::from_secs(1),
        request_max: Duration::from_secs(4),
        ping_every: Duration::from_millis(50),
        silence_max: Duration::from_millis(700),
        stall_max: Duration::from_secs(2),
        frame_wait: Duration::from_secs(2),
        ..TcpOptions::default()
    }
}

impl Network {
    /// So many workers; `fate` is asked for each connection: of which worker, and its number.
    pub(super) async fn start(
        count: u128,
        fate: impl Fn(usize, usize) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let (env, fate) = (Env::seeded(1), Arc::new(fate));
        let (mut doors, mut workers, mut links) = (Vec::new(), Vec::new(), Tasks::default());
        let (mut addresses, broken) = (HashMap::new(), Arc::new(AtomicUsize::new(0)));
        for (nth, id) in (1..=count).enumerate() {
            let peer_wait = Duration::from_secs(1);
            let options = Options { peer_wait, ..Options::new(ByteCount::mib(32)) };
            let worker = ShuffleWorker::new(options, env.clone()).expect("no disk");
            let api = Arc::clone(&worker) as _;
            let door = Door::open(env.clone(), door_options(), process(id), api).await;
            let door = door.expect("a free port");
            let (number, fate) = (AtomicUsize::new(0), Arc::clone(&fate));
            let next = move || fate(nth, number.fetch_add(1, SeqCst));
            let to = door.address().to_string();
            let (address, task) = link(&env, to, Arc::clone(&broken), next).await;
            addresses.insert(process(id), address);
            links.0.push(task);
            doors.push(door);
            workers.push(worker);
        }
        let reach = || {
            let addresses = addresses.clone();
            let lookup = move |id: ProcessId| addresses.get(&id).cloned();
            TcpWorkers::new(Env::seeded(2), client_options(), lookup)
        };
        for worker in &workers {
            worker.set_peers(Arc::new(Others(reach())));
        }
        let clients = Arc::new(reach());
        Self { clients, broken, _doors: doors, _links: links }
    }
}

/// An address that leads to `to`.
async fn link(
    env: &Env,
    to: String,
    broken: Arc<AtomicUsize>,
    next: impl Fn() -> Fate + Send + 'static,
) -> (String, Task<()>) {
    let listener = env.listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address().expect("bound").to_string();
    let of_task = env.clone();
    let task = env.spawn("link", async move {
        let mut pumps = Tasks::default();
        while let Ok((near, _)) = listener.accept().await {
            let fate = next();
            let far = of_task.connect(&to, Duration::from_secs(5)).await;
            let Ok(far) = far else { continue };
            pumps.0.push(of_task.spawn("pump", pump(near, far, fate, Arc::clone(&broken))));
        }
    });
    (address, task)
}

async fn pump(near: Stream, far: Stream, fate: Fate, broken: Arc<AtomicUsize>) {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let of = |way| match fate {
        Fate::Cut(at_way, at) if at_way == way => (at, false),
        Fate::Deaf(at_way, at) if at_way == way => (at, true),
        _ => (usize::MAX, false),
    };
    tokio::select! {
        () = one_way(near_read, far_write, of(Way::ToWorker), &broken) => {}
        () = one_way(far_read, near_write, of(Way::ToClient), &broken) => {}
    }
}

/// Returns when the connection is to end.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (mut left, deaf): (usize, bool),
    broken: &AtomicUsize,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let some = read.min(left);
        broken.fetch_add(usize::from(left > 0 && left <= read), SeqCst);
        left -= some;
        if to.write_all(&buffer[..some]).await.is_err() {
            return;
        }
        if left == 0 && !deaf {
            return;
        }
    }
}
