//! One call to etcd: its bounded wait, and what a failure of it says.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};

use super::error::from_etcd;

/// Longest wait of one call. A leader election takes 1 to 2 s; a call that spans one may succeed.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes calls. Cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    env: Env,
    endpoints: Arc<str>,
}

impl Calls {
    pub(super) fn new(env: Env, endpoints: &str) -> Self {
        Self { env, endpoints: endpoints.into() }
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// Runs one call; `what` names it in errors.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T> {
        match self.env.timeout(CALL_TIMEOUT, call).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(e)) => Err(from_etcd(what, e).context(&self.endpoints)),
            None => Err(self.no_answer(what, CALL_TIMEOUT)),
        }
    }

    /// The error of a call that was not answered.
    pub(super) fn no_answer(&self, what: &str, within: Duration) -> Error {
        Error::retry(format!("{}: etcd {what}: no answer within {within:?}", self.endpoints))
            .with_hint("look whether etcd runs and has a leader")
    }
}
