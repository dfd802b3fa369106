//! The limits of the contract, enforced before anything happens.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use dunlin_base::{Error, Result};

use crate::store::{KEY_LEN_MAX, Op, TXN_OPS_MAX, Txn, VALUE_LEN_MAX};

/// Most bytes of keys and values in one transaction.
const TXN_LEN_MAX: usize = 1 << 20;

/// Shortest time to live of a lease.
const TTL_MIN: Duration = Duration::from_secs(1);

pub(super) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("a key is empty"));
    }
    check_prefix(key)
}

pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.len() > KEY_LEN_MAX || prefix.chars().any(char::is_control) {
        let shown = prefix.chars().take(40).collect::<String>();
        return Err(Error::invalid(format!(
            "key '{}' is longer than {KEY_LEN_MAX} bytes or not printable",
            shown.escape_debug()
        )));
    }
    Ok(())
}

pub(super) fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl < TTL_MIN {
        return Err(Error::invalid(format!("a lease of {ttl:?} is shorter than {TTL_MIN:?}")));
    }
    Ok(())
}

pub(super) fn check_txn(txn: &Txn) -> Result<()> {
    if txn.compares.len() > TXN_OPS_MAX || txn.ops.len() > TXN_OPS_MAX {
        return Err(Error::invalid(format!("a transaction has more than {TXN_OPS_MAX} parts")));
    }
    let mut bytes = 0;
    for compare in &txn.compares {
        check_key(compare.key())?;
        bytes += compare.key().len();
    }
    for op in &txn.ops {
        bytes += check_op(op)?;
    }
    if bytes > TXN_LEN_MAX {
        return Err(Error::invalid(format!("a transaction has {bytes} of {TXN_LEN_MAX} bytes")));
    }
    match written_twice(&txn.ops) {
        Some(key) => Err(Error::invalid(format!("{key} is written twice"))),
        None => Ok(()),
    }
}

fn check_op(op: &Op) -> Result<usize> {
    match op {
        Op::Put(key, value, _) => {
            check_key(key)?;
            if value.len() > VALUE_LEN_MAX {
                let len = value.len();
                return Err(Error::invalid(format!("{key} has {len} of {VALUE_LEN_MAX} bytes")));
            }
            Ok(key.len() + value.len())
        }
        Op::Delete(key) => check_key(key).map(|()| key.len()),
        Op::DeletePrefix(prefix) => check_prefix(prefix).map(|()| prefix.len()),
    }
}

/// A key that two operations write; a deleted prefix writes every key below it.
fn written_twice(ops: &[Op]) -> Option<&str> {
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    let mut prefixes: BTreeSet<&str> = BTreeSet::new();
    for op in ops {
        let fresh = match op {
            Op::Put(key, ..) | Op::Delete(key) => keys.insert(key),
            Op::DeletePrefix(prefix) => prefixes.insert(prefix),
        };
        if !fresh {
            let (Op::Put(key, ..) | Op::Delete(key) | Op::DeletePrefix(key)) = op;
            return Some(key);
        }
    }
    prefixes.iter().find_map(|prefix| {
        let key = keys.range::<str, _>((Bound::Included(*prefix), Bound::Unbounded)).next();
        let longer = prefixes.range::<str, _>((Bound::Excluded(*prefix), Bound::Unbounded)).next();
        [key, longer].into_iter().flatten().copied().find(|found| found.starts_with(prefix))
    })
}
