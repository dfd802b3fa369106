//! Cases of transactions.

use dunlin_base::{Error, Result, Revision};

use super::ctx::{Ctx, check, check_eq, put};
use crate::store::{Compare, Op, TxnOutcome};

pub(super) async fn absent_creates_once(ctx: Ctx) -> Result<()> {
    let absent = || vec![Compare::Absent("a".into())];
    let revision = ctx.commit(absent(), vec![put("a", "1")]).await?;
    let current = ctx.conflict(absent(), vec![put("a", "2")]).await?;
    check_eq("current", current, vec![Some(ctx.entry("a").await?)])?;
    check_eq("created", ctx.entry("a").await?.created, revision)?;
    check_eq("value", ctx.text("a").await?, Some("1".into()))
}

pub(super) async fn present_needs_the_key(ctx: Ctx) -> Result<()> {
    let present = || vec![Compare::Present("a".into())];
    check_eq("current", ctx.conflict(present(), vec![put("a", "1")]).await?, vec![None])?;
    ctx.write(vec![put("a", "1")]).await?;
    ctx.commit(present(), vec![put("a", "2")]).await?;
    check_eq("value", ctx.text("a").await?, Some("2".into()))
}

pub(super) async fn modified_swaps_once(ctx: Ctx) -> Result<()> {
    let modified = |revision| vec![Compare::Modified("a".into(), revision)];
    // A missing key has no revision, not even one of zero.
    ctx.conflict(modified(Revision(0)), vec![put("a", "1")]).await?;
    let first = ctx.write(vec![put("a", "1")]).await?;
    let second = ctx.commit(modified(first), vec![put("a", "2")]).await?;
    let current = ctx.conflict(modified(first), vec![put("a", "3")]).await?;
    let current = current.into_iter().flatten().map(|e| (e.created, e.modified)).collect();
    check_eq("current", current, vec![(first, second)])?;
    ctx.conflict(modified(Revision(-1)), vec![put("a", "3")]).await?;
    check_eq("value", ctx.text("a").await?, Some("2".into()))
}

/// The fence of an owner's card: who lost the card and got a new one must notice.
pub(super) async fn created_fences_a_reborn_key(ctx: Ctx) -> Result<()> {
    let created = |revision| vec![Compare::Created("card".into(), revision)];
    ctx.conflict(created(Revision(0)), vec![put("x", "0")]).await?;
    let first = ctx.write(vec![put("card", "1")]).await?;
    ctx.write(vec![put("card", "2")]).await?;
    ctx.commit(created(first), vec![put("x", "1")]).await?;
    ctx.write(vec![Op::Delete("card".into())]).await?;
    ctx.conflict(created(first), vec![put("x", "2")]).await?;
    let reborn = ctx.write(vec![put("card", "1")]).await?;
    ctx.conflict(created(first), vec![put("x", "2")]).await?;
    ctx.commit(created(reborn), vec![]).await?;
    check_eq("value", ctx.text("x").await?, Some("1".into()))
}

pub(super) async fn unwritten_looks_at_a_whole_prefix(ctx: Ctx) -> Result<()> {
    let unwritten = |revision| vec![Compare::Unwritten("p/".into(), revision)];
    let before = ctx.write(vec![put("other", "1"), put("p0", "1")]).await?;
    // Of no keys none was written.
    ctx.commit(unwritten(Revision(0)), vec![put("x", "0")]).await?;
    let first = ctx.write(vec![put("p/1", "1")]).await?;
    ctx.conflict(unwritten(before), vec![put("x", "1")]).await?;
    ctx.commit(unwritten(first), vec![put("x", "2"), put("p0", "2")]).await?;
    let second = ctx.write(vec![put("p/2", "1")]).await?;
    check_eq("current", ctx.conflict(unwritten(first), vec![put("x", "3")]).await?, vec![None])?;
    ctx.write(vec![put("p/1", "2"), Op::Delete("p/2".into())]).await?;
    ctx.conflict(unwritten(second), vec![put("x", "3")]).await?;
    ctx.write(vec![Op::Delete("p/1".into())]).await?;
    // What is gone was not written.
    ctx.commit(unwritten(second), vec![]).await?;
    check_eq("value", ctx.text("x").await?, Some("2".into()))
}

pub(super) async fn conflict_returns_entries_in_order(ctx: Ctx) -> Result<()> {
    ctx.write(vec![put("b", "2"), put("a", "1")]).await?;
    let compares = vec![
        Compare::Present("b".into()),
        Compare::Present("missing".into()),
        Compare::Present("a".into()),
        Compare::Absent("b".into()),
    ];
    let current = ctx.conflict(compares, vec![put("c", "3")]).await?;
    let b = Some(ctx.entry("b").await?);
    let a = Some(ctx.entry("a").await?);
    check_eq("current", current, vec![b.clone(), None, a, b])
}

