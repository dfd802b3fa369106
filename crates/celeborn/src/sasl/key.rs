//! The digests of RFC 2831.

use std::fmt::{self, Debug, Formatter};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dunlin_base::{Error, Result};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::REALM;

const LEN: usize = 16;

/// What a server keeps to check proofs with: a digest of application, realm and secret. It does not give
/// the secret away, but who has it can prove to be the application. Comparing takes the same time
/// whatever differs; its `Debug` says nothing.
#[derive(Clone, Copy)]
pub struct Key([u8; LEN]);

impl Key {
    /// The key of an application that has chosen this secret.
    pub fn new(application: &str, secret: &str) -> Self {
        let text = |text: &str| BASE64_STANDARD.encode(text);
        Self::of(&text(application), REALM, &text(secret))
    }

    pub(super) fn of(user: &str, realm: &str, password: &str) -> Self {
        Self(digest(&[user, ":", realm, ":", password].map(str::as_bytes)))
    }

    /// The key that [`Key::to_bytes`] gave. `Invalid`: it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.try_into();
        bytes.map(Self).map_err(|_| Error::invalid("the key of an application is not of 16 bytes"))
    }

    /// For who keeps it.
    pub fn to_bytes(self) -> [u8; LEN] {
        self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl Debug for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Who proves something with a digest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

/// What two sides have said, besides the key.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) nonce: Vec<u8>,
    pub(super) cnonce: Vec<u8>,
    pub(super) uri: Vec<u8>,
    pub(super) authzid: Option<Vec<u8>>,
}

/// How often a nonce was used: once.
pub(super) const COUNT: &str = "00000001";

/// No protection of what follows.
pub(super) const QOP: &str = "auth";

impl Terms {
    /// The 32 digits by which a side proves that it has the key.
    pub(super) fn proof(&self, key: &Key, side: Side) -> [u8; 2 * LEN] {
        let Self { nonce, cnonce, uri, authzid } = self;
        let mut first = vec![&key.0[..], b":", nonce, b":", cnonce];
        if let Some(authzid) = authzid {
            first.extend([&b":"[..], authzid]);
        }
        let second = match side {
            Side::Client => digest(&[b"AUTHENTICATE:", uri]),
            Side::Server => digest(&[b":", uri]),
        };
        let (first, second) = (digits(digest(&first)), digits(second));
        let parts: [&[u8]; 11] = [
            &first,
            b":",
            nonce,
            b":",
            COUNT.as_bytes(),
            b":",
            cnonce,
            b":",
            QOP.as_bytes(),
            b":",
            &second,
        ];
        digits(digest(&parts))
    }
}

fn digest(parts: &[&[u8]]) -> [u8; LEN] {
    let digest = parts.iter().fold(Md5::new(), |digest, part| digest.chain_update(part));
    digest.finalize().into()
}

/// Small ones, as the RFC wants them.
pub(super) fn digits(bytes: [u8; LEN]) -> [u8; 2 * LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * LEN];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}
