//! Bulk ingest: what a client wants of its rows, and the rows as they come.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::{FlightData, PutResult};
use dunlin_base::{Env, Error, Result};
use dunlin_planner::Ingest;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tonic::{Status, Streaming};

use super::caller::Caller;
use super::claims::Claims;
use super::fault::{Fault, Outcome, from_status, unsupported};
use super::put::{self, updated};
use super::service::Door;

/// How long the rest of rows is taken that nobody wants any more.
const LEFT_MAX: Duration = Duration::from_secs(20);

/// Where the rows go, checked.
fn wanted(command: CommandStatementIngest, catalog: &str) -> Outcome<Ingest> {
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    if command.temporary {
        return Err(unsupported("a temporary table"));
    }
    if command.transaction_id.is_some_and(|id| !id.is_empty()) {
        return Err(unsupported("a transaction of several statements"));
    }
    if let Some(other) = set(command.catalog).filter(|name| name != catalog) {
        return Err(Error::invalid(format!("there is no catalog '{other}'"))
            .with_hint(format!("there is one: {catalog}"))
            .into());
    }
    if let Some(option) = command.options.keys().min() {
        return Err(Error::invalid(format!("bulk ingest has no option '{option}'")).into());
    }
    if command.table.is_empty() {
        return Err(Error::invalid("bulk ingest needs the name of a table").into());
    }
    let (create, append) = definition(command.table_definition_options)?;
    Ok(Ingest { schema: set(command.schema), table: command.table, create, append })
}

/// Whether the table may be made, and may be there.
fn definition(options: Option<TableDefinitionOptions>) -> Outcome<(bool, bool)> {
    let unclear = || {
        Error::invalid("bulk ingest must say what to do with a table that is there, or is not")
            .with_hint("create, append or fail")
    };
    let options = options.ok_or_else(unclear)?;
    let create = match TableNotExistOption::try_from(options.if_not_exist) {
        Ok(TableNotExistOption::Create) => true,
        Ok(TableNotExistOption::Fail) => false,
        Ok(TableNotExistOption::Unspecified) | Err(_) => return Err(unclear().into()),
    };
    let append = match TableExistsOption::try_from(options.if_exists) {
        Ok(TableExistsOption::Append) => true,
        Ok(TableExistsOption::Fail) => false,
        Ok(TableExistsOption::Replace) => return Err(unsupported("replacing a table")),
        Ok(TableExistsOption::Unspecified) | Err(_) => return Err(unclear().into()),
    };
    Ok((create, append))
}

/// What a client sends, as it comes; whoever has it takes the next message. The decoder of an upload
/// that has failed goes with the upload, and its dictionaries with it: what still comes is read past
/// by the door.
type Raw = Arc<Mutex<BoxStream<'static, Result<FlightData, Status>>>>;

/// Rows with what an upload holds while they are decoded.
struct Rows {
    batches: FlightRecordBatchStream,
    env: Env,
    silence_max: Duration,
    _turn: Arc<OwnedSemaphorePermit>,
}

impl Door {
    /// Makes the rows that come files of a table: all of them, or none. `first` is the message that
    /// was taken already.
    pub(super) async fn ingest(
        &self,
        caller: &Caller,
        command: CommandStatementIngest,
        mut first: FlightData,
        mut data: Streaming<FlightData>,
    ) -> Outcome<PutResult> {
        let columns = self.columns(&mut first, &mut data).await?;
        let raw: Raw = Arc::new(Mutex::new(data.boxed()));
        let written = self.written(caller, command, columns, (first, &raw)).await;
        if written.is_err() {
            self.env.timeout(LEFT_MAX, read_past(&raw)).await;
        }
        Ok(updated(i64::try_from(written?).unwrap_or(i64::MAX)))
    }

