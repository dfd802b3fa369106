//! Bytes that were changed by chance, for every decoder: refused or understood, within bounds, and
//! never a panic. What is understood has an encoding that means the same.

use bytes::Bytes;
use dunlin_base::Kind;
use dunlin_fuzz::{Counting, fuzz, peak_of};

use crate::batch::batches;
use crate::bitmap::{self, MapIds};
use crate::frame::tests::{LIMITS, bytes_of, decode, frames};
use crate::frame::{Frame, Limits, PREAMBLE_LEN, Slice, StreamId};
use crate::location::{self, Location, pack, unpack};
use crate::message::{Message, Undecoded};
use crate::push::{self, PushReply};
use crate::rpc::{Content, Envelope, NotLeader, TransportMessage, exists};
use crate::sasl::{self, Key};
use crate::{batch, pb, rpc};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a decoder may hold besides what it makes of the bytes: an error with its text.
const BESIDES: usize = 16 << 10;

fn within<T>(bytes: &[u8], each: usize, work: impl FnOnce(Bytes) -> T) -> T {
    let input = Bytes::copy_from_slice(bytes);
    let (done, peak) = peak_of(|| work(input));
    assert!(peak <= each * bytes.len() + BESIDES, "{peak} bytes for {}", bytes.len());
    done
}

fn check_frames(bytes: &[u8]) {
    match within(bytes, 64, |bytes| decode(&bytes, LIMITS)) {
        Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
        Ok(frames) => {
            let again: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
            assert_eq!(decode(&again, LIMITS).expect("its own"), frames);
        }
    }
}

#[test]
fn fuzz_frames() {
    let corpus: Vec<_> = frames().iter().map(bytes_of).collect();
    fuzz("frames of Celeborn", &corpus, 20_000, check_frames);
    // With right lengths, so that what is in the header is tried.
    fuzz("headers of Celeborn", &corpus, 20_000, |bytes| {
        let mut bytes = bytes.to_vec();
        if bytes.len() > PREAMBLE_LEN {
            let rest = (bytes.len() - PREAMBLE_LEN) as u32;
            let body = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]).min(rest - 1);
            bytes[..4].copy_from_slice(&(rest - body).to_be_bytes());
            bytes[5..9].copy_from_slice(&body.to_be_bytes());
        }
        check_frames(&bytes);
    });
}

#[test]
fn fuzz_what_a_decoder_asks_for() {
    let corpus: Vec<_> = frames().iter().map(bytes_of).collect();
    let limits = Limits { rpc_bytes_max: 100, push_bytes_max: 100, chunk_bytes_max: 100 };
    fuzz("wants of Celeborn", &corpus, 10_000, |mut bytes| {
        let mut decoder = crate::frame::Decoder::new(limits);
        while bytes.len() >= decoder.wants() && !bytes.is_empty() {
            assert!(decoder.wants() <= 24 + crate::frame::ERROR_LEN_MAX);
            assert!(decoder.body_due().is_none() || decoder.wants() <= 100);
            let (piece, rest) = bytes.split_at(decoder.wants());
            bytes = rest;
            if decoder.feed(Bytes::copy_from_slice(piece)).is_err() {
                break;
            }
        }
    });
}

#[test]
fn fuzz_envelopes_and_contents() {
    let envelopes = rpc::tests::envelopes();
    let corpus: Vec<_> = envelopes.iter().map(|e| e.encode().expect("small").to_vec()).collect();
    fuzz("envelopes of Celeborn", &corpus, 20_000, |bytes| {
        match within(bytes, 8, Envelope::decode) {
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            Ok(envelope) => {
                let again = envelope.encode().expect("as long as it was");
                assert_eq!(Envelope::decode(again).expect("its own"), envelope);
            }
        }
    });
    let corpus: Vec<_> = envelopes.iter().map(|e| e.content.to_vec()).collect();
    fuzz("contents of Celeborn", &corpus, 20_000, |bytes| {
        match within(bytes, 8, Content::decode) {
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            Ok(content) => {
                let again = content.encode().expect("as long as it was");
                assert_eq!(Content::decode(again).expect("its own"), content);
            }
        }
    });
}

#[test]
fn fuzz_answers() {
    let text = || "master:9097".to_owned();
    let not = NotLeader { message: text(), leader: text(), internal_leader: text() };
    let merged = push::tests::merged().encode_merged().expect("small");
    let all = [rpc::exists_reply(true), not.encode().expect("small"), merged];
    fuzz("answers of Celeborn", &all.map(|bytes| bytes.to_vec()), 20_000, |bytes| {
        let _ = within(bytes, 8, |bytes| exists(&bytes));
        if let Ok(not) = within(bytes, 8, NotLeader::decode) {
            let again = not.encode().expect("not longer than it was");
            assert_eq!(NotLeader::decode(again).expect("its own"), not);
        }
        if let Ok(reply) = within(bytes, 64, |bytes| PushReply::decode(&bytes)) {
            let again = reply.encode_merged().or_else(|_| reply.encode()).expect("one of the two");
            assert_eq!(PushReply::decode(&again).expect("its own"), reply);
        }
    });
}

