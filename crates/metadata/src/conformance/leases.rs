//! Cases of leases. Each ends its leases: an expiry later on would count as somebody's revision.

use dunlin_base::{Kind, LeaseId, Result, Revision};

use super::ctx::{Ctx, bind, check, check_eq, check_kind, put};
use crate::store::{Compare, Op};

pub(super) async fn an_ended_lease_deletes_its_keys(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl).await?;
    check!(lease.ttl >= ctx.lease_ttl, "granted {:?}", lease.ttl);
    let granted = ctx.env.now();
    ctx.write(vec![bind("card/1", lease.id), bind("card/2", lease.id)]).await?;
    let start = ctx.write(vec![put("free", "1")]).await?;
    check_eq("lease", ctx.entry("card/1").await?.lease, Some(lease.id))?;
    let mut events = ctx.watch("", Revision(start.0 + 1)).await?;
    let first = events.next_within(ctx.lease_end(lease.ttl)).await?;
    let lived = ctx.env.now() - granted;
    check!(lived >= lease.ttl, "the lease of {:?} ended after {lived:?}", lease.ttl);
    let mut deleted = vec![first, events.next().await?];
    deleted.sort();
    let end = Revision(start.0 + 1);
    check_eq("events", deleted, vec![format!("-card/1@{end}"), format!("-card/2@{end}")])?;
    check_eq("keys", ctx.keys("").await?, vec!["free".into()])?;
    check_kind("a late keep", ctx.store.lease_keep(lease.id).await, Kind::Fenced)
}

pub(super) async fn a_kept_lease_lives(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl).await?;
    ctx.write(vec![bind("card", lease.id)]).await?;
    let until = ctx.env.now() + ctx.lease_end(lease.ttl) + lease.ttl;
    while ctx.env.now() < until {
        ctx.env.sleep(lease.ttl / 4).await;
        ctx.store.lease_keep(lease.id).await?;
        check_eq("lease", ctx.entry("card").await?.lease, Some(lease.id))?;
    }
    ctx.store.lease_revoke(lease.id).await
}

pub(super) async fn a_revoked_lease_is_gone_at_once(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl * 20).await?;
    let other = ctx.store.lease_grant(ctx.lease_ttl * 20).await?;
    check!(lease.id != other.id, "two leases are both {}", lease.id);
    ctx.write(vec![bind("a", lease.id), bind("b", other.id)]).await?;
    let start = ctx.write(vec![bind("c", lease.id)]).await?;
    let mut events = ctx.watch("", Revision(start.0 + 1)).await?;
    ctx.store.lease_revoke(lease.id).await?;
    check_eq("keys", ctx.keys("").await?, vec!["b".into()])?;
    let mut deleted = vec![events.next().await?, events.next().await?];
    deleted.sort();
    let end = Revision(start.0 + 1);
    check_eq("events", deleted, vec![format!("-a@{end}"), format!("-c@{end}")])?;
    check_kind("keep", ctx.store.lease_keep(lease.id).await, Kind::Fenced)?;
    ctx.store.lease_revoke(other.id).await?;
    check_eq("no keys", ctx.keys("").await?, vec![])
}

pub(super) async fn revoking_twice_is_once(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl).await?;
    ctx.store.lease_revoke(lease.id).await?;
    ctx.store.lease_revoke(lease.id).await?;
    ctx.store.lease_revoke(LeaseId(12345)).await
}

pub(super) async fn a_dead_lease_fences_its_writer(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl * 20).await?;
    ctx.store.lease_revoke(lease.id).await?;
    let before = ctx.write(vec![put("a", "1")]).await?;
    for dead in [lease.id, LeaseId(12345), LeaseId(0), LeaseId(-1)] {
        let ops = vec![put("a", "2"), Op::Delete("a2".into()), bind("b", dead)];
        check_kind(&format!("lease {dead}"), ctx.txn(vec![], ops).await, Kind::Fenced)?;
        // Conditions are judged first: nothing would have been written anyway.
        ctx.conflict(vec![Compare::Absent("a".into())], vec![bind("b", dead)]).await?;
    }
    check_eq("value", ctx.text("a").await?, Some("1".into()))?;
    check_eq("revision", ctx.store.range("").await?.revision, before)
}

pub(super) async fn a_put_moves_a_key_off_its_lease(ctx: Ctx) -> Result<()> {
    let lease = ctx.store.lease_grant(ctx.lease_ttl * 20).await?;
    let other = ctx.store.lease_grant(ctx.lease_ttl * 20).await?;
    ctx.write(vec![bind("freed", lease.id), bind("moved", lease.id), bind("held", lease.id)])
        .await?;
    ctx.write(vec![put("freed", "1"), bind("moved", other.id)]).await?;
    check_eq("no lease", ctx.entry("freed").await?.lease, None)?;
    ctx.store.lease_revoke(lease.id).await?;
    check_eq("after the first", ctx.keys("").await?, vec!["freed".into(), "moved".into()])?;
    ctx.store.lease_revoke(other.id).await?;
    check_eq("after the second", ctx.keys("").await?, vec!["freed".into()])
}
