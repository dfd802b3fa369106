//! The records of writes in the metadata store: keys, reads, and the transactions between phases.

use std::fmt;

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result, Revision};
use dunlin_metadata::{Compare, Entry, Op, StoreRef, Txn, TxnOutcome};
use dunlin_planner::catalog::schema_gone;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{NewTable, Target, Write, WriteId};
use prost::Message;

use crate::catalog;

/// Below it are the writes.
pub(super) const WRITES: &str = "wr/q/";
/// Below it are the clients' ids.
pub(super) const IDS: &str = "wr/k/";
/// Below it are targets that only one write may have.
const HELD: &str = "wr/x/";

/// The records of writes.
#[derive(Clone, Debug)]
pub(super) struct Records {
    store: StoreRef,
}

/// A record and when it was last written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored<T> {
    pub(super) record: T,
    pub(super) revision: Revision,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swap {
    /// It happened.
    Done,
    /// Another was first, or something else that it needs is not so: look again.
    Conflict,
}

/// A client's name for a write.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// The key of its record.
    pub(super) key: String,
    /// Hash of the statement.
    pub(super) statement: Bytes,
    /// The default schema: the same text means other tables under another.
    pub(super) schema: String,
}

impl Name {
    /// The name that `user` gave to the statement of this text, under this default schema.
    pub(super) fn new(user: &str, id: &str, sql: &str, schema: String) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&(user.len() as u64).to_le_bytes());
        hash.update(user.as_bytes());
        hash.update(id.as_bytes());
        let key = format!("{IDS}{}", hash.finalize().to_hex());
        let statement = Bytes::copy_from_slice(blake3::hash(sql.as_bytes()).as_bytes());
        Self { key, statement, schema }
    }
}

fn write_key(query: QueryId) -> String {
    format!("{WRITES}{query}")
}

/// Holds while the record of a write is as it was then.
pub(super) fn unmoved(query: QueryId, revision: Revision) -> Compare {
    Compare::Modified(write_key(query), revision)
}

/// The key that only one COPY into a target has at a time.
fn held_key(target: &Target) -> Option<String> {
    use dunlin_proto::write::target::Kind;
    let hash =
        || blake3::hash(format!("{}\n{}\n{}", target.store, target.folder, target.file).as_bytes());
    (target.kind() != Kind::Insert).then(|| format!("{HELD}{}", hash().to_hex()))
}

fn decoded<T: Message + Default>(entry: &Entry) -> Result<Stored<T>> {
    let record = T::decode(entry.value.clone()).map_err(|e| {
        Error::lost(format!("the record '{}' cannot be read", entry.key)).with_source(e)
    })?;
    Ok(Stored { record, revision: entry.modified })
}

fn readable<T: Message + Default>(entry: &Entry) -> Option<Stored<T>> {
    decoded(entry).inspect_err(|error| tracing::warn!(%error, "left out")).ok()
}

fn put(key: &str, record: &impl Message) -> Op {
    Op::Put(key.to_owned(), record.encode_to_vec().into(), None)
}

impl Records {
    pub(super) fn new(store: StoreRef) -> Self {
        Self { store }
    }

    /// The write of a query.
    pub(super) async fn write(&self, query: QueryId) -> Result<Option<Stored<Write>>> {
        self.store.get(&write_key(query)).await?.as_ref().map(decoded).transpose()
    }

    /// All writes that have records, oldest first. One that cannot be read is left out: it is an
    /// error of its own write, not of every statement.
    pub(super) async fn writes(&self) -> Result<Vec<(QueryId, Stored<Write>)>> {
        self.writes_at().await.map(|(writes, _)| writes)
    }

    /// The same, with the revision at which they are so.
    pub(super) async fn writes_at(&self) -> Result<(Vec<(QueryId, Stored<Write>)>, Revision)> {
        let snapshot = self.store.range(WRITES).await?;
        let one = |entry: &Entry| {
            let id = entry.key.strip_prefix(WRITES)?.parse().ok()?;
            Some((id, readable(entry)?))
        };
        Ok((snapshot.entries.iter().filter_map(one).collect(), snapshot.revision))
    }

    /// All client's ids with their keys; without those that cannot be read.
    pub(super) async fn ids(&self) -> Result<Vec<(String, Stored<WriteId>)>> {
        let snapshot = self.store.range(IDS).await?;
        let one = |entry: &Entry| Some((entry.key.clone(), readable(entry)?));
        Ok(snapshot.entries.iter().filter_map(one).collect())
    }

