//! Watches every transaction as it takes effect and checks what must hold of all records together.
//! Written against the stored records alone, apart from the queue's own checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Revision};
use dunlin_metadata::blob::Blobs;
use dunlin_metadata::sim::SimStore;
use dunlin_metadata::{Entry, Event};
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{
    Body, Claim, Commit, LostOutputs, Phase, Query, Segment, Stage, StagePhase, body,
};
use futures::FutureExt;
use parking_lot::Mutex;
use prost::Message;

use crate::world::MemoryBlobs;

/// Slices of one query: (stage, slice).
type Slice = (u32, u32);

#[derive(Default)]
struct Model {
    entries: BTreeMap<String, Entry>,
    /// Who won a slice, until its output is recorded lost.
    winners: BTreeMap<Slice, u32>,
    /// Who ever did.
    ever_won: BTreeSet<(Slice, u32)>,
    /// Stages that were opened again.
    reopened: u32,
    complaints: Vec<String>,
    table: Vec<Line>,
}

/// One line of the table that a failure prints.
enum Line {
    Change(Duration, Revision, String, Option<Entry>),
    Note(Duration, String),
}

#[derive(Clone)]
pub(crate) struct Checker {
    model: Arc<Mutex<Model>>,
    blobs: Arc<MemoryBlobs>,
    env: Env,
}

fn decode<M: Message + Default>(entry: Option<&Entry>) -> Option<M> {
    entry.map(|entry| M::decode(entry.value.clone()).expect("a readable record"))
}

/// `q/{query}/st/{stage}/sg/{segment}` as numbers.
fn place(key: &str) -> Option<(String, u32, Option<u32>)> {
    let (query, rest) = key.strip_prefix("q/")?.split_once("/st/")?;
    match rest.split_once("/sg/") {
        None => Some((query.to_owned(), rest.parse().ok()?, None)),
        Some((stage, segment)) => {
            Some((query.to_owned(), stage.parse().ok()?, Some(segment.parse().ok()?)))
        }
    }
}

impl Checker {
    pub(crate) fn watch(store: &SimStore, blobs: Arc<MemoryBlobs>, env: Env) -> Self {
        let checker = Self { model: Arc::default(), blobs, env };
        let observer = checker.clone();
        store.observe(move |revision, events| observer.check(revision, events));
        checker
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.model.lock().complaints.clone()
    }

    pub(crate) fn complain(&self, what: String) {
        self.model.lock().complaints.push(what);
    }

