//! Envelopes and contents in every form there and back, and bytes that are none.

use bytes::Bytes;
use dunlin_base::Kind;

use super::*;

const FORMS: [Form; 3] = [Form::Plain, Form::Java, Form::OldJava];

pub(crate) fn contents() -> Vec<Content> {
    let message = |number, payload: &'static [u8]| {
        FORMS.map(|form| {
            let payload = Bytes::from_static(payload);
            Content::Message(TransportMessage { number, payload }, form)
        })
    };
    let check = Content::CheckExistence(endpoint::MASTER.to_owned());
    message(53, b"").into_iter().chain(message(6, b"slots")).chain([check]).collect()
}

pub(crate) fn envelopes() -> Vec<Envelope> {
    let address = |host: &str| Some(Address { host: host.to_owned(), port: 9097 });
    let envelope = |content: &Content| Envelope {
        sender: address("driver"),
        receiver: address("master"),
        endpoint: endpoint::MASTER.to_owned(),
        content: content.encode().expect("small"),
    };
    let mut envelopes: Vec<_> = contents().iter().map(envelope).collect();
    envelopes[0].sender = None;
    envelopes
}

#[test]
fn envelopes_and_contents_come_back_from_their_bytes() {
    for envelope in envelopes() {
        let bytes = envelope.encode().expect("small");
        assert_eq!(Envelope::decode(bytes).expect("its own"), envelope);
    }
    for content in contents() {
        let bytes = content.encode().expect("small");
        assert_eq!(Content::decode(bytes).expect("its own"), content);
    }
}

#[test]
fn the_lengths_of_the_java_templates_are_those_of_the_specification() {
    assert_eq!((java::MESSAGE_HEAD.len(), java::MESSAGE_TAIL.len()), (191, 107));
    assert_eq!(java::PAYLOAD.len(), 19);
    let check = Content::CheckExistence("MasterEndpoint".to_owned());
    assert_eq!(check.encode().expect("small").len(), 137);
    assert_eq!(exists_reply(true).len(), 47);
}

#[test]
fn an_endpoint_exists_or_it_does_not() {
    for answer in [true, false] {
        assert_eq!(exists(&exists_reply(answer)).expect("its own"), answer);
    }
    for reply in [&b""[..], &exists_reply(true)[..46], &[&exists_reply(true)[..], b"x"].concat()] {
        assert_eq!(exists(reply).expect_err("malformed").kind(), Kind::Invalid);
    }
}

#[test]
fn a_java_message_without_a_payload_is_one_with_an_empty_payload() {
    let bytes = [java::MESSAGE_HEAD, &40_i32.to_be_bytes(), b"p", java::MESSAGE_TAIL].concat();
    let none = TransportMessage { number: 40, payload: Bytes::new() };
    let content = Content::decode(bytes.into()).expect("as Java writes it");
    assert_eq!(content, Content::Message(none, Form::Java));
}

#[test]
fn java_objects_of_other_classes_are_refused_by_name() {
    let bytes = Bytes::from_static(b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07");
    let error = Content::decode(bytes).expect_err("not ours");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().ends_with("java.util.HashMap"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("0.6 and 0.7")));
    for bytes in [&b""[..], b"GET / HTTP/1.1", b"\xac\xed\x00\x05sr\xff\xffx"] {
        assert_eq!(
            Content::decode(Bytes::from_static(bytes)).expect_err("no").kind(),
            Kind::Invalid
        );
    }
}

#[test]
fn every_content_that_is_cut_or_longer_is_refused() {
    for content in contents() {
        let whole = content.encode().expect("small");
        for end in 0..whole.len() {
            assert!(Content::decode(whole.slice(..end)).is_err(), "{end} of {content:?}");
        }
        assert!(Content::decode([&whole[..], b"x"].concat().into()).is_err());
    }
}

#[test]
fn a_redirect_comes_back_from_its_bytes() {
    let not = NotLeader {
        message: "Master:a:1 is not the leader.".to_owned(),
        leader: "b:2".to_owned(),
        internal_leader: "c:3".to_owned(),
    };
    let bytes = not.encode().expect("small");
    assert_eq!(NotLeader::decode(bytes.clone()).expect("its own"), not);
    for end in 0..bytes.len() {
        assert!(NotLeader::decode(bytes.slice(..end)).is_err());
    }
}

#[test]
fn bare_messages_have_the_length_that_they_say() {
    let message = TransportMessage { number: 51, payload: Bytes::from_static(b"open") };
    let bytes = message.to_bare().expect("small");
    assert_eq!(bytes[..], *b"\0\0\0\x33\0\0\0\x04open");
    assert_eq!(TransportMessage::from_bare(bytes.clone()).expect("its own"), message);
    assert!(TransportMessage::from_bare(bytes.slice(..11)).is_err());
    assert!(TransportMessage::from_bare([&bytes[..], b"x"].concat().into()).is_err());
}