    /// What a client's id stands for.
    pub(super) async fn id(&self, key: &str) -> Result<Option<Stored<WriteId>>> {
        self.store.get(key).await?.as_ref().map(decoded).transpose()
    }

    /// Creates a write and takes what it needs: its name (last written at `seen`), its target. The
    /// revision of its record; `None` names nothing: read the name again. `Invalid`: the new table's
    /// name is taken, or its schema gone; `Retry`: another statement has the target.
    pub(super) async fn begin(
        &self,
        query: QueryId,
        write: &Write,
        name: Option<(&Name, Option<Revision>)>,
    ) -> Result<Option<Revision>> {
        let key = write_key(query);
        let mut compares = vec![Compare::Absent(key.clone())];
        let mut ops = vec![put(&key, write)];
        if let Some((name, seen)) = name {
            compares.push(match seen {
                None => Compare::Absent(name.key.clone()),
                Some(revision) => Compare::Modified(name.key.clone(), revision),
            });
            let id = WriteId {
                statement: name.statement.clone(),
                query: query.to_string(),
                unix_ms: write.created_unix_ms,
                schema: name.schema.clone(),
                ..WriteId::default()
            };
            ops.push(put(&name.key, &id));
        }
        let target = write.target.clone().unwrap_or_default();
        let held = held_key(&target);
        if let Some(held) = &held {
            compares.push(Compare::Absent(held.clone()));
            ops.push(Op::Put(held.clone(), query.to_string().into(), None));
        }
        if let Some(table) = &target.table {
            compares.extend(catalog::can_create(&table.schema, &table.name));
        }
        let txn = Txn { compares, ops, ..Txn::default() };
        let entries = match self.store.txn(txn).await? {
            TxnOutcome::Committed(revision) => return Ok(Some(revision)),
            TxnOutcome::Conflict(entries) => entries,
        };
        let there = |wanted: &str| entries.iter().flatten().find(|entry| entry.key == wanted);
        // The id is this caller's alone: a try whose answer was lost. Since then it may have been
        // given up.
        if let Some(entry) = there(&key) {
            return Ok(Some(entry.created));
        }
        if held.is_some_and(|held| there(&held).is_some()) {
            return Err(Error::retry("another statement is writing to the same target"));
        }
        let Some(table) = &target.table else { return Ok(None) };
        if there(&catalog::object_key(&table.schema, &table.name)).is_some() {
            return Err(taken(table));
        }
        let schema = catalog::schema_key(&table.schema, &table.name);
        if schema.is_some_and(|schema| there(&schema).is_none()) {
            return Err(schema_gone(&table.schema));
        }
        Ok(None)
    }

    /// Why a table that a write makes could not be made, as far as it shows afterwards.
    pub(super) async fn not_made(&self, table: &NewTable) -> Result<Error> {
        let Some(schema) = catalog::schema_key(&table.schema, &table.name) else {
            return Ok(taken(table));
        };
        let there = self.store.get(&schema).await?.is_some();
        Ok(if there { taken(table) } else { schema_gone(&table.schema) })
    }

    /// The files of the staged manifest with this hash count.
    pub(super) async fn decide(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        rows: u64,
        manifest: Bytes,
    ) -> Result<Swap> {
        let mut write = seen.record.clone();
        write.set_phase(Phase::Decided);
        (write.rows, write.manifest) = (rows, manifest);
        self.step(query, seen, &write, Vec::new(), Vec::new()).await
    }

    /// All files are there; with them the table, if the write makes one.
    pub(super) async fn finish(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        now_unix_ms: u64,
    ) -> Result<Swap> {
        let mut write = seen.record.clone();
        write.set_phase(Phase::Done);
        write.ended_unix_ms = now_unix_ms;
        let target = write.target.clone().unwrap_or_default();
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        if let Some(NewTable { schema, name, definition }) = target.table {
            compares.extend(catalog::can_create(&schema, &name));
            ops.extend(catalog::create(&schema, &name, definition));
        }
        if !write.id_key.is_empty()
            && let Some(id) = self.id(&write.id_key).await?
            && id.record.query == query.to_string()
        {
            let (rows, unix_ms) = (write.rows, now_unix_ms);
            let done = WriteId { done: true, rows, unix_ms, ..id.record };
            ops.push(put(&write.id_key, &done));
        }
        self.step(query, seen, &write, compares, ops).await
    }

    /// An upload goes on: its record is as good as new. `Conflict`: it was given up.
    pub(super) async fn renew(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        now_unix_ms: u64,
    ) -> Result<Swap> {
        let write = Write { renewed_unix_ms: now_unix_ms, ..seen.record.clone() };
        self.step(query, seen, &write, Vec::new(), Vec::new()).await
    }

