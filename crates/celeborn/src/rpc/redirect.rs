//! The one failure that has to be a Java object: a master that sends a client to another one.

use bytes::{BufMut, Bytes, BytesMut};
use dunlin_base::{Error, Result};

use crate::field::Fields;

use super::{java, jutf};

/// A master says that it does not lead, and who does. Answered like a message, as the body of a
/// response; a client then asks there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLeader {
    /// What the client logs. With authentication it takes the addresses out of this text instead.
    pub message: String,
    /// `host:port` of the leader for drivers, or [`NotLeader::NOBODY`].
    pub leader: String,
    /// The same for workers.
    pub internal_leader: String,
}

impl NotLeader {
    /// In the place of an address: there is no leader at present, ask anyone.
    pub const NOBODY: &'static str = "leader is not present";

    /// The answer. `Invalid` if a text is longer than 65,535 bytes.
    pub fn encode(&self) -> Result<Bytes> {
        let mut bytes = BytesMut::from(java::NOT_LEADER);
        jutf::put(&mut bytes, &self.message)?;
        bytes.put_slice(java::NOT_LEADER_MIDDLE);
        jutf::put(&mut bytes, &self.internal_leader)?;
        // The same string twice is one object in Java, and then a reference.
        bytes.put_u8(b't');
        jutf::put(&mut bytes, &self.leader)?;
        Ok(bytes.freeze())
    }

    /// Reads what [`NotLeader::encode`] writes, which is not all that Java may write: a real master
    /// sends a stack trace, too. `Invalid` then.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        if !bytes.starts_with(java::NOT_LEADER) {
            return Err(Error::invalid("an answer is not that of a master which does not lead"));
        }
        let rest = bytes.slice(java::NOT_LEADER.len()..);
        let mut fields = Fields::new("the answer of a master that does not lead", rest);
        let message = jutf::read(&mut fields)?;
        if fields.take(java::NOT_LEADER_MIDDLE.len())? != java::NOT_LEADER_MIDDLE {
            return Err(fields.malformed("it has a stack trace"));
        }
        let internal_leader = jutf::read(&mut fields)?;
        if fields.u8()? != b't' {
            return Err(fields.malformed("it names no leader"));
        }
        let leader = jutf::read(&mut fields)?;
        fields.end()?;
        Ok(Self { message, leader, internal_leader })
    }
}
