//! Numbers and payloads, known and not.

use std::collections::HashSet;

use bytes::Bytes;
use dunlin_base::{Error, Kind};

use super::*;
use crate::pb;
use crate::rpc::TransportMessage;

fn message(number: i32, payload: &'static [u8]) -> TransportMessage {
    TransportMessage { number, payload: Bytes::from_static(payload) }
}

#[test]
fn messages_of_every_type_come_back_from_their_bytes() {
    let mut numbers = HashSet::new();
    for example in Message::examples() {
        let sent = example.encode();
        assert!(numbers.insert(sent.number), "{:?} twice", example.kind());
        assert_eq!(Message::decode(sent).expect("its own"), example);
    }
}

#[test]
fn numbers_that_are_not_for_a_server_are_told_from_unknown_ones() {
    let served: HashSet<_> = Message::examples().iter().map(Message::kind).collect();
    for number in -1..200 {
        match (MessageType::of_number(number), Message::decode(message(number, b""))) {
            (None, Err(Undecoded::Unknown(same))) => assert_eq!(same, number),
            (Some(kind), Err(Undecoded::NotServed(same))) => {
                assert_eq!(kind, same);
                assert!(!served.contains(&kind));
            }
            (Some(kind), Ok(message)) => assert_eq!(kind, message.kind()),
            other => panic!("{number}: {other:?}"),
        }
    }
}

#[test]
fn a_malformed_payload_names_its_message() {
    let undecoded = Message::decode(message(6, b"\x0a\x05ab")).expect_err("is cut");
    let error = Error::from(undecoded);
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().starts_with("a REQUEST_SLOTS is malformed"), "{error}");
}

/// Field 2 is the only one of this message upstream, too.
#[test]
fn the_answers_to_a_batch_of_opens_are_in_field_two() {
    let stream_handler_opt = vec![pb::StreamHandlerOpt { status: 51, ..Default::default() }];
    let sent = Message::from(pb::OpenStreamListResponse { stream_handler_opt }).encode();
    assert_eq!((sent.number, &sent.payload[..]), (81, &b"\x12\x02\x08\x33"[..]));
}

#[test]
fn fields_of_later_versions_are_skipped() {
    let sent = message(54, b"\x08\x01\xa2\x06\x03new");
    let got = Message::decode(sent).expect("a known part");
    assert_eq!(got, pb::CheckWorkersAvailableResponse { available: true }.into());
}

#[test]
fn names_are_those_of_celeborn() {
    assert_eq!(MessageType::ALL.len(), 88);
    assert_eq!(MessageType::BatchOpenStream.name(), "BATCH_OPEN_STREAM");
    let distinct: HashSet<_> = MessageType::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(distinct.len(), MessageType::ALL.len());
}

#[test]
fn requests_say_whose_they_are_and_keys_of_shuffles_do_too() {
    let whose = |message: Message| message.application().map(str::to_owned);
    let slots = pb::RequestSlots { application_id: "a-1".to_owned(), ..Default::default() };
    assert_eq!(whose(slots.into()).as_deref(), Some("a-1"));
    let open = pb::OpenStream { shuffle_key: "a-1-7".to_owned(), ..Default::default() };
    assert_eq!(whose(open.into()).as_deref(), Some("a-1"));
    let open = pb::OpenStream { shuffle_key: "a".to_owned(), ..Default::default() };
    assert_eq!(whose(open.into()).as_deref(), Some("a"));
    assert_eq!(whose(pb::CheckWorkersAvailable {}.into()), None);
}

#[test]
fn secrets_are_not_shown() {
    let (id, secret) = ("app".to_owned(), "hidden".to_owned());
    let request = pb::RegisterApplicationRequest { id: id.clone(), secret: secret.clone() };
    let meta = pb::ApplicationMeta { app_id: id, secret };
    assert!(!format!("{request:?}{meta:?}").contains("hidden"));
}
