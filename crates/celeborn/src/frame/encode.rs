//! From a frame to its bytes.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::{Error, Result};

use crate::field::{length, put_text};

use super::kind::{ERROR_LEN_MAX, FrameType, PREAMBLE_LEN};
use super::message::{Frame, PushData, PushMergedData, Slice};

/// A frame as bytes, in two pieces, so that a body is not copied. They follow each other on the
/// connection with nothing between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Preamble and header section.
    pub head: Bytes,
    /// The body; may be empty.
    pub body: Bytes,
}

impl Encoded {
    /// Both pieces in one.
    pub fn to_bytes(&self) -> Bytes {
        [&self.head[..], &self.body].concat().into()
    }
}

impl Frame {
    /// The bytes of this frame. The texts of errors are cut to what a decoder takes. `Invalid` if
    /// anything else is longer than that.
    pub fn encode(&self) -> Result<Encoded> {
        let body = self.body();
        Ok(Encoded { head: self.encode_head(body.len())?, body })
    }

    /// What comes before a body of this many bytes, whatever the body of this frame is: for who has the
    /// bytes in pieces. Errors as [`Frame::encode`].
    pub fn encode_head(&self, body_len: usize) -> Result<Bytes> {
        let (kind, body_len) = (self.kind(), length(body_len)?);
        let mut bytes = BytesMut::with_capacity(PREAMBLE_LEN + 64);
        bytes.put_bytes(0, PREAMBLE_LEN);
        self.put_header(&mut bytes, body_len)?;
        let header_len = bytes.len() - PREAMBLE_LEN;
        if header_len > kind.header_len().1 {
            let text = format!("a {kind:?} frame with a header of {header_len} bytes");
            return Err(Error::invalid(text));
        }
        let mut preamble = &mut bytes[..PREAMBLE_LEN];
        preamble.put_i32(length(header_len)?);
        preamble.put_u8(kind as u8);
        preamble.put_i32(body_len);
        Ok(bytes.freeze())
    }

    fn put_header(&self, into: &mut BytesMut, body_len: i32) -> Result<()> {
        match self {
            Self::ChunkFetchRequest(slice) | Self::ChunkFetchSuccess(slice, _) => {
                put_slice(into, slice);
            }
            Self::ChunkFetchFailure(slice, error) => {
                put_slice(into, slice);
                put_text(into, cut(error))?;
            }
            Self::RpcRequest(id, _) | Self::RpcResponse(id, _) => {
                into.put_i64(id.0);
                into.put_i32(body_len);
            }
            Self::RpcFailure(id, error) => {
                into.put_i64(id.0);
                put_text(into, cut(error))?;
            }
            Self::OneWay(_) => into.put_i32(body_len),
            Self::PushData(push) => put_push_data(into, push)?,
            Self::PushMergedData(push) => put_push_merged_data(into, push)?,
            Self::ReadData(stream, _) => into.put_i64(stream.0),
            Self::SubPartitionReadData(stream, number, _)
            | Self::BacklogAnnouncement(stream, number) => {
                into.put_i64(stream.0);
                into.put_i32(*number);
            }
            Self::TransportableError(stream, error) => {
                into.put_i64(stream.0);
                put_text(into, cut(error))?;
            }
            Self::Heartbeat => into.put_u8(0),
            Self::Legacy(legacy) => legacy.encode(into)?,
        }
        Ok(())
    }
}

fn cut(error: &str) -> &str {
    &error[..error.floor_char_boundary(ERROR_LEN_MAX)]
}

fn put_slice(into: &mut BytesMut, slice: &Slice) {
    into.put_i64(slice.stream.0);
    into.put_i32(slice.chunk);
    into.put_i32(slice.offset);
    into.put_i32(slice.len);
}

fn put_push_data(into: &mut BytesMut, push: &PushData) -> Result<()> {
    into.put_i64(push.id.0);
    into.put_u8(push.mode.number());
    put_text(into, &push.shuffle_key)?;
    put_text(into, &push.partition)
}

fn put_push_merged_data(into: &mut BytesMut, push: &PushMergedData) -> Result<()> {
    if push.partitions.len() != push.offsets.len() {
        let kind = FrameType::PushMergedData;
        return Err(Error::invalid(format!("a {kind:?} frame without an offset for each entry")));
    }
    into.put_i64(push.id.0);
    into.put_u8(push.mode.number());
    put_text(into, &push.shuffle_key)?;
    into.put_i32(length(push.partitions.len())?);
    for partition in &push.partitions {
        put_text(into, partition)?;
    }
    into.put_i32(length(push.offsets.len())?);
    for offset in &push.offsets {
        into.put_i32(length(*offset as usize)?);
    }
    Ok(())
}
