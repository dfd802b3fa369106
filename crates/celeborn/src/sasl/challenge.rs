//! The server's side of DIGEST-MD5.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use dunlin_base::Result;
use subtle::ConstantTimeEq;

use super::directives::{Directives, malformed};
use super::key::{COUNT, Key, QOP, Side, Terms, digits};
use super::{REALM, URI};

/// A question that a client answers to prove which application it is. Taken apart by its one answer, so
/// that no answer counts twice.
#[derive(Debug)]
pub struct Challenge {
    nonce: [u8; 32],
}

/// What the answer to a challenge says, not checked yet.
#[derive(Clone, Debug)]
pub struct Claim {
    application: String,
    terms: Terms,
    proof: [u8; 32],
}

impl Challenge {
    /// A challenge that nobody else has. `random`: bytes that nobody can guess, and used once.
    pub fn new(random: [u8; 16]) -> Self {
        Self { nonce: digits(random) }
    }

    /// The token for the client.
    pub fn to_bytes(&self) -> Bytes {
        let nonce = String::from_utf8_lossy(&self.nonce);
        let token = format!(
            "realm=\"{REALM}\",nonce=\"{nonce}\",qop=\"{QOP}\",charset=utf-8,algorithm=md5-sess"
        );
        token.into()
    }

    /// The client's answer. `Invalid`: it is malformed, answers another challenge, or wants what is not
    /// offered.
    pub fn answered(self, token: &[u8]) -> Result<Claim> {
        let said = Directives::parse(token)?;
        if said.get("nonce")? != self.nonce {
            return Err(malformed("it answers another challenge"));
        }
        let [realm, count, uri] = [said.get("realm")?, said.get("nc")?, said.get("digest-uri")?];
        for (what, wanted, is) in
            [("realm", REALM, realm), ("nc", COUNT, count), ("digest-uri", URI, uri)]
        {
            if is != wanted.as_bytes() {
                return Err(malformed(&format!("its '{what}' is not '{wanted}'")));
            }
        }
        said.expect("qop", QOP)?;
        said.expect("charset", "utf-8")?;
        let user = said.get("username")?;
        let authzid = said.find("authzid")?;
        if authzid.is_some_and(|authzid| authzid != user) {
            return Err(malformed("who proves it is not who it is for"));
        }
        let cnonce = said.get("cnonce")?;
        if cnonce.is_empty() {
            return Err(malformed("its 'cnonce' is empty"));
        }
        let proof = said.get("response")?.try_into();
        let proof = proof.map_err(|_| malformed("its 'response' is not of 32 digits"))?;
        let terms = Terms {
            nonce: self.nonce.to_vec(),
            cnonce: cnonce.to_vec(),
            uri: uri.to_vec(),
            authzid: authzid.map(<[u8]>::to_vec),
        };
        Ok(Claim { application: application(user)?, terms, proof })
    }
}

impl Claim {
    /// The application that the client says it is.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The token that ends the exchange, if the client has proved that it knows this key. Takes the same
    /// time whatever differs.
    pub fn check(&self, key: &Key) -> Option<Bytes> {
        let right: bool = self.terms.proof(key, Side::Client).ct_eq(&self.proof).into();
        right.then(|| [b"rspauth=", &self.terms.proof(key, Side::Server)[..]].concat().into())
    }
}

fn application(user: &[u8]) -> Result<String> {
    let name = BASE64_STANDARD.decode(user).ok().and_then(|name| String::from_utf8(name).ok());
    let name = name.filter(|name| !name.is_empty());
    name.ok_or_else(|| malformed("its 'username' is not the base64 text of an application"))
}
