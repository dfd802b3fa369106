//! The frames between the two halves of the shuffle: layout, messages, and a decoder that is fed
//! by whoever owns the socket. Nothing here does I/O or copies a block's body.
//!
//! `frame` is the layout, `message` what can be said, `encode` and `decode` the way between the
//! two, [`Decoder`] the order of the pieces, `failure` how an error travels.

mod decode;
mod decoder;
mod encode;
mod failure;
mod frame;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod message;
#[cfg(test)]
mod tests;

/// Header messages. Generated from `proto/wire.proto`, which documents every field.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/dunlin.wire.v1.rs"));
}

pub use decoder::{Decoder, Limits, SMALL_BODY};
pub use frame::{CHECK_LEN, FrameType, HEADER_LEN_MAX, PREAMBLE_LEN, Preamble};
pub use message::{
    Answer, Ask, Hears, Hello, Message, RequestId, Terms, VERSION, Welcome, block_size,
    blocks_size, size_of_body,
};
