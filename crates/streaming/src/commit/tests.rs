//! Commits of parts that count, and garbage over random lives of a job.

use dunlin_base::{Kind as ErrorKind, ProcessId};
use dunlin_fuzz::Chance;
use std::collections::BTreeSet;

use super::*;
use crate::group::Stage;
use crate::id::{Mb, StageNo};
use crate::slot::Kind;
use crate::tuner::TunerOptions;

const SOURCE: SlotId = SlotId::new(0, 0);
const COUNT: SlotId = SlotId::new(1, 0);

fn job() -> Job {
    let stages =
        vec![Stage { slots: 1, inputs: vec![] }, Stage { slots: 1, inputs: vec![StageNo(0)] }];
    Job::new(stages, TunerOptions::default()).expect("valid")
}

fn claimed(old: Option<&SlotRecord>, who: u128, committed: u64) -> SlotRecord {
    SlotRecord::claimed(old, Kind::Keyed, ProcessId::from_u128(who), Epoch(committed), Mb(1))
}

fn part(slot: SlotId, epoch: u64, term: u64) -> Part {
    let counts = if slot == SOURCE {
        Counts { read: 3, filtered: 1, ..Counts::default() }
    } else {
        Counts { used: 1, late: 1, ..Counts::default() }
    };
    Part {
        epoch: Epoch(epoch),
        slot,
        term: Term(term),
        cuts: BTreeMap::from([(SOURCE, 7)]),
        counts,
        watermark: Watermark(0),
        files: vec![format!("{epoch}/{slot}.{term}")],
    }
}

#[test]
fn trap_14_a_part_of_a_term_that_lost_its_slot_does_not_count() {
    let mut slots = BTreeMap::from([(SOURCE, claimed(None, 1, 0)), (COUNT, claimed(None, 2, 0))]);
    let parts = [part(SOURCE, 1, 1), part(COUNT, 1, 1), part(COUNT, 2, 1)];
    let Ok(Ready::Commit(commit)) = ready(&job(), Epoch(0), &slots, &parts) else {
        panic!("ready")
    };
    assert_eq!(commit.parts, BTreeMap::from([(SOURCE, Term(1)), (COUNT, Term(1))]));
    assert_eq!(commit.files, ["1/0.0.1", "1/1.0.1"]);
    slots.insert(COUNT, claimed(slots.get(&COUNT), 3, 0));
    let waits = ready(&job(), Epoch(0), &slots, &parts).expect("no bug");
    assert_eq!(waits, Ready::Waits(vec![COUNT]));
}

#[test]
fn a_part_counts_though_its_slot_was_handed_on_after_it() {
    let first = claimed(None, 2, 0);
    let handed = first.handed_over(ProcessId::from_u128(3), Epoch(2), None).expect("later");
    let slots = BTreeMap::from([(SOURCE, claimed(None, 1, 0)), (COUNT, handed)]);
    let parts = [part(SOURCE, 1, 1), part(COUNT, 1, 1)];
    assert!(matches!(ready(&job(), Epoch(0), &slots, &parts), Ok(Ready::Commit(_))));
    let parts = [part(SOURCE, 2, 1), part(COUNT, 2, 1)];
    assert_eq!(ready(&job(), Epoch(1), &slots, &parts).expect("no bug"), Ready::Waits(vec![COUNT]));
}

