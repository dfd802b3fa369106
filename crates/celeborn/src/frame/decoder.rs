//! Frames from a stream of bytes, piece by piece.

use bytes::{Buf, Bytes};
use dunlin_base::{Error, Result};

use super::decode;
use super::kind::{FrameType, Limits, PREAMBLE_LEN};
use super::message::{Frame, PushData, PushMergedData};

/// Puts frames together. After an error it is of no use: nothing says where the next frame begins.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    Preamble,
    Header {
        kind: FrameType,
        header_len: usize,
        body_len: usize,
    },
    /// Boxed, as it is the largest by far and the least common.
    Body {
        frame: Box<Frame>,
        body_len: usize,
    },
    Broken,
}

impl Decoder {
    /// A decoder at the start of a frame.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Preamble }
    }

    /// Other limits from the next frame on.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many bytes the next piece must have. Bounded by the type's and by the limits, whatever the
    /// other side says; never 0 before an error.
    pub fn wants(&self) -> usize {
        match &self.state {
            State::Preamble => PREAMBLE_LEN,
            State::Header { header_len, .. } => *header_len,
            State::Body { body_len, .. } => *body_len,
            State::Broken => 0,
        }
    }

    /// True between two frames: an end of the stream here cuts nothing.
    pub fn at_start(&self) -> bool {
        matches!(self.state, State::Preamble)
    }

    /// While a body is due: the frame without it. A receiver decides here whether it has room for
    /// [`Decoder::wants`] bytes, and whom they belong to.
    pub fn body_due(&self) -> Option<&Frame> {
        match &self.state {
            State::Body { frame, .. } => Some(frame),
            _ => None,
        }
    }

    /// Takes a piece of exactly [`Decoder::wants`] bytes, and gives the frame that it completes.
    /// `Invalid` says what is wrong with the frame; the piece of a body becomes that body.
    pub fn feed(&mut self, piece: Bytes) -> Result<Option<Frame>> {
        if piece.len() != self.wants() {
            self.state = State::Broken;
            return Err(Error::bug("a frame decoder was fed what it did not ask for"));
        }
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Preamble => {
                self.state = self.preamble(piece)?;
                Ok(None)
            }
            State::Header { kind, body_len, .. } => {
                let frame = decode::header(kind, piece, body_len)?;
                if body_len > 0 {
                    self.state = State::Body { frame: Box::new(frame), body_len };
                    return Ok(None);
                }
                self.state = State::Preamble;
                Ok(Some(frame))
            }
            State::Body { mut frame, .. } => {
                set_body(&mut frame, piece);
                self.state = State::Preamble;
                Ok(Some(*frame))
            }
            State::Broken => Err(Error::invalid("the stream of frames is broken")),
        }
    }

    fn preamble(&self, mut piece: Bytes) -> Result<State> {
        let (header_len, kind, body_len) = (piece.get_u32(), piece.get_u8(), piece.get_u32());
        let kind = FrameType::parse(kind)?;
        let (least, most) = kind.header_len();
        let (header_len, body_len) = (header_len as usize, body_len as usize);
        if !(least..=most).contains(&header_len) {
            return Err(Error::invalid(format!(
                "a {kind:?} frame with a header of {header_len} bytes"
            )));
        }
        let longest = kind.body_len_max(self.limits).unwrap_or(0);
        if body_len > longest {
            return Err(Error::invalid(format!(
                "a {kind:?} frame with a body of {body_len} bytes, of at most {longest}"
            )));
        }
        Ok(State::Header { kind, header_len, body_len })
    }
}

fn set_body(frame: &mut Frame, piece: Bytes) {
    match frame {
        Frame::ChunkFetchSuccess(_, body)
        | Frame::RpcRequest(_, body)
        | Frame::RpcResponse(_, body)
        | Frame::OneWay(body)
        | Frame::ReadData(_, body)
        | Frame::SubPartitionReadData(_, _, body)
        | Frame::PushData(PushData { body, .. })
        | Frame::PushMergedData(PushMergedData { body, .. }) => *body = piece,
        // `FrameType::body_len_max` gives the others none.
        _ => {}
    }
}
