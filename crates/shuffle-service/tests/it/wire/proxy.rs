//! A small TCP proxy between a client and a door that cuts, stalls or changes the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dunlin_base::Env;
use dunlin_base::env::Task;
use dunlin_base::net::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::bed::LONG;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// The connection ends, in both directions.
    Cut,
    /// Nothing more comes, and nobody says so.
    Stall,
    /// One bit of the byte is another, and all goes on.
    Flip,
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToDoor,
    ToClient,
}

/// What happens, after how many bytes of a connection, to how many of the first connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) at: usize,
    pub(super) mishap: Mishap,
    pub(super) connections: usize,
}

pub(super) struct Proxy {
    address: String,
    connections: Arc<AtomicUsize>,
    task: Task<()>,
}

impl Proxy {
    pub(super) async fn start(door: &str, plan: Plan) -> Self {
        let env = Env::seeded(3);
        let listener = env.listen("127.0.0.1:0").await.expect("a free port");
        let address = listener.address().expect("bound").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, door, of_task) = (Arc::clone(&connections), door.to_owned(), env.clone());
        let task = env.spawn("proxy", async move {
            let mut pumps = Pumps(Vec::new());
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, SeqCst);
                let Ok(far) = of_task.connect(&door, LONG).await else { continue };
                let plan = (number < plan.connections).then_some(plan);
                pumps.0.push(of_task.spawn("pump", pump(near, far, plan)));
            }
        });
        Self { address, connections, task }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Pumps(Vec<Task<()>>);

impl Drop for Pumps {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::abort);
    }
}

async fn pump(near: Stream, far: Stream, plan: Option<Plan>) {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let of = |way| plan.filter(|plan| plan.way == way);
    tokio::select! {
        () = one_way(near_read, far_write, of(Way::ToDoor)) => {}
        () = one_way(far_read, near_write, of(Way::ToClient)) => {}
    }
}

/// Returns when the connection is to end.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    plan: Option<Plan>,
) {
    let mut passed = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let mut bytes = &mut buffer[..read];
        if let Some(Plan { at, mishap, .. }) = plan
            && (passed..passed + read).contains(&at)
        {
            match mishap {
                Mishap::Flip => bytes[at - passed] ^= 1 << (at % 8),
                Mishap::Cut | Mishap::Stall => bytes = &mut bytes[..at - passed],
            }
            if to.write_all(bytes).await.is_err() || mishap == Mishap::Cut {
                return;
            }
            if mishap == Mishap::Stall {
                std::future::pending::<()>().await;
            }
        } else if to.write_all(bytes).await.is_err() {
            return;
        }
        passed += read;
    }
}
