//! A worker that proves to itself who it is, when it looks whether executors would find it.

use bytes::Bytes;
use dunlin_base::{Env, Error, Result};
use dunlin_celeborn::frame::Frame;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, AuthType};
use dunlin_celeborn::sasl::{DIGEST_MD5, Key, answer};

use crate::net::Client;

/// An application that nobody registered, for a moment. Nobody can guess its name or its secret.
#[derive(Debug)]
pub(crate) struct Itself {
    pub(super) name: String,
    secret: String,
    chance: String,
}

impl Itself {
    /// `Retry`: the system has no entropy to give.
    pub(super) fn new(env: &Env) -> Result<Self> {
        let text = || Ok::<_, Error>(env.secret()?.map(|byte| format!("{byte:02x}")).concat());
        Ok(Self { name: format!("itself-{}", text()?), secret: text()?, chance: text()? })
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.name, &self.secret)
    }

    /// Makes a connection its own, as a client does it. `Invalid`: whoever answers there does not know
    /// the secret, and so is somebody else.
    pub(crate) async fn prove(&self, client: &Client) -> Result<()> {
        let challenge = step(client, DIGEST_MD5, Bytes::new()).await?;
        let [token, end] = answer(&challenge, (&self.name, &self.secret), &self.chance)?;
        match step(client, "", token).await? == end {
            true => Ok(()),
            false => Err(Error::invalid("somebody else answers there")),
        }
    }
}

async fn step(client: &Client, method: &str, payload: Bytes) -> Result<Bytes> {
    let (method, auth_type) = (method.to_owned(), AuthType::Connection as i32);
    let asked = Message::from(pb::SaslRequest { method, auth_type, payload });
    let body = asked.encode().to_bare()?;
    match client.ask(|id| Frame::RpcRequest(id, body)).await? {
        Frame::RpcResponse(_, token) => Ok(token),
        Frame::RpcFailure(_, text) => Err(Error::invalid(text.to_string())),
        other => {
            let kind = other.kind();
            Err(Error::invalid(format!("a proof was answered with a {kind:?} frame")))
        }
    }
}
