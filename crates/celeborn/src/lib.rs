//! The wire protocol of Apache Celeborn, as its clients of 0.6 and 0.7 and its servers speak it, so
//! that a Spark job with the stock client can use Dunlin's shuffle. What the protocol is and what
//! was found about it: `docs/internals/celeborn.md`.
//!
//! Pure: bytes to values and back. Nothing here does I/O, reads a clock or keeps state, except
//! [`frame::Decoder`], which keeps the frame that it is in. Every decoder is bounded by the bytes
//! that it was given and by named limits, and none of them panics: what is malformed is an error of
//! kind `invalid`, and the connection that it came on is of no further use.
//!
//! From the outside in: [`frame`] is what is on every connection; [`rpc`] what is in the body of a
//! request to a control port; [`message`] which protobuf message that is; [`pb`] these messages;
//! [`push`] and [`batch`] what is in the bodies on the data ports; [`sasl`] is how a client proves
//! which application it is. The rest are the texts and numbers
//! inside: [`ids`], [`status`], [`storage`], [`location`], [`bitmap`].

pub mod batch;
pub mod bitmap;
mod field;
pub mod frame;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
pub mod ids;
pub mod location;
pub mod message;
pub mod pb;
pub mod push;
#[cfg(test)]
mod recorded;
pub mod rpc;
pub mod sasl;
pub mod status;
pub mod storage;
mod text;

pub use text::Text;
