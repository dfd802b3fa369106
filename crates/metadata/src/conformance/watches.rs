//! Cases of watches.

use dunlin_base::{Error, Result, Revision};

use super::ctx::{Ctx, check, check_eq, put};
use crate::store::{Event, Op};

/// Listed, then watched: what changes between and after is seen once.
pub(super) async fn a_watch_has_no_gap_and_no_double(ctx: Ctx) -> Result<()> {
    ctx.write(vec![put("a", "0")]).await?;
    let listed = ctx.store.range("").await?.revision;
    let between = ctx.write(vec![put("a", "1")]).await?;
    let mut events = ctx.watch("", Revision(listed.0 + 1)).await?;
    let mut expected = vec![format!("+a=1@{between}")];
    for i in 0..50 {
        let revision = ctx.write(vec![put("a", &format!("x{i}"))]).await?;
        expected.push(format!("+a=x{i}@{revision}"));
        if i % 10 == 0 {
            let revision = ctx.write(vec![Op::Delete("a".into())]).await?;
            expected.push(format!("-a@{revision}"));
        }
    }
    events.expect(&expected).await
}

pub(super) async fn a_watch_starts_in_the_past(ctx: Ctx) -> Result<()> {
    let mut expected = Vec::new();
    let mut revisions = Vec::new();
    for i in 0..20 {
        let revision = ctx.write(vec![put("a", &i.to_string())]).await?;
        revisions.push(revision);
        expected.push(format!("+a={i}@{revision}"));
    }
    for skip in [0, 7, 19] {
        let mut events = ctx.watch("a", revisions[skip]).await?;
        events.expect(&expected[skip..]).await?;
    }
    Ok(())
}

/// Eight tasks write at once: the watch has all of it, each revision above the last.
pub(super) async fn a_watch_keeps_the_order_of_many_writers(ctx: Ctx) -> Result<()> {
    const TASKS: usize = 8;
    const WRITES: usize = 40;
    let start = ctx.write(vec![put("start", "")]).await?;
    let mut watch = ctx.watch("w/", Revision(start.0 + 1)).await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let writer = ctx.clone();
            ctx.env.spawn("writers", async move {
                for i in 0..WRITES {
                    writer.write(vec![put(&format!("w/{task}"), &i.to_string())]).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for revision in start.0 + 1..=start.0 + (TASKS * WRITES) as i64 {
        let event = watch.next().await?;
        check!(event.ends_with(&format!("@{revision}")), "{event} is not of revision {revision}");
    }
    for task in tasks {
        task.join().await.map_err(Error::bug)??;
    }
    Ok(())
}

pub(super) async fn a_watch_sees_only_its_prefix(ctx: Ctx) -> Result<()> {
    let start = ctx.write(vec![put("start", "")]).await?;
    let mut events = ctx.watch("q/1/", Revision(start.0 + 1)).await?;
    let first = ctx.write(vec![put("q/1/a", "1"), put("q/1", "1"), put("q/10", "1")]).await?;
    ctx.write(vec![put("q/2/a", "1")]).await?;
    ctx.write(vec![Op::DeletePrefix("q/2/".into()), Op::Delete("q/1".into())]).await?;
    let last = ctx.write(vec![Op::DeletePrefix("q/".into())]).await?;
    events.expect(&[format!("+q/1/a=1@{first}"), format!("-q/1/a@{last}")]).await
}

/// The events of one transaction come together, and say all that an entry holds.
pub(super) async fn a_watch_gets_a_txn_whole(ctx: Ctx) -> Result<()> {
    let start = ctx.write(vec![put("k/old", "1")]).await?;
    let mut watch = ctx.watch("k/", Revision(start.0 + 1)).await?;
    let mut ops: Vec<Op> = (0..100).map(|i| put(&format!("k/{i:03}"), "x")).collect();
    ops.push(put("k/old", "2"));
    let revision = ctx.write(ops).await?;
    let batch = watch.batch(std::time::Duration::from_secs(15)).await?;
    check_eq("events", batch.len(), 101)?;
    let old = batch.iter().find_map(|event| match event {
        Event::Put(entry) if entry.key == "k/old" => Some(entry.clone()),
        _ => None,
    });
    let stored = ctx.entry("k/old").await?;
    check_eq("modified", stored.modified, revision)?;
    check_eq("created", stored.created, start)?;
    check_eq("event", old, Some(stored))
}

pub(super) async fn a_watch_waits_for_the_future(ctx: Ctx) -> Result<()> {
    let start = ctx.write(vec![put("a", "0")]).await?;
    let mut events = ctx.watch("", Revision(start.0 + 3)).await?;
    for i in 1..=4 {
        ctx.write(vec![put("a", &i.to_string())]).await?;
    }
    events.expect(&[format!("+a=3@{}", start.0 + 3), format!("+a=4@{}", start.0 + 4)]).await
}
