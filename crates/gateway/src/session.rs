//! One client's session: statements in, replies out. Every door ends here.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::execution::config::SessionConfig;
use dunlin_base::{Error, Result};
use dunlin_planner::{
    CutOptions, DecideOptions, Planned, QueryPlan, Settings, Statement, cut, session_config,
};
use dunlin_proto::plan::{Graph, Header, TableSnapshot};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use prost::Message;

use crate::analyze;
use crate::face::{Reply, Rows};
use crate::gateway::{Gateway, Prepared};
use crate::publish::Published;
use crate::writes::View;

/// How often a statement is planned anew because its tables were written to meanwhile.
const READ_TRIES: usize = 16;

/// A session. Statements run one at a time from the client's point of view; the session itself
/// may be shared.
#[derive(Clone)]
pub struct Session {
    gateway: Gateway,
    session: Arc<dunlin_planner::Session>,
    user: String,
    shape: Arc<Mutex<Option<Arc<Shape>>>>,
}

/// Settings, and what follows from them for plan blobs.
struct Shape {
    settings: Settings,
    config: SessionConfig,
    header: Header,
}

impl Session {
    /// A session of `user` on this gateway.
    pub fn new(gateway: Gateway, session: dunlin_planner::Session, user: String) -> Self {
        Self { gateway, session: Arc::new(session), user, shape: Arc::default() }
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Splits a text into statements: a syntax error anywhere runs nothing. `Invalid` with line,
    /// column and an excerpt.
    pub fn prepare(&self, sql: &str) -> Result<Vec<Statement>> {
        self.session.prepare(sql)
    }

    /// Plans and starts one statement. Returns when the query is durable and before its rows are
    /// there; dropping the future before that leaves no query behind, or one that nobody reads and
    /// the sweeper removes.
    ///
    /// Boxed, as [`Session::sql`] is: that such a future may change threads takes the compiler
    /// seconds to prove, and so it is proven here, and not wherever one is awaited.
    pub fn execute<'a>(&'a self, statement: &'a Statement) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(self.execute_here(statement))
    }

    async fn execute_here(&self, statement: &Statement) -> Result<Reply> {
        if statement.writes() {
            return self.write(statement, None).await;
        }
        match self.step(statement).await? {
            Step::Reply(reply) => Ok(reply),
            Step::Run(query) => self.run(query, statement).await,
            Step::Analyze(query, verbose) => {
                let text = analyze::run(&self.gateway, query, verbose).await?;
                Ok(text_reply("plan", &text))
            }
        }
    }

    /// Plans one statement. What it reads has all files of a write or none, once it is published.
    pub(crate) async fn step(&self, statement: &Statement) -> Result<Step> {
        match self.unlooked(statement).await? {
            Some(query) => Ok(Step::Run(query)),
            None => self.look_and_step(statement).await,
        }
    }

    /// The same with a look at the catalog and at the writes under way.
    pub(crate) async fn look_and_step(&self, statement: &Statement) -> Result<Step> {
        for _ in 0..READ_TRIES {
            let before = View::now(&self.gateway).await?;
            let (step, locations) = self.step_once(statement).await?;
            if !before.moved(&self.gateway, &locations).await? {
                return Ok(step);
            }
        }
        Err(Error::retry("the tables of the statement are being written to all the time"))
    }

    /// Plans one statement; with it the locations that its query reads.
    async fn step_once(&self, statement: &Statement) -> Result<(Step, Vec<String>)> {
        let planned = match self.session.known_plan(statement).await {
            Some(plan) => Planned::Query(Box::new(plan)),
            None => self.plan(statement).await?,
        };
        let step = match planned {
            Planned::Query(plan) => {
                let step = Step::Run(self.prepare_query(&plan, statement)?);
                return Ok((step, locations(&plan)));
            }
            Planned::Explain { analyze: false, verbose, inner } => {
                Step::Reply(self.explain(&inner, verbose)?)
            }
            Planned::Explain { analyze: true, verbose, inner } => {
                let step = Step::Analyze(self.prepare_query(&inner, statement)?, verbose);
                return Ok((step, locations(&inner)));
            }
            Planned::Write(_) => {
                return Err(Error::bug("a statement that writes was planned as a query"));
            }
            Planned::Local(batches, schema) => {
                let batches = stream::iter(batches.into_iter().map(Ok)).boxed();
                Step::Reply(Reply::Rows(Rows { query: None, schema, batches }))
            }
            Planned::Done(what) => Step::Reply(Reply::Done(what)),
        };
        Ok((step, Vec::new()))
    }

    /// Plans on the CPU runtime: on the control runtime it would hold up leases. Dropping the future
    /// ends it, and with it what the gateway computes for the statement.
    pub(crate) async fn plan(&self, statement: &Statement) -> Result<Planned> {
        let (session, statement, this) =
            (Arc::clone(&self.session), statement.clone(), self.clone());
        let planning = self.gateway.parts().cpu.spawn("plan", async move {
            let planned = session.plan(&statement).await?;
            // Cutting is CPU work, too; the plan keeps its graph.
            let query = match &planned {
                Planned::Query(plan) | Planned::Explain { analyze: true, inner: plan, .. } => {
                    Some(plan.as_ref())
                }
                Planned::Write(write) => Some(&write.query),
                _ => None,
            };
            if let Some(query) = query {
                this.prepare_query(query, &statement)?;
            }
            Ok(planned)
        });
        let planned: Result<Result<Planned>, String> = planning.join_or_abort().await;
        planned.unwrap_or_else(|panic| Err(Error::bug(format!("planning panicked: {panic}"))))
    }

