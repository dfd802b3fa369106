//! Plans that are used again: planning is most of what a short query costs, and dashboards ask the
//! same few texts for ever.
//!
//! A plan stands for its text as long as nothing that it was made of has changed: the session's
//! settings, the catalog, and the files of its tables, which are listed anew each time. A plan that
//! says what time it is, or that reads anything but files, is never kept. Users share plans, and each
//! is checked for what the text names.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use dunlin_base::Revision;
use parking_lot::Mutex;

use super::{QueryPlan, Session, Statement, View};
use crate::catalog::{Entry, Privilege, Used};
use crate::settings::Settings;

/// Plans kept by a process.
pub(super) const PLANS_MAX: usize = 256;

/// Longest text, and most files, of a plan that is kept: large ones cost memory, and their planning
/// is not what they take long for.
const TEXT_MAX: usize = 16 * 1024;
const FILES_MAX: usize = 1024;

/// The plans of a process by their text; the oldest go first.
#[derive(Debug, Default)]
pub(super) struct PlanCache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    plans: HashMap<String, Arc<Known>>,
    order: VecDeque<String>,
}

/// A plan with what it was made of.
#[derive(Debug)]
struct Known {
    settings: Settings,
    view: View,
    tables: Vec<(Arc<Entry>, Arc<ListingTable>)>,
    reads: Vec<Arc<Entry>>,
    plan: QueryPlan,
}

impl PlanCache {
    fn get(&self, text: &str) -> Option<Arc<Known>> {
        self.kept.lock().plans.get(text).cloned()
    }

    fn put(&self, text: &str, known: Known) {
        let mut kept = self.kept.lock();
        if kept.plans.insert(text.to_owned(), Arc::new(known)).is_none() {
            kept.order.push_back(text.to_owned());
        }
        while kept.order.len() > PLANS_MAX {
            let oldest = kept.order.pop_front().unwrap_or_default();
            kept.plans.remove(&oldest);
        }
    }

    fn remove(&self, text: &str) {
        let mut kept = self.kept.lock();
        if kept.plans.remove(text).is_some() {
            kept.order.retain(|other| other != text);
        }
    }
}

impl Session {
    /// The plan of a statement that was planned before, if planning it now would give the same.
    /// Looks at the catalog and at files, and computes next to nothing: may run where planning
    /// should not. Dropping it changes nothing.
    pub async fn known_plan(&self, statement: &Statement) -> Option<QueryPlan> {
        // Looking at the catalog may be a call over the network.
        self.planner.plans.get(statement.sql())?;
        self.known(statement, &self.view().await.ok()?).await
    }

    /// The same without a look at the catalog in the store: as of the version that was last loaded.
    /// Whoever uses the plan makes sure that the catalog still has that version.
    pub async fn known_plan_as_of(&self, statement: &Statement) -> Option<(QueryPlan, Revision)> {
        self.planner.plans.get(statement.sql())?;
        let last = self.planner.catalog.last()?;
        let plan = self.known(statement, &self.view_of(&last)).await?;
        Some((plan, last.version()))
    }

    /// The plan that was made for this text, if it would be made again.
    pub(super) async fn known(&self, statement: &Statement, view: &View) -> Option<QueryPlan> {
        if !may_be_kept(statement) {
            return None;
        }
        let known = self.planner.plans.get(statement.sql())?;
        if known.settings != view.settings || !known.view.same(view) {
            return None;
        }
        let readable = |e: &Arc<Entry>| view.rights.check_entry(Privilege::Select, e).is_ok();
        if !known.reads.iter().all(readable) {
            return None;
        }
        let reading = view.reading(self);
        for (entry, table) in &known.tables {
            // Planning will say what is wrong, with its place in the text.
            let now = crate::catalog::resolve(entry, &reading).await.ok()?;
            if !Arc::ptr_eq(&now, table) {
                return None;
            }
        }
        Some(known.plan.clone())
    }

    /// Keeps a plan for the next time, if it is one that may be kept.
    pub(super) fn keep(
        &self,
        statement: &Statement,
        view: View,
        used: Used,
        logical: &LogicalPlan,
        plan: &QueryPlan,
    ) {
        if !may_be_kept(statement) {
            return;
        }
        let text = statement.sql();
        let files: usize = plan.tables.iter().map(|table| table.files).sum();
        let small = text.len() <= TEXT_MAX && files <= FILES_MAX;
        if !view.settings.plan_cache || !small || !used.lasting || !lasting(logical) {
            return;
        }
        let settings = view.settings.clone();
        let Used { tables, reads, .. } = used;
        let known = Known { settings, view, tables, reads, plan: plan.clone() };
        self.planner.plans.put(text, known);
    }

    /// Forgets the plan of a text: its query has failed, perhaps because of what the plan says.
    pub fn forget(&self, text: &str) {
        self.planner.plans.remove(text);
    }
}

/// The text of a statement with parameters does not tell their values: its plan stands for one run.
fn may_be_kept(statement: &Statement) -> bool {
    statement.parameters() == 0
}

/// True if planning again would give the same plan while the files are the same: only files are
/// read, and no function depends on more than its arguments (`now()` is a constant in a plan).
pub(crate) fn lasting(plan: &LogicalPlan) -> bool {
    let mut lasting = true;
    let stop = |lasting: &mut bool| {
        *lasting = false;
        Ok::<_, DataFusionError>(TreeNodeRecursion::Stop)
    };
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && source_as_provider(&scan.source)?.downcast_ref::<ListingTable>().is_none()
        {
            return stop(&mut lasting);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if fleeting(expr) { stop(&mut lasting) } else { Ok(TreeNodeRecursion::Continue) }
            })
        })
    });
    lasting && walked.is_ok()
}

fn fleeting(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
        Expr::AggregateFunction(call) => call.func.signature().volatility != Volatility::Immutable,
        Expr::ScalarVariable(..) | Expr::Placeholder(_) => true,
        _ => false,
    }
}
