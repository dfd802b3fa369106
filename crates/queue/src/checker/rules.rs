//! What must hold of records, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_metadata::Entry;
use dunlin_proto::queue::{Claim, Commit, Phase, Query, Segment, Stage, StagePhase};

use super::{Model, Slice, decode, place};

/// Which stage, or segment of a stage, a change is of.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    pub(super) query: &'a str,
    pub(super) stage: u32,
}

fn ended(meta: &Query) -> bool {
    !matches!(meta.phase(), Phase::Running | Phase::Queued)
}

pub(super) fn check_meta(
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
pub(super) fn check_indexes(entries: &BTreeMap<String, Entry>) -> Vec<String> {
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

pub(super) fn check_segment(
    model: &mut Model,
    place: &Place<'_>,
    (epoch, is_void): (u32, &dyn Fn(&Commit) -> bool),
    old: Option<Segment>,
    new: &Segment,
) -> Vec<String> {
    let (mut wrong, key) = (Vec::new(), place.key);
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
    wrong.extend(check_commits((winners, ever_won), place, &old, new, &alive));
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
    place: &Place<'_>,
    old: &Segment,
    new: &Segment,
    alive: &dyn Fn(&str, i64) -> bool,
) -> Vec<String> {
    let (mut wrong, key) = (Vec::new(), place.key);
    for commit in &new.commits {
        let slices = commit.first_slice..commit.first_slice + commit.slice_count;
        for slice in slices.clone() {
            let name = (place.query.to_owned(), place.stage, slice);
            ever_won.insert((name.clone(), commit.attempt));
            let winner = *winners.entry(name).or_insert(commit.attempt);
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