    /// The columns of the rows: what the first message with a header says. It is left in `first`.
    async fn columns(
        &self,
        first: &mut FlightData,
        data: &mut Streaming<FlightData>,
    ) -> Outcome<SchemaRef> {
        let no_schema = || Error::invalid("the stream has no schema");
        while first.data_header.is_empty() {
            let silence_max = self.options.upload_silence_max;
            let next = self.env.timeout(silence_max, data.message()).await;
            let next = next.ok_or_else(|| silent(silence_max))?;
            *first = next.map_err(|e| from_status(&e))?.ok_or_else(no_schema)?;
        }
        // Arrow panics at some bytes that are no schema.
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| Schema::try_from(&*first)));
        let schema = read.map_err(|_| no_schema())?.map_err(|e| no_schema().with_source(e))?;
        Ok(Arc::new(schema))
    }

    async fn written(
        &self,
        caller: &Caller,
        command: CommandStatementIngest,
        columns: SchemaRef,
        (first, raw): (FlightData, &Raw),
    ) -> Outcome<u64> {
        let session = self.sessions.shared(caller)?;
        let wanted = wanted(command, session.planned().catalog_name())?;
        // Nothing is decoded, and no turn taken, for who may not.
        session.planned().check_ingest(&wanted).await?;
        let turn = Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| {
            let most = self.options.uploads_max;
            Error::exhausted(format!("this gateway takes {most} uploads at a time"))
                .with_hint("try again later, or at another gateway")
        })?;
        // Held by the decoder, too: the task that has it may be on a thread when the upload ends.
        let turn = Arc::new(turn);
        let rows = Rows {
            batches: put::batches(first, messages(raw), Claims::of_rows()),
            env: self.env.clone(),
            silence_max: self.options.upload_silence_max,
            _turn: Arc::clone(&turn),
        };
        Ok(session.upload(&wanted, columns, to_come(rows)).await?)
    }
}

/// The messages, while nobody else takes them.
fn messages(raw: &Raw) -> BoxStream<'static, Result<FlightData, Status>> {
    let next = async |raw: Raw| {
        let next = raw.lock().await.next().await?;
        Some((next, raw))
    };
    stream::unfold(Arc::clone(raw), next).boxed()
}

/// Takes what a client still sends of an upload that has failed: one that is told in mid-stream may
/// see nothing but that its stream has ended. No message is kept or decoded.
async fn read_past(raw: &Raw) {
    let mut raw = raw.lock().await;
    while let Some(Ok(_)) = raw.next().await {}
}

/// All rows, each when it comes.
fn to_come(rows: Rows) -> BoxStream<'static, Result<RecordBatch>> {
    let rows = stream::try_unfold(rows, |mut rows| async move {
        let batch = rows.next().await?;
        Ok(batch.map(|batch| (batch, rows)))
    });
    rows.boxed()
}

fn silent(silence_max: Duration) -> Error {
    Error::retry(format!("no rows came for {silence_max:?}: nothing was written"))
}

impl Rows {
    /// The next rows; `None` if the client has said that there are no more. `Retry`: it has gone, or
    /// says nothing.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.env.timeout(self.silence_max, put::next(&mut self.batches)).await;
        let next = next.ok_or_else(|| silent(self.silence_max))?;
        next.map_err(Fault::into_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(if_not_exist: i32, if_exists: i32) -> CommandStatementIngest {
        CommandStatementIngest {
            table: "t".to_owned(),
            table_definition_options: Some(TableDefinitionOptions { if_not_exist, if_exists }),
            ..CommandStatementIngest::default()
        }
    }

    #[test]
    fn options_say_what_may_be_made_and_what_may_be_there() {
        let (missing_create, missing_fail) = (1, 2);
        let (there_fail, there_append, there_replace) = (1, 2, 3);
        for (missing, there, expected) in [
            (missing_create, there_fail, Some((true, false))),
            (missing_create, there_append, Some((true, true))),
            (missing_fail, there_append, Some((false, true))),
            (missing_create, there_replace, None),
            (0, there_append, None),
            (missing_fail, 0, None),
            (missing_fail, 9, None),
        ] {
            let read = wanted(command(missing, there), "dunlin").ok();
            assert_eq!(read.map(|i| (i.create, i.append)), expected, "{missing} {there}");
        }
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let good = command(1, 2);
        assert!(wanted(good.clone(), "dunlin").is_ok());
        let options = [("x".to_owned(), "y".to_owned())];
        for bad in [
            CommandStatementIngest { temporary: true, ..good.clone() },
            CommandStatementIngest { transaction_id: Some("t".into()), ..good.clone() },
            CommandStatementIngest { catalog: Some("other".to_owned()), ..good.clone() },
            CommandStatementIngest { table: String::new(), ..good.clone() },
            CommandStatementIngest { options: options.into(), ..good.clone() },
            CommandStatementIngest { table_definition_options: None, ..good },
        ] {
            assert!(wanted(bad.clone(), "dunlin").is_err(), "{bad:?}");
        }
    }
}
