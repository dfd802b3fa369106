//! How a client proves which application it is, as the stock one does it.

use bytes::Bytes;
use dunlin_celeborn::frame::Frame;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, AuthType};
use dunlin_celeborn::rpc::TransportMessage;
use dunlin_celeborn::sasl::{ANONYMOUS, DIGEST_MD5, VERSION, answer};

use crate::net::Client;

type Said<T> = Result<T, String>;

/// Sends a step; its answer, or the failure's text.
pub(super) async fn said(client: &Client, message: impl Into<Message>) -> Said<Bytes> {
    let body = message.into().encode().to_bare().expect("small");
    match client.ask(|id| Frame::RpcRequest(id, body)).await.expect("an answer") {
        Frame::RpcResponse(_, body) => Ok(body),
        Frame::RpcFailure(_, text) => Err(text.to_string()),
        other => panic!("{other:?}"),
    }
}

pub(super) fn initiation() -> pb::AuthenticationInitiationRequest {
    let version = VERSION.to_owned();
    pb::AuthenticationInitiationRequest { version, auth_enabled: true, sasl_mechanisms: Vec::new() }
}

/// A step of a mechanism.
pub(super) fn sasl(method: &str, kind: AuthType, payload: Bytes) -> pb::SaslRequest {
    pb::SaslRequest { method: method.to_owned(), auth_type: kind as i32, payload }
}

/// Makes the connection that of a new application.
pub(super) async fn register(client: &Client, app: &str, secret: &str) -> Said<()> {
    let decoded = |body: Bytes| {
        let message = TransportMessage::from_bare(body).expect("a message");
        Message::decode(message).expect("known")
    };
    let Message::AuthenticationInitiationResponse(offer) =
        decoded(said(client, initiation()).await?)
    else {
        panic!("no offer")
    };
    let offers = |mechanism: &str, kind: AuthType| {
        let all = offer.sasl_mechanisms.iter();
        all.clone().any(|one| one.mechanism == mechanism && one.auth_types == [kind as i32])
    };
    assert!(offers(ANONYMOUS, AuthType::Client) && offers(DIGEST_MD5, AuthType::Connection));
    assert_eq!((offer.version.as_str(), offer.auth_enabled), (VERSION, true));
    let token = said(client, sasl(ANONYMOUS, AuthType::Client, Bytes::new())).await?;
    assert!(token.is_empty());
    let (id, secret) = (app.to_owned(), secret.to_owned());
    let registered = said(client, pb::RegisterApplicationRequest { id, secret }).await?;
    assert_eq!(decoded(registered), pb::RegisterApplicationResponse { status: true }.into());
    Ok(())
}

/// The answer of an application to a challenge of the server, not sent yet, and what the server has to
/// say to it.
pub(super) async fn challenged(client: &Client, app: &str, secret: &str) -> Said<[Bytes; 2]> {
    let first = sasl(DIGEST_MD5, AuthType::Connection, Bytes::new());
    let challenge = said(client, first).await?;
    Ok(answer(&challenge, (app, secret), "a nonce of the client").expect("a challenge"))
}

/// Makes the connection that of an application that has registered.
pub(super) async fn prove(client: &Client, app: &str, secret: &str) -> Said<()> {
    let [token, end] = challenged(client, app, secret).await?;
    let proved = said(client, sasl("", AuthType::Connection, token)).await?;
    assert_eq!(proved, end, "the server knows the secret, too");
    Ok(())
}
