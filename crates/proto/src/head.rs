//! What stands before the body of a stored form that is trusted as a whole or not at all: four bytes
//! of magic, then little endian the version (four bytes), the length of the body (eight), and a
//! checksum over all of that and the body (eight).

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of the head.
pub(crate) const HEAD_LEN: usize = 24;

/// Which form it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) magic: [u8; 4],
    /// One of another version is not read.
    pub(crate) version: u32,
}

impl Form {
    /// The body behind its head.
    pub(crate) fn framed(self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + body.len());
        bytes.put_slice(&self.magic);
        bytes.put_u32_le(self.version);
        bytes.put_u64_le(body.len() as u64);
        bytes.put_u64_le(checksum(&bytes, body));
        bytes.put_slice(body);
        bytes
    }

    /// The body of these bytes, or why they are not of this form.
    pub(crate) fn body(self, bytes: &Bytes) -> Result<Bytes, String> {
        if bytes.len() < HEAD_LEN || bytes[..4] != self.magic {
            return Err("wrong magic or too short".to_owned());
        }
        let mut head = bytes.slice(4..HEAD_LEN);
        let (version, length, check) = (head.get_u32_le(), head.get_u64_le(), head.get_u64_le());
        if version != self.version {
            return Err(format!("its version is {version}, not {}", self.version));
        }
        let body = bytes.slice(HEAD_LEN..);
        if length != body.len() as u64 {
            return Err(format!("it has {} of {length} bytes", body.len()));
        }
        if check != checksum(&bytes[..HEAD_LEN - 8], &body) {
            return Err("its checksum is wrong".to_owned());
        }
        Ok(body)
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, xxh3_64_with_seed(head, 0))
}