    /// Nothing of the write will count.
    pub(super) async fn abort(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        now_unix_ms: u64,
    ) -> Result<Swap> {
        let mut write = seen.record.clone();
        write.set_phase(Phase::Aborted);
        write.ended_unix_ms = now_unix_ms;
        self.step(query, seen, &write, Vec::new(), Vec::new()).await
    }

    async fn step(
        &self,
        query: QueryId,
        seen: &Stored<Write>,
        write: &Write,
        mut compares: Vec<Compare>,
        mut ops: Vec<Op>,
    ) -> Result<Swap> {
        let key = write_key(query);
        compares.push(Compare::Modified(key.clone(), seen.revision));
        ops.push(put(&key, write));
        let ended = matches!(write.phase(), Phase::Done | Phase::Aborted);
        if ended && let Some(held) = write.target.as_ref().and_then(held_key) {
            ops.push(Op::Delete(held));
        }
        self.commit(compares, ops).await
    }

    /// Forgets a write of which nothing can be left.
    pub(super) async fn forget(&self, query: QueryId, seen: &Stored<Write>) -> Result<Swap> {
        self.delete(write_key(query), seen.revision).await
    }

    /// Forgets a client's id.
    pub(super) async fn forget_id(&self, key: String, seen: &Stored<WriteId>) -> Result<Swap> {
        self.delete(key, seen.revision).await
    }

    async fn delete(&self, key: String, revision: Revision) -> Result<Swap> {
        self.commit(vec![Compare::Modified(key.clone(), revision)], vec![Op::Delete(key)]).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Swap> {
        match self.store.txn(Txn { compares, ops, ..Txn::default() }).await? {
            TxnOutcome::Committed(_) => Ok(Swap::Done),
            TxnOutcome::Conflict(_) => Ok(Swap::Conflict),
        }
    }
}

/// The name of a new table is another's.
fn taken(table: &NewTable) -> Error {
    Error::invalid(format!("table '{}.{}' already exists", table.schema, table.name))
        .with_hint("drop it first, or use IF NOT EXISTS")
}

/// Where a write goes, for messages.
pub(super) struct Shown<'a>(pub(super) &'a Target);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { store, folder, file, .. } = self.0;
        let store = store.strip_prefix("file://").unwrap_or(store);
        write!(f, "{}/{folder}", store.trim_end_matches('/'))?;
        if file.is_empty() { Ok(()) } else { write!(f, "/{file}") }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dunlin_base::{Env, Kind};
    use dunlin_metadata::sim::SimStore;

    use super::*;

    fn records() -> (Env, Records) {
        let env = Env::seeded(1);
        let store: StoreRef = Arc::new(SimStore::new(env.clone()));
        (env, Records::new(store))
    }

    #[tokio::test]
    async fn the_age_of_an_id_counts_from_the_end_of_its_write() {
        let (env, records) = records();
        let query = QueryId::generate(&env);
        let name = Name::new("ada", "monday", "INSERT ...", "public".to_owned());
        let write = Write { created_unix_ms: 5, id_key: name.key.clone(), ..Write::default() };
        records.begin(query, &write, Some((&name, None))).await.expect("no faults");
        let id = records.id(&name.key).await.expect("no faults").expect("it has begun").record;
        assert_eq!((id.unix_ms, id.done, id.schema.as_str()), (5, false, "public"));
        let seen = records.write(query).await.expect("no faults").expect("it has begun");
        assert_eq!(records.finish(query, &seen, 7_000).await.expect("no faults"), Swap::Done);
        let id = records.id(&name.key).await.expect("no faults").expect("it is done").record;
        assert_eq!((id.unix_ms, id.done, id.schema.as_str()), (7_000, true, "public"));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_an_error_of_its_own_write_only() {
        let (env, records) = records();
        let (damaged, well) = (QueryId::generate(&env), QueryId::generate(&env));
        let begun = records.begin(well, &Write::default(), None).await.expect("no faults");
        assert!(begun.is_some());
        let none = |key: String| Op::Put(key, Bytes::from_static(b"none"), None);
        let ops = vec![none(write_key(damaged)), none(format!("{IDS}0"))];
        records.commit(Vec::new(), ops).await.expect("no faults");
        let all = records.writes().await.expect("the other one is well");
        assert_eq!(all.into_iter().map(|(query, _)| query).collect::<Vec<_>>(), [well]);
        assert_eq!(records.ids().await.expect("none is well").len(), 0);
        let error = records.write(damaged).await.expect_err("its own record");
        assert_eq!(error.kind(), Kind::Lost);
    }
}
