//! Watches every transaction of a simulated store as it takes effect, checks what must hold of all
//! records together, and keeps the trace. For simulations: the queue's own tests, and `sim`.
//!
//! The one thing to know: it is written against the stored records alone, apart from the queue's
//! own checks ([`crate::invariants`]), so that a rule that is forgotten there is missed here.

mod rules;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Env, QueryId, Revision};
use dunlin_metadata::blob::BlobsRef;
use dunlin_metadata::sim::SimStore;
use dunlin_metadata::{Entry, Event};
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Body, Commit, LostOutputs, Segment, Stage, StagePhase, body};
use futures::FutureExt;
use parking_lot::Mutex;
use prost::Message;

use self::rules::{Place, check_indexes, check_meta, check_segment};
use self::trace::Trace;

/// A slice: (query, stage, slice).
type Slice = (String, u32, u32);

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
    trace: Trace,
}

/// What watches a store. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Checker {
    model: Arc<Mutex<Model>>,
    blobs: BlobsRef,
    env: Env,
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checker")
    }
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
    /// Watches `store` from now on, as its only observer. `blobs` answers at once.
    pub fn watch(store: &SimStore, blobs: BlobsRef, env: Env) -> Self {
        let checker = Self { model: Arc::default(), blobs, env };
        let observer = checker.clone();
        store.observe(move |revision, events| observer.check(revision, events));
        checker
    }

    /// Everything that was wrong so far.
    pub fn complaints(&self) -> Vec<String> {
        self.model.lock().complaints.clone()
    }

    /// Adds what somebody else found wrong.
    pub fn complain(&self, what: String) {
        self.note("wrong", &what);
        self.model.lock().complaints.push(what);
    }

    /// The trace as a table: one line for each change and each note.
    pub fn table(&self) -> String {
        self.model.lock().trace.lines(usize::MAX).join("\n")
    }

    /// The last lines of the trace, at most so many.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.model.lock().trace.lines(lines)
    }

    /// A hash of the whole trace, values of records included.
    pub fn fingerprint(&self) -> u64 {
        self.model.lock().trace.fingerprint()
    }

    /// Adds a line of what a process did.
    pub fn note(&self, who: &str, what: impl Into<String>) {
        let now = self.env.now();
        self.model.lock().trace.note(now, format!("{who:<6} {}", what.into()));
    }

    /// The attempt that has won a slice, unless its output is lost.
    pub fn winner(&self, query: QueryId, stage: u32, slice: u32) -> Option<u32> {
        self.model.lock().winners.get(&(query.to_string(), stage, slice)).copied()
    }

    /// Whether an attempt has ever won a slice.
    pub fn has_won(&self, query: QueryId, stage: u32, slice: u32, attempt: u32) -> bool {
        self.model.lock().ever_won.contains(&((query.to_string(), stage, slice), attempt))
    }

    /// How often a sealed stage was opened again.
    pub fn reopened(&self) -> u32 {
        self.model.lock().reopened
    }

    /// The outputs of all sealed stages of a query.
    pub fn sealed(&self, query: QueryId) -> BTreeMap<u32, StageOutput> {
        let (model, query) = (self.model.lock(), query.to_string());
        let stages = model.entries.iter().filter_map(|(key, entry)| {
            let (of, stage, None) = place(key)? else { return None };
            let record: Stage = decode(Some(entry))?;
            let sealed = of == query && record.phase() == StagePhase::Sealed;
            sealed.then(|| (stage, self.output(&record)))
        });
        stages.collect()
    }

    /// Whether any query has records.
    pub fn has_query(&self) -> bool {
        self.model.lock().entries.keys().any(|key| key.starts_with("q/"))
    }

    /// How many keys were written or removed so far.
    pub fn changes(&self) -> u64 {
        self.model.lock().trace.changes()
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
        for (key, _, new) in changes {
            model.trace.change(now, revision, key, new);
        }
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
                let place = Place { key, query: &query, stage };
                check_segment(model, &place, (of.epoch, &void), decode(old), &new)
            }
            None => {
                let new = decode(Some(new)).expect("it is there");
                let wrong = self.check_stage(&model.entries, (key, &query), decode(old), &new);
                self.note_losses(model, &Place { key, query: &query, stage }, decode(old), &new);
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
    fn note_losses(&self, model: &mut Model, place: &Place<'_>, old: Option<Stage>, new: &Stage) {
        let Place { key, query, stage } = *place;
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
                let slice = (query.to_owned(), stage, slice);
                if model.winners.get(&slice) == Some(&commit.attempt) {
                    model.winners.remove(&slice);
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
