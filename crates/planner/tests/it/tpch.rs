//! All TPC-H queries, cut in several ways, give DataFusion's own rows.

use dunlin_base::ByteCount;
use dunlin_corpus::{compare, tpch as corpus};
use dunlin_planner::{CutOptions, DecideOptions};

use crate::data::session;
use crate::mini::{Variant, run};

/// Cut wherever it can be cut, into slices as small as they come.
pub(crate) fn finest(seed: u64) -> Variant {
    Variant {
        cut: CutOptions {
            slice_bytes: ByteCount(64 << 10),
            slices_min: 4,
            collapse_bytes: ByteCount(0),
            whole_join_bytes: ByteCount(0),
            inline_build_bytes: ByteCount(0),
        },
        decide: DecideOptions { broadcast_bytes: 0, broadcast_rows: 0, partition_bytes: 0 },
        seed,
    }
}

/// Returns the notes of all decisions.
async fn check_all(partitions: usize, variant: Variant) -> Vec<String> {
    let plain = session(partitions, false).await;
    let ours = session(partitions, true).await;
    let mut notes = Vec::new();
    let (mut stages, mut tasks) = (0, 0);
    for (number, sql) in corpus::QUERIES {
        let name = format!("q{number}");
        let frame = plain.sql(sql).await.expect("plain DataFusion plans it");
        let expected = frame.collect().await.expect("plain DataFusion runs it");
        let (rows, trace) =
            run(&ours, sql, &variant).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &rows) {
            panic!("{name} with {partitions} partitions: {difference}");
        }
        notes.extend(trace.notes);
        stages += trace.stages;
        tasks += trace.tasks;
    }
    assert!(stages >= if partitions == 1 { 22 } else { 88 }, "plans were cut: {stages} stages");
    assert!(partitions == 1 || tasks > 150, "stages were shared out: {tasks} tasks");
    notes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_right_with_one_partition() {
    check_all(1, finest(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_right_with_three_partitions() {
    check_all(3, finest(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_right_with_eight_partitions() {
    check_all(8, finest(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_right_when_decisions_change_the_plan() {
    let mut variant = finest(4);
    variant.decide = DecideOptions { broadcast_bytes: 1 << 30, ..DecideOptions::default() };
    variant.decide.broadcast_rows = 1 << 30;
    let notes = check_all(8, variant).await;
    let broadcast = notes.iter().filter(|note| note.contains("broadcast")).count();
    let joined = notes.iter().filter(|note| note.contains("joined")).count();
    assert!(broadcast >= 5, "broadcast switches happened: {notes:#?}");
    assert!(joined >= 5, "partitions were joined: {notes:#?}");
    let reduced = notes.iter().filter(|note| note.contains("left out")).count();
    let fused = notes.iter().filter(|note| note.contains("done here")).count();
    assert!(reduced >= 3, "probe sides were reduced: {notes:#?}");
    assert!(fused >= 20, "stages of one slice ran with their readers: {notes:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_is_right_with_the_default_options() {
    let mut variant = finest(5);
    variant.cut = CutOptions { collapse_bytes: ByteCount(0), ..CutOptions::default() };
    variant.decide = DecideOptions::default();
    check_all(4, variant).await;
}
