//! Changes to a valid input, of the kinds that decoders trip over.

use crate::Chance;

/// Numbers at the edges of what lengths and counts can be.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// One of the inputs with up to eight changes; now and then none.
pub(crate) fn mutant(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = corpus.get(chance.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..chance.below(9) {
        change(&mut bytes, corpus, chance);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    let length = bytes.len();
    let at = chance.below(length);
    match chance.below(9) {
        _ if length == 0 => bytes.push(chance.bits() as u8),
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at] = chance.bits() as u8,
        2 => number(&mut bytes[at..], chance),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..length.min(at + chance.below(32)))),
        5 => {
            let more: Vec<u8> = (0..chance.below(32)).map(|_| chance.bits() as u8).collect();
            bytes.splice(at..at, more);
        }
        6 => {
            let copied = bytes[at..length.min(at + chance.below(256))].to_vec();
            let to = chance.below(length);
            bytes.splice(to..to, copied);
        }
        7 => bytes[at] = bytes[at].wrapping_add([1, 255][chance.below(2)]),
        // The beginning of one and the end of another.
        _ => {
            let other = &corpus[chance.below(corpus.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.below(other.len())..]);
        }
    }
}

/// Writes a number from the edges over what is there, little or big endian, two to eight bytes.
fn number(place: &mut [u8], chance: &mut Chance) {
    let value = EDGES[chance.below(EDGES.len())];
    let width = [2, 4, 8][chance.below(3)].min(place.len());
    match chance.once_in(2) {
        true => place[..width].copy_from_slice(&value.to_le_bytes()[..width]),
        false => place[..width].copy_from_slice(&value.to_be_bytes()[8 - width..]),
    }
}
