//! All records of one query at one revision.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result, StageId};
use dunlin_metadata::Entry;
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::queue::{Body, Decision, Phase, Plan, Query, Segment, Stage, StagePhase, body};

use crate::depot::{self, Depot};
use crate::keys::{self, Part};
use crate::record::Stored;
use crate::segment;
use crate::voided::Voided;

/// Blobs read at once.
const BLOB_READS_MAX: usize = 8;

/// A query's records. Of the opaque bodies, those that a step needs are at hand; see
/// [`Records::body`].
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) query: QueryId,
    pub(crate) meta: Stored<Query>,
    pub(crate) plan: Plan,
    pub(crate) decisions: BTreeMap<u32, Decision>,
    pub(crate) stages: BTreeMap<u32, Stored<Stage>>,
    pub(crate) segments: BTreeMap<(u32, u32), Stored<Segment>>,
    pub(crate) cancelled: bool,
    blobs: HashMap<String, Bytes>,
}

/// What the records are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To take the next step: plan, decisions and the outputs of stages that are or can be sealed.
    Step,
    /// To report: all outputs.
    Report,
}

/// What becomes of a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damaged {
    Refused,
    LeftOut,
}

impl Records {
    /// A query that has no records yet.
    pub(crate) fn new(query: QueryId, meta: Query, plan: Plan) -> Self {
        Self {
            query,
            meta: Stored::absent(meta),
            plan,
            decisions: BTreeMap::new(),
            stages: BTreeMap::new(),
            segments: BTreeMap::new(),
            cancelled: false,
            blobs: HashMap::new(),
        }
    }

    /// Reads the entries below `q/{query}/`; `None` if there is no query.
    pub(crate) fn read(query: QueryId, entries: &[Entry]) -> Result<Option<Self>> {
        Self::read_with(query, entries, Damaged::Refused)
    }

    /// The same of a query that is to be removed: what cannot be read goes with the rest.
    pub(crate) fn readable(query: QueryId, entries: &[Entry]) -> Result<Option<Self>> {
        Self::read_with(query, entries, Damaged::LeftOut)
    }

    fn read_with(query: QueryId, entries: &[Entry], damaged: Damaged) -> Result<Option<Self>> {
        let meta_key = keys::meta(query);
        let Some(meta) = entries.iter().find(|e| e.key == meta_key) else { return Ok(None) };
        let mut records = Self::new(query, Query::default(), Plan::default());
        records.meta = Stored::read(meta)?;
        for entry in entries {
            match records.take(entry) {
                Err(error) if damaged == Damaged::LeftOut => {
                    tracing::warn!(%query, %error, "removed with its query");
                }
                taken => taken?,
            }
        }
        Ok(Some(records))
    }

    fn take(&mut self, entry: &Entry) -> Result<()> {
        match keys::parse(&entry.key) {
            Some((_, Part::Plan)) => self.plan = Stored::read(entry)?.record,
            Some((_, Part::Cancel)) => self.cancelled = true,
            Some((_, Part::Decision(n))) => {
                self.decisions.insert(n, Stored::read(entry)?.record);
            }
            Some((_, Part::Stage(s))) => {
                self.stages.insert(s, Stored::read(entry)?);
            }
            Some((_, Part::Segment(s, k))) => {
                self.segments.insert((s, k), Stored::read(entry)?);
            }
            Some((_, Part::Meta)) | None => {}
        }
        Ok(())
    }

    /// Fetches the blobs that `purpose` needs, and drops from the segments what is void.
    pub(crate) async fn fetch(&mut self, depot: &Depot, purpose: Purpose) -> Result<()> {
        let lost = self.stages.values().map(|stage| stage.record.lost.as_ref());
        let lost = lost.filter_map(depot::blob_name).cloned().collect();
        self.fetch_all(depot, lost).await?;
        self.drop_void()?;
        self.fetch_all(depot, self.needed(purpose).into_iter().cloned().collect()).await
    }

    async fn fetch_all(&mut self, depot: &Depot, names: Vec<String>) -> Result<()> {
        use futures::{StreamExt, TryStreamExt};
        let read = |name: String| async move { depot.read(&name).await.map(|bytes| (name, bytes)) };
        let reads = futures::stream::iter(names).map(read).buffer_unordered(BLOB_READS_MAX);
        let read: Vec<_> = reads.try_collect().await?;
        self.blobs.extend(read);
        Ok(())
    }

    /// By what rule parts of a stage's segments are void. Needs the stage's lost outputs at hand.
    pub(crate) fn voided(&self, stage: u32) -> Result<Voided> {
        let Some(stored) = self.stages.get(&stage) else { return Ok(Voided::default()) };
        Voided::new(&stored.record, self.body(stored.record.lost.as_ref())?)
    }

