//! What a worker answers, of itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb::WorkerState;
use dunlin_celeborn::storage::StorageType;
use dunlin_celeborn_service::LocationAt;
use dunlin_queue::Want;

use super::Rest;
use super::door::{Answer, Refusal, Write, done, json};
use super::json::{
    Applications, Exit, LocationOf, OwnWorker, Partitions, Peers, Shuffles, WorkerAt, WorkerData,
    state,
};

type Of = State<Arc<Rest>>;

/// Paths that masters have, too.
pub(super) fn shared() -> Router<Arc<Rest>> {
    Router::new()
        .route("/workers", get(worker))
        .route("/shuffles", get(shuffles))
        .route("/applications", get(applications))
}

/// Paths that only workers have.
pub(super) fn own() -> Router<Arc<Rest>> {
    Router::new()
        .route("/shuffles/partitions", get(partitions))
        .route("/workers/unavailable_peers", get(peers))
        .route("/workers/exit", post(exit))
}

async fn worker(State(rest): Of) -> Answer<Response> {
    let worker = rest.worker()?;
    let stats = worker.stats();
    let wish = match &rest.wisher {
        Some(wisher) => wisher.wish().await?,
        None => None,
    };
    let at = at(wish.map(|wish| wish.want), stats.draining, stats.shuffles);
    let data = WorkerData {
        internal_port: Some(0),
        slot_used: Some(stats.open_locations),
        worker_state: Some(state(at)),
        worker_state_start_time: wish.map(|wish| wish.since_unix_ms),
        ..WorkerData::from(worker.id())
    };
    let decommissioned =
        matches!(wish.map(|wish| wish.want), Some(Want::Leave | Want::Idle)) && stats.draining;
    Ok(json(&OwnWorker {
        worker: data,
        is_registered: true,
        is_shutdown: stats.draining,
        is_decommissioning: decommissioned,
    }))
}

fn at(want: Option<Want>, draining: bool, shuffles: u64) -> WorkerState {
    match (want, draining) {
        (Some(Want::End), _) => WorkerState::InExit,
        (Some(Want::Restart), _) => WorkerState::InGraceful,
        (Some(Want::Leave), _) => WorkerState::InDecommission,
        (Some(Want::Idle), true) if shuffles == 0 => WorkerState::Idle,
        (Some(Want::Idle), _) | (Some(Want::Stay), true) => WorkerState::InDecommissionThenIdle,
        (None, true) => WorkerState::InGraceful,
        (None | Some(Want::Stay), false) => WorkerState::Normal,
    }
}

async fn shuffles(State(rest): Of) -> Answer<Response> {
    let all = rest.worker()?.shuffles();
    Ok(json(&Shuffles { shuffle_ids: all.iter().map(ToString::to_string).collect() }))
}

async fn applications(State(rest): Of) -> Answer<Response> {
    let all = rest.worker()?.shuffles();
    let apps: BTreeSet<String> = all.iter().map(|key| key.application.to_string()).collect();
    Ok(json(&Applications { applications: apps.into_iter().collect::<Vec<_>>() }))
}

async fn partitions(State(rest): Of) -> Answer<Response> {
    let worker = rest.worker()?;
    let mut all = Partitions::default();
    for LocationAt { shuffle, name, peer, storage } in worker.locations() {
        let (by_shuffle, mode) = match name.mode {
            Mode::Primary => (&mut all.primary_partitions, "PRIMARY"),
            Mode::Replica => (&mut all.replica_partitions, "REPLICA"),
        };
        let id_epoch = name.partition.to_string();
        let location = LocationOf {
            id_epoch: id_epoch.clone(),
            host_and_ports: ports(worker.id()),
            mode,
            peer: peer.as_ref().map(ports),
            storage: if storage == StorageType::Ssd { "SSD" } else { "HDD" },
        };
        by_shuffle.entry(shuffle.to_string()).or_default().insert(id_epoch, location);
    }
    Ok(json(&all))
}

/// As Celeborn writes it there: host, control, pushes, reads, copies.
fn ports(id: &WorkerId) -> String {
    let WorkerId { host, rpc_port, push_port, fetch_port, replicate_port } = id;
    format!("{host}-{rpc_port}-{push_port}-{fetch_port}-{replicate_port}")
}

async fn peers(State(rest): Of) -> Answer<Response> {
    let at = |(id, timestamp): (WorkerId, u64)| WorkerAt { worker: (&id).into(), timestamp };
    let peers = rest.worker()?.unavailable_peers().into_iter().map(at).collect();
    Ok(json(&Peers { peers }))
}

async fn exit(State(rest): Of, Write(asked): Write<Exit>) -> Answer<Response> {
    let kind = asked.kind.unwrap_or_default().trim().to_ascii_uppercase();
    let want = match kind.as_str() {
        "DECOMMISSION" => Want::Leave,
        "GRACEFUL" | "NONE" | "" => Want::Restart,
        "IMMEDIATELY" => Want::End,
        _ => {
            let text = "an exit is DECOMMISSION, GRACEFUL, IMMEDIATELY or NONE";
            return Err(Refusal::bad(text));
        }
    };
    let wisher = rest.wisher.as_ref().ok_or_else(|| Refusal::gone("there is no worker here"))?;
    wisher.say(want).await?;
    tracing::warn!(?want, "an administrator has this worker exit");
    Ok(done("the worker exits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_knows_what_it_is_at() {
        assert_eq!(at(None, false, 1), WorkerState::Normal);
        assert_eq!(at(Some(Want::Stay), false, 1), WorkerState::Normal);
        assert_eq!(at(None, true, 1), WorkerState::InGraceful);
        assert_eq!(at(Some(Want::Idle), false, 0), WorkerState::InDecommissionThenIdle);
        assert_eq!(at(Some(Want::Idle), true, 1), WorkerState::InDecommissionThenIdle);
        assert_eq!(at(Some(Want::Idle), true, 0), WorkerState::Idle);
        assert_eq!(at(Some(Want::Stay), true, 0), WorkerState::InDecommissionThenIdle);
    }
}
