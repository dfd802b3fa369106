//! The trace of a simulation: every change of the store and every note, with virtual time, and a
//! hash over all of it.

use std::time::Duration;

use bytes::Bytes;
use dunlin_base::Revision;
use dunlin_metadata::Entry;
use dunlin_proto::queue::{Query, Ready, Segment, Stage};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{decode, place};

/// What happened so far.
#[derive(Default)]
pub(super) struct Trace {
    lines: Vec<Line>,
    hash: u64,
}

/// One line of the table that a failure prints.
enum Line {
    Change(Duration, Revision, String, Option<Entry>),
    Note(Duration, String),
}

impl Trace {
    pub(super) fn change(
        &mut self,
        now: Duration,
        revision: Revision,
        key: String,
        new: Option<Entry>,
    ) {
        self.mix(format!("{now:?} {revision} {key}").as_bytes());
        self.mix(&new.as_ref().map_or_else(Bytes::new, |entry| comparable(&key, entry)));
        self.lines.push(Line::Change(now, revision, key, new));
    }

    pub(super) fn note(&mut self, now: Duration, what: String) {
        self.mix(format!("{now:?} {what}").as_bytes());
        self.lines.push(Line::Note(now, what));
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.hash = xxh3_64_with_seed(bytes, self.hash);
    }

    pub(super) fn changes(&self) -> u64 {
        self.lines.iter().filter(|line| matches!(line, Line::Change(..))).count() as u64
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.hash
    }

    /// The last lines, at most so many.
    pub(super) fn lines(&self, most: usize) -> Vec<String> {
        let from = self.lines.len().saturating_sub(most);
        let line = |line: &Line| match line {
            Line::Change(now, revision, key, new) => {
                format!("{now:>12.3?} r{revision:<6} {}", describe(key, new.as_ref()))
            }
            Line::Note(now, what) => format!("{now:>12.3?}          {what}"),
        };
        self.lines[from..].iter().map(line).collect()
    }
}

/// True for plans: in them DataFusion gives some expressions a random number that says which are one
/// and the same, so they are not the same bytes twice.
fn is_plan(key: &str) -> bool {
    key.ends_with("/plan") || key.contains("/dec/")
}

/// The value without what is not the same in two runs.
fn comparable(key: &str, entry: &Entry) -> Bytes {
    if is_plan(key) {
        return Bytes::new();
    }
    match place(key) {
        Some((_, _, None)) => {
            let stage: Stage = decode(Some(entry)).unwrap_or_default();
            Stage { template: None, ..stage }.encode_to_vec().into()
        }
        // With the news of a stage come copies of plans.
        None if key.starts_with("ready/") => {
            let ready: Ready = decode(Some(entry)).unwrap_or_default();
            Ready { written: Vec::new(), ..ready }.encode_to_vec().into()
        }
        _ => entry.value.clone(),
    }
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
    let value = comparable(key, entry);
    let (hash, created) = (xxh3_64_with_seed(&value, 0) as u32, entry.created);
    format!("       = {key} ({hash:08x}, created {created})")
}
