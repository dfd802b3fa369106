//! Plan bytes that are not what was written: decoding ends with a plan or an error, and takes
//! neither the thread nor all memory.
//!
//! What a changed bit does to rows is not asked here: records and blobs have checksums, so that no
//! executor gets such bytes (`queue::depot`). A plan that was made by hand may still be anything.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dunlin_base::Env;
use dunlin_corpus::tpch;
use dunlin_planner::{Contexts, PlanCodec, ProtoCodec, Template, cut, header};
use dunlin_proto::plan::StageTemplate;
use prost::Message;

use crate::data::session;
use crate::tpch::finest;

/// Changes to each stage's plan.
const CHANGES: u64 = 60;

/// Queries with joins of all kinds, windows of sums, subqueries, sorts.
const QUERIES: [usize; 6] = [1, 3, 9, 13, 18, 21];

/// The bytes with a few bits changed, an end, or bytes that do not belong there.
fn spoiled(good: &[u8], random: &Env) -> Vec<u8> {
    let place = || random.random_below(good.len() as u64) as usize;
    let mut bytes = good.to_vec();
    match random.random_below(6) {
        0 => bytes.truncate(place()),
        1 => {
            let (from, to) = (place(), place());
            let piece = good[from..(from + 40).min(good.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        2 => (0..8).for_each(|_| bytes[place()] = random.random() as u8),
        _ => bytes[place()] ^= 1 << random.random_below(8),
    }
    bytes
}

#[derive(Debug, Default)]
struct Outcomes {
    plans: usize,
    errors: usize,
}

impl Outcomes {
    fn count(&mut self, what: &str, decode: impl FnOnce() -> dunlin_base::Result<()>) {
        match catch_unwind(AssertUnwindSafe(decode)) {
            Ok(Ok(())) => self.plans += 1,
            Ok(Err(error)) => {
                assert!(error.message().len() < 2000, "{what}: a long error: {error}");
                self.errors += 1;
            }
            Err(panic) => {
                panic!("{what}: {}", dunlin_base::env::panic_text(panic.as_ref()));
            }
        }
    }
}

#[tokio::test]
async fn changed_plan_bytes_are_a_plan_or_an_error() {
    let session = session(4, true).await;
    let task = session.task_ctx();
    let context = Contexts::new(session.runtime_env()).expect("contexts").base();
    let head = header(task.session_config(), Vec::new());
    let (random, mut plans, mut templates) =
        (Env::seeded(31), Outcomes::default(), Outcomes::default());
    for number in QUERIES {
        let (_, sql) = tpch::QUERIES[number - 1];
        let plan = session.sql(sql).await.expect("planned").create_physical_plan().await;
        let graph =
            cut(plan.expect("planned"), head.clone(), &finest(1).cut, task.session_config());
        for spec in graph.expect("cut").stages {
            let whole = StageTemplate { header: Some(head.clone()), spec: Some(spec.clone()) };
            let whole = whole.encode_to_vec();
            for change in 0..CHANGES {
                let what = format!("q{number} stage {} change {change}", spec.id);
                let bytes = spoiled(&spec.plan, &random);
                plans.count(&what, || ProtoCodec.decode(&bytes, &context).map(drop));
                let bytes = spoiled(&whole, &random);
                templates.count(&what, || Template::decode(&bytes).map(drop));
            }
        }
    }
    println!("plans: {plans:?}, templates: {templates:?}");
    assert!(plans.errors > 200, "{plans:?}");
    assert!(templates.errors > 50, "{templates:?}");
}
