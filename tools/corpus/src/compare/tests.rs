//! What the comparison must see, and what it must not.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, StringViewArray};

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .expect("columns of one length")
}

fn ints(values: &[Option<i64>]) -> RecordBatch {
    batch(vec![("a", Arc::new(Int64Array::from(values.to_vec())))])
}

fn pairs(values: &[(&str, f64, f64)]) -> RecordBatch {
    let texts = StringArray::from_iter_values(values.iter().map(|v| v.0));
    let x = Float64Array::from_iter_values(values.iter().map(|v| v.1));
    let y = Float64Array::from_iter_values(values.iter().map(|v| v.2));
    batch(vec![("t", Arc::new(texts)), ("x", Arc::new(x)), ("y", Arc::new(y))])
}

fn difference(expected: RecordBatch, actual: RecordBatch) -> String {
    same_rows(&[expected], &[actual]).expect_err("they differ").to_string()
}

#[test]
fn order_and_batch_borders_do_not_matter() {
    let expected = [ints(&[Some(1), None, Some(2), Some(2)])];
    let actual = [ints(&[Some(2)]), ints(&[]), ints(&[Some(2), Some(1), None])];
    same_rows(&expected, &actual).expect("the same multiset");
}

#[test]
fn a_missing_an_extra_and_a_doubled_row_are_named() {
    let missing = difference(ints(&[Some(1), Some(2)]), ints(&[Some(1)]));
    assert_eq!(missing, "expected 2 rows, got 1; expected, but missing: (2)");
    let extra = difference(ints(&[Some(1)]), ints(&[Some(1), Some(2)]));
    assert_eq!(extra, "expected 1 rows, got 2; not expected, or too often: (2)");
    let doubled =
        difference(ints(&[Some(1), Some(1), Some(2)]), ints(&[Some(1), Some(2), Some(2)]));
    assert!(doubled.contains("missing: (1)"), "{doubled}");
}

#[test]
fn an_empty_result_is_not_the_same_as_any_row() {
    same_rows(&[], &[ints(&[])]).expect("both have no rows");
    assert!(same_rows(&[ints(&[Some(1)])], &[]).is_err());
    assert!(same_rows(&[], &[ints(&[None])]).is_err());
}

#[test]
fn null_is_not_the_text_null_and_not_an_empty_text() {
    let text = |value: Option<&str>| batch(vec![("a", Arc::new(StringArray::from(vec![value])))]);
    assert!(same_rows(&[text(None)], &[text(Some("NULL"))]).is_err());
    assert!(same_rows(&[text(None)], &[text(Some(""))]).is_err());
    same_rows(&[text(None)], &[text(None)]).expect("null is like null here");
}

#[test]
fn floats_may_differ_by_rounding_only() {
    let x = 1234.5;
    same_rows(&[pairs(&[("a", x, 0.0)])], &[pairs(&[("a", x * (1.0 + 5e-10), -0.0)])])
        .expect("rounding");
    let far = difference(pairs(&[("a", x, 0.0)]), pairs(&[("a", x * (1.0 + 5e-9), 0.0)]));
    assert!(far.contains("the nearest row is"), "{far}");
    same_rows(
        &[pairs(&[("a", f64::NAN, f64::INFINITY)])],
        &[pairs(&[("a", f64::NAN, f64::INFINITY)])],
    )
    .expect("NaN is like NaN here");
    assert!(
        same_rows(&[pairs(&[("a", f64::INFINITY, 0.0)])], &[pairs(&[("a", 1.0, 0.0)])]).is_err()
    );
}

#[test]
fn rounding_in_one_column_does_not_pair_the_wrong_rows() {
    let nudge = 1.0 + 1e-12;
    let expected = [pairs(&[("a", 1.0, 3.0), ("a", 1.0, 5.0), ("b", 2.0, 1.0)])];
    let actual = pairs(&[("b", 2.0, 1.0), ("a", nudge, 3.0), ("a", 1.0, 5.0)]);
    same_rows(&expected, &[actual]).expect("the same but for rounding");
    assert!(
        same_rows(&expected, &[pairs(&[("b", 2.0, 1.0), ("a", 1.0, 3.0), ("a", 1.0, 3.0)])])
            .is_err()
    );
}

#[test]
fn string_encodings_are_one_type_but_names_and_types_count() {
    let plain = batch(vec![("a", Arc::new(StringArray::from(vec!["x"])))]);
    let view = batch(vec![("a", Arc::new(StringViewArray::from(vec!["x"])))]);
    same_rows(&[plain], &[view]).expect("an encoding is not a type");
    let other_name = batch(vec![("b", Arc::new(Int64Array::from(vec![1])))]);
    assert!(difference(ints(&[Some(1)]), other_name).contains("columns"));
    let other_type = batch(vec![("a", Arc::new(StringArray::from(vec!["1"])))]);
    assert!(difference(ints(&[Some(1)]), other_type).contains("columns"));
}

#[test]
fn order_is_checked_on_the_keys_only() {
    let expected = [pairs(&[("a", 1.0, 1.0), ("a", 1.0, 2.0), ("b", 1.0, 3.0)])];
    let tied = pairs(&[("a", 1.0, 2.0), ("a", 1.0, 1.0), ("b", 1.0, 3.0)]);
    same_order(&expected, &[tied], &["t", "x"]).expect("a tie has no order");
    let swapped = pairs(&[("b", 1.0, 3.0), ("a", 1.0, 1.0), ("a", 1.0, 2.0)]);
    assert!(same_order(&expected, &[swapped], &["t"]).is_err());
    assert!(same_order(&expected, &[pairs(&[("a", 1.0, 1.0)])], &["t"]).is_err());
}