/// Messages with something in them.
fn messages() -> Vec<Message> {
    let all = location::tests::locations();
    let plain: Vec<_> = all.iter().map(pb::PartitionLocation::from).collect();
    let reserve = pb::ReserveSlots {
        application_id: "app-1".to_owned(),
        primary_locations: plain,
        partition_locations_pair: Some(pack(&all)),
        push_data_timeout: 120_000,
        ..Default::default()
    };
    let packed = pb::PackedWorkerResource {
        location_pairs: Some(pack(&all)),
        network_location: "/default-rack".to_owned(),
    };
    let slots = pb::RequestSlotsResponse {
        packed_worker_resource: [("w1:1:2:3:4".to_owned(), packed)].into(),
        ..Default::default()
    };
    let commit = pb::CommitFiles {
        primary_ids: vec!["0-0".to_owned(), "1-0".to_owned()],
        map_attempts: vec![0, -1, 3],
        epoch: 7,
        ..Default::default()
    };
    let slice = pb::StreamChunkSlice { stream_id: 1, chunk_index: 2, offset: 3, len: i32::MAX };
    let fetch = pb::ChunkFetchRequest { stream_chunk_slice: Some(slice) };
    let mut messages = Message::examples();
    messages.extend([reserve.into(), slots.into(), commit.into(), fetch.into()]);
    messages
}

#[test]
fn fuzz_messages() {
    let bare = |message: &Message| message.encode().to_bare().expect("small").to_vec();
    let corpus: Vec<_> = messages().iter().map(bare).collect();
    fuzz("messages of Celeborn", &corpus, 30_000, |bytes| {
        let Ok(message) = within(bytes, 8, TransportMessage::from_bare) else { return };
        let number = message.number;
        // Four bytes are a worker with one user, for whom a map makes room for eleven.
        match within(bytes, 320, |_| Message::decode(message)) {
            Err(Undecoded::Unknown(same)) => assert_eq!(same, number),
            Err(Undecoded::NotServed(kind) | Undecoded::Malformed(kind, _)) => {
                assert_eq!(kind as i32, number);
            }
            Ok(message) => {
                let again = Message::decode(message.encode()).expect("its own");
                assert_eq!(again.encode(), message.encode());
                check_locations(message);
            }
        }
    });
}

fn check_locations(message: Message) {
    let Message::ReserveSlots(reserve) = message else { return };
    for plain in reserve.primary_locations {
        if let Ok(location) = Location::try_from(plain) {
            let again = Location::try_from(pb::PartitionLocation::from(&location));
            assert_eq!(again.expect("its own"), location);
        }
    }
    let Ok(all) = unpack(reserve.partition_locations_pair.unwrap_or_default()) else { return };
    let again = unpack(pack(&all)).expect("its own");
    for (location, mut again) in all.into_iter().zip(again) {
        // A path that is not below its mount point has no packed form.
        if again.copy != location.copy || again.peer != location.peer {
            again.copy.storage = location.copy.storage.clone();
        }
        assert_eq!(again.copy, location.copy);
    }
}

#[test]
fn fuzz_batches() {
    let all = [batch::tests::batch(1, 0, b"data"), batch::tests::batch(1, 1, &[7; 100])];
    let corpus = [all.concat(), all[0].clone()];
    fuzz("batches of Celeborn", &corpus, 20_000, |bytes| {
        let body = Bytes::copy_from_slice(bytes);
        let all: Vec<_> = batches(&body).collect();
        let Ok(all) = all.into_iter().collect::<Result<Vec<_>, _>>() else { return };
        assert_eq!(all.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), bytes.len());
        let begins =
            |(header, bytes): &(batch::BatchHeader, Bytes)| bytes.starts_with(&header.encode());
        assert!(all.iter().all(begins));
    });
}

#[test]
fn fuzz_sets_of_maps() {
    let runs = vec![0x3b, 0x30, 0, 0, 1, 0, 0, 4, 0, 2, 0, 3, 0, 3, 0, 9, 0, 0, 0];
    let mut corpus: Vec<_> =
        bitmap::tests::sets().iter().map(|set| set.encode().to_vec()).collect();
    corpus.push(runs);
    // A container of runs can take 8 KiB, from 13 bytes.
    fuzz("sets of maps of Celeborn", &corpus, 5_000, |bytes| {
        match within(bytes, 2_000, |bytes| MapIds::decode(&bytes)) {
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            Ok(set) => {
                assert_eq!(MapIds::decode(&set.encode()).expect("its own"), set);
            }
        }
    });
}

#[test]
fn fuzz_proofs() {
    let corpus = [sasl::tests::right(), sasl::tests::challenge().to_bytes().to_vec()];
    let key = Key::new("app", "secret");
    // A directive is four bytes at least, and a name and a value in memory of their own.
    fuzz("proofs of Celeborn", &corpus, 20_000, |bytes| {
        match within(bytes, 64, |bytes| sasl::tests::challenge().answered(&bytes)) {
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            Ok(claim) => assert!(claim.check(&key).is_none() && !claim.application().is_empty()),
        }
        let _ = within(bytes, 64, |bytes| sasl::answer(&bytes, ("app", "secret"), "x").map(drop));
    });
}

#[test]
fn fuzz_names() {
    use crate::ids::{FileName, PartitionKey, ShuffleKey, WorkerId};
    let corpus = ["app-1-0", "0-0", "0-0-1", "host:1:2:3:4"].map(|text| text.as_bytes().to_vec());
    fuzz("names of Celeborn", &corpus, 20_000, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let same =
            |again: Option<String>| assert!(again.is_none_or(|again| again == text), "{text}");
        same(text.parse::<ShuffleKey>().ok().map(|name| name.to_string()));
        same(text.parse::<PartitionKey>().ok().map(|name| name.to_string()));
        same(text.parse::<FileName>().ok().map(|name| name.to_string()));
        same(text.parse::<WorkerId>().ok().map(|name| name.to_string()));
    });
}

#[test]
fn a_request_for_a_chunk_is_a_slice_of_four_numbers() {
    let slice = Slice::whole(StreamId(1), 0);
    assert_eq!((slice.offset, slice.len), (0, i32::MAX));
    assert_eq!(bytes_of(&Frame::ChunkFetchRequest(slice)).len(), PREAMBLE_LEN + 20);
}
