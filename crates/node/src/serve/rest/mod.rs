//! The REST of Celeborn's masters and workers, under their paths and with their fields, at the admin
//! listener: what its command line and its dashboard ask for.
//!
//! The one thing to know: a process with both roles answers as a master where both have a path, and as
//! a worker below `/worker`.

mod door;
mod json;
mod masters;
mod workers;

use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::get;
use dunlin_base::Env;
use dunlin_celeborn_service::{Master, Worker};

use self::door::{Answer, Refusal};
use self::json::{Conf, Named};
use crate::engine::{Engine, Wisher};

pub(super) use self::door::Caller;
pub(crate) use self::door::Guard;

/// Where all of it is.
const PREFIX: &str = "/api/v1";

/// What the handlers share.
struct Rest {
    env: Env,
    guard: Guard,
    master: Option<Arc<Master>>,
    worker: Option<Weak<Worker>>,
    wisher: Option<Wisher>,
    conf: Vec<(&'static str, String)>,
}

/// The routes; none, if the process serves no client of Celeborn.
pub(super) fn router(engine: &Engine, guard: Guard, conf: Vec<(&'static str, String)>) -> Router {
    let rest = Arc::new(Rest {
        env: engine.env().clone(),
        guard,
        master: engine.celeborn_master(),
        worker: engine.celeborn_worker(),
        wisher: engine.shuffle_wisher(),
        conf,
    });
    let (master, worker) = (rest.master.is_some(), rest.worker.is_some());
    let complete = |routes: Router<Arc<Rest>>| {
        let all = routes
            .route("/conf", get(conf_of))
            .route("/thread_dump", get(no_threads))
            .fallback(nothing)
            .method_not_allowed_fallback(not_so);
        all.with_state(Arc::clone(&rest))
    };
    let below_worker = format!("/worker{PREFIX}");
    match (master, worker) {
        (false, false) => Router::new(),
        (true, false) => Router::new().nest(PREFIX, complete(masters::routes())),
        (false, true) => Router::new()
            .nest(PREFIX, complete(workers::shared().merge(workers::own())))
            .nest(&below_worker, complete(workers::shared().merge(workers::own()))),
        (true, true) => Router::new()
            .nest(PREFIX, complete(masters::routes().merge(workers::own())))
            .nest(&below_worker, complete(workers::shared().merge(workers::own()))),
    }
}

impl Rest {
    fn master(&self) -> Answer<&Master> {
        self.master.as_deref().ok_or_else(|| Refusal::gone("this process is no master"))
    }

    fn worker(&self) -> Answer<Arc<Worker>> {
        let worker = self.worker.as_ref().and_then(Weak::upgrade);
        worker.ok_or_else(|| Refusal::gone("the worker of this process has ended"))
    }
}

async fn conf_of(State(rest): State<Arc<Rest>>) -> Response {
    let config = |(name, value): &(&'static str, String)| Named {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    door::json(&Conf { configs: rest.conf.iter().map(config).collect() })
}

async fn no_threads() -> Refusal {
    Refusal::unknown("this is no JVM: there are no threads of one to show")
}

async fn nothing(uri: Uri) -> Refusal {
    Refusal::unknown(format!("there is nothing at {}", uri.path()))
}

async fn not_so(method: Method, uri: Uri) -> Refusal {
    Refusal::method(format!("{method} is not for {}", uri.path()))
}
