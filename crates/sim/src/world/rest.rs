//! What may be left of a world when all queries have ended: nothing that is theirs.

use std::time::Duration;

use dunlin_metadata::Store;
use futures::TryStreamExt;
use object_store::ObjectStore;

use super::setup::{TTL, World};

/// How long sweeps may take: the hold of results, the grace of blobs, and a few rounds.
const REMAINS_MAX: Duration = Duration::from_secs(900);

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// What stays: definitions, the history, the names of writes, and cards while processes live.
const STAY: [&str; 6] = ["cat/", "hist/", "wr/k/", "ex/", "gw/", "sh/"];

/// Waits until nothing is left, and complains if something stays.
pub(crate) async fn nothing_is_left(world: &World) {
    let until = world.env.now() + REMAINS_MAX;
    loop {
        let left = left(world).await;
        if left.is_empty() {
            return;
        }
        if world.env.now() >= until {
            world.checker.complain(format!("left after {REMAINS_MAX:?}: {left:?}"));
            return;
        }
        world.env.sleep(LOOK).await;
    }
}

async fn left(world: &World) -> Vec<String> {
    let stays = |key: &String| STAY.iter().any(|prefix| key.starts_with(prefix));
    let all = keys(world).await;
    let card = |key: &str| key.strip_prefix("estate/").map(|id| format!("sh/{id}"));
    let lives = |key: &String| card(key).is_some_and(|card| all.contains(&card));
    let left = all.iter().filter(|key| !stays(key) && !lives(key));
    let mut left: Vec<String> = left.cloned().collect();
    left.extend(world.heap.names().into_iter().map(|name| format!("blob {name}")));
    if let Some(shelf) = &world.shelf {
        let objects: Vec<_> = shelf.list(None).try_collect().await.unwrap_or_default();
        left.extend(objects.into_iter().map(|object| format!("object {}", object.location)));
    }
    let shuffles = world.network.shuffles().await;
    left.extend(shuffles.into_iter().map(|shuffle| format!("shuffle {shuffle}")));
    let files: Vec<_> = world.lake.list(None).try_collect().await.unwrap_or_default();
    let staged = files.into_iter().map(|file| file.location.to_string());
    left.extend(staged.filter(|path| path.contains("/.dunlin/")));
    left
}

async fn keys(world: &World) -> Vec<String> {
    match world.store.range("").await {
        Ok(snapshot) => snapshot.entries.into_iter().map(|entry| entry.key).collect(),
        Err(error) => vec![format!("the store: {error}")],
    }
}

/// Waits until no process has a card, and complains if one stays.
pub(crate) async fn no_card_is_left(world: &World) {
    world.env.sleep(2 * TTL).await;
    let prefixes = ["ex/", "gw/", "sh/", "estate/"];
    let cards = keys(world)
        .await
        .into_iter()
        .filter(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)));
    let cards: Vec<String> = cards.collect();
    if !cards.is_empty() {
        world.checker.complain(format!("cards of nobody: {cards:?}"));
    }
}
