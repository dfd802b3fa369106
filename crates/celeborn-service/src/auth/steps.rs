//! What a client that proves who it is says, in which order, and what it is told.

use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_celeborn::message::{Message, MessageType};
use dunlin_celeborn::pb::{self, AuthType};
use dunlin_celeborn::rpc::TransportMessage;
use dunlin_celeborn::sasl::{ANONYMOUS, Challenge, Claim, DIGEST_MD5, Key, VERSION};

/// A text of a client that is longer is no secret: theirs have 44 letters.
const SECRET_LEN_MAX: usize = 1024;

/// How far a connection is.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    #[default]
    New,
    /// It knows what is offered.
    Told,
    /// It may register an application.
    Registers,
    Challenged(Challenge),
    /// A step is being taken or has failed: there is no other.
    Over,
}

/// What is to be done about a message.
#[derive(Debug)]
pub(crate) enum Step {
    /// Answer with these bytes; it is there then.
    Say(Bytes, Stage),
    /// Make this its application, with this key.
    Register(String, Key),
    /// Find out whether it is who it says.
    Check(Claim),
}

/// The message of a proof in the body of a request, if that is what it is. No envelope begins like one.
pub(crate) fn proof_in(body: &Bytes) -> Option<Message> {
    let number = i32::from_be_bytes(body.get(..4)?.try_into().ok()?);
    let those = [
        MessageType::SaslRequest,
        MessageType::AuthenticationInitiationRequest,
        MessageType::RegisterApplicationRequest,
    ];
    those.iter().find(|kind| **kind as i32 == number)?;
    Message::decode(TransportMessage::from_bare(body.clone()).ok()?).ok()
}

/// What a client is told that proves something where nobody asks.
pub(crate) fn unasked() -> Error {
    Error::invalid("this server does not ask clients which application they are").with_hint(
        "set spark.celeborn.auth.enabled to false, or start masters and workers with --celeborn-auth",
    )
}

/// The next step of a connection. `registers`: applications can be registered here. `Invalid`: it is not
/// what comes next, or not what is offered; the connection can prove nothing any more.
pub(crate) fn step(
    stage: Stage,
    message: Message,
    (registers, random): (bool, [u8; 16]),
) -> Result<Step> {
    match (stage, message) {
        (_, Message::AuthenticationInitiationRequest(_)) if !registers => {
            Err(Error::invalid("applications are registered at masters"))
        }
        (Stage::New, Message::AuthenticationInitiationRequest(asked)) => match &*asked.version {
            VERSION => Ok(Step::Say(offer()?, Stage::Told)),
            other => Err(Error::invalid(format!("version {other:?} of a proof is not known"))),
        },
        (Stage::Told, Message::SaslRequest(asked)) if is(&asked, AuthType::Client, ANONYMOUS) => {
            Ok(Step::Say(Bytes::new(), Stage::Registers))
        }
        (Stage::Registers, Message::RegisterApplicationRequest(asked)) => {
            if asked.secret.is_empty() || asked.secret.len() > SECRET_LEN_MAX {
                return Err(Error::invalid("the secret of an application is empty or too long"));
            }
            Ok(Step::Register(asked.id.clone(), Key::new(&asked.id, &asked.secret)))
        }
        (Stage::New, Message::SaslRequest(asked))
            if is(&asked, AuthType::Connection, DIGEST_MD5) && asked.payload.is_empty() =>
        {
            let challenge = Challenge::new(random);
            Ok(Step::Say(challenge.to_bytes(), Stage::Challenged(challenge)))
        }
        (Stage::Challenged(challenge), Message::SaslRequest(asked))
            if asked.auth_type() == AuthType::Connection =>
        {
            challenge.answered(&asked.payload).map(Step::Check)
        }
        (_, message) => {
            let kind = message.kind().name();
            Err(Error::invalid(format!("a {kind} is not what comes next in a proof")))
        }
    }
}

fn is(asked: &pb::SaslRequest, kind: AuthType, method: &str) -> bool {
    asked.auth_type() == kind && asked.method == method
}

/// What can be proved here, and how.
fn offer() -> Result<Bytes> {
    let way = |mechanism: &str, kind: AuthType| pb::SaslMechanism {
        mechanism: mechanism.to_owned(),
        auth_types: vec![kind as i32],
    };
    let offer = pb::AuthenticationInitiationResponse {
        version: VERSION.to_owned(),
        auth_enabled: true,
        sasl_mechanisms: vec![
            way(ANONYMOUS, AuthType::Client),
            way(DIGEST_MD5, AuthType::Connection),
        ],
    };
    Message::from(offer).encode().to_bare()
}

/// The answer to a registration that succeeded.
pub(super) fn registered() -> Result<Bytes> {
    Message::from(pb::RegisterApplicationResponse { status: true }).encode().to_bare()
}
