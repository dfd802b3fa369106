//! The record by which others can end an upload to the object store whose worker was killed. Written
//! by `shuffle-service` before the first part of an upload, read by the sweep of gateways.
//!
//! A record is a head, as that of a file table, and an [`UploadRecord`]. The one thing to know: what
//! it names is below the folder that it lies in, so that a record can hurt nobody else's uploads.

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result};
use prost::Message;

use crate::head::{Form, HEAD_LEN};

/// The body of a record. Generated from `proto/upload.proto`, which documents every field.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/dunlin.upload.v1.rs"));
}
pub use v1::*;

/// The folder of the records in the folder of a worker.
pub const FOLDER: &str = "uploads";

/// Nothing longer is written or read.
pub const RECORD_LEN_MAX: usize = 64 << 10;

/// Uploads that one record names.
pub const UPLOADS_MAX: usize = 17;

const FORM: Form = Form { magic: *b"DLUP", version: 1 };

impl UploadRecord {
    /// The record as bytes. `Exhausted`: it would be longer than [`RECORD_LEN_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let length = HEAD_LEN + self.encoded_len();
        if length > RECORD_LEN_MAX {
            return Err(Error::exhausted(format!("a record of uploads of {length} bytes")));
        }
        Ok(Self::framed(&self.encode_to_vec()))
    }

    /// A body, whatever is in it, behind a head that fits. For tests of what reads records.
    pub fn framed(body: &[u8]) -> Vec<u8> {
        FORM.framed(body)
    }

    /// The record of these bytes. `Invalid` says why they are none: also if it names what no worker
    /// writes.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("not a record of uploads: {why}"));
        if bytes.len() > RECORD_LEN_MAX {
            return Err(wrong(&format!("it has {} bytes", bytes.len())));
        }
        let body = FORM.body(bytes).map_err(|why| wrong(&why))?;
        let record = Self::decode(body);
        let record = record.map_err(|e| wrong("it cannot be decoded").with_source(e))?;
        if record.uploads.len() > UPLOADS_MAX {
            return Err(wrong(&format!("it names {} uploads", record.uploads.len())));
        }
        match record.uploads.iter().find(|upload| !upload.is_sound()) {
            Some(Upload { object, id }) => {
                Err(wrong(&format!("it names upload '{id}' of '{object}'")))
            }
            None => Ok(record),
        }
    }
}

impl Upload {
    /// Whether a worker can have written it.
    fn is_sound(&self) -> bool {
        let words: Vec<_> = self.object.split('/').collect();
        let [query, name] = words.as_slice() else { return false };
        let dots_and_digits = |b: u8| b == b'.' || b.is_ascii_digit();
        let is_name =
            name.bytes().all(dots_and_digits) && name.split('.').all(|number| !number.is_empty());
        query.parse::<QueryId>().is_ok() && is_name && !self.id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;

    fn record() -> UploadRecord {
        let query = QueryId::from_u128(7 << 64);
        let upload = |n: u32| Upload { object: format!("{query}/1.0.3.{n}"), id: format!("id{n}") };
        UploadRecord { uploads: vec![upload(0), upload(12)] }
    }

    fn read(bytes: &[u8]) -> Result<UploadRecord> {
        UploadRecord::from_bytes(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_record_is_read_whole_or_not_at_all() {
        let bytes = record().to_bytes().expect("small");
        assert_eq!(read(&bytes).expect("its own"), record());
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let error = read(&changed).expect_err("changed");
                assert_eq!(error.kind(), Kind::Invalid, "byte {at}");
            }
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err(), "longer");
    }

    #[test]
    fn a_record_names_only_what_a_worker_writes() {
        let query = QueryId::from_u128(7);
        let of = |object: String, id: &str| {
            let uploads = vec![Upload { object, id: id.to_owned() }];
            read(&UploadRecord { uploads }.to_bytes().expect("small"))
        };
        of(format!("{query}/1.0.0.0"), "x").expect("sound");
        of(format!("{query}/1.0.0.0"), "").expect_err("an abort without an id removes the object");
        let names = ["", "..", "1..2", "a", "1/2", "1#2"];
        for object in names.map(|name| format!("{query}/{name}")) {
            of(object.clone(), "x").expect_err(&object);
        }
        for object in ["1.0.0.0", "x/1.0.0.0", "../1.0.0.0", "/1.0.0.0"] {
            of(object.to_owned(), "x").expect_err(object);
        }
        let many = vec![record().uploads.remove(0); UPLOADS_MAX + 1];
        read(&UploadRecord { uploads: many }.to_bytes().expect("small")).expect_err("too many");
        let long = Upload { object: format!("{query}/1"), id: "x".repeat(RECORD_LEN_MAX) };
        let long = UploadRecord { uploads: vec![long] };
        assert_eq!(long.to_bytes().map_err(|e| e.kind()), Err(Kind::Exhausted));
        read(&UploadRecord::framed(&long.encode_to_vec())).expect_err("too long");
    }
}
