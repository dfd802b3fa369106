//! Frames: what is on a connection, whatever port it is to. Nine bytes say how long the header
//! section and the body are, and which type of frame it is.
//!
//! [`kind`](FrameType) has the types and how long each may be, [`Frame`] what they say,
//! [`Decoder`] the order of the pieces. Who owns the socket asks the decoder how many bytes it
//! wants, reads exactly these into memory of their own, and feeds them; a body is never copied.

mod decode;
mod decoder;
mod encode;
mod kind;
mod legacy;
mod message;
#[cfg(test)]
pub(crate) mod tests;

pub use decoder::Decoder;
pub use encode::Encoded;
pub use kind::{
    ERROR_LEN_MAX, FrameType, Limits, MERGED_HEADER_LEN_MAX, PREAMBLE_LEN, TEXT_LEN_MAX,
};
pub use legacy::{Legacy, Open, Region};
pub use message::{Frame, Mode, PushData, PushMergedData, RequestId, Slice, StreamId};
