//! From a header section to a frame without its body. A header must be used up to its last byte:
//! the Java servers are not so strict, but nothing that writes frames leaves any.

use bytes::Bytes;
use dunlin_base::Result;

use crate::Text;
use crate::field::Fields;

use super::kind::FrameType;
use super::legacy::Legacy;
use super::message::{Frame, Mode, PushData, PushMergedData, RequestId, Slice, StreamId};

/// The frame of a header section, with an empty body. `body_len` is how long that will be. `Invalid`
/// otherwise than well formed.
pub(super) fn header(kind: FrameType, bytes: Bytes, body_len: usize) -> Result<Frame> {
    let fields = &mut Fields::new("the header of a frame", bytes);
    let frame = match Legacy::decode(kind, fields)? {
        Some(legacy) => Frame::Legacy(legacy),
        None => current(kind, fields, body_len)?,
    };
    fields.end()?;
    Ok(frame)
}

fn current(kind: FrameType, fields: &mut Fields, body_len: usize) -> Result<Frame> {
    let body = Bytes::new();
    Ok(match kind {
        FrameType::ChunkFetchRequest => Frame::ChunkFetchRequest(slice(fields)?),
        FrameType::ChunkFetchSuccess => Frame::ChunkFetchSuccess(slice(fields)?, body),
        FrameType::ChunkFetchFailure => Frame::ChunkFetchFailure(slice(fields)?, fields.text()?),
        FrameType::RpcRequest => Frame::RpcRequest(sized(fields)?, body),
        FrameType::RpcResponse => Frame::RpcResponse(sized(fields)?, body),
        FrameType::RpcFailure => Frame::RpcFailure(request(fields)?, fields.text()?),
        FrameType::OneWay => {
            fields.i32()?;
            Frame::OneWay(body)
        }
        FrameType::PushData => Frame::PushData(push_data(fields)?),
        FrameType::PushMergedData => Frame::PushMergedData(push_merged_data(fields, body_len)?),
        FrameType::ReadData => Frame::ReadData(stream(fields)?, body),
        FrameType::SubPartitionReadData => {
            Frame::SubPartitionReadData(stream(fields)?, fields.i32()?, body)
        }
        FrameType::BacklogAnnouncement => {
            Frame::BacklogAnnouncement(stream(fields)?, fields.i32()?)
        }
        FrameType::TransportableError => Frame::TransportableError(stream(fields)?, fields.text()?),
        // The one byte means nothing.
        FrameType::Heartbeat => fields.u8().map(|_| Frame::Heartbeat)?,
        _ => return Err(fields.malformed("it is of an old client")),
    })
}

/// An id, and the length of the body once more, which nobody looks at.
fn sized(fields: &mut Fields) -> Result<RequestId> {
    let id = request(fields)?;
    fields.i32()?;
    Ok(id)
}

fn request(fields: &mut Fields) -> Result<RequestId> {
    fields.i64().map(RequestId)
}

fn stream(fields: &mut Fields) -> Result<StreamId> {
    fields.i64().map(StreamId)
}

fn slice(fields: &mut Fields) -> Result<Slice> {
    let stream = stream(fields)?;
    let (chunk, offset, len) = (fields.i32()?, fields.i32()?, fields.i32()?);
    Ok(Slice { stream, chunk, offset, len })
}

pub(super) fn mode(fields: &mut Fields) -> Result<Mode> {
    let number = fields.u8()?;
    let mode = Mode::of_number(i32::from(number));
    mode.ok_or_else(|| fields.malformed(&format!("a partition of mode {number}")))
}

fn push_data(fields: &mut Fields) -> Result<PushData> {
    let (id, mode) = (request(fields)?, mode(fields)?);
    let (shuffle_key, partition) = (fields.text()?, fields.text()?);
    Ok(PushData { id, mode, shuffle_key, partition, body: Bytes::new() })
}

fn push_merged_data(fields: &mut Fields, body_len: usize) -> Result<PushMergedData> {
    let (id, mode, shuffle_key) = (request(fields)?, mode(fields)?, fields.text()?);
    let count = fields.count(4)?;
    let partitions = (0..count).map(|_| fields.text()).collect::<Result<Vec<Text>>>()?;
    if fields.count(4)? != count || count == 0 {
        return Err(fields.malformed("it has not one offset for each partition"));
    }
    let mut offsets = Vec::with_capacity(count);
    let mut last = 0;
    for _ in 0..count {
        let at = fields.i32()?;
        let first = offsets.is_empty();
        let in_order = if first { at == 0 } else { at >= last };
        if !in_order || at as usize > body_len {
            return Err(fields.malformed(&format!("an entry begins at {at}")));
        }
        last = at;
        offsets.push(at as u32);
    }
    Ok(PushMergedData { id, mode, shuffle_key, partitions, offsets, body: Bytes::new() })
}
