//! Statements that are answered here: SHOW, DESCRIBE, information_schema, SET.

use std::time::Duration;

use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement as Ast;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use dunlin_base::{ByteCount, Env, Error, Result};
use futures::TryStreamExt;

use super::query::ShowLogical;
use super::{Planned, Session, Statement, parameters, query};
use crate::catalog::Scope;
use crate::errors::in_text;
use crate::settings::unknown;

/// Rows of tables and views, without those about tables.
const SHOW_TABLES: &str = "SELECT table_schema, table_name, table_type \
     FROM information_schema.tables WHERE table_schema <> 'information_schema' \
     ORDER BY table_schema, table_name";

const SHOW_SCHEMAS: &str = "SELECT schema_name FROM information_schema.schemata \
     WHERE schema_name <> 'information_schema' ORDER BY schema_name";

/// Most bytes of rows that are answered here: all of them are in memory.
const ROWS_MAX: ByteCount = ByteCount::mib(64);

/// Longest time that answering here may take.
const TIME_MAX: Duration = Duration::from_secs(60);

impl Session {
    /// Runs a statement that was planned without an error in this process, within the planner's
    /// memory and a bound of its own for rows and time (`Exhausted`). It is planned again: this time,
    /// tables that cannot be read are left out of `information_schema`. Dropping it ends it.
    pub(super) async fn answer(
        &self,
        scope: &Scope,
        statement: &Statement,
        ast: &Ast,
    ) -> Result<Planned> {
        let answered = within(&self.planner.env, TIME_MAX, answer(scope, statement, ast));
        answered.await
    }
}

async fn within<T>(env: &Env, most: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    env.timeout(most, work).await.unwrap_or_else(|| {
        Err(Error::exhausted(format!("information_schema was read for more than {most:?}"))
            .with_hint("ask for less: such queries run in the gateway"))
    })
}

async fn answer(scope: &Scope, statement: &Statement, ast: &Ast) -> Result<Planned> {
    let state = scope.lenient().state();
    let failed = |e| in_text(&e, &statement.text);
    let plan = state.statement_to_plan(ast.clone()).await.map_err(failed)?;
    let plan = parameters::bind(plan, statement)?;
    let physical = state.create_physical_plan(&plan).await.map_err(failed)?;
    let schema = physical.schema();
    let mut rows = execute_stream(physical, state.task_ctx()).map_err(failed)?;
    let (mut batches, mut bytes) = (Vec::new(), 0_u64);
    while let Some(batch) = rows.try_next().await.map_err(failed)? {
        bytes = bytes.saturating_add(batch.get_array_memory_size() as u64);
        if bytes > ROWS_MAX.0 {
            return Err(Error::exhausted(format!("the rows take more than {ROWS_MAX}"))
                .with_hint("ask for fewer: what reads information_schema runs in the gateway"));
        }
        batches.push(batch);
    }
    Ok(Planned::Local(batches, schema))
}

impl Session {
    pub(super) async fn show_tables(&self) -> Result<Planned> {
        self.own_query(SHOW_TABLES).await
    }

    pub(super) async fn show_schemas(&self) -> Result<Planned> {
        self.own_query(SHOW_SCHEMAS).await
    }

    async fn own_query(&self, sql: &str) -> Result<Planned> {
        let statement = self.prepare(sql)?.pop();
        let statement = statement.ok_or_else(|| Error::bug("an empty query of our own"))?;
        self.query(&statement, &statement.ast, ShowLogical::No).await
    }

    /// SHOW and DESCRIBE.
    pub(super) async fn show(&self, statement: &Statement, ast: &Ast) -> Result<Planned> {
        let scope = self.scope().await?;
        let state = scope.state();
        if let Ast::Statement(sql) = ast
            && let Sql::ShowVariable { variable } = sql.as_ref()
        {
            check_shown(&state, variable)?;
        }
        query::logical(&scope, &state, statement, ast).await?;
        self.answer(&scope, statement, ast).await
    }

    /// SET and RESET.
    pub(super) async fn set(&self, statement: &Statement, ast: &Ast) -> Result<Planned> {
        let scope = self.scope().await?;
        let state = scope.state();
        match query::logical(&scope, &state, statement, ast).await? {
            LogicalPlan::Statement(PlanStatement::SetVariable(set)) => {
                self.change(|settings| settings.set(&set.variable, &set.value))?;
                Ok(Planned::Done("SET".to_owned()))
            }
            LogicalPlan::Statement(PlanStatement::ResetVariable(reset)) => {
                let defaults = &self.planner.settings;
                self.change(|settings| settings.reset(&reset.variable, defaults))?;
                Ok(Planned::Done("RESET".to_owned()))
            }
            _ => Err(Error::invalid("only SET option = value is supported")),
        }
    }
}

fn check_shown(
    state: &SessionState,
    variable: &[datafusion::sql::sqlparser::ast::Ident],
) -> Result<()> {
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    let words = match words.split_last() {
        Some((last, rest)) if last == "verbose" && !rest.is_empty() => rest,
        _ => &words,
    };
    let key = words.join(".");
    let names: Vec<String> =
        state.config_options().entries().into_iter().map(|entry| entry.key).collect();
    let special = ["all", "timezone", "time.zone"];
    if special.contains(&key.as_str()) || names.contains(&key) {
        return Ok(());
    }
    Err(unknown(&key, &names))
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_ended() {
        let env = Env::real(None);
        let endless = std::future::pending::<Result<()>>();
        let error = within(&env, Duration::from_millis(1), endless).await.expect_err("endless");
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert_eq!(within(&env, TIME_MAX, async { Ok(7) }).await.expect("in time"), 7);
    }
}
