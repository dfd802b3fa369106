//! Frames that were changed by chance: refused or understood, within bounds, and never a panic.

use bytes::Bytes;
use dunlin_base::Kind;
use dunlin_fuzz::{Chance as Numbers, fuzz, peak_of};

use super::tests::{Chance, LIMITS, bytes_of, decode, messages};
use super::*;

/// What a decoder may hold for each byte of a frame: a header of 72 bytes becomes a block.
const UNFOLDED: usize = 8;

/// What it may hold besides: an error with its text.
const BESIDES: usize = 16 << 10;

fn corpus() -> Vec<Vec<u8>> {
    let chance = &mut Chance(9);
    (0..8).flat_map(|_| messages(chance)).map(|message| bytes_of(&message)).collect()
}

/// Makes the lengths and the checksum of the first frame right again, so that what is in it is tried.
fn mended(mut bytes: Vec<u8>, chance: &mut Numbers) -> Vec<u8> {
    if bytes.len() < PREAMBLE_LEN + CHECK_LEN {
        return bytes;
    }
    let mut preamble = [0; PREAMBLE_LEN];
    preamble.copy_from_slice(&bytes[..PREAMBLE_LEN]);
    let mut preamble = Preamble::decode(preamble);
    let rest = bytes.len() - PREAMBLE_LEN;
    if !(CHECK_LEN..=rest).contains(&(preamble.header_len as usize)) {
        preamble.header_len = rest as u32;
    }
    if chance.once_in(2) {
        preamble.body_len = (rest - preamble.header_len as usize) as u32;
    }
    bytes[..PREAMBLE_LEN].copy_from_slice(&preamble.encode());
    let header = PREAMBLE_LEN + CHECK_LEN..PREAMBLE_LEN + preamble.header_len as usize;
    let check = preamble.check(&bytes[header]).to_le_bytes();
    bytes[PREAMBLE_LEN..PREAMBLE_LEN + CHECK_LEN].copy_from_slice(&check);
    bytes
}

fn check(bytes: &[u8]) {
    let (came, peak) = peak_of(|| decode(bytes, LIMITS));
    let bound = UNFOLDED * bytes.len() + BESIDES;
    assert!(peak <= bound, "{peak} bytes for a frame of {}", bytes.len());
    match came {
        Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
        Ok(messages) => {
            for message in messages {
                let again = bytes_of(&message);
                let twice = decode(&again, LIMITS).expect("its own frame");
                assert_eq!(twice.iter().map(bytes_of).collect::<Vec<_>>(), [again]);
            }
        }
    }
}

#[test]
fn changed_frames_are_refused_or_mean_something() {
    fuzz("frames", &corpus(), 20_000, check);
}

#[test]
fn frames_with_changed_messages_are_refused_or_mean_something() {
    let mut chance = Numbers::new(1);
    fuzz("messages", &corpus(), 20_000, |bytes| check(&mended(bytes.to_vec(), &mut chance)));
}

#[test]
fn what_a_decoder_asks_for_is_bounded_whatever_it_was_fed() {
    fuzz("wants", &corpus(), 5_000, |mut bytes| {
        let mut decoder = Decoder::new(Limits::HANDSHAKE);
        while bytes.len() >= decoder.wants() && !bytes.is_empty() {
            assert!(decoder.wants() <= Limits::HANDSHAKE.header_len_max);
            let (piece, rest) = bytes.split_at(decoder.wants());
            bytes = rest;
            if decoder.feed(Bytes::copy_from_slice(piece)).is_err() {
                break;
            }
        }
    });
}
