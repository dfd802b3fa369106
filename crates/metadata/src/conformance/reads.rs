//! Cases of reads.

use dunlin_base::Result;

use super::ctx::{Ctx, check, check_eq, put};
use crate::store::{Compare, Op};

pub(super) async fn an_absent_key_is_none(ctx: Ctx) -> Result<()> {
    check_eq("before", ctx.store.get("a").await?, None)?;
    ctx.write(vec![put("a", "1"), put("ab", "2")]).await?;
    ctx.write(vec![Op::Delete("a".into())]).await?;
    check_eq("after", ctx.store.get("a").await?, None)?;
    check_eq("range", ctx.keys("nothing/").await?, vec![])
}

pub(super) async fn a_range_is_ordered_and_exact(ctx: Ctx) -> Result<()> {
    let keys = ["b/2", "a/3", "b/10", "b", "b/1", "b0", "ba/1", "b/1/x"];
    for key in keys {
        ctx.write(vec![put(key, key)]).await?;
    }
    check_eq(
        "b/",
        ctx.keys("b/").await?,
        ["b/1", "b/1/x", "b/10", "b/2"].map(String::from).into(),
    )?;
    check_eq("b/1", ctx.keys("b/1").await?, ["b/1", "b/1/x", "b/10"].map(String::from).into())?;
    let mut all = keys.map(String::from);
    all.sort();
    check_eq("everything", ctx.keys("").await?, all.into())
}

pub(super) async fn a_range_is_one_revision(ctx: Ctx) -> Result<()> {
    let first = ctx.write(vec![put("a", "1")]).await?;
    let second = ctx.write(vec![put("b", "1"), put("a", "2")]).await?;
    let snapshot = ctx.store.range("").await?;
    check_eq("revision", snapshot.revision, second)?;
    let entries: Vec<_> =
        snapshot.entries.iter().map(|e| (e.key.as_str(), e.created, e.modified)).collect();
    check_eq("entries", entries, vec![("a", first, second), ("b", second, second)])
}

/// More than one page of any backend.
pub(super) async fn a_big_range_is_whole(ctx: Ctx) -> Result<()> {
    const KEYS: usize = 1100;
    let keys: Vec<String> = (0..KEYS).map(|i| format!("k/{i:05}")).collect();
    for chunk in keys.chunks(100) {
        ctx.write(chunk.iter().map(|key| put(key, "x")).collect()).await?;
    }
    let read = ctx.keys("k/").await?;
    check!(read == keys, "{} keys of {KEYS}, or not in order", read.len());
    ctx.write(vec![Op::DeletePrefix("k/".into())]).await?;
    check_eq("after the delete", ctx.keys("").await?, vec![])
}

pub(super) async fn writes_are_read_at_once(ctx: Ctx) -> Result<()> {
    for i in 0..50 {
        let revision = ctx.write(vec![put("a", &i.to_string())]).await?;
        check_eq("get", ctx.text("a").await?, Some(i.to_string()))?;
        check_eq("modified", ctx.entry("a").await?.modified, revision)?;
        let snapshot = ctx.store.range("a").await?;
        check!(snapshot.revision >= revision, "a range at {} after {revision}", snapshot.revision);
        ctx.commit(vec![Compare::Modified("a".into(), revision)], vec![]).await?;
    }
    Ok(())
}
