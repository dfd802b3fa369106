//! Bulk ingest: rows of a client become rows of a table, all of them or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use arrow::ipc::writer::IpcWriteOptions;
use arrow::record_batch::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, ProstMessageExt, TableDefinitionOptions};
use arrow_flight::{FlightData, FlightDescriptor, SchemaAsIpc};
use futures::channel::oneshot;
use futures::{StreamExt, stream};
use prost::Message;
use tempfile::TempDir;

use super::lab::{Doors, Plain, all, signed};

/// What may be made, and what may be there; as the protocol numbers it.
const CREATE: (i32, i32) = (1, 1);
const APPEND: (i32, i32) = (2, 2);
const CREATE_OR_APPEND: (i32, i32) = (1, 2);

fn into_table(table: &str, (if_not_exist, if_exists): (i32, i32)) -> CommandStatementIngest {
    CommandStatementIngest {
        table: table.to_owned(),
        table_definition_options: Some(TableDefinitionOptions { if_not_exist, if_exists }),
        ..CommandStatementIngest::default()
    }
}

/// `rows` rows, numbered from `first`.
fn batch(first: i64, rows: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(first..first + rows);
    let words = StringArray::from_iter_values((first..first + rows).map(|n| format!("word {n}")));
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(numbers)), ("what", Arc::new(words))];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

async fn ingest(
    client: &mut Plain,
    command: CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<i64, String> {
    let rows = stream::iter(batches.into_iter().map(Ok));
    client.execute_ingest(command, rows).await.map_err(|e| e.to_string())
}

/// Doors that put new tables into a folder.
fn doors() -> (Doors, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let warehouse = folder.path().display().to_string();
    let doors = Doors::with(
        |options| {
            options.settings.warehouse = warehouse;
            options.tuning.hold = Duration::from_secs(1);
        },
        |_| {},
    );
    (doors, folder)
}

/// Count and sum of a table, as another gateway has them.
async fn sums(doors: &Doors, table: &str) -> (i64, i64) {
    let client = doors.client("bob").await;
    let sql = format!("SELECT count(*), coalesce(sum(id), 0) FROM {table}");
    let rows = all(&client, &sql).await.expect("rows");
    let number = |column: usize| rows[0].column(column).as_primitive::<Int64Type>().value(0);
    (number(0), number(1))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn rows_make_a_table_and_are_added_to_it() {
    let (doors, folder) = doors();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let first = vec![batch(0, 20_000), batch(20_000, 5)];
        assert_eq!(ingest(&mut client, into_table("t", CREATE), first).await, Ok(20_005));
        assert_eq!(sums(&doors, "t").await, (20_005, 20_005 * 20_004 / 2));
        let again = ingest(&mut client, into_table("t", CREATE), vec![batch(0, 1)]).await;
        assert!(again.expect_err("it is there").contains("table 'public.t' already exists"));
        let mut other = doors.plain(1, "ann").await;
        let more = vec![batch(20_005, 995)];
        assert_eq!(ingest(&mut other, into_table("t", APPEND), more).await, Ok(995));
        assert_eq!(sums(&doors, "t").await, (21_000, 21_000 * 20_999 / 2));
        // No rows: a table with columns.
        let none = into_table("none", CREATE_OR_APPEND);
        assert_eq!(ingest(&mut other, none.clone(), vec![batch(0, 0)]).await, Ok(0));
        assert_eq!(sums(&doors, "none").await, (0, 0));
        assert_eq!(ingest(&mut other, none, vec![batch(3, 2)]).await, Ok(2));
        assert_eq!(sums(&doors, "none").await, (2, 7));
    });
    doors.assert_nothing_left();
    let staged =
        files(folder.path()).into_iter().filter(|f| f.display().to_string().contains(".dunlin"));
    assert_eq!(staged.count(), 0);
}

#[test]
fn rows_that_do_not_fit_are_one_error_and_none_of_them_is_written() {
    let (doors, folder) = doors();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let make = "CREATE TABLE small AS SELECT CAST(1 AS INT) AS id, 'a' AS what";
        all(&doors.client("ann").await, make).await.expect("made");
        let before = files(folder.path());
        let named = |name: &str| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
            RecordBatch::try_from_iter([(name, column)]).expect("a batch")
        };
        let text: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
        let text = RecordBatch::try_from_iter([("id", text)]).expect("a batch");
        for (batches, words) in [
            (vec![named("other")], "table 'public.small': there is no column 'other'"),
            // Found when most rows are written already.
            (vec![batch(0, 9000), batch(9000, 9000), batch(1 << 40, 1)], "column 'id'"),
            (vec![text], "column 'id'"),
        ] {
            let error = ingest(&mut client, into_table("small", APPEND), batches).await;
            let error = error.expect_err("it does not fit");
            assert!(error.contains(words), "{words}: {error}");
        }
        let error = ingest(&mut client, into_table("nothing", APPEND), vec![batch(0, 1)]).await;
        assert!(error.expect_err("no table").contains("there is no table 'public.nothing'"));
        let temporary = CommandStatementIngest { temporary: true, ..into_table("t", CREATE) };
        let error = ingest(&mut client, temporary, vec![batch(0, 1)]).await;
        assert!(error.expect_err("no such thing").contains("a temporary table is not supported"));
        let nowhere = CommandStatementIngest {
            schema: Some("nowhere".to_owned()),
            ..into_table("t", CREATE)
        };
        let error = ingest(&mut client, nowhere, vec![batch(0, 1)]).await;
        assert!(error.expect_err("no schema").contains("there is no schema 'nowhere'"));
        for gateway in &doors.gateways {
            gateway.settle().await;
        }
        assert_eq!(sums(&doors, "small").await, (1, 1));
        assert_eq!(files(folder.path()), before);
    });
    doors.assert_nothing_left();
}

