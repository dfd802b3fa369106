//! What is in an envelope, in each form that it can have.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::{Error, Result};

use crate::field::{Fields, length};

use super::transport::TransportMessage;
use super::{java, jutf};

/// The first byte of a content without Java.
const PLAIN: u8 = 0xff;

/// How a message is written where an envelope may be.
///
/// A client since 0.6 reads [`Form::Plain`] and [`Form::Java`], whatever it wrote itself; a client of
/// 0.5 only [`Form::OldJava`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Without Java: called V2 there. Answer in it wherever possible.
    Plain,
    /// A Java object since 0.6: called V1 there. Spark writes all its requests so.
    Java,
    /// A Java object of 0.5 and before.
    OldJava,
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One of the messages of the protocol, and how it was written.
    Message(TransportMessage, Form),
    /// Whether an endpoint exists. To be answered by [`exists_reply`].
    CheckExistence(String),
}

impl Content {
    /// What is in an envelope, or in an answer that is not to a check. `Invalid` if it is malformed,
    /// or a Java object of another class than these two.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        if bytes.first() == Some(&PLAIN) {
            let message = TransportMessage::from_bare(bytes.slice(1..))?;
            return Ok(Self::Message(message, Form::Plain));
        }
        for (head, form) in
            [(java::MESSAGE_HEAD, Form::Java), (java::OLD_MESSAGE_HEAD, Form::OldJava)]
        {
            if bytes.starts_with(head) {
                return Ok(Self::Message(java_message(bytes.slice(head.len()..), form)?, form));
            }
        }
        if bytes.starts_with(java::CHECK_EXISTENCE) {
            let name = bytes.slice(java::CHECK_EXISTENCE.len()..);
            let mut fields = Fields::new("the check of an endpoint", name);
            let name = jutf::read(&mut fields)?;
            fields.end()?;
            return Ok(Self::CheckExistence(name));
        }
        Err(match java::class_of(&bytes) {
            Some(class) => Error::invalid(format!("a request is a Java object of class {class}")),
            None => Error::invalid("a request is neither a message nor a Java object"),
        }
        .with_hint("Celeborn clients of 0.5.4, 0.6 and 0.7 work"))
    }

    /// The bytes that [`Content::decode`] reads.
    pub fn encode(&self) -> Result<Bytes> {
        let mut bytes = BytesMut::new();
        match self {
            Self::Message(message, form) => put_message(&mut bytes, message, *form)?,
            Self::CheckExistence(name) => {
                bytes.put_slice(java::CHECK_EXISTENCE);
                jutf::put(&mut bytes, name)?;
            }
        }
        Ok(bytes.freeze())
    }
}

fn java_message(bytes: Bytes, form: Form) -> Result<TransportMessage> {
    let mut fields = Fields::new("a message in a Java object", bytes);
    let number = fields.i32()?;
    let payload = match fields.u8()? {
        java::NULL => Bytes::new(),
        first => {
            let rest = fields.take(java::PAYLOAD.len() - 1)?;
            if first != java::PAYLOAD[0] || rest[..] != java::PAYLOAD[1..] {
                return Err(fields.malformed("its payload is no array of bytes"));
            }
            fields.bytes()?
        }
    };
    let tail: &[u8] = if form == Form::Java { java::MESSAGE_TAIL } else { &[] };
    if fields.take(tail.len())? != tail {
        return Err(fields.malformed("it is not of version V1"));
    }
    fields.end()?;
    Ok(TransportMessage { number, payload })
}

fn put_message(into: &mut BytesMut, message: &TransportMessage, form: Form) -> Result<()> {
    let TransportMessage { number, payload } = message;
    let (head, tail) = match form {
        Form::Plain => {
            into.put_u8(PLAIN);
            return message.put_bare(into);
        }
        Form::Java => (java::MESSAGE_HEAD, java::MESSAGE_TAIL),
        Form::OldJava => (java::OLD_MESSAGE_HEAD, &[][..]),
    };
    into.put_slice(head);
    into.put_i32(*number);
    into.put_slice(java::PAYLOAD);
    into.put_i32(length(payload.len())?);
    into.put_slice(payload);
    into.put_slice(tail);
    Ok(())
}

/// The answer to [`Content::CheckExistence`]: always a Java object, there is no plain form of it.
pub fn exists_reply(exists: bool) -> Bytes {
    let mut bytes = BytesMut::from(java::BOOLEAN);
    bytes.put_u8(u8::from(exists));
    bytes.freeze()
}

/// What [`exists_reply`] says. `Invalid` if it is no such answer.
pub fn exists(reply: &[u8]) -> Result<bool> {
    match reply.strip_prefix(java::BOOLEAN) {
        Some([0]) => Ok(false),
        Some([1]) => Ok(true),
        _ => Err(Error::invalid("the answer to a check of an endpoint is malformed")),
    }
}
