//! Prepared statements: parameters of all common types, on any gateway.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::lab::{Doors, count, rows, ticket};

fn one_row(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate().map(|(n, column)| (format!("${}", n + 1), column));
    RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true)))
        .expect("a row")
}

#[test]
fn every_common_type_arrives_as_it_was_bound() {
    let doors = Doors::open();
    let values: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(BooleanArray::from(vec![true])), "true"),
        (Arc::new(Int8Array::from(vec![-8])), "-8"),
        (Arc::new(Int16Array::from(vec![-16])), "-16"),
        (Arc::new(Int32Array::from(vec![-32])), "-32"),
        (Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808"),
        (Arc::new(UInt32Array::from(vec![32])), "32"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Arc::new(Float32Array::from(vec![1.5])), "1.5"),
        (Arc::new(Float64Array::from(vec![-0.25])), "-0.25"),
        (
            Arc::new(
                Decimal128Array::from(vec![12345]).with_precision_and_scale(10, 2).expect("fits"),
            ),
            "123.45",
        ),
        (Arc::new(StringArray::from(vec!["it's; --"])), "it's; --"),
        (Arc::new(LargeStringArray::from(vec!["Größe"])), "Größe"),
        (Arc::new(BinaryArray::from_vec(vec![&[0, 255]])), "00ff"),
        (Arc::new(Date32Array::from(vec![20_000])), "2024-10-04"),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_500_000])), "1970-01-01T00:00:01.500"),
        (Arc::new(Int64Array::from(vec![None])), ""),
    ];
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let list: Vec<String> = (0..values.len()).map(|n| format!("? as c{n}")).collect();
        let sql = format!("select {} from nation limit 1", list.join(", "));
        let mut statement = client.prepare(sql, None).await.expect("prepared");
        assert_eq!(statement.parameter_schema().expect("one").fields().len(), values.len());
        let row = one_row(values.iter().map(|(value, _)| Arc::clone(value)).collect());
        statement.set_parameters(row).expect("set");
        let info = statement.execute().await.expect("started");
        let batches = rows(&mut client, ticket(&info)).await.expect("rows");
        assert_eq!(count(&batches), 1);
        for (column, (value, text)) in batches[0].columns().iter().zip(&values) {
            let shown = arrow::util::display::array_value_to_string(column, 0).expect("shown");
            assert_eq!(shown, *text, "{}", value.data_type());
        }
        statement.close().await.expect("closed");
    });
    doors.assert_nothing_left();
}

#[test]
fn a_prepared_statement_is_the_same_on_every_gateway() {
    let doors = Doors::open();
    doors.run(async {
        let mut one = doors.plain(0, "ann").await;
        let sql = "select n_name from nation where n_nationkey between $1 and $2 order by 1";
        let mut statement = one.prepare(sql.to_owned(), None).await.expect("prepared");
        let types: Vec<DataType> = statement
            .parameter_schema()
            .expect("known")
            .fields()
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        assert!(types.iter().all(DataType::is_integer), "{types:?}");
        assert_eq!(statement.dataset_schema().expect("known").field(0).name(), "n_name");
        for (from, to, expected) in [(3_i32, 7_i32, 5_usize), (24, 90, 1), (5, 4, 0)] {
            let row = one_row(vec![
                Arc::new(Int32Array::from(vec![from])),
                Arc::new(Int32Array::from(vec![to])),
            ]);
            statement.set_parameters(row).expect("set");
            let info = statement.execute().await.expect("started");
            let mut other = doors.plain(1, "ann").await;
            let batches = rows(&mut other, ticket(&info)).await.expect("rows");
            assert_eq!(count(&batches), expected, "{from} to {to}");
        }
    });
    doors.assert_nothing_left();
}

#[test]
fn what_does_not_fit_is_said() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let sql = "select * from nation where n_nationkey = ?".to_owned();
        let mut statement = client.prepare(sql, None).await.expect("prepared");
        let error = statement.execute().await.expect_err("nothing is bound").to_string();
        assert!(error.contains("parameter $1 has no value"), "{error}");
        let two =
            one_row(vec![Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2]))]);
        statement.set_parameters(two).expect("set");
        let error = statement.execute().await.expect_err("too many").to_string();
        assert!(
            error.contains("the statement has 1 parameters, and 2 values were given"),
            "{error}"
        );
        let rows = one_row(vec![Arc::new(Int64Array::from(vec![1, 2]))]);
        statement.set_parameters(rows).expect("set");
        let error = statement.execute().await.expect_err("rows").to_string();
        assert!(error.contains("2 rows of parameters"), "{error}");
        let error = client.prepare("select * from natoin".to_owned(), None).await;
        let error = error.expect_err("no such table").to_string();
        assert!(error.contains("unknown table 'natoin' (line 1, column 15)"), "{error}");
    });
    doors.assert_nothing_left();
}

#[test]
fn a_change_is_prepared_without_being_made() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let mut change = client.prepare("create schema later".to_owned(), None).await.expect("one");
        assert!(change.dataset_schema().expect("none").fields().is_empty());
        let schemas = "show schemas".to_owned();
        let info = client.execute(schemas.clone(), None).await.expect("a list");
        assert_eq!(count(&rows(&mut client, ticket(&info)).await.expect("rows")), 1);
        assert_eq!(change.execute_update().await.expect("done"), 0);
        let info = client.execute(schemas, None).await.expect("a list");
        assert_eq!(count(&rows(&mut client, ticket(&info)).await.expect("rows")), 2);
        assert_eq!(
            client.execute_update("drop schema later".to_owned(), None).await.expect("gone"),
            0
        );
        let error = client.execute_update("select 1".to_owned(), None).await.expect_err("rows");
        assert!(error.to_string().contains("it is no update"), "{error}");
    });
}

#[test]
fn a_timestamp_keeps_its_unit() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let sql = "select cast(? as timestamp) as t from nation limit 1".to_owned();
        let mut statement = client.prepare(sql, None).await.expect("prepared");
        let text: ArrayRef = Arc::new(StringArray::from(vec!["2026-11-21T10:00:00"]));
        statement.set_parameters(one_row(vec![text])).expect("set");
        let info = statement.execute().await.expect("started");
        let batches = rows(&mut client, ticket(&info)).await.expect("rows");
        let kind = batches[0].column(0).data_type().clone();
        assert!(matches!(kind, DataType::Timestamp(TimeUnit::Nanosecond, None)), "{kind}");
    });
}
