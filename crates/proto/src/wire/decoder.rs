//! Frames from a stream of bytes, piece by piece. Whoever owns the socket asks how many bytes are
//! wanted, reads exactly these into memory of their own, and feeds them.

use bytes::Bytes;
use dunlin_base::{ByteCount, Error, Result};

use crate::block::Block;
use crate::shuffle::Push;

use super::decode::{Carrier, Parsed, parse};
use super::frame::{CHECK_LEN, FrameType, HEADER_LEN_MAX, PREAMBLE_LEN, Preamble};
use super::message::{Answer, Ask, Hears, Message, RequestId};

/// Bodies up to this many bytes come in one piece with those after them, and share its memory. A reader
/// lets go of them together; a worker, where what is pushed stays for long, copies them out of it.
pub const SMALL_BODY: usize = 8 << 10;

/// Bytes of such a piece.
const PIECE_MAX: usize = 256 << 10;

/// What a decoder takes and an encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a header section.
    pub header_len_max: usize,
    /// Bytes of a body.
    pub body_len_max: usize,
}

impl Limits {
    /// Before both sides know each other: small, and no bodies.
    pub const HANDSHAKE: Self = Self { header_len_max: 8 * 1024, body_len_max: 0 };

    /// After the handshake.
    pub fn with_bodies(body_max: ByteCount) -> Self {
        Self { header_len_max: HEADER_LEN_MAX, body_len_max: body_max.as_usize() }
    }
}

/// Puts frames together. After an error it is of no use: nothing says where the next frame begins.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    frame_len: usize,
}

#[derive(Debug)]
enum State {
    Preamble,
    Header(FrameType, Preamble),
    Bodies(Bodies),
    Broken,
}

/// A frame of blocks whose bodies come one after the other.
#[derive(Debug)]
struct Bodies {
    of: Carrier,
    request: RequestId,
    blocks: Vec<Block>,
    lengths: Vec<usize>,
    /// Blocks that have their body.
    done: usize,
    /// Those that get it with the next piece, and the length of that.
    due: usize,
    piece: usize,
    total: usize,
}

impl Bodies {
    /// Finds what comes next. False if nothing does.
    fn go_on(&mut self) -> bool {
        let left = &self.lengths[self.done..];
        let (mut due, mut piece) = (1, left.first().copied().unwrap_or(0));
        if piece <= SMALL_BODY {
            for length in &left[1.min(left.len())..] {
                if *length > SMALL_BODY || piece + length > PIECE_MAX {
                    break;
                }
                due += 1;
                piece += length;
            }
        }
        (self.due, self.piece) = (due, piece);
        !left.is_empty()
    }

    fn take(&mut self, mut piece: Bytes) {
        let lengths = &self.lengths[self.done..self.done + self.due];
        for (block, length) in self.blocks[self.done..].iter_mut().zip(lengths) {
            block.body = piece.split_to(*length);
        }
        self.done += self.due;
    }
}

