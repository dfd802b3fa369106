//! What rows claim of themselves, checked before anybody believes it.
//!
//! Arrow takes as much memory for a compressed buffer as its first eight bytes ask for, and a few
//! bytes from a client could end the process; it panics at a buffer beyond the end.

use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use dunlin_base::{ByteCount, Error, Result};

/// Most bytes that the rows of one message may become.
const INFLATED_MAX: ByteCount = ByteCount::mib(256);

/// `Exhausted`: the rows of this message say that they are longer than what is taken; `Invalid`:
/// that they are where nothing is. What is wrong otherwise, the decoder says.
pub(super) fn check(data: &FlightData) -> Result<()> {
    let Ok(message) = root_as_message(&data.data_header) else { return Ok(()) };
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch()?.data());
    let Some(batch) = batch else { return Ok(()) };
    let there = |buffer: &arrow::ipc::Buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        let end = end.and_then(|end| usize::try_from(end).ok());
        buffer.offset() >= 0
            && buffer.length() >= 0
            && end.is_some_and(|n| n <= data.data_body.len())
    };
    if !batch.buffers().into_iter().flatten().all(there) {
        return Err(Error::invalid("the rows of a message are longer than the message"));
    }
    if batch.compression().is_none() {
        return Ok(());
    }
    let claimed = |offset: i64| {
        let start = usize::try_from(offset).ok()?;
        let length = data.data_body.get(start..start.checked_add(8)?)?;
        // A negative one says that the buffer is not compressed.
        u64::try_from(i64::from_le_bytes(length.try_into().ok()?)).ok()
    };
    let buffers = batch.buffers().into_iter().flatten();
    let lengths = buffers.filter_map(|buffer| claimed(buffer.offset()));
    let total = lengths.fold(0, u64::saturating_add);
    if total <= INFLATED_MAX.0 {
        return Ok(());
    }
    let size = ByteCount(total);
    Err(Error::exhausted(format!(
        "the rows of one message become {size}, more than {INFLATED_MAX}"
    ))
    .with_hint("send them in smaller batches"))
}
