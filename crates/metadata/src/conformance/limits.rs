//! Cases of limits: what is too much is `Invalid` and changes nothing; the limit itself is fine.

use bytes::Bytes;
use dunlin_base::{Kind, Result};

use super::ctx::{Ctx, check_eq, check_kind, put};
use crate::store::{
    Compare, KEY_LEN_MAX, LEASE_TTL_MIN, Op, TXN_LEN_MAX, TXN_OPS_MAX, VALUE_LEN_MAX,
};

pub(super) async fn long_keys_are_invalid(ctx: Ctx) -> Result<()> {
    for key in ["k".repeat(KEY_LEN_MAX + 1), String::new(), "a\nb".into()] {
        check_kind("get", ctx.store.get(&key).await, Kind::Invalid)?;
        check_kind("put", ctx.txn(vec![], vec![put(&key, "")]).await, Kind::Invalid)?;
        let compare = vec![Compare::Absent(key.clone())];
        check_kind("compare", ctx.txn(compare, vec![]).await, Kind::Invalid)?;
        check_kind("delete", ctx.txn(vec![], vec![Op::Delete(key)]).await, Kind::Invalid)?;
    }
    let prefix = "k".repeat(KEY_LEN_MAX + 1);
    check_kind("range", ctx.store.range(&prefix).await, Kind::Invalid)?;
    check_kind("lease", ctx.store.lease_grant(LEASE_TTL_MIN / 2).await, Kind::Invalid)
}

pub(super) async fn long_values_are_invalid(ctx: Ctx) -> Result<()> {
    let value = Bytes::from(vec![0; VALUE_LEN_MAX + 1]);
    let ops = vec![put("a", "1"), Op::Put("b".into(), value, None)];
    check_kind("put", ctx.txn(vec![], ops).await, Kind::Invalid)?;
    check_eq("keys", ctx.keys("").await?, vec![])
}

pub(super) async fn many_ops_are_invalid(ctx: Ctx) -> Result<()> {
    let ops = (0..=TXN_OPS_MAX).map(|i| put(&format!("k/{i}"), "")).collect();
    check_kind("ops", ctx.txn(vec![], ops).await, Kind::Invalid)?;
    let compares = (0..=TXN_OPS_MAX).map(|i| Compare::Absent(format!("k/{i}"))).collect();
    check_kind("compares", ctx.txn(compares, vec![put("a", "1")]).await, Kind::Invalid)?;
    check_eq("keys", ctx.keys("").await?, vec![])
}

pub(super) async fn big_txns_are_invalid(ctx: Ctx) -> Result<()> {
    let value = Bytes::from(vec![0; VALUE_LEN_MAX]);
    let ops = (0..=TXN_LEN_MAX / VALUE_LEN_MAX)
        .map(|i| Op::Put(format!("k/{i}"), value.clone(), None))
        .collect();
    check_kind("bytes", ctx.txn(vec![], ops).await, Kind::Invalid)?;
    check_eq("keys", ctx.keys("").await?, vec![])
}

pub(super) async fn a_key_is_written_once(ctx: Ctx) -> Result<()> {
    let twice = [
        vec![put("a", "1"), put("a", "2")],
        vec![put("a", "1"), Op::Delete("a".into())],
        vec![Op::DeletePrefix("a/".into()), put("a/1", "1")],
        vec![Op::Delete("a/1".into()), Op::DeletePrefix("a/".into())],
    ];
    for ops in twice {
        check_kind(&format!("{ops:?}"), ctx.txn(vec![], ops).await, Kind::Invalid)?;
    }
    check_eq("keys", ctx.keys("").await?, vec![])
}

pub(super) async fn the_limits_themselves_are_fine(ctx: Ctx) -> Result<()> {
    let key = "k".repeat(KEY_LEN_MAX);
    let value = Bytes::from(vec![7; VALUE_LEN_MAX]);
    ctx.write(vec![Op::Put(key.clone(), value.clone(), None)]).await?;
    check_eq("value", ctx.entry(&key).await?.value, value.clone())?;
    let keys: Vec<String> = (0..TXN_OPS_MAX).map(|i| format!("k/{i}")).collect();
    let compares = keys.iter().map(|key| Compare::Absent(key.clone())).collect();
    ctx.commit(compares, keys.iter().map(|key| put(key, "")).collect()).await?;
    let fill = (TXN_LEN_MAX / VALUE_LEN_MAX).min(TXN_OPS_MAX);
    let big = (0..fill).map(|i| Op::Put(format!("b/{i}"), value.slice(64..), None)).collect();
    ctx.write(big).await?;
    check_eq("big ones", ctx.keys("b/").await?.len(), fill)
}
