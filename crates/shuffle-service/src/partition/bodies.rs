//! The bodies of a partition that are in memory. Small ones are put together, in the order in which they
//! come: they leave memory together, are read together, and none costs an allocation. Pure.

use bytes::{Bytes, BytesMut};
use dunlin_proto::wire::SMALL_BODY;

/// Bytes of a piece of small bodies at most. What is written of a partition is not all of it always, and a
/// piece stays until all of its bodies have gone.
const PIECE_MAX: usize = 64 << 10;

/// Where a body is. Its length is known to whoever has this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    piece: u32,
    offset: u32,
}

/// Some bodies in one allocation, or a large one.
#[derive(Default)]
struct Piece {
    bytes: Bytes,
    /// Bodies that did not leave it.
    bodies: u32,
}

/// The bodies.
#[derive(Default)]
pub(super) struct Bodies {
    /// Those without bodies are free.
    pieces: Vec<Piece>,
    free: Vec<u32>,
    open: Option<Open>,
    /// Bytes of small bodies.
    small: usize,
}

/// The piece that takes the next small body.
struct Open {
    number: u32,
    bodies: u32,
    bytes: BytesMut,
}

impl Bodies {
    /// Takes a body. A small one is copied, so it does not keep alive what it came in.
    pub(super) fn put(&mut self, body: Bytes) -> Spot {
        let length = body.len();
        if length > SMALL_BODY {
            let piece = self.number();
            self.pieces[piece as usize] = Piece { bytes: body, bodies: 1 };
            return Spot { piece, offset: 0 };
        }
        self.small += length;
        let fits = |open: &Open| open.bytes.capacity() - open.bytes.len() >= length;
        if !self.open.as_ref().is_some_and(fits) {
            self.close();
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let number = match self.free.pop() {
                    Some(free) => free,
                    None => new(&mut self.pieces),
                };
                let bytes = BytesMut::with_capacity(room(self.small, length));
                none.insert(Open { number, bodies: 0, bytes })
            }
        };
        let spot = Spot { piece: open.number, offset: open.bytes.len() as u32 };
        open.bytes.extend_from_slice(&body);
        open.bodies += 1;
        spot
    }

    /// The body of so many bytes at this place.
    pub(super) fn get(&mut self, Spot { piece, offset }: Spot, length: usize) -> Bytes {
        if self.open.as_ref().is_some_and(|open| open.number == piece) {
            self.close();
        }
        let from = offset as usize;
        let piece = self.pieces.get(piece as usize).map(|piece| &piece.bytes);
        let body = piece.filter(|bytes| from + length <= bytes.len());
        body.map_or_else(Bytes::new, |bytes| bytes.slice(from..from + length))
    }

    /// The body at this place is not asked for any more.
    pub(super) fn remove(&mut self, spot: Spot, length: usize) {
        self.small -= if length > SMALL_BODY { 0 } else { length };
        if let Some(open) = self.open.as_mut().filter(|open| open.number == spot.piece) {
            open.bodies -= 1;
            if open.bodies > 0 {
                return;
            }
            self.open = None;
        } else if let Some(piece) = self.pieces.get_mut(spot.piece as usize) {
            piece.bodies -= 1;
            if piece.bodies > 0 {
                return;
            }
            piece.bytes = Bytes::new();
        }
        self.free.push(spot.piece);
    }

    fn number(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| new(&mut self.pieces))
    }

    /// Nothing more comes to the open piece. What it does not use is given back if that is much.
    fn close(&mut self) {
        let Some(Open { number, bodies, bytes }) = self.open.take() else { return };
        let wasted = bytes.capacity() - bytes.len();
        let bytes = match wasted > bytes.len() / 8 {
            true => Bytes::copy_from_slice(&bytes),
            false => bytes.freeze(),
        };
        self.pieces[number as usize] = Piece { bytes, bodies };
    }
}

fn new(pieces: &mut Vec<Piece>) -> u32 {
    pieces.push(Piece::default());
    pieces.len() as u32 - 1
}

/// Bytes of the next piece: for as many bodies like this as a quarter of all makes, so that what is free
/// in it is little beside what is there.
fn room(small: usize, length: usize) -> usize {
    let bodies = small / 4 / length.max(1);
    // They differ in length: the last one should not need a new piece.
    let more = if bodies > 1 { length / 4 } else { 0 };
    (bodies * length + more).min(PIECE_MAX).max(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are allocated.
    fn held(bodies: &Bodies) -> usize {
        let pieces: usize = bodies.pieces.iter().map(|piece| piece.bytes.len()).sum();
        pieces + bodies.open.as_ref().map_or(0, |open| open.bytes.capacity())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bodies_come_back_and_go(
            lengths in prop::collection::vec((0..12_000_usize, any::<u32>()), 0..300),
        ) {
            let mut bodies = Bodies::default();
            let mut there: Vec<(Spot, Vec<u8>)> = Vec::new();
            for (at, (length, choice)) in lengths.into_iter().enumerate() {
                let length = if choice % 3 == 0 { length } else { length % 500 };
                let body = vec![at as u8; length];
                there.push((bodies.put(body.clone().into()), body));
                let some = choice as usize / 8 % there.len();
                match choice % 8 {
                    0 | 1 => {
                        let (spot, body) = there.swap_remove(some);
                        bodies.remove(spot, body.len());
                    }
                    2 => {
                        let (spot, body) = &there[some];
                        prop_assert_eq!(&bodies.get(*spot, body.len())[..], &body[..]);
                    }
                    _ => {}
                }
            }
            for (spot, body) in &there {
                prop_assert_eq!(&bodies.get(*spot, body.len())[..], &body[..]);
            }
            for (spot, body) in there {
                bodies.remove(spot, body.len());
            }
            prop_assert_eq!(held(&bodies), 0, "all have gone");
            prop_assert_eq!((bodies.small, bodies.free.len()), (0, bodies.pieces.len()));
        }
    }

    #[test]
    fn small_bodies_take_little_more_than_their_bytes() {
        for length in [1_usize, 100, 1300, 5000, SMALL_BODY] {
            let (mut bodies, mut sum) = (Bodies::default(), 0);
            for number in 0..500 {
                // Some are a little longer than others.
                let length = length - length * (number % 5) / 20;
                bodies.put(vec![7; length].into());
                sum += length;
                assert!(held(&bodies) <= sum + sum / 3 + 1, "{number} of {length}");
            }
        }
    }

    #[test]
    fn a_small_body_does_not_keep_what_it_came_in() {
        let came = Bytes::from(vec![7; 1 << 20]);
        let mut bodies = Bodies::default();
        let spots: Vec<_> =
            (0..10).map(|n| bodies.put(came.slice(n * 100..n * 100 + 100))).collect();
        assert!(came.is_unique());
        let large = bodies.put(came.slice(..SMALL_BODY + 1));
        assert!(!came.is_unique(), "a large one is where it came");
        bodies.remove(large, SMALL_BODY + 1);
        assert!(came.is_unique());
        assert_eq!(&bodies.get(spots[9], 100)[..], [7; 100]);
    }
}
