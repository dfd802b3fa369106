//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/shuffle/{query}` for `dunlin shuffle show`,
//! and Celeborn's `/api/v1`. It tells counts and no data.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use dunlin_base::env::Task;
use dunlin_base::{Env, Error, Result};
use dunlin_celeborn_service::{Master, Worker as CelebornWorker};
use dunlin_executor::Executor;
use dunlin_metadata::StoreRef;
use dunlin_shuffle_service::{Door, ShuffleWorker};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::celeborn_metrics::{self, Theirs};
use super::crowd::Crowd;
use super::held::Held;
use super::metrics::{gauge, register, traffic};
use super::rest::Caller;
use crate::engine::Engine;

/// Connections at a time: probes and scrapers need a few.
const CONNECTIONS_MAX: usize = 256;

/// A store that does not answer for so long is out of reach.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// What a reader of OpenMetrics expects to be told.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The open listener. Dropping it closes it.
pub(super) struct Admin {
    address: SocketAddr,
    facts: Arc<Facts>,
    serving: Task<()>,
}

/// What is told.
struct Facts {
    env: Env,
    store: StoreRef,
    executors: Vec<Arc<Executor>>,
    shuffle: Option<Arc<ShuffleWorker>>,
    door: Option<Weak<Door>>,
    /// Of Celeborn's clients.
    master: Option<Arc<Master>>,
    celeborn: Option<Weak<CelebornWorker>>,
    ready: AtomicBool,
}

impl Admin {
    /// `Invalid`: the address cannot be listened on.
    pub(super) async fn start(engine: &Engine, address: SocketAddr, rest: Router) -> Result<Self> {
        let bad = |e: std::io::Error| {
            Error::invalid(format!("cannot listen on {address}: {e}")).with_source(e)
        };
        let facts = Arc::new(Facts {
            env: engine.env().clone(),
            store: Arc::clone(engine.store()),
            executors: engine.executors(),
            shuffle: engine.shuffle_worker(),
            door: engine.shuffle_door(),
            master: engine.celeborn_master(),
            celeborn: engine.celeborn_worker(),
            ready: AtomicBool::new(true),
        });
        let listener = bind(address).await.map_err(bad)?;
        let address = listener.local_addr().map_err(bad)?;
        let app = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/shuffle/{query}", get(shuffle))
            .with_state(Arc::clone(&facts))
            .merge(rest)
            .into_make_service_with_connect_info::<Caller>();
        let crowd = Crowd::new(listener, CONNECTIONS_MAX, engine.env().clone());
        let serving = engine.env().spawn("admin", async move {
            if let Err(error) = axum::serve(crowd, app).await {
                tracing::warn!(%error, "the admin listener has failed");
            }
        });
        Ok(Self { address, facts, serving })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/readyz` says no: the process drains.
    pub(super) fn not_ready(&self) {
        self.facts.ready.store(false, Ordering::Release);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "axum takes tokio's listener only")]
async fn bind(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await
}

async fn ready(State(facts): State<Arc<Facts>>) -> (StatusCode, String) {
    let no = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if !facts.ready.load(Ordering::Acquire) {
        return no("draining");
    }
    match facts.env.timeout(STORE_WAIT, facts.store.get("ready/")).await {
        Some(Ok(_)) => (StatusCode::OK, "ok\n".to_owned()),
        Some(Err(error)) => no(&format!("the metadata store: {error}")),
        None => no("the metadata store does not answer"),
    }
}

/// What the shuffle worker holds of a query, as JSON.
async fn shuffle(
    State(facts): State<Arc<Facts>>,
    Path(query): Path<String>,
) -> Result<String, (StatusCode, String)> {
    let no = |why: &str| (StatusCode::NOT_FOUND, format!("{why}\n"));
    let query = query.parse().map_err(|_| no("this is no query"))?;
    let worker = facts.shuffle.as_ref().ok_or_else(|| no("this is no shuffle worker"))?;
    let held: Vec<_> = worker.partitions_of(query).iter().map(Held::from).collect();
    serde_json::to_string(&held).map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

/// What is served to clients of Celeborn, if anything is.
async fn celeborn(facts: &Facts, all: &mut Registry) {
    let mut theirs = Theirs::default();
    let ours = all.sub_registry_with_prefix("dunlin");
    if let Some(master) = &facts.master
        && let Some(Ok(stats)) = facts.env.timeout(STORE_WAIT, master.stats()).await
    {
        celeborn_metrics::master(ours, &mut theirs, &stats);
        theirs.time("Master", master.timers());
    }
    let door = facts.celeborn.as_ref().and_then(Weak::upgrade);
    if let (Some(door), Some(core)) = (door, &facts.shuffle) {
        let stats = door.stats();
        celeborn_metrics::worker(ours, &stats);
        celeborn_metrics::of_worker(&mut theirs, &stats, core);
        theirs.time("Worker", door.timers());
    }
    theirs.register(all);
}

async fn metrics(State(facts): State<Arc<Facts>>) -> impl IntoResponse {
    let mut all = Registry::default();
    celeborn(&facts, &mut all).await;
    let registry = all.sub_registry_with_prefix("dunlin");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The build of this process", build);
    let alive = facts.executors.iter().filter(|executor| executor.is_alive());
    gauge(registry, ("executors", "Executors that take work"), alive.count() as u64);
    let free: u32 = facts.executors.iter().map(|executor| executor.free_slots()).sum();
    gauge(registry, ("free_slots", "Task slots that are free"), free.into());
    traffic(registry, facts.executors.iter().map(|executor| executor.traffic()));
    if let Some(worker) = &facts.shuffle {
        let door = facts.door.as_ref().and_then(Weak::upgrade);
        register(registry, worker, door.map(|door| door.stats()));
    }
    let mut text = String::new();
    match encode(&mut text, &all) {
        Ok(()) => (StatusCode::OK, [("content-type", OPEN_METRICS)], text),
        Err(error) => {
            let kind = [("content-type", "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("{error}\n"))
        }
    }
}
