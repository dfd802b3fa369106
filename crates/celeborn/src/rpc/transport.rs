//! A message as a number and its protobuf bytes, which all forms carry alike.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::Result;

use crate::field::{Fields, length};

/// A message whose meaning [`Message::decode`](crate::message::Message::decode) finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportMessage {
    /// The number of the type, known or not.
    pub number: i32,
    /// The protobuf bytes. Java tells none from empty ones; protobuf does not.
    pub payload: Bytes,
}

impl TransportMessage {
    /// The message in the body of a request to a data port. `Invalid` if the length in it is not that
    /// of what follows.
    pub fn from_bare(body: Bytes) -> Result<Self> {
        let mut fields = Fields::new("a message", body);
        let number = fields.i32()?;
        let payload = fields.bytes()?;
        fields.end()?;
        Ok(Self { number, payload })
    }

    /// The bytes that [`TransportMessage::from_bare`] reads.
    pub fn to_bare(&self) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(self.payload.len() + 8);
        self.put_bare(&mut bytes)?;
        Ok(bytes.freeze())
    }

    pub(crate) fn put_bare(&self, into: &mut BytesMut) -> Result<()> {
        into.put_i32(self.number);
        into.put_i32(length(self.payload.len())?);
        into.put_slice(&self.payload);
        Ok(())
    }
}
