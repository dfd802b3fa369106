//! Ended queries on their way out: those that end while others are being removed go next, together.

use std::collections::HashSet;

use dunlin_base::QueryId;
use parking_lot::Mutex;

/// Queries that wait for their removal.
#[derive(Debug, Default)]
pub(crate) struct Removals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<QueryId>,
    /// Somebody is removing, and will look at what waits.
    busy: bool,
}

impl Removals {
    /// Adds a query. Whoever finds nobody at it calls `remove` until nothing waits; for others this
    /// returns at once. Dropping it leaves to the sweeper what it has taken.
    pub(crate) async fn add<F: Future<Output = ()>>(
        &self,
        query: QueryId,
        remove: impl Fn(Vec<QueryId>) -> F,
    ) {
        {
            let mut state = self.0.lock();
            state.waiting.push(query);
            if std::mem::replace(&mut state.busy, true) {
                return;
            }
        }
        let at_it = AtIt(self);
        while let Some(queries) = at_it.take() {
            remove(queries).await;
        }
    }
}

/// Whoever removes. Another may begin once it is dropped.
struct AtIt<'a>(&'a Removals);

impl AtIt<'_> {
    /// What waits, each once: a client may say more than once that it has read a result. `None` if
    /// nothing waits, and then another may begin.
    fn take(&self) -> Option<Vec<QueryId>> {
        let mut state = self.0.0.lock();
        if state.waiting.is_empty() {
            state.busy = false;
            return None;
        }
        let mut seen = HashSet::new();
        let mut queries = std::mem::take(&mut state.waiting);
        queries.retain(|query| seen.insert(*query));
        Some(queries)
    }
}

impl Drop for AtIt<'_> {
    fn drop(&mut self) {
        self.0.0.lock().busy = false;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_ends_while_others_are_removed_goes_next_and_together() {
        let (removals, gate) = (Removals::default(), Semaphore::new(0));
        let calls = RefCell::new(Vec::new());
        let remove = |queries: Vec<QueryId>| {
            calls.borrow_mut().push(queries.iter().map(|q| q.to_u128()).collect::<Vec<_>>());
            async { gate.acquire().await.expect("it is open").forget() }
        };
        let id = QueryId::from_u128;
        let first = removals.add(id(1), remove);
        let others = async {
            for number in [2, 3, 2] {
                removals.add(id(number), remove).await;
            }
            gate.add_permits(2);
        };
        futures::join!(first, others);
        assert_eq!(*calls.borrow(), [vec![1], vec![2, 3]], "and each once");
        gate.add_permits(1);
        removals.add(id(4), remove).await;
        assert_eq!(calls.borrow().last(), Some(&vec![4]));
    }

    #[tokio::test]
    async fn one_that_is_dropped_keeps_nobody_from_removing() {
        let removals = Removals::default();
        let stuck = removals.add(QueryId::from_u128(1), |_| std::future::pending());
        assert!(futures::poll!(Box::pin(stuck)).is_pending());
        let removed = RefCell::new(0);
        let remove = |queries: Vec<QueryId>| {
            *removed.borrow_mut() += queries.len();
            async {}
        };
        removals.add(QueryId::from_u128(2), remove).await;
        assert_eq!(*removed.borrow(), 1);
    }
}
