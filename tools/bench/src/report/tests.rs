//! What a report shows.

use dunlin_base::ByteCount;

use super::*;
use crate::measure::Times;

fn report(engine_ms: &[Option<f64>]) -> Report {
    let setup = Setup {
        threads: 2,
        partitions: 4,
        executors: 3,
        memory: ByteCount::mib(64),
        plan_cache: false,
    };
    let mut report = Report::new("TPC-H", 0.1, 5, setup, "DataFusion");
    report.engine = engine_ms.first().copied().flatten().map(|_| "Dunlin");
    report.queries = (1..)
        .zip(engine_ms)
        .map(|(query, engine)| Measured {
            query,
            rows: 10,
            base: Times::of(vec![100.0]).expect("a run"),
            engine: engine.and_then(|ms| Times::of(vec![ms])),
        })
        .collect();
    report
}

#[test]
fn both_engines_their_ratio_and_the_conditions_are_shown() {
    let text = report(&[Some(110.0), Some(150.0)]).markdown();
    assert!(text.contains("| 2 | 10 | 150.0 | 100.0 | 1.50 |"), "{text}");
    assert!(text.contains("| **sum** | | **260.0** | **200.0** | **1.30** |"), "{text}");
    assert!(text.contains("2 threads, 4 partitions, 3 executors"), "{text}");
    assert!(text.contains("| commit |"), "{text}");
}

#[test]
fn plain_datafusion_alone_has_no_ratio() {
    let report = report(&[None, None]);
    assert_eq!(report.totals(), (200.0, None));
    let text = report.markdown();
    assert!(text.contains("| **sum** | | **200.0** | | |"), "{text}");
    assert!(!text.contains("ratio"), "{text}");
}

#[test]
fn files_are_named_by_date_and_commit_and_the_json_has_all_queries() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = report(&[Some(110.0)]);
    let markdown = report.write(&dir.path().join("new")).expect("written");
    let name = markdown.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("{}-tpc-h-sf0.1-", report.date)), "{name}");
    let json = std::fs::read_to_string(markdown.with_extension("json")).expect("JSON beside it");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["queries"][0]["engine"]["median_ms"], 110.0);
    assert_eq!(json["setup"]["executors"], 3);
}