pub(super) async fn a_conflict_changes_nothing(ctx: Ctx) -> Result<()> {
    let before = ctx.write(vec![put("a", "1"), put("p/1", "1")]).await?;
    let compares = vec![Compare::Present("a".into()), Compare::Absent("p/1".into())];
    let ops = vec![put("b", "1"), Op::Delete("a".into()), Op::DeletePrefix("p/".into())];
    ctx.conflict(compares, ops).await?;
    check_eq("keys", ctx.keys("").await?, vec!["a".into(), "p/1".into()])?;
    check_eq("revision", ctx.store.range("").await?.revision, before)
}

pub(super) async fn delete_prefix_is_part_of_a_txn(ctx: Ctx) -> Result<()> {
    let keys = ["p/1", "p/2", "p", "p0", "o/1"];
    ctx.write(keys.map(|key| put(key, "x")).into()).await?;
    let ops =
        vec![Op::DeletePrefix("p/".into()), put("new", "y"), Op::DeletePrefix("none/".into())];
    ctx.commit(vec![Compare::Present("p/1".into())], ops).await?;
    check_eq("keys", ctx.keys("").await?, ["new", "o/1", "p", "p0"].map(String::from).into())?;
    ctx.write(vec![Op::DeletePrefix(String::new())]).await?;
    check_eq("all gone", ctx.keys("").await?, vec![])
}

pub(super) async fn revisions_grow_by_one(ctx: Ctx) -> Result<()> {
    let mut last = ctx.write(vec![put("a", "0")]).await?;
    for i in 0..20 {
        let ops = vec![put("a", "1"), put(&format!("b/{i}"), "1"), Op::Delete("none".into())];
        let revision = ctx.write(ops).await?;
        check_eq("revision", revision, Revision(last.0 + 1))?;
        check_eq("modified", ctx.entry("a").await?.modified, revision)?;
        check_eq("created", ctx.entry(&format!("b/{i}")).await?.created, revision)?;
        last = revision;
    }
    let deleted = ctx.write(vec![Op::DeletePrefix("b/".into()), Op::Delete("a".into())]).await?;
    check_eq("deleting", deleted, Revision(last.0 + 1))
}

pub(super) async fn an_idle_txn_makes_no_revision(ctx: Ctx) -> Result<()> {
    let last = ctx.write(vec![put("a", "1")]).await?;
    let ops = vec![Op::Delete("none".into()), Op::DeletePrefix("none/".into())];
    check_eq("deletes of nothing", ctx.write(ops).await?, last)?;
    check_eq("no ops", ctx.commit(vec![Compare::Present("a".into())], vec![]).await?, last)?;
    check_eq("range", ctx.store.range("").await?.revision, last)?;
    let same = ctx.write(vec![put("a", "1")]).await?;
    check_eq("a write of the same value", same, Revision(last.0 + 1))
}

/// 16 tasks of 50 increments each, by compare and swap on one key.
pub(super) async fn increments_are_not_lost(ctx: Ctx) -> Result<()> {
    const TASKS: u32 = 16;
    const INCREMENTS: u32 = 50;
    let start = ctx.write(vec![put("n", "0")]).await?;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let task = ctx.clone();
        tasks.push(ctx.env.spawn("increments", async move { increment(&task, INCREMENTS).await }));
    }
    for task in tasks {
        task.join().await.map_err(Error::bug)??;
    }
    let total = TASKS * INCREMENTS;
    check_eq("sum", ctx.text("n").await?, Some(total.to_string()))?;
    let entry = ctx.entry("n").await?;
    check!(
        entry.modified.0 == start.0 + i64::from(total),
        "{total} increments took the revision from {start} to {}",
        entry.modified
    );
    check_eq("created", entry.created, start)
}

async fn increment(ctx: &Ctx, times: u32) -> Result<()> {
    let mut entry = ctx.entry("n").await?;
    let mut done = 0;
    while done < times {
        let number: u32 = String::from_utf8_lossy(&entry.value)
            .parse()
            .map_err(|_| Error::bug(format!("not a number: {entry:?}")))?;
        let compares = vec![Compare::Modified("n".into(), entry.modified)];
        let outcome = ctx.txn(compares, vec![put("n", &(number + 1).to_string())]).await?;
        match outcome {
            TxnOutcome::Committed(_) => {
                done += 1;
                entry = ctx.entry("n").await?;
            }
            // The conflict's entry spares the read; a stale one would fail for ever.
            TxnOutcome::Conflict(current) => {
                entry = current.into_iter().next().flatten().ok_or_else(|| Error::bug("gone"))?;
            }
        }
    }
    Ok(())
}
