//! Prepared statements without memory: the handle is the statement with its values.

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use dunlin_base::{ByteCount, Error, Result};
use dunlin_proto::door::{Sealed, StatementHandle};
use prost::Message;

use super::caller::Caller;
use super::fault::{Outcome, malformed};
use super::info::{check_owner, rows_bytes, rows_from, schema_bytes, sent_schema};
use super::seal::Purpose;
use super::service::Door;
use super::statements::Asked;

/// Most bytes of parameters.
const PARAMETERS_BYTES_MAX: ByteCount = ByteCount::mib(4);

impl Door {
    /// Checks a statement and gives a handle for it.
    pub(super) async fn prepare(
        &self,
        caller: &Caller,
        request: ActionCreatePreparedStatementRequest,
    ) -> Outcome<ActionCreatePreparedStatementResult> {
        let described = self.describe(caller, &request.query).await?;
        let dataset_schema = match &described.result {
            // No columns: clients take the statement for an update.
            None => Bytes::new(),
            Some(schema) => schema_bytes(&sent_schema(schema, &self.options))?,
        };
        let parameters = sent_schema(&described.parameters, &self.options);
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.statement_handle(
                caller,
                request.query,
                Bytes::new(),
            )?,
            dataset_schema,
            parameter_schema: schema_bytes(&parameters)?,
        })
    }

    fn statement_handle(&self, caller: &Caller, sql: String, parameters: Bytes) -> Result<Bytes> {
        let handle = StatementHandle { user: caller.user.clone(), sql, parameters };
        let sealed = self.signer.seal(Purpose::Statement, &handle)?;
        Ok(sealed.encode_to_vec().into())
    }

    /// The handle of the same statement with the values of a row. None: nothing is bound any more.
    pub(super) fn bind(
        &self,
        caller: &Caller,
        statement: StatementHandle,
        row: Option<RecordBatch>,
    ) -> Outcome<Bytes> {
        let parameters = match row {
            Some(row) => rows_bytes(&row.schema(), &[row], PARAMETERS_BYTES_MAX)?,
            None => Bytes::new(),
        };
        Ok(self.statement_handle(caller, statement.sql, parameters)?)
    }

    /// What a statement handle asks for.
    pub(super) async fn bound(&self, caller: &Caller, handle: Bytes) -> Outcome<Asked> {
        let statement = self.open_statement(caller, handle).await?;
        let values = match statement.parameters.is_empty() {
            true => Vec::new(),
            false => values(&rows_from(&statement.parameters)?.1)?,
        };
        Ok(Asked { sql: statement.sql, values })
    }

    /// A statement handle, checked: signed, and the caller's own.
    pub(super) async fn open_statement(
        &self,
        caller: &Caller,
        handle: Bytes,
    ) -> Outcome<StatementHandle> {
        let sealed = Sealed::decode(handle).map_err(|e| malformed("statement handle", e))?;
        let statement: StatementHandle =
            self.signer.open_sealed(Purpose::Statement, &sealed).await?;
        check_owner(&statement.user, &caller.user)?;
        Ok(statement)
    }
}

/// The values of the one row.
fn values(batches: &[RecordBatch]) -> Result<Vec<ScalarValue>> {
    let row = batches.iter().find(|batch| batch.num_rows() == 1);
    let row = row.ok_or_else(|| Error::bug("bound parameters are one row"))?;
    let value = |column: &arrow::array::ArrayRef| {
        let value = ScalarValue::try_from_array(column, 0);
        value.map_err(dunlin_planner::from_datafusion).map(plain_value)
    };
    row.columns().iter().map(value).collect()
}

/// A dictionary's value is as good as the dictionary.
fn plain_value(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Dictionary(_, value) => *value,
        other => other,
    }
}
