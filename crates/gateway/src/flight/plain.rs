//! Types that every driver knows: views and dictionaries become the plain types that hold the same
//! values.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// The schema with plain types.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let kind = plain(field.data_type());
    if kind == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(kind))
}

fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(field) => DataType::List(plain_field(field)),
        DataType::LargeList(field) => DataType::LargeList(plain_field(field)),
        DataType::FixedSizeList(field, length) => {
            DataType::FixedSizeList(plain_field(field), *length)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

/// A batch with the types of `schema`, which are those of [`plain_schema`].
pub(super) fn to_schema(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let column = |(column, field): (&ArrayRef, &FieldRef)| match column.data_type() {
        same if same == field.data_type() => Ok(Arc::clone(column)),
        _ => cast(column, field.data_type()),
    };
    let columns: Result<Vec<_>, _> =
        batch.columns().iter().zip(schema.fields()).map(column).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, DictionaryArray, Int32Array, ListArray, StringViewArray, StructArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn views_and_dictionaries_become_plain_wherever_they_are() {
        let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let list: ArrayRef = Arc::new(ListArray::new(
            Arc::clone(&item),
            OffsetBuffer::from_lengths([1, 1]),
            Arc::clone(&view),
            None,
        ));
        let inner: ArrayRef =
            Arc::new(StructArray::from(vec![(Arc::clone(&item), Arc::clone(&view))]));
        let dictionary: DictionaryArray<Int32Type> = vec!["x", "x"].into_iter().collect();
        let number: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let columns: [(&str, ArrayRef); 5] = [
            ("view", view),
            ("list", list),
            ("struct", inner),
            ("dictionary", Arc::new(dictionary)),
            ("number", number),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let schema = plain_schema(&batch.schema());
        let plain = to_schema(&batch, &schema).expect("plain");
        let types: Vec<String> =
            plain.columns().iter().map(|c| c.data_type().to_string()).collect();
        assert!(!types.iter().any(|t| t.contains("View") || t.contains("Dictionary")), "{types:?}");
        assert_eq!(plain.num_rows(), 2);
        assert_eq!(plain.column(4).data_type(), &DataType::Int32);
    }
}
