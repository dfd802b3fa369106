//! Record types and the only way to write them: a [`Batch`] checks the record's invariants and adds
//! the compare-and-swap, so that no caller can forget either.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_base::{Body as BaseBody, Error, QueryId, Result, Revision};
use dunlin_metadata::{Compare, Durability, Entry, Key, Op, Txn, VALUE_LEN_MAX};
use dunlin_proto::queue::{
    Body, Decision, History, Live, Plan, Query, Ready, Segment, Stage, Written, body,
};
use futures::{StreamExt, TryStreamExt};
use prost::Message;

use crate::depot::{self, Depot};
use crate::invariants::{self, Context, Owner, Violation};
use crate::keys;

/// Largest value that the queue writes; a kilobyte below the store's limit.
const RECORD_BYTES_MAX: usize = VALUE_LEN_MAX - 1024;

/// Largest sum of the records of one transaction: with keys, compares and index entries it stays
/// under the 1 MiB that stores take.
const TXN_BYTES_MAX: usize = 900 << 10;

/// Blobs written at once.
const BLOB_WRITES_MAX: usize = 8;

/// Most bytes of records, and of outputs, that travel with the news of a stage: every executor
/// hears of every stage.
pub(crate) const AT_HAND_MAX: usize = 16 << 10;

/// A record that is changed by compare-and-swap.
pub(crate) trait Record: Message + Clone + Default + 'static {
    /// What it is called in errors.
    const NAME: &'static str;

    /// The invariants of a write of `new` over `old` (`None`: there was none).
    fn check(old: Option<&Self>, new: &Self, context: &Context) -> Result<(), Violation>;

    /// The parts that may be moved to blobs.
    fn parts(&mut self) -> Vec<Part<'_>> {
        Vec::new()
    }
}

/// A part of a record that may be moved to a blob.
pub(crate) struct Part<'a> {
    /// Goes into the blob's name.
    kind: &'static str,
    /// Above this many bytes it is moved in any case.
    inline_max: usize,
    body: &'a mut Body,
}

fn part<'a>(kind: &'static str, body: &'a mut Option<Body>) -> Option<Part<'a>> {
    body.as_mut().map(|body| Part { kind, inline_max: BaseBody::INLINE_MAX, body })
}

/// A record as it was read; without a revision it is not in the store (yet).
#[derive(Clone, Debug)]
pub(crate) struct Stored<R> {
    pub(crate) record: R,
    pub(crate) modified: Option<Revision>,
}

impl<R: Record> Stored<R> {
    pub(crate) fn read(entry: &Entry) -> Result<Self> {
        let record = depot::decode(entry.value.clone(), &entry.key)?;
        Ok(Self { record, modified: Some(entry.modified) })
    }

    /// A record that is to be created.
    pub(crate) fn absent(record: R) -> Self {
        Self { record, modified: None }
    }
}

/// A transaction in the making. Every put of a [`Record`] compares what was read with what is
/// there, so a batch that happened cannot happen again: re-sending it after an unknown outcome
/// gives a conflict, whose entries are the read-back.
pub(crate) struct Batch {
    query: QueryId,
    context: Context,
    compares: Vec<Compare>,
    writes: Vec<Write>,
    ready: Vec<Opened>,
    ops: Vec<Op>,
    durability: Durability,
}

/// A stage that becomes claimable with the batch.
struct Opened {
    key: Key,
    stage: Key,
    entry: Ready,
}

struct Write {
    key: Key,
    record: Box<dyn Pending>,
}

impl Write {
    fn into_written(self) -> Written {
        Written { key: self.key, value: self.record.bytes() }
    }
}

/// Which of the records that a batch writes go with the news of a stage that it opens: if the query
/// begins with this one stage all of them, since its claimer will take the next step, too; else the
/// stage's own, and its segment if the batch claims from it. None if they are large, or if there was a record before (its segments may exist).
fn at_hand(
    written: &[Written],
    stage: &Key,
    meta: &Key,
    fresh: impl Fn(&Key) -> bool,
) -> Vec<Written> {
    if !fresh(stage) {
        return Vec::new();
    }
    let is_stage = |w: &&Written| {
        matches!(keys::parse(&w.key), Some((_, keys::Part::Stage(_) | keys::Part::Segment(..))))
    };
    let begins = fresh(meta) && written.iter().filter(is_stage).count() == 1;
    let own = keys::parse(stage);
    let of_stage = |w: &&Written| match (&own, keys::parse(&w.key)) {
        (Some((_, keys::Part::Stage(stage))), Some((_, keys::Part::Segment(of, _)))) => {
            *stage == of
        }
        _ => w.key == *stage,
    };
    let wanted: Vec<&Written> = written.iter().filter(|w| begins || of_stage(w)).collect();
    let bytes: usize = wanted.iter().map(|w| w.key.len() + w.value.len()).sum();
    if bytes > AT_HAND_MAX { Vec::new() } else { wanted.into_iter().cloned().collect() }
}

