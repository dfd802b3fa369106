//! A process with all roles that is told to end while a cluster goes to another build.

use std::time::Duration;

use dunlin_base::{Env, ProcessId};
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};
use dunlin_metadata::{Op, StoreRef, Txn};
use dunlin_proto::queue::Card;
use futures::TryStreamExt;
use prost::Message;
use tokio::runtime::Runtime;

use super::lab::{Processes, Serve, Signal};
use crate::cluster::{LIMIT, tpch};

/// Takes a second or two, in more than one stage.
const SQL: &str = "SELECT a.ps_suppkey % 7, count(*) FROM partsupp a, partsupp b \
     WHERE a.ps_comment < b.ps_comment GROUP BY 1";

/// Another build has an executor from now on.
async fn another_build(store: &StoreRef, env: &Env) {
    let card = Card { build: "next".to_owned(), slots: 1, ..Card::default() };
    let key = format!("ex/{}", ProcessId::generate(env));
    let ops = vec![Op::Put(key, card.encode_to_vec().into(), None)];
    store.txn(Txn { ops, ..Txn::default() }).await.expect("written");
}

#[test]
fn a_process_with_all_roles_serves_its_clients_to_the_end() {
    ends_well(false);
}

#[test]
fn a_process_with_all_roles_does_not_wait_for_itself_in_an_upgrade() {
    ends_well(true);
}

fn ends_well(in_upgrade: bool) {
    const DRAIN_LIMIT: &str = "100";
    let state = tempfile::tempdir().expect("a temporary folder");
    let folder = state.path().display().to_string();
    let options = [
        "--gateways",
        "1",
        "--executors",
        "0",
        "--shuffle",
        "1",
        "--no-restart",
        "--state",
        &folder,
    ];
    let cluster = Processes::start(&tpch(), &options);
    // No other gateway of this build is left.
    cluster.signal("gateway 1", Signal::TERM);
    cluster.line(&format!("cluster: gateway 1 (process {}) ended: ", cluster.id("gateway 1")));
    let (data, blobs) = (tpch().display().to_string(), format!("{folder}/blobs"));
    let mut serve = Serve::start(&[
        "--metadata",
        cluster.store(),
        "--blobs",
        &blobs,
        "--data",
        &data,
        "--threads",
        "1",
        "--flight-port",
        "0",
        "--admin-port",
        "0",
        "--drain-limit",
        DRAIN_LIMIT,
    ]);
    let runtime = Runtime::new().expect("a runtime");
    let env = Env::real(Some(runtime.handle().clone()));
    let began = runtime.block_on(async {
        let store = dunlin_metadata::open(cluster.store(), env.clone()).await.expect("a store");
        if in_upgrade {
            another_build(&store, &env).await;
        }
        let options = ClientOptions::new(vec![serve.word("flight").to_owned()], Credentials::None);
        let client = Client::connect(env.clone(), options).await.expect("a connection");
        let rows = env.spawn("rows", async move {
            let answer = client.sql(SQL).await?;
            answer.try_collect::<Vec<_>>().await
        });
        let published = async {
            while store.range("live/").await.expect("a range").entries.is_empty() {
                env.sleep(Duration::from_millis(5)).await;
            }
        };
        env.timeout(LIMIT, published).await.expect("the query is published");
        let began = env.now();
        serve.told_to_end();
        let rows = env.timeout(LIMIT, rows.join()).await.expect("in time").expect("no panic");
        let rows = rows.expect("a client that reads is served to the end");
        assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 7);
        began
    });
    let ended = serve.child.wait().expect("it ends");
    let took = env.now() - began;
    assert_eq!(ended.code(), Some(0));
    assert!(took < Duration::from_secs(50), "it waited for {took:?}, perhaps for itself");
    assert_eq!(cluster.end(), Some(0));
}
