//! Our words in etcd's, and back. Pure.

use bytes::Bytes;
use dunlin_base::{Error, LeaseId, Result, Revision};
use etcd_client::{
    Compare as EtcdCompare, CompareOp, DeleteOptions, EventType, KeyValue, PutOptions, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::store::{Compare, Entry, Event, Op, Txn, TxnOutcome};

/// The part of etcd's key space that is ours: all keys below one prefix.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Root(String);

impl Root {
    /// A root such as `/dunlin/`, whatever slashes the text has at its ends.
    pub(super) fn new(text: &str) -> Self {
        match text.trim_matches('/') {
            "" => Self("/".into()),
            name => Self(format!("/{name}/")),
        }
    }

    /// etcd's key for ours (or prefix for ours).
    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        [self.0.as_bytes(), key.as_bytes()].concat()
    }

    /// The first key after all that begin with `prefix`. UTF-8 has no byte of 255 to carry over,
    /// and the root is never empty.
    pub(super) fn end_of(&self, prefix: &str) -> Vec<u8> {
        let mut end = self.key(prefix);
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }

    /// Our key for etcd's.
    fn strip(&self, key: &[u8]) -> Result<String> {
        let name = key.strip_prefix(self.0.as_bytes()).and_then(|k| std::str::from_utf8(k).ok());
        name.map(str::to_owned).ok_or_else(|| {
            Error::lost(format!("etcd key '{}' is not one of ours", key.escape_ascii()))
        })
    }

    pub(super) fn entry(&self, kv: &KeyValue) -> Result<Entry> {
        Ok(Entry {
            key: self.strip(kv.key())?,
            value: Bytes::copy_from_slice(kv.value()),
            created: Revision(kv.create_revision()),
            modified: Revision(kv.mod_revision()),
            lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
        })
    }

    pub(super) fn event(&self, event: &etcd_client::Event) -> Result<Event> {
        let kv = event.kv().ok_or_else(|| Error::lost("an etcd event has no key"))?;
        match event.event_type() {
            EventType::Put => self.entry(kv).map(Event::Put),
            EventType::Delete => {
                Ok(Event::Delete(self.strip(kv.key())?, Revision(kv.mod_revision())))
            }
        }
    }

    /// The transaction; if it fails, it reads the compared keys.
    pub(super) fn txn(&self, txn: Txn) -> etcd_client::Txn {
        let reads: Vec<TxnOp> =
            txn.compares.iter().map(|c| TxnOp::get(self.key(c.key()), None)).collect();
        let compares: Vec<EtcdCompare> = txn.compares.iter().map(|c| self.compare(c)).collect();
        let ops: Vec<TxnOp> = txn.ops.into_iter().map(|op| self.op(op)).collect();
        etcd_client::Txn::new().when(compares).and_then(ops).or_else(reads)
    }

    fn compare(&self, compare: &Compare) -> EtcdCompare {
        let key = self.key(compare.key());
        match *compare {
            Compare::Absent(_) => EtcdCompare::version(key, CompareOp::Equal, 0),
            Compare::Present(_) => EtcdCompare::version(key, CompareOp::Greater, 0),
            // To etcd a missing key has revision 0; to us it has none.
            Compare::Modified(_, revision) | Compare::Created(_, revision) if revision.0 < 1 => {
                EtcdCompare::version(key, CompareOp::Less, 0)
            }
            Compare::Modified(_, revision) => {
                EtcdCompare::mod_revision(key, CompareOp::Equal, revision.0)
            }
            Compare::Created(_, revision) => {
                EtcdCompare::create_revision(key, CompareOp::Equal, revision.0)
            }
            // Where there is no key etcd compares with revision 0.
            Compare::Unwritten(ref prefix, revision) => {
                let end = self.end_of(prefix);
                let after = revision.0.saturating_add(1);
                EtcdCompare::mod_revision(key, CompareOp::Less, after).with_range(end)
            }
        }
    }

    fn op(&self, op: Op) -> TxnOp {
        match op {
            Op::Put(key, value, lease) => {
                let options = lease.map(|lease| PutOptions::new().with_lease(lease_of(lease)));
                TxnOp::put(self.key(&key), value, options)
            }
            Op::Delete(key) => TxnOp::delete(self.key(&key), None),
            Op::DeletePrefix(prefix) => {
                let options = DeleteOptions::new().with_range(self.end_of(&prefix));
                TxnOp::delete(self.key(&prefix), Some(options))
            }
        }
    }

    /// What became of a transaction.
    pub(super) fn outcome(&self, response: &TxnResponse) -> Result<TxnOutcome> {
        if response.succeeded() {
            return revision(response.header()).map(TxnOutcome::Committed);
        }
        let read = |response| match response {
            TxnOpResponse::Get(read) => read.kvs().first().map(|kv| self.entry(kv)).transpose(),
            _ => Err(Error::bug("etcd answered a read with something else")),
        };
        let entries: Result<_> = response.op_responses().into_iter().map(read).collect();
        entries.map(TxnOutcome::Conflict)
    }
}

/// To etcd lease 0 is "none"; to us it is one that never lives.
fn lease_of(lease: LeaseId) -> i64 {
    if lease.0 == 0 { -1 } else { lease.0 }
}

/// The store's revision at the time of a response.
pub(super) fn revision(header: Option<&etcd_client::ResponseHeader>) -> Result<Revision> {
    let header = header.ok_or_else(|| Error::bug("an etcd response has no header"))?;
    Ok(Revision(header.revision()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_frames_all_keys() {
        for text in ["dunlin", "/dunlin", "/dunlin/", "//dunlin//"] {
            assert_eq!(Root::new(text), Root("/dunlin/".into()));
        }
        assert_eq!(Root::new("/").key("a"), b"/a");
        let root = Root::new("a/b");
        assert_eq!(root.key("q/1"), b"/a/b/q/1");
        assert_eq!(root.end_of("q/"), b"/a/b/q0");
        assert_eq!(root.end_of(""), b"/a/b0");
        assert_eq!(root.strip(b"/a/b/q/1").ok().as_deref(), Some("q/1"));
        assert!(root.strip(b"/other/x").is_err());
    }
}