impl Decoder {
    /// A decoder at the start of a frame.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Preamble, frame_len: 0 }
    }

    /// Other limits for the frames to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many bytes the next piece must have; 0 for the body of an empty block. Bounded by the
    /// limits, whatever the peer says.
    pub fn wants(&self) -> usize {
        match &self.state {
            State::Preamble => PREAMBLE_LEN,
            State::Header(_, preamble) => preamble.header_len as usize,
            State::Bodies(bodies) => bodies.piece,
            State::Broken => 0,
        }
    }

    /// True between two frames: an end of the stream here cuts nothing.
    pub fn at_start(&self) -> bool {
        matches!(self.state, State::Preamble)
    }

    /// While bodies are due: the length of the whole frame and of all of its bodies. A receiver
    /// decides here whether it has room for them.
    pub fn bodies_due(&self) -> Option<(usize, usize)> {
        match &self.state {
            State::Bodies(bodies) => Some((self.frame_len, bodies.total)),
            _ => None,
        }
    }

    /// While the bodies of a push are due: whether another worker is to store them, too, before it is
    /// answered.
    pub fn names_peer(&self) -> bool {
        let State::Bodies(bodies) = &self.state else { return false };
        matches!(bodies.of, Carrier::Push(Push { peer: Some(_), .. }, _))
    }

    /// While the bodies of a push are due: which one it is, if its client is to be told that it waits.
    pub fn tells_waiting(&self) -> Option<RequestId> {
        let State::Bodies(bodies) = &self.state else { return None };
        matches!(bodies.of, Carrier::Push(_, Hears::Waiting)).then_some(bodies.request)
    }

    /// The length of the frame that ended with the last message.
    pub fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Takes a piece of exactly [`Decoder::wants`] bytes, and gives the message that it completes.
    /// `Invalid` says what is wrong with the frame.
    pub fn feed(&mut self, piece: Bytes) -> Result<Option<Message>> {
        if piece.len() != self.wants() {
            self.state = State::Broken;
            return Err(Error::bug("a frame decoder was fed what it did not ask for"));
        }
        // Where it is: there may be very many of them.
        if let State::Bodies(bodies) = &mut self.state {
            bodies.take(piece);
            return Ok(if bodies.go_on() { None } else { self.end() });
        }
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Preamble => self.preamble(&piece).map(|()| None),
            State::Header(kind, preamble) => self.header(kind, preamble, piece),
            State::Bodies(_) | State::Broken => {
                Err(Error::invalid("the stream of frames is broken"))
            }
        }
    }

    fn preamble(&mut self, piece: &[u8]) -> Result<()> {
        let mut bytes = [0; PREAMBLE_LEN];
        bytes.copy_from_slice(piece);
        let preamble = Preamble::decode(bytes);
        let kind = FrameType::parse(preamble.kind)?;
        let header_len = preamble.header_len as usize;
        if !(CHECK_LEN..=self.limits.header_len_max).contains(&header_len) {
            return Err(Error::invalid(format!(
                "a {kind:?} frame with a header of {header_len} bytes"
            )));
        }
        let body_max = if kind.has_body() { self.limits.body_len_max } else { 0 };
        if preamble.body_len as usize > body_max {
            let length = preamble.body_len;
            return Err(Error::invalid(format!("a {kind:?} frame with a body of {length} bytes")));
        }
        self.frame_len = PREAMBLE_LEN + header_len + preamble.body_len as usize;
        self.state = State::Header(kind, preamble);
        Ok(())
    }

    fn header(
        &mut self,
        kind: FrameType,
        preamble: Preamble,
        mut piece: Bytes,
    ) -> Result<Option<Message>> {
        let check = piece.split_to(CHECK_LEN);
        if check[..] != preamble.check(&piece).to_le_bytes() {
            return Err(Error::invalid(format!("the header of a {kind:?} frame is corrupt")));
        }
        let body_len = preamble.body_len as usize;
        match parse(kind, piece)? {
            Parsed::Whole(message) => {
                self.state = State::Preamble;
                Ok(Some(message))
            }
            Parsed::Blocks { request, of, blocks, lengths } => {
                let total = lengths.iter().fold(0_usize, |sum, n| sum.saturating_add(*n));
                if total != body_len {
                    let text = format!("a {kind:?} frame of {body_len} bytes names {total}");
                    return Err(Error::invalid(text));
                }
                let (done, due, piece) = (0, 0, 0);
                let mut bodies = Bodies { of, request, blocks, lengths, done, due, piece, total };
                let some = bodies.go_on();
                self.state = State::Bodies(bodies);
                Ok(if some { None } else { self.end() })
            }
        }
    }

    /// The message whose bodies have all come.
    fn end(&mut self) -> Option<Message> {
        let State::Bodies(bodies) = std::mem::replace(&mut self.state, State::Preamble) else {
            return None;
        };
        let Bodies { of, request, blocks, .. } = bodies;
        Some(match of {
            Carrier::Push(push, hears) => {
                Message::Ask(request, Ask::Push(Push { blocks, ..push }, hears))
            }
            Carrier::Read => Message::Answer(request, Answer::Blocks(blocks)),
        })
    }
}
