//! `dunlin shuffle show QUERY`: each worker is asked at its admin listener what it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use dunlin_base::{Env, Error, QueryId, Result};
use dunlin_metadata::StoreRef;
use dunlin_queue::{Peer, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listing::{Field, Listing};
use crate::serve::Held;

/// A worker that has not answered by then is passed over.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// No answer is longer.
const ANSWER_LEN_MAX: u64 = 64 << 20;

/// A line for each stage and worker. Workers that do not answer are among the failures.
/// `Invalid`: this is no query's id.
pub(super) async fn show(env: &Env, store: &StoreRef, query: &str) -> Result<Listing> {
    let query: QueryId =
        query.parse().map_err(|_| Error::invalid(format!("'{query}' is no id of a query")))?;
    let mut listing = Listing::new(&[
        "stage",
        "epoch",
        "worker",
        "partitions",
        "blocks",
        "memory",
        "disks",
        "objects",
        "largest_partition",
    ]);
    let mut stages = BTreeMap::new();
    for Peer { id, card, .. } in Peer::all(store, Role::Shuffle).await? {
        let admin = card.shuffle.map(|storage| storage.admin).filter(|admin| !admin.is_empty());
        let held = match admin {
            Some(admin) => ask(env, &admin, query).await,
            None => Err(Error::retry("it says no address of an admin listener")),
        };
        match held {
            Ok(held) => held.into_iter().for_each(|one| {
                let key = (one.stage, one.epoch, id);
                stages.entry(key).or_insert_with(Vec::new).push(one);
            }),
            Err(error) => listing.failures.push(error.context(format!("shuffle worker {id}"))),
        }
    }
    for ((stage, epoch, id), held) in stages {
        let sum = |of: fn(&Held) -> u64| Field::Bytes(held.iter().map(of).sum());
        let whole = |held: &Held| held.memory + held.disks + held.objects;
        listing.add([
            Field::Number(stage.into()),
            Field::Number(epoch.into()),
            Field::Text(id.to_string()),
            Field::Number(held.len() as u64),
            Field::Number(held.iter().map(|held| held.blocks).sum()),
            sum(|held| held.memory),
            sum(|held| held.disks),
            sum(|held| held.objects),
            Field::Bytes(held.iter().map(whole).max().unwrap_or_default()),
        ]);
    }
    Ok(listing)
}

/// Asks one worker. `Retry`: it does not answer; `Invalid`: it says something else than was asked.
async fn ask(env: &Env, admin: &str, query: QueryId) -> Result<Vec<Held>> {
    let answer = env.timeout(ANSWER_MAX, get(env, admin, &format!("/shuffle/{query}"))).await;
    let answer = answer.unwrap_or_else(|| {
        Err(Error::retry(format!("no answer from {admin} within {ANSWER_MAX:?}")))
    })?;
    let bad = |why: &str| Error::invalid(format!("{admin} does not say what it holds: {why}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| bad("this is no HTTP"))?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(bad(head.lines().next().unwrap_or_default()));
    }
    serde_json::from_str(body).map_err(|e| bad(&e.to_string()))
}

/// One HTTP request; in version 1.0 the answer is plain and ends with the connection.
async fn get(env: &Env, admin: &str, path: &str) -> Result<String> {
    let failed = |e: std::io::Error| Error::retry(format!("{admin}: {e}")).with_source(e);
    let mut stream = env.connect(admin, ANSWER_MAX).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = String::new();
    stream.take(ANSWER_LEN_MAX).read_to_string(&mut answer).await.map_err(failed)?;
    Ok(answer)
}