    /// One line for each event so far.
    pub(crate) fn table(&self) -> String {
        let model = self.model.lock();
        let lines = model.table.iter().map(|line| match line {
            Line::Change(now, revision, key, new) => {
                format!("{now:>12.3?} r{revision:<6} {}", describe(key, new.as_ref()))
            }
            Line::Note(now, what) => format!("{now:>12.3?}          {what}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Adds a line of what a process did.
    pub(crate) fn note(&self, who: &str, what: String) {
        let now = self.env.now();
        self.model.lock().table.push(Line::Note(now, format!("{who:<6} {what}")));
    }

    pub(crate) fn winner(&self, stage: u32, slice: u32) -> Option<u32> {
        self.model.lock().winners.get(&(stage, slice)).copied()
    }

    pub(crate) fn has_won(&self, stage: u32, slice: u32, attempt: u32) -> bool {
        self.model.lock().ever_won.contains(&((stage, slice), attempt))
    }

    pub(crate) fn reopened(&self) -> u32 {
        self.model.lock().reopened
    }

    /// The outputs of all sealed stages.
    pub(crate) fn sealed(&self) -> BTreeMap<u32, StageOutput> {
        let model = self.model.lock();
        let stages = model.entries.iter().filter_map(|(key, entry)| {
            let (_, stage, None) = place(key)? else { return None };
            let record: Stage = decode(Some(entry))?;
            (record.phase() == StagePhase::Sealed).then(|| (stage, self.output(&record)))
        });
        stages.collect()
    }

    pub(crate) fn has_query(&self) -> bool {
        self.model.lock().entries.keys().any(|key| key.starts_with("q/"))
    }

    fn check(&self, revision: Revision, events: &[Event]) {
        let mut model = self.model.lock();
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            let (key, new) = match event {
                Event::Put(entry) => (entry.key.clone(), Some(entry.clone())),
                Event::Delete(key, _) => (key.clone(), None),
                Event::Resync(_) => continue,
            };
            let old = match &new {
                Some(entry) => model.entries.insert(key.clone(), entry.clone()),
                None => model.entries.remove(&key),
            };
            changes.push((key, old, new));
        }
        let mut found = Vec::new();
        for (key, old, new) in &changes {
            found.extend(self.check_key(&mut model, key, old.as_ref(), new.as_ref()));
        }
        if changes.iter().any(|(key, ..)| !key.contains("/sg/")) {
            found.extend(check_indexes(&model.entries));
        }
        let now = self.env.now();
        let lines = changes.into_iter().map(|(key, _, new)| Line::Change(now, revision, key, new));
        model.table.extend(lines);
        model.complaints.extend(found.into_iter().map(|what| format!("r{revision}: {what}")));
    }

    fn check_key(
        &self,
        model: &mut Model,
        key: &str,
        old: Option<&Entry>,
        new: Option<&Entry>,
    ) -> Vec<String> {
        if key.ends_with("/meta") {
            return check_meta(key, decode(old), decode(new), &model.entries);
        }
        if key.contains("/dec/") && old.is_some() && new.is_some() {
            return vec![format!("{key} is written again")];
        }
        let (Some((query, stage, segment)), Some(new)) = (place(key), new) else {
            return Vec::new();
        };
        if !model.entries.contains_key(&format!("q/{query}/meta")) {
            return vec![format!("{key} is written for a query that is gone")];
        }
        match segment {
            Some(_) => {
                let new = decode(Some(new)).expect("it is there");
                let of = key.split("/sg/").next().expect("it has a first part");
                let of: Stage = decode(model.entries.get(of)).expect("its stage is there");
                let void = |commit: &Commit| self.is_void(&of, commit);
                check_segment(model, (key, stage), (of.epoch, &void), decode(old), &new)
            }
            None => {
                let new = decode(Some(new)).expect("it is there");
                let wrong = self.check_stage(&model.entries, (key, &query), decode(old), &new);
                self.note_losses(model, (key, stage), decode(old), &new);
                wrong
            }
        }
    }

    fn check_stage(
        &self,
        entries: &BTreeMap<String, Entry>,
        (key, query): (&str, &str),
        old: Option<Stage>,
        new: &Stage,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for input in &new.inputs {
            let input: Option<Stage> = decode(entries.get(&format!("q/{query}/st/{input:05}")));
            let open = new.phase() == StagePhase::Open;
            if open && input.is_none_or(|input| input.phase() != StagePhase::Sealed) {
                wrong.push(format!("Q3: {key} is open before its inputs are sealed"));
            }
        }
        if let Some(old) = old.filter(|old| old.phase() == StagePhase::Sealed) {
            let says_what = new.restarted == new.epoch || new.lost.is_some();
            let again = new.epoch == old.epoch + 1 && new.phase() != StagePhase::Sealed;
            if !again || !says_what {
                wrong.push(format!("Q4: {key} changes after its seal"));
            }
            for reader in readers(entries, (query, key)) {
                if reader.1.phase() == StagePhase::Open {
                    wrong.push(format!("Q3: {} is open, its input {key} is not sealed", reader.0));
                }
            }
        }
        if new.phase() == StagePhase::Sealed {
            let mut committed: Vec<(u32, u32, u32)> = entries
                .range(format!("{key}/sg/")..)
                .take_while(|(k, _)| k.starts_with(key))
                .flat_map(|(_, entry)| decode::<Segment>(Some(entry)).expect("there").commits)
                .map(|c| (c.first_slice, c.slice_count, c.attempt))
                .collect();
            committed.sort_unstable();
            let output = self.output(new);
            let sealed: Vec<(u32, u32, u32)> =
                output.maps.iter().map(|m| (m.first_slice, m.slice_count, m.attempt)).collect();
            if sealed != committed {
                wrong.push(format!("Q2: {key} is sealed with {sealed:?}, not {committed:?}"));
            }
            if sealed.iter().map(|(_, count, _)| count).sum::<u32>() != new.slice_count {
                wrong.push(format!("Q2: {key} is sealed with {sealed:?} of {}", new.slice_count));
            }
        }
        wrong
    }

    /// Slices whose commits do not count any more have no winner.
    fn note_losses(
        &self,
        model: &mut Model,
        (key, stage): (&str, u32),
        old: Option<Stage>,
        new: &Stage,
    ) {
        let Some(old) = old.filter(|old| old.epoch < new.epoch) else { return };
        model.reopened += u32::from(old.phase() == StagePhase::Sealed);
        let mut void = Vec::new();
        for (_, entry) in
            model.entries.range(format!("{key}/sg/")..).take_while(|(k, _)| k.starts_with(key))
        {
            let segment: Segment = decode(Some(entry)).expect("it is there");
            void.extend(segment.commits.into_iter().filter(|commit| self.is_void(new, commit)));
        }
        for commit in void {
            for slice in commit.first_slice..commit.first_slice + commit.slice_count {
                if model.winners.get(&(stage, slice)) == Some(&commit.attempt) {
                    model.winners.remove(&(stage, slice));
                }
            }
        }
    }

    fn is_void(&self, stage: &Stage, commit: &Commit) -> bool {
        let lost = LostOutputs::decode(self.bytes(stage.lost.as_ref())).expect("readable");
        let name = (commit.first_slice, commit.attempt);
        commit.epoch < stage.restarted
            || lost.outputs.iter().any(|lost| (lost.first_slice, lost.attempt) == name)
    }

    fn output(&self, stage: &Stage) -> StageOutput {
        StageOutput::decode(self.bytes(stage.output.as_ref())).expect("a readable output")
    }

    fn bytes(&self, body: Option<&Body>) -> Bytes {
        match body.and_then(|body| body.kind.as_ref()) {
            Some(body::Kind::Inline(bytes)) => bytes.clone(),
            Some(body::Kind::Blob(name)) => {
                let read = self.blobs.get(name).now_or_never().expect("memory does not wait");
                read.expect("a blob is written before its record")
            }
            None => Bytes::new(),
        }
    }
}

/// The stages that read this one.
fn readers(entries: &BTreeMap<String, Entry>, (query, key): (&str, &str)) -> Vec<(String, Stage)> {
    let input: u32 = key.rsplit('/').next().and_then(|n| n.parse().ok()).expect("a stage's key");
    let of_query = entries.range(format!("q/{query}/st/")..);
    let of_query = of_query.take_while(|(k, _)| k.starts_with(&format!("q/{query}/st/")));
    let stages = of_query.filter(|(k, _)| !k.contains("/sg/"));
    let stages = stages.map(|(k, e)| (k.clone(), decode::<Stage>(Some(e)).expect("it is there")));
    stages.filter(|(_, stage)| stage.inputs.contains(&input)).collect()
}

fn describe(key: &str, new: Option<&Entry>) -> String {
    let Some(entry) = new else { return format!("       - {key}") };
    if key.contains("/sg/") {
        let segment: Segment = decode(new).expect("it is there");
        let claims: Vec<String> = segment
            .claims
            .iter()
            .map(|c| format!("{}+{}#{} f{}", c.first_slice, c.slice_count, c.attempt, c.fence))
            .collect();
        let commits: Vec<String> = segment
            .commits
            .iter()
            .map(|c| format!("{}+{}#{}", c.first_slice, c.slice_count, c.attempt))
            .collect();
        let failures = segment.failures.len();
        return format!("       = {key} claims {claims:?} done {commits:?} failures {failures}");
    }
    if key.ends_with("/meta") {
        let meta: Query = decode(new).expect("it is there");
        return format!("       = {key} {:?} decisions {}", meta.phase(), meta.decisions);
    }
    if place(key).is_some() {
        let stage: Stage = decode(new).expect("it is there");
        let (phase, epoch, again) = (stage.phase(), stage.epoch, stage.restarted);
        let slices = stage.slice_count;
        return format!("       = {key} {phase:?} slices {slices} epoch {epoch} restarted {again}");
    }
    format!("       = {key} ({} bytes, created {})", entry.value.len(), entry.created)
}

fn ended(meta: &Query) -> bool {
    !matches!(meta.phase(), Phase::Running | Phase::Queued)
}

fn check_meta(
    key: &str,
    old: Option<Query>,
    new: Option<Query>,
    entries: &BTreeMap<String, Entry>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(new) = new else {
        if old.is_some_and(|old| !ended(&old)) {
            wrong.push(format!("{key} is removed while it runs"));
        }
        return wrong;
    };
    let prefix = key.trim_end_matches("meta");
    if let Some(old) = old.filter(ended) {
        let result = format!("{prefix}st/{:05}", old.result_stage);
        let result: Option<Stage> = decode(entries.get(&result));
        let lost = result.is_some_and(|stage| stage.phase() != StagePhase::Sealed);
        if old.phase() != Phase::Done || new.phase() != Phase::Running || !lost {
            wrong.push(format!("Q4: {key} changes after its end"));
        }
    }
    let decisions = entries.keys().filter(|k| k.starts_with(&format!("{prefix}dec/"))).count();
    if decisions != new.decisions as usize {
        wrong.push(format!("Q6: {key} counts {} of {decisions} decisions", new.decisions));
    }
    if ended(&new) {
        let id = prefix.trim_start_matches("q/").trim_end_matches('/');
        let ready = entries.keys().any(|k| k.starts_with("ready/") && k.contains(id));
        if ready {
            wrong.push(format!("{key} has ended and left ready keys"));
        }
    }
    if new.phase() == Phase::Done {
        let result = format!("{prefix}st/{:05}", new.result_stage);
        let result: Option<Stage> = decode(entries.get(&result));
        if result.is_none_or(|stage| stage.phase() != StagePhase::Sealed) {
            wrong.push(format!("Q2: {key} is done without its result"));
        }
    }
    wrong
}

/// A ready key names an open stage of a running query, and every such stage has one.
fn check_indexes(entries: &BTreeMap<String, Entry>) -> Vec<String> {
    let mut wrong = Vec::new();
    let ready: BTreeSet<String> = entries
        .keys()
        .filter_map(|key| key.strip_prefix("ready/")?.split_once('/')?.1.split_once('.'))
        .map(|(query, stage)| format!("q/{query}/st/{stage}"))
        .collect();
    for (key, entry) in entries {
        let Some((query, _, None)) = place(key) else { continue };
        let meta: Option<Query> = decode(entries.get(&format!("q/{query}/meta")));
        let stage: Stage = decode(Some(entry)).expect("it is there");
        let open = stage.phase() == StagePhase::Open && meta.is_some_and(|meta| !ended(&meta));
        if open != ready.contains(key) {
            wrong.push(format!("{key} is open: {open}, and its ready key says otherwise"));
        }
    }
    for key in ready {
        if !entries.contains_key(&key) {
            wrong.push(format!("{key} is ready but is not there"));
        }
    }
    wrong
}

fn same(a: &Claim, b: &Claim) -> bool {
    (a.token, a.attempt) == (b.token, b.attempt)
}

fn check_segment(
    model: &mut Model,
    (key, stage): (&str, u32),
    (epoch, is_void): (u32, &dyn Fn(&Commit) -> bool),
    old: Option<Segment>,
    new: &Segment,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let old = old.unwrap_or_default();
    let mut holders: BTreeMap<u32, u32> = BTreeMap::new();
    let claims = new.claims.iter().map(|c| (c.first_slice, c.slice_count));
    let commits = new.commits.iter().map(|c| (c.first_slice, c.slice_count));
    for (first, count) in claims.chain(commits) {
        for slice in first..first + count {
            *holders.entry(slice).or_default() += 1;
        }
    }
    if holders.values().any(|holders| *holders > 1) {
        wrong.push(format!("Q1: {key} has slices that are held twice"));
    }
    let Model { entries, winners, ever_won, .. } = model;
    // Cards go in transactions of their own, so what is there now was there at the write.
    let alive = |executor: &str, fence: i64| {
        let card = entries.get(&format!("ex/{executor}"));
        card.is_some_and(|card| card.created.0 == fence)
    };
    for claim in &new.claims {
        let known = old.claims.iter().any(|c| same(c, claim));
        if !known && claim.attempt < old.next_attempt {
            wrong.push(format!("Q1: {key} has a claim with the old attempt {}", claim.attempt));
        }
        if !known && !alive(&claim.executor, claim.fence) {
            wrong.push(format!("Q5: {key} is claimed by a dead executor"));
        }
    }
    wrong.extend(check_commits((winners, ever_won), (key, stage), &old, new, &alive));
    // A claim that makes room for another executor's in the same write was that of a dead one.
    let newcomer = new.claims.iter().find(|claim| !old.claims.iter().any(|c| same(c, claim)));
    for claim in old.claims.iter().filter(|c| !new.claims.iter().any(|claim| same(c, claim))) {
        let evicted = newcomer.is_some_and(|newcomer| newcomer.fence != claim.fence);
        if evicted && claim.epoch >= epoch && alive(&claim.executor, claim.fence) {
            wrong.push(format!("Q5: {key} drops attempt {} of a live executor", claim.attempt));
        }
    }
    for commit in &old.commits {
        let same = |c: &Commit| (c.first_slice, c.attempt) == (commit.first_slice, commit.attempt);
        if !is_void(commit) && !new.commits.iter().any(same) {
            wrong.push(format!("Q4: {key} has lost a commit"));
        }
    }
    wrong
}

/// New commits are of claims of live executors, and a slice has one winner until it is lost.
fn check_commits(
    (winners, ever_won): (&mut BTreeMap<Slice, u32>, &mut BTreeSet<(Slice, u32)>),
    (key, stage): (&str, u32),
    old: &Segment,
    new: &Segment,
    alive: &dyn Fn(&str, i64) -> bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for commit in &new.commits {
        let slices = commit.first_slice..commit.first_slice + commit.slice_count;
        for slice in slices.clone() {
            ever_won.insert(((stage, slice), commit.attempt));
            let winner = *winners.entry((stage, slice)).or_insert(commit.attempt);
            if winner != commit.attempt {
                wrong.push(format!("Q4: slice {slice} of {key} has a second winner"));
            }
        }
        let known = old.commits.iter().any(|c| {
            (c.first_slice, c.slice_count, c.attempt)
                == (commit.first_slice, commit.slice_count, commit.attempt)
        });
        if known {
            continue;
        }
        let claim = old.claims.iter().find(|c| {
            c.attempt == commit.attempt
                && c.first_slice <= slices.start
                && slices.end <= c.first_slice + c.slice_count
        });
        match claim {
            None => wrong.push(format!("Q2: {key} has a commit without a claim")),
            Some(claim) if !alive(&claim.executor, claim.fence) => {
                wrong.push(format!("Q5: {key} has a commit of a dead executor"));
            }
            Some(_) => {}
        }
    }
    wrong
}