/// A checked record whose bodies may still move to blobs.
trait Pending: Send {
    fn parts(&mut self) -> Vec<Part<'_>>;
    fn len(&self) -> usize;
    fn bytes(&self) -> Bytes;
}

impl<R: Record> Pending for R {
    fn parts(&mut self) -> Vec<Part<'_>> {
        Record::parts(self)
    }

    fn len(&self) -> usize {
        self.encoded_len()
    }

    fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

impl Batch {
    /// A batch by nobody in particular: decisions, ends, removals.
    pub(crate) fn new(query: QueryId) -> Self {
        let context = Context::default();
        Self {
            query,
            context,
            compares: Vec::new(),
            writes: Vec::new(),
            ready: Vec::new(),
            ops: Vec::new(),
            durability: Durability::Lazy,
        }
    }

    /// To be on disk when it is answered. What is not: steps of a query on one machine, whose
    /// shuffled data are as gone as the step if the machine loses power.
    pub(crate) fn synced(mut self) -> Self {
        self.durability = Durability::Synced;
        self
    }

    /// A batch that takes effect only while the owner's card is there.
    pub(crate) fn owned(query: QueryId, owner: Owner) -> Self {
        let mut batch = Self::new(query);
        batch.require(Compare::Created(keys::executor(&owner.executor), owner.fence));
        batch.context.owner = Some(owner);
        batch
    }

    pub(crate) fn require(&mut self, compare: Compare) {
        self.compares.push(compare);
    }

    /// Takes effect only if this executor's card is absent, or is not the one of its claims.
    pub(crate) fn require_dead(&mut self, executor: &str, card: Option<Revision>) {
        let key = keys::executor(executor);
        self.require(match card {
            None => Compare::Absent(key),
            Some(created) => Compare::Created(key, created),
        });
        self.context.dead.insert(executor.to_owned());
    }

    /// Says which stages are sealed once this batch has happened.
    pub(crate) fn set_sealed(&mut self, sealed: BTreeSet<u32>) {
        self.context.sealed = sealed;
    }

    /// Says which stages stop being sealed with this batch.
    pub(crate) fn set_reopened(&mut self, reopened: BTreeSet<u32>) {
        self.context.reopened = reopened;
    }

    /// Writes a record over what was read. `Bug` if that would break an invariant.
    pub(crate) fn put<R: Record>(&mut self, key: Key, old: &Stored<R>, new: R) -> Result<()> {
        let before = old.modified.map(|_| &old.record);
        R::check(before, &new, &self.context).map_err(|v| {
            Error::bug(format!("{} {key} breaks an invariant", R::NAME)).with_source(v)
        })?;
        self.compares.push(match old.modified {
            Some(revision) => Compare::Modified(key.clone(), revision),
            None => Compare::Absent(key.clone()),
        });
        self.writes.push(Write { key, record: Box::new(new) });
        Ok(())
    }

    /// Writes the entry of a stage that becomes claimable, with what its claimers will want to read.
    pub(crate) fn put_ready(&mut self, key: Key, stage: Key, entry: Ready) {
        self.ready.push(Opened { key, stage, entry });
    }

    /// Writes an entry of an index, which follows the records compared beside it.
    pub(crate) fn put_index<R: Index>(&mut self, key: Key, entry: &R) {
        self.ops.push(Op::Put(key, entry.encode_to_vec().into(), None));
    }

