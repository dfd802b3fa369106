//! What rows claim of themselves, checked before anybody believes it.
//!
//! Arrow takes as much memory for a compressed buffer as its first eight bytes ask for, and a few
//! bytes from a client could end the process; it panics at a buffer beyond the end, and copies each
//! of a thousand buffers that all name the same bytes. Dictionaries it keeps for the whole stream.

use std::collections::HashMap;

use arrow::ipc::{Buffer, root_as_message};
use arrow_flight::FlightData;
use dunlin_base::{ByteCount, Error, Result};

/// Most bytes that the rows of one message may become, and all dictionaries of a stream.
const ROWS_MAX: ByteCount = ByteCount::mib(256);

/// The same of values for a statement, which are one row.
const PARAMETERS_MAX: ByteCount = ByteCount::mib(8);

/// The claims of one stream.
pub(super) struct Claims {
    bytes_max: ByteCount,
    /// Bytes of each dictionary that is kept, by its number.
    dictionaries: HashMap<i64, u64>,
}

impl Claims {
    /// For a stream of rows.
    pub(super) fn of_rows() -> Self {
        Self { bytes_max: ROWS_MAX, dictionaries: HashMap::new() }
    }

    /// For a stream of values for a statement.
    pub(super) fn of_parameters() -> Self {
        Self { bytes_max: PARAMETERS_MAX, dictionaries: HashMap::new() }
    }

    /// `Exhausted`: the rows of this message say that they are longer than what is taken, or the
    /// dictionaries of the stream are; `Invalid`: that they are where nothing is. What is wrong
    /// otherwise, the decoder says.
    pub(super) fn check(&mut self, data: &FlightData) -> Result<()> {
        let Ok(message) = root_as_message(&data.data_header) else { return Ok(()) };
        let dictionary = message.header_as_dictionary_batch();
        let batch = message.header_as_record_batch().or_else(|| dictionary?.data());
        let Some(batch) = batch else { return Ok(()) };
        let buffers = || batch.buffers().into_iter().flatten();
        if !buffers().all(|buffer| is_there(buffer, &data.data_body)) {
            return Err(Error::invalid("the rows of a message are longer than the message"));
        }
        let compressed = batch.compression().is_some();
        let length = |buffer: &Buffer| match compressed {
            true => inflated(buffer, &data.data_body),
            false => buffer.length().unsigned_abs(),
        };
        let total = buffers().map(length).fold(0, u64::saturating_add);
        self.check_size("the rows of one message", total)?;
        let Some(dictionary) = dictionary else { return Ok(()) };
        let kept = self.dictionaries.entry(dictionary.id()).or_default();
        // One that is no addition takes the place of the one before.
        *kept = if dictionary.isDelta() { kept.saturating_add(total) } else { total };
        let all = self.dictionaries.values().copied().fold(0, u64::saturating_add);
        self.check_size("the dictionaries of one stream", all)
    }

    fn check_size(&self, what: &str, bytes: u64) -> Result<()> {
        if bytes <= self.bytes_max.0 {
            return Ok(());
        }
        let (size, most) = (ByteCount(bytes), self.bytes_max);
        Err(Error::exhausted(format!("{what} become {size}, more than {most}"))
            .with_hint("send them in smaller batches"))
    }
}

fn is_there(buffer: &Buffer, body: &[u8]) -> bool {
    let end = buffer.offset().checked_add(buffer.length());
    let end = end.and_then(|end| usize::try_from(end).ok());
    buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|n| n <= body.len())
}

/// How long a buffer says that it is, once it is no more compressed.
fn inflated(buffer: &Buffer, body: &[u8]) -> u64 {
    let length = buffer.length().unsigned_abs();
    let said = || {
        let start = usize::try_from(buffer.offset()).ok()?;
        let said = body.get(start..start.checked_add(8)?)?;
        // A negative one says that the buffer is not compressed.
        u64::try_from(i64::from_le_bytes(said.try_into().ok()?)).ok()
    };
    if length == 0 { 0 } else { said().unwrap_or(length) }
}

#[cfg(test)]
mod tests;
