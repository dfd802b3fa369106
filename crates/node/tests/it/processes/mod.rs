//! A cluster of processes on a real etcd: right answers, whatever process is killed.

mod adopted;
mod celeborn;
mod certificates;
mod drained;
mod frames;
mod hostile;
mod killed;
mod lab;
mod lost;
mod restart;
mod upgrade;
mod without_executors;

use dunlin_corpus::{compare, tpch as corpus};

use self::certificates::Certificates;
pub(crate) use self::lab::send;
use self::lab::{Processes, Signal, page};
use crate::cli::lab::{Lab, finish};
use crate::cluster::{Oracle, tpch};

#[test]
fn all_tpch_queries_are_answered_by_processes() {
    let cluster = Processes::start(&tpch(), &["--executors", "2", "--shuffle", "2"]);
    let (client, plain) = (cluster.client(), Oracle::open(&tpch()));
    for (number, sql) in corpus::QUERIES {
        let expected = plain.rows(sql).expect("an answer");
        let actual = cluster.rows(&client, sql).unwrap_or_else(|e| panic!("q{number}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &actual) {
            panic!("q{number}: {difference}");
        }
    }
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn killed_executors_and_gateways_cost_no_query() {
    let options = ["--gateways", "2", "--executors", "2", "--shuffle", "1"];
    let cluster = Processes::start(&tpch(), &options);
    let (client, plain) = (cluster.client(), Oracle::open(&tpch()));
    for name in ["gateway 1", "gateway 2", "shuffle 1", "executor 1", "executor 2"] {
        cluster.ready(name, 0);
    }
    let victims = ["executor 1", "gateway 1", "executor 2", "gateway 2"];
    for (victim, number) in victims.into_iter().zip([5, 9, 18, 21]) {
        let (_, sql) = corpus::QUERIES[number - 1];
        let expected = plain.rows(sql).expect("an answer");
        let before = cluster.lines();
        let actual = cluster.rows_while(&client, sql, || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            cluster.signal(victim, Signal::KILL);
        });
        let actual = actual.unwrap_or_else(|e| panic!("q{number} without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &actual) {
            panic!("q{number} without {victim}: {difference}");
        }
        cluster.ready(victim, before);
    }
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn a_process_drains_and_tells_how_it_is() {
    let cluster =
        Processes::start(&tpch(), &["--executors", "1", "--shuffle", "1", "--no-restart"]);
    let said = cluster.ready("executor 1", 0);
    let admin = said.split(' ').find_map(|word| word.strip_prefix("admin=")).expect("an address");
    assert_eq!(page(admin, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(page(admin, "/readyz"), (200, "ok\n".to_owned()));
    let (status, metrics) = page(admin, "/metrics");
    assert_eq!(status, 200);
    for line in ["dunlin_executors 1", "dunlin_free_slots 1", "# EOF"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(page(admin, "/nothing").0, 404);
    let client = cluster.client();
    cluster.rows(&client, "SELECT count(*) FROM lineitem").expect("an answer");
    cluster.signal("executor 1", Signal::TERM);
    let ended = cluster
        .line(&format!("cluster: executor 1 (process {}) ended: ", cluster.id("executor 1")));
    assert_eq!(ended, "exit status: 0");
}

#[test]
fn with_certificates_and_users_strangers_stay_outside() {
    let lab = Lab::new();
    let files = Certificates::make(&lab.path(""));
    let [ca, certificate, key] =
        [&files.authority, &files.certificate, &files.key].map(|path| path.display().to_string());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-ca", &ca, "--users"];
    let options = ["--executors", "1", "--shuffle", "1"];
    let cluster = Processes::start_with(&lab.path("data"), &options, &tls);
    let users = |arguments: &[&str], password: &str| {
        let all = [&["users", "--metadata", cluster.store()], arguments].concat();
        let mut command = lab.command(&all);
        command.env("DUNLIN_PASSWORD", password);
        finish(command, "").ok()
    };
    users(&["set", "ann"], "sesame");
    assert_eq!(users(&["list"], ""), "ann\n");
    users(&["set", "ann", "--admin"], "sesame");
    assert_eq!(users(&["list"], ""), "ann (administrator)\n");
    users(&["set", "ann", "--no-admin"], "sesame");
    let gateway = cluster.gateway();
    let ask = |password: &str, arguments: &[&str]| {
        let sql = "SELECT what, count(*) AS n FROM items GROUP BY what ORDER BY what";
        let start = ["sql", "--connect", gateway, "-c", sql, "--format", "csv"];
        let mut command = lab.command(&[&start, arguments].concat());
        command.env("DUNLIN_PASSWORD", password);
        finish(command, "")
    };
    let ann = ["--user", "ann", "--tls-ca", &ca];
    assert_eq!(ask("sesame", &ann).ok(), "what,n\n\"pot, blue\",1\ntea,1\n,1\n");
    let refused = |ran: crate::cli::lab::Ran| {
        assert_ne!(ran.code, 0, "{ran:?}");
        assert!(ran.out.is_empty() && ran.err.starts_with("error: "), "{ran:?}");
    };
    refused(ask("guess", &ann));
    refused(ask("sesame", &["--user", "bob", "--tls-ca", &ca]));
    refused(ask("", &["--tls-ca", &ca]));
    refused(ask("sesame", &["--user", "ann"]));
    let other = Lab::new();
    let stranger = Certificates::make(&other.path("")).authority.display().to_string();
    refused(ask("sesame", &["--user", "ann", "--tls-ca", &stranger]));
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn servers_open_no_place_that_they_were_not_given() {
    let lab = Lab::new();
    let (outside, given) = (lab.path("outside"), lab.path("given"));
    for folder in [&outside, &given] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(outside.join("x.csv"), "x\n1\n").expect("written");
    std::os::unix::fs::symlink(&outside, given.join("link")).expect("a link");
    let (outside, given) = (outside.display().to_string(), given.display().to_string());
    let options = ["--executors", "1", "--shuffle", "1"];
    let cluster = Processes::start_with(&lab.path("data"), &options, &["--allow", &given]);
    let client = cluster.client();
    for sql in [
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{outside}/x.csv'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{given}/../outside/x.csv'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{given}/link/x.csv'"),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'file:///etc/passwd'".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://lake/x.csv'".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'http://169.254.169.254/x.csv'".to_owned(),
        format!("COPY items TO '{outside}/y.csv'"),
        format!("COPY items TO '{given}/link/y.csv'"),
        format!("CREATE TABLE t WITH (location = '{outside}/y') AS SELECT 1 AS x"),
    ] {
        let error = cluster.rows(&client, &sql).expect_err(&sql);
        assert_eq!(error.kind(), dunlin_base::Kind::Invalid, "{sql}: {error}");
        let says = "is not among those this server may use";
        assert!(error.message().contains(says), "{sql}: {error}");
    }
    let left: Vec<_> = std::fs::read_dir(&outside).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
    cluster.rows(&client, &format!("COPY items TO '{given}/y.csv'")).expect("allowed");
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn a_process_refuses_what_cannot_be_meant() {
    let lab = Lab::new();
    let store = ["serve", "--metadata", "memory:", "--blobs", "memory:"];
    let refused = |more: &[&str], words: &[&str]| lab.run(&[&store, more].concat()).fails(2, words);
    refused(&["--listen", "0.0.0.0"], &["without TLS", "--insecure"]);
    refused(&["--listen", "no-such-host.invalid"], &["--listen no-such-host.invalid"]);
    refused(&["--listen", "0.0.0.0", "--insecure"], &["--advertise"]);
    refused(&["--advertise", "no-such-host.invalid"], &["--advertise no-such-host.invalid"]);
    refused(&["--allow", "ftp://host"], &["allow", "'ftp://host' cannot be allowed"]);
    lab.write("not.pem", "this is no certificate");
    let pem = ["--tls-cert", "not.pem", "--tls-key", "not.pem", "--tls-ca", "not.pem"];
    refused(&pem, &["holds no"]);
    let files = Certificates::make(&lab.path(""));
    let [ca, certificate, key] =
        [&files.authority, &files.certificate, &files.key].map(|path| path.display().to_string());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-ca", &ca];
    for role in ["celeborn-master", "celeborn-worker"] {
        let beyond = ["--listen", "0.0.0.0", "--roles", role];
        refused(&[&beyond[..], &["--celeborn-auth"]].concat(), &["without TLS", "--insecure"]);
        refused(&[&beyond[..], &tls].concat(), &["not asked who they are", "--celeborn-auth"]);
        let both = [&beyond[..], &tls, &["--celeborn-auth"]].concat();
        refused(&both, &["--advertise"]);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let ran = lab.run(&[&store[..], &["--flight-port", "0", "--admin-port", &port]].concat());
    ran.fails(1, &["cannot listen on 127.0.0.1:", &port]);
    lab.run(&["cluster", "--port", &port]).fails(1, &["cannot listen on", &port, "another --port"]);
    let nowhere = ["serve", "--metadata", "etcd://127.0.0.1:9", "--blobs", "memory:"];
    lab.run(&nowhere).fails(4, &["127.0.0.1:9", "Connection refused", "look whether etcd runs"]);
    let ran = lab.run(&["sql", "--connect", "127.0.0.1:9", "-c", "SELECT 1"]);
    ran.fails(4, &["127.0.0.1:9"]);
}
