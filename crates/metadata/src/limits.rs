//! The limits that every backend enforces before it does anything, so that a transaction that one
//! of them takes is taken by all. Called by the backends only; callers just see `Invalid`.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use dunlin_base::{Error, Result};

use crate::store::{KEY_LEN_MAX, LEASE_TTL_MIN, Op, TXN_LEN_MAX, TXN_OPS_MAX, Txn, VALUE_LEN_MAX};

/// `Invalid` unless `key` is 1 to 512 bytes without control characters.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("a metadata key is empty"));
    }
    check_prefix(key)
}

/// `Invalid` unless `prefix` could begin a key. The empty prefix is that of all keys.
pub fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.len() > KEY_LEN_MAX {
        let len = prefix.len();
        return Err(Error::invalid(format!(
            "a metadata key of {len} bytes is longer than {KEY_LEN_MAX}"
        )));
    }
    if prefix.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "metadata key '{}' holds a control character",
            prefix.escape_debug()
        )));
    }
    Ok(())
}

/// `Invalid` if a lease would be shorter than a second.
pub fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl < LEASE_TTL_MIN {
        return Err(Error::invalid(format!("a lease of {ttl:?} is shorter than a second")));
    }
    Ok(())
}

/// `Invalid` if the transaction breaks a limit: of keys, values, numbers, bytes in all, or a key
/// that is written twice.
pub fn check_txn(txn: &Txn) -> Result<()> {
    let most = txn.compares.len().max(txn.ops.len());
    if most > TXN_OPS_MAX {
        return Err(Error::invalid(format!(
            "a metadata transaction of {most} operations is above the limit of {TXN_OPS_MAX}"
        )));
    }
    let mut len = 0;
    for compare in &txn.compares {
        check_key(compare.key())?;
        len += compare.key().len();
    }
    for op in &txn.ops {
        len += check_op(op)?;
    }
    if len > TXN_LEN_MAX {
        return Err(Error::invalid(format!(
            "a metadata transaction of {len} bytes is above the limit of {TXN_LEN_MAX}"
        )));
    }
    check_written_once(&txn.ops)
}

/// The bytes of an op within its limits.
fn check_op(op: &Op) -> Result<usize> {
    match op {
        Op::Put(key, value, _) => {
            check_key(key)?;
            if value.len() > VALUE_LEN_MAX {
                let len = value.len();
                return Err(Error::invalid(format!(
                    "the value of metadata key '{key}' has {len} bytes, above the limit of \
                     {VALUE_LEN_MAX}"
                ))
                .with_hint("write a blob and store its name"));
            }
            Ok(key.len() + value.len())
        }
        Op::Delete(key) => check_key(key).map(|()| key.len()),
        Op::DeletePrefix(prefix) => check_prefix(prefix).map(|()| prefix.len()),
    }
}

fn check_written_once(ops: &[Op]) -> Result<()> {
    let twice = |key: &str| {
        Err(Error::invalid(format!("metadata key '{key}' is written twice in one transaction")))
    };
    let mut keys = BTreeSet::new();
    let mut prefixes = BTreeSet::new();
    for op in ops {
        let (set, key) = match op {
            Op::Put(key, _, _) | Op::Delete(key) => (&mut keys, key.as_str()),
            Op::DeletePrefix(prefix) => (&mut prefixes, prefix.as_str()),
        };
        if !set.insert(key) {
            return twice(key);
        }
    }
    for prefix in &prefixes {
        let after = (Bound::Excluded(*prefix), Bound::Unbounded);
        let nested = prefixes.range::<&str, _>(after).next();
        let inside = keys.range(*prefix..).next();
        for found in [nested, inside].into_iter().flatten() {
            if found.starts_with(prefix) {
                return twice(found);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dunlin_base::Kind;

    use super::*;

    fn put(key: &str) -> Op {
        Op::Put(key.into(), Bytes::new(), None)
    }

    #[test]
    fn a_key_is_written_once_whatever_writes_it() {
        let delete = |key: &str| Op::Delete(key.into());
        let prefix = |key: &str| Op::DeletePrefix(key.into());
        let bad: [&[Op]; 6] = [
            &[put("a"), put("a")],
            &[put("a"), delete("a")],
            &[prefix("q/"), put("q/1")],
            &[delete("q/1"), prefix("q/")],
            &[prefix("q/1/"), prefix("q/")],
            &[prefix(""), put("z")],
        ];
        for ops in bad {
            let txn = Txn { ops: ops.to_vec(), ..Txn::default() };
            assert_eq!(check_txn(&txn).map_err(|e| e.kind()), Err(Kind::Invalid), "{ops:?}");
        }
        let good = vec![prefix("q/1/"), put("q/10"), prefix("q/2/"), delete("q/1"), put("z")];
        assert!(check_txn(&Txn { ops: good, ..Txn::default() }).is_ok());
    }

    #[test]
    fn keys_are_printable() {
        assert!(check_key("q/ünï-1").is_ok());
        for bad in ["", "a\0b", "a\nb"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
