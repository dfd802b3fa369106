//! What a master answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn_service::{Application, Standing};

use super::Rest;
use super::door::{Answer, Refusal, Write, done, json};
use super::json::{
    AppInfo, Applications, DeleteApps, EventInfo, EventOf, Events, Exclude, Heard, Hostnames, Id,
    Leader, MasterOf, Masters, OfShuffles, Rack, SendEvent, Shuffles, Topology, WorkerData,
    Workers, event, event_of, state,
};

type Of = State<Arc<Rest>>;

/// Groups of Celeborn's masters have a number; there is one group for each metadata store.
const GROUP: &str = "dunlin";

pub(super) fn routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/masters", get(masters))
        .route("/workers", get(workers))
        .route("/workers/exclude", post(exclude))
        .route("/workers/events", get(events).post(send))
        .route("/workers/remove_unavailable", post(remove_unavailable))
        .route("/workers/topology", get(topology))
        .route("/applications", get(applications))
        .route("/applications/info", get(applications_info))
        .route("/applications/hostnames", get(hostnames))
        .route("/applications/delete_apps", post(delete_apps))
        .route("/applications/revise_lost_shuffles", post(revise))
        .route("/shuffles", get(shuffles))
        .route("/shuffles/unregister", post(unregister))
}

/// Each master answers for all: the one that is asked calls itself the leader, and knows of no other.
async fn masters(State(rest): Of) -> Answer<Response> {
    let address = rest.master()?.address().to_string();
    let leader = Leader { id: address.clone(), address: address.clone() };
    let own = MasterOf {
        commit_index: 0,
        id: address.clone(),
        address: address.clone(),
        client_address: address,
        start_up_role: "LEADER",
    };
    Ok(json(&Masters { group_id: GROUP.to_owned(), leader, master_commit_info: vec![own] }))
}

fn told(standing: &Standing) -> WorkerData {
    WorkerData {
        worker_state: Some(state(standing.state)),
        worker_state_start_time: standing.event.map(|wanted| wanted.since_unix_ms),
        ..WorkerData::from(&standing.worker)
    }
}

async fn workers(State(rest): Of) -> Answer<Response> {
    let crew = rest.master()?.crew().await?;
    let those = |which: fn(&&Standing) -> bool| crew.iter().filter(which).map(told).collect();
    Ok(json(&Workers {
        workers: those(|_| true),
        // Whose lease has ended is forgotten.
        lost_workers: Vec::new(),
        excluded_workers: those(|one| one.is_unwell() || one.excluded.is_some()),
        manual_excluded_workers: those(|one| one.excluded.is_some()),
        shutdown_workers: those(|one| one.is_leaving() && !one.is_decommissioning()),
        decommissioning_workers: those(|one| one.is_decommissioning()),
    }))
}

fn ids(all: Vec<Id>) -> Vec<WorkerId> {
    all.into_iter().map(WorkerId::from).collect()
}

async fn exclude(State(rest): Of, Write(asked): Write<Exclude>) -> Answer<Response> {
    let [add, remove] = [asked.add, asked.remove].map(|all| ids(all.unwrap_or_default()));
    if add.is_empty() && remove.is_empty() {
        return Err(Refusal::bad("name workers to add or to remove"));
    }
    rest.master()?.exclude(&add, &remove).await?;
    Ok(done(format!("{} workers excluded, {} included", add.len(), remove.len())))
}

async fn events(State(rest): Of) -> Answer<Response> {
    let crew = rest.master()?.crew().await?;
    let of = |one: &Standing| {
        let wanted = one.event?;
        let event = EventInfo { event_type: event(wanted.event), event_time: wanted.since_unix_ms };
        Some(EventOf { worker: told(one), event })
    };
    Ok(json(&Events { worker_events: crew.iter().filter_map(of).collect() }))
}

async fn send(State(rest): Of, Write(asked): Write<SendEvent>) -> Answer<Response> {
    let kind = event_of(asked.event_type.trim()).ok_or_else(|| {
        let name: String = asked.event_type.chars().take(50).collect();
        Refusal::bad(format!(
            "there is no event {name:?}: it is NONE, IMMEDIATELY, DECOMMISSION, \
             DECOMMISSIONTHENIDLE, GRACEFUL or RECOMMISSION"
        ))
    })?;
    let workers = ids(asked.workers);
    rest.master()?.send(kind, &workers).await?;
    Ok(done(format!("{} is said to {} workers", event(kind), workers.len())))
}

async fn remove_unavailable(
    State(rest): Of,
    Write(_): Write<serde_json::Value>,
) -> Answer<Response> {
    rest.master()?;
    Ok(done("nothing is remembered of workers that have gone"))
}

async fn topology(State(rest): Of) -> Answer<Response> {
    let mut racks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in rest.master()?.crew().await? {
        racks.entry(one.worker.rack).or_default().push(one.worker.id.to_string());
    }
    let rack = |(network_location, workers)| Rack { network_location, workers };
    Ok(json(&Topology { topologies: racks.into_iter().map(rack).collect() }))
}

async fn applications(State(rest): Of) -> Answer<Response> {
    let heard =
        |app: Application| Heard { app_id: app.id, last_heartbeat_timestamp: app.heard_unix_ms };
    let all = rest.master()?.applications().await?;
    Ok(json(&Applications { applications: all.into_iter().map(heard).collect() }))
}

async fn applications_info(State(rest): Of) -> Answer<Response> {
    let info = |app: Application| AppInfo {
        app_id: app.id,
        user_identifier: format!("`{}`.`{}`", app.tenant, app.user),
        extra_info: app.extra,
        registration_time: app.since_unix_ms,
    };
    let all = rest.master()?.applications().await?;
    Ok(json(&Applications { applications: all.into_iter().map(info).collect() }))
}

async fn hostnames(State(rest): Of) -> Answer<Response> {
    let hostnames = rest.master()?.hosts().await?.into_iter().collect();
    Ok(json(&Hostnames { hostnames }))
}

async fn shuffles(State(rest): Of) -> Answer<Response> {
    let all = rest.master()?.shuffles().await?;
    Ok(json(&Shuffles { shuffle_ids: all.iter().map(ToString::to_string).collect() }))
}

async fn delete_apps(State(rest): Of, Write(asked): Write<DeleteApps>) -> Answer<Response> {
    rest.master()?.delete_applications(&asked.apps).await?;
    Ok(done(format!("shuffles of {} applications deleted", asked.apps.len())))
}

async fn revise(State(rest): Of, Write(asked): Write<OfShuffles>) -> Answer<Response> {
    let unknown = rest.master()?.revise(&asked.app_id, &asked.shuffle_ids).await?;
    match unknown.is_empty() {
        true => Ok(done(format!("{} shuffles are known", asked.shuffle_ids.len()))),
        false => Err(Refusal::bad(format!("nothing is known of shuffles {unknown:?}"))),
    }
}

async fn unregister(State(rest): Of, Write(asked): Write<OfShuffles>) -> Answer<Response> {
    if asked.shuffle_ids.is_empty() {
        return Err(Refusal::bad("name shuffles to end"));
    }
    rest.master()?.unregister(&asked.app_id, &asked.shuffle_ids).await?;
    Ok(done(format!("{} shuffles ended", asked.shuffle_ids.len())))
}
