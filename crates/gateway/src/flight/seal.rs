//! Signatures: what makes a handle that a client holds as good as a record.
//!
//! The key is in the metadata store, made by whichever gateway comes first, so that all verify what
//! any signed. Each purpose has a key of its own: no handle passes for one of another purpose.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, Result};
use dunlin_metadata::{Compare, Op, StoreRef, Txn};
use dunlin_proto::door::{Key, Keys, Sealed};
use parking_lot::RwLock;
use prost::Message;

/// Where the keys are.
const KEYS: &str = "cat/door/keys";

/// Tries to make the first key.
const TRIES: u32 = 5;

/// An unknown key's number makes the keys be read again, at most this often.
const REREAD: Duration = Duration::from_secs(1);

/// What a handle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Token,
    Session,
    Query,
    Rows,
    Statement,
}

impl Purpose {
    /// What its key is derived with. Never changed: handles would be void.
    fn context(self) -> &'static str {
        match self {
            Self::Token => "dunlin door v1 token",
            Self::Session => "dunlin door v1 session",
            Self::Query => "dunlin door v1 query",
            Self::Rows => "dunlin door v1 rows",
            Self::Statement => "dunlin door v1 statement",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session cookie",
            Self::Query | Self::Rows => "ticket",
            Self::Statement => "statement handle",
        }
    }
}

/// Signs and verifies with the keys in the store.
pub(super) struct Signer {
    store: StoreRef,
    env: Env,
    known: RwLock<Known>,
}

struct Known {
    keys: Arc<Keys>,
    read: Duration,
}

impl Signer {
    /// Reads the keys; makes the first one if there is none. `Retry`: the store is out of reach.
    pub(super) async fn open(store: StoreRef, env: Env) -> Result<Self> {
        let mut tries = 0;
        let keys = loop {
            tries += 1;
            match read_or_make(&store, &env).await {
                Ok(keys) => break keys,
                // Whether the key was made is not known: the next look tells.
                Err(error) if error.kind() == Kind::Retry && tries < TRIES => {
                    env.sleep(Duration::from_millis(50 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let known = RwLock::new(Known { keys: Arc::new(keys), read: env.now() });
        Ok(Self { store, env, known })
    }

    /// Signs a message.
    pub(super) fn seal(&self, purpose: Purpose, message: &impl Message) -> Result<Sealed> {
        let keys = Arc::clone(&self.known.read().keys);
        let key = keys.keys.last().ok_or_else(|| Error::bug("there is no key to sign with"))?;
        let body = Bytes::from(message.encode_to_vec());
        let mac = mac(key, purpose, &body);
        Ok(Sealed { key: key.number, body, mac: Bytes::copy_from_slice(mac.as_bytes()) })
    }

    /// The message behind a signature. `Invalid`: it was not signed by a gateway of this store, or
    /// not for this purpose.
    pub(super) async fn open_sealed<M: Message + Default>(
        &self,
        purpose: Purpose,
        sealed: &Sealed,
    ) -> Result<M> {
        let name = purpose.name();
        let forged = || {
            Error::invalid(format!("the {name} was not given by this cluster"))
                .with_hint("log in and run the statement again")
        };
        let key = self.key(sealed.key).await?.ok_or_else(forged)?;
        let given: [u8; 32] = sealed.mac.as_ref().try_into().map_err(|_| forged())?;
        // Comparing hashes takes the same time wherever they differ.
        if mac(&key, purpose, &sealed.body) != blake3::Hash::from_bytes(given) {
            return Err(forged());
        }
        M::decode(sealed.body.clone()).map_err(|e| forged().with_source(e))
    }

    async fn key(&self, number: u32) -> Result<Option<Key>> {
        let find = |keys: &Keys| keys.keys.iter().find(|key| key.number == number).cloned();
        {
            let known = self.known.read();
            let found = find(&known.keys);
            if found.is_some() || self.env.now().saturating_sub(known.read) < REREAD {
                return Ok(found);
            }
        }
        let keys = Arc::new(read_or_make(&self.store, &self.env).await?);
        let found = find(&keys);
        *self.known.write() = Known { keys, read: self.env.now() };
        Ok(found)
    }
}

async fn read_or_make(store: &StoreRef, env: &Env) -> Result<Keys> {
    let read = |value: Bytes| {
        Keys::decode(value).map_err(|e| Error::lost(format!("{KEYS} is damaged")).with_source(e))
    };
    if let Some(entry) = store.get(KEYS).await? {
        return read(entry.value);
    }
    let secret = Bytes::copy_from_slice(&env.secret()?);
    let keys = Keys { keys: vec![Key { number: 1, secret }] };
    let txn = Txn {
        compares: vec![Compare::Absent(KEYS.to_owned())],
        ops: vec![Op::Put(KEYS.to_owned(), keys.encode_to_vec().into(), None)],
        ..Txn::default()
    };
    store.txn(txn).await?;
    // Whoever was first, what is there now is the key.
    let entry = store.get(KEYS).await?;
    read(entry.ok_or_else(|| Error::retry(format!("{KEYS} was removed")))?.value)
}

fn mac(key: &Key, purpose: Purpose, body: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&blake3::derive_key(purpose.context(), &key.secret), body)
}

/// A signed message as text, for headers.
pub(super) fn to_text(sealed: &Sealed) -> String {
    URL_SAFE_NO_PAD.encode(sealed.encode_to_vec())
}

/// A signed message from a header. `Invalid`: it is none.
pub(super) fn from_text(text: &str, purpose: Purpose) -> Result<Sealed> {
    let bad = || Error::invalid(format!("the {} is malformed", purpose.name()));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
    Sealed::decode(bytes.as_slice()).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use dunlin_metadata::sim::SimStore;
    use dunlin_proto::door::Token;

    use super::*;

    async fn signers() -> (Signer, Signer) {
        let env = Env::seeded(1);
        let store: StoreRef = Arc::new(SimStore::new(env.clone()));
        let one = Signer::open(Arc::clone(&store), env.clone()).await.expect("a key is made");
        (one, Signer::open(store, env).await.expect("the key is found"))
    }

    fn token() -> Token {
        Token { user: "ann".to_owned(), expires_unix_ms: 7, user_created: Some(3) }
    }

    #[tokio::test]
    async fn what_one_gateway_signs_another_verifies() {
        let (one, other) = signers().await;
        let sealed = one.seal(Purpose::Token, &token()).expect("sealed");
        let text = to_text(&sealed);
        let sealed = from_text(&text, Purpose::Token).expect("text");
        assert_eq!(
            other.open_sealed::<Token>(Purpose::Token, &sealed).await.expect("open"),
            token()
        );
    }

    #[tokio::test]
    async fn a_changed_bit_or_another_purpose_is_refused() {
        let (one, other) = signers().await;
        let sealed = one.seal(Purpose::Token, &token()).expect("sealed");
        let error = other.open_sealed::<Token>(Purpose::Query, &sealed).await.expect_err("purpose");
        assert_eq!(error.kind(), Kind::Invalid);
        let bytes = sealed.encode_to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = Sealed::decode(changed.as_slice()) else { continue };
            if changed == sealed {
                continue;
            }
            let opened = other.open_sealed::<Token>(Purpose::Token, &changed).await;
            assert!(opened.is_err(), "bit {bit} does not matter");
        }
    }
}
