//! A client that writes. Each statement has an id and is sent again until it is answered; whatever
//! dies meanwhile, a reader sees all rows of a write or none, and in the end all of them once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use dunlin_base::{Error, Kind, Result};
use dunlin_gateway::flight::Client;
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::load::{Load, may_be};
use super::verdict::Outcome;

/// Where a strike says that a client is to write.
pub(super) const WRITE: &str = "write";

/// Statements that write to one table; then comes the next table, so that none grows without end.
const WRITES_IN: u64 = 12;

/// Before a statement is sent again.
const AGAIN: Duration = Duration::from_millis(300);

/// What is written, and how often it was answered.
#[derive(Default)]
pub(super) struct Written {
    next: Mutex<u64>,
    /// Rows that each statement writes, once somebody was told.
    rows: Mutex<Option<i64>>,
    answered: Mutex<BTreeMap<u64, Vec<i64>>>,
}

/// Which statement: the first of a table makes it.
#[derive(Clone, Copy, Debug)]
struct Number(u64);

impl Number {
    fn table(self) -> u64 {
        self.0 / WRITES_IN
    }

    fn tag(self) -> i64 {
        (self.0 % WRITES_IN) as i64
    }

    fn sql(self) -> String {
        let (table, tag) = (self.table(), self.tag());
        let rows = format!(
            "SELECT CAST({tag} AS BIGINT) AS tag, l_orderkey, l_comment FROM lineitem \
             WHERE l_linenumber = 1"
        );
        match tag {
            0 => format!("CREATE TABLE written_{table} AS {rows}"),
            _ => format!("INSERT INTO written_{table} {rows}"),
        }
    }
}

impl Load {
    /// Writes, one statement after the other, until it is told to stop.
    pub(super) async fn writer(self: Arc<Self>) {
        let mut gateway = 0;
        while !self.stop.load(Ordering::Acquire) {
            self.write(gateway).await;
            gateway += 1;
        }
    }

    /// Writes as a further client, without end.
    pub(super) async fn write_again(&self, first: usize) {
        loop {
            self.write(first).await;
        }
    }

    /// One statement to its answer, then a look at its table.
    async fn write(&self, first: usize) {
        // One writer at a time: the next statement of a table needs the one that makes it.
        let _turn = self.writing.lock().await;
        let number = Number(*self.written.next.lock());
        let env = self.cluster.env();
        let began = env.now();
        let outcome = env.timeout(self.answer_max, self.until_answered(number, first)).await;
        let outcome = outcome.unwrap_or(Outcome::Hung);
        let at = format!("write {} at {}s", number.0, began.as_secs());
        let took = env.now().saturating_sub(began);
        self.verdict.lock().judge(&at, outcome, took, |_, _| false);
        *self.written.next.lock() += 1;
        let look = self.look(number.table(), first, self.allowed.as_slice()).await;
        if let Some(outcome) = look {
            let at = format!("look at written_{}", number.table());
            let allowed = |error: &Error, begun| may_be(error, begun, &self.allowed);
            self.verdict.lock().judge(&at, outcome, Duration::ZERO, allowed);
        }
    }

    /// Sends the statement until it is answered. Errors that a client may get are no answer.
    async fn until_answered(&self, number: Number, first: usize) -> Outcome {
        let mut turn = first;
        loop {
            match self.send(number, turn).await {
                Ok(rows) => {
                    let expected = *self.written.rows.lock().get_or_insert(rows);
                    if rows != expected {
                        return Outcome::Wrong(format!("{rows} rows written, not {expected}"));
                    }
                    let mut answered = self.written.answered.lock();
                    answered.entry(number.table()).or_default().push(number.tag());
                    return Outcome::Right;
                }
                Err(error) if matches!(error.kind(), Kind::Retry | Kind::Lost) => {}
                // There is room again once the fault is over.
                Err(error)
                    if error.kind() == Kind::Exhausted && may_be(&error, false, &self.allowed) => {}
                Err(error) => return Outcome::Failed(error, false),
            }
            turn += 1;
            self.cluster.env().sleep(AGAIN).await;
        }
    }

    async fn send(&self, number: Number, first: usize) -> Result<i64> {
        let client = self.cluster.client(first).await?;
        let set = format!("SET dunlin.write_id = 'chaos {}'", number.0);
        client.sql(&set).await?.try_collect::<Vec<_>>().await?;
        let answer = rows(&client, &number.sql()).await?;
        let count = answer.iter().find(|batch| batch.num_rows() > 0).and_then(|batch| {
            let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Int64);
            Some(column.ok()?.as_primitive::<Int64Type>().value(0))
        });
        count.ok_or_else(|| Error::bug("a write was answered without a number of rows"))
    }

    /// All tables that were written to, at a cluster that nothing is done to: no error is allowed.
    pub(super) async fn look_at_all(&self) {
        let last = *self.written.next.lock();
        for table in 0..last.div_ceil(WRITES_IN) {
            if let Some(outcome) = self.look(table, 0, &[]).await {
                let at = format!("written_{table} in the end");
                self.verdict.lock().judge(&at, outcome, Duration::ZERO, |_, _| false);
            }
        }
    }

    /// What a reader sees of a table: each write wholly or not at all, those that were answered
    /// wholly. `None`: it could not be asked, by an error that may be.
    async fn look(&self, table: u64, first: usize, allowed: &[Kind]) -> Option<Outcome> {
        let answered = self.written.answered.lock().get(&table).cloned().unwrap_or_default();
        let sql = format!("SELECT tag, count(*) AS n FROM written_{table} GROUP BY tag");
        let ask = async { rows(&self.cluster.client(first).await?, &sql).await };
        let seen = match self.cluster.env().timeout(self.answer_max, ask).await {
            None => return Some(Outcome::Hung),
            Some(Err(error)) if allowed.contains(&error.kind()) => return None,
            // A table that nobody was told of need not be there.
            Some(Err(_)) if answered.is_empty() => return None,
            Some(Err(error)) => return Some(Outcome::Failed(error, false)),
            Some(Ok(seen)) => tags(&seen),
        };
        let expected = *self.written.rows.lock();
        let torn = seen.iter().find(|(_, n)| Some(**n) != expected);
        let missing = answered.iter().find(|tag| !seen.contains_key(tag));
        Some(match (torn, missing) {
            (Some((tag, n)), _) => Outcome::Wrong(format!("{n} rows of write {tag} in {table}")),
            (None, Some(tag)) => Outcome::Wrong(format!("write {tag} in {table} is gone")),
            (None, None) => Outcome::Right,
        })
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<RecordBatch>> {
    client.sql(sql).await?.try_collect().await
}

fn tags(batches: &[RecordBatch]) -> BTreeMap<i64, i64> {
    let rows = batches.iter().flat_map(|batch| {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().iter();
        column(0).zip(column(1))
    });
    rows.map(|(tag, n)| (*tag, *n)).collect()
}
