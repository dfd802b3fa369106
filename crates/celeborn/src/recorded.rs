//! Frames that real clients and servers said to each other, one of each kind: read, and written again as
//! they were. `tests/celeborn/README.md` says how they came about.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::frame::{Decoder, Frame, Limits};
use crate::message::Message;
use crate::push::PushReply;
use crate::rpc::{Content, Envelope, Form, TransportMessage};

const ALL: Limits =
    Limits { rpc_bytes_max: 1 << 20, push_bytes_max: 1 << 20, chunk_bytes_max: 1 << 20 };

/// A frame, and what its recorder found out about it.
struct Recorded {
    name: String,
    port: String,
    form: String,
    /// The number of the message in it, if there is one.
    message: Option<i32>,
    bytes: Bytes,
}

fn recorded() -> Vec<Recorded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/celeborn/golden");
    let clients = std::fs::read_dir(&root).expect("recordings");
    let mut folders: Vec<PathBuf> = clients.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    let of = |folder: &PathBuf| {
        let index = std::fs::read_to_string(folder.join("index.tsv")).expect("an index");
        let read = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let name = format!("{}/{}", folder.display(), fields[0]);
            let bytes = std::fs::read(&name).expect("a recording").into();
            let (port, form) = (fields[1].to_owned(), fields[4].to_owned());
            Recorded { name, port, form, message: fields[5].parse().ok(), bytes }
        };
        index.lines().skip(1).map(read).collect::<Vec<_>>()
    };
    folders.iter().flat_map(of).collect()
}

fn frame(bytes: &Bytes) -> Frame {
    let (mut decoder, mut left) = (Decoder::new(ALL), bytes.clone());
    loop {
        let piece = left.split_to(decoder.wants());
        if let Some(frame) = decoder.feed(piece).expect("a frame") {
            assert!(left.is_empty(), "one frame in each file");
            return frame;
        }
    }
}

/// The message in a frame, with the bytes that it was in written again. `None`: there is none.
fn message(frame: &Frame, recorded: &Recorded) -> Option<TransportMessage> {
    recorded.message?;
    let (Frame::RpcRequest(_, body) | Frame::RpcResponse(_, body)) = frame else { return None };
    if recorded.form != "java" {
        let message = TransportMessage::from_bare(body.clone()).expect("a bare message");
        assert_eq!(message.to_bare().expect("small"), body, "{}", recorded.name);
        return Some(message);
    }
    let content = match frame {
        Frame::RpcRequest(..) => {
            let envelope = Envelope::decode(body.clone()).expect("an envelope");
            assert_eq!(envelope.encode().expect("small"), body, "{}", recorded.name);
            envelope.content
        }
        _ => body.clone(),
    };
    let decoded = Content::decode(content.clone()).expect("a content");
    let again = decoded.encode().expect("small");
    let Content::Message(message, Form::Java | Form::OldJava) = decoded else {
        panic!("{}: {decoded:?}", recorded.name)
    };
    // Java may write none where we write an array of no bytes; both are read as this.
    assert!(again == content || message.payload.is_empty(), "{}", recorded.name);
    Some(message)
}

#[test]
fn frames_are_written_again_as_they_were() {
    let all = recorded();
    assert!(all.len() > 80, "two clients were recorded");
    for one in &all {
        let again = frame(&one.bytes).encode().expect("small").to_bytes();
        assert_eq!(again, one.bytes, "{}", one.name);
    }
}

#[test]
fn messages_mean_what_the_recorder_found_and_come_back() {
    let mut kinds = std::collections::BTreeSet::new();
    for one in recorded() {
        let Some(sent) = message(&frame(&one.bytes), &one) else { continue };
        assert_eq!(Some(sent.number), one.message, "{}", one.name);
        let meant = Message::decode(sent.clone()).unwrap_or_else(|e| panic!("{}: {e:?}", one.name));
        let again = meant.encode();
        // The order of a map is nobody's; all else has one encoding.
        assert_eq!(again.payload.len(), sent.payload.len(), "{}", one.name);
        assert_eq!(Message::decode(again).expect("its own"), meant, "{}", one.name);
        kinds.insert(sent.number);
    }
    assert!(kinds.len() >= 20, "{kinds:?}");
}

#[test]
fn answers_to_pushes_are_those_that_we_would_write() {
    let mut seen = 0;
    for one in recorded().iter().filter(|one| one.name.contains("push-") && one.port != "master") {
        let Frame::RpcResponse(_, body) = frame(&one.bytes) else { continue };
        let reply = PushReply::decode(&body).unwrap_or_else(|e| panic!("{}: {e}", one.name));
        let again = match one.name.contains("merged") {
            true => reply.encode_merged(),
            false => reply.encode(),
        };
        assert_eq!(again.expect("one of ours"), body, "{}", one.name);
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}