/// Sends some rows, then says that it has, then nothing.
fn stalled()
-> (impl futures::Stream<Item = Result<RecordBatch, FlightError>>, oneshot::Receiver<()>) {
    let (sender, sent) = oneshot::channel();
    let mut said = Some(sender);
    let rows = stream::iter((0..50).map(|n| Ok(batch(n * 1000, 1000))));
    let silence = stream::poll_fn(move |_| {
        let _ = said.take().map(|said| said.send(()));
        std::task::Poll::Pending
    });
    (rows.chain(silence), sent)
}

#[test]
fn a_client_that_dies_in_the_middle_of_its_rows_leaves_nothing() {
    let (doors, folder) = doors();
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let (rows, sent) = stalled();
        let command = into_table("t", CREATE);
        tokio::select! {
            done = client.execute_ingest(command, rows) => panic!("{done:?}"),
            sent = sent => sent.expect("the rows were sent"),
        }
        drop(client);
        let store = doors.cluster.engine.store();
        let given_up = async {
            loop {
                let writes = store.range("wr/q/").await.expect("a range").entries;
                let open = |bytes: &bytes::Bytes| {
                    use dunlin_proto::write::{Write, write::Phase};
                    let write = Write::decode(bytes.clone()).expect("a write");
                    write.phase() == Phase::Open
                };
                if !writes.iter().any(|entry| open(&entry.value)) && files(folder.path()).is_empty()
                {
                    return;
                }
                doors.env().sleep(Duration::from_millis(5)).await;
            }
        };
        given_up.await;
        let error = all(&doors.client("ann").await, "SELECT * FROM t").await;
        assert!(error.is_err(), "the table was made");
    });
    doors.assert_nothing_left();
}

#[test]
fn an_upload_whose_gateway_dies_is_swept_away() {
    let (doors, folder) = doors();
    doors.run(async {
        let mut client = doors.plain(1, "ann").await;
        let (rows, sent) = stalled();
        let command = into_table("t", CREATE);
        tokio::select! {
            done = client.execute_ingest(command, rows) => panic!("{done:?}"),
            sent = sent => sent.expect("the rows were sent"),
        }
        doors.gateways[1].kill();
        doors.doors[1].kill();
        let store = doors.cluster.engine.store();
        while !store.range("wr/q/").await.expect("a range").entries.is_empty() {
            doors.gateways[0].sweep().await.expect("swept");
            doors.env().sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    });
}

#[test]
fn more_uploads_than_a_gateway_takes_are_told_so() {
    let doors = Doors::with(|_| {}, |options| options.uploads_max = 0);
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let error = ingest(&mut client, into_table("t", CREATE), vec![batch(0, 1)]).await;
        let error = error.expect_err("too many");
        assert!(error.contains("takes 0 uploads at a time"), "{error}");
        // Who may not is told so, and takes no turn.
        let mut client = doors.plain(0, "cid").await;
        let error = ingest(&mut client, into_table("t", CREATE), vec![batch(0, 1)]).await;
        let error = error.expect_err("not granted");
        assert!(error.contains("user 'cid' has no CREATE on schema 'public'"), "{error}");
    });
}

/// Messages with a schema and with bytes that are no rows.
fn unreadable(command: CommandStatementIngest) -> [FlightData; 2] {
    let options = IpcWriteOptions::default();
    let schema: FlightData = SchemaAsIpc::new(batch(0, 1).schema().as_ref(), &options).into();
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let garbage = FlightData { data_header: vec![7; 64].into(), ..FlightData::default() };
    [FlightData { flight_descriptor: Some(descriptor), ..schema }, garbage]
}

#[test]
fn what_still_comes_of_a_refused_upload_is_not_decoded() {
    let doors = Doors::with(|_| {}, |options| options.uploads_max = 0);
    doors.run(async {
        let mut client = doors.plain(0, "ann").await;
        let (end, ended) = oneshot::channel::<()>();
        let rest = stream::once(ended).filter_map(|_| std::future::ready(None));
        let messages = stream::iter(unreadable(into_table("t", CREATE))).chain(rest);
        let request = signed(&client, messages);
        let mut answer = std::pin::pin!(client.inner_mut().do_put(request));
        // Whoever decoded it would see that it is unreadable, and answer.
        let early = doors.env().timeout(Duration::from_millis(500), &mut answer).await;
        assert!(early.is_none(), "an answer while rows may still come: {early:?}");
        end.send(()).expect("the client sends");
        let error = answer.await.expect_err("it was refused");
        assert!(error.message().contains("takes 0 uploads at a time"), "{error}");
    });
}
