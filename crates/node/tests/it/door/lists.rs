//! What JDBC, ADBC and Power BI ask about tables and types.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_flight::{FlightInfo, IpcMessage};

use super::lab::{Doors, Plain, count, rows, ticket};

/// The rows of an info, whose schema must be what was announced.
async fn list(client: &mut Plain, info: FlightInfo) -> Vec<RecordBatch> {
    let announced = info.clone().try_decode_schema().expect("a schema");
    let batches = rows(client, ticket(&info)).await.expect("rows");
    for batch in &batches {
        assert_eq!(batch.schema().fields(), announced.fields());
    }
    batches
}

fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name(column).unwrap_or_else(|| panic!("no {column}")).clone();
        let texts = column.as_string::<i32>().clone();
        (0..texts.len()).map(move |row| texts.value(row).to_owned())
    };
    batches.iter().flat_map(of).collect()
}

#[test]
fn catalogs_schemas_and_tables() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        client.execute_update("create schema lab".to_owned(), None).await.expect("DDL");
        let view = "create view lab.v_ as select n_nationkey as k, n_name from nation";
        client.execute_update(view.to_owned(), None).await.expect("DDL");

        let info = client.get_catalogs().await.expect("catalogs");
        assert_eq!(texts(&list(&mut client, info).await, "catalog_name"), ["dunlin"]);
        let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.expect("schemas");
        assert_eq!(texts(&list(&mut client, info).await, "db_schema_name"), ["lab", "public"]);
        let info = client.get_table_types().await.expect("types");
        assert_eq!(texts(&list(&mut client, info).await, "table_type"), ["TABLE", "VIEW"]);

        let all = CommandGetTables::default();
        let info = client.get_tables(all).await.expect("tables");
        let tables = list(&mut client, info).await;
        assert_eq!(count(&tables), 9);
        assert!(texts(&tables, "table_name").contains(&"lineitem".to_owned()));
        assert!(tables[0].column_by_name("table_schema").is_none());
    });
}

#[test]
fn tables_by_pattern_with_their_columns() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let wanted = CommandGetTables {
            catalog: Some("dunlin".to_owned()),
            db_schema_filter_pattern: Some("pub%".to_owned()),
            table_name_filter_pattern: Some("%tion".to_owned()),
            table_types: vec!["TABLE".to_owned()],
            include_schema: true,
        };
        let info = client.get_tables(wanted).await.expect("tables");
        let tables = list(&mut client, info).await;
        assert_eq!(texts(&tables, "table_name"), ["nation"]);
        let columns = tables[0].column_by_name("table_schema").expect("columns").clone();
        let bytes = columns.as_binary::<i32>().value(0).to_vec();
        let schema = Schema::try_from(IpcMessage(bytes.into())).expect("a schema");
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["n_nationkey", "n_name", "n_regionkey", "n_comment"]);
        assert!(!schema.to_string().contains("View"), "{schema}");
        let none = CommandGetTables { catalog: Some("other".to_owned()), ..Default::default() };
        let info = client.get_tables(none).await.expect("tables");
        assert_eq!(count(&list(&mut client, info).await), 0);
    });
}

#[test]
fn facts_types_and_keys() {
    let doors = Doors::open();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let info = client.get_sql_info(Vec::new()).await.expect("facts");
        assert!(count(&list(&mut client, info).await) > 80);
        let some = vec![SqlInfo::FlightSqlServerName, SqlInfo::SqlKeywords];
        let info = client.get_sql_info(some).await.expect("facts");
        assert_eq!(count(&list(&mut client, info).await), 2);
        let info =
            client.get_xdbc_type_info(CommandGetXdbcTypeInfo::default()).await.expect("types");
        let types = list(&mut client, info).await;
        assert!(texts(&types, "type_name").contains(&"VARCHAR".to_owned()));

        let nation = || "nation".to_owned();
        let keys = CommandGetPrimaryKeys { table: nation(), ..Default::default() };
        let info = client.get_primary_keys(keys).await.expect("keys");
        assert_eq!(count(&list(&mut client, info).await), 0);
        let keys = CommandGetExportedKeys { table: nation(), ..Default::default() };
        let info = client.get_exported_keys(keys).await.expect("keys");
        assert_eq!(count(&list(&mut client, info).await), 0);
        let keys = CommandGetImportedKeys { table: nation(), ..Default::default() };
        let info = client.get_imported_keys(keys).await.expect("keys");
        assert_eq!(info.clone().try_decode_schema().expect("columns").fields().len(), 13);
        assert_eq!(count(&list(&mut client, info).await), 0);
        let keys = CommandGetCrossReference {
            pk_table: nation(),
            fk_table: "region".to_owned(),
            ..Default::default()
        };
        let info = client.get_cross_reference(keys).await.expect("keys");
        assert_eq!(count(&list(&mut client, info).await), 0);
    });
}