    /// Sets the mark that stops all work for the query.
    pub(crate) fn put_cancel(&mut self) {
        self.ops.push(Op::Put(keys::cancel(self.query), Bytes::new(), None));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    pub(crate) fn delete_prefix(&mut self, prefix: Key) {
        self.ops.push(Op::DeletePrefix(prefix));
    }

    /// How many operations it holds so far.
    #[cfg(test)]
    pub(crate) fn ops(&self) -> usize {
        self.ops.len() + self.writes.len() + self.ready.len()
    }

    /// Moves to blobs what does not fit, and gives the transaction. The blobs are durable when it
    /// returns.
    pub(crate) async fn into_txn(mut self, depot: &Depot) -> Result<Txn> {
        let moves = self.bodies_to_move();
        let query = self.query;
        let mut writes = Vec::with_capacity(moves.len());
        for (place, kind, bytes) in moves {
            let write = depot.write(query, kind, bytes);
            writes.push(async move { write.await.map(|name| (place, name)) });
        }
        let writes = futures::stream::iter(writes).buffer_unordered(BLOB_WRITES_MAX);
        let written: Vec<_> = writes.try_collect().await?;
        for ((write, body), name) in written {
            let record = &mut self.writes[write].record;
            if let Some(part) = record.parts().into_iter().nth(body) {
                *part.body = Body { kind: Some(body::Kind::Blob(name)), checksum: 0 };
            }
        }
        let mut ops = self.ops;
        let written: Vec<Written> = self.writes.into_iter().map(Write::into_written).collect();
        let fresh = |key: &Key| self.compares.contains(&Compare::Absent(key.clone()));
        for Opened { key, stage, mut entry } in self.ready {
            entry.written = at_hand(&written, &stage, &keys::meta(query), fresh);
            ops.push(Op::Put(key, entry.encode_to_vec().into(), None));
        }
        ops.extend(written.into_iter().map(|w| Op::Put(w.key, w.value, None)));
        Ok(Txn { compares: self.compares, ops, durability: self.durability })
    }

    /// Which bodies become blobs: those over the limit of one body, then the biggest of each record
    /// that is too big, then the biggest of all until the transaction fits.
    fn bodies_to_move(&mut self) -> Vec<((usize, usize), &'static str, Bytes)> {
        let mut moves = Vec::new();
        let mut inline: BTreeMap<(usize, usize), (&'static str, usize, Bytes)> = BTreeMap::new();
        let mut sizes: Vec<usize> = Vec::new();
        for (w, write) in self.writes.iter_mut().enumerate() {
            sizes.push(write.record.len());
            for (b, part) in write.record.parts().into_iter().enumerate() {
                if let Some(body::Kind::Inline(bytes)) = &part.body.kind {
                    inline.insert((w, b), (part.kind, part.inline_max, bytes.clone()));
                }
            }
        }
        loop {
            let total: usize = sizes.iter().sum();
            let candidate = inline
                .iter()
                .filter(|((w, _), (_, inline_max, bytes))| {
                    bytes.len() > *inline_max
                        || sizes[*w] > RECORD_BYTES_MAX
                        || total > TXN_BYTES_MAX
                })
                .max_by_key(|(_, (_, _, bytes))| bytes.len())
                .map(|(place, _)| *place);
            let Some(place) = candidate else { return moves };
            if let Some((kind, _, bytes)) = inline.remove(&place) {
                sizes[place.0] = sizes[place.0].saturating_sub(bytes.len());
                moves.push((place, kind, bytes));
            }
        }
    }
}

impl Record for Query {
    const NAME: &'static str = "query";

    fn check(old: Option<&Self>, new: &Self, context: &Context) -> Result<(), Violation> {
        invariants::query(old, new, context)
    }
}

impl Record for Plan {
    const NAME: &'static str = "plan";

    fn check(old: Option<&Self>, _new: &Self, _context: &Context) -> Result<(), Violation> {
        invariants::written_once(old.is_some(), "plan")
    }

    fn parts(&mut self) -> Vec<Part<'_>> {
        part("graph", &mut self.graph).into_iter().collect()
    }
}

impl Record for Decision {
    const NAME: &'static str = "decision";

    fn check(old: Option<&Self>, _new: &Self, _context: &Context) -> Result<(), Violation> {
        invariants::written_once(old.is_some(), "decision")
    }

    fn parts(&mut self) -> Vec<Part<'_>> {
        let parts = [part("decision", &mut self.body), part("deferred", &mut self.deferred)];
        parts.into_iter().flatten().collect()
    }
}

impl Record for Stage {
    const NAME: &'static str = "stage";

    fn check(old: Option<&Self>, new: &Self, context: &Context) -> Result<(), Violation> {
        invariants::stage(old, new, context)
    }

    fn parts(&mut self) -> Vec<Part<'_>> {
        let parts = [
            part("template", &mut self.template),
            part("slices", &mut self.slices),
            part("output", &mut self.output),
            part("lost", &mut self.lost),
        ];
        parts.into_iter().flatten().collect()
    }
}

impl Record for Segment {
    const NAME: &'static str = "segment";

    fn check(old: Option<&Self>, new: &Self, context: &Context) -> Result<(), Violation> {
        invariants::segment(old, new, context)
    }

    // `segment::commit` packs the outputs of commits when they grow; a pack is always a blob.
    fn parts(&mut self) -> Vec<Part<'_>> {
        self.packs.iter_mut().map(|body| Part { kind: "pack", inline_max: 0, body }).collect()
    }
}

/// An entry of an index: derived from records, written in the same transaction as they are, never
/// compared.
pub(crate) trait Index: Message {}

impl Index for Ready {}
impl Index for Live {}
impl Index for History {}
