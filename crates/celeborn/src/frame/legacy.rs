//! Frames of old clients: each has become a message in an RPC. They are understood so that who
//! sends one gets an answer instead of a broken connection.

use bytes::{BufMut, BytesMut};
use dunlin_base::Result;

use crate::Text;
use crate::field::{Fields, put_text};

use super::decode::mode;
use super::kind::FrameType;
use super::message::{Mode, StreamId};

/// Which part of a map partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which copy.
    pub mode: Mode,
    /// As [`ShuffleKey`](crate::ids::ShuffleKey) has it.
    pub shuffle_key: Text,
    /// As [`PartitionKey`](crate::ids::PartitionKey) has it.
    pub partition: Text,
    /// Of the map.
    pub attempt: i32,
}

/// A file to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// As [`ShuffleKey`](crate::ids::ShuffleKey) has it.
    pub shuffle_key: Text,
    /// As [`FileName`](crate::ids::FileName) has it.
    pub file_name: Text,
    /// From this map or subpartition on.
    pub start: i32,
    /// To this one.
    pub end: i32,
}

/// A frame of an old client, or the answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// A file is to be read.
    OpenStream(Open),
    /// A map partition is to be read, with so many buffers at first.
    OpenStreamWithCredit(Open, i32),
    /// It is open, and has so many chunks.
    StreamHandle(StreamId, i32),
    /// So many more buffers may come.
    ReadAddCredit(StreamId, i32),
    /// A stream is over.
    BufferStreamEnd(StreamId),
    /// A region begins: its index, and whether it goes to all.
    RegionStart(Region, i32, bool),
    /// A region ends.
    RegionFinish(Region),
    /// A map partition begins: its subpartitions and the bytes of a buffer.
    PushDataHandShake(Region, i32, i32),
}

impl Legacy {
    /// The type of the frame.
    pub fn kind(&self) -> FrameType {
        match self {
            Self::OpenStream(_) => FrameType::OpenStream,
            Self::OpenStreamWithCredit(..) => FrameType::OpenStreamWithCredit,
            Self::StreamHandle(..) => FrameType::StreamHandle,
            Self::ReadAddCredit(..) => FrameType::ReadAddCredit,
            Self::BufferStreamEnd(_) => FrameType::BufferStreamEnd,
            Self::RegionStart(..) => FrameType::RegionStart,
            Self::RegionFinish(_) => FrameType::RegionFinish,
            Self::PushDataHandShake(..) => FrameType::PushDataHandShake,
        }
    }

    /// The frame of a type of these. `None` for any other type.
    pub(super) fn decode(kind: FrameType, fields: &mut Fields) -> Result<Option<Self>> {
        Ok(Some(match kind {
            FrameType::OpenStream => Self::OpenStream(open(fields)?),
            FrameType::OpenStreamWithCredit => {
                Self::OpenStreamWithCredit(open(fields)?, fields.i32()?)
            }
            FrameType::StreamHandle => Self::StreamHandle(StreamId(fields.i64()?), fields.i32()?),
            FrameType::ReadAddCredit => Self::ReadAddCredit(StreamId(fields.i64()?), fields.i32()?),
            FrameType::BufferStreamEnd => Self::BufferStreamEnd(StreamId(fields.i64()?)),
            FrameType::RegionStart => {
                Self::RegionStart(region(fields)?, fields.i32()?, fields.flag()?)
            }
            FrameType::RegionFinish => Self::RegionFinish(region(fields)?),
            FrameType::PushDataHandShake => {
                Self::PushDataHandShake(region(fields)?, fields.i32()?, fields.i32()?)
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn encode(&self, into: &mut BytesMut) -> Result<()> {
        match self {
            Self::OpenStream(file) => put_open(into, file)?,
            Self::OpenStreamWithCredit(file, credit) => {
                put_open(into, file)?;
                into.put_i32(*credit);
            }
            Self::StreamHandle(stream, number) | Self::ReadAddCredit(stream, number) => {
                into.put_i64(stream.0);
                into.put_i32(*number);
            }
            Self::BufferStreamEnd(stream) => into.put_i64(stream.0),
            Self::RegionStart(region, index, to_all) => {
                put_region(into, region)?;
                into.put_i32(*index);
                into.put_u8(u8::from(*to_all));
            }
            Self::RegionFinish(region) => put_region(into, region)?,
            Self::PushDataHandShake(region, partitions, buffer) => {
                put_region(into, region)?;
                into.put_i32(*partitions);
                into.put_i32(*buffer);
            }
        }
        Ok(())
    }
}

fn open(fields: &mut Fields) -> Result<Open> {
    let (shuffle_key, file_name) = (fields.text()?, fields.text()?);
    Ok(Open { shuffle_key, file_name, start: fields.i32()?, end: fields.i32()? })
}

fn put_open(into: &mut BytesMut, file: &Open) -> Result<()> {
    put_text(into, &file.shuffle_key)?;
    put_text(into, &file.file_name)?;
    into.put_i32(file.start);
    into.put_i32(file.end);
    Ok(())
}

fn region(fields: &mut Fields) -> Result<Region> {
    let mode = mode(fields)?;
    let (shuffle_key, partition) = (fields.text()?, fields.text()?);
    Ok(Region { mode, shuffle_key, partition, attempt: fields.i32()? })
}

fn put_region(into: &mut BytesMut, region: &Region) -> Result<()> {
    into.put_u8(region.mode.number());
    put_text(into, &region.shuffle_key)?;
    put_text(into, &region.partition)?;
    into.put_i32(region.attempt);
    Ok(())
}
