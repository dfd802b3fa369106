//! What is told from what, without a connection.

use bytes::Bytes;
use dunlin_base::Kind;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, AuthType};
use dunlin_celeborn::rpc::{Content, Envelope, Form, endpoint};
use dunlin_celeborn::sasl::{ANONYMOUS, DIGEST_MD5, Key, VERSION};

use super::caller::{Caller, Identity};
use super::steps::{Stage, Step, proof_in, step};

fn initiation(version: &str) -> Message {
    pb::AuthenticationInitiationRequest { version: version.to_owned(), ..Default::default() }.into()
}

fn sasl(method: &str, kind: AuthType, payload: &'static [u8]) -> Message {
    let (method, payload) = (method.to_owned(), Bytes::from_static(payload));
    pb::SaslRequest { method, auth_type: kind as i32, payload }.into()
}

fn secret(secret: &str) -> Message {
    pb::RegisterApplicationRequest { id: "app".to_owned(), secret: secret.to_owned() }.into()
}

#[test]
fn a_registration_is_three_steps() {
    let at = |stage, message| step(stage, message, (true, [0; 16]));
    let Ok(Step::Say(_, told @ Stage::Told)) = at(Stage::New, initiation(VERSION)) else {
        panic!("no offer")
    };
    let Ok(Step::Say(token, ready)) = at(told, sasl(ANONYMOUS, AuthType::Client, b"")) else {
        panic!("not anonymous")
    };
    assert!(token.is_empty());
    let Ok(Step::Register(app, key)) = at(ready, secret("s")) else { panic!("not registered") };
    assert_eq!((app.as_str(), key), ("app", Key::new("app", "s")));
}

#[test]
fn nothing_else_is_a_step() {
    let long = "x".repeat(2000);
    let connection = || sasl(DIGEST_MD5, AuthType::Connection, b"");
    for (stage, message) in [
        (Stage::New, initiation("2.0")),
        (Stage::New, sasl(ANONYMOUS, AuthType::Client, b"")),
        (Stage::New, sasl("PLAIN", AuthType::Connection, b"")),
        (Stage::New, sasl(DIGEST_MD5, AuthType::Connection, b"at once")),
        (Stage::New, secret("s")),
        (Stage::New, pb::CheckWorkersAvailable {}.into()),
        (Stage::Told, initiation(VERSION)),
        (Stage::Told, sasl(DIGEST_MD5, AuthType::Client, b"")),
        (Stage::Told, secret("s")),
        (Stage::Registers, secret("")),
        (Stage::Registers, secret(&long)),
        (Stage::Registers, connection()),
        (Stage::Over, initiation(VERSION)),
        (Stage::Over, connection()),
        (Stage::Over, secret("s")),
    ] {
        let text = format!("{stage:?} {message:?}");
        let error = step(stage, message, (true, [0; 16])).expect_err(&text);
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
    }
    let error = step(Stage::New, initiation(VERSION), (false, [0; 16])).expect_err("a worker");
    assert!(error.message().contains("at masters"), "{error}");
}

#[test]
fn a_proof_is_told_from_an_envelope() {
    for message in [initiation(VERSION), sasl(DIGEST_MD5, AuthType::Connection, b""), secret("s")] {
        let bare = message.encode().to_bare().expect("small");
        assert_eq!(proof_in(&bare), Some(message));
        assert_eq!(proof_in(&bare.slice(..bare.len() - 1)), None, "cut");
    }
    let message = Message::from(pb::CheckWorkersAvailable {}).encode();
    assert_eq!(proof_in(&message.to_bare().expect("small")), None);
    let content = Content::Message(message, Form::Java).encode().expect("small");
    let endpoint = endpoint::MASTER.to_owned();
    let envelope = Envelope { sender: None, receiver: None, endpoint, content };
    assert_eq!(proof_in(&envelope.encode().expect("small")), None);
    assert_eq!(proof_in(&Bytes::new()), None);
}

#[test]
fn a_caller_may_ask_for_its_own_until_it_is_over() {
    let identity = Identity::new("a-1", Key::new("a-1", "s"));
    let own = Caller::Application(identity.clone());
    own.may("a-1").expect("its own");
    for (caller, application) in
        [(&own, "a"), (&own, "a-1-2"), (&own, ""), (&Caller::Stranger, "a-1")]
    {
        assert!(caller.may(application).is_err(), "{application}");
    }
    Caller::Anybody.may("a-1").expect("nobody is asked");
    identity.end();
    assert!(own.may("a-1").is_err());
}
