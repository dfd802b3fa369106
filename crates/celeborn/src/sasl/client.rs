//! The client's side of DIGEST-MD5, for tests and for tools that play a client.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use dunlin_base::Result;

use super::directives::{Directives, quoted};
use super::key::{COUNT, Key, QOP, Side, Terms};
use super::{REALM, URI};

/// The answer of an application to a challenge, and what a server says then that has the same secret.
/// `cnonce` is any text. `Invalid`: the challenge is none, or offers other things.
pub fn answer(
    challenge: &[u8],
    (application, secret): (&str, &str),
    cnonce: &str,
) -> Result<[Bytes; 2]> {
    let said = Directives::parse(challenge)?;
    for (what, wanted) in [("realm", REALM), ("qop", QOP), ("algorithm", "md5-sess")] {
        said.get(what)?;
        said.expect(what, wanted)?;
    }
    let terms = Terms {
        nonce: said.get("nonce")?.to_vec(),
        cnonce: cnonce.into(),
        uri: URI.into(),
        authzid: None,
    };
    let key = Key::new(application, secret);
    let user = BASE64_STANDARD.encode(application);
    let token = [
        format!("charset=utf-8,username=\"{user}\",realm=\"{REALM}\",nonce=").into_bytes(),
        quoted(&terms.nonce),
        format!(",nc={COUNT},cnonce=").into_bytes(),
        quoted(&terms.cnonce),
        format!(",digest-uri=\"{URI}\",maxbuf=65536,response=").into_bytes(),
        terms.proof(&key, Side::Client).to_vec(),
        format!(",qop={QOP}").into_bytes(),
    ];
    let end = [&b"rspauth="[..], &terms.proof(&key, Side::Server)].concat();
    Ok([token.concat().into(), end.into()])
}
