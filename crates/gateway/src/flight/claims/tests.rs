//! Messages that promise more than they bring.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{
    DictionaryHandling, DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
};
use arrow::record_batch::RecordBatch;
use dunlin_base::Kind;

use super::*;

/// The messages of batches, without the schema.
fn messages(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<FlightData> {
    let mut tracker = DictionaryTracker::new(false);
    let (generator, mut context) = (IpcDataGenerator::default(), IpcWriteContext::default());
    let _ = generator.schema_to_bytes_with_dictionary_tracker(
        &batches[0].schema(),
        &mut tracker,
        &options,
    );
    let mut all = Vec::new();
    for batch in batches {
        let encoded = generator.encode(batch, &mut tracker, &options, &mut context);
        let (dictionaries, rows) = encoded.expect("encoded");
        all.extend(dictionaries.into_iter().chain([rows]));
    }
    let message = |encoded: arrow::ipc::writer::EncodedData| FlightData {
        data_header: encoded.ipc_message.into(),
        data_body: encoded.arrow_data.into(),
        ..FlightData::default()
    };
    all.into_iter().map(message).collect()
}

/// 800 bytes in each of three columns.
fn numbers() -> RecordBatch {
    let column = || Arc::new(Int64Array::from(vec![7; 100])) as ArrayRef;
    RecordBatch::try_from_iter([("a", column()), ("b", column()), ("c", column())])
        .expect("a batch")
}

/// Rows that name so many of a hundred words of ten bytes.
fn words(count: i32) -> RecordBatch {
    let values: Vec<String> = (0..count).map(|n| format!("word {n:05}")).collect();
    let keys = Int32Array::from_iter_values(0..count);
    let words = DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(values)));
    RecordBatch::try_from_iter([("w", Arc::new(words) as ArrayRef)]).expect("a batch")
}

fn claims(bytes: u64) -> Claims {
    Claims { bytes_max: ByteCount(bytes), dictionaries: HashMap::new() }
}

fn kind(claims: &mut Claims, message: &FlightData) -> Option<Kind> {
    claims.check(message).err().map(|error| error.kind())
}

/// Has every buffer of a message name the whole body.
fn naming_all(message: &FlightData) -> FlightData {
    let header = root_as_message(&message.data_header).expect("a message");
    let batch = header.header_as_record_batch().expect("rows");
    let mut bytes = message.data_header.to_vec();
    let pair = |offset: i64, length: i64| [offset.to_le_bytes(), length.to_le_bytes()].concat();
    for buffer in batch.buffers().expect("buffers").iter().filter(|buffer| buffer.length() > 0) {
        let old = pair(buffer.offset(), buffer.length());
        let at = bytes.windows(16).position(|window| window == old).expect("it is in the header");
        let new = pair(0, message.data_body.len() as i64);
        bytes[at..at + 16].copy_from_slice(&new);
    }
    FlightData { data_header: bytes.into(), ..message.clone() }
}

#[test]
fn buffers_that_name_the_same_bytes_count_each() {
    let rows = messages(&[numbers()], IpcWriteOptions::default()).remove(0);
    let mut small = claims(3000);
    assert_eq!(kind(&mut small, &rows), None);
    let bomb = naming_all(&rows);
    assert_eq!(kind(&mut small, &bomb), Some(Kind::Exhausted));
    // Values and validity of three columns.
    assert_eq!(kind(&mut claims(6 * bomb.data_body.len() as u64), &bomb), None);
}

#[test]
fn compressed_buffers_count_as_long_as_they_become() {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
    let rows = messages(&[numbers()], options.expect("known")).remove(0);
    assert!(rows.data_body.len() < 1200, "{} bytes", rows.data_body.len());
    // Validity is too short to be compressed.
    assert_eq!(kind(&mut claims(2400 + 100), &rows), None);
    assert_eq!(kind(&mut claims(2399), &rows), Some(Kind::Exhausted));
}

#[test]
fn dictionaries_of_a_stream_count_together_unless_one_replaces_the_other() {
    let batches: Vec<RecordBatch> = [40, 80, 120, 160].map(words).into();
    let bytes = |count: u64| count * 10 + (count + 1) * 4;
    let refused = |handling, most: u64| {
        let options = IpcWriteOptions::default().with_dictionary_handling(handling);
        let mut claims = claims(most);
        let sent = messages(&batches, options);
        assert_eq!(sent.len(), 8, "each batch brings a dictionary");
        sent.iter().filter_map(|message| kind(&mut claims, message)).count()
    };
    // Padding and one more offset for each addition come on top.
    let whole = bytes(160) + 256;
    assert_eq!(refused(DictionaryHandling::Resend, whole), 0);
    assert_eq!(refused(DictionaryHandling::Delta, whole), 0);
    // Each addition is small enough, all of them are not.
    assert!(refused(DictionaryHandling::Delta, bytes(120)) > 0);
}
