//! A master and a worker for clients of Celeborn as processes: their REST, and one shuffle as a client
//! that speaks the protocol has it.

use std::net::TcpStream;
use std::path::Path;

use bytes::Bytes;
use dunlin_base::Env;
use dunlin_celeborn::batch::BatchHeader;
use dunlin_celeborn::frame::{Frame, Mode, PushData, RequestId, Slice, StreamId};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::rpc::{Content, Envelope, Form, TransportMessage, endpoint};
use dunlin_celeborn::status::StatusCode;
use serde_json::{Value, json};

use super::frames::answered;
use super::lab::{Processes, Serve, http, page, until};
use crate::cluster::{LIMIT, tpch};

const APP: &str = "app-1";
const KEY: &str = "app-1-0";

/// A page that is there.
fn get(admin: &str, path: &str) -> Value {
    let (status, body) = page(admin, path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Status of a write, whether it was done, and what was said.
fn post(admin: &str, path: &str, body: &Value) -> (u16, bool, String) {
    handled(http(admin, &format!("POST {path}"), &[JSON], &body.to_string()))
}

fn handled((status, body): (u16, String)) -> (u16, bool, String) {
    let said: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
    let done = said["success"].as_bool().expect("it says so");
    (status, done, said["message"].as_str().expect("it says why").to_owned())
}

/// One frame for another.
fn asked(address: &str, frame: &Frame) -> Frame {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    answered(&mut stream, frame)
}

/// One message for another, at a control port.
fn control(address: &str, name: &str, message: impl Into<Message>) -> Message {
    let content = Content::Message(message.into().encode(), Form::Java).encode().expect("short");
    let envelope = Envelope { sender: None, receiver: None, endpoint: name.to_owned(), content };
    let body = envelope.encode().expect("short");
    match asked(address, &Frame::RpcRequest(RequestId(1), body)) {
        Frame::RpcResponse(_, body) => match Content::decode(Bytes::clone(&body)) {
            Ok(Content::Message(message, _)) => Message::decode(message).expect("known"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn slots(master: &str, shuffle: i32) -> pb::RequestSlotsResponse {
    let asked = pb::RequestSlots {
        application_id: APP.to_owned(),
        shuffle_id: shuffle,
        partition_id_list: vec![0],
        hostname: "driver-host".to_owned(),
        ..Default::default()
    };
    match control(master, endpoint::MASTER, asked) {
        Message::RequestSlotsResponse(got) => *got,
        other => panic!("{other:?}"),
    }
}

/// Slots for one partition, reserved, pushed and committed. Returns what was pushed.
fn write(serve: &Serve) -> Bytes {
    let got = slots(serve.word("celeborn-master"), 0);
    assert_eq!(got.status, StatusCode::Success.number());
    let locations = got.worker_resource.into_values().flat_map(|of| of.primary_partitions);
    let reserve = pb::ReserveSlots {
        application_id: APP.to_owned(),
        primary_locations: locations.collect(),
        split_threshold: 1 << 30,
        ..Default::default()
    };
    match control(serve.word("celeborn-worker"), endpoint::WORKER, reserve) {
        Message::ReserveSlotsResponse(got) => assert_eq!((got.status, &*got.reason), (0, "")),
        other => panic!("{other:?}"),
    }
    let header = BatchHeader { map: 0, attempt: 0, batch: 0, len: 100 };
    let body: Bytes = header.encode().into_iter().chain([7; 100]).collect::<Vec<_>>().into();
    let push = Frame::PushData(PushData {
        id: RequestId(2),
        mode: Mode::Primary,
        shuffle_key: KEY.into(),
        partition: "0-0".into(),
        body: body.clone(),
    });
    let reply = asked(serve.word("celeborn-push"), &push);
    assert!(matches!(reply, Frame::RpcResponse(..)), "{reply:?}");
    let commit = pb::CommitFiles {
        application_id: APP.to_owned(),
        primary_ids: vec!["0-0".to_owned()],
        map_attempts: vec![0],
        epoch: 1,
        ..Default::default()
    };
    match control(serve.word("celeborn-worker"), endpoint::WORKER, commit) {
        Message::CommitFilesResponse(got) => assert_eq!(got.committed_primary_ids, ["0-0"]),
        other => panic!("{other:?}"),
    }
    body
}

/// All of the partition.
fn read(serve: &Serve) -> Bytes {
    let mut stream = TcpStream::connect(serve.word("celeborn-fetch")).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let open = pb::OpenStream {
        shuffle_key: KEY.to_owned(),
        file_name: "0-0-0".to_owned(),
        end_index: i32::MAX,
        ..Default::default()
    };
    let body = Message::from(open).encode().to_bare().expect("short");
    let opened = match answered(&mut stream, &Frame::RpcRequest(RequestId(3), body)) {
        Frame::RpcResponse(_, body) => {
            let message = TransportMessage::from_bare(Bytes::clone(&body)).expect("a message");
            match Message::decode(message).expect("known") {
                Message::StreamHandler(opened) => *opened,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(opened.num_chunks, 1);
    let slice = Slice::whole(StreamId(opened.stream_id), 0);
    match answered(&mut stream, &Frame::ChunkFetchRequest(slice)) {
        Frame::ChunkFetchSuccess(_, bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// Ports that the system gives to nobody else, free now.
fn free_ports() -> [u16; 4] {
    let env = Env::real(None);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    loop {
        let first = 20_000 + 4 * u16::try_from(env.random_below(3_000)).expect("small");
        let ports = [first, first + 1, first + 2, first + 3];
        if ports.iter().all(free) {
            return ports;
        }
    }
}

/// A process that is a master and a worker, with its state in a folder.
fn both(folder: &Path, ports: [u16; 4]) -> Serve {
    let path = |name: &str| folder.join(name).display().to_string();
    let ports = ports.map(|port| port.to_string()).join(",");
    let (metadata, scratch) = (path("meta"), path("scratch"));
    let places = ["--metadata", &metadata, "--scratch", &scratch, "--admin-port", "0"];
    let roles = ["--roles", "celeborn-master,celeborn-worker", "--celeborn-port", "0"];
    let more = ["--celeborn-worker-ports", &ports, "--celeborn-tags", "a,b", "--drain-limit", "20"];
    Serve::start(&[&places[..], &roles, &more].concat())
}

/// The worker as requests name it.
fn worker(ports: [u16; 4]) -> Value {
    let [rpc, push, fetch, replicate] = ports;
    json!({ "host": "127.0.0.1", "rpcPort": rpc, "pushPort": push, "fetchPort": fetch,
            "replicatePort": replicate })
}

#[test]
fn one_process_serves_a_shuffle_and_its_rest_and_is_restarted_by_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = free_ports();
    let mut serve = both(folder.path(), ports);
    let admin = serve.word("admin").to_owned();
    let pushed = write(&serve);
    assert_eq!(read(&serve), pushed);
    told(&admin, serve.word("celeborn-master"), ports);
    refused(&admin, ports);
    let (_, metrics) = page(&admin, "/metrics");
    for line in
        ["metrics_CommitFilesTime_Count{role=\"Worker\"} 1.0", "metrics_OfferSlotsTime_Max{"]
    {
        assert!(metrics.lines().any(|one| one.starts_with(line)), "{line} in {metrics}");
    }

    let exclude = |list: &str| json!({ (list): [worker(ports)] });
    let (status, done, said) = post(&admin, "/api/v1/workers/exclude", &exclude("add"));
    assert!(status == 200 && done, "{said}");
    let master = serve.word("celeborn-master").to_owned();
    assert_eq!(slots(&master, 1).status, StatusCode::WorkerExcluded.number());
    let told = get(&admin, "/api/v1/workers");
    for list in ["workers", "excludedWorkers", "manualExcludedWorkers"] {
        assert_eq!(told[list].as_array().map(Vec::len), Some(1), "{list}: {told}");
    }
    let (status, done, said) = post(&admin, "/api/v1/workers/exclude", &exclude("remove"));
    assert!(status == 200 && done, "{said}");
    assert_eq!(slots(&master, 1).status, StatusCode::Success.number());

    // It ends of itself, and the next one in its place has what was committed.
    let event = json!({ "eventType": "GRACEFUL", "workers": [worker(ports)] });
    let (status, done, said) = post(&admin, "/api/v1/workers/events", &event);
    assert!(status == 200 && done, "{said}");
    let ended = serve.child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(0));
    let mut serve = both(folder.path(), ports);
    assert_eq!(read(&serve), pushed);
    let admin = serve.word("admin").to_owned();
    assert_eq!(get(&admin, "/api/v1/workers/events"), json!({ "workerEvents": [] }));
    // The worker's own way to go: at once, without its data.
    let (status, done, said) =
        post(&admin, "/api/v1/workers/exit", &json!({ "type": "IMMEDIATELY" }));
    assert!(status == 200 && done, "{said}");
    assert_eq!(serve.child.wait().expect("it ends").code(), Some(0));
}

/// What can be read of a process that has one shuffle.
fn told(admin: &str, master: &str, ports: [u16; 4]) {
    let all = get(admin, "/api/v1/workers");
    let one = &all["workers"][0];
    for (name, value) in worker(ports).as_object().expect("an object") {
        assert_eq!(&one[name], value, "{name}: {all}");
    }
    assert_eq!((&one["workerState"], &all["excludedWorkers"]), (&json!("Normal"), &json!([])));
    let own = get(admin, "/worker/api/v1/workers");
    assert_eq!((&own["rpcPort"], &own["isShutdown"]), (&json!(ports[0]), &json!(false)));
    for path in ["/api/v1/shuffles", "/worker/api/v1/shuffles"] {
        assert_eq!(get(admin, path), json!({ "shuffleIds": [KEY] }), "{path}");
    }
    let apps = get(admin, "/api/v1/applications");
    assert_eq!(apps["applications"][0]["appId"], APP);
    assert!(apps["applications"][0]["lastHeartbeatTimestamp"].as_u64() > Some(0), "{apps}");
    assert_eq!(get(admin, "/worker/api/v1/applications"), json!({ "applications": [APP] }));
    let hosts = get(admin, "/api/v1/applications/hostnames");
    assert_eq!(hosts, json!({ "hostnames": ["driver-host"] }));
    let partitions = get(admin, "/api/v1/shuffles/partitions");
    let location = &partitions["primaryPartitions"][KEY]["0-0"];
    assert_eq!((&location["mode"], &location["idEpoch"]), (&json!("PRIMARY"), &json!("0-0")));
    assert_eq!(get(admin, "/api/v1/workers/unavailable_peers"), json!({ "peers": [] }));
    assert_eq!(get(admin, "/api/v1/masters")["leader"]["address"], master);
    let conf = get(admin, "/api/v1/conf").to_string();
    assert!(conf.contains("celeborn.master.slot.assign.policy"), "{conf}");
    assert_eq!(
        get(admin, "/api/v1/workers/topology")["topologies"].as_array().map(Vec::len),
        Some(1)
    );
}

/// What makes no sense is refused in one form, and nothing has changed afterwards.
fn refused(admin: &str, ports: [u16; 4]) {
    let (exclude, events) = ("/api/v1/workers/exclude", "/api/v1/workers/events");
    let mut stranger = worker(ports);
    stranger["pushPort"] = json!(1);
    let event = |name: &str, who: Value| json!({ "eventType": name, "workers": who });
    for (path, body, status, word) in [
        (exclude, json!({ "add": [stranger] }), 400, "no worker 127.0.0.1"),
        (
            exclude,
            json!({ "add": [worker(ports)], "remove": [worker(ports)] }),
            400,
            "and included",
        ),
        (exclude, json!({}), 400, "name workers"),
        (exclude, json!({ "add": [{ "host": "h" }] }), 400, "rpcPort"),
        (events, event("DANCE", json!([worker(ports)])), 400, "no event \"DANCE\""),
        (events, event("GRACEFUL", json!([stranger])), 400, "no worker"),
        (events, event("GRACEFUL", json!([])), 400, "between 1 and"),
        ("/api/v1/workers/exit", json!({ "type": "DANCE" }), 400, "an exit is"),
        ("/api/v1/workers/nothing", json!({}), 404, "nothing at"),
        ("/api/v1/workers", json!({}), 405, "POST is not for"),
        (exclude, json!({ "add": ["x".repeat(256 << 10)] }), 413, "larger than"),
        (
            "/api/v1/applications/revise_lost_shuffles",
            json!({ "appId": APP, "shuffleIds": [77] }),
            400,
            "[77]",
        ),
    ] {
        let (found, done, said) = post(admin, path, &body);
        assert!(!done && found == status && said.contains(word), "{path}: {found} {said}");
    }
    let raw = |headers: &[(&str, &str)], body: &str| {
        handled(http(admin, &format!("POST {exclude}"), headers, body)).0
    };
    assert_eq!(raw(&[JSON], "{ \"add\": ["), 400);
    assert_eq!(raw(&[("Content-Type", "text/plain")], "{}"), 415);
    assert_eq!(handled(page(admin, "/api/v1/thread_dump")).0, 404);
    assert_eq!(get(admin, events), json!({ "workerEvents": [] }));
    assert_eq!(get(admin, "/api/v1/workers")["excludedWorkers"], json!([]));
}

#[test]
fn a_token_is_asked_for_before_anything_changes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (token, metadata) = (path("token"), path("meta"));
    std::fs::write(&token, "sesame-sesame-sesame\n").expect("written");
    let places = ["--metadata", &metadata, "--admin-port", "0", "--celeborn-port", "0"];
    let more = ["--roles", "celeborn-master", "--admin-token-file", &token];
    let serve = Serve::start(&[&places[..], &more].concat());
    let admin = serve.word("admin");
    let body = json!({ "apps": ["nobody"] }).to_string();
    let status = |headers: &[(&str, &str)]| {
        handled(http(admin, "POST /api/v1/applications/delete_apps", headers, &body)).0
    };
    assert_eq!(status(&[JSON]), 401);
    assert_eq!(status(&[JSON, ("Authorization", "Bearer sesame")]), 401);
    assert_eq!(status(&[JSON, ("Authorization", "Bearer sesame-sesame-sesame")]), 200);
    assert_eq!(get(admin, "/api/v1/workers")["workers"], json!([]), "all may look");
}

#[test]
fn masters_agree_on_workers_that_are_excluded_and_decommissioned() {
    let cluster = Processes::start(&tpch(), &["--executors", "1", "--shuffle", "1"]);
    let own = ["--metadata", cluster.store(), "--admin-port", "0", "--celeborn-port", "0"];
    let start = |roles: &[&str]| Serve::start(&[&own[..], &["--lease-ttl", "5s"], roles].concat());
    let masters = [(); 2].map(|()| start(&["--roles", "celeborn-master"]));
    let ports = [free_ports(), free_ports()];
    let mut workers = ports.map(|ports| {
        let ports = ports.map(|port| port.to_string()).join(",");
        start(&["--roles", "celeborn-worker", "--celeborn-worker-ports", &ports])
    });
    let [one, two] = masters.each_ref().map(|master| master.word("admin").to_owned());
    let count = |admin: &str, list: &str| {
        get(admin, "/api/v1/workers")[list].as_array().map_or(0, Vec::len)
    };
    until("both masters see both workers", || {
        [&one, &two].into_iter().all(|admin| count(admin, "workers") == 2)
    });
    let state = |admin: &str| {
        let all = get(admin, "/api/v1/workers");
        let all = all["workers"].as_array().expect("a list").clone();
        let own = all.into_iter().find(|one| one["rpcPort"] == json!(ports[0][0]));
        own.map(|own| own["workerState"].as_str().expect("a text").to_owned())
    };
    let named = |shuffle| {
        let got = slots(masters[1].word("celeborn-master"), shuffle);
        got.worker_resource.into_keys().collect::<Vec<_>>()
    };
    let (exclude, events) = ("/api/v1/workers/exclude", "/api/v1/workers/events");
    let event = |name: &str| json!({ "eventType": name, "workers": [worker(ports[0])] });
    let did = |path: &str, body: &Value| {
        let (status, done, said) = post(&one, path, body);
        assert!(status == 200 && done, "{path}: {said}");
    };
    assert_eq!(named(0).len(), 2);
    did(exclude, &json!({ "add": [worker(ports[0])] }));
    assert_eq!((named(1).len(), count(&two, "manualExcludedWorkers")), (1, 1));
    did(exclude, &json!({ "remove": [worker(ports[0])] }));
    assert_eq!(named(2).len(), 2);

    did(events, &event("DECOMMISSIONTHENIDLE"));
    assert_eq!((named(3).len(), count(&two, "decommissioningWorkers")), (1, 1), "at once");
    until("it is idle", || state(&two).as_deref() == Some("Idle"));
    did(events, &event("RECOMMISSION"));
    until("it is back", || state(&two).as_deref() == Some("Normal"));
    assert_eq!(get(&two, events), json!({ "workerEvents": [] }));
    assert_eq!(named(4).len(), 2);
    did(events, &event("DECOMMISSION"));
    assert_eq!(workers[0].child.wait().expect("it ends").code(), Some(0));
    until("it is gone", || count(&two, "workers") == 1);
    assert_eq!(named(5).len(), 1);
    drop((workers, masters));
    assert_eq!(cluster.end(), Some(0));
}
