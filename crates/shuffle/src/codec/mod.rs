//! What the body of a block is. Every block is complete: any reader that knows the schema can decode
//! any block alone. Why it is as it is: `design/2026-11-28-shuffle-encoding.md`.
//!
//! [`Encoder`] and [`Decoder`] are the two ends. `body` is the frame of a body, `shape` what kinds of
//! columns a schema has, `numbers` and `texts` the encodings, `sample` how one is chosen, `source` the
//! columns of a batch as the encoder sees them, `build` the arrays that the decoder makes, `place` those
//! that stay where they lie, `compress` what a payload goes through, `message` Arrow IPC: for types that
//! have no encoding here, and for bodies of older builds.

mod body;
mod build;
mod compress;
mod decode;
mod encode;
mod message;
mod numbers;
mod place;
mod sample;
mod shape;
mod source;
mod texts;

pub use compress::Compression;
pub use decode::Decoder;
pub use encode::{Encoder, Style};
#[cfg(test)]
pub(crate) use message::MessageEncoder;

use arrow::error::ArrowError;

/// Blocks of fewer rows are decoded together with others, and written for that: nothing in them can be
/// used where it lies.
pub(crate) const FEW_ROWS: usize = 1024;

/// Encodings that may stand for more than their bytes are not used in blocks of more rows.
const UNFOLDED_ROWS_MAX: usize = 1 << 16;

/// Texts of one block that are written as less than they are have no more bytes than this.
const UNFOLDED_TEXT_MAX: usize = 4 << 20;

/// Bytes that a compressed byte may stand for; LZ4 can mean no more.
const RATIO_MAX: usize = 255;

fn malformed(why: &str) -> ArrowError {
    ArrowError::IpcError(format!("malformed body: {why}"))
}
