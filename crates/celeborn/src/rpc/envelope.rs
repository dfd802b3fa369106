//! The envelope of a request to a control port: who asks, and which endpoint.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::Result;

use crate::field::Fields;

use super::jutf;

/// Where an RPC environment listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As the other side advertises or dialled it. Not checked.
    pub host: String,
    /// Not checked either.
    pub port: i32,
}

/// A request to a control port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where the asker itself listens, if it does. Believe the connection rather than this.
    pub sender: Option<Address>,
    /// What the asker dialled.
    pub receiver: Option<Address>,
    /// One of [`endpoint`](super::endpoint), if it is to be answered.
    pub endpoint: String,
    /// For [`Content::decode`](super::Content::decode). Shares the frame's memory.
    pub content: Bytes,
}

impl Envelope {
    /// The envelope in the body of a request or of a one-way message. `Invalid` if it is malformed.
    pub fn decode(body: Bytes) -> Result<Self> {
        let mut fields = Fields::new("the envelope of a request", body);
        let (sender, receiver) = (address(&mut fields)?, address(&mut fields)?);
        let endpoint = jutf::read(&mut fields)?;
        Ok(Self { sender, receiver, endpoint, content: fields.rest() })
    }

    /// The bytes of this envelope. `Invalid` if a text is longer than 65,535 bytes.
    pub fn encode(&self) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(self.content.len() + 128);
        for address in [&self.sender, &self.receiver] {
            put_address(&mut bytes, address.as_ref())?;
        }
        jutf::put(&mut bytes, &self.endpoint)?;
        bytes.put_slice(&self.content);
        Ok(bytes.freeze())
    }
}

fn address(fields: &mut Fields) -> Result<Option<Address>> {
    Ok(match fields.flag()? {
        true => Some(Address { host: jutf::read(fields)?, port: fields.i32()? }),
        false => None,
    })
}

fn put_address(into: &mut BytesMut, address: Option<&Address>) -> Result<()> {
    into.put_u8(u8::from(address.is_some()));
    if let Some(Address { host, port }) = address {
        jutf::put(into, host)?;
        into.put_i32(*port);
    }
    Ok(())
}
