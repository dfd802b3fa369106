//! Deciding what to open next, from the stage graph and the statistics of sealed stages.
//!
//! Who calls it: whoever sealed a stage, through [`Decide`]; several at once is fine. It is a pure
//! function: the same situation gives the same step in every process of a build.

pub(crate) mod broadcast;
mod coalesce;
mod fuse;
mod reduce;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::TaskContext;
use dunlin_base::{Error, Result, StageId};
use dunlin_proto::decide::{Decide, OpenStage, Situation, Step};
use dunlin_proto::output::StageOutput;
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{
    DecisionBody, EdgeKind, Graph, Header, SliceList, StageSpec, StageTemplate,
};
use prost::Message;

use self::broadcast::Known;
use crate::codec::check_header;

/// Settings of decisions. They travel in the header of the graph, so that every decider uses those
/// of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecideOptions {
    /// A sealed build side of at most this many encoded bytes is broadcast instead of joined
    /// partition by partition.
    pub broadcast_bytes: u64,
    /// And of at most this many rows.
    pub broadcast_rows: u64,
    /// Neighbouring hash partitions are joined while they have no more than this together.
    pub partition_bytes: u64,
}

impl Default for DecideOptions {
    fn default() -> Self {
        Self { broadcast_bytes: 8 << 20, broadcast_rows: 500_000, partition_bytes: 16 << 20 }
    }
}

const KEYS: [&str; 3] =
    ["decide.broadcast_bytes", "decide.broadcast_rows", "decide.partition_bytes"];

impl DecideOptions {
    /// The settings as they stand in a header.
    pub fn to_settings(self) -> Vec<(String, String)> {
        let values = [self.broadcast_bytes, self.broadcast_rows, self.partition_bytes];
        KEYS.iter().zip(values).map(|(k, v)| ((*k).to_owned(), v.to_string())).collect()
    }

    /// The settings in a header; what is missing has its default.
    pub fn from_header(header: &Header) -> Self {
        let mut options = Self::default();
        for setting in &header.settings {
            let Ok(value) = setting.value.parse() else { continue };
            match KEYS.iter().position(|key| *key == setting.key) {
                Some(0) => options.broadcast_bytes = value,
                Some(1) => options.broadcast_rows = value,
                Some(2) => options.partition_bytes = value,
                _ => {}
            }
        }
        options
    }
}

/// The decider of this build.
pub struct Decider {
    context: Arc<TaskContext>,
}

impl Decider {
    /// `context` resolves the functions that plans name.
    pub fn new(context: Arc<TaskContext>) -> Self {
        Self { context }
    }

    fn next(&self, situation: &Situation) -> Result<Step> {
        let graph = Graph::decode(situation.graph.as_ref())
            .map_err(|e| Error::invalid("plan blob can not be read").with_source(e))?;
        check_header(graph.header.as_ref())?;
        let header = graph.header.unwrap_or_default();
        let mut opened = BTreeSet::new();
        for body in &situation.decisions {
            let body = DecisionBody::decode(body.as_ref())
                .map_err(|e| Error::invalid("decision can not be read").with_source(e))?;
            // What another stage took in is never opened by itself.
            opened.extend(body.opened.into_iter().chain(body.absorbed));
        }
        let sealed: BTreeMap<u32, &StageOutput> =
            situation.sealed.iter().map(|(stage, output)| (stage.0, output)).collect();
        if sealed.contains_key(&graph.result_stage) {
            let finished = Some(StageId(graph.result_stage));
            return Ok(Step { finished, ..Step::default() });
        }
        let options = DecideOptions::from_header(&header);
        let mut stages: BTreeMap<u32, StageSpec> =
            graph.stages.into_iter().map(|spec| (spec.id, spec)).collect();
        let mut body = DecisionBody::default();
        let (known, context) = (&opened, &*self.context);
        let known = Known { opened: known, sealed: &sealed, options, context };
        let absorbed = broadcast::absorb_probes(&mut stages, &known)?;
        let mut open = Vec::new();
        for id in stages.keys().copied().collect::<Vec<_>>() {
            let Some(spec) = stages.get(&id).filter(|spec| is_due(spec, &known)) else { continue };
            if !body.opened.contains(&id) {
                let spec = reduced(spec, &stages, &known, &mut body)?;
                open.push(open_with_readers(spec, &header, &mut stages, &known, &mut body)?);
            }
        }
        broadcast::record(&absorbed, &mut body);
        let body = (!open.is_empty()).then(|| Bytes::from(body.encode_to_vec()));
        Ok(Step { body, open, finished: None })
    }
}

