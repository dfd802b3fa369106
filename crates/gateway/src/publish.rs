//! Statements that are started here and read elsewhere.

use arrow::datatypes::SchemaRef;
use dunlin_base::{QueryId, Result};
use dunlin_planner::Statement;

use crate::analyze;
use crate::face::Reply;
use crate::session::{Session, Step, text_reply};

/// What became of a statement.
pub(crate) enum Published {
    /// A query that runs, read or not.
    Query { id: QueryId, schema: SchemaRef },
    /// An answer that is here already.
    Reply(Reply),
}

impl Session {
    /// Plans and starts one statement, and reads nothing. A query runs to its end or its deadline
    /// (milliseconds since 1970) though nobody reads it. Dropping the future leaves no query, or
    /// such a one.
    pub(crate) async fn publish(
        &self,
        statement: &Statement,
        deadline_unix_ms: u64,
    ) -> Result<Published> {
        if statement.writes() {
            // Its one row comes when all is written: there is nothing to be read elsewhere.
            return self.write(statement, Some(deadline_unix_ms)).await.map(Published::Reply);
        }
        match self.step(statement).await? {
            Step::Reply(reply) => Ok(Published::Reply(reply)),
            Step::Run(mut query) => {
                query.deadline_unix_ms = Some(deadline_unix_ms);
                self.publish_query(query, statement).await
            }
            Step::Analyze(query, verbose) => {
                let text = analyze::run(self.gateway(), query, verbose).await?;
                Ok(Published::Reply(text_reply("plan", &text)))
            }
        }
    }
}
