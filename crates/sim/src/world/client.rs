//! Clients: they ask until they have an answer, at another gateway if need be, and judge it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use dunlin_base::{Error, Kind, QueryId, Result};
use dunlin_gateway::{Reply, Rows as Answer};
use dunlin_queue::Role;
use futures::TryStreamExt;

use super::data::{QUESTIONS, Rows, WRITTEN, rows};
use super::process::Process;
use super::setup::World;

/// What a client wants to know.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// The answer to a question, by number.
    Ask(usize),
    /// A table of this name.
    Make(String),
    /// All of such a table.
    Read(String),
}

/// How far an answer has come.
#[derive(Default)]
struct Progress {
    /// The query, once it is accepted.
    query: Option<(QueryId, SchemaRef)>,
    /// The client has rows.
    begun: bool,
}

/// A client with a few questions, one after the other.
pub(crate) async fn client(world: Arc<World>, number: u64) {
    let who = format!("cl{number}");
    for nth in 0..2 + world.env.random_below(2) {
        world.env.sleep(world.millis(0, 1500)).await;
        if world.chance(200) {
            let table = format!("t{number}_{nth}");
            until_answered(&world, &who, Wish::Make(table.clone())).await;
            until_answered(&world, &who, Wish::Read(table)).await;
        } else {
            let question = world.env.random_below(QUESTIONS.len() as u64) as usize;
            until_answered(&world, &who, Wish::Ask(question)).await;
        }
    }
}

/// Asks until there is an answer, and judges it.
async fn until_answered(world: &World, who: &str, wish: Wish) {
    world.tally.lock().asked += 1;
    world.checker.note(who, format!("wants {wish:?}"));
    let mut progress = Progress::default();
    loop {
        match once(world, who, &wish, &mut progress).await {
            Some(Ok(())) => return,
            Some(Err(error)) if allowed(world, &error, progress.begun) => {
                progress = Progress::default();
            }
            Some(Err(error)) => {
                let begun = if progress.begun { " after rows" } else { "" };
                let text = format!("{who} {wish:?}: {} {error}{begun}", error.kind());
                world.checker.complain(text);
                return;
            }
            // Its gateway died.
            None if progress.query.is_some() && !progress.begun && world.chance(500) => {
                world.tally.lock().elsewhere += 1;
            }
            None => progress = Progress::default(),
        }
        world.tally.lock().again += 1;
        world.env.sleep(world.millis(100, 1000)).await;
    }
}

/// Asks every question once, and makes a table: now nothing may fail.
pub(crate) async fn all_is_well(world: &World) {
    let mut wishes: Vec<Wish> = (0..QUESTIONS.len()).map(Wish::Ask).collect();
    wishes.extend([Wish::Make("last".to_owned()), Wish::Read("last".to_owned())]);
    for wish in wishes {
        let outcome = once(world, "end", &wish, &mut Progress::default()).await;
        if !matches!(outcome, Some(Ok(()))) {
            world.checker.complain(format!("without faults {wish:?} came to {outcome:?}"));
        }
    }
}

/// Whether a client may be told so while faults strike.
fn allowed(world: &World, error: &Error, begun: bool) -> bool {
    world.checker.note("error", format!("{} {error}", error.kind()));
    match error.kind() {
        Kind::Retry => true,
        // Rows that are made again may come in another order.
        Kind::Lost => begun,
        // Three executors died of a slice, as far as anybody can know.
        Kind::Exhausted => {
            let tally = world.tally.lock();
            tally.kills + tally.dooms + tally.pauses + tally.cuts >= 3
        }
        Kind::Fenced | Kind::Invalid | Kind::Bug => false,
    }
}

/// One try. `None`: the gateway died, or there is none.
async fn once(
    world: &World,
    who: &str,
    wish: &Wish,
    progress: &mut Progress,
) -> Option<Result<()>> {
    let gateway = world.any(Role::Gateway)?;
    let asked = ask(world, &gateway, who, wish, progress);
    let leaves = matches!(wish, Wish::Ask(_)) && who != "end" && world.chance(40);
    let asked = async {
        match leaves {
            false => Some(asked.await),
            true => world.env.timeout(world.millis(0, 2000), asked).await,
        }
    };
    let Some(answer) = gateway.link.unless_dead(asked).await? else {
        world.checker.note(who, "goes");
        world.tally.lock().left += 1;
        return Some(Ok(()));
    };
    let found = match answer {
        Ok(found) => found,
        Err(error) => return Some(Err(error)),
    };
    world.checker.note(who, format!("has {} rows of {wish:?}", found.len()));
    let wrong = match wish {
        Wish::Ask(question) => world.oracle.judge(*question, found),
        Wish::Read(_) => world.oracle.judge_written(found),
        Wish::Make(_) => {
            world.tally.lock().written += 1;
            let count = world.oracle.written_rows().to_string();
            (found != [count]).then(|| format!("{found:?} rows were written"))
        }
    };
    match wrong {
        None => world.tally.lock().answered += 1,
        Some(wrong) => world.checker.complain(format!("{who} {wish:?}: {wrong}")),
    }
    Some(Ok(()))
}

async fn ask(
    world: &World,
    gateway: &Process,
    who: &str,
    wish: &Wish,
    progress: &mut Progress,
) -> Result<Rows> {
    world.checker.note(who, format!("asks {} for {wish:?}", gateway.name));
    let mut answer = match progress.query.take() {
        Some((query, schema)) => gateway.gateway()?.attach(query, schema),
        None => submit(gateway, who, wish).await?,
    };
    // A write is found again by its name, not by its query.
    if !matches!(wish, Wish::Make(_)) {
        progress.query = answer.query.map(|query| (query, Arc::clone(&answer.schema)));
    }
    if let Some(query) = answer.query {
        world.checker.note(who, format!("has query {query}"));
    }
    let mut found = Rows::new();
    while let Some(batch) = answer.batches.try_next().await? {
        progress.begun = true;
        found.extend(rows(&batch)?);
    }
    Ok(found)
}

async fn submit(gateway: &Process, who: &str, wish: &Wish) -> Result<Answer> {
    let session = gateway.session(who)?;
    let sql = match wish {
        Wish::Ask(question) => QUESTIONS[*question].sql.to_owned(),
        Wish::Read(table) => format!("SELECT k, total FROM {table}"),
        Wish::Make(table) => {
            session.sql(&format!("SET dunlin.write_id = '{table}'")).await?;
            format!("CREATE TABLE {table} AS {WRITTEN}")
        }
    };
    match session.sql(&sql).await? {
        Reply::Rows(rows) => Ok(rows),
        Reply::Done(what) => Err(Error::bug(format!("a question is answered by '{what}'"))),
    }
}
