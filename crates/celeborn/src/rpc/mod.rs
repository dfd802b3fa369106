//! What is in the body of a request, and of its answer.
//!
//! On control ports a request is an [`Envelope`] (who asks, which endpoint), and in it a
//! [`Content`]: one of our messages or the question whether an endpoint exists. On the data ports, it
//! is a bare [`TransportMessage`]. Clients of the JVM write a content as a Java object stream; all
//! such streams that there are have constant bytes but for their values, so these are compared
//! and no Java object is ever built. An answer has no envelope, and its form is ours to choose:
//! see [`Form`].

mod content;
pub mod endpoint;
mod envelope;
mod java;
mod jutf;
mod redirect;
#[cfg(test)]
pub(crate) mod tests;
mod transport;

pub use content::{Content, Form, exists, exists_reply};
pub use envelope::{Address, Envelope};
pub use redirect::NotLeader;
pub use transport::TransportMessage;
