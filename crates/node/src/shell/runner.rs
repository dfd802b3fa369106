//! Runs texts of SQL and writes what they answer, here or at a gateway.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dunlin_base::{Env, Error};
use dunlin_gateway::{Reply, Session};
use dunlin_planner::Statement;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::remote::Remote;
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

/// Where statements are run.
pub(crate) enum Place<'a> {
    /// On an engine of this process.
    Here(&'a Engine, Session),
    /// At the gateways of a cluster.
    There(&'a Remote),
}

/// What a statement answers.
pub(super) enum Answer {
    Rows(SchemaRef, BoxStream<'static, Result<RecordBatch, Error>>, Watched),
    Done(String),
}

/// The query whose progress can be shown.
pub(super) enum Watched {
    Nothing,
    Query(dunlin_base::QueryId),
    Ticket(bytes::Bytes),
}

/// A session and its display.
pub(crate) struct Runner<'a> {
    place: Place<'a>,
    pub(crate) display: Display,
}

impl<'a> Runner<'a> {
    /// A new session on an engine.
    pub(crate) fn new(engine: &'a Engine, display: Display) -> Result<Self, Failure> {
        let user = ["USER", "USERNAME"].iter().find_map(|name| std::env::var(name).ok());
        let session = engine.session(&user.unwrap_or_else(|| "local".to_owned()))?;
        Ok(Self { place: Place::Here(engine, session), display })
    }

    /// A session at the gateways of a cluster.
    pub(crate) fn remote(remote: &'a Remote, display: Display) -> Self {
        Self { place: Place::There(remote), display }
    }

    /// Where it runs.
    pub(crate) fn place(&self) -> &Place<'a> {
        &self.place
    }

    /// Changes a setting of the session.
    pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let sql = format!("SET {} = '{}'", full_name(key), value.replace('\'', "''"));
        self.query(&sql).map(drop)
    }

    /// Runs the statements of a text in order until one fails. A syntax error anywhere runs none;
    /// Ctrl-C cancels the one that runs.
    pub(crate) fn run(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        self.block_on(async {
            let work = async {
                for statement in dunlin_planner::prepare(text)? {
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
    pub(crate) fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, Failure> {
        self.block_on(async {
            let mut all = Vec::new();
            for statement in dunlin_planner::prepare(sql)? {
                if let Answer::Rows(_, mut batches, _) = self.answer(&statement).await? {
                    while let Some(batch) = batches.next().await {
                        all.push(batch?);
                    }
                }
            }
            Ok(all)
        })
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.place {
            Place::Here(engine, _) => engine.block_on(work),
            Place::There(remote) => remote.block_on(work),
        }
    }

    fn env(&self) -> &Env {
        match &self.place {
            Place::Here(engine, _) => engine.env(),
            Place::There(remote) => remote.env(),
        }
    }

    async fn answer(&self, statement: &Statement) -> Result<Answer, Failure> {
        match &self.place {
            Place::Here(_, session) => Ok(match session.execute(statement).await? {
                Reply::Rows(rows) => {
                    let watched = rows.query.map_or(Watched::Nothing, Watched::Query);
                    Answer::Rows(rows.schema, rows.batches, watched)
                }
                Reply::Done(what) => Answer::Done(what),
            }),
            Place::There(remote) => Ok(remote.answer(statement.sql()).await?),
        }
    }

    async fn statement(&self, statement: &Statement, out: &mut Output) -> Result<(), Failure> {
        let start = self.env().now();
        let rows = match self.answer(statement).await? {
            Answer::Rows(schema, batches, watched) => {
                Some(self.rows(schema, batches, watched, out).await?)
            }
            Answer::Done(what) => {
                if self.display.done {
                    out.line(&what)?;
                }
                None
            }
        };
        if self.display.timing {
            note(&timing(rows, self.env().now().saturating_sub(start)));
        }
        Ok(())
    }

    async fn rows(
        &self,
        schema: SchemaRef,
        mut batches: BoxStream<'static, Result<RecordBatch, Error>>,
        watched: Watched,
        out: &mut Output,
    ) -> Result<usize, Failure> {
        let mut first = self.first(watched, batches.next()).await;
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
        watched: Watched,
        first: impl Future<Output = Option<Result<T, Error>>>,
    ) -> Option<Result<T, Error>> {
        let when = self.display.progress;
        let progress = async {
            match (watched, &self.place) {
                (Watched::Query(query), Place::Here(engine, session)) => {
                    let gateway = session.gateway().clone();
                    progress::show(gateway, engine.env().clone(), query, when).await;
                }
                (Watched::Ticket(ticket), Place::There(remote)) => {
                    remote.show_progress(&ticket, when).await;
                }
                _ => std::future::pending().await,
            }
        };
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