#[test]
fn trap_28_parts_of_different_cuts_are_never_committed() {
    let slots = BTreeMap::from([(SOURCE, claimed(None, 1, 0)), (COUNT, claimed(None, 2, 0))]);
    let other = Part { cuts: BTreeMap::from([(SOURCE, 8)]), ..part(COUNT, 1, 1) };
    let error = ready(&job(), Epoch(0), &slots, &[part(SOURCE, 1, 1), other]).expect_err("T3");
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn trap_04_a_group_whose_rows_do_not_add_up_is_never_committed() {
    let slots = BTreeMap::from([(SOURCE, claimed(None, 1, 0)), (COUNT, claimed(None, 2, 0))]);
    let mut doubled = part(COUNT, 1, 1);
    doubled.counts.used += 1;
    let error = ready(&job(), Epoch(0), &slots, &[part(SOURCE, 1, 1), doubled]).expect_err("T8");
    assert_eq!(error.kind(), ErrorKind::Bug);
}

/// What a job leaves behind, group by group: files that stay, files that are replaced, files of owners
/// that lost.
struct Leftovers {
    commits: Vec<Retained>,
    files: BTreeSet<StoredFile>,
    term: Term,
}

impl Leftovers {
    fn group(&mut self, epoch: u64, chance: &mut Chance) {
        let mut named = match self.commits.last() {
            Some(before) => before.files.clone().expect("readable"),
            None => BTreeSet::new(),
        };
        let file = |term: Term| {
            let name = format!("{epoch:04}/{term}");
            StoredFile { epoch: Epoch(epoch), slot: COUNT, term, name }
        };
        if chance.once_in(3) {
            self.files.insert(file(self.term));
            self.term = self.term.next();
        }
        let own = file(self.term);
        if chance.once_in(4) {
            named.clear(); // A base replaces the deltas.
        }
        named.insert(own.name.clone());
        self.files.insert(own);
        let saved = chance.once_in(8);
        self.commits.push(Retained { epoch: Epoch(epoch), files: Some(named), saved });
    }

    fn remove(&mut self, removal: &Removal) {
        match removal {
            Removal::Commit(epoch) => self.commits.retain(|commit| commit.epoch != *epoch),
            Removal::File(name) => self.files.retain(|file| file.name != *name),
        }
    }

    fn whole(&self) -> bool {
        let named = self.commits.iter().flat_map(|commit| commit.files.iter().flatten());
        let there: BTreeSet<&String> = self.files.iter().map(|file| &file.name).collect();
        named.into_iter().all(|name| there.contains(name))
    }
}

#[test]
fn trap_22_no_order_of_commits_crashes_and_sweeps_removes_what_a_manifest_names() {
    for seed in 0..1500 {
        let mut chance = Chance::new(seed);
        let mut job = Leftovers { commits: Vec::new(), files: BTreeSet::new(), term: Term(1) };
        for epoch in 1..20 {
            // A sweep lists files, then a group is committed, then it reads the commits.
            let listed: Vec<StoredFile> = job.files.iter().cloned().collect();
            job.group(epoch, &mut chance);
            let term = job.term;
            let plan = collect(&job.commits, 2, &listed, |file| file.term < term);
            // It dies at any point.
            for removal in plan.iter().take(chance.below(plan.len() + 2)) {
                job.remove(removal);
                assert!(job.whole(), "seed {seed} group {epoch} after {removal:?}");
            }
        }
        let all: Vec<StoredFile> = job.files.iter().cloned().collect();
        collect(&job.commits, 2, &all, |_| false).iter().for_each(|removal| job.remove(removal));
        let named: BTreeSet<&String> =
            job.commits.iter().flat_map(|commit| commit.files.iter().flatten()).collect();
        assert_eq!(named.len(), job.files.len(), "seed {seed}: something is left over");
        assert!(job.commits.iter().filter(|commit| !commit.saved).count() <= 2);
    }
}

#[test]
fn trap_22_nothing_is_removed_while_a_manifest_cannot_be_read() {
    let commit = |epoch, files| Retained { epoch: Epoch(epoch), files, saved: false };
    let file = StoredFile { epoch: Epoch(1), slot: COUNT, term: Term(1), name: "a".to_owned() };
    let some = || Some(BTreeSet::new());
    let readable = [commit(1, some()), commit(2, some()), commit(3, some())];
    let removals = [Removal::Commit(Epoch(1)), Removal::File("a".to_owned())];
    assert_eq!(collect(&readable, 2, std::slice::from_ref(&file), |_| false), removals);
    let damaged = [commit(1, some()), commit(2, None), commit(3, some())];
    assert_eq!(collect(&damaged, 2, &[file], |_| true), []);
}

#[test]
fn files_of_a_group_that_is_not_committed_stay_unless_their_owner_lost_it() {
    let commits = [Retained { epoch: Epoch(1), files: Some(BTreeSet::new()), saved: false }];
    let file = |term| StoredFile {
        epoch: Epoch(2),
        slot: COUNT,
        term: Term(term),
        name: term.to_string(),
    };
    let void = |file: &StoredFile| file.term == Term(1);
    let removals = collect(&commits, 2, &[file(1), file(2)], void);
    assert_eq!(removals, [Removal::File("1".to_owned())]);
}
