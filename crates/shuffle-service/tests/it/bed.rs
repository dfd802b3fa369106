//! A worker and a way to it: in this process, or through a door and a socket.

use std::time::Duration;

use dunlin_base::ProcessId;
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Door, DoorOptions};

use super::*;

/// How the client reaches the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    Process,
    Tcp,
}

/// Nothing in these tests takes longer, or it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A worker and a client of it.
pub(crate) struct Bed {
    pub(crate) worker: Arc<ShuffleWorker>,
    pub(crate) api: Arc<dyn ShuffleApi>,
    _wire: Option<(Door, TcpWorkers)>,
}

impl Bed {
    pub(crate) async fn in_memory(over: Over, limit: u64) -> Self {
        Self::around(over, in_memory(limit)).await
    }

    pub(crate) async fn around(over: Over, worker: Arc<ShuffleWorker>) -> Self {
        let api = Arc::clone(&worker) as Arc<dyn ShuffleApi>;
        match over {
            Over::Process => Self { worker, api, _wire: None },
            Over::Tcp => {
                let door = open(api, local()).await;
                let workers = workers_at(&door.address().to_string(), TcpOptions::default());
                let api = workers.connect(me()).expect("known");
                Self { worker, api, _wire: Some((door, workers)) }
            }
        }
    }
}

/// The process id of the worker behind the door.
pub(crate) fn me() -> ProcessId {
    ProcessId::from_u128(77)
}

pub(crate) fn local() -> DoorOptions {
    DoorOptions::new("127.0.0.1:0")
}

pub(crate) async fn open(api: Arc<dyn ShuffleApi>, options: DoorOptions) -> Door {
    Door::open(Env::seeded(1), options, me(), api).await.expect("a free port")
}

/// Workers that are all at one address.
pub(crate) fn workers_at(address: &str, options: TcpOptions) -> TcpWorkers {
    let address = address.to_owned();
    TcpWorkers::new(Env::seeded(2), options, move |_| Some(address.clone()))
}

/// Waits for a condition, and fails if it does not come.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let env = Env::seeded(1);
    let wait = async {
        while !condition() {
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    env.timeout(LONG, wait).await.unwrap_or_else(|| panic!("{what} did not come"));
}

/// The value of a future that must not hang.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    Env::seeded(1).timeout(LONG, future).await.unwrap_or_else(|| panic!("{what} hangs"))
}
