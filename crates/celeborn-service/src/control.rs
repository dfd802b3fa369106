//! A control port: envelopes with messages for an endpoint, whether of a master or of a worker.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_celeborn::frame::{Frame, RequestId};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::rpc::{self, Content, Envelope, Form, endpoint, exists_reply};

use crate::auth::Caller;
use crate::net::{Client, Connection, Service};

/// What answers the messages of a control port.
#[async_trait]
pub(crate) trait Endpoint: Send + Sync + 'static {
    /// Whether an endpoint of this name is here.
    fn is(&self, name: &str) -> bool;

    /// The answer to a message of someone who may ask for what it names. An error is sent to the client
    /// as the failure of its request.
    async fn handle(&self, caller: &Caller, message: Message) -> Result<Message>;
}

/// An endpoint behind a port.
pub(crate) struct Control<E>(pub(crate) Arc<E>);

#[async_trait]
impl<E: Endpoint> Service for Control<E> {
    async fn answer(&self, connection: &Arc<Connection>, frame: Frame) -> Result<()> {
        match frame {
            Frame::RpcRequest(id, body) => self.request(connection, id, body).await,
            // No client of 0.6 or 0.7 sends any.
            Frame::OneWay(_) => Ok(()),
            other => {
                let kind = other.kind();
                Err(Error::invalid(format!("a {kind:?} frame came to a control port")))
            }
        }
    }

    fn ended(&self, _connection: u64) {}
}

impl<E: Endpoint> Control<E> {
    async fn request(&self, to: &Arc<Connection>, id: RequestId, body: Bytes) -> Result<()> {
        let envelope = Envelope::decode(body)?;
        match self.reply(&to.caller(), envelope).await {
            Ok(reply) => to.respond(id, reply),
            Err(error) => {
                tracing::debug!(client = ?to, %error, "a request of a Celeborn client failed");
                to.fail(id, error.to_string());
            }
        }
        Ok(())
    }

    async fn reply(&self, caller: &Caller, envelope: Envelope) -> Result<Bytes> {
        let name = envelope.endpoint;
        match Content::decode(envelope.content)? {
            Content::CheckExistence(wanted) if name == endpoint::VERIFIER => {
                Ok(exists_reply(wanted == endpoint::VERIFIER || self.0.is(&wanted)))
            }
            Content::CheckExistence(_) => {
                Err(Error::invalid(format!("'{name}' does not know which endpoints there are")))
            }
            Content::Message(message, form) if self.0.is(&name) => {
                let message = Message::decode(message)?;
                if let Some(application) = message.application() {
                    caller.may(application)?;
                }
                let answer = self.0.handle(caller, message).await?.encode();
                Content::Message(answer, answered_in(form)).encode()
            }
            Content::Message(..) => {
                Err(Error::invalid(format!("there is no endpoint '{name}' here")))
            }
        }
    }
}

/// Asks a control port whether an endpoint is there.
pub(crate) async fn exists(client: &Client, name: &str) -> Result<bool> {
    let content = Content::CheckExistence(name.to_owned()).encode()?;
    let endpoint = endpoint::VERIFIER.to_owned();
    let envelope = Envelope { sender: None, receiver: None, endpoint, content };
    let body = envelope.encode()?;
    match client.ask(|id| Frame::RpcRequest(id, body)).await? {
        Frame::RpcResponse(_, reply) => rpc::exists(&reply),
        Frame::RpcFailure(_, text) => Err(Error::invalid(text.to_string())),
        other => {
            let kind = other.kind();
            Err(Error::invalid(format!("a request was answered with a {kind:?} frame")))
        }
    }
}

/// The form that a client reads which wrote that one.
fn answered_in(form: Form) -> Form {
    match form {
        Form::OldJava => Form::OldJava,
        Form::Plain | Form::Java => Form::Plain,
    }
}
