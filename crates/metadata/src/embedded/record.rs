//! The persistent form of an entry, and the names under which things are kept.
//!
//! System keys begin with `s/`, entries with `k/`. A change of any of this is a new [`FORMAT`].

use bytes::Bytes;
use dunlin_base::{LeaseId, Revision};

use crate::store::Entry;

/// The name and version of this format.
pub(super) const FORMAT: &[u8] = b"dunlin-metadata 1";

/// Where the format is kept.
pub(super) const FORMAT_KEY: &[u8] = b"s/format";

/// Where the revision of the last durable transaction is kept.
pub(super) const REVISION_KEY: &[u8] = b"s/revision";

/// Before each entry's key.
pub(super) const ENTRY_PREFIX: &[u8] = b"k/";

const HEADER_LEN: usize = 24;

/// The stored key of an entry.
pub(super) fn entry_key(key: &str) -> Vec<u8> {
    [ENTRY_PREFIX, key.as_bytes()].concat()
}

/// The stored value of an entry: created, modified, lease (0 is none), value.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + entry.value.len());
    for word in [entry.created.0, entry.modified.0, entry.lease.map_or(0, |lease| lease.0)] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(&entry.value);
    bytes
}

/// The entry that was stored; `None` if the bytes cannot be one.
pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Entry> {
    let key = std::str::from_utf8(key.strip_prefix(ENTRY_PREFIX)?).ok()?.to_owned();
    let (header, value) = bytes.split_at_checked(HEADER_LEN)?;
    let word = |i: usize| decode_i64(&header[i * 8..(i + 1) * 8]);
    let (created, modified, lease) = (word(0)?, word(1)?, word(2)?);
    if created < 1 || modified < created {
        return None;
    }
    Some(Entry {
        key,
        value: Bytes::copy_from_slice(value),
        created: Revision(created),
        modified: Revision(modified),
        lease: (lease != 0).then_some(LeaseId(lease)),
    })
}

/// The number that was stored, such as the revision.
pub(super) fn decode_i64(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip_and_nonsense_is_refused() {
        let mut entry = Entry {
            key: "q/1/meta".into(),
            value: Bytes::from_static(b"value"),
            created: Revision(3),
            modified: Revision(9),
            lease: None,
        };
        for lease in [None, Some(LeaseId(i64::MAX))] {
            entry.lease = lease;
            assert_eq!(decode(&entry_key(&entry.key), &encode(&entry)), Some(entry.clone()));
        }
        let good = encode(&entry);
        assert_eq!(decode(b"x/a", &good), None, "not an entry's key");
        assert_eq!(decode(b"k/a", &good[..23]), None, "cut short");
        entry.created = Revision(10);
        assert_eq!(decode(b"k/a", &encode(&entry)), None, "older than its creation");
    }
}
