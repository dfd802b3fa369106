//! Fields of a header or envelope, one after the other. All numbers are big endian. No length is
//! believed before the bytes are there.

use bytes::{Buf, BufMut, Bytes};
use dunlin_base::{Error, Result};

use crate::Text;

/// What is left to read of `of`, which errors name.
#[derive(Debug)]
pub(crate) struct Fields {
    of: &'static str,
    left: Bytes,
}

impl Fields {
    pub(crate) fn new(of: &'static str, bytes: Bytes) -> Self {
        Self { of, left: bytes }
    }

    pub(crate) fn malformed(&self, what: &str) -> Error {
        Error::invalid(format!("{} is malformed: {what}", self.of))
    }

    fn need(&self, bytes: usize) -> Result<()> {
        match self.left.len() < bytes {
            true => Err(self.malformed("it ends too early")),
            false => Ok(()),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.left.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.need(2)?;
        Ok(self.left.get_u16())
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.need(4)?;
        Ok(self.left.get_i32())
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.need(8)?;
        Ok(self.left.get_i64())
    }

    /// One byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(&format!("a flag is {other}"))),
        }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<Bytes> {
        self.need(bytes)?;
        Ok(self.left.split_to(bytes))
    }

    /// A count of things of which each takes at least `each` bytes, so that no more is believed than
    /// can be there.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.i32()?).map_err(|_| self.malformed("a length is < 0"))?;
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.left.len() => Ok(count),
            _ => Err(self.malformed("a length is beyond its end")),
        }
    }

    /// Bytes with their count before them.
    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let count = self.count(1)?;
        self.take(count)
    }

    /// UTF-8 with the count of its bytes before it.
    pub(crate) fn text(&mut self) -> Result<Text> {
        let bytes = self.bytes()?;
        Text::new(bytes).map_err(|error| error.context(self.of))
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.left
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<()> {
        match self.left.len() {
            0 => Ok(()),
            more => Err(self.malformed(&format!("{more} bytes too many"))),
        }
    }
}

/// A length as the wire has it. `Invalid` if that cannot say it.
pub(crate) fn length(bytes: usize) -> Result<i32> {
    i32::try_from(bytes)
        .map_err(|_| Error::invalid(format!("{bytes} bytes are too many for a frame")))
}

/// Writes what [`Fields::text`] reads.
pub(crate) fn put_text(into: &mut impl BufMut, text: &str) -> Result<()> {
    into.put_i32(length(text.len())?);
    into.put_slice(text.as_bytes());
    Ok(())
}