    /// Who asks.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The planner's half of the session.
    pub(crate) fn planned(&self) -> &Arc<dunlin_planner::Session> {
        &self.session
    }

    /// Prepares and executes a text of one statement.
    pub fn sql<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let statements = self.prepare(sql)?;
            match statements.as_slice() {
                [statement] => self.execute(statement).await,
                [] => Err(Error::invalid("there is no statement in the text")),
                _ => Err(Error::invalid("there are several statements in the text")),
            }
        })
    }

    async fn run(&self, query: Prepared, statement: &Statement) -> Result<Reply> {
        let (id, schema) = match self.publish_query(query, statement).await? {
            Published::Query { id, schema } => (id, schema),
            Published::Reply(reply) => return Ok(reply),
        };
        let rows = self.gateway.attach(id, schema);
        let (session, statement) = (Arc::clone(&self.session), statement.clone());
        let forget = move |batch: &Result<RecordBatch>| {
            if batch.is_err() {
                session.forget(statement.sql());
            }
        };
        // A plan whose query fails is not used again: it may be the plan.
        Ok(Reply::Rows(Rows { batches: rows.batches.inspect(forget).boxed(), ..rows }))
    }

    /// A plan as it is published.
    pub(crate) fn prepare_query(
        &self,
        plan: &QueryPlan,
        statement: &Statement,
    ) -> Result<Prepared> {
        let graph = match plan.graph.get() {
            Some(graph) => graph.clone(),
            None => {
                let graph = Bytes::from(self.graph(plan)?.encode_to_vec());
                // A race is won by an equal graph.
                plan.graph.get_or_init(|| graph).clone()
            }
        };
        Ok(Prepared {
            sql: statement.sql().to_owned(),
            user: self.user.clone(),
            graph,
            schema: Arc::clone(&plan.schema),
            deadline_unix_ms: None,
            guards: Vec::new(),
        })
    }

    /// The stage graph of a plan.
    pub fn graph(&self, plan: &QueryPlan) -> Result<Graph> {
        let shape = self.shape(&plan.settings)?;
        let mut header = shape.header.clone();
        header.tables = plan.tables.iter().map(snapshot).collect();
        let stores = self.session.stores().export();
        header.stores = stores.iter().map(|s| s.to_proto().encode_to_vec().into()).collect();
        cut(Arc::clone(&plan.physical), header, &cut_options(&plan.settings), &shape.config)
    }

    /// What follows from settings, remembered: short queries would spend a tenth of their time on
    /// finding it out again.
    fn shape(&self, settings: &Settings) -> Result<Arc<Shape>> {
        let mut last = self.shape.lock();
        if let Some(shape) = last.as_ref().filter(|shape| shape.settings == *settings) {
            return Ok(Arc::clone(shape));
        }
        let config = session_config(settings)?;
        let mut header = dunlin_planner::header(&config, decide_options(settings).to_settings());
        header.shuffle_copies = settings.shuffle_copies;
        header.shuffle_encoding = settings.shuffle_encoding.clone();
        let shape = Arc::new(Shape { settings: settings.clone(), config, header });
        *last = Some(Arc::clone(&shape));
        Ok(shape)
    }

    fn explain(&self, plan: &QueryPlan, verbose: bool) -> Result<Reply> {
        let graph = self.graph(plan)?;
        let context = self.gateway.parts().contexts.base();
        let mut text = dunlin_planner::explain(&graph, &context)?;
        if verbose {
            text = format!("Logical plan\n{}\n\n{text}", plan.logical);
        }
        Ok(text_reply("plan", &text))
    }
}

/// Where the tables of a plan are.
pub(crate) fn locations(plan: &QueryPlan) -> Vec<String> {
    plan.tables.iter().flat_map(|table| table.locations.iter().cloned()).collect()
}

/// What is left to do after planning.
pub(crate) enum Step {
    Reply(Reply),
    Run(Prepared),
    Analyze(Prepared, bool),
}

fn cut_options(settings: &Settings) -> CutOptions {
    CutOptions {
        slice_bytes: settings.slice_bytes,
        slices_min: settings.partitions,
        collapse_bytes: settings.collapse_bytes,
        whole_join_bytes: settings.whole_join_bytes,
        ..CutOptions::default()
    }
}

fn decide_options(settings: &Settings) -> DecideOptions {
    DecideOptions {
        broadcast_bytes: settings.broadcast_bytes.0,
        broadcast_rows: settings.broadcast_rows as u64,
        ..DecideOptions::default()
    }
}

fn snapshot(table: &dunlin_planner::TableInfo) -> TableSnapshot {
    TableSnapshot {
        table: table.table.clone(),
        files: table.files as u32,
        bytes: table.bytes,
        fingerprint: table.fingerprint,
    }
}

/// A text as rows of one column, a line each.
pub(crate) fn text_reply(column: &str, text: &str) -> Reply {
    let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Utf8, false)]));
    let lines = StringArray::from(text.lines().collect::<Vec<_>>());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(lines)]);
    let batch = batch.map_err(|e| Error::bug("a text is a column").with_source(e));
    Reply::Rows(Rows { query: None, schema, batches: stream::iter([batch]).boxed() })
}
