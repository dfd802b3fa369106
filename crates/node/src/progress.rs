//! How far a query is, on standard error: one bar per stage on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use dunlin_base::{Env, QueryId};
use dunlin_gateway::{Gateway, StageProgress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::When;
use crate::report::note;

/// Queries that end sooner show nothing.
const QUIET: Duration = Duration::from_millis(500);
const BARS_EVERY: Duration = Duration::from_millis(150);
const LINES_EVERY: Duration = Duration::from_secs(2);

const TEMPLATE: &str = "{prefix:>9} [{bar:30}] {pos}/{len} slices {msg}";

/// Shows the query's progress until the future is dropped, which also clears the bars.
pub(crate) async fn show(gateway: Gateway, env: Env, query: QueryId, when: When) {
    let terminal = std::io::stderr().is_terminal();
    if when == When::Never || (when == When::Auto && !terminal) {
        return std::future::pending().await;
    }
    env.sleep(QUIET).await;
    let mut bars = Bars::default();
    loop {
        match gateway.progress(query).await {
            Ok(Some(progress)) if terminal => bars.draw(&progress.stages),
            Ok(Some(progress)) => note(&line(&progress.stages)),
            // Ended, or out of reach: the query itself will say so.
            Ok(None) | Err(_) => {}
        }
        env.sleep(if terminal { BARS_EVERY } else { LINES_EVERY }).await;
    }
}

fn line(stages: &[StageProgress]) -> String {
    let stage = |s: &StageProgress| format!("stage {}: {}/{}", s.stage, s.done, s.slices);
    let stages: Vec<String> = stages.iter().map(stage).collect();
    format!("progress: {}", stages.join(", "))
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    stages: BTreeMap<u32, ProgressBar>,
}

impl Bars {
    fn draw(&mut self, stages: &[StageProgress]) {
        for stage in stages {
            let bar = self.stages.entry(stage.stage.0).or_insert_with(|| {
                let style = ProgressStyle::with_template(TEMPLATE)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(u64::from(stage.slices)).with_style(style);
                self.all.add(bar.with_prefix(format!("stage {}", stage.stage)))
            });
            bar.set_length(u64::from(stage.slices));
            bar.set_message(match stage.running {
                0 => String::new(),
                running => format!("({running} running)"),
            });
            bar.set_position(u64::from(stage.done));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // A terminal that has gone needs no clearing.
        let _ = self.all.clear();
    }
}