    fn drop_void(&mut self) -> Result<()> {
        let changed = self.stages.iter().filter(|(_, stage)| stage.record.epoch > 0);
        for number in changed.map(|(number, _)| *number).collect::<Vec<_>>() {
            let voided = self.voided(number)?;
            for (_, segment) in self.segments.range_mut((number, 0)..=(number, u32::MAX)) {
                segment.record = voided.live(std::mem::take(&mut segment.record));
            }
        }
        Ok(())
    }

    fn needed(&self, purpose: Purpose) -> BTreeSet<&String> {
        let mut bodies: Vec<Option<&Body>> = Vec::new();
        if purpose == Purpose::Step && self.is_running() {
            bodies.push(self.plan.graph.as_ref());
            bodies.extend(self.decisions.values().map(|d| d.body.as_ref()));
            bodies.extend(self.decisions.values().map(|d| d.deferred.as_ref()));
        }
        if purpose == Purpose::Report || self.is_running() {
            for (&number, stage) in &self.stages {
                if stage.record.phase() == StagePhase::Sealed {
                    bodies.push(stage.record.output.as_ref());
                } else if purpose == Purpose::Report || self.is_complete(number) {
                    bodies.push(stage.record.output.as_ref());
                    bodies.extend(self.segments_of(number).flat_map(|s| s.packs.iter().map(Some)));
                }
            }
        }
        bodies.into_iter().filter_map(depot::blob_name).collect()
    }

    /// Whether any record names a blob.
    pub(crate) fn names_blobs(&self) -> bool {
        let decisions = self.decisions.values().flat_map(|d| [&d.body, &d.deferred]);
        let stages = self.stages.values().map(|stage| &stage.record);
        let stages = stages.flat_map(|s| [&s.template, &s.slices, &s.output, &s.lost]);
        let packs = self.segments.values().flat_map(|s| &s.record.packs);
        let bodies = std::iter::once(&self.plan.graph).chain(decisions).chain(stages);
        let mut bodies = bodies.filter_map(Option::as_ref).chain(packs);
        bodies.any(|body| depot::blob_name(Some(body)).is_some())
    }

    /// The bytes of a body that is inline or was fetched.
    pub(crate) fn body(&self, body: Option<&Body>) -> Result<Bytes> {
        match body.and_then(|b| b.kind.as_ref().map(|kind| (b, kind))) {
            None => Ok(Bytes::new()),
            Some((body, body::Kind::Inline(bytes))) => depot::checked(body, bytes),
            Some((_, body::Kind::Blob(name))) => self
                .blobs
                .get(name)
                .cloned()
                .ok_or_else(|| Error::bug(format!("blob {name} was not fetched"))),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.meta.record.phase(), Phase::Running | Phase::Queued)
    }

    pub(crate) fn segments_of(&self, stage: u32) -> impl Iterator<Item = &Segment> {
        self.segments.range((stage, 0)..=(stage, u32::MAX)).map(|(_, s)| &s.record)
    }

    /// True if every slice of the stage is committed.
    pub(crate) fn is_complete(&self, stage: u32) -> bool {
        let Some(record) = self.stages.get(&stage).map(|s| &s.record) else { return false };
        record.slice_count == self.segments_of(stage).map(segment::done).sum::<u32>()
    }

    /// The outputs of a stage's committed slices, in slice order.
    pub(crate) fn committed(&self, stage: u32) -> Result<StageOutput> {
        let mut found: HashMap<(u32, u32), MapOutput> = HashMap::new();
        let name = |map: &MapOutput| (map.first_slice, map.attempt);
        // What a stage that has lost output still has. Its segments may have given theirs away.
        if let Some(record) = self.stages.get(&stage).map(|stage| &stage.record) {
            let kept = self.body(record.output.as_ref())?;
            let kept: StageOutput = depot::decode(kept, "the output of a stage")?;
            found.extend(kept.maps.into_iter().map(|map| (name(&map), map)));
        }
        let mut maps = Vec::with_capacity(found.len());
        for record in self.segments_of(stage) {
            let outputs = segment::outputs(record, |body| self.body(Some(body)))?;
            found.extend(outputs.into_iter().map(|map| (name(&map), map)));
            let counting = record.commits.iter().map(|c| (c.first_slice, c.attempt));
            maps.extend(counting.filter_map(|commit| found.remove(&commit)));
        }
        maps.sort_by_key(|map| map.first_slice);
        Ok(StageOutput { maps })
    }

    /// The outputs of all sealed stages.
    pub(crate) fn sealed(&self) -> Result<Vec<(StageId, StageOutput)>> {
        let sealed = self.stages.iter().filter(|(_, s)| s.record.phase() == StagePhase::Sealed);
        sealed
            .map(|(number, stage)| {
                let bytes = self.body(stage.record.output.as_ref())?;
                Ok((StageId(*number), depot::decode(bytes, "the output of a stage")?))
            })
            .collect()
    }
}
