//! Sessions made from what callers carry. Making one costs more than planning a short query, so
//! those of late are kept: they are caches, not state.

use std::sync::Arc;

use dunlin_base::Result;
use dunlin_planner::{Planner, Who};
use parking_lot::Mutex;

use super::caller::{Caller, Options};
use super::options::Auth;
use crate::gateway::Gateway;
use crate::session::Session;

/// Sessions kept.
const KEPT_MAX: usize = 64;

/// Makes sessions.
pub(super) struct Sessions {
    gateway: Gateway,
    planner: Arc<Planner>,
    /// Users are asked who they are, and may do what they were granted.
    asked: bool,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    user: String,
    options: Options,
    session: Session,
}

impl Sessions {
    pub(super) fn new(gateway: Gateway, planner: Arc<Planner>, auth: &Auth) -> Self {
        let asked = matches!(auth, Auth::Users(_));
        Self { gateway, planner, asked, kept: Mutex::default() }
    }

    /// A session that nobody else has: it may be changed. `Invalid`: its options are those of
    /// another build.
    pub(super) fn fresh(&self, caller: &Caller) -> Result<Session> {
        let who = if self.asked { Who::User(caller.user.clone()) } else { Who::Anyone };
        let session = self.planner.session_of(who)?;
        let options = caller.options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        session.apply(options)?;
        Ok(Session::new(self.gateway.clone(), session, caller.user.clone()))
    }

    /// A session that callers with the same options share: it must not be changed.
    pub(super) fn shared(&self, caller: &Caller) -> Result<Session> {
        let is = |kept: &Kept| kept.user == caller.user && kept.options == caller.options;
        {
            let mut kept = self.kept.lock();
            if let Some(at) = kept.iter().position(is) {
                // The latest is last.
                let found = kept.remove(at);
                let session = found.session.clone();
                kept.push(found);
                return Ok(session);
            }
        }
        let session = self.fresh(caller)?;
        let (user, options) = (caller.user.clone(), caller.options.clone());
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { user, options, session: session.clone() });
        Ok(session)
    }
}
