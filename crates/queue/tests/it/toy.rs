//! A toy planner: a random graph of stages, opened when their inputs are sealed. It complains of
//! situations that cannot be.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_base::{Error, Result, StageId};
use dunlin_proto::decide::{Decide, OpenStage, Situation, Step};
use dunlin_proto::output::StageOutput;
use parking_lot::Mutex;

/// `stage:inputs:slices:determinate` joined by `;`, after a letter that says how eager the planner
/// is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    /// Opens all stages that it can at once, rather than one for each decision.
    pub(crate) eager: bool,
    /// Inputs and least number of slices of each stage. The last one holds the result.
    pub(crate) stages: Vec<(Vec<u32>, u32)>,
    /// Stages whose slices give other rows when they run again.
    pub(crate) indeterminate: u64,
}

impl Graph {
    pub(crate) fn encode(&self) -> Bytes {
        let stages = self.stages.iter().enumerate().map(|(number, (inputs, slices))| {
            let inputs: Vec<String> = inputs.iter().map(u32::to_string).collect();
            let same = u8::from(self.is_determinate(number as u32));
            format!("{number}:{}:{slices}:{same}", inputs.join(","))
        });
        let eager = if self.eager { 'e' } else { 'o' };
        format!("{eager}{}", stages.collect::<Vec<_>>().join(";")).into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("a toy graph is text");
        let mut indeterminate = 0;
        let stages = text[1..].split(';').enumerate().map(|(number, stage)| {
            if stage.ends_with(":0") {
                indeterminate |= 1 << number;
            }
            let mut parts = stage.split(':').skip(1);
            let inputs = parts.next().expect("inputs");
            let inputs = inputs.split(',').filter(|i| !i.is_empty());
            let inputs = inputs.map(|i| i.parse().expect("a number")).collect();
            (inputs, parts.next().expect("slices").parse().expect("a number"))
        });
        let stages = stages.collect();
        Self { eager: text.starts_with('e'), stages, indeterminate }
    }

    pub(crate) fn is_determinate(&self, stage: u32) -> bool {
        stage >= 64 || self.indeterminate & (1 << stage) == 0
    }

    pub(crate) fn result(&self) -> u32 {
        self.stages.len() as u32 - 1
    }

    /// How many slices a stage gets: it depends on its inputs' statistics, as adaptive planning
    /// does.
    fn slices(&self, stage: u32, rows: &BTreeMap<u32, u64>) -> u32 {
        let (inputs, least) = &self.stages[stage as usize];
        let adaptive: u64 = inputs.iter().map(|input| rows[input]).sum();
        if *least == 0 { 0 } else { least + (adaptive % 3) as u32 }
    }

    /// Rows of the result: each slice gives its number and one.
    pub(crate) fn expected_rows(&self) -> u64 {
        let mut rows = BTreeMap::new();
        for stage in 0..self.stages.len() as u32 {
            let slices = u64::from(self.slices(stage, &rows));
            rows.insert(stage, slices * (slices + 1) / 2);
        }
        rows[&self.result()]
    }
}

/// Rows that a run of slices gives, by the toy's rule.
pub(crate) fn rows_of(slices: std::ops::Range<u32>) -> u64 {
    slices.map(|slice| u64::from(slice) + 1).sum()
}

#[derive(Debug, Default)]
pub(crate) struct Toy {
    complaints: Mutex<Vec<String>>,
    /// Bytes added to each template, to make bodies that do not fit a record.
    padding: usize,
}

impl Toy {
    pub(crate) fn padded(padding: usize) -> Self {
        Self { padding, ..Self::default() }
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.complaints.lock().push(format!("decide: {}", what()));
        }
    }

    fn rows(&self, output: &StageOutput, stage: StageId) -> u64 {
        let mut next = 0;
        for map in &output.maps {
            self.expect(map.first_slice == next, || format!("stage {stage} has {output:?}"));
            next = map.first_slice + map.slice_count;
        }
        output.maps.iter().map(|m| m.stats.as_ref().map_or(0, |s| s.rows_out)).sum()
    }
}

impl Decide for Toy {
    fn decide(&self, situation: &Situation) -> Result<Step> {
        let graph = Graph::decode(&situation.graph);
        let opened: Vec<u32> = situation
            .decisions
            .iter()
            .flat_map(|body| body.chunks(4))
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        let distinct: BTreeSet<u32> = opened.iter().copied().collect();
        self.expect(distinct.len() == opened.len(), || format!("opened twice: {opened:?}"));
        let mut rows = BTreeMap::new();
        for (stage, output) in &situation.sealed {
            self.expect(distinct.contains(&stage.0), || format!("{stage} is sealed, not opened"));
            rows.insert(stage.0, self.rows(output, *stage));
        }
        for stage in &opened {
            let inputs = &graph.stages.get(*stage as usize).ok_or_else(|| Error::bug("?"))?.0;
            let sealed = inputs.iter().all(|input| rows.contains_key(input));
            self.expect(sealed, || format!("stage {stage} was opened before its inputs"));
        }
        if rows.contains_key(&graph.result()) {
            return Ok(Step { finished: Some(StageId(graph.result())), ..Step::default() });
        }
        let ready = (0..graph.stages.len() as u32).filter(|stage| {
            let inputs = &graph.stages[*stage as usize].0;
            !distinct.contains(stage) && inputs.iter().all(|input| rows.contains_key(input))
        });
        let ready: Vec<u32> = ready.take(if graph.eager { usize::MAX } else { 1 }).collect();
        if ready.is_empty() {
            return Ok(Step::default());
        }
        let body: Vec<u8> = ready.iter().flat_map(|stage| stage.to_le_bytes()).collect();
        let open = ready.iter().map(|stage| OpenStage {
            stage: StageId(*stage),
            template: vec![*stage as u8; self.padding + 1].into(),
            slices: Bytes::from_static(b"slices"),
            slice_count: graph.slices(*stage, &rows),
            inputs: graph.stages[*stage as usize].0.iter().map(|i| StageId(*i)).collect(),
            determinate: graph.is_determinate(*stage),
            light: *stage % 2 == 1,
        });
        Ok(Step { body: Some(body.into()), open: open.collect(), finished: None })
    }
}