impl Decide for Decider {
    fn decide(&self, situation: &Situation) -> Result<Step> {
        self.next(situation)
    }
}

/// Whether a stage is to be opened: all that it reads and waits for is sealed.
fn is_due(spec: &StageSpec, known: &Known<'_>) -> bool {
    let inputs = spec.inputs.iter().map(|input| &input.stage);
    let mut needed = inputs.chain(&spec.after);
    !known.opened.contains(&spec.id) && needed.all(|stage| known.sealed.contains_key(stage))
}

fn reduced(
    spec: &StageSpec,
    stages: &BTreeMap<u32, StageSpec>,
    known: &Known<'_>,
    body: &mut DecisionBody,
) -> Result<StageSpec> {
    let Some((less, build)) = reduce::reduced(spec, stages, known)? else {
        return Ok(spec.clone());
    };
    let id = spec.id;
    body.notes.push(format!("stage {id}: rows without a match in stage {build} are left out"));
    Ok(less)
}

/// Opens a stage; if it has one small slice, its readers with it, as one.
fn open_with_readers(
    mut spec: StageSpec,
    header: &Header,
    stages: &mut BTreeMap<u32, StageSpec>,
    known: &Known<'_>,
    body: &mut DecisionBody,
) -> Result<OpenStage> {
    let mut open = open_stage(&spec, header, known, &mut body.notes);
    while open.light && open.slice_count == 1 {
        let Some(fused) = fuse::fused(&spec, stages, known.context)? else { break };
        body.notes.push(format!("stage {}: stage {} is one slice, done here", fused.id, spec.id));
        body.absorbed.push(spec.id);
        stages.remove(&spec.id);
        stages.insert(fused.id, fused.clone());
        spec = fused;
        open = open_stage(&spec, header, known, &mut Vec::new());
    }
    body.opened.push(spec.id);
    Ok(open)
}

/// Input of a stage up to which it is light.
const LIGHT_BYTES: u64 = 32 << 20;

/// The record of a stage to open: its template and its slices, as the statistics have them.
fn open_stage(
    spec: &StageSpec,
    header: &Header,
    known: &Known<'_>,
    notes: &mut Vec<String>,
) -> OpenStage {
    let (sealed, partition_bytes) = (known.sealed, known.options.partition_bytes);
    let kind = spec.slices.as_ref().and_then(|s| s.kind.as_ref());
    let inputs_of = |edge: EdgeKind| {
        let same = move |i: &&dunlin_proto::plan::Input| i.edge == i32::from(edge);
        spec.inputs.iter().filter(same).map(|i| i.stage).collect::<Vec<u32>>()
    };
    let slices = match kind {
        Some(SliceKind::Files(files)) => files.slices.clone(),
        Some(SliceKind::HashPartitions(n)) => {
            let inputs = inputs_of(EdgeKind::Hash);
            let slices = coalesce::hash_slices(&inputs, *n, sealed, partition_bytes);
            if slices.len() < *n as usize {
                let id = spec.id;
                notes.push(format!("stage {id}: {n} partitions joined to {}", slices.len()));
            }
            slices
        }
        Some(SliceKind::Forward(_)) => {
            coalesce::forward_slices(&inputs_of(EdgeKind::Forward), sealed)
        }
        Some(SliceKind::Whole(_)) | None => vec![coalesce::whole_slice(spec, sealed)],
    };
    // The slices travel in the slice list; in the template they would travel twice.
    let mut lean = spec.clone();
    if let Some(SliceKind::Files(_)) = kind {
        let files = SliceKind::Files(dunlin_proto::plan::FileSlices::default());
        lean.slices = Some(dunlin_proto::plan::SliceSource { kind: Some(files) });
    }
    let template = StageTemplate { header: Some(header.clone()), spec: Some(lean) };
    let mut inputs: Vec<StageId> = spec.inputs.iter().map(|i| StageId(i.stage)).collect();
    inputs.dedup();
    OpenStage {
        stage: StageId(spec.id),
        template: template.encode_to_vec().into(),
        light: slices.iter().map(|slice| slice.weight_bytes).sum::<u64>() <= LIGHT_BYTES,
        slice_count: slices.len() as u32,
        slices: SliceList { slices }.encode_to_vec().into(),
        inputs,
        determinate: spec.determinate,
    }
}
