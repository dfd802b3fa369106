//! The texts of queries that were started here of late: a plan whose query fails is not used again.
//!
//! Only a hint: a query that is read at another gateway fails there, and its plan here stays.

use std::collections::VecDeque;

use dunlin_base::QueryId;
use parking_lot::Mutex;

/// Queries remembered.
const QUERIES_MAX: usize = 256;

/// Longest text remembered: longer ones have no plans that are kept.
const TEXT_MAX: usize = 16 * 1024;

/// Texts by query; the oldest go first.
#[derive(Default)]
pub(super) struct Recent {
    texts: Mutex<VecDeque<(QueryId, String)>>,
}

impl Recent {
    pub(super) fn add(&self, query: QueryId, text: &str) {
        if text.len() > TEXT_MAX {
            return;
        }
        let mut texts = self.texts.lock();
        if texts.len() == QUERIES_MAX {
            texts.pop_front();
        }
        texts.push_back((query, text.to_owned()));
    }

    pub(super) fn take(&self, query: QueryId) -> Option<String> {
        let mut texts = self.texts.lock();
        let at = texts.iter().position(|(known, _)| *known == query)?;
        texts.remove(at).map(|(_, text)| text)
    }
}
