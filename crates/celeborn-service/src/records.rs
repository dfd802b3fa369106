//! What masters remember, in the metadata store: applications and their shuffles. Everything is under
//! a lease of the application, so an application that says nothing any more leaves nothing behind.
//!
//! | key | record |
//! |---|---|
//! | `cb/apps/{app}` | [`App`] |
//! | `cb/shuffles/{app}/{shuffle}` | [`shuffles::Shuffle`] |
//! | `cb/ids/{app}/{shuffle}` | the same; it outlives the others for some time, see `lost` |
//! | `cb/excluded/{worker}` | that an administrator has excluded it, see `excluded` |
//!
//! Names of applications come from clients; what a key could not hold is written as `%` and two digits.

mod apps;
mod excluded;
mod lost;
mod shuffles;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_metadata::{Compare, Entry, LEASE_TTL_MIN, Op, StoreRef, Txn, TxnOutcome};
use prost::Message;

pub(crate) use self::apps::App;

const APPS: &str = "cb/apps/";
const SHUFFLES: &str = "cb/shuffles/";
const IDS: &str = "cb/ids/";

/// A name that is longer as a key is refused.
const NAME_LEN_MAX: usize = 400;

/// How often a change is tried that others were quicker with.
const TRIES: usize = 5;

/// The records. Cheap to clone. Every call is one or a few transactions and may be repeated; `Retry`:
/// the store does not answer.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    store: StoreRef,
    env: Env,
    /// How long an application lives after its last word.
    ttl: Duration,
}

impl Records {
    pub(crate) fn new(store: StoreRef, env: Env, ttl: Duration) -> Self {
        Self { store, env, ttl }
    }

    /// The same for who only looks things up.
    pub(crate) fn of_worker(store: StoreRef, env: Env) -> Self {
        Self::new(store, env, LEASE_TTL_MIN)
    }

    async fn change(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<bool> {
        let txn = Txn { compares, ops, ..Txn::default() };
        Ok(matches!(self.store.txn(txn).await?, TxnOutcome::Committed(_)))
    }
}

fn app_key(app: &str) -> Result<String> {
    Ok(format!("{APPS}{}", escaped(app)?))
}

fn shuffle_key(app: &str, shuffle: i32) -> Result<String> {
    Ok(format!("{SHUFFLES}{}/{shuffle}", escaped(app)?))
}

fn id_key(app: &str, shuffle: i32) -> Result<String> {
    Ok(format!("{IDS}{}/{shuffle}", escaped(app)?))
}

fn decoded<T: Message + Default>(entry: &Entry) -> Result<T> {
    T::decode(entry.value.clone()).map_err(|e| {
        let key = &entry.key;
        Error::lost(format!("the record {key} cannot be read: {e}")).with_source(e)
    })
}

/// The name as a part of a key.
fn escaped(name: &str) -> Result<String> {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(byte as char),
            other => text.push_str(&format!("%{other:02x}")),
        }
    }
    if text.is_empty() || text.len() > NAME_LEN_MAX {
        return Err(Error::invalid("the id of an application is empty or too long"));
    }
    Ok(text)
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if *first == b'%' => {
                bytes.push(code);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
