//! What kinds of columns a schema has, and the fingerprint by which a body is known to be of it.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

/// How the values of a column lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only nulls.
    Nothing,
    /// A bit for each.
    Bits,
    /// So many bytes for each.
    Fixed(usize),
    /// Texts or bytes.
    Text(Text),
    /// Whatever else: an Arrow IPC message has it.
    Message,
}

/// How the array of a text column finds its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// By offsets of 32 bits.
    Small,
    /// By offsets of 64 bits.
    Large,
    /// By views.
    Views,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Nothing,
            DataType::Boolean => Self::Bits,
            DataType::Utf8 | DataType::Binary => Self::Text(Text::Small),
            DataType::LargeUtf8 | DataType::LargeBinary => Self::Text(Text::Large),
            DataType::Utf8View | DataType::BinaryView => Self::Text(Text::Views),
            DataType::FixedSizeBinary(width) if *width > 0 => Self::Fixed(*width as usize),
            other => other.primitive_width().map_or(Self::Message, Self::Fixed),
        }
    }
}

/// A schema as the codec sees it.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) schema: SchemaRef,
    pub(super) kinds: Vec<Kind>,
    pub(super) fingerprint: u32,
    /// The columns of [`Kind::Message`]; `None` if there are none.
    pub(super) message: Option<SchemaRef>,
}

impl Shape {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let kinds: Vec<_> = schema.fields().iter().map(|f| Kind::of(f.data_type())).collect();
        let of_message = schema.fields().iter().zip(&kinds);
        let of_message = of_message.filter(|(_, kind)| **kind == Kind::Message);
        let fields: Vec<_> = of_message.map(|(field, _)| Arc::clone(field)).collect();
        let message = (!fields.is_empty()).then(|| Arc::new(Schema::new(fields)));
        let mut text = String::new();
        schema.fields().iter().for_each(|field| name(field.data_type(), &mut text));
        let fingerprint = xxh3_64(text.as_bytes()) as u32;
        Self { schema, kinds, fingerprint, message }
    }
}

/// The type without the names in it.
fn name(data_type: &DataType, text: &mut String) {
    let mut nested = |of: &str, fields: &[&Field]| {
        text.push_str(of);
        text.push('(');
        fields.iter().for_each(|field| name(field.data_type(), text));
        text.push(')');
    };
    match data_type {
        DataType::List(item) => nested("list", &[item]),
        DataType::LargeList(item) => nested("large list", &[item]),
        DataType::FixedSizeList(item, size) => nested(&format!("{size} of"), &[item]),
        DataType::Map(entries, _) => nested("map", &[entries]),
        DataType::Struct(fields) => {
            nested("struct", &fields.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        }
        // Writing to a string cannot fail.
        other => drop(write!(text, "{other};")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(types: &[DataType]) -> u32 {
        let field = |t: &DataType| Field::new("x", t.clone(), true);
        Shape::new(Arc::new(Schema::new(types.iter().map(field).collect::<Vec<_>>()))).fingerprint
    }

    #[test]
    fn fingerprints_are_of_types_in_their_order_and_not_of_names() {
        let list = |name: &str, t| DataType::List(Arc::new(Field::new(name, t, true)));
        let (a, b) = (DataType::Int64, DataType::Utf8);
        assert_ne!(of(&[a.clone(), b.clone()]), of(&[b.clone(), a.clone()]));
        assert_ne!(of(std::slice::from_ref(&a)), of(&[a.clone(), a.clone()]));
        assert_ne!(of(&[DataType::Decimal128(9, 2)]), of(&[DataType::Decimal128(9, 3)]));
        assert_eq!(of(&[list("item", a.clone())]), of(&[list("element", a.clone())]));
        assert_ne!(of(&[list("item", a.clone()), b.clone()]), of(&[list("item", b), a]));
    }

    #[test]
    fn the_fingerprint_of_a_schema_never_changes() {
        assert_eq!(
            of(&[DataType::Int64, DataType::Utf8]),
            757_796_081,
            "a new one is a new version"
        );
    }
}
