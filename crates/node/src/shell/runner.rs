//! Runs texts of SQL and writes what they answer.

use std::time::Duration;

use dunlin_base::Error;
use dunlin_gateway::{Reply, Rows, Session};
use dunlin_planner::Statement;
use futures::StreamExt;

use crate::cli::When;
use crate::config::full_name;
use crate::engine::Engine;
use crate::output::Output;
use crate::progress;
use crate::report::{Failure, note};

/// What is shown beside rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Display {
    /// Say how long statements took.
    pub(crate) timing: bool,
    /// When to show progress.
    pub(crate) progress: When,
    /// Say what statements without rows did.
    pub(crate) done: bool,
}

/// A session and its display.
pub(crate) struct Runner<'a> {
    engine: &'a Engine,
    session: Session,
    pub(crate) display: Display,
}

impl<'a> Runner<'a> {
    /// A new session.
    pub(crate) fn new(engine: &'a Engine, display: Display) -> Result<Self, Failure> {
        let user = ["USER", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let session = engine.session(&user.unwrap_or_else(|| "local".to_owned()))?;
        Ok(Self { engine, session, display })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// Changes a setting of the session.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let sql = format!("SET {} = '{}'", full_name(key), value.replace('\'', "''"));
        self.engine.block_on(self.session.sql(&sql))?;
        Ok(())
    }

    /// Runs the statements of a text in order until one fails. A syntax error anywhere runs none;
    /// Ctrl-C cancels the one that runs.
    pub(crate) fn run(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        self.engine.block_on(async {
            let work = async {
                for statement in self.session.prepare(text)? {
                    self.statement(&statement, output).await?;
                }
                Ok(())
            };
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
                done = work => done,
            }
        })
    }

    /// The rows of a statement of our own.
    pub(crate) fn query(&self, sql: &str) -> Result<Vec<arrow::array::RecordBatch>, Failure> {
        self.engine.block_on(async {
            match self.session.sql(sql).await? {
                Reply::Rows(mut rows) => {
                    let mut batches = Vec::new();
                    while let Some(batch) = rows.batches.next().await {
                        batches.push(batch?);
                    }
                    Ok(batches)
                }
                Reply::Done(_) => Ok(Vec::new()),
            }
        })
    }

    async fn statement(&self, statement: &Statement, out: &mut Output) -> Result<(), Failure> {
        let env = self.engine.env();
        let start = env.now();
        let rows = match self.session.execute(statement).await? {
            Reply::Rows(rows) => Some(self.rows(rows, out).await?),
            Reply::Done(what) => {
                if self.display.done {
                    out.line(&what)?;
                }
                None
            }
        };
        if self.display.timing {
            note(&timing(rows, env.now().saturating_sub(start)));
        }
        Ok(())
    }

    async fn rows(&self, rows: Rows, out: &mut Output) -> Result<usize, Failure> {
        let Rows { query, schema, mut batches } = rows;
        let mut first = self.first(query, batches.next()).await;
        // Only now: a query that fails writes not even a header.
        if let Some(Err(error)) = first {
            return Err(error.into());
        }
        let mut sink = out.sink(schema)?;
        let mut count = 0;
        while let Some(batch) = first {
            let batch = batch?;
            count += batch.num_rows();
            sink.write(&batch)?;
            first = batches.next().await;
        }
        sink.finish()?;
        Ok(count)
    }

    /// Waits for the first rows: they come when the query has ended, so progress is shown until
    /// then and never between rows.
    async fn first<T>(
        &self,
        query: Option<dunlin_base::QueryId>,
        first: impl Future<Output = Option<Result<T, Error>>>,
    ) -> Option<Result<T, Error>> {
        let Some(query) = query else { return first.await };
        let (gateway, env) = (self.session.gateway().clone(), self.engine.env().clone());
        let progress = progress::show(gateway, env, query, self.display.progress);
        tokio::select! {
            biased;
            first = first => first,
            () = progress => None,
        }
    }
}

fn timing(rows: Option<usize>, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match rows {
        Some(1) => format!("1 row in {seconds:.3} s"),
        Some(rows) => format!("{rows} rows in {seconds:.3} s"),
        None => format!("done in {seconds:.3} s"),
    }
}
