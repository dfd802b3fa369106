//! Shuffle workers that an administrator looks at, and has leave.

use dunlin_base::Env;
use dunlin_corpus::{compare, tpch as corpus};

use super::lab::{Processes, Signal, page, until};
use super::lost::REOPENED;
use crate::cli::lab::Lab;
use crate::cluster::Oracle;

/// The value of a field of one line of JSON.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let rest = line.split_once(&format!("\"{name}\":")).expect("the field").1;
    rest.split([',', '}']).next().expect("a value").trim_matches('"')
}

#[test]
fn a_worker_that_is_drained_under_a_query_costs_no_slice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "2", "--no-restart"];
    let cluster = Processes::start(&data, &options);
    for name in ["shuffle 1", "shuffle 2", "executor 1", "executor 2"] {
        cluster.ready(name, 0);
    }
    let lab = Lab::new();
    let shuffle = |arguments: &[&str]| {
        lab.run(&[&["shuffle", "--metadata", cluster.store()], arguments].concat())
    };
    let ready = cluster.ready("shuffle 1", 0);
    let worker = ready.split(' ').find_map(|word| word.strip_prefix("shuffle="));
    let worker = worker.expect("an address").to_owned();
    let lines = |arguments: &[&str]| -> Vec<String> {
        shuffle(&[arguments, &["--json"]].concat()).ok().lines().map(str::to_owned).collect()
    };
    let state = || {
        let own = lines(&["ls"]).into_iter().find(|line| field(line, "address") == worker);
        own.map(|line| field(&line, "state").to_owned())
    };
    assert_eq!(lines(&["ls"]).len(), 2);
    assert_eq!(state().as_deref(), Some("up"));
    let disks = lines(&["disks"]);
    assert_eq!(disks.len(), 2);
    assert!(disks.iter().all(|disk| field(disk, "state") == "good"), "{disks:?}");
    shuffle(&["drain", "nobody"]).fails(1, &["no shuffle worker 'nobody'"]);
    shuffle(&["show", "nothing"]).fails(1, &["'nothing' is no id of a query"]);

    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let (_, sql) = corpus::QUERIES[20];
    let expected = plain.rows(sql).expect("an answer");
    let clock = Env::real(None);
    cluster.rows(&client, sql).expect("an answer");
    let whole = clock.now();
    cluster.rows(&client, sql).expect("an answer");
    let whole = clock.now() - whole;
    let ended = format!("cluster: shuffle 1 (process {}) ended: ", cluster.id("shuffle 1"));
    let actual = cluster.rows_while(&client, sql, || {
        // A moment of the query's run: not a wait for something.
        std::thread::sleep(whole.mul_f64(0.3));
        shuffle(&["drain", &worker]).ok();
        until("its card says so", || state().as_deref() != Some("up"));
    });
    if let Err(difference) = compare::same_rows(&expected, &actual.expect("an answer")) {
        panic!("{difference}");
    }
    assert_eq!(cluster.line(&ended), "exit status: 0");
    assert_eq!(cluster.count(REOPENED), 0, "its data were there until they were read");
    // The other one goes on alone, and is not to be drained without force.
    let actual = cluster.rows(&client, sql).expect("an answer");
    if let Err(difference) = compare::same_rows(&expected, &actual) {
        panic!("alone: {difference}");
    }
    let left = lines(&["ls"]);
    assert_eq!(left.len(), 1, "{left:?}");
    shuffle(&["drain", field(&left[0], "worker")]).fails(1, &["no worker but", "--force"]);
    cluster.signal("shuffle 2", Signal::TERM);
    cluster.line(&format!("cluster: shuffle 2 (process {}) ended: ", cluster.id("shuffle 2")));
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn a_worker_says_what_it_holds_of_a_query() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let cluster =
        Processes::start(&data, &["--gateways", "1", "--executors", "1", "--shuffle", "1"]);
    let lab = Lab::new();
    let client = cluster.client();
    let (_, sql) = corpus::QUERIES[20];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let env = Env::real(Some(runtime.handle().clone()));
    let store = runtime.block_on(dunlin_metadata::open(cluster.store(), env)).expect("a store");
    let mut shown = String::new();
    let rows = cluster.rows_while(&client, sql, || {
        until("a worker holds something", || {
            let live = runtime.block_on(store.range("live/")).expect("a range").entries;
            let Some(query) = live.first().and_then(|e| e.key.strip_prefix("live/")) else {
                return false;
            };
            let show = ["shuffle", "--metadata", cluster.store(), "show", query, "--json"];
            shown = lab.run(&show).ok();
            !shown.is_empty()
        });
    });
    rows.expect("an answer");
    let first = shown.lines().next().expect("a line");
    assert!(field(first, "partitions").parse::<u64>().expect("a number") > 0, "{shown}");
    let bytes = ["memory", "disks", "objects"].map(|tier| field(first, tier).parse::<u64>());
    assert!(bytes.into_iter().map(|n| n.expect("a number")).sum::<u64>() > 0, "{shown}");
    let ready = cluster.ready("shuffle 1", 0);
    let admin = ready.split(' ').find_map(|word| word.strip_prefix("admin=")).expect("an address");
    let (_, metrics) = page(admin, "/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {metrics}"));
        line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    assert!(value("dunlin_shuffle_acks_total{level=\"memory\"}") > 0);
    assert_eq!(value("dunlin_shuffle_refusals_total{reason=\"draining\"}"), 0);
    assert_eq!(value("dunlin_shuffle_disk_errors_total{"), 0);
    assert!(value("dunlin_shuffle_disk_room_bytes{") > 0);
    assert_eq!(page(admin, "/shuffle/nothing").0, 404);
    assert_eq!(cluster.end(), Some(0));
}
