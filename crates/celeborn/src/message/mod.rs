//! Which protobuf message a number stands for.

mod about;
mod kind;
#[cfg(test)]
mod tests;
mod typed;

pub use kind::MessageType;
pub use typed::{Message, Undecoded};
